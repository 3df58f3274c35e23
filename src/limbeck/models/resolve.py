"""From the name of a network to the network."""

from __future__ import annotations

from torch import nn

from limbeck.models.factory import ModelFactory, is_factory_path, load_factory, seeded
from limbeck.models.spec import ModelSpec
from limbeck.models.zoo import ZOO

__all__ = ["ModelFactory", "ModelSpec", "build", "is_factory_path", "load_factory"]


def build(
    spec: ModelSpec | str, *, input_shape: tuple[int, ...], num_classes: int, seed: int | None = None
) -> nn.Module:
    """Build a network of the zoo.

    Args:
        spec: a :class:`ModelSpec`, or its text.
        input_shape: shape of one sample, such as (channels, height, width).
        num_classes: number of outputs, >= 2.
        seed: where given, weights are drawn from it, and torch's global random state is as it was before; None draws
            them from the global state.
    Returns:
        A module on the CPU in train mode: (batch, *input_shape) -> logits (batch, num_classes).
    Raises:
        UnknownName: no such network or setting.
        InvalidValue: a setting outside its range.
        ModelError: the network cannot take such inputs.
    Example:
        >>> network = build("mlp:widths=30x30", input_shape=(1, 8, 8), num_classes=10, seed=0)
        >>> network.head
        Linear(in_features=30, out_features=10, bias=True)
    """
    if isinstance(spec, str):
        spec = ModelSpec.parse(spec)
    with seeded(seed):
        return ZOO[spec.name](input_shape=input_shape, num_classes=num_classes, **spec.arguments)
