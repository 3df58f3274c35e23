"""Where a job's networks come from: a module, something that builds one, or a name of the zoo."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from limbeck.data import Samples, Views
from limbeck.errors import ModelError
from limbeck.inputs import Inputs
from limbeck.models import FusedNetwork, ModelFactory, ModelSpec, build, check_output
from limbeck.models.foreign import build_foreign, is_foreign
from limbeck.models.fused import fused_specs
from limbeck.models.streams import build_on_key, no_such_key, on_key

NetworkSource = nn.Module | Callable[..., nn.Module] | str
Shapes = Mapping[str, tuple[int, ...]]  # of one sample, by the input's name; "" for an input without one
START_STRIDE = 1000  # between the seeds of the initial weights of networks that one run trains side by side


@dataclass(frozen=True, eq=False)
class Network:
    """How to make one network for a seed.

    Args:
        name: shown in records; a zoo spec can be built again from it.
        make: ``(shapes, num_classes) -> module``, called under the seed; a network of one input without a key takes the
            first shape.
        shares_start: whether every seed starts from the same weights (a module was given).
    """

    name: str
    make: Callable[[Shapes, int], nn.Module]
    shares_start: bool = False

    def build_for(self, samples: Samples, *, seed: int) -> nn.Module:
        """Return a new module of the samples' shape and classes, tried on two of them."""
        return self.build(
            input_shape=samples.input_shapes,
            num_classes=samples.num_classes,
            seed=seed,
            inputs=Views().batch(samples, torch.arange(2) % len(samples), view=None).inputs,
            has_positions=samples.has_positions,
        )

    def build(
        self,
        *,
        input_shape: tuple[int, ...] | Shapes,
        num_classes: int,
        seed: int,
        inputs: Inputs | None = None,
        has_positions: bool = False,
    ) -> nn.Module:
        """Return a new module, its random initial weights a function of the seed, its output checked.

        It is run on two samples: those given, otherwise zeros of the first shape.
        """
        shapes = input_shape if isinstance(input_shape, Mapping) else {"": input_shape}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self.make(shapes, num_classes)
        check_output(
            module, input_shape=_first(shapes), num_classes=num_classes, inputs=inputs, has_positions=has_positions
        )
        return module


def start_seed(seed: int, number: int) -> int:
    """Return the seed of the initial weights of one of several networks of a run, counted from 0.

    Example:
        >>> start_seed(3, 0), start_seed(3, 2)
        (3, 2003)
    """
    return seed + START_STRIDE * number


def network_from(source: NetworkSource, *, name: str | None = None) -> Network:
    """Return the network that a source stands for.

    Args:
        source: a spec of the zoo ("mlp:widths=30x30"), of timm or transformers ("timm:resnet18", "hf:FOLDER"), of a
            network that looks at one of several inputs ("on:motion:convnet"), or of one that adds the logits of several
            ("fused:on:iframe:convnet+on:motion:convnet"); a callable that returns a module (called
            once for each seed, with ``input_shape`` and ``num_classes`` where it takes them); or a module (copied for
            each seed: every seed starts from its weights).
        name: shown in records.
    Raises:
        ModelError: anything else.
    """
    if isinstance(source, str):
        return _from_spec(source, name)
    if isinstance(source, nn.Module):
        return Network(name or type(source).__name__, lambda shapes, classes: copy.deepcopy(source), shares_start=True)
    if callable(source):
        factory = source if isinstance(source, ModelFactory) else ModelFactory(_name_of(source), source)
        return Network(
            name or factory.path, lambda shapes, classes: factory(input_shape=_first(shapes), num_classes=classes)
        )
    raise ModelError(
        "This is no network.",
        received=type(source).__name__,
        expected="a torch.nn.Module, a callable that returns one, or a name of the zoo",
    )


def _from_spec(text: str, name: str | None) -> Network:
    if (specs := fused_specs(text)) is not None:
        members = [network_from(spec) for spec in specs]
        return Network(name or text, lambda shapes, classes: _added(members, shapes, classes))
    if (found := on_key(text)) is not None:
        key, inner = found
        if not is_foreign(inner):
            ModelSpec.parse(inner)
        return Network(
            name or text,
            lambda shapes, classes: build_on_key(text, input_shape=_of_key(shapes, key), num_classes=classes),
        )
    if is_foreign(text):
        return Network(
            name or text,
            lambda shapes, classes: build_foreign(text, input_shape=_first(shapes), num_classes=classes),
        )
    spec = ModelSpec.parse(text)
    return Network(
        name or str(spec), lambda shapes, classes: build(spec, input_shape=_first(shapes), num_classes=classes)
    )


def _added(members: Sequence[Network], shapes: Shapes, num_classes: int) -> nn.Module:
    """Return one network whose logits are the sum of its members': their last layers find each one's weight."""
    return FusedNetwork(
        [member.make(shapes, num_classes) for member in members],
        weights=[1.0] * len(members),
        pooling="geometric",
        specs=[member.name for member in members],
    )


def _first(shapes: Shapes) -> tuple[int, ...]:
    return next(iter(shapes.values()))


def _of_key(shapes: Shapes, key: str) -> tuple[int, ...]:
    if key not in shapes:
        raise no_such_key(key, [name for name in shapes if name])
    return shapes[key]


def _name_of(function: Callable[..., nn.Module]) -> str:
    return getattr(function, "__qualname__", type(function).__name__)
