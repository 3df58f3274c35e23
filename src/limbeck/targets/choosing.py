"""Choosing a codec: by name, or the smallest that meets a fidelity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from limbeck.errors import InvalidValue, StoreError, require_positive, unknown_name
from limbeck.targets.codec import Codec
from limbeck.targets.dense_codecs import Dense8, Dense16
from limbeck.targets.fidelity import TEMPERATURES, Fidelity, measure_fidelity
from limbeck.targets.labels_codec import INDEPENDENT, LabelsCodec
from limbeck.targets.lowrank_codec import LowRank
from limbeck.targets.lowrank_fit import LowRankFit, fit_lowrank
from limbeck.targets.positions_codec import NUM_POSITIONS, PositionsCodec
from limbeck.targets.sparse_codec import Sparse

CODECS = ("dense16", "dense8", "sparse", "lowrank")
FIDELITY_TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
MAX_KL = 0.02
SPARSE_TOPS = (8, 16, 32, 64, 128)
CORRECTIONS = (4, 0, 16)
MIN_CLASSES = 32  # below, only the dense codecs are tried: they are small enough
_SEARCH_STEP = 1.05  # sizes of records are searched to within 5 %
_SEARCH_ROWS = 512


@dataclass(frozen=True, eq=False)
class Choice:
    """A codec, what it was measured to keep, and what a reader should know of the choice."""

    codec: Codec
    fidelity: Fidelity
    note: str

    def of_labels(self) -> Choice:
        """Return the choice for independent labels, which this one was measured on beside a class of logit 0."""
        return Choice(LabelsCodec(self.codec), self.fidelity, f"{self.note}; labels beside a logit of 0")

    def of_positions(self, num_positions: int) -> Choice:
        """Return the choice for sequences whose positions this one was measured on."""
        codec = PositionsCodec(self.codec, num_positions=num_positions)
        fidelity = replace(self.fidelity, bytes_per_sample=codec.record_bytes)
        return Choice(codec, fidelity, f"{self.note}; {num_positions} positions a sample, measured on those that count")


def codec_from(name: str, parameters: Mapping[str, Any], arrays: Mapping[str, Tensor], *, num_classes: int) -> Codec:
    """Build the codec that ``parameters()`` and ``arrays()`` describe.

    Args:
        name: of the codec.
        parameters: as its ``parameters()`` gave them.
        arrays: as its ``arrays()`` gave them.
        num_classes: of the teacher.
    Raises:
        StoreError: a codec that this version does not know, or settings that are not its own.
    """
    parameters = dict(parameters)
    if (num_positions := parameters.pop(NUM_POSITIONS, None)) is not None:
        rows = codec_from(name, parameters, arrays, num_classes=num_classes)
        return PositionsCodec(rows, num_positions=num_positions)
    if parameters.pop(INDEPENDENT, False):
        return LabelsCodec(codec_from(name, parameters, arrays, num_classes=num_classes + 1))
    try:
        if name == "dense16":
            return Dense16(num_classes, **parameters)
        if name == "dense8":
            return Dense8(num_classes, **parameters)
        if name == "sparse":
            return Sparse(num_classes, **parameters)
        if name == "lowrank":
            settings: dict[str, Any] = {**arrays, **parameters}
            codec = LowRank(**settings)
            if codec.num_classes == num_classes:
                return codec
            raise InvalidValue("A basis of other classes.", received=codec.num_classes, expected=num_classes)
    except (TypeError, ValueError, KeyError) as error:
        raise StoreError(f"The codec {name} has wrong settings.", received=str(error).splitlines()[0]) from error
    raise StoreError(f"There is no codec named {name!r}.", received=name, expected="one of " + ", ".join(CODECS))


def check_codec_name(name: str) -> None:
    """Raise UnknownName or InvalidValue unless it is "auto", or a name that :func:`named_codec` takes."""
    kind, _, setting = name.partition(":")
    if kind not in (*CODECS, "auto"):
        raise unknown_name("codec", kind, (*CODECS, "auto"))
    if setting and (kind == "auto" or kind.startswith("dense") or not setting.isdigit()):
        form = {"sparse": "sparse:TOP", "lowrank": "lowrank:BYTES"}.get(kind, kind)
        raise InvalidValue(f"The codec {kind} has no such setting.", received=name, expected=form)


def named_codec(name: str, logits: Tensor) -> Codec:
    """Return a codec by name, fitted to a sample where it needs one.

    Args:
        name: "dense16", "dense8", "sparse" or "sparse:TOP", "lowrank" or "lowrank:BYTES" (of a record).
        logits: a sample of the teacher's, shape (n, classes).
    Raises:
        UnknownName: another name.
        InvalidValue: a setting out of range, or not a number.
    Example:
        >>> import torch
        >>> named_codec("sparse:8", torch.zeros(1, 100))
        Sparse(num_classes=100, top=8)
    """
    kind, _, setting = name.partition(":")
    num_classes = logits.shape[1]
    check_codec_name(name)
    if kind == "auto":
        raise unknown_name("codec", kind, CODECS)
    if kind == "dense16":
        return Dense16(num_classes)
    if kind == "dense8":
        return Dense8(num_classes)
    if kind == "sparse":
        return Sparse(num_classes, top=int(setting) if setting else max(1, min(64, num_classes // 2)))
    size = int(setting) if setting else max(4, min(384, num_classes // 2))
    corrections = 4 if size >= 64 and num_classes > 4 else 0
    return fit_lowrank(logits).codec(record_bytes=size, corrections=corrections)


def choose_codec(
    fit_sample: Tensor,
    measured_sample: Tensor,
    *,
    max_kl: float = MAX_KL,
    temperatures: Sequence[float] = FIDELITY_TEMPERATURES,
    dense_only: bool = False,
) -> Choice:
    """Return the codec of the smallest records whose mean divergence is at most ``max_kl`` at every temperature.

    Args:
        fit_sample: logits to fit to, shape (n, classes).
        measured_sample: other logits to measure on; what is fitted is not measured on its own sample.
        max_kl: nats, > 0.
        temperatures: at which the divergence must stay below it; of 1, 2, 4, 8, 20.
        dense_only: whether codecs that keep a few classes and their sum are left out.
    Returns:
        dense16, with a note, where no codec meets it.
    Raises:
        InvalidValue: max_kl not positive, or a temperature at which nothing is measured.
    """
    require_positive("max_kl", max_kl)
    if not temperatures or any(float(t) not in TEMPERATURES for t in temperatures):
        raise InvalidValue("Fidelity is measured at fixed temperatures.", received=list(temperatures),
                           expected=f"some of {TEMPERATURES}")  # fmt: skip
    num_classes = fit_sample.shape[1]
    candidates: list[Codec] = [Dense8(num_classes), Dense16(num_classes)]
    if num_classes >= MIN_CLASSES and not dense_only:
        candidates += [Sparse(num_classes, top=top) for top in SPARSE_TOPS if top <= num_classes // 4]
        candidates += _lowrank_candidates(fit_sample, measured_sample[:_SEARCH_ROWS], max_kl, temperatures)
    candidates.sort(key=lambda codec: codec.record_bytes)
    for codec in candidates:
        quick = measure_fidelity(codec, measured_sample[:_SEARCH_ROWS])
        if quick.largest_mean(temperatures) > 1.2 * max_kl:
            continue
        fidelity = measure_fidelity(codec, measured_sample)
        if fidelity.largest_mean(temperatures) <= max_kl:
            return Choice(codec, fidelity, f"the smallest with KL <= {max_kl:g} nats at T in {list(temperatures)}")
    fallback = Dense16(num_classes)
    fidelity = measure_fidelity(fallback, measured_sample)
    reached = fidelity.largest_mean(temperatures)
    return Choice(fallback, fidelity, f"no codec reaches KL <= {max_kl:g} nats; dense16 has {reached:.2g}")


def _lowrank_candidates(
    fit_sample: Tensor, measured: Tensor, max_kl: float, temperatures: Sequence[float]
) -> list[Codec]:
    """Return, for each number of corrections, the smallest record that suffices, found by bisection on its size."""
    if len(fit_sample) < 2:
        return []
    fit = fit_lowrank(fit_sample)
    return [
        codec
        for corrections in CORRECTIONS
        if (codec := _smallest_sufficient(fit, corrections, measured, 0.95 * max_kl, temperatures)) is not None
    ]


def _smallest_sufficient(
    fit: LowRankFit, corrections: int, measured: Tensor, max_kl: float, temperatures: Sequence[float]
) -> Codec | None:
    num_classes = len(fit.mean)
    low, high = 6 * corrections + 1, num_classes + 3  # dense8 is larger than that and nearly always good enough
    best: Codec | None = None
    while high > low * _SEARCH_STEP and high - low > 1:
        size = max(low + 1, round((low * high) ** 0.5))
        codec = fit.codec(record_bytes=size, corrections=corrections)
        if measure_fidelity(codec, measured).largest_mean(temperatures) <= max_kl:
            best, high = codec, min(size, codec.record_bytes)
        else:
            if codec.record_bytes < size - size // 8:
                return best  # finer steps do not help any more
            low = size
    return best
