"""What of a network its spec does not say, written down and built again: exits, keys, the members of a fused one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from limbeck.errors import ModelError
from limbeck.models.exits import ExitNetwork
from limbeck.models.factory import ModelFactory, is_factory_path
from limbeck.models.foreign import CONFIG, build_foreign, is_foreign, saved_config
from limbeck.models.fused import SPEC, FusedNetwork, require_specs
from limbeck.models.placing_exits import add_exits
from limbeck.models.resolve import build
from limbeck.models.streams import OnKey, build_on_key, on_key
from limbeck.models.zoo import ZOO

EXITS = "exits"  # keys of ``extra``
KEY_SHAPE = "key_shape"
MEMBERS = "members"
POOLING = "pooling"
_EXIT_FACTS = {"paths", "deepest"}
_MOST_NESTED = 8


def structure_of(module: nn.Module) -> dict[str, Any]:
    """Return what ``extra`` of a saved model must hold beside its spec; nothing for a plain network.

    Raises:
        ModelError: a fused network whose members have no specs.
    """
    if isinstance(module, ExitNetwork):
        return {EXITS: {"paths": list(module.paths), "deepest": module.deepest}}
    if isinstance(module, OnKey):
        return {KEY_SHAPE: list(module.input_shape)}
    if isinstance(module, FusedNetwork):
        specs = require_specs(module)
        members = zip(specs, module.networks, strict=True)
        described = [{"spec": spec, "extra": structure_of(member)} for spec, member in members]
        return {MEMBERS: described, POOLING: module.pooling}
    return saved_config(module)


def spec_of(module: nn.Module, spec: object) -> str:
    """Return what is written down as a module's spec: a fused network has one of its own."""
    return SPEC if isinstance(module, FusedNetwork) else str(spec)


def is_sound(extra: Mapping[str, Any], depth: int = 0) -> bool:
    """Whether what was read of a structure has the right types."""
    shape, members = extra.get(KEY_SHAPE, []), extra.get(MEMBERS, [])
    exits = extra.get(EXITS)
    if exits is not None and (not isinstance(exits, dict) or set(exits) != _EXIT_FACTS):
        return False
    if not isinstance(shape, list) or not all(isinstance(size, int) for size in shape):
        return False
    return isinstance(members, list) and depth < _MOST_NESTED and all(
        isinstance(member, dict)
        and isinstance(member.get("spec"), str)
        and isinstance(member.get("extra"), dict)
        and is_sound(member["extra"], depth + 1)
        for member in members
    )  # fmt: skip


def build_again(
    spec: str,
    extra: Mapping[str, Any],
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    factory: ModelFactory | None = None,
    place: str,
) -> nn.Module:
    """Build the network that a saved model's spec and ``extra`` describe, with random weights.

    Args:
        spec: as it was written down.
        extra: likewise; sound.
        input_shape: of one sample, of the first input where there are several.
        num_classes: number of outputs.
        factory: used in place of the spec.
        place: named in errors.
    Raises:
        ModelError: a spec that only the user's own factory can build.
    """
    module: nn.Module
    if factory is not None:
        module = factory(input_shape=input_shape, num_classes=num_classes)
    elif spec == SPEC and MEMBERS in extra:
        members = [
            build_again(member["spec"], member["extra"], input_shape=input_shape, num_classes=num_classes, place=place)
            for member in extra[MEMBERS]
        ]
        specs = [member["spec"] for member in extra[MEMBERS]]
        return FusedNetwork(members, pooling=extra.get(POOLING, "arithmetic"), specs=specs)
    elif KEY_SHAPE in extra and on_key(spec) is not None:
        return build_on_key(spec, input_shape=tuple(extra[KEY_SHAPE]), num_classes=num_classes)
    elif is_foreign(spec) or extra.get(CONFIG):
        known = spec if is_foreign(spec) else f"hf:{spec}"
        module = build_foreign(known, input_shape=input_shape, num_classes=num_classes, config=extra.get(CONFIG))
    elif is_factory_path(spec) or spec.partition(":")[0] not in ZOO:
        raise _needs_factory(place, spec)
    else:
        module = build(spec, input_shape=input_shape, num_classes=num_classes)
    if EXITS in extra and not isinstance(module, ExitNetwork):
        exits = extra[EXITS]
        return add_exits(
            module, exits["paths"], input_shape=input_shape, num_classes=num_classes, deepest=exits["deepest"]
        )
    return module


def _needs_factory(place: str, spec: str) -> ModelError:
    return ModelError(
        f"The model in {place} is not of the zoo, and code that a file names is never run.",
        received=f"spec {spec}",
        expected="the factory, given explicitly",
        remedy=f"if you trust it: --student {spec if is_factory_path(spec) else 'package.module:factory'}, "
        "or load_model(..., factory=...) in Python",
    )
