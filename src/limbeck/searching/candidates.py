"""Which networks a search chooses among, and what each costs before any is trained."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from limbeck.data import Samples, Views
from limbeck.distillation.costs import first_inputs
from limbeck.distillation.sources import Network, NetworkSource, network_from
from limbeck.distillation.splits import JobData
from limbeck.errors import InvalidValue
from limbeck.exporting.deployed import deployed
from limbeck.exporting.program import program_of, quiet, write_onnx
from limbeck.exporting.session import SessionNetwork
from limbeck.inputs import Inputs
from limbeck.metrics import count_flops, count_parameters, latency
from limbeck.models import evaluating
from limbeck.settings import SearchSettings
from limbeck.teachers.onnx_file import OnnxSession

_RANGE = re.compile(r"(\d+(?:x\d+)*)\.\.(\d+(?:x\d+)*)")
FAMILIES = {"image": "convnet:channels=4x8..64x128", "small": "mlp:widths=4x4..64x64"}
SMALL_IMAGE = 16  # pixels a side: below it an MLP is the default family


@dataclass(frozen=True, eq=False)
class Candidate:
    """One network of the search.

    Args:
        network: how it is built.
        cost: in the search's measure: parameters, FLOP of one sample, or seconds of one sample.
        num_parameters: of it.
        seconds: of one sample; None where it was not timed.
    """

    network: Network
    cost: float
    num_parameters: int
    seconds: float | None

    @property
    def name(self) -> str:
        """The spec."""
        return self.network.name


def expanded(spec: str) -> list[str]:
    """Return the specs that a range stands for: every number doubles from the first to the last.

    Raises:
        InvalidValue: ends of another form, or that doubling does not join.
    Example:
        >>> expanded("mlp:widths=8x8..32x32")
        ['mlp:widths=8x8', 'mlp:widths=16x16', 'mlp:widths=32x32']
        >>> expanded("resnet20")
        ['resnet20']
    """
    found = _RANGE.search(spec)
    if found is None:
        return [spec]
    numbers, last = ([int(part) for part in end.split("x")] for end in found.groups())
    texts = []
    while len(numbers) == len(last) and 0 < numbers[0] <= last[0]:
        texts.append(spec[: found.start()] + "x".join(map(str, numbers)) + spec[found.end() :])
        if numbers == last:
            return texts
        numbers = [2 * number for number in numbers]
    raise InvalidValue(
        "This range does not go from its first to its last network by doubling.",
        received=found[0],
        expected="like 8x16..64x128",
    )


def default_family(samples: Samples) -> str:
    """Return the family that is searched where none is named."""
    is_large = samples.is_image and min(samples.input_shape[1:]) >= SMALL_IMAGE
    return FAMILIES["image" if is_large else "small"]


def candidates_of(
    sources: Sequence[NetworkSource], data: JobData, views: Views, settings: SearchSettings
) -> tuple[list[Candidate], list[str]]:
    """Return what may be trained, cheapest first, and a note on each that a limit leaves out.

    Args:
        sources: names, ranges of names, or callables that build a module.
        data: of the job.
        views: for the normalisation.
        settings: measure and limits.
    Raises:
        InvalidValue: nothing is left, or a candidate stands twice.
    """
    given: list[NetworkSource] = []
    for source in sources or [default_family(data.train)]:
        given += expanded(source) if isinstance(source, str) else [source]
    networks = [network_from(source) for source in given]
    names = [network.name for network in networks]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise InvalidValue("A candidate stands twice.", received=", ".join(sorted(repeated)), expected="each once")
    found, notes = [], []
    inputs = first_inputs(data.train, views, count=8)
    for network in networks:
        candidate = _measured(network, data, inputs, settings)
        if reason := _too_much(candidate, settings):
            notes.append(f"{candidate.name} was left out: {reason}.")
        else:
            found.append(candidate)
    if not found:
        raise InvalidValue(
            "No candidate is within the limits.",
            received="; ".join(note.rstrip(".") for note in notes)[:400],
            remedy="give smaller candidates (--student), or higher limits",
        )
    return sorted(found, key=lambda candidate: candidate.cost), notes


def _measured(network: Network, data: JobData, inputs: Inputs, settings: SearchSettings) -> Candidate:
    module = data.build(network, seed=0).eval()
    seconds = None
    if settings.cost == "onnx_latency":
        seconds = _onnx_seconds(module, data, inputs)
    elif settings.cost == "latency" or settings.max_latency_ms is not None:
        seconds = latency(module, inputs)
    if settings.cost == "flops":
        cost = float(count_flops(module, inputs))
    elif settings.cost == "parameters":
        cost = float(count_parameters(module))
    else:
        assert seconds is not None, "timed above"
        cost = seconds
    return Candidate(network, cost, count_parameters(module), seconds)


def _onnx_seconds(module: nn.Module, data: JobData, inputs: Inputs) -> float:
    """Return the time of one sample in an ONNX file of the network, without preprocessing."""
    shape = data.train.input_shape
    with tempfile.TemporaryDirectory() as folder, evaluating(module), quiet():
        path = Path(folder) / "candidate.onnx"
        whole = deployed(module, inputs, normalise=None, preprocess="none", input_shape=shape)
        write_onnx(program_of(whole, inputs, preprocess="none"), path, metadata={})
        return latency(SessionNetwork(OnnxSession(path)), inputs)


def _too_much(candidate: Candidate, settings: SearchSettings) -> str | None:
    if settings.max_parameters is not None and candidate.num_parameters > settings.max_parameters:
        return f"{candidate.num_parameters:,} parameters, above {settings.max_parameters:,}"
    if settings.max_latency_ms is not None and candidate.seconds is not None:
        milliseconds = 1e3 * candidate.seconds
        if milliseconds > settings.max_latency_ms:
            return f"{milliseconds:.3g} ms for one sample, above {settings.max_latency_ms:g} ms"
    return None
