"""The job by Limbeck.

Run: python examples/coming_from/with_limbeck.py
"""

from __future__ import annotations

import job

import limbeck


def main(seeds: range = job.SEEDS, num_epochs: int = job.NUM_EPOCHS) -> str:
    """Return what came out."""
    data = job.digits()
    result = limbeck.distill(
        job.student_network,
        teachers=job.trained_teacher(*data["elsewhere"]),
        train=data["train"],
        validation=data["validation"],
        test=data["test"],
        temperature=job.TEMPERATURE,
        hard_weight=job.HARD_WEIGHT,
        soft_weight=job.SOFT_WEIGHT,
        recipe=limbeck.TrainConfig(
            num_epochs=num_epochs,
            batch_size=job.BATCH_SIZE,
            learning_rate=job.LEARNING_RATE,
            weight_decay=0.0,
            schedule="constant",
        ),
        seeds=seeds,
        progress="silent",
    )
    return result.summary()


if __name__ == "__main__":
    print(main())
