"""A trained network in a folder: weights, and a ``model.json`` that tells how to build and feed it.

``model.json`` (format "limbeck-model", version 1) is written last, by rename: where it is, the weights are whole. It
is sealed, and tells the weights' SHA-256; one of an earlier release has no seal.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from limbeck.errors import InvalidValue, ModelError, OutputError
from limbeck.models.factory import ModelFactory, load_factory
from limbeck.models.manifest import FORMAT, MANIFEST, ROLE, VERSION, damaged, read_checked, read_manifest
from limbeck.models.rebuilding import build_again, spec_of, structure_of
from limbeck.models.spec import ModelSpec
from limbeck.models.weights import fingerprint, load_state, tied_names, unwrap
from limbeck.records import make_folder, sealed_text, write_bytes, write_text


@dataclass(frozen=True)
class SavedModel:
    """A network that came back from its folder."""

    module: nn.Module  # on the CPU, in eval mode
    spec: str
    input_shape: tuple[int, ...]
    class_names: list[str]
    normalise: dict[str, list[float]] | None  # "mean" and "std" per channel, to be applied to inputs; None for none
    role: str
    fingerprint: str
    extra: dict[str, Any]


def save_model(
    directory: Path | str,
    module: nn.Module,
    *,
    spec: ModelSpec | str,
    input_shape: Sequence[int],
    class_names: Sequence[str],
    normalise: Mapping[str, Sequence[float]] | None,
    role: str = "student",
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Write ``{role}.safetensors`` and then ``model.json``; tensors that are tied are written once.

    A network with exits is saved with them: ``spec`` names the plain network, ``extra`` gets where the exits are, and
    ``load_model`` puts them back. So are fused networks, whose members each have a spec.

    Args:
        directory: made where it is missing; a model that is there already is replaced.
        module: the trained network, on any device, wrapped by ``torch.compile`` or data parallelism or not.
        spec: a :class:`ModelSpec` or its text, a ``package.module:factory``, or another name for a model of the user's.
        input_shape: shape of one sample.
        class_names: in the order of the outputs.
        normalise: {"mean": [...], "std": [...]} per channel, which inputs need before this network; None for none.
        role: names the file, and the network in reports.
        extra: more facts for ``model.json``; only what JSON can hold.
    Returns:
        The model's fingerprint.
    Raises:
        InvalidValue: a role that is no file's name, means and deviations that do not go together, or an ``extra`` that
            JSON cannot hold.
        ModelError: a state that safetensors cannot hold.
        OutputError: the folder cannot be written.
    """
    directory = Path(directory)
    module = unwrap(module)
    if not ROLE.fullmatch(role):
        raise InvalidValue("This role cannot name a file.", received=role, expected="letters, digits, spaces, _ . -")
    content = _weights_as_bytes(module)
    file_name = f"{role}.safetensors"
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "role": role,
        "spec": spec_of(module, spec),
        "input_shape": [int(size) for size in input_shape],
        "class_names": [str(name) for name in class_names],
        "normalise": _checked_normalise(normalise),
        "dtype": _dtypes(module),
        "num_parameters": sum(parameter.numel() for parameter in module.parameters()),
        "fingerprint": fingerprint(module),
        "weights": {"file": file_name, "sha256": hashlib.sha256(content).hexdigest(), "num_bytes": len(content)},
        "torch": str(torch.__version__),
        "extra": {**(extra or {}), **structure_of(module)},
    }
    try:
        text = sealed_text(manifest)
    except (TypeError, ValueError) as error:
        raise InvalidValue("extra holds what JSON cannot.", received=str(error), expected="plain values") from error
    make_folder(directory, remedy="choose another folder")
    try:
        (directory / MANIFEST).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"Cannot write {directory}.", received=error.strerror, remedy="choose another folder"
        ) from error
    write_bytes(directory / file_name, content)
    write_text(directory / MANIFEST, text)
    return str(manifest["fingerprint"])


def load_model(directory: Path | str, *, factory: str | ModelFactory | None = None) -> SavedModel:
    """Build the network that :func:`save_model` wrote, and check that it is the same to the byte.

    A network of the zoo or of timm is built again from its spec, one of transformers from its configuration. Code that
    ``model.json`` names is never imported: for a model of the user's own, the caller gives the factory.

    Args:
        directory: the folder with ``model.json``.
        factory: ``package.module:factory``, or what ``load_factory`` returned; used in place of the spec.
    Raises:
        ModelError: a file is missing or damaged, the weights do not fit, the model is another than the one saved, or
            it needs a factory and none was given.
    """
    directory = Path(directory)
    manifest = read_manifest(directory / MANIFEST)
    weights_path = directory / manifest["weights"]["file"]
    content = read_checked(weights_path, manifest["weights"]["sha256"])
    spec, class_names = manifest["spec"], manifest["class_names"]
    input_shape = tuple(manifest["input_shape"])
    module = build_again(
        spec,
        manifest["extra"],
        input_shape=input_shape,
        num_classes=len(class_names),
        factory=load_factory(factory) if isinstance(factory, str) else factory,
        place=str(directory),
    )
    try:
        state: dict[str, Tensor] = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError) as error:
        raise damaged(weights_path, str(error)) from error
    _take_dtypes(module, state)
    load_state(module, state, source=str(weights_path))
    if (found := fingerprint(module)) != manifest["fingerprint"]:
        raise ModelError(
            f"The model built for {directory} is not the one that was saved.",
            received=f"fingerprint {found[:12]}..., torch {torch.__version__}",
            expected=f"fingerprint {manifest['fingerprint'][:12]}..., torch {manifest.get('torch')}",
            remedy="use the code and the release that saved it: the weights fit, but the layers differ",
        )
    return SavedModel(
        module=module.eval(),
        spec=spec,
        input_shape=input_shape,
        class_names=class_names,
        normalise=manifest["normalise"],
        role=manifest["role"],
        fingerprint=found,
        extra=manifest["extra"],
    )


def check_saved(directory: Path) -> dict[str, Any]:
    """Return what ``model.json`` says, once it and the weights are as they were written; no network is built.

    Raises:
        ModelError: a file is missing or damaged.
    """
    manifest = read_manifest(directory / MANIFEST)
    read_checked(directory / manifest["weights"]["file"], manifest["weights"]["sha256"])
    return manifest


def _weights_as_bytes(module: nn.Module) -> bytes:
    state = module.state_dict()
    if odd := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise ModelError(
            "This model's state is more than tensors.", received=", ".join(odd), expected="no get_extra_state"
        )
    tied = tied_names(state)
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in state.items() if tied[name] == name}
    try:
        content: bytes = safetensors.torch.save(plain)
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ModelError("safetensors cannot hold this model's state.", received=str(error)) from error
    return content


def _dtypes(module: nn.Module) -> str:
    """Return "float32", or "bfloat16, float32" where parameters differ."""
    return ", ".join(sorted({str(parameter.dtype).removeprefix("torch.") for parameter in module.parameters()}))


def _take_dtypes(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give every tensor of the module the dtype that it was saved with, in place, so that ties stay tied."""
    own = module.state_dict(keep_vars=True)
    tied = tied_names(own)
    saved = {tied[name]: tensor.dtype for name, tensor in state.items() if name in tied}
    for name, tensor in own.items():
        if isinstance(tensor, Tensor) and tied[name] in saved:
            tensor.data = tensor.data.to(saved[tied[name]])


def _checked_normalise(normalise: Mapping[str, Sequence[float]] | None) -> dict[str, list[float]] | None:
    if normalise is None:
        return None
    if set(normalise) == {"mean", "std"}:
        mean = [float(value) for value in normalise["mean"]]
        std = [float(value) for value in normalise["std"]]
        if len(mean) == len(std) and mean and all(map(math.isfinite, mean + std)) and min(std) > 0:
            return {"mean": mean, "std": std}
    raise InvalidValue(
        "normalise does not say how to normalise.",
        received=dict(normalise),
        expected='{"mean": [...], "std": [...]}: finite, as many of each, every std above 0',
    )
