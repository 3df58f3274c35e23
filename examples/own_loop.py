"""A training loop of your own that takes nothing from limbeck but the loss.

Run: python examples/own_loop.py
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn

from limbeck.losses import hard_label_loss, soft_target_loss


def main(num_epochs: int = 15, temperature: float = 4.0) -> float:
    """Distil a wide network into a narrow one; return the student's test accuracy."""
    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target)
    train, test = slice(0, 1400), slice(1400, None)

    teacher = nn.Sequential(nn.Linear(64, 400), nn.ReLU(), nn.Linear(400, 10))
    optimiser = torch.optim.AdamW(teacher.parameters(), lr=3e-3)
    for _ in range(num_epochs):
        for batch in torch.randperm(1400).split(64):
            loss = hard_label_loss(teacher(inputs[train][batch]), labels[train][batch]).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    teacher.eval()

    student = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    optimiser = torch.optim.AdamW(student.parameters(), lr=3e-3)
    for _ in range(num_epochs):
        for batch in torch.randperm(1400).split(64):
            with torch.no_grad():
                teacher_logits = teacher(inputs[train][batch])
            student_logits = student(inputs[train][batch])
            soft = soft_target_loss(student_logits, teacher_logits, temperature=temperature)  # one value per example
            hard = hard_label_loss(student_logits, labels[train][batch])
            loss = (0.9 * soft + 0.1 * hard).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    with torch.no_grad():
        accuracy = (student(inputs[test]).argmax(dim=1) == labels[test]).float().mean().item()
    print(f"student's test accuracy: {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main()
