"""What a network's text on the command line stands for.

mlp:widths=30x30                  a spec of the zoo, trained here
resnet20@weights.safetensors      ... with weights from a file, used as it is
package.module:factory            your own, trained here (only ever from the command line, never from a file)
package.module:factory@weights.pt ... with weights
on:KEY:SPEC                       a network that looks at one of several named inputs
fused:SPEC+SPEC                   one network that adds the logits of several
timm:NAME, hf:NAME_OR_FOLDER      a network of timm or transformers: as teacher pretrained, as student trained here
onnx:FILE, export:FILE.pt2        a trained classifier in a file
sklearn:FILE.skops                ... an estimator with predict_proba
runs/teacher                      a folder that limbeck saved a network in
runs/committee                    a folder of a generalist and its specialists
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.commands.settings import Prepared
from limbeck.data import Normalise, Samples, Views
from limbeck.distillation import COMMITTEE_FILE, NetworkSource, load_committee, network_from
from limbeck.errors import ConfigError, DataError, ModelError
from limbeck.models import SavedModel, is_factory_path, load_factory, load_model, load_weights
from limbeck.models.foreign import is_foreign
from limbeck.models.renormalised import Renormalised
from limbeck.settings import DistillConfig
from limbeck.teachers import EnsembleTeacher, ModuleTeacher, SpecialistsTeacher, Teacher, over_classes
from limbeck.teachers.resolve import names_teacher, resolve_teacher
from limbeck.teachers.trial import try_out


def student_source(text: str, *, from_command_line: bool) -> NetworkSource:
    """Return what to train as the student.

    Raises:
        ConfigError: a module path in a configuration file.
        ModelError: a folder or weights, which are not trained anew.
    """
    _check_origin(text, from_command_line)
    spec, weights = _split_weights(text)
    if weights is not None or _is_saved(spec):
        raise ModelError(
            "A student is trained here, from random weights.",
            received=text,
            expected="a name of the zoo, timm:NAME, hf:FOLDER or package.module:factory",
            remedy="start from given weights in Python: limbeck.distill(module, ...)",
        )
    return _factory_or_spec(spec)


def teacher_source(
    text: str,
    *,
    from_command_line: bool,
    train: Samples,
    normalise: Normalise | None,
    has_own_classes: bool = False,
) -> Teacher | NetworkSource:
    """Return a ready teacher where weights are named, otherwise what to train as one.

    Args:
        text: as ``--teacher`` takes it.
        from_command_line: whether it may name code.
        train: the training set.
        normalise: of the job's inputs.
        has_own_classes: whether its classes are mapped to the data's later, so that they may be others.
    """
    _check_origin(text, from_command_line)
    if names_teacher(text):
        return resolve_teacher(
            text,
            input_shape=train.input_shape,
            num_classes=train.num_classes,
            class_names=train.class_names,
            normalise=normalise,
        )
    spec, weights = _split_weights(text)
    if os.path.isfile(os.path.join(spec, COMMITTEE_FILE)):
        return committee_for(Path(spec), train=train, normalise=normalise)
    if os.path.isfile(os.path.join(spec, "model.json")):
        saved = load_model(Path(spec))
        module = module_for(saved, train=train, normalise=normalise, has_own_classes=has_own_classes)
        own = saved.class_names if has_own_classes else None
        return ModuleTeacher(module, name=f"{saved.spec} from {spec}", class_names=own)
    source = _factory_or_spec(spec)
    if weights is None:
        return source
    network = network_from(source)
    module = network.build_for(train, seed=0)
    load_weights(module, weights)
    return ModuleTeacher(module, name=f"{network.name} from {weights}")


def named_teachers(
    texts: Sequence[str], flags: dict[str, Any], prepared: Prepared[Any]
) -> list[Teacher | NetworkSource]:
    """Return what a job's texts name, as :func:`teacher_source` does; code is named on the command line alone."""
    return [
        teacher_source(
            text,
            from_command_line="teachers" in flags,
            train=prepared.splits.train,
            normalise=prepared.normalise,
            has_own_classes=prepared.config.maps_classes,
        )
        for text in texts
    ]


def trained_teacher(
    config: DistillConfig,
    *,
    from_command_line: bool,
    train: Samples,
    normalise: Normalise | None,
    device: torch.device,
) -> Teacher:
    """Return the teacher that a configuration names, an ensemble where they are several, on a device.

    Raises:
        ConfigError: one that would have to be trained first.
    """
    for text in config.teachers:
        spec, weights = _split_weights(text)
        if weights is None and not _is_saved(spec) and not names_teacher(text):
            raise ConfigError(
                "This teacher is not trained: no network is saved there.",
                received=text,
                expected="a folder that limbeck saved a network in, SPEC@WEIGHTS, timm:NAME, hf:NAME, onnx:FILE, "
                "export:FILE or sklearn:FILE",
                remedy=f"limbeck train --data {config.data} --student {'SPEC' if '/' in text else text} "
                "--out runs/teacher, then --teacher runs/teacher",
            )
    members: list[Teacher] = []
    for text in config.teachers:
        source = teacher_source(
            text,
            from_command_line=from_command_line,
            train=train,
            normalise=normalise,
            has_own_classes=config.maps_classes,
        )
        assert isinstance(source, Teacher), "what has weights is ready"
        member = over_classes(source, train.class_names, config)
        try_out(member, train, Views(normalise=normalise))
        for module in member.modules:
            module.to(device)
        members.append(member)
    if not members:
        raise ConfigError("There is no teacher.", received="an empty list", expected="at least one trained network")
    return members[0] if len(members) == 1 else EnsembleTeacher(members, independent=train.task == "multi_label")


def committee_for(
    folder: Path, *, train: Samples, normalise: Normalise | None, num_top_classes: int | None = None
) -> SpecialistsTeacher:
    """Return a saved committee that takes inputs as this job normalises them; n is the folder's where not given."""
    return load_committee(
        folder,
        adapt=lambda saved: _adapted(saved, train=train, normalise=normalise),
        num_top_classes=num_top_classes,
    )


def module_for(
    saved: SavedModel, *, train: Samples, normalise: Normalise | None, has_own_classes: bool = False
) -> nn.Module:
    """Return a saved network that takes inputs as this job normalises them; its classes may be its own if so said.

    Raises:
        DataError: other classes or another input shape than the data's.
    """
    if tuple(saved.class_names) != train.class_names and not has_own_classes:
        raise DataError(
            "The saved network knows other classes than the data.",
            received=", ".join(saved.class_names[:12]),
            expected=", ".join(train.class_names[:12]),
            remedy="a teacher's classes are mapped by name with class_map or allow_missing_classes",
        )
    varies = bool(getattr(train.inputs, "is_ragged", False))  # then the shape is that of the first sample
    if saved.input_shape != train.input_shape and not varies:
        raise DataError(
            "The saved network takes inputs of another shape.", received=train.input_shape, expected=saved.input_shape
        )
    return _adapted(saved, train=train, normalise=normalise)


def _adapted(saved: SavedModel, *, train: Samples, normalise: Normalise | None) -> nn.Module:
    """Return a saved network that takes inputs as this job normalises them, of whatever classes it is."""
    own = Normalise.from_saved(saved.normalise)
    if own == normalise:
        return saved.module
    num_axes = len(train.input_shape)
    return Renormalised(saved.module, given=_mean_and_std(normalise), own=_mean_and_std(own), num_axes=num_axes)


def _mean_and_std(normalise: Normalise | None) -> tuple[Sequence[float], Sequence[float]] | None:
    return None if normalise is None else (normalise.mean, normalise.std)


def _check_origin(text: str, from_command_line: bool) -> None:
    spec, _ = _split_weights(text)
    if is_factory_path(spec) and not names_teacher(spec) and not from_command_line:
        raise ConfigError(
            "A configuration file does not name code to run.",
            received=text,
            expected="a name of the zoo or a saved network",
            remedy=f"give it on the command line: --student {text} or --teacher {text}",
        )


def _split_weights(text: str) -> tuple[str, Path | None]:
    spec, separator, weights = text.partition("@")
    return spec, Path(weights) if separator else None


def _is_saved(text: str) -> bool:
    return any(os.path.isfile(os.path.join(text, name)) for name in ("model.json", COMMITTEE_FILE))


def _factory_or_spec(text: str) -> Callable[..., nn.Module] | str:
    return load_factory(text) if is_factory_path(text) and not is_foreign(text) else text
