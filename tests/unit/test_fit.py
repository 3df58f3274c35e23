"""fit: trains what it is told, resumes to the bit, selects on validation, stops cleanly."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import time

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from limbeck.data import Samples, Views, as_samples, augmentations_from
from limbeck.errors import CheckpointError, InvalidValue, ModelError, TeacherError, TrainingDiverged
from limbeck.objectives import Distillation, HardLabels
from limbeck.teachers import LogitsTeacher, ModuleTeacher
from limbeck.training import EventLog, Runtime, TrainConfig, TrainingInterrupted, evaluate, fit, predict

CPU = Runtime(torch.device("cpu"), "fp32")
NUM_SAMPLES, NUM_CLASSES = 70, 3
RECIPE = TrainConfig(num_epochs=3, batch_size=16, learning_rate=0.1, ema_decay=0.9, clip_norm=1.0, schedule="one_cycle")


def images(*, seed: int = 0, count: int = NUM_SAMPLES):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, 6, 6), generator=generator, dtype=torch.uint8)
    return as_samples((pixels, (pixels[:, 0, 0].float().mean(dim=1) / 256 * NUM_CLASSES).long()))


def network(seed: int = 0) -> nn.Module:
    """Return a net with everything that a resume must restore: dropout, batch-norm statistics, parameters."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(36, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, NUM_CLASSES)
    )


def interrupting_teacher(teacher, *, at_call: int):
    """Return a teacher that presses Ctrl-C during its ``at_call``-th answer."""
    original, calls = type(teacher).__call__, [0]

    class Interrupting(type(teacher)):
        def __call__(self, ids, inputs, *, view=None):
            calls[0] += 1
            if calls[0] == at_call:
                os.kill(os.getpid(), signal.SIGINT)
            return original(self, ids, inputs, view=view)

    teacher.__class__ = Interrupting
    return teacher


def run(*, checkpoint=None, cut_at=None, recipe=RECIPE, events=None, **settings):
    teacher = ModuleTeacher(network(seed=9))
    if cut_at is not None:
        teacher = interrupting_teacher(teacher, at_call=cut_at)
    return fit(
        network(),
        images(),
        Distillation(temperature=2.0, hard_weight=0.5),
        recipe=recipe,
        teacher=teacher,
        validation=images(seed=1, count=20),
        views=Views(augmentations=augmentations_from(["jitter:1", "mixup:0.5"]), seed=0),
        seed=5,
        checkpoint=checkpoint,
        events=events,
        **{"runtime": CPU, **settings},
    )


def equal_weights(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def without_times(history):
    timed = ("elapsed_seconds", "samples_per_second", "data_wait_fraction")
    return [{k: v for k, v in vars(record).items() if k not in timed} for record in history]


@pytest.mark.parametrize("cut_at", [1, 4, 5, 7, 13, 14])
def test_a_run_cut_anywhere_and_resumed_ends_in_the_same_bits(tmp_path, cut_at):
    whole = run()
    checkpoint = tmp_path / "student.pt"
    with pytest.raises(TrainingInterrupted) as stopped:
        run(checkpoint=checkpoint, cut_at=cut_at)
    assert stopped.value.step == cut_at
    torch.manual_seed(12345)  # whatever happens to the global state between the two parts must not matter
    resumed = run(checkpoint=checkpoint)
    assert resumed.num_steps == whole.num_steps == 15
    assert equal_weights(resumed.last_weights, whole.last_weights)
    assert equal_weights(resumed.selected_weights, whole.selected_weights)
    assert resumed.selected_epoch == whole.selected_epoch
    for a, b in zip(without_times(resumed.history), without_times(whole.history), strict=True):
        assert a["validation"] == b["validation"]
        assert a["train"] == pytest.approx(b["train"], rel=1e-12)


class Depth(nn.Module):
    """Gives images a depth of one, for convolutions in three dimensions."""

    def forward(self, inputs):
        return inputs.unsqueeze(2)


def convolutions(seed: int = 0, *, spatial: int = 2) -> nn.Module:
    torch.manual_seed(seed)
    kinds = {2: (nn.Identity, nn.Conv2d, nn.AdaptiveAvgPool2d), 3: (Depth, nn.Conv3d, nn.AdaptiveAvgPool3d)}
    lift, convolution, pool = kinds[spatial]
    layers = (convolution(1, 4, 3, padding=1), nn.ReLU(), convolution(4, 4, 3, padding=1), nn.ReLU(), pool(1))
    return nn.Sequential(lift(), *layers, nn.Flatten(), nn.Linear(4, NUM_CLASSES))


@pytest.mark.parametrize("spatial", [2, 3])
def test_convolutions_train_and_their_weights_come_back_in_the_usual_layout(spatial):
    student = convolutions(spatial=spatial)
    before = [parameter.detach().clone() for parameter in student.parameters()]
    fitted = fit(student, images(), HardLabels(), recipe=RECIPE, seed=3, runtime=CPU)
    assert fitted.student is student
    for old, new in zip(before, student.parameters(), strict=True):
        assert new.is_contiguous()
        assert not torch.equal(old, new)
    for weights in (fitted.selected_weights, fitted.last_weights):
        assert all(value.is_contiguous() for value in weights.values())


def test_a_stopped_convnet_goes_on_to_the_same_bits(tmp_path):
    def trained(*, cut_at=None, **more):
        teacher = ModuleTeacher(convolutions(seed=9))
        if cut_at is not None:
            teacher = interrupting_teacher(teacher, at_call=cut_at)
        objective = Distillation(temperature=2.0, soft_weight=1.0, hard_weight=1.0)
        recipe = TrainConfig(num_epochs=3, batch_size=16, learning_rate=0.1, optimiser="adamw", ema_decay=0.9)
        return fit(convolutions(), images(), objective, recipe=recipe, teacher=teacher, runtime=CPU, **more)

    whole = trained()
    with pytest.raises(TrainingInterrupted):
        trained(cut_at=7, checkpoint=tmp_path / "checkpoint.pt")
    resumed = trained(checkpoint=tmp_path / "checkpoint.pt")
    for name, value in whole.last_weights.items():
        assert torch.equal(value, resumed.last_weights[name]), name


def test_a_finished_checkpoint_gives_its_result_without_training(tmp_path):
    first = run(checkpoint=tmp_path / "student.pt")
    again = run(checkpoint=tmp_path / "student.pt", cut_at=1)  # would stop, if it trained
    assert equal_weights(first.selected_weights, again.selected_weights)
    assert first.history == again.history


def test_a_checkpoint_of_another_run_is_refused_with_both_values(tmp_path):
    run(checkpoint=tmp_path / "student.pt")
    with pytest.raises(CheckpointError, match="recipe differ") as refused:
        run(checkpoint=tmp_path / "student.pt", recipe=TrainConfig(num_epochs=3, batch_size=16, learning_rate=0.2))
    assert "0.1" in str(refused.value)
    assert "0.2" in str(refused.value)


@pytest.mark.parametrize("position", [0, 40, 5000, -1])
def test_a_flipped_byte_in_a_checkpoint_is_noticed(tmp_path, position):
    path = tmp_path / "student.pt"
    run(checkpoint=path)
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="damaged"):
        run(checkpoint=path)


def test_the_global_random_state_is_left_alone():
    student, samples = network(), images()
    before = torch.get_rng_state()
    fit(student, samples, HardLabels(), recipe=RECIPE, runtime=CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_same_seed_same_weights_other_seed_other_weights():
    def trained(seed):
        recipe = TrainConfig(num_epochs=1, batch_size=16)
        return fit(network(), images(), HardLabels(), recipe=recipe, seed=seed, runtime=CPU).last_weights

    assert equal_weights(trained(1), trained(1))
    assert not equal_weights(trained(1), trained(2))


def test_without_momentum_and_noise_a_step_is_plain_gradient_descent():
    samples = images()
    recipe = TrainConfig(
        num_epochs=1, batch_size=NUM_SAMPLES, schedule="constant", learning_rate=0.5, momentum=0.0, nesterov=False,
        weight_decay=0.1,
    )  # fmt: skip
    student = nn.Sequential(nn.Flatten(), nn.Linear(36, NUM_CLASSES))
    weight, bias = (parameter.detach().clone().requires_grad_() for parameter in student.parameters())
    x = samples.fetch(torch.arange(NUM_SAMPLES)).float().flatten(1) / 255
    torch.nn.functional.cross_entropy(x @ weight.T + bias, samples.labels).backward()
    fitted = fit(student, samples, HardLabels(), recipe=recipe, runtime=CPU)
    assert_close(fitted.last_weights["1.weight"], (weight - 0.5 * (weight.grad + 0.1 * weight)).detach())
    assert_close(fitted.last_weights["1.bias"], (bias - 0.5 * bias.grad).detach())  # biases are not decayed


def test_accumulated_parts_give_the_step_of_the_global_batch():
    def trained(parts):
        recipe = TrainConfig(num_epochs=2, batch_size=16, accumulation_steps=parts)
        student = nn.Sequential(nn.Flatten(), nn.Linear(36, NUM_CLASSES))
        nn.init.zeros_(student[1].weight)
        nn.init.zeros_(student[1].bias)
        return fit(student, images(), HardLabels(), recipe=recipe, runtime=CPU).last_weights

    for key, value in trained(1).items():
        assert_close(trained(3)[key], value)


def test_averaged_weights_follow_the_formula():
    def trained(start, **settings):
        student = nn.Sequential(nn.Flatten(), nn.Linear(36, NUM_CLASSES))
        student.load_state_dict(start)
        recipe = TrainConfig(num_epochs=1, batch_size=NUM_SAMPLES, schedule="constant", **settings)
        return fit(student, images(), HardLabels(), recipe=recipe, runtime=CPU).last_weights["1.weight"]

    start = nn.Sequential(nn.Flatten(), nn.Linear(36, NUM_CLASSES)).state_dict()
    raw, averaged = trained(start), trained(start, ema_decay=0.5)
    decay = 2 / 11  # (1 + t) / (10 + t) after the first step, still below 0.5
    assert_close(averaged, decay * start["1.weight"] + (1 - decay) * raw)
    assert_close(trained(start, ema_decay=0.1), 0.1 * start["1.weight"] + 0.9 * raw)


def test_tied_weights_are_averaged_and_evaluated():
    layers = nn.Linear(12, 12), nn.Linear(12, 12)
    layers[1].weight = layers[0].weight
    tied = nn.Sequential(nn.Flatten(), nn.Linear(36, 12), *layers, nn.Linear(12, 3))
    recipe = dataclasses.replace(RECIPE, num_epochs=1, ema_decay=0.9)
    fitted = fit(tied, images(), HardLabels(), recipe=recipe, validation=images(seed=1), runtime=CPU)
    assert fitted.history[0].validation["errors"] == evaluate(tied, images(seed=1), Views(), runtime=CPU)["errors"]


def test_validation_selects_the_epoch_and_the_last_is_kept_beside_it():
    train, validation = images(), images(seed=1, count=30)
    recipe = TrainConfig(num_epochs=8, batch_size=16, learning_rate=0.5, schedule="constant")
    fitted = fit(network(), train, HardLabels(), recipe=recipe, validation=validation, runtime=CPU)
    keys = [(record.validation["errors"], record.validation["nll"]) for record in fitted.history]
    assert fitted.selected_epoch == 1 + keys.index(min(keys))
    measured = evaluate(fitted.student, validation, Views(), runtime=CPU)
    assert (measured["errors"], measured["nll"]) == pytest.approx(min(keys))
    last = evaluate(fitted.student, validation, Views(), runtime=CPU, weights=fitted.last_weights)
    assert (last["errors"], last["nll"]) == pytest.approx(keys[-1])


def test_patience_stops_early_only_when_asked():
    train, validation = images(), images(seed=1, count=30)
    settings = {"num_epochs": 30, "batch_size": 16, "learning_rate": 1e-9, "schedule": "constant"}
    plain = fit(network(), train, HardLabels(), recipe=TrainConfig(**settings), validation=validation, runtime=CPU)
    assert len(plain.history) == 30
    recipe = TrainConfig(**settings, patience_epochs=3)
    patient = fit(network(), train, HardLabels(), recipe=recipe, validation=validation, runtime=CPU)
    assert len(patient.history) == patient.selected_epoch + 3 < 30


def test_a_diverging_loss_stops_at_its_step_and_keeps_the_last_good_checkpoint(tmp_path):
    class Diverging(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.calls = nn.Linear(36, NUM_CLASSES), 0

        def forward(self, x):
            self.calls += self.training
            return self.layer(x.flatten(1)) * (float("nan") if self.calls == 8 else 1.0)

    path = tmp_path / "student.pt"
    recipe = TrainConfig(num_epochs=4, batch_size=16)
    with pytest.raises(TrainingDiverged, match="at step 8 of 20") as diverged:
        fit(Diverging(), images(), HardLabels(), recipe=recipe, runtime=CPU, checkpoint=path, checkpoint_seconds=0.0)
    assert str(path) in str(diverged.value)
    kept = torch.load(io.BytesIO(path.read_bytes()[32:]), weights_only=True)["state"]
    assert kept["updates"]["step"] == 7
    assert all(bool(value.isfinite().all()) for value in kept["updates"]["weights"].values())


def test_checkpoints_that_take_long_are_written_less_often(tmp_path, monkeypatch):
    steps = []

    def save(path, state, *, identity):
        steps.append(state["updates"]["step"])
        time.sleep(0.05)

    monkeypatch.setattr("limbeck.training.saving.save_checkpoint", save)
    run(checkpoint=tmp_path / "student.pt", checkpoint_seconds=1e-6)
    assert steps == [0, 1, 15]  # the next one but after 50 times as long as one took


def test_every_scalar_is_in_the_log(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "cut')  # a line that a killed process left
    fitted = run(events=EventLog(path))
    lines = path.read_text().splitlines()[1:]
    events = [json.loads(line) for line in lines]
    epochs = [event for event in events if event["event"] == "epoch"]
    assert [event["validation"] for event in epochs] == [record.validation for record in fitted.history]
    assert [event["train"] for event in epochs] == [record.train for record in fitted.history]
    assert events[0]["event"] == "begin"
    assert events[-1]["event"] == "end"
    assert any(event["event"] == "steps" and event["losses"]["total"] > 0 for event in events)


def test_predictions_keep_the_samples_order_and_the_modes():
    model, samples = network(), images()
    model[4].eval()
    modes = [module.training for module in model.modules()]
    logits = predict(model, samples, Views(), runtime=CPU, batch_size=7)
    assert [module.training for module in model.modules()] == modes
    model.eval()
    assert_close(logits, model(samples.fetch(torch.arange(NUM_SAMPLES)).float() / 255).detach())


def test_what_cannot_be_trained_is_refused():
    frozen = network().requires_grad_(False)
    with pytest.raises(ModelError, match="nothing to train"):
        fit(frozen, images(), HardLabels(), recipe=RECIPE, runtime=CPU)
    with pytest.raises(TeacherError, match="needs a teacher"):
        fit(network(), images(), Distillation(temperature=2.0), recipe=RECIPE, runtime=CPU)
    stored = LogitsTeacher(torch.zeros(NUM_SAMPLES, NUM_CLASSES), ids=images().ids)
    views = Views(augmentations=augmentations_from(["flip"]))
    with pytest.raises(TeacherError, match="clean view only"):
        fit(network(), images(), Distillation(temperature=2.0), recipe=RECIPE, teacher=stored, views=views, runtime=CPU)


def test_label_smoothing_is_part_of_every_loss_of_labels():
    """Baseline and distilled student have the same smoothing: their recipe's; with 0 the bits are as before."""

    def trained(objective, smoothing: float, **more: float):
        torch.manual_seed(0)
        network = nn.Linear(4, 3)
        samples = Samples("toy", torch.arange(12), torch.randn(12, 4), torch.arange(12) % 3, ("a", "b", "c"))
        recipe = TrainConfig(num_epochs=2, batch_size=6, label_smoothing=smoothing, **more)
        teacher = ModuleTeacher(nn.Linear(4, 3)) if objective.needs_teacher else None
        return fit(network, samples, objective, recipe=recipe, teacher=teacher).student.weight

    for objective in (HardLabels(), Distillation(temperature=2.0)):
        assert torch.equal(trained(objective, 0.0), trained(objective, 0.0))
        assert not torch.equal(trained(objective, 0.1), trained(objective, 0.0))
    # One step of plain SGD from the same weights: the gradient is that of torch's smoothed cross-entropy.
    torch.manual_seed(0)
    network = nn.Linear(4, 3)
    inputs, labels = torch.randn(12, 4), torch.arange(12) % 3
    torch.nn.functional.cross_entropy(network(inputs), labels, label_smoothing=0.1).backward()
    expected = network.weight.detach() - 0.5 * network.weight.grad
    torch.manual_seed(0)
    other = nn.Linear(4, 3)
    samples = Samples("toy", torch.arange(12), torch.randn(12, 4), labels, ("a", "b", "c"))
    sgd = TrainConfig(num_epochs=1, batch_size=12, learning_rate=0.5, momentum=0.0, nesterov=False, weight_decay=0.0)
    recipe = dataclasses.replace(sgd, schedule="constant", label_smoothing=0.1)
    assert_close(fit(other, samples, HardLabels(), recipe=recipe).student.weight.detach(), expected)


def test_trap_33_no_part_of_an_accumulated_step_is_a_single_example():
    from limbeck.training.checks import part_bounds

    for num_examples in range(1, 80):
        for num_parts in range(1, 9):
            bounds = part_bounds(num_examples, num_parts)
            sizes = [end - start for start, end in bounds]
            assert [start for start, _ in bounds] == [0, *(end for _, end in bounds[:-1])]
            assert sum(sizes) == num_examples
            assert min(sizes) >= min(2, num_examples)
            assert max(sizes) - min(sizes) <= 1
            assert len(sizes) <= num_parts
    student = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Linear(8, NUM_CLASSES))
    recipe = TrainConfig(num_epochs=1, batch_size=64, accumulation_steps=4)
    fit(student, images(count=77), HardLabels(), recipe=recipe, runtime=CPU)  # 13 in the last batch: 4, 4, 4, 1 before


def test_trap_31_ranks_of_torchrun_are_refused_where_they_cannot_share_and_nothing_is_written(monkeypatch, tmp_path):
    import limbeck

    for name, value in (("TORCHELASTIC_RUN_ID", "none"), ("WORLD_SIZE", "2"), ("RANK", "1")):
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidValue, match=r"one process(.|\n)*2 ranks"):
        limbeck.distill_mutual(["mlp:widths=4", "mlp:widths=8"], (torch.randn(40, 3), torch.arange(40) % 2),
                               out=tmp_path / "run", progress="silent")  # fmt: skip
    assert not (tmp_path / "run").exists()
