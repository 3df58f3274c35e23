"""Metrics of classification agree with slow loops, with scikit-learn, and with values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.metrics import (
    accuracy,
    brier_score,
    confusion_matrix,
    count_errors,
    expected_calibration_error,
    measure_predictions,
    most_confused,
    negative_log_likelihood,
    reliability_bins,
    rows,
    top_k_accuracy,
)
from limbeck.records import ReliabilityBin

MEASURES = [
    count_errors,
    accuracy,
    negative_log_likelihood,
    brier_score,
    expected_calibration_error,
    reliability_bins,
    confusion_matrix,
    measure_predictions,
    lambda logits, labels: top_k_accuracy(logits, labels, k=1),
]


def made(seed, num_samples=60, num_classes=7):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(num_samples, num_classes, generator=generator)
    return logits, torch.randint(num_classes, (num_samples,), generator=generator)


def slow_softmax(row):
    top = max(row)
    exponentials = [math.exp(value - top) for value in row]
    return [value / math.fsum(exponentials) for value in exponentials]


def slow_calibration(logits, labels, num_bins):
    """Guo et al. 2017, equation 3, sample by sample."""
    members = [[] for _ in range(num_bins)]
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        probabilities = slow_softmax(row)
        confidence = max(probabilities)
        for m in range(num_bins):
            if m / num_bins < confidence <= (m + 1) / num_bins:
                members[m].append((confidence, probabilities.index(confidence) == label))
    error = 0.0
    for inside in members:
        if inside:
            mean_confidence = math.fsum(c for c, _ in inside) / len(inside)
            mean_accuracy = sum(hit for _, hit in inside) / len(inside)
            error += len(inside) / len(labels) * abs(mean_accuracy - mean_confidence)
    return error


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**20), st.integers(1, 40), st.integers(1, 12))
def test_all_agree_with_slow_loops(seed, num_samples, num_classes):
    logits, labels = made(seed, num_samples, num_classes)
    pairs = list(zip(logits.tolist(), labels.tolist(), strict=True))
    wrong = sum(row.index(max(row)) != label for row, label in pairs)
    assert count_errors(logits, labels) == wrong
    assert accuracy(logits, labels) == (num_samples - wrong) / num_samples
    nll = -math.fsum(math.log(slow_softmax(row)[label]) for row, label in pairs) / num_samples
    assert negative_log_likelihood(logits, labels) == pytest.approx(nll, abs=1e-12)
    brier = math.fsum(
        math.fsum((p - (c == label)) ** 2 for c, p in enumerate(slow_softmax(row))) for row, label in pairs
    )
    assert brier_score(logits, labels) == pytest.approx(brier / num_samples, abs=1e-12)
    for num_bins in (1, 4, 15):
        expected = slow_calibration(logits, labels, num_bins)
        assert expected_calibration_error(logits, labels, num_bins=num_bins) == pytest.approx(expected, abs=1e-12)


def test_all_agree_with_scikit_learn():
    logits, labels = made(0, num_samples=500)
    probabilities = logits.double().softmax(dim=1).numpy()
    predicted, true = logits.argmax(dim=1).numpy(), labels.numpy()
    assert accuracy(logits, labels) == sklearn_metrics.accuracy_score(true, predicted)
    assert negative_log_likelihood(logits, labels) == pytest.approx(
        sklearn_metrics.log_loss(true, probabilities, labels=range(7)), abs=1e-12
    )
    expected = sklearn_metrics.confusion_matrix(true, predicted, labels=range(7))
    assert confusion_matrix(logits, labels).tolist() == expected.tolist()
    for k in (1, 2, 6):
        reached = sklearn_metrics.top_k_accuracy_score(true, probabilities, k=k, labels=range(7))
        assert top_k_accuracy(logits, labels, k=k) == pytest.approx(reached)


def test_top_k_of_all_classes_is_everything():
    logits, labels = made(1)
    assert top_k_accuracy(logits, labels, k=7) == 1.0
    assert top_k_accuracy(logits, labels, k=1) == accuracy(logits, labels)


@pytest.mark.parametrize(("label", "errors", "top2"), [(0, 0, 1.0), (1, 1, 1.0), (2, 1, 0.0), (3, 1, 0.0)])
def test_ties_go_to_the_lowest_class(label, errors, top2):
    logits, labels = torch.zeros(1, 4), torch.tensor([label])
    assert count_errors(logits, labels) == errors
    assert top_k_accuracy(logits, labels, k=2) == top2
    assert measure_predictions(logits, labels)["errors"] == (errors, "count")
    assert confusion_matrix(logits, labels)[label, 0] == 1


def test_bins_are_open_below_and_closed_above():
    # Equal logits have confidence 1/2 exactly, the upper edge of the second of four bins; the other row has 0.5001.
    logits = torch.tensor([[0.0, 0.0], [math.log(0.5001), math.log(0.4999)]], dtype=torch.float64)
    bins = reliability_bins(logits, torch.tensor([0, 1]), num_bins=4)
    assert [b.count for b in bins] == [0, 1, 1, 0]
    assert bins[1] == ReliabilityBin(low=0.25, high=0.5, count=1, mean_confidence=0.5, accuracy=1.0)
    assert bins[0] == ReliabilityBin(low=0.0, high=0.25, count=0, mean_confidence=0.0, accuracy=0.0)


def test_full_confidence_falls_into_the_last_bin():
    bins = reliability_bins(torch.tensor([[1000.0, 0.0]]), torch.tensor([0]), num_bins=15)
    assert [b.count for b in bins] == [0] * 14 + [1]
    assert bins[-1].mean_confidence == 1.0
    assert bins[-1].high == 1.0


def test_calibration_by_hand():
    # Confidence 0.8 four times, three right; 0.6 four times, one right: (|0.75 - 0.8| + |0.25 - 0.6|) / 2.
    strong, weak = [math.log(0.8), math.log(0.2)], [math.log(0.6), math.log(0.4)]
    logits = torch.tensor([strong] * 4 + [weak] * 4, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1, 0, 1, 1, 1])
    assert expected_calibration_error(logits, labels, num_bins=10) == pytest.approx(0.2)


def test_confident_mistakes_are_measured_in_log_space():
    # log(1 + e^500) is 500 to double precision: a softmax before the logarithm would say infinity.
    logits, labels = torch.tensor([[500.0, 0.0]]), torch.tensor([1])
    assert negative_log_likelihood(logits, labels) == pytest.approx(500.0)
    assert brier_score(logits, labels) == pytest.approx(2.0)
    assert expected_calibration_error(logits, labels) == pytest.approx(1.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_double(dtype):
    logits = made(2, num_samples=5000)[0].to(dtype)
    labels = made(2, num_samples=5000)[1]
    for name, (value, _) in measure_predictions(logits, labels).items():
        assert value == measure_predictions(logits.double(), labels)[name][0], name


def test_a_class_ruled_out_is_no_mistake_unless_it_is_the_label():
    logits = torch.tensor([[0.0, 0.0, -math.inf]])
    assert negative_log_likelihood(logits, torch.tensor([0])) == pytest.approx(math.log(2))
    assert negative_log_likelihood(logits, torch.tensor([2])) == math.inf
    assert brier_score(logits, torch.tensor([2])) == pytest.approx(1.5)


def test_chunks_do_not_change_the_result(monkeypatch):
    logits, labels = made(3, num_samples=101, num_classes=12)
    whole, bins = measure_predictions(logits, labels), reliability_bins(logits, labels)
    top3 = top_k_accuracy(logits, labels, k=3)
    monkeypatch.setattr(rows, "_CHUNK", 50)  # four rows at a time
    assert measure_predictions(logits, labels) == whole
    assert reliability_bins(logits, labels) == bins
    assert top_k_accuracy(logits, labels, k=3) == top3


@pytest.mark.parametrize("num_classes", [5, 9, 10, 30])
def test_one_pass_agrees_with_the_single_measures(num_classes):
    logits, labels = made(4, num_classes=num_classes)
    measured = measure_predictions(logits, labels)
    expected = {
        "errors": (count_errors(logits, labels), "count"),
        "accuracy": (accuracy(logits, labels), "fraction"),
        "nll": (negative_log_likelihood(logits, labels), "nats"),
        "ece": (expected_calibration_error(logits, labels), "fraction"),
        "brier": (brier_score(logits, labels), "squared probability"),
    }
    if num_classes >= 10:
        expected["top5_accuracy"] = (top_k_accuracy(logits, labels, k=5), "fraction")
    assert measured == expected
    assert all(type(value) is float for value, _ in measured.values())


def test_inputs_are_left_alone_and_need_no_gradient():
    logits, labels = made(5)
    logits.requires_grad_()
    before = logits.detach().clone()
    measure_predictions(logits, labels.int())
    assert torch.equal(logits.detach(), before)
    assert logits.grad is None


def test_most_confused_lists_mistakes_most_first():
    confusion = torch.tensor([[9, 1, 0], [4, 9, 4], [0, 1, 9]])
    names = ["cat", "dog", "owl"]
    everything = [("dog", "cat", 4), ("dog", "owl", 4), ("cat", "dog", 1), ("owl", "dog", 1)]
    assert most_confused(confusion, names) == everything
    assert most_confused(confusion, names, 1) == everything[:1]
    assert most_confused(confusion, names, 0) == []
    assert most_confused(torch.eye(3, dtype=torch.int64), names) == []
    assert confusion[0, 0] == 9


def test_most_confused_wants_one_name_per_class():
    with pytest.raises(ShapeMismatch) as caught:
        most_confused(torch.zeros(3, 3, dtype=torch.int64), ["cat", "dog"])
    assert "(3, 3), 2 names" in caught.value.received


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("logits", "labels", "error", "said"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), InvalidValue, "no samples"),
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), ShapeMismatch, r"received: \(3,\)"),
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64), ShapeMismatch, r"labels \(3,\), logits \(2, 3\)"),
        (torch.zeros(2, 3), torch.zeros(2, 1, dtype=torch.int64), ShapeMismatch, r"labels \(2, 1\)"),
        (torch.zeros(2, 3), torch.tensor(0), ShapeMismatch, r"labels \(\)"),
        (torch.zeros(2, 3), torch.zeros(2), InvalidValue, "torch.float32"),
        (torch.zeros(2, 3, dtype=torch.int64), torch.tensor([0, 1]), InvalidValue, "must be floats"),
        (torch.zeros(3, 3), torch.tensor([0, 3, -1]), InvalidValue, r"2 of 3 labels[\s\S]*is 3, at row 1"),
        (torch.tensor([[0.0], [math.nan], [math.nan]]), torch.zeros(3, dtype=torch.int64), InvalidValue, "2 of 3 rows"),
        (torch.tensor([[0.0, 1], [0, math.nan]]), torch.tensor([0, 0]), InvalidValue, "the first is row 1"),
        (torch.tensor([[0.0, 1], [0, math.inf]]), torch.tensor([0, 0]), InvalidValue, "1 of 2 rows"),
        (torch.full((1, 2), -math.inf), torch.tensor([0]), InvalidValue, "1 of 1 rows"),
    ],
)
def test_bad_inputs_are_named(measure, logits, labels, error, said):
    with pytest.raises(error, match=said):
        measure(logits, labels)


def test_numbers_out_of_range_are_named():
    logits, labels = made(6)
    for k in (0, 8):
        with pytest.raises(InvalidValue, match="1 to 7"):
            top_k_accuracy(logits, labels, k=k)
    with pytest.raises(InvalidValue, match="num_bins"):
        expected_calibration_error(logits, labels, num_bins=0)
