"""What a network costs: parameters, bytes, floating-point operations, time."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from limbeck.errors import InvalidValue, require_positive
from limbeck.models.modes import evaluating, zeros_for


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


def count_flops(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Count the floating-point operations of one sample's forward pass, with a multiply-add counted as two.

    Matrix products, convolutions and attention are counted; biases, activations, norms and poolings are not, as is
    the custom. Papers that count "MACs", or call these FLOPs, give half of it. Modes and buffers stay as they were.

    Args:
        module: on any device.
        input_shape: shape of one sample.
    Example:
        >>> count_flops(nn.Linear(4, 3), (4,))
        24
    """
    inputs = zeros_for(module, batch_size=1, input_shape=input_shape)
    with evaluating(module), torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(inputs)
    return int(counter.get_total_flops())


def latency(
    module: nn.Module,
    input_shape: tuple[int, ...],
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
        input_shape: shape of one sample.
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
    zeros = zeros_for(module, batch_size=batch_size, input_shape=input_shape)
    noise = torch.randn(zeros.shape, generator=torch.Generator().manual_seed(0))
    inputs = noise.to(device=zeros.device, dtype=zeros.dtype)
    elapsed_seconds: list[float] = []
    deadline = time.perf_counter() + max_seconds
    with evaluating(module), torch.inference_mode():
        for _ in range(num_warmup_runs):
            module(inputs)
            if time.perf_counter() > deadline:
                break
        for _ in range(num_runs):
            if elapsed_seconds and time.perf_counter() > deadline:
                break
            _wait_for(inputs.device)
            start = time.perf_counter()
            module(inputs)
            _wait_for(inputs.device)
            elapsed_seconds.append(time.perf_counter() - start)
    return statistics.median(elapsed_seconds) / batch_size


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
