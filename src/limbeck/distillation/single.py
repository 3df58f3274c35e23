"""``train``: one network on labels over several seeds, measured once on the test set."""

from __future__ import annotations

from limbeck.distillation.arguments import TrainJob, job
from limbeck.distillation.dry_run import dry_run
from limbeck.distillation.result import RunResult
from limbeck.distillation.runs import evaluate_all, finish_run, open_run, trainer
from limbeck.distillation.sources import network_from
from limbeck.distillation.splits import job_data
from limbeck.objectives import objective_of_labels


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
    start = data.build(built, seed=settings.seed_numbers[0])
    names = {"data": data.name, "network": built.name}
    experiment = open_run(data, settings, names=names, function="train", takes_ranks=True)
    dry_run(experiment, {"network": start})
    experiment.directory.begin()
    train_one = trainer(experiment, settings)
    trained = [
        train_one(
            built, role="student", seed=seed, samples=data.labelled, objective=objective_of_labels(data.train.task)
        )
        for seed in settings.seed_numbers
    ]
    networks, measurements = evaluate_all(experiment, trained)
    return finish_run(
        experiment, "train", trained, seeds=settings.seed_numbers, networks=networks, measurements=measurements
    )
