"""A label for every position: what each character of Python's own source is part of.

Run: python examples/token_tagging.py
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import tokenize
from types import ModuleType

import torch
from torch import nn

import limbeck

TAGS = ("space", "name", "number", "string", "operator", "comment")
KINDS = {tokenize.NAME: 1, tokenize.NUMBER: 2, tokenize.STRING: 3, tokenize.OP: 4, tokenize.COMMENT: 5}


class Tagger(nn.Module):
    """Convolutions over characters; logits (batch, time, tags)."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(128, width), nn.Linear(width, len(TAGS))
        convolutions = [nn.Conv1d(width, width, 5, padding=2) for _ in range(depth)]
        self.layers = nn.Sequential(*(nn.Sequential(one, nn.BatchNorm1d(width), nn.ReLU()) for one in convolutions))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return a row of logits for each character."""
        return self.head(self.layers(self.embedding(input_ids).movedim(2, 1)).movedim(1, 2))


def tagged_lines(module: ModuleType, count: int) -> limbeck.Samples:
    """Return lines of a module's source as characters, each with its tag; -100 where no tag counts."""
    lines = [[min(ord(character), 127) for character in line[:80]] for line in inspect.getsource(module).splitlines()]
    ids = torch.tensor([line + [0] * (80 - len(line)) for line in lines])
    labels = torch.where(ids > 0, 0, -100)
    for token in tokenize.generate_tokens(io.StringIO(inspect.getsource(module)).readline):
        (first, start), (last, end) = token.start, token.end
        if last > first:  # a docstring: its lines alone do not tell
            labels[first - 1 : last] = -100
        elif token.type in KINDS:
            labels[first - 1, start:end] = KINDS[token.type]
    kept = (labels >= 0).any(dim=1).nonzero()[:count, 0]
    return limbeck.Samples("lines", kept, {"input_ids": ids[kept]}, labels[kept], TAGS)


def main(num_epochs: int = 15, seeds: int = 3, count: int = 2000) -> str:
    """Distil a deep tagger into a shallow one a tenth its size; return the summary."""
    how = {"recipe": limbeck.TrainConfig(num_epochs=num_epochs, batch_size=32, learning_rate=0.1), "seeds": seeds}
    data = {"train": tagged_lines(inspect, count), "test": tagged_lines(dataclasses, count // 3)}
    result = limbeck.distill(lambda: Tagger(12, 1), lambda: Tagger(24, 3), **data, **how, temperature=2)
    print(summary := result.summary())
    return summary


if __name__ == "__main__":
    main()
