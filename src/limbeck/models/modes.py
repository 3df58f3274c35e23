"""Running a model for a look, and leaving its modes as they were."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.inputs import Inputs, cast_floats, move
from limbeck.models.calling import call_network, find_logits
from limbeck.models.factory import failure


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode inside the block; afterwards every submodule has the mode it had.

    Example:
        >>> network = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
        >>> with evaluating(network):
        ...     print(network.training)
        False
        >>> network[0].training, network[1].training
        (True, False)
    """
    modes = [(child, child.training) for child in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for child, mode in modes:
            child.training = mode


def zeros_for(module: nn.Module, *, batch_size: int, input_shape: tuple[int, ...]) -> Tensor:
    """Return a batch of zeros on the device and of the float dtype of the module's first parameter.

    A module without parameters gets float32 on the device of its first buffer, or on the CPU.
    """
    placed = next(module.parameters(), next(module.buffers(), torch.empty(0)))
    floats = (p.dtype for p in module.parameters() if p.is_floating_point())
    return torch.zeros(batch_size, *input_shape, device=placed.device, dtype=next(floats, torch.float32))


def check_output(
    module: nn.Module,
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    inputs: Inputs | None = None,
    has_positions: bool = False,
) -> None:
    """Run two samples, of zeros where none are given, and see that logits for ``num_classes`` classes come out.

    The run is in eval mode without autograd; the module's modes and buffers stay as they were.

    Args:
        module: the model to try.
        input_shape: shape of one sample.
        num_classes: classes of the data.
        inputs: two real samples, for networks that take no zeros, such as token ids that become embeddings.
        has_positions: whether logits may be of positions, (2, time, num_classes).
    Raises:
        ModelError: the model fails on such inputs, or gives something else than a tensor (2, num_classes).
    Example:
        >>> check_output(nn.Linear(4, 3), input_shape=(4,), num_classes=3)
    """
    name = type(module).__name__
    try:
        with evaluating(module), torch.no_grad():
            zeros = zeros_for(module, batch_size=2, input_shape=input_shape)
            if inputs is None:
                outputs = call_network(module, zeros)
            else:
                outputs = call_network(module, cast_floats(move(inputs, zeros.device), zeros.dtype))
    except Exception as error:
        raise ModelError(
            f"{name} cannot run on samples of shape {tuple(input_shape)}.",
            received=failure(error),
            remedy="check that the model was made for this data: channels, height, width",
        ) from error
    outputs = find_logits(outputs)
    if outputs.ndim not in ((2, 3) if has_positions else (2,)) or (len(outputs), outputs.shape[-1]) != (2, num_classes):
        classes = f"{outputs.shape[1]} classes" if outputs.dim() == 2 else f"shape {tuple(outputs.shape)} for 2 samples"
        raise ModelError(
            f"{name} has other outputs than the data has classes.",
            received=classes,
            expected=f"{num_classes} classes: logits of shape (batch, {num_classes})",
            remedy='one logit that says yes or no goes with labels of task="multi_label": one column, 0 or 1'
            if outputs.shape[-1] == 1
            else f"give the model a last layer with {num_classes} outputs, or choose the data it was trained on",
        )
