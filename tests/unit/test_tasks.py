"""Jobs on labels of every kind: independent labels, positions, distributions, weighted samples."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from torch import nn
from torch.testing import assert_close

import limbeck
from limbeck.data import Batch, Samples, as_samples
from limbeck.errors import InvalidValue, ShapeMismatch, StoreError, TeacherError
from limbeck.metrics.multi_label import label_agreement, mean_label_kl, measure_labels
from limbeck.metrics.tasks import compare_task, labelled_rows, measure_task
from limbeck.models import build
from limbeck.objectives import BinaryDistillation, Distillation, HardLabels, valid_rows
from limbeck.targets import DenseTargets, TargetStore
from limbeck.teachers import EnsembleTeacher, ModuleTeacher, StoreTeacher, collect, verify_store
from limbeck.training import TrainConfig, fit

NAMES = ("a", "b", "c")
FAST = {"seeds": 1, "progress": "silent", "recipe": TrainConfig(num_epochs=2, batch_size=16)}


def features(count: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, 5, generator=generator)
    return inputs, inputs @ torch.randn(5, 3, generator=generator)


class Tagger(nn.Module):
    """Looks at each token by itself; returns what Hugging Face's classifiers do."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, width), nn.Linear(width, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.head(self.embedding(input_ids)) * attention_mask.unsqueeze(-1)}


def tagged(count: int = 60) -> Samples:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 20, (count, 7), generator=generator)
    lengths = torch.randint(3, 8, (count, 1), generator=generator)
    mask = (torch.arange(7) < lengths).long()
    labels = torch.where(mask > 0, tokens % 3, -100)
    return Samples("tagged", torch.arange(count), {"input_ids": tokens, "attention_mask": mask}, labels, NAMES)


def test_independent_labels_go_the_whole_way(tmp_path):
    inputs, scores = features()
    samples = Samples("labels", torch.arange(60), inputs, scores > 0, NAMES)
    result = limbeck.distill("mlp:widths=6", ["mlp:widths=12"], samples, out=tmp_path / "run", **FAST)
    names = {one.name for one in result.record.measurements if one.network == "distilled" and one.split == "test"}
    assert {"errors", "accuracy", "nll", "micro_f1", "macro_f1", "map", "auroc", "agreement", "kl_to_teacher"} <= names
    assert "brier" not in names
    assert (tmp_path / "run" / "report.html").exists()
    again = limbeck.load_model(tmp_path / "run")
    assert again.module(inputs[:2]).shape == (2, 3)


@pytest.mark.parametrize("pooling", ["arithmetic", "geometric"])
def test_several_teachers_of_independent_labels_are_pooled_label_by_label(tmp_path, pooling):
    inputs, scores = features()
    samples = Samples("labels", torch.arange(60), inputs, scores > 0, NAMES)
    torch.manual_seed(0)
    teachers = [nn.Linear(5, 3), nn.Linear(5, 3)]
    logits = [teacher(inputs).detach() for teacher in teachers]
    pooled = EnsembleTeacher(
        [ModuleTeacher(teacher) for teacher in teachers], weights=[1, 3], pooling=pooling, independent=True
    )
    for temperature in (1.0, 3.0):
        probs = [(z / temperature).sigmoid() for z in logits]
        if pooling == "arithmetic":
            expected = 0.25 * probs[0] + 0.75 * probs[1]
        else:
            expected = ((0.25 * logits[0] + 0.75 * logits[1]) / temperature).sigmoid()
        found = pooled(samples.ids, inputs).logits_at(temperature)
        assert_close((found / temperature).sigmoid(), expected)
    job = {"pooling": pooling, "teacher_weights": [1, 3], **FAST}
    stored = limbeck.distill("mlp:widths=6", teachers, samples, out=tmp_path / "run", **job)
    ready = limbeck.distill("mlp:widths=6", teachers, samples, **job)
    assert_close(dict(stored.student.state_dict()), dict(ready.student.state_dict()), atol=1e-3, rtol=0)
    classes = EnsembleTeacher([ModuleTeacher(teacher) for teacher in teachers])
    with pytest.raises(TeacherError, match="pools other labels"):
        fit(build("mlp:widths=6", input_shape=(5,), num_classes=3, seed=0), samples,
            BinaryDistillation(soft_weight=1.0), teacher=classes, recipe=FAST["recipe"])  # fmt: skip


@pytest.mark.parametrize("with_folder", [False, True])
def test_tags_of_tokens_go_the_whole_way(tmp_path, with_folder):
    out = {"out": tmp_path / "run"} if with_folder else {}
    result = limbeck.distill(lambda: Tagger(4), [Tagger(8)], tagged(), **out, **FAST)
    measured = {one.name: one.value for one in result.record.measurements if one.network == "distilled"}
    assert 0 < measured["accuracy"] <= 1
    assert any(("targets/" if with_folder else "in memory") in note for note in result.record.notes)


@pytest.mark.parametrize("codec", ["dense16", "dense8", "auto"])
def test_a_store_keeps_the_level_of_independent_labels(tmp_path, codec):
    """Of classes only differences between logits count; of labels each logit by itself."""
    torch.manual_seed(0)
    inputs, scores = features()
    samples = Samples("labels", torch.arange(60), inputs, scores > 0, NAMES)
    teacher = ModuleTeacher(nn.Linear(5, 3))
    store = collect(teacher, samples, limbeck.Views(), tmp_path / "store", codec=codec)
    live = teacher(samples.ids, inputs).logits
    read = StoreTeacher(store)(samples.ids, inputs).logits_at(1.0)
    assert_close(read, live, atol=2e-3 if codec == "dense16" else 5e-2, rtol=0)
    assert verify_store(store, teacher, samples, limbeck.Views()) < 1e-3
    module, level = teacher.modules[0], teacher.modules[0].bias.data.clone()
    module.bias.data.add_(3.0)
    moved = ModuleTeacher(copy.deepcopy(module))
    module.bias.data.copy_(level)
    with pytest.raises(StoreError, match="other teachers"):
        verify_store(store, moved, samples, limbeck.Views())
    with pytest.raises(InvalidValue, match="independent labels"):
        collect(teacher, samples, limbeck.Views(), tmp_path / "other", codec="sparse:2")
    classes = Samples("labels", torch.arange(60), inputs, torch.arange(60) % 3, NAMES)
    with pytest.raises(StoreError, match="another kind"):
        TargetStore.open(store.path, samples=classes)


@pytest.mark.parametrize("codec", ["dense16", "dense8", "sparse:1", "auto"])
def test_a_store_keeps_the_positions_that_count(tmp_path, codec):
    torch.manual_seed(0)
    samples, teacher = tagged(), ModuleTeacher(Tagger(8))
    store = collect(teacher, samples, limbeck.Views(), tmp_path / "store", codec=codec, batch_size=16)
    valid = samples.labels != -100
    live = teacher(samples.ids, samples.inputs).logits.log_softmax(-1)
    read = StoreTeacher(store)(samples.ids, samples.inputs).logits_at(1.0)
    assert read.shape == live.shape
    tolerance = {"dense16": 1e-3, "dense8": 3e-2, "auto": 0.5}.get(codec)
    if tolerance is None:  # the two other classes share their mass
        assert_close(read.softmax(-1).amax(-1)[valid], live.exp().amax(-1)[valid], atol=2e-2, rtol=0)
    else:
        assert_close(read.log_softmax(-1)[valid], live[valid], atol=tolerance, rtol=0)
    if store.codecs[0].is_dense:
        assert not read[~valid].any()
    again = TargetStore.open(store.path, samples=samples, cache_bytes=0).targets(samples.ids.flip(0)).logits_at(1.0)
    assert_close(again.flip(0), read)
    assert verify_store(store, teacher, samples, limbeck.Views(), batch_size=7) < 1e-3
    measured = int(valid.sum()) // (4 if codec == "auto" else 1)  # the rest of them was fitted to
    assert store.manifest.plan.members[0].fidelity.num_samples == measured


def test_soft_targets_of_positions_teach_the_same_from_a_store_and_from_memory(tmp_path):
    torch.manual_seed(0)
    teacher = Tagger(8)
    with_store = limbeck.distill(lambda: Tagger(4), [teacher], tagged(), out=tmp_path / "run", **FAST)
    in_memory = limbeck.distill(lambda: Tagger(4), [teacher], tagged(), **FAST)
    assert_close(dict(with_store.student.state_dict()), dict(in_memory.student.state_dict()), atol=1e-3, rtol=1e-3)


def test_trap_36_padding_does_not_shrink_the_mean():
    logits = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([[0, 1, -100, -100], [2, -100, -100, -100]])
    batch = Batch(torch.arange(2), torch.zeros(2, 4), labels)
    rows, targets, of_rows = valid_rows(logits, DenseTargets(logits.flip(0)), batch)
    expected = F.cross_entropy(logits.view(-1, 3), labels.view(-1), ignore_index=-100)
    assert_close(HardLabels()(rows, None, of_rows, counts=HardLabels().count(batch)).total, expected)
    soft = Distillation(temperature=2.0, hard_weight=0.0, soft_weight=1.0)
    valid = labels != -100
    alone = limbeck.soft_target_loss(logits[valid], logits.flip(0)[valid], temperature=2.0).mean()
    assert_close(soft(rows, targets, of_rows, counts=soft.count(batch)).total, alone)
    # The parts of an accumulated step add up to the same, however the valid positions are spread over them.
    parts = [batch.part(k, k + 1) for k in range(2)]
    counts = HardLabels().count(batch)
    halves = [
        HardLabels()(*[valid_rows(logits[k : k + 1], None, part)[i] for i in (0, 1, 2)], counts=counts).total
        for k, part in enumerate(parts)
    ]
    assert_close(halves[0] + halves[1], expected)


def test_trap_34_outputs_of_more_axes_are_refused():
    batch = Batch(torch.arange(2), torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]))
    with pytest.raises(ShapeMismatch, match="which of them are the classes"):
        valid_rows(torch.zeros(2, 3, 8, 8), None, batch)


def test_trap_29_a_weight_of_zero_is_as_good_as_leaving_the_sample_out():
    inputs, scores = features(24)
    labels = scores.argmax(dim=1)
    weights = torch.ones(24)
    weights[::3] = 0.0
    kept = torch.arange(24)[weights > 0]

    def trained(samples: Samples) -> torch.Tensor:
        torch.manual_seed(0)
        network = nn.Linear(5, 3)
        recipe = TrainConfig(num_epochs=3, batch_size=24, momentum=0.0, nesterov=False, weight_decay=0.0)
        fit(network, samples, HardLabels(), recipe=recipe)
        return network.weight.detach()

    weighted = trained(Samples("weighted", torch.arange(24), inputs, labels, NAMES, weights=weights))
    assert_close(weighted, trained(Samples("kept", kept, inputs[kept], labels[kept], NAMES)))


def test_class_weights_are_those_of_torch():
    inputs, scores = features(24)
    labels = scores.argmax(dim=1)
    weights = torch.tensor([1.0, 3.0, 0.5])
    batch = Batch(torch.arange(24), inputs, labels)
    objective = HardLabels()
    counts = objective.count(batch, class_weights=weights)
    expected = F.cross_entropy(scores, labels, weight=weights)
    assert_close(objective(scores, None, batch, counts=counts).total, expected)
    with pytest.raises(InvalidValue, match="class_weights"):
        limbeck.train("mlp:widths=4", (inputs, labels), recipe=TrainConfig(num_epochs=1, class_weights=[1.0, 2.0]))


def test_distributions_as_labels_are_learned_from_and_evaluated():
    inputs, scores = features()
    probs = torch.softmax(scores, dim=1)
    samples = Samples("soft", torch.arange(60), inputs, probs, NAMES)
    result = limbeck.train("mlp:widths=6", samples, **FAST)
    assert {one.name for one in result.record.measurements} >= {"errors", "nll", "accuracy"}
    measured = measure_task(scores, probs)
    assert measured["errors"][0] == 0
    assert measured["nll"][0] == pytest.approx(float(-(probs * probs.log()).sum(dim=1).mean()), rel=1e-5)


def test_binary_objective_weighs_known_labels_alone():
    student, teacher = torch.randn(4, 3), torch.randn(4, 3)
    labels = torch.tensor([[1.0, 0.0, -1.0], [0.0, -1.0, -1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    batch = Batch(torch.arange(4), torch.zeros(4, 1), labels)
    known = labels != -1
    hard = F.binary_cross_entropy_with_logits(student[known], labels[known])
    assert_close(BinaryDistillation()(student, None, batch).total, hard)
    both = BinaryDistillation(temperature=2.0, hard_weight=0.3, soft_weight=0.7)
    soft = limbeck.binary_soft_target_loss(student, teacher, temperature=2.0).sum() / 12
    assert_close(both(student, DenseTargets(teacher), batch).total, 0.3 * hard + 0.7 * soft)


def test_measures_of_labels_are_scikit_learns():
    generator = torch.Generator().manual_seed(3)
    scores, truth = torch.randn(50, 3, generator=generator), (torch.rand(50, 3, generator=generator) > 0.6).float()
    measured = {name: value for name, (value, _) in measure_labels(scores, truth).items()}
    wrong = ((scores > 0) != (truth > 0.5)).sum()
    assert measured["errors"] == int(wrong)
    assert measured["map"] == pytest.approx(average_precision_score(truth.numpy(), scores.numpy(), average="macro"))
    assert measured["auroc"] == pytest.approx(roc_auc_score(truth.numpy(), scores.numpy(), average="macro"))
    for average in ("micro", "macro"):
        expected = f1_score(truth.numpy(), (scores > 0).numpy(), average=average)
        assert measured[f"{average}_f1"] == pytest.approx(expected)


def test_labels_without_a_true_sample_are_left_out_and_counted():
    measured = measure_labels(torch.randn(6, 2), torch.tensor([[0.0, 0.0], [0.0, 1.0]]).repeat(3, 1))
    assert measured["labels_left_out"] == (1.0, "count")
    with pytest.raises(InvalidValue, match="No label"):
        measure_labels(torch.zeros(2, 2), torch.full((2, 2), -1.0))


def test_agreement_and_divergence_of_labels():
    own, other = torch.tensor([[2.0, -1.0]]), torch.tensor([[2.0, 3.0]])
    assert label_agreement(own, other) == 0.5
    assert mean_label_kl(other, other) == 0.0
    p, q = torch.sigmoid(other[0, 1]), torch.sigmoid(own[0, 1])
    expected = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()) / 2
    assert mean_label_kl(other, own) == pytest.approx(float(expected), rel=1e-5)
    assert compare_task(own, other, torch.zeros(1, 2), task="multi_label")["agreement"][0] == 0.5


def test_rows_that_count_are_the_valid_positions():
    labels = torch.tensor([[1, -1, -100], [0, 2, -100]])
    logits = torch.arange(18.0).view(2, 3, 3)
    rows, known = labelled_rows(logits, labels)
    assert known.tolist() == [1, 0, 2]
    assert_close(rows, logits[torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])])
    assert as_samples((torch.zeros(2, 3), torch.tensor([0, 1])), name="x").task == "single_label"


def test_an_objective_for_other_labels_is_refused_before_training():
    inputs, scores = features(24)
    several = Samples("labels", torch.arange(24), inputs, (scores > 0).float(), NAMES, task="multi_label")
    one = Samples("classes", torch.arange(24), inputs, scores.argmax(dim=1), NAMES)
    recipe = TrainConfig(num_epochs=1, batch_size=8)
    with pytest.raises(InvalidValue, match="another kind"):
        fit(nn.Linear(5, 3), several, HardLabels(), recipe=recipe)
    with pytest.raises(InvalidValue, match="another kind"):
        fit(nn.Linear(5, 3), one, BinaryDistillation(), recipe=recipe)
    with pytest.raises(InvalidValue, match="one label a sample"):
        limbeck.distill_mutual([lambda: Tagger(4), lambda: Tagger(5)], tagged(), **FAST)
    with pytest.raises(InvalidValue, match="another kind"):
        limbeck.distill_mutual(["mlp:widths=4", "mlp:widths=5"], several, **FAST)
