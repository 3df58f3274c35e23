"""Codecs by their own mathematics: hand-derived bytes, exact tails, bit allocation, the choice of a codec."""

from __future__ import annotations

import math
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from limbeck.errors import InvalidValue, StoreError, UnknownName
from limbeck.targets import (
    Dense8,
    Dense16,
    LowRank,
    Sparse,
    choose_codec,
    codec_from,
    fit_lowrank,
    measure_fidelity,
    named_codec,
)
from limbeck.targets.packing import BitFields, id_bytes, pack_ids, unpack_ids


def affine_logits(count: int, *, classes: int, hidden: int, seed: int = 0, noise: float = 0.0) -> torch.Tensor:
    head = torch.Generator().manual_seed(7)
    weight, bias = torch.randn(hidden, classes, generator=head), torch.randn(classes, generator=head)
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, hidden, generator=draw) @ weight + bias
    return logits + noise * torch.randn(count, classes, generator=draw)


# packing


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 16), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_bit_fields_come_back_and_stand_where_one_long_integer_has_them(widths, seed):
    fields = BitFields(widths)
    draw = torch.Generator().manual_seed(seed)
    values = torch.stack([torch.randint(0, 1 << width, (3,), generator=draw) for width in widths], dim=1)
    packed = fields.pack(values)
    assert torch.equal(fields.unpack(packed).long(), values)
    for row, stored in zip(values.tolist(), packed.numpy(), strict=True):
        whole, start = 0, 0
        for value, width in zip(row, widths, strict=True):
            whole |= value << start
            start += width
        assert int.from_bytes(stored.tobytes(), "little") == whole


@pytest.mark.parametrize(
    ("classes", "expected"), [(2, 1), (256, 1), (257, 2), (65_536, 2), (65_537, 3), (2**24 + 1, 4)]
)
def test_ids_take_just_enough_bytes_and_come_back(classes, expected):
    assert id_bytes(classes) == expected
    ids = torch.tensor([[0, classes // 2, classes - 1]])
    packed = pack_ids(ids, num_bytes=expected)
    assert packed.shape == (1, 3 * expected)
    assert torch.equal(unpack_ids(packed, num_bytes=expected), ids)
    last = packed[0, -expected:].numpy().tobytes()
    assert int.from_bytes(last, "little") == classes - 1


# dense


def test_dense16_bytes_by_hand():
    record = Dense16(3).encode(torch.tensor([[7.0, 5.5, -1.0]]))
    assert record.numpy().tobytes() == struct.pack("<3e", 0.0, -1.5, -8.0)


def test_dense16_limits_large_gaps_and_keeps_small_ones():
    logits = torch.tensor([[0.0, -1e-9, -1e6]])
    decoded = Dense16(3).decode(Dense16(3).encode(logits)).logits_at(1.0)
    assert decoded.tolist() == [[0.0, -(2.0**-24), -65504.0]]


def test_dense8_bytes_by_hand():
    # Range 8; power 2: code = 255 sqrt(gap / 8): 0, 127.5 -> 128, 255.
    record = Dense8(3, power=2.0).encode(torch.tensor([[1.0, -1.0, -7.0]]))
    assert record.numpy().tobytes() == struct.pack("<f3B", 8.0, 0, 128, 255)


@pytest.mark.parametrize("power", [1.0, 1.5, 3.0])
def test_dense8_errs_by_at_most_half_a_step(power):
    logits = affine_logits(50, classes=30, hidden=5)
    codec = Dense8(30, power=power)
    decoded = codec.decode(codec.encode(logits)).logits_at(1.0)
    shifted = logits - logits.amax(dim=1, keepdim=True)
    reach = -shifted.amin(dim=1, keepdim=True)
    codes = 255 * (-shifted / reach) ** (1 / power)
    step = reach * (((codes + 0.51) / 255) ** power - ((codes - 0.51).clamp(min=0) / 255) ** power)
    near_top = codes < 1  # kept apart from the largest, at the cost of one step
    assert ((decoded - shifted).abs() <= step + reach * near_top * 255.0**-power + 1e-5).all()


def test_dense8_of_equal_logits():
    codec = Dense8(4)
    assert codec.decode(codec.encode(torch.full((1, 4), 3.0))).logits_at(1.0).tolist() == [[0.0] * 4]


# sparse


def tail_by_hand(logits: list[float], top: int, temperature: float) -> float:
    largest = max(logits)
    rest = sorted(logits, reverse=True)[top:]
    return math.log(sum(math.exp((z - largest) / temperature) for z in rest))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0, 8.0, 20.0])
def test_the_tail_is_exact_at_its_nodes(temperature):
    logits = affine_logits(5, classes=60, hidden=4).mul(2)
    codec = Sparse(60, top=7)
    tail = codec.decode(codec.encode(logits)).tail.at(temperature)
    expected = [tail_by_hand(row, 7, temperature) for row in logits.double().tolist()]
    assert_close(tail.double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.5, 1000.0), st.integers(0, 1000), st.floats(0.1, 5.0))
def test_the_tail_between_its_nodes(temperature, seed, scale):
    logits = affine_logits(3, classes=60, hidden=4, seed=seed).mul(scale)
    codec = Sparse(60, top=7)
    tail = codec.decode(codec.encode(logits)).tail.at(temperature)
    expected = [tail_by_hand(row, 7, temperature) for row in logits.double().tolist()]
    assert_close(tail.double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=0.05)


def test_the_tail_is_no_larger_than_it_is_below_the_last_node():
    logits = affine_logits(5, classes=60, hidden=4)
    codec = Sparse(60, top=7)
    tail = codec.decode(codec.encode(logits)).tail.at(0.2)
    expected = torch.tensor([tail_by_hand(row, 7, 0.2) for row in logits.double().tolist()])
    assert (tail <= expected + 1e-4).all()


def test_sparse_gives_the_top_classes_their_probability_and_shares_the_rest_equally():
    logits = affine_logits(4, classes=50, hidden=4)
    codec = Sparse(50, top=5)
    decoded = codec.decode(codec.encode(logits))
    for temperature in (1.0, 4.0):
        probs = torch.softmax(logits / temperature, dim=1)
        stored = torch.softmax(decoded.logits_at(temperature) / temperature, dim=1)
        top = logits.topk(5, dim=1).indices
        assert_close(stored.gather(1, top), probs.gather(1, top), rtol=2e-3, atol=1e-6)
        others = stored.scatter(1, top, -1.0)
        rest = 1 - probs.gather(1, top).sum(dim=1)
        assert_close(others[others >= 0].view(4, 45), (rest / 45)[:, None].expand(4, 45), rtol=2e-3, atol=1e-6)


def test_sparse_survives_enormous_gaps():
    logits = torch.full((1, 20), -5000.0)
    logits[0, 3] = 0.0
    codec = Sparse(20, top=1)
    decoded = codec.decode(codec.encode(logits)).logits_at(1.0)
    assert decoded.isfinite().all()
    assert decoded.argmax() == 3


def test_sparse_needs_classes_to_leave_out():
    for top in (0, 10):
        with pytest.raises(InvalidValue, match="some of the classes"):
            Sparse(10, top=top)


# lowrank


def test_lowrank_finds_the_hidden_layer_and_no_more():
    fit = fit_lowrank(affine_logits(500, classes=80, hidden=6))
    assert len(fit.basis) == 6
    codec = fit.codec(record_bytes=12)
    assert codec.rank == 6
    fidelity = measure_fidelity(codec, affine_logits(200, classes=80, hidden=6, seed=1))
    assert fidelity.largest_mean([1, 2, 4, 8, 20]) < 1e-4
    assert fidelity.top1_agreement > 0.98


@pytest.mark.parametrize("record_bytes", [3, 8, 20, 40])
def test_lowrank_uses_the_room_that_it_is_given(record_bytes):
    fit = fit_lowrank(affine_logits(500, classes=80, hidden=60))
    codec = fit.codec(record_bytes=record_bytes)
    assert record_bytes - 2 <= codec.record_bytes <= record_bytes


def test_lowrank_gets_better_with_room():
    fit = fit_lowrank(affine_logits(500, classes=80, hidden=30))
    other = affine_logits(200, classes=80, hidden=30, seed=1)
    divergences = [
        measure_fidelity(fit.codec(record_bytes=size), other).largest_mean([1, 8]) for size in (6, 12, 24, 48)
    ]
    assert divergences == sorted(divergences, reverse=True)
    assert divergences[-1] < 1e-4


def test_lowrank_spends_bits_where_the_logits_vary():
    codec = fit_lowrank(affine_logits(500, classes=80, hidden=6) * 1.0).codec(record_bytes=5)
    bits = codec.parameters()["bits"]
    assert bits == sorted(bits, reverse=True)
    assert bits[0] > bits[-1]


def test_lowrank_corrects_what_the_basis_does_not_know():
    logits = affine_logits(500, classes=80, hidden=6)
    strange = affine_logits(50, classes=80, hidden=6, seed=1)
    strange[:, 11] += 8.0  # as no sample of the fit has it
    fit = fit_lowrank(logits)
    without = measure_fidelity(fit.codec(record_bytes=12), strange)
    corrected = measure_fidelity(fit.codec(record_bytes=12, corrections=1), strange)
    assert corrected.largest_mean([1]) < 0.3 * without.largest_mean([1])


def test_lowrank_fit_is_the_same_every_time_and_leaves_the_random_state():
    logits = affine_logits(1100, classes=1100, hidden=5, noise=0.1)
    torch.manual_seed(3)
    first = fit_lowrank(logits, max_rank=16)
    after = torch.rand(1)
    second = fit_lowrank(logits, max_rank=16)
    assert torch.equal(first.basis, second.basis)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(1))


def test_lowrank_settings_out_of_range_are_refused():
    good = {
        "basis": torch.eye(2, 4),
        "mean": torch.zeros(4),
        "class_weights": torch.ones(4),
        "bits": [8, 8],
        "step": 0.1,
    }
    LowRank(**good)
    for wrong in ({"bits": [8]}, {"bits": [8, 17]}, {"bits": [8, 0]}, {"step": 0.0}, {"corrections": 4}):
        with pytest.raises(InvalidValue):
            LowRank(**{**good, **wrong})


# fidelity and choice


def test_fidelity_is_the_divergence_by_hand():
    logits = torch.tensor([[0.0, -1.0, -3.0], [2.0, 2.5, 0.0]], dtype=torch.float64)
    codec = Sparse(3, top=1)
    fidelity = measure_fidelity(codec, logits)
    for divergence in fidelity.divergences:
        by_hand = []
        for row in logits.tolist():
            weights = [math.exp(z / divergence.temperature) for z in row]
            probs = sorted((w / sum(weights) for w in weights), reverse=True)
            stored = [probs[0], (1 - probs[0]) / 2, (1 - probs[0]) / 2]
            by_hand.append(sum(p * math.log(p / q) for p, q in zip(probs, stored, strict=True)))
        assert divergence.mean == pytest.approx(sum(by_hand) / 2, rel=1e-3, abs=1e-6)
        assert divergence.largest == pytest.approx(max(by_hand), rel=1e-3, abs=1e-6)
    assert fidelity.top1_agreement == 1.0
    assert fidelity.num_samples == 2
    assert fidelity.bytes_per_sample == codec.record_bytes


def test_auto_takes_the_smallest_that_meets_the_fidelity():
    logits = affine_logits(2000, classes=300, hidden=8)
    choice = choose_codec(logits[:1500], logits[1500:])
    assert choice.codec.name == "lowrank"
    assert choice.codec.record_bytes < 40
    assert choice.fidelity.largest_mean([1, 2, 4, 8]) <= 0.02
    finer = choose_codec(logits[:1500], logits[1500:], max_kl=1e-4)
    assert finer.codec.record_bytes > choice.codec.record_bytes
    assert finer.fidelity.largest_mean([1, 2, 4, 8]) <= 1e-4


def test_auto_takes_bytes_for_few_classes_and_says_when_nothing_suffices():
    logits = affine_logits(100, classes=10, hidden=8)
    assert choose_codec(logits, logits).codec == Dense8(10)
    choice = choose_codec(logits, logits, max_kl=1e-12)
    assert choice.codec == Dense16(10)
    assert "no codec reaches" in choice.note


def test_auto_on_logits_without_structure_is_honest():
    logits = 3 * torch.randn(600, 64, generator=torch.Generator().manual_seed(0))
    choice = choose_codec(logits[:400], logits[400:])
    assert choice.fidelity.largest_mean([1, 2, 4, 8]) <= 0.02
    assert choice.codec.record_bytes >= 30  # nothing to save beyond the bits themselves


def test_codecs_by_name():
    logits = affine_logits(50, classes=40, hidden=3)
    assert named_codec("dense16", logits) == Dense16(40)
    assert named_codec("sparse:5", logits) == Sparse(40, top=5)
    assert named_codec("lowrank:9", logits).record_bytes <= 9
    with pytest.raises(UnknownName, match="did you mean dense16"):
        named_codec("dens16", logits)
    for wrong in ("dense16:2", "sparse:many", "lowrank:-3"):
        with pytest.raises(InvalidValue, match="no such setting"):
            named_codec(wrong, logits)


def test_descriptions_of_other_versions_are_refused():
    with pytest.raises(StoreError, match="no codec named"):
        codec_from("dense4", {}, {}, num_classes=3)
    for name, parameters in (
        ("dense8", {"powr": 2}),
        ("sparse", {}),
        ("lowrank", {"bits": [8]}),
        ("sparse", {"top": 9}),
    ):
        with pytest.raises(StoreError, match="wrong settings"):
            codec_from(name, parameters, {}, num_classes=3)
