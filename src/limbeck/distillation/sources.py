"""Where a job's networks come from: a module, something that builds one, or a name of the zoo."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from limbeck.data import Samples, Views
from limbeck.errors import ModelError
from limbeck.inputs import Inputs
from limbeck.models import ModelFactory, ModelSpec, build, check_output
from limbeck.models.foreign import build_foreign, is_foreign
from limbeck.models.streams import build_on_key, no_such_key, on_key

NetworkSource = nn.Module | Callable[..., nn.Module] | str
START_STRIDE = 1000  # between the seeds of the initial weights of networks that one run trains side by side


@dataclass(frozen=True, eq=False)
class Network:
    """How to make one network for a seed.

    Args:
        name: shown in records; a zoo spec can be built again from it.
        make: ``(input_shape, num_classes) -> module``, called under the seed.
        shares_start: whether every seed starts from the same weights (a module was given).
        key: of the one input that it looks at, where samples have several: ``on:KEY:SPEC``.
    """

    name: str
    make: Callable[[tuple[int, ...], int], nn.Module]
    shares_start: bool
    key: str | None = None

    def build_for(self, samples: Samples, *, seed: int) -> nn.Module:
        """Return a new module of the samples' shape and classes, tried on two of them."""
        inputs = Views().batch(samples, torch.arange(2) % len(samples), view=None).inputs
        return self.build(
            input_shape=self.input_shape_in(samples),
            num_classes=samples.num_classes,
            seed=seed,
            inputs=inputs,
            has_positions=samples.has_positions,
        )

    def input_shape_in(self, samples: Samples) -> tuple[int, ...]:
        """Return the shape of what it looks at in one sample.

        Raises:
            ModelError: the samples have no input of its key.
        """
        if self.key is None:
            return samples.input_shape
        if self.key not in samples.input_shapes:
            raise no_such_key(self.key, [name for name in samples.input_shapes if name])
        return samples.input_shapes[self.key]

    def build(
        self,
        *,
        input_shape: tuple[int, ...],
        num_classes: int,
        seed: int,
        inputs: Inputs | None = None,
        has_positions: bool = False,
    ) -> nn.Module:
        """Return a new module, its random initial weights a function of the seed, its output checked.

        It is run on two samples: those given, otherwise zeros.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self.make(input_shape, num_classes)
        check_output(
            module, input_shape=input_shape, num_classes=num_classes, inputs=inputs, has_positions=has_positions
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
        source: a spec of the zoo ("mlp:widths=30x30"), of timm or transformers ("timm:resnet18", "hf:FOLDER"), or of a
            network that looks at one of several inputs ("on:motion:convnet"); a callable that returns a module (called
            once for each seed, with ``input_shape`` and ``num_classes`` where it takes them); or a module (copied for
            each seed: every seed starts from its weights).
        name: shown in records.
    Raises:
        ModelError: anything else.
    """
    if isinstance(source, str) and (found := on_key(source)) is not None:
        _check_inner(found[1])
        return Network(
            name or source,
            lambda shape, classes: build_on_key(source, input_shape=shape, num_classes=classes),
            False,
            key=found[0],
        )
    if isinstance(source, str) and is_foreign(source):
        return Network(
            name or source, lambda shape, classes: build_foreign(source, input_shape=shape, num_classes=classes), False
        )
    if isinstance(source, str):
        spec = ModelSpec.parse(source)
        return Network(
            name or str(spec), lambda shape, classes: build(spec, input_shape=shape, num_classes=classes), False
        )
    if isinstance(source, nn.Module):
        return Network(name or type(source).__name__, lambda shape, classes: copy.deepcopy(source), True)
    if callable(source):
        factory = source if isinstance(source, ModelFactory) else ModelFactory(_name_of(source), source)
        return Network(
            name or factory.path, lambda shape, classes: factory(input_shape=shape, num_classes=classes), False
        )
    raise ModelError(
        "This is no network.",
        received=type(source).__name__,
        expected="a torch.nn.Module, a callable that returns one, or a name of the zoo",
    )


def _check_inner(spec: str) -> None:
    """Raise where the network behind a key is not known."""
    if not is_foreign(spec):
        ModelSpec.parse(spec)


def _name_of(function: Callable[..., nn.Module]) -> str:
    return getattr(function, "__qualname__", type(function).__name__)
