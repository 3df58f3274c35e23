"""What every codec keeps: one table of codecs, one set of promises."""

from __future__ import annotations

import json

import pytest
import torch
from torch.testing import assert_close

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.targets import Codec, Dense8, Dense16, Sparse, SparseTargets, codec_from, fit_lowrank, measure_fidelity
from limbeck.targets.compact_targets import LowRankTargets

CLASSES = 40
HIDDEN = 6


def teacher_logits(count: int, *, classes: int = CLASSES, seed: int = 0) -> torch.Tensor:
    """Logits as a classifier makes them: an affine image of a few hidden units."""
    head = torch.Generator().manual_seed(99)
    weight, bias = torch.randn(HIDDEN, classes, generator=head), torch.randn(classes, generator=head)
    hidden = torch.randn(count, HIDDEN, generator=torch.Generator().manual_seed(seed)).relu()
    return 2 * hidden @ weight + bias


def lowrank(*, record_bytes: int = 12, corrections: int = 2) -> Codec:
    return fit_lowrank(teacher_logits(300, seed=1)).codec(record_bytes=record_bytes, corrections=corrections)


CODECS = {
    "dense16": lambda: Dense16(CLASSES),
    "dense8": lambda: Dense8(CLASSES),
    "dense8 with equal steps": lambda: Dense8(CLASSES, power=1.0),
    "sparse": lambda: Sparse(CLASSES, top=8),
    "sparse, all but one": lambda: Sparse(CLASSES, top=CLASSES - 1),
    "lowrank": lowrank,
    "lowrank without corrections": lambda: lowrank(corrections=0),
}
# Mean KL in nats at T in {1, 2, 4, 8} on such logits, an order above what was measured when the codecs were made.
LARGEST_KL = {
    "dense16": 1e-6,
    "dense8": 1e-3,
    "dense8 with equal steps": 1e-3,
    "sparse": 0.1,
    "sparse, all but one": 1e-6,
    "lowrank": 1e-3,
    "lowrank without corrections": 1e-3,
}


@pytest.fixture(params=CODECS)
def named(request) -> tuple[str, Codec]:
    return request.param, CODECS[request.param]()


@pytest.fixture
def codec(named) -> Codec:
    return named[1]


def test_records_have_the_size_that_was_stated_before(codec):
    for count in (1, 7):
        records = codec.encode(teacher_logits(count))
        assert records.dtype == torch.uint8
        assert records.shape == (count, codec.record_bytes)
    assert codec.encode(torch.empty(0, CLASSES)).shape == (0, codec.record_bytes)


def test_a_record_is_a_function_of_its_row_alone(codec):
    logits = teacher_logits(9)
    together = codec.decode(codec.encode(logits)).logits_at(2.0)
    alone = torch.cat([codec.decode(codec.encode(row[None])).logits_at(2.0) for row in logits])
    assert_close(alone, together, rtol=1e-4, atol=1e-4)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(codec.encode(logits)[order], codec.encode(logits[order]))


def test_decoding_commutes_with_choosing_records(codec):
    records = codec.encode(teacher_logits(9))
    chosen = torch.tensor([8, 0, 0, 3])
    assert_close(codec.decode(records[chosen]).logits_at(3.0), codec.decode(records).logits_at(3.0)[chosen])


@pytest.mark.parametrize("shift", [-300.0, 2.0, 1000.0])
def test_a_constant_added_to_a_row_changes_nothing(codec, shift):
    logits = (teacher_logits(5) * 64).round() / 64  # so that the sum is exact in float32
    plain = codec.decode(codec.encode(logits)).logits_at(4.0)
    shifted = codec.decode(codec.encode(logits + shift)).logits_at(4.0)
    assert_close(torch.softmax(shifted / 4, dim=1), torch.softmax(plain / 4, dim=1))


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 3.3, 20.0, 1e4])
def test_any_temperature_gives_finite_logits_of_every_class(codec, temperature):
    decoded = codec.decode(codec.encode(teacher_logits(5))).logits_at(temperature)
    assert decoded.shape == (5, CLASSES)
    assert decoded.dtype == torch.float32
    assert decoded.isfinite().all()


def test_the_round_trip_stays_within_its_bound(named):
    name, codec = named
    fidelity = measure_fidelity(codec, teacher_logits(200, seed=2))
    assert fidelity.largest_mean([1, 2, 4, 8]) < LARGEST_KL[name]


def test_the_largest_logit_stays_the_only_largest_where_the_codec_says_so(codec):
    logits = teacher_logits(300, seed=3)
    runner_up = logits.topk(2, dim=1)
    logits.scatter_(1, runner_up.indices[:, 1:], runner_up.values[:, :1] - 1e-4)  # as close as can be
    for temperature in (1.0, 8.0):
        decoded = codec.decode(codec.encode(logits)).logits_at(temperature)
        kept = decoded.argmax(dim=1) == logits.argmax(dim=1)
        if codec.keeps_top1:
            assert kept.all()
            assert (decoded.topk(2, dim=1).values.diff(dim=1) < 0).all()
        else:
            assert kept.float().mean() > 0.5


def test_settings_and_arrays_build_the_same_codec_through_json(codec):
    parameters = json.loads(json.dumps(codec.parameters()))
    again = codec_from(codec.name, parameters, codec.arrays(), num_classes=CLASSES)
    logits = teacher_logits(20)
    assert torch.equal(again.encode(logits), codec.encode(logits))
    assert_close(again.decode(codec.encode(logits)).logits_at(2.0), codec.decode(codec.encode(logits)).logits_at(2.0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_logits_of_any_float_type_are_taken_for_what_they_are(codec, dtype):
    logits = teacher_logits(5).to(dtype)
    assert torch.equal(codec.encode(logits), codec.encode(logits.float()))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused_with_their_row(codec, bad):
    logits = teacher_logits(4)
    logits[2, 5] = bad
    with pytest.raises(InvalidValue, match="not finite") as caught:
        codec.encode(logits)
    assert "row 2" in caught.value.received


def test_other_numbers_of_classes_are_refused(codec):
    with pytest.raises(ShapeMismatch, match="other logits"):
        codec.encode(torch.zeros(2, CLASSES + 1))


def test_an_impossible_class_stays_impossible_in_dense16_and_is_refused_elsewhere(codec):
    logits = teacher_logits(3)
    logits[1, 4] = -torch.inf
    if codec.name == "dense16":
        assert codec.decode(codec.encode(logits)).logits_at(1.0)[1, 4] == -torch.inf
    else:
        with pytest.raises(InvalidValue) as caught:
            codec.encode(logits)
        assert "dense16" in caught.value.remedy


def test_the_structure_is_the_dense_logits(codec):
    """What a chunked loss reads off sparse and low-rank targets is what ``logits_at`` says."""
    decoded = codec.decode(codec.encode(teacher_logits(5)))
    dense = decoded.logits_at(2.0)
    log_probs = torch.log_softmax(dense / 2.0, dim=1)
    if isinstance(decoded, SparseTargets):
        top, tail = decoded.log_prob_parts(2.0)
        assert_close(top, log_probs.gather(1, decoded.ids))
        others = log_probs.exp().scatter(1, decoded.ids, 0.0).sum(dim=1)
        assert_close(tail.exp(), others)
    if isinstance(decoded, LowRankTargets):
        expected = decoded.mean + decoded.coefficients @ decoded.basis
        for row in range(5):
            for class_id, residual in zip(decoded.ids[row].tolist(), decoded.residuals[row].tolist(), strict=True):
                expected[row, class_id] += residual
        assert_close(dense, expected)
