"""From a text that names a trained classifier to a teacher: the schemes of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from torch import nn

from limbeck.data import Normalise
from limbeck.errors import TeacherError
from limbeck.models import is_factory_path, load_factory, load_weights
from limbeck.models.foreign import build_foreign, label_names, pretrained
from limbeck.models.renormalised import Renormalised
from limbeck.teachers.estimator import load_estimator
from limbeck.teachers.exported import load_exported
from limbeck.teachers.module import ModuleTeacher
from limbeck.teachers.onnx_file import onnx_teacher
from limbeck.teachers.teacher import Teacher

SCHEMES = ("timm", "hf", "onnx", "export", "sklearn")
_SETTINGS = {"outputs": str, "logits": str, "smoothing": float, "batch_size": int}


def names_teacher(spec: str) -> bool:
    """Tell whether text names a trained classifier by a scheme.

    Example:
        >>> [names_teacher(spec) for spec in ("onnx:net.onnx", "timm:resnet18", "mlp:widths=30x30", "runs/teacher")]
        [True, True, False, False]
    """
    scheme, colon, rest = spec.partition(":")
    return scheme in SCHEMES and bool(colon and rest)


def resolve_teacher(
    spec: str,
    *,
    input_shape: Sequence[int],
    num_classes: int,
    class_names: Sequence[str] = (),
    normalise: Normalise | None = None,
) -> Teacher:
    """Return the trained classifier that a text names, frozen.

    =============================  =====================================================================
    ``timm:NAME``                  pretrained, in the normalisation that timm says; or ``timm:NAME@WEIGHTS``
    ``hf:NAME_OR_FOLDER``          a classifier of transformers, with its own class names
    ``onnx:FILE``                  run by onnxruntime
    ``export:FILE.pt2``            a program of torch.export
    ``sklearn:FILE.skops``         an estimator with ``predict_proba``, on raw samples
    ``package.module:factory@F``   your own code, with weights from a safetensors file or a state dict
    =============================  =====================================================================

    Settings follow a comma: ``onnx:net.onnx,outputs=probs,logits=probabilities``; so do ``smoothing=0.01`` and
    ``batch_size=64``. Weights are read as safetensors or as a state dict, never from a pickle that can run code.

    Args:
        spec: the text.
        input_shape: shape of one sample of the data.
        num_classes: of the data; a network built for given weights gets as many.
        class_names: of the data; a transformer that knows the same in another order is put in the data's order.
        normalise: of the job's inputs; a timm network gets them in its own.
    Raises:
        MissingPackage: the package of an extra is not installed; the remedy names it.
        ModelError, TeacherError: no such file or network, or one that cannot be used.
    """
    source, settings = _split_settings(spec)
    source, _, weights = source.partition("@")
    scheme, _, name = source.partition(":")
    shape = tuple(input_shape)
    if scheme == "onnx":
        return onnx_teacher(name, **settings)
    if scheme == "export":
        return load_exported(name, **settings)
    if scheme == "sklearn":
        return load_estimator(name, **settings)
    if scheme in ("timm", "hf"):
        module = build_foreign(source, input_shape=shape, num_classes=num_classes) if weights else pretrained(source)
        if weights:
            load_weights(module, weights)
        label = f"{source} from {weights}" if weights else source
        if scheme == "timm":
            module = _in_own_normalisation(module, normalise, input_shape=shape)
        own = label_names(module)
        return ModuleTeacher(module, name=label, class_names=own if class_names else None, **settings)
    if not is_factory_path(source) or not weights:
        raise TeacherError(
            "This names no trained classifier.",
            received=spec,
            expected="timm:NAME, hf:NAME_OR_FOLDER, onnx:FILE, export:FILE.pt2, sklearn:FILE.skops or "
            "package.module:factory@WEIGHTS",
        )
    module = load_factory(source)(input_shape=shape, num_classes=num_classes, seed=0)
    load_weights(module, weights)
    return ModuleTeacher(module, name=f"{source} from {weights}", **settings)


def _in_own_normalisation(module: nn.Module, normalise: Normalise | None, *, input_shape: tuple[int, ...]) -> nn.Module:
    """Return a timm network that takes inputs as this job normalises them; of other channels, by the channels' mean."""
    said: dict[str, Any] = getattr(module, "pretrained_cfg", None) or {}
    if "mean" not in said or "std" not in said:
        return module
    mean, std = (list(said[key]) for key in ("mean", "std"))
    if len(mean) != input_shape[0]:
        mean, std = ([fmean(values)] for values in (mean, std))
    given = None if normalise is None else (normalise.mean, normalise.std)
    return Renormalised(module, given=given, own=(mean, std), num_axes=len(input_shape))


def _split_settings(spec: str) -> tuple[str, dict[str, Any]]:
    source, *parts = spec.split(",")
    settings: dict[str, Any] = {}
    for part in parts:
        key, _, value = (piece.strip() for piece in part.partition("="))
        try:
            settings[key] = _SETTINGS[key](value)
        except (KeyError, ValueError) as error:
            raise TeacherError(
                f"{part.strip()!r} is no setting of a teacher.",
                received=spec,
                expected="KEY=VALUE of " + ", ".join(_SETTINGS),
                remedy="such as onnx:net.onnx,outputs=probs; a file's name holds no comma",
            ) from error
    return source, settings
