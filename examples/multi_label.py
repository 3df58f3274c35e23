"""Labels that do not exclude each other: what is true of a handwritten digit.

Run: python examples/multi_label.py
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits

import limbeck

TRUE_OF = {"even": {0, 2, 4, 6, 8}, "prime": {2, 3, 5, 7}, "has a loop": {0, 6, 8, 9}, "square": {0, 1, 4, 9}}


def main(num_epochs: int = 30, seeds: int = 5) -> str:
    """Distil a wide network of four independent labels into a small one; return the summary."""
    digits = load_digits()
    inputs = torch.tensor(digits.data / 16, dtype=torch.float32)
    labels = torch.tensor([[digit in true for true in TRUE_OF.values()] for digit in digits.target])
    known = labels.float()
    known[200:1400] = -1  # unknown: the student learns of them what the teacher says
    names = tuple(TRUE_OF)
    train = limbeck.Samples("digits", torch.arange(1400), inputs[:1400], known[:1400], names, task="multi_label")
    test = limbeck.Samples("digits/test", torch.arange(397), inputs[1400:], labels[1400:], names)
    result = limbeck.distill(
        "mlp:widths=16",
        teachers="mlp:widths=400x400,hidden_dropout=0.5",
        train=train,
        test=test,
        temperature=2,
        recipe=limbeck.TrainConfig(num_epochs=num_epochs, batch_size=64),
        seeds=seeds,
    )
    print(result.summary())
    return result.summary()


if __name__ == "__main__":
    main()
