"""A label for every position: what each character of Python's own source is part of.

Run: python examples/token_tagging.py
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import tokenize

import torch
from torch import nn

import limbeck

TAGS = ("space", "name", "number", "string", "operator", "comment")
KINDS = {tokenize.NAME: 1, tokenize.NUMBER: 2, tokenize.STRING: 3, tokenize.OP: 4, tokenize.COMMENT: 5}
LENGTH = 80  # characters of a line at most


class Tagger(nn.Module):
    """Convolutions over characters; logits (batch, time, tags)."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(128, width)
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2) for _ in range(depth))
        self.head = nn.Linear(width, len(TAGS))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return a row of logits for each character."""
        hidden = self.embedding(input_ids).movedim(2, 1)
        for layer in self.layers:
            hidden = hidden + torch.relu(layer(hidden))
        return self.head(hidden.movedim(1, 2))


def tagged_lines(module: object, count: int) -> limbeck.Samples:
    """Return lines of a module's source as characters, each with its tag; -100 where a line has ended."""
    text = inspect.getsource(module)
    lines, tags = text.splitlines()[:count], [[0] * LENGTH for _ in range(count)]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        spans_lines = token.end[0] > token.start[0]  # a docstring: its lines alone do not tell, so they do not count
        for row in range(token.start[0] - 1, min(token.end[0], count)):
            start, end = (0, LENGTH) if spans_lines else (token.start[1], min(token.end[1], LENGTH))
            tags[row][start:end] = [-100 if spans_lines else KINDS.get(token.type, 0)] * max(0, end - start)
    ids, labels = torch.zeros(count, LENGTH, dtype=torch.int64), torch.full((count, LENGTH), -100)
    for row, line in enumerate(lines):
        line = line[:LENGTH]
        ids[row, : len(line)] = torch.tensor([min(ord(character), 127) for character in line], dtype=torch.int64)
        labels[row, : len(line)] = torch.tensor(tags[row][: len(line)])
    kept = (labels >= 0).any(dim=1)
    return limbeck.Samples("lines", kept.nonzero()[:, 0], {"input_ids": ids[kept]}, labels[kept], TAGS)


def main(num_epochs: int = 20, seeds: int = 3, count: int = 3000) -> str:
    """Distil a deep tagger into a shallow one a twentieth its size; return the summary."""
    result = limbeck.distill(
        lambda: Tagger(12, 1),
        teachers=lambda: Tagger(32, 4),
        train=tagged_lines(inspect, count),
        test=tagged_lines(dataclasses, count // 3),
        temperature=2,
        recipe=limbeck.Recipe(num_epochs=num_epochs, batch_size=16, optimiser="adamw", learning_rate=1e-2),
        seeds=seeds,
        progress="plain",
    )
    print(result.summary())
    return result.summary()


if __name__ == "__main__":
    main()
