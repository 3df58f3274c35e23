"""What a teacher's outputs are said to be is what they are taken as; probabilities are recognised; probes are kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from torch import nn
from torch.testing import assert_close

import limbeck
from limbeck.data import Normalise, Views, as_samples
from limbeck.errors import InvalidValue, ModelError, TeacherError, UnknownName
from limbeck.targets import DenseTargets
from limbeck.teachers import (
    EnsembleTeacher,
    FunctionTeacher,
    LogitsTeacher,
    ModuleTeacher,
    Outputs,
    Teacher,
    as_teacher,
    check_probe,
    collect,
)
from limbeck.teachers.outputs import log_of_probs, look_like_probs
from limbeck.training import TrainConfig

IDS = torch.arange(5)
LOGITS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
PROBS = LOGITS.softmax(dim=1)


def inputs() -> torch.Tensor:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(1))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def test_probabilities_are_refused_wherever_logits_are_expected():
    softmax = nn.Sequential(network(), nn.Softmax(dim=1))
    attempts = [
        lambda: as_teacher(PROBS),
        lambda: as_teacher(PROBS.numpy()),
        lambda: as_teacher(PROBS, outputs="logits"),
        lambda: as_teacher(torch.eye(3)),
        lambda: as_teacher(softmax)(IDS, inputs()),
        lambda: as_teacher(softmax.bfloat16())(IDS, inputs()),
        lambda: as_teacher(lambda x: PROBS, outputs="logits", name="f", version="1")(IDS, inputs()),
    ]
    for attempt in attempts:
        with pytest.raises(TeacherError, match=r'are probabilities(.|\n)*outputs="probs"'):
            attempt()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_declared_probabilities_teach_as_their_logits_do(temperature):
    soft = (LOGITS / temperature).softmax(dim=1)
    for teacher in (
        as_teacher(PROBS, outputs="probs"),
        as_teacher(PROBS.log(), outputs="log_probs"),
        as_teacher(lambda x: PROBS.double().numpy(), outputs="probs", name="f", version="1"),
    ):
        logits = teacher(IDS, inputs()).logits_at(temperature)
        assert_close((logits / temperature).softmax(dim=1).float(), soft)


def test_what_is_said_wrongly_is_refused():
    with pytest.raises(TeacherError, match="no probabilities"):
        as_teacher(LOGITS, outputs="probs")
    with pytest.raises(TeacherError, match="no log-probabilities"):
        as_teacher(LOGITS, outputs="log_probs")
    with pytest.raises(UnknownName, match="did you mean probs"):
        as_teacher(LOGITS, outputs="prob")
    with pytest.raises(InvalidValue, match="share"):
        as_teacher(PROBS, outputs="probs", smoothing=1.0)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[0.2, 0.8], [1.0, 0.0]], True),
        ([[0.2, 0.8], [1.0, 0.1]], False),
        ([[-0.2, 1.2], [1.0, 0.0]], False),
        ([[1.0], [1.0]], False),
        ([[0.0, 0.0], [0.0, 0.0]], False),
    ],
)
def test_probabilities_look_like_nothing_else(rows, expected):
    assert look_like_probs(torch.tensor(rows)) is expected


def test_zeros_share_at_most_the_smoothing_and_other_rows_stay():
    probs = torch.tensor(
        [[1.0, 0.0, 0.0, 0.0], [0.7, 0.3, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [1 - 1e-30, 1e-30, 0, 0]]
    )
    smoothed = log_of_probs(probs, smoothing=0.2).exp()
    # 0.2 / 4 for a zero; the row then sums to 1 + zeros * 0.05.
    assert_close(smoothed[0], torch.tensor([1.0, 0.05, 0.05, 0.05]) / 1.15)
    assert_close(smoothed[1], torch.tensor([0.7, 0.3, 0.05, 0.05]) / 1.1)
    assert torch.equal(smoothed[2], probs[2])
    assert bool((smoothed[3] <= probs[3].clamp(min=1e-30)).all()), (
        "a zero never outdoes what was given to another class"
    )
    assert log_of_probs(probs, smoothing=0.0)[0, 1] == -math.inf


def test_notes_say_what_was_done_with_probabilities():
    assert Outputs("net").note is None
    assert "0.1 of their row" in Outputs("forest", outputs="probs").note
    assert as_teacher(PROBS, outputs="probs").notes == ((Outputs("stored logits", outputs="probs").note),)
    ensemble = EnsembleTeacher([as_teacher(PROBS, outputs="probs"), as_teacher(LOGITS)])
    assert len(ensemble.notes) == 1


def test_outputs_are_part_of_the_fingerprint():
    def fingerprint(**options) -> str:
        return ModuleTeacher(network(), **options).fingerprint

    plain = fingerprint()
    assert plain == limbeck.models.fingerprint(network().eval())
    different = [fingerprint(outputs="probs"), fingerprint(outputs="probs", smoothing=0.0)]
    different += [
        fingerprint(transform=torch.neg),
        fingerprint(transform=nn.ReLU()),
        fingerprint(class_names=["a"] * 3),
    ]
    assert len({plain, *different}) == 6


def distil(teachers, train, **settings):
    defaults = {"recipe": TrainConfig(num_epochs=1, batch_size=32), "seeds": 1, "progress": "silent", "device": "cpu"}
    return limbeck.distill("mlp:widths=6", teachers, train, **defaults | settings)


def data(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(2)), torch.arange(count) % 3


def test_a_matrix_has_one_row_for_each_sample_or_ids():
    everything = torch.randn(200, 3)
    with pytest.raises(TeacherError, match=r"200 rows for 150 samples(.|\n)*ids=ids"):
        distil(everything, data(150), test=data(30))
    with pytest.raises(TeacherError, match="100 rows for 150 samples"):
        distil(everything[:100], data(150))  # a test set is held out of the 150 too
    distil(everything[:150], data(150), test=data(30))
    distil(everything[:150], data(150))
    rows = torch.arange(50, 200)
    result = distil(as_teacher(everything, ids=torch.arange(200) - 50), data(150), test=data(30))
    assert result.record.values("distilled", "errors")
    assert len(rows) == 150


def test_a_forest_teaches_and_the_record_says_how():
    from sklearn.ensemble import RandomForestClassifier

    features, labels = data(90)
    forest = RandomForestClassifier(8, random_state=0).fit(features.numpy(), labels.numpy())
    normalise = Normalise.fit(as_samples((features, labels)))
    result = distil(forest, (features, labels), test=data(30), normalise=normalise)
    assert any("RandomForestClassifier gives probabilities" in note for note in result.record.notes)
    # It is shown what it was fitted to, though the student's inputs are normalised.
    teacher = as_teacher(forest)
    samples, views = as_samples((features, labels)), Views(normalise=normalise)
    teacher.check_fits(samples, views)
    shown = views.batch(samples, torch.arange(90), view=None)
    expected = log_of_probs(torch.from_numpy(forest.predict_proba(features.numpy())).float(), smoothing=0.1)
    assert_close(teacher(shown.ids, shown.inputs).logits, expected)


def test_an_estimator_s_classes_are_the_data_s():
    class Fitted:
        def __init__(self, classes) -> None:
            self.classes_ = np.array(classes)

        def predict_proba(self, features):
            return np.tile([0.7, 0.2, 0.1], (len(features), 1))

    samples = as_samples((inputs(), torch.tensor([0, 1, 2, 0, 1])), class_names=["ant", "bee", "cat"])
    teacher = as_teacher(Fitted(["cat", "ant", "bee"]), version="1")
    teacher.check_fits(samples, Views())
    assert_close(teacher(IDS, inputs()).logits.exp()[0], torch.tensor([0.2, 0.1, 0.7]))
    with pytest.raises(TeacherError, match="other classes"):
        as_teacher(Fitted(["cat", "dog", "bee"]), version="1").check_fits(samples, Views())
    with pytest.raises(TeacherError, match="without a gap"):
        as_teacher(Fitted([0, 1, 3]), version="1")


def test_what_fails_inside_a_function_is_told():
    def broken(x):
        raise KeyError("weights")

    with pytest.raises(TeacherError, match=r"my net failed(.|\n)*KeyError: 'weights'"):
        as_teacher(broken, outputs="logits", name="my net", version="1")(IDS, inputs())
    with pytest.raises(TeacherError, match="name and a version"):
        FunctionTeacher(broken, outputs="logits", name="my net")
    with pytest.raises(TeacherError, match="does not take these options"):
        as_teacher(network(), version="1")


def test_a_teacher_that_does_not_fit_the_data_is_refused_before_training():
    with pytest.raises(ModelError, match="cannot run on samples"):
        distil(nn.Linear(7, 3), data(60))
    with pytest.raises(ModelError, match="other outputs than the data has classes"):
        distil(nn.Linear(4, 5), data(60))


class Drifting(Teacher):
    """Says another thing whenever it is made with another number, under the same fingerprint."""

    name = fingerprint = "drifting"

    def __init__(self, drift: float) -> None:
        self.drift = drift

    def __call__(self, ids, inputs, *, view=None):
        return DenseTargets(inputs[:, :3] * (1 + self.drift))


def test_a_function_that_answers_the_probe_otherwise_is_refused_next_time(tmp_path):
    samples = as_samples(data(60))
    check_probe(tmp_path, [Drifting(0.0)], samples, Views())
    check_probe(tmp_path, [Drifting(1e-6)], samples, Views())
    with pytest.raises(TeacherError, match=r"gives other outputs for the probe samples(.|\n)*nats apart"):
        check_probe(tmp_path, [Drifting(0.5)], samples, Views())
    store = tmp_path / "store"
    assert collect(Drifting(0.0), samples, Views(), store) is not None
    assert collect(Drifting(0.0), samples, Views(), store) is not None
    with pytest.raises(TeacherError, match="gives other outputs"):
        collect(Drifting(0.5), samples, Views(), store)


def test_a_function_that_answers_otherwise_at_the_end_of_a_run_is_refused():
    drift = torch.zeros(())
    teacher = as_teacher(lambda x: x[:, :3] + drift * x[:, 1:], outputs="logits", name="f", version="1")
    teacher(IDS, inputs())
    teacher.check_unchanged()
    drift.fill_(1.0)
    with pytest.raises(TeacherError, match="gives other outputs"):
        teacher.check_unchanged()


def test_networks_have_no_probe_their_fingerprint_is_enough(tmp_path):
    check_probe(tmp_path, [ModuleTeacher(network()), LogitsTeacher(LOGITS)], as_samples(data(60)), Views())
    assert not list(tmp_path.iterdir())


def test_mappings_reach_a_network_as_keyword_arguments():
    class TwoInputs(nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logits": left + right.float()}

    given = {"left": LOGITS, "right": torch.ones(5, 3, dtype=torch.int64)}
    for teacher in (as_teacher(TwoInputs()), as_teacher(TwoInputs(), batch_size=2, dtype=torch.float64)):
        assert_close(teacher(IDS, given).logits.float(), LOGITS + 1)
    assert_close(as_teacher(LOGITS)(IDS, given).logits, LOGITS)


def labelled(count: int = 60) -> limbeck.Samples:
    x = torch.randn(count, 4, generator=torch.Generator().manual_seed(3))
    return limbeck.Samples("labels", torch.arange(count), x, x[:, :3] > 0, ("a", "b", "c"))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_probabilities_of_labels_teach_as_their_logits_do(temperature):
    for teacher in (
        as_teacher(LOGITS.sigmoid(), outputs="label_probs"),
        as_teacher(nn.Sequential(network(), nn.Sigmoid()), outputs="label_probs"),
    ):
        logits = teacher(IDS, inputs()).logits_at(temperature)
        own = LOGITS if isinstance(teacher, LogitsTeacher) else network()(inputs()).detach()
        assert_close((logits / temperature).sigmoid(), (own / temperature).sigmoid())


def test_exact_zeros_and_ones_of_labels_never_pass_another():
    teacher = as_teacher(torch.tensor([[0.0, 0.01, 0.99, 1.0], [0.0, 0.5, 0.5, 1.0]]), outputs="label_probs")
    found = teacher(torch.arange(2), torch.zeros(2, 1)).logits.sigmoid()
    assert_close(found, torch.tensor([[0.01, 0.01, 0.99, 0.99], [0.05, 0.5, 0.5, 0.95]]))


def test_probabilities_of_labels_are_recognised_where_logits_belong():
    samples = labelled()
    probs = torch.rand(60, 3, generator=torch.Generator().manual_seed(0))
    for given in (nn.Sequential(network(), nn.Sigmoid()), probs):
        with pytest.raises(TeacherError, match=r"probabilities of labels, not logits(.|\n)*label_probs"):
            limbeck.distill("mlp:widths=4", [given], samples, seeds=1, progress="silent")
    with pytest.raises(TeacherError, match="numbers from 0 to 1"):
        as_teacher(LOGITS, outputs="label_probs")
    with pytest.raises(TeacherError, match="label_probs"):
        as_teacher(probs, outputs="probs")
    single = limbeck.Samples("one", torch.arange(60), samples.inputs, torch.arange(60) % 3, ("a", "b", "c"))
    with pytest.raises(TeacherError, match="exclude each other"):
        limbeck.distill("mlp:widths=4", [as_teacher(probs, outputs="label_probs")], single, progress="silent")


@pytest.mark.parametrize("kind", ["forest", "one against the rest"])
def test_estimators_of_independent_labels_teach(kind):
    samples = labelled()
    features, labels = samples.inputs.numpy(), samples.labels.numpy().astype(int)
    if kind == "forest":
        estimator = RandomForestClassifier(20, random_state=0).fit(features, labels)
        expected = np.stack([one[:, 1] for one in estimator.predict_proba(features)], axis=1)
    else:
        estimator = OneVsRestClassifier(LogisticRegression()).fit(features, labels)
        expected = estimator.predict_proba(features)
    teacher = as_teacher(estimator)
    teacher.check_fits(samples, Views())
    found = teacher(samples.ids, samples.inputs).logits.sigmoid().numpy()
    sure = (expected == 0) | (expected == 1)
    assert np.allclose(found[~sure], expected[~sure], atol=1e-5)
    assert ((found > 0) & (found < 1)).all()
    recipe = TrainConfig(num_epochs=20, batch_size=16)
    record = limbeck.distill("mlp:widths=8", [estimator], samples, seeds=1, recipe=recipe, progress="silent").record
    assert max(record.values("distilled", "micro_f1", split="test", weights="selected").values()) > 0.6


def test_labels_of_a_teacher_do_not_add_up():
    from limbeck.teachers import ClassMap, MappedTeacher

    found = ClassMap.between(["a", "x", "b", "c"], ["a", "b", "c"], class_map={"x": "a"})
    torch.manual_seed(0)
    with pytest.raises(TeacherError, match="do not add up"):
        MappedTeacher(ModuleTeacher(nn.Linear(4, 4)), found).check_fits(labelled(), Views())
