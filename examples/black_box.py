"""A teacher that only gives probabilities: a service, a random forest, a program without logits.

Run: python examples/black_box.py
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

import limbeck
from limbeck.targets import DenseTargets


def main(num_epochs: int = 15, seeds: int = 3) -> str:
    """Ask a random forest once for each training sample, and distil its outputs; return the summary."""
    digits = load_digits()
    inputs = torch.tensor(digits.data / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target)
    train, test = slice(0, 1400), slice(1400, None)

    # Fitted on the first half only, so that what it says of the second half is not what it learnt by heart.
    forest = RandomForestClassifier(n_estimators=200, random_state=0).fit(digits.data[:700], digits.target[:700])
    probs = torch.tensor(forest.predict_proba(digits.data[train]), dtype=torch.float32)
    logits = DenseTargets.from_probs(0.999 * probs + 0.0001).logits_at(1.0)  # no class is impossible

    result = limbeck.distill(
        "mlp:widths=16",
        teachers=logits,  # row k belongs to training sample k
        train=(inputs[train], torch.cat([labels[:700], torch.full((700,), -1)])),  # the forest's half has labels
        test=(inputs[test], labels[test]),
        temperature=2,
        recipe=limbeck.TrainConfig(num_epochs=num_epochs, batch_size=64),
        seeds=seeds,
        progress="plain",
    )
    print(result.summary())
    return result.summary()


if __name__ == "__main__":
    main()
