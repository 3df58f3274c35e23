"""fit_cohort: mutual learning as a plain loop writes it, resumed to the bit, peers as constants."""

from __future__ import annotations

import copy
import io
import os
import signal
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from limbeck.data import UNLABELLED, Views, as_samples, augmentations_from, epoch_order
from limbeck.errors import CheckpointError, InvalidValue, ModelError, TeacherError, UnknownName
from limbeck.objectives import MutualLearning
from limbeck.teachers import ModuleTeacher
from limbeck.training import (
    EventLog,
    PlainProgress,
    Runtime,
    TrainConfig,
    TrainingInterrupted,
    evaluate,
    fit,
    fit_cohort,
)

CPU = Runtime(torch.device("cpu"), "fp32")
NUM_CLASSES = 3
PLAIN = TrainConfig(
    num_epochs=2, batch_size=16, learning_rate=0.1, schedule="constant", nesterov=False, weight_decay=0.0
)


def features(*, seed: int = 0, count: int = 64):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(count, 5, generator=generator)
    return as_samples((inputs, (inputs[:, 0] * NUM_CLASSES).long()))


def networks(count: int = 3) -> list[nn.Module]:
    """Return nets of different architectures."""
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(5, 4 + k), nn.Tanh(), nn.Linear(4 + k, NUM_CLASSES)) for k in range(count)]


def lively() -> list[nn.Module]:
    """Return nets with everything that a resume must restore: dropout, batch-norm statistics, parameters."""
    torch.manual_seed(1)
    return [
        nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, NUM_CLASSES))
        for _ in range(2)
    ]


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().flatten().double() for value in module.state_dict().values()])


def by_hand(peers, samples, *, update: str, teacher=None, temperature=1.0, hard=1.0, soft=1.0, beside=0.0):
    """Mutual learning as algorithm 1 of the paper, with SGD and momentum written out."""
    velocity = [[torch.zeros_like(p) for p in peer.parameters()] for peer in peers]
    for epoch in range(PLAIN.num_epochs):
        order = epoch_order(samples.ids, seed=3, epoch=epoch)
        for start in range(0, len(order), PLAIN.batch_size):
            rows = order[start : start + PLAIN.batch_size]
            x, y = samples.inputs[rows], samples.labels[rows]
            at_start = [peer(x).detach() for peer in peers]
            for k, peer in enumerate(peers):
                z = peer(x)
                loss = hard * F.cross_entropy(z, y)
                for other, start_logits in zip(peers, at_start, strict=True):
                    if other is not peer:
                        v = other(x).detach() if update == "alternating" else start_logits
                        loss = loss + soft / (len(peers) - 1) * divergence(v, z, temperature)
                if teacher is not None:
                    loss = loss + beside * divergence(teacher(x).detach(), z, temperature)
                gradients = torch.autograd.grad(loss, list(peer.parameters()))
                with torch.no_grad():
                    for p, g, m in zip(peer.parameters(), gradients, velocity[k], strict=True):
                        m.mul_(PLAIN.momentum).add_(g)
                        p.sub_(PLAIN.learning_rate * m)


def divergence(teacher_logits, student_logits, t):
    p, q = (F.log_softmax(z / t, dim=1) for z in (teacher_logits, student_logits))
    return t * t * F.kl_div(q, p, log_target=True, reduction="batchmean")


@pytest.mark.parametrize("update", ["alternating", "simultaneous"])
@pytest.mark.parametrize("with_teacher", [False, True])
def test_weights_are_those_of_the_loop_written_out(update, with_teacher):
    samples, peers = features(), networks()
    slow = copy.deepcopy(peers)
    teacher = networks(4)[3] if with_teacher else None
    by_hand(
        slow, samples, update=update, teacher=teacher, temperature=2.0, hard=0.7, soft=1.5,
        beside=0.4 if with_teacher else 0.0,
    )  # fmt: skip
    fit_cohort(
        peers,
        samples,
        MutualLearning(temperature=2.0, hard_weight=0.7, soft_weight=1.5, teacher_weight=0.4 if with_teacher else 0.0),
        recipe=PLAIN,
        update=update,
        teacher=ModuleTeacher(teacher) if teacher is not None else None,
        seed=3,
        runtime=CPU,
    )
    for peer, expected in zip(peers, slow, strict=True):
        assert_close(weights(peer), weights(expected), atol=1e-5, rtol=1e-4)


def test_the_two_updates_differ():
    ends = []
    for update in ("alternating", "simultaneous"):
        peers = networks(2)
        fit_cohort(peers, features(), MutualLearning(soft_weight=3.0), recipe=PLAIN, update=update, runtime=CPU)
        ends.append(weights(peers[1]))
    assert not torch.allclose(ends[0], ends[1], atol=1e-5)


def test_the_mean_of_the_peers_trains_the_same_networks_as_each_of_them():
    """The cross-entropy is linear in its target, so that DML_e has DML's gradient."""
    ends = []
    for targets in ("each", "mean"):
        peers = networks(3)
        fit_cohort(peers, features(), MutualLearning(temperature=2.0, targets=targets), recipe=PLAIN, runtime=CPU)
        ends.append(torch.cat([weights(peer) for peer in peers]))
    assert_close(ends[0], ends[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("update", "more"), [("simultaneous", 0), ("alternating", 1)])
def test_one_forward_and_one_backward_per_network_and_step(update, more):
    """TRAPS 5: alternating asks all but the last once more, without a graph."""
    peers, forwards, backwards = networks(3), [0, 0, 0], [0, 0, 0]
    for k, peer in enumerate(peers):
        peer.register_forward_hook(lambda *_, k=k: forwards.__setitem__(k, forwards[k] + 1))
        peer[0].weight.register_hook(lambda _, k=k: backwards.__setitem__(k, backwards[k] + 1))
    fit_cohort(peers, features(), MutualLearning(), recipe=PLAIN, update=update, runtime=CPU)
    assert backwards == [8, 8, 8]  # two passes of four steps
    assert forwards == [8 + 8 * more, 8 + 8 * more, 8]


def test_asking_again_leaves_batch_norms_statistics_alone():
    peers = lively()
    fit_cohort(peers, features(), MutualLearning(), recipe=PLAIN, runtime=CPU)
    assert [int(peer[1].num_batches_tracked) for peer in peers] == [8, 8]
    assert all(peer[1].track_running_stats for peer in peers)


def test_networks_that_start_alike_stay_alike_when_they_learn_together():
    one = networks(1)[0]
    peers = [one, copy.deepcopy(one)]
    fit_cohort(peers, features(), MutualLearning(), recipe=PLAIN, update="simultaneous", runtime=CPU)
    assert torch.equal(weights(peers[0]), weights(peers[1]))


def test_each_has_its_own_optimiser_and_schedule():
    peers = networks(2)
    recipes = [PLAIN, replace(PLAIN, optimiser="adamw", learning_rate=1e-3, schedule="cosine", ema_decay=0.9)]
    cohort = fit_cohort(peers, features(), MutualLearning(), recipe=recipes, runtime=CPU)
    rates = [[record.learning_rate for record in member.history] for member in cohort.members]
    assert rates[0] == [0.1, 0.1]
    assert 0 < rates[1][1] < rates[1][0] < 1e-3
    assert set(cohort.members[0].history[0].train) == {"total", "peers", "hard"}


def test_unlabelled_samples_count_in_the_divergence_alone():
    samples = features()
    unlabelled = replace(samples, labels=torch.full_like(samples.labels, UNLABELLED))
    cohort = fit_cohort(networks(2), unlabelled, MutualLearning(), recipe=replace(PLAIN, num_epochs=30), runtime=CPU)
    first, last = (cohort.members[0].history[k].train for k in (0, -1))
    assert first["total"] == first["peers"]
    assert "hard" not in first
    assert last["peers"] < 0.2 * first["peers"]


def test_validation_chooses_each_epoch_and_the_best_network():
    validation = features(seed=1, count=40)
    cohort = fit_cohort(networks(3), features(), MutualLearning(), recipe=PLAIN, validation=validation, runtime=CPU)
    measured = [evaluate(member.student, validation, Views(), runtime=CPU) for member in cohort.members]
    keys = [(m["errors"], m["nll"]) for m in measured]
    assert cohort.best == keys.index(min(keys))
    assert fit_cohort(networks(2), features(), MutualLearning(), recipe=PLAIN, runtime=CPU).best is None


# Stopped and resumed


def run(*, checkpoint=None, cut_at=None, update="alternating"):
    calls = [0]
    peers = lively()

    def press(*_):
        calls[0] += 1
        if calls[0] == cut_at:
            os.kill(os.getpid(), signal.SIGINT)

    peers[1].register_forward_pre_hook(press)  # asked once in a step, beside the evaluations
    return fit_cohort(
        peers,
        features(count=70),
        MutualLearning(temperature=2.0),
        recipe=replace(PLAIN, num_epochs=3, ema_decay=0.9, schedule="one_cycle"),
        update=update,
        views=Views(augmentations=augmentations_from(["mixup:0.5"])),
        validation=features(seed=1, count=20),
        seed=5,
        runtime=CPU,
        checkpoint=checkpoint,
    )


@pytest.mark.parametrize("update", ["alternating", "simultaneous"])
@pytest.mark.parametrize("cut_at", [1, 4, 8])
def test_a_cohort_cut_anywhere_and_resumed_ends_in_the_same_bits(tmp_path, cut_at, update):
    """TRAPS 25."""
    whole = run(update=update)
    with pytest.raises(TrainingInterrupted):
        run(checkpoint=tmp_path / "cohort.pt", cut_at=cut_at, update=update)
    torch.manual_seed(99)
    resumed = run(checkpoint=tmp_path / "cohort.pt", update=update)
    assert resumed.best == whole.best
    for member, expected in zip(resumed.members, whole.members, strict=True):
        assert member.num_steps == expected.num_steps == 15
        for kind in ("last_weights", "selected_weights"):
            ours, theirs = getattr(member, kind), getattr(expected, kind)
            assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_checkpoint_of_another_cohort_is_refused(tmp_path):
    run(checkpoint=tmp_path / "cohort.pt")
    with pytest.raises(CheckpointError, match="update"):
        run(checkpoint=tmp_path / "cohort.pt", update="simultaneous")


def test_what_a_person_and_a_log_see(tmp_path):
    stream = io.StringIO()
    log = EventLog(tmp_path / "events.jsonl")
    fit_cohort(
        networks(3), features(), MutualLearning(), recipe=PLAIN, runtime=CPU, events=log, progress=PlainProgress(stream)
    )
    shown = stream.getvalue()
    assert "3 x student: 8 steps" in shown
    assert "epoch 2" in shown
    assert "peers" in shown
    text = (tmp_path / "events.jsonl").read_text(encoding="utf-8")
    assert all(f'"student {k}"' in text for k in (1, 2, 3))


# What is refused


def test_a_cohort_of_one():
    with pytest.raises(InvalidValue, match="at least two") as caught:
        fit_cohort(networks(1), features(), MutualLearning(), recipe=PLAIN, runtime=CPU)
    assert "fit" in str(caught.value.remedy)


def test_peers_that_share_weights():
    one = networks(1)[0]
    with pytest.raises(ModelError, match="share weights"):
        fit_cohort([one, one], features(), MutualLearning(), recipe=PLAIN, runtime=CPU)


def test_peers_that_differ_in_their_classes():
    peers = [nn.Linear(5, 3), nn.Linear(5, 4)]
    with pytest.raises(ModelError, match="differ in their outputs") as caught:
        fit_cohort(peers, features(), MutualLearning(), recipe=PLAIN, runtime=CPU)
    assert "network 2 (16, 4)" in str(caught.value.received)


@pytest.mark.parametrize(
    ("recipes", "fact"),
    [
        ([PLAIN], "one recipe"),
        ([PLAIN, replace(PLAIN, batch_size=8)], "share their batch_size"),
        ([PLAIN, replace(PLAIN, num_epochs=8)], "share their num_epochs"),
        ([PLAIN, replace(PLAIN, patience_epochs=3)], "whole steps together"),
        ([PLAIN, replace(PLAIN, accumulation_steps=2)], "whole steps together"),
    ],
)
def test_recipes_that_do_not_go_together(recipes, fact):
    with pytest.raises(InvalidValue, match=fact):
        fit_cohort(networks(2), features(), MutualLearning(), recipe=recipes, runtime=CPU)


def test_other_words_and_numbers():
    with pytest.raises(UnknownName, match="update"):
        fit_cohort(networks(2), features(), MutualLearning(), recipe=PLAIN, update="alternate", runtime=CPU)
    with pytest.raises(UnknownName, match="peer targets"):
        MutualLearning(targets="all")
    with pytest.raises(InvalidValue, match="soft_weight"):
        MutualLearning(soft_weight=0.0)


def test_mutual_learning_without_peers_or_without_its_teacher():
    with pytest.raises(TeacherError, match="peers"):
        fit(networks(1)[0], features(), MutualLearning(), recipe=PLAIN, runtime=CPU)
    with pytest.raises(TeacherError, match="needs a teacher"):
        fit_cohort(networks(2), features(), MutualLearning(teacher_weight=0.5), recipe=PLAIN, runtime=CPU)
