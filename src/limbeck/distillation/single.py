"""``train``: one network on labels over several seeds, measured once on the test set."""

from __future__ import annotations

from limbeck.distillation.arguments import TrainJob, job
from limbeck.distillation.result import RunResult
from limbeck.distillation.sources import network_from
from limbeck.distillation.splits import job_data
from limbeck.distillation.workbench import Workbench
from limbeck.objectives import HardLabels


@job(TrainJob)
def train(settings: TrainJob) -> RunResult:
    """Train a network on labels: a teacher to be, or a student without one.

    Returns:
        The network of the seed that validation chose, and the record, in which its role is "student".
    Raises:
        LimbeckError: settings, data, network or folder that cannot be used; nothing has been trained then.
        TrainingDiverged: a loss became NaN or infinite.
    """
    data = job_data(settings.train, settings)
    built = network_from(settings.network)
    bench = Workbench.open(data, settings, names={"data": data.name, "network": built.name}, function="train")
    trained = [
        bench.train_network(
            built,
            role="student",
            seed=seed,
            samples=data.labelled,
            objective=HardLabels(),
            recipe=settings.recipe,
            augmentations=settings.augmentations,
            num_views=settings.num_views,
            view_seed=settings.view_seed,
        )
        for seed in settings.seed_numbers
    ]
    networks, measurements = bench.examine(trained, teacher_logits=None)
    return bench.finish(
        "train",
        trained,
        seeds=settings.seed_numbers,
        networks=networks,
        measurements=measurements,
        dark=[],
        notes=data.notes,
    )
