"""The job of all programs here: a small network learns from a large one, by 300 labelled digits, with five seeds.

The large network was trained elsewhere, on more digits than the small one will see.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

TEMPERATURE, HARD_WEIGHT, SOFT_WEIGHT = 4.0, 0.1, 0.9
SEEDS, NUM_EPOCHS, BATCH_SIZE, LEARNING_RATE = range(5), 100, 50, 0.02

Part = tuple[Tensor, Tensor]  # images (n, 1, 8, 8) from 0 to 1, labels (n,)


def digits() -> dict[str, Part]:
    """Return 800 digits that the large network saw, and the small one's: 300 to train, 297 to choose, 400 to test."""
    known = load_digits()
    images, labels = torch.from_numpy(known.images).float()[:, None] / 16, torch.from_numpy(known.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    parts = zip(("elsewhere", "train", "validation", "test"), order.split([800, 300, 297, 400]), strict=True)
    return {name: (images[chosen], labels[chosen]) for name, chosen in parts}


def student_network() -> nn.Module:
    """Return a new network of 1,482 parameters."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10))


def trained_teacher(images: Tensor, labels: Tensor) -> nn.Module:
    """Return a trained network of 112,810 parameters, with dropout."""
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Dropout(), nn.Linear(300, 300), nn.ReLU(), nn.Dropout())
    network = nn.Sequential(nn.Flatten(), wide, nn.Linear(300, 10))
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(30):
        for batch in torch.randperm(len(labels)).split(BATCH_SIZE):
            loss = F.cross_entropy(network(images[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.eval()
