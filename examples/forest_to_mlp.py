"""A forest into a network: scikit-learn's ``predict_proba`` is all that a teacher needs.

Run: python examples/forest_to_mlp.py
"""

from __future__ import annotations

from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier

import limbeck


def main(out: Path | None = None, num_epochs: int = 40, seeds: int = 5, num_trees: int = 300) -> str:
    """Fit a forest to the digits that have labels, and distil it on all; return the summary."""
    digits = load_digits()
    inputs, labels = (digits.data / 16).astype("float32"), digits.target.copy()
    train, test = slice(0, 1200), slice(1200, None)
    labels[600:1200] = -1  # unknown: a forest knows what it was fitted to by heart, so it also needs to see others
    forest = ExtraTreesClassifier(num_trees, random_state=0).fit(inputs[:600], labels[:600])
    result = limbeck.distill(
        "mlp:widths=64x64",
        teachers=forest,
        train=(inputs[train], labels[train]),
        test=(inputs[test], labels[test]),
        temperature=2,
        recipe=limbeck.TrainConfig(num_epochs=num_epochs, batch_size=64),
        seeds=seeds,
        out=out,
    )
    print(result.summary())
    return result.summary()


if __name__ == "__main__":
    main(Path("runs/example-forest"))
