"""Class sets of specialists: covariance without labels, clusters of the sizes asked for, plans that read back equal."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from limbeck.errors import InvalidValue, LimbeckError, OutputError, RecordError, ShapeMismatch, UnknownName
from limbeck.specialists import (
    METHODS,
    SpecialistPlan,
    cluster_classes,
    load_plan,
    plan_specialists,
    prediction_covariance,
)

GROUPS = [[0, 4, 8, 12, 16], [1, 5, 9, 13, 17], [2, 6, 10, 14, 18], [3, 7, 11, 15, 19]]  # class c is of group c mod 4
NAMES = [f"class {c}" for c in range(20)]
every_method = pytest.mark.parametrize("method", METHODS)


def predictions(count: int = 2000) -> tuple[Tensor, Tensor]:
    """Return probabilities of a network that takes classes of a group for each other, and labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 20, (count,), generator=generator)
    classes = torch.arange(20)
    likeness = 3.0 * (classes.unsqueeze(0) % 4 == classes.unsqueeze(1) % 4) + 1.0 * torch.eye(20)
    logits = likeness[labels] + 0.7 * torch.randn(count, 20, generator=generator)
    return torch.softmax(logits, dim=1), labels


def matrix(method: str) -> Tensor:
    probs, labels = predictions()
    if method != "confusion":
        return prediction_covariance(probs)
    return torch.bincount(labels * 20 + probs.argmax(dim=1), minlength=400).reshape(20, 20)


def test_covariance_matches_a_slow_sum() -> None:
    probs = predictions(50)[0].double()
    mean = probs.mean(dim=0)
    slow = torch.zeros(20, 20, dtype=torch.float64)
    for row in probs:
        slow += torch.outer(row - mean, row - mean) / 50
    assert_close(prediction_covariance(probs), slow)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_batches_do_not_matter(sizes: list[int]) -> None:
    probs = predictions(sum(sizes))[0]
    streamed = prediction_covariance(iter(probs.split(sizes)))
    assert_close(streamed, prediction_covariance(probs), atol=1e-15, rtol=1e-9)
    assert torch.equal(streamed, streamed.T)


def test_covariance_of_nearly_certain_predictions_does_not_cancel() -> None:
    probs = torch.full((1000, 2), 0.5, dtype=torch.float64)
    probs[:, 0] += torch.linspace(-1e-9, 1e-9, 1000, dtype=torch.float64)
    probs[:, 1] = 1 - probs[:, 0]
    variance = float(prediction_covariance(probs.split(100))[0, 0])
    assert variance == pytest.approx(float(torch.linspace(-1e-9, 1e-9, 1000).double().var(correction=0)), rel=1e-3)


@pytest.mark.parametrize(
    ("given_", "kind", "words"),
    [
        (torch.zeros(0, 3), InvalidValue, "no samples"),
        ([], InvalidValue, "no samples"),
        (torch.zeros(3), ShapeMismatch, "matrix"),
        (torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), InvalidValue, "softmax"),
        (torch.full((2, 2), math.nan), InvalidValue, "softmax"),
        (torch.ones(2, 1, dtype=torch.long), InvalidValue, "floating-point"),
        ([torch.ones(2, 1), torch.full((2, 2), 0.5)], ShapeMismatch, "1 and 2 classes"),
    ],
)
def test_what_is_no_prediction(given_: object, kind: type[LimbeckError], words: str) -> None:
    with pytest.raises(kind) as caught:
        prediction_covariance(given_)
    assert words in str(caught.value)


@every_method
def test_planted_groups_are_found(method: str) -> None:
    assert cluster_classes(matrix(method), num_specialists=4, method=method) == GROUPS


@every_method
def test_the_same_seed_gives_the_same_sets(method: str) -> None:
    noise = torch.rand(30, 30, generator=torch.Generator().manual_seed(1))
    noise = noise + noise.T
    first, again = (cluster_classes(noise, num_specialists=5, method=method, max_size=8, seed=3) for _ in range(2))
    assert first == again


@settings(deadline=None, max_examples=40)
@given(st.integers(3, 15), st.data())
def test_sizes_are_kept(num_classes: int, data: st.DataObject) -> None:
    num_specialists = data.draw(st.integers(1, num_classes - 1))
    max_size = data.draw(st.integers(1, num_classes - 1))
    overlap = data.draw(st.integers(0, max_size - 1))
    seed = data.draw(st.integers(0, 100))
    entries = torch.randn(num_classes, num_classes, generator=torch.Generator().manual_seed(seed))
    covariance = entries @ entries.T
    sets = cluster_classes(covariance, num_specialists=num_specialists, max_size=max_size, overlap=overlap)
    assert len(sets) == num_specialists
    own = cluster_classes(covariance, num_specialists=num_specialists, max_size=max_size - overlap)
    for members, core in zip(sets, own, strict=True):
        assert members == sorted(set(members))
        assert set(core) <= set(members)
        assert 1 <= len(core) <= max_size - overlap
        assert len(members) == min(len(core) + overlap, num_classes - 1) <= max_size
    covered = {number for members in own for number in members}
    assert len(covered) == sum(map(len, own)) == min(num_classes, num_specialists * (max_size - overlap)) or (
        num_specialists == 1 and len(covered) == max_size - overlap
    )
    exact = cluster_classes(covariance, num_specialists=num_specialists, size=max_size)
    assert [len(members) for members in exact] == [max_size] * num_specialists


def test_a_set_takes_in_the_nearest_classes() -> None:
    # Columns as points: 2 is like 1, and a little like 3.
    points = torch.eye(5)
    for one, other, value in ((0, 1, 0.9), (3, 4, 0.9), (1, 2, 0.5), (2, 3, 0.1)):
        points[one, other] = points[other, one] = value
    sets = cluster_classes(points, num_specialists=2)
    assert sets == [[0, 1, 2], [3, 4]]
    assert cluster_classes(points, num_specialists=2, overlap=1) == [[0, 1, 2, 3], [2, 3, 4]]
    assert cluster_classes(points, num_specialists=2, size=2) == [[0, 1], [3, 4]]


def test_fewer_different_classes_than_specialists() -> None:
    sets = cluster_classes(torch.zeros(6, 6), num_specialists=4)
    assert sorted(number for members in sets for number in members) == [0, 1, 2, 3, 4, 5]
    assert all(sets)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_specialists": 0}, "1 to 19"),
        ({"num_specialists": 20}, "1 to 19"),
        ({"size": 20}, "1 to 19"),
        ({"size": 0}, "1 to 19"),
        ({"size": 5, "overlap": 1}, "size alone"),
        ({"size": 5, "max_size": 6}, "size alone"),
        ({"max_size": 3, "overlap": 3}, "4 to 19 with that overlap"),
        ({"overlap": -1}, "overlap must not be negative"),
        ({"method": "kmean"}, "did you mean kmeans"),
    ],
)
def test_sizes_that_cannot_be(options: dict[str, object], words: str) -> None:
    with pytest.raises((InvalidValue, UnknownName)) as caught:
        cluster_classes(torch.eye(20), **{"num_specialists": 4, **options})
    assert words in str(caught.value)


def test_matrices_that_cannot_be() -> None:
    with pytest.raises(ShapeMismatch, match="square"):
        cluster_classes(torch.zeros(3, 4), num_specialists=2)
    with pytest.raises(InvalidValue, match="NaN"):
        cluster_classes(torch.full((3, 3), math.nan), num_specialists=2)
    with pytest.raises(InvalidValue, match="symmetric"):
        cluster_classes(torch.arange(9.0).reshape(3, 3), num_specialists=2)
    with pytest.raises(InvalidValue, match="counts"):
        cluster_classes(-torch.ones(3, 3), num_specialists=2, method="confusion")


def test_a_plan_reads_back_equal_and_can_be_read(tmp_path: Path) -> None:
    plan = plan_specialists(
        matrix("kmeans"), class_names=NAMES, num_specialists=4, overlap=2, seed=1, generalist_fingerprint="ab12"
    )
    plan.save(tmp_path / "plan.yaml")
    assert load_plan(tmp_path / "plan.yaml") == plan
    text = (tmp_path / "plan.yaml").read_text()
    assert text.startswith("format: limbeck-specialist-plan\nversion: 1\n")
    assert "- [class 0, class " in text
    assert "settings: {num_specialists: 4, size: null, max_size: null, overlap: 2, seed: 1}" in text
    numbers = plan.class_numbers()
    assert all(set(group) < set(members) and len(members) == 7 for group, members in zip(GROUPS, numbers, strict=True))
    assert sum(plan.coverage().values()) == 28
    assert min(plan.coverage().values()) == 1


def test_a_plan_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(
        "format: limbeck-specialist-plan\nversion: 1\nclass_names: ['0', '1', '2']\nclass_sets:\n- ['2', '1']\n"
    )
    plan = load_plan(path)
    assert plan == SpecialistPlan(["0", "1", "2"], [["2", "1"]])
    assert plan.class_numbers() == [[2, 1]]
    assert (plan.method, plan.coverage()) == ("by hand", {"0": 0, "1": 1, "2": 1})


GOOD = {"format": "limbeck-specialist-plan", "version": 1, "class_names": ["cat", "dog"], "class_sets": [["cat"]]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "limbeck-run-record"}, "no plan of specialists"),
        ({"version": 2}, "another version"),
        ({"class_sets": [["catt"]]}, "did you mean cat"),
        ({"class_sets": [["cat", "cat"]]}, "holds a class twice"),
        ({"class_sets": [[]]}, "specialist 0 is empty"),
        ({"class_sets": [["cat", "dog"]]}, "every class"),
        ({"class_names": ["cat", "cat"]}, "Two classes have one name"),
        ({"class_names": [1, 2]}, "class_names[0] has a value of the wrong type"),
        ({"class_sets": "cat"}, "wrong type"),
        ({"method": None}, "wrong type"),
        ({"sets": []}, "unknown fields: sets"),
    ],
)
def test_plans_that_cannot_be_read(tmp_path: Path, change: dict[str, object], words: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **change}))
    with pytest.raises(RecordError) as caught:
        load_plan(path)
    assert words in str(caught.value)
    assert "plan.yaml" in str(caught.value)


def test_files_that_are_no_plan(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="Cannot read"):
        load_plan(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(RecordError, match="not YAML"):
        load_plan(tmp_path / "bad.yaml")
    (tmp_path / "short.yaml").write_text("format: limbeck-specialist-plan\nversion: 1\nclass_names: [a, b]\n")
    with pytest.raises(RecordError, match="misses class_sets"):
        load_plan(tmp_path / "short.yaml")


def test_plans_that_cannot_be_made_or_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="one name per class"):
        plan_specialists(torch.eye(3), class_names=["a", "b"], num_specialists=2)
    with pytest.raises(RecordError, match="no plain form"):
        SpecialistPlan(["a", "b"], [["a"]], settings={"x": object()}).save(tmp_path / "plan.yaml")
    with pytest.raises(OutputError):
        SpecialistPlan(["a", "b"], [["a"]]).save(tmp_path / "missing" / "plan.yaml")


def test_a_plan_of_aliases_is_refused_before_it_grows(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join(9 * [f'*a{n - 1}'])}]" for n in range(1, 9)]
    (tmp_path / "bomb.yaml").write_text("\n".join(rows))
    with pytest.raises(RecordError, match="no aliases"):
        load_plan(tmp_path / "bomb.yaml")
