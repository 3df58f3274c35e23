"""What mypy must know of the jobs' arguments; ``make check`` reads it, nothing calls it.

An ignored error that is no error any more is one itself, so each line proves that its mistake is found.
"""

import limbeck

DATA = ([[0.0]], [0])


def never_called() -> None:
    limbeck.distill("mlp", ["mlp"], DATA, temperature=4, seeds=5, recipe=limbeck.TrainConfig(num_epochs=2))
    limbeck.distill("mlp", ["mlp"], DATA, seeds=[0, 3], augmentations=["flip"], teacher_weights=None)
    limbeck.distill_mutual(["mlp", "mlp"], DATA, teacher_weight=1.0, update="simultaneous")
    limbeck.distill_self("resnet20", DATA, exits=["layer1"])
    limbeck.train("mlp", DATA, device="cpu")
    limbeck.distill("mlp", ["mlp"], DATA, temprature=4)  # type: ignore[call-arg]
    limbeck.distill("mlp", ["mlp"], DATA, temperature="warm")  # type: ignore[arg-type]
    limbeck.distill("mlp", ["mlp"], DATA, pooling="mean")  # type: ignore[arg-type]
    limbeck.train()  # type: ignore[call-arg]
