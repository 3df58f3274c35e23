"""What a network costs: parameters, bytes, floating-point operations, time."""

from __future__ import annotations

import statistics
import time
import warnings

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from limbeck.errors import InvalidValue, require_positive
from limbeck.inputs import Inputs, cast_floats, device_of, move, num_rows, take_rows
from limbeck.models.calling import call_network
from limbeck.models.modes import evaluating, zeros_for

ShapeOrInputs = tuple[int, ...] | Inputs
"""The shape of one sample, for networks of floats; or a batch of real samples, for any network."""


def example_inputs(module: nn.Module, like: ShapeOrInputs, *, batch_size: int) -> Inputs:
    """Return so many samples on the module's device: real ones, in turn, or normal noise of a shape.

    Example:
        >>> example_inputs(nn.Linear(2, 1), torch.tensor([[1.0, 2.0]]), batch_size=2)
        tensor([[1., 2.],
                [1., 2.]])
    """
    if isinstance(like, tuple) and all(isinstance(size, int) for size in like):
        zeros = zeros_for(module, batch_size=batch_size, input_shape=like)  # type: ignore[arg-type]  # a shape
        noise = torch.randn(zeros.shape, generator=torch.Generator().manual_seed(0))
        return noise.to(device=zeros.device, dtype=zeros.dtype)
    placed = zeros_for(module, batch_size=1, input_shape=(1,))
    rows = take_rows(like, torch.arange(batch_size) % num_rows(like))  # type: ignore[arg-type]  # no shape
    return cast_floats(move(rows, placed.device), placed.dtype)


def count_parameters(module: nn.Module) -> int:
    """Count the parameters, trainable or frozen; one that is shared counts once.

    Example:
        >>> count_parameters(nn.Linear(4, 3))
        15
    """
    return sum(parameter.numel() for parameter in module.parameters())


def count_bytes(module: nn.Module) -> int:
    """Return the bytes that parameters and buffers take in memory; one that is shared counts once.

    Example:
        >>> count_bytes(nn.Linear(4, 3)), count_bytes(nn.Linear(4, 3).half())
        (60, 30)
    """
    return sum(tensor.numel() * tensor.element_size() for tensor in [*module.parameters(), *module.buffers()])


def count_flops(module: nn.Module, like: ShapeOrInputs) -> int:
    """Count the floating-point operations of one sample's forward pass, with a multiply-add counted as two.

    Matrix products, convolutions and attention are counted; biases, activations, norms and poolings are not, as is
    the custom. Papers that count "MACs", or call these FLOPs, give half of it. Modes and buffers stay as they were.

    Args:
        module: on any device; a compiled one runs uncompiled, so that its operations can be seen.
        like: shape of one sample, or real samples, of which the first is taken.
    Example:
        >>> count_flops(nn.Linear(4, 3), (4,))
        24
    """
    inputs = example_inputs(module, like, batch_size=1)
    with evaluating(module), torch.no_grad(), torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using `torch.compile")  # the counter's hooks look at all modules
        with FlopCounterMode(display=False) as counter:
            call_network(module, inputs)
    return int(counter.get_total_flops())


def latency(
    module: nn.Module,
    like: ShapeOrInputs,
    *,
    batch_size: int = 1,
    num_runs: int = 50,
    num_warmup_runs: int = 10,
    max_seconds: float = 2.0,
) -> float:
    """Return the median time of a forward pass, in seconds per sample.

    In eval mode without autograd, on the device where the module is, with inputs that lie there already. Each run is
    waited for on its own. Modes and buffers stay as they were. The number of threads is torch's: state it beside the
    result.

    Args:
        module: the network.
        like: shape of one sample, or real samples, which are taken in turn.
        batch_size: samples per run, >= 1.
        num_runs: timed runs, >= 1.
        num_warmup_runs: runs before, not timed, >= 0.
        max_seconds: no run is begun later than this, warm-up included, once one has been timed: large networks get
            fewer.
    Raises:
        InvalidValue: a count below its bound, or max_seconds that is not above 0.
    Example:
        >>> latency(nn.Linear(4, 3), (4,), num_runs=3) > 0
        True
    """
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("num_runs", num_runs, 1),
        ("num_warmup_runs", num_warmup_runs, 0),
    ):
        if value < least:
            raise InvalidValue(f"{name} is too small.", received=value, expected=f">= {least}")
    require_positive("max_seconds", max_seconds)
    inputs = example_inputs(module, like, batch_size=batch_size)
    device = device_of(inputs)
    elapsed_seconds: list[float] = []
    deadline = time.perf_counter() + max_seconds
    with evaluating(module), torch.inference_mode():
        for _ in range(num_warmup_runs):
            call_network(module, inputs)
            if time.perf_counter() > deadline:
                break
        for _ in range(num_runs):
            if elapsed_seconds and time.perf_counter() > deadline:
                break
            _wait_for(device)
            start = time.perf_counter()
            call_network(module, inputs)
            _wait_for(device)
            elapsed_seconds.append(time.perf_counter() - start)
    return statistics.median(elapsed_seconds) / batch_size


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
