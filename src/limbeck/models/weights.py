"""Fingerprints of models, and weights from files that must not run code."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from limbeck.bounds import require_honest_zip, require_plain_file
from limbeck.errors import ModelError, shortened

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_NESTS = ("state_dict", "model_state_dict", "model")
_PICKLE_STARTS = (b"\x80", b"PK")  # a bare pickle, and torch.save's zip around one
_DEEPEST = 4  # nests in nests
_LISTED = 4  # names in an error


def fingerprint(module: nn.Module) -> str:
    """Return the SHA-256 of what a model is: its classes, their settings, and every byte of its state.

    Two models agree if and only if they have the same tree of classes with the same ``extra_repr``, and state dicts
    with the same names, dtypes, shapes and bytes. The device, the memory layout, the mode, ``requires_grad``, and
    wrapping by ``torch.compile`` or data parallelism do not matter.

    Args:
        module: on any device; a sharded module must be gathered first.
    Returns:
        64 hexadecimal digits.
    Raises:
        ModelError: a tensor without data (on the meta device).
    Example:
        >>> layer = nn.Linear(2, 2)
        >>> before = fingerprint(layer)
        >>> with torch.no_grad():
        ...     _ = layer.bias.add_(1)
        >>> len(before), before == fingerprint(layer)
        (64, False)
    """
    module = unwrap(module)
    digest = hashlib.sha256(b"limbeck-model-fingerprint-1\n")
    for name, child in module.named_modules(remove_duplicate=False):
        kind = type(child)
        settings = _ADDRESS.sub("", child.extra_repr())
        digest.update(json.dumps([name, f"{kind.__module__}.{kind.__qualname__}", settings]).encode())
    _update(digest, module.state_dict().items())
    return digest.hexdigest()


def buffers_fingerprint(module: nn.Module) -> str:
    """Return the SHA-256 of a model's buffers alone, such as the running statistics of its batch norms.

    Cheap enough for before and after a run: a frozen teacher whose buffers changed was not in eval mode.

    Returns:
        64 hexadecimal digits.
    Raises:
        ModelError: a buffer without data (on the meta device).
    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> before = buffers_fingerprint(norm)
        >>> _ = norm(torch.randn(4, 2))
        >>> before == buffers_fingerprint(norm)
        False
    """
    digest = hashlib.sha256(b"limbeck-buffers-fingerprint-1\n")
    _update(digest, unwrap(module).named_buffers())
    return digest.hexdigest()


def unwrap(module: nn.Module) -> nn.Module:
    """Return the model inside the wrappers of ``torch.compile`` and of data parallelism.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> unwrap(nn.DataParallel(layer)) is layer
        True
    """
    while (wrapped := wrapped_part(module)) is not None:
        _, module = wrapped
    return module


def wrapped_part(module: nn.Module) -> tuple[str, nn.Module] | None:
    """Return the name and the module that a wrapper holds; None for a module that is no wrapper."""
    if isinstance(module, torch.jit.ScriptModule):  # whose submodules are no dictionary, and which wraps nothing
        return None
    inner = module.__dict__.get("_modules", {}).get("_orig_mod")
    if isinstance(inner, nn.Module):
        return "_orig_mod", inner
    if isinstance(module, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
        return "module", module.module
    return None


def load_weights(module: nn.Module, path: Path | str) -> None:
    """Fill a model from a safetensors file or a state dict saved by ``torch.save``, without running code from it.

    A state dict may lie under "state_dict", "model_state_dict" or "model", and its names may begin with "module." or
    "_orig_mod.". Names and shapes must match exactly; values take the model's dtype and device. Where anything is
    wrong, the model keeps the weights that it had.

    Args:
        module: the model to fill.
        path: the file; its content, not its suffix, tells the format.
    Raises:
        ModelError: no such file, one that is damaged or would run code, or names or shapes that do not match.
    """
    path = Path(path)
    require_plain_file(path)
    load_state(module, _read(path), source=str(path))


def load_state(module: nn.Module, content: Mapping[str, Any], *, source: str) -> None:
    """Fill a model from a state dict as :func:`load_weights` does; ``source`` is named in errors."""
    module = unwrap(module)
    state = _without_prefixes(_find_state_dict(content, source), expected=module.state_dict().keys())
    own = module.state_dict()
    tied = tied_names(own)
    given = {tied[name] for name in state if name in tied}
    missing = [n for n in own if tied[n] not in given and not n.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    differing = [
        f"{name}: {tuple(state[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        for name in own
        if isinstance(state.get(name), Tensor)
        and isinstance(own[name], Tensor)
        and state[name].shape != own[name].shape
    ]
    if missing or unexpected or differing:
        raise ModelError(
            f"The weights in {source} do not fit the model.",
            received="; ".join(
                _counted(what, names)
                for what, names in (("missing", missing), ("unexpected", unexpected), ("other shape", differing))
                if names
            ),
            expected=f"the {len(own)} names and shapes of {type(module).__name__}",
            remedy="build the model with the settings, input shape and number of classes that it was trained with",
        )
    module.load_state_dict(state, strict=False)


def tied_names(state: Mapping[str, Any]) -> dict[str, str]:
    """Return, for each name of a state dict, the first name that has the very same tensor (itself, if not shared).

    Example:
        >>> weight = torch.zeros(2, 2)
        >>> tied_names({"encoder": weight, "decoder": weight, "bias": torch.zeros(2)})
        {'encoder': 'encoder', 'decoder': 'encoder', 'bias': 'bias'}
    """
    first: dict[object, str] = {}
    names = {}
    for name, value in state.items():
        key: object = name
        if isinstance(value, Tensor) and value.numel() and value.device.type != "meta":
            key = (value.device, value.data_ptr(), value.dtype, value.shape, value.stride())
        names[name] = first.setdefault(key, name)
    return names


def _update(digest: Any, named: Iterable[tuple[str, Any]]) -> None:
    for name, value in named:
        if not isinstance(value, Tensor):  # a module's extra state
            digest.update(json.dumps([name, _ADDRESS.sub("", repr(value))]).encode())
            continue
        if value.device.type == "meta":
            raise ModelError(
                "A model on the meta device has no weights.", received=name, remedy="load its weights before use"
            )
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        plain = value.detach().to("cpu").resolve_conj().resolve_neg()
        digest.update(plain.reshape(-1).view(torch.uint8).numpy())


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise ModelError(
            f"Cannot read the weights {path}.",
            received=error.strerror or str(error),
            expected="a safetensors file, or a state dict saved by torch.save",
            remedy="check the path",
        ) from error
    if start[8:9] == b"{":  # eight bytes of length, then a JSON header
        return _read_safetensors(path)
    return _read_torch(path, start)


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    return tensors


def _read_torch(path: Path, start: bytes) -> Mapping[str, Any]:
    require_honest_zip(path, ModelError)
    try:
        with open(path, "rb") as file, warnings.catch_warnings():  # a file, since torch.load goes by a path's suffix
            warnings.simplefilter("ignore")  # on pickle protocols: what they lead to is an error below
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not start.startswith(_PICKLE_STARTS):
            raise _damaged(path, error) from error
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise ModelError(
            f"{path} is a pickle that holds more than weights; reading it would run code.",
            received=f"it asks for {asked.group(1)}; nothing was run" if asked else _reason(error),
            expected="tensors alone: a safetensors file, or a state dict",
            remedy="if you trust its origin, load it there and write torch.save(model.state_dict(), path) anew",
        ) from error
    except Exception as error:
        raise _damaged(path, error) from error
    if not isinstance(content, Mapping):
        raise _no_state_dict(str(path), type(content).__name__)
    return content


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{path} is damaged or holds no weights.",
        received=_reason(error),
        expected="a safetensors file, or a state dict saved by torch.save",
        remedy="copy or download the file again",
    )


def _reason(error: Exception) -> str:
    """Return the line of torch's message that tells what is wrong with the file."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    short = next((line for line in lines if not line.startswith(("Weights only", "Please file"))), "")
    return f"{short or type(error).__name__:.160}"


def _find_state_dict(content: Mapping[str, Any], source: str, depth: int = 0) -> dict[str, Any]:
    for key in _NESTS:
        if isinstance(content.get(key), Mapping) and depth < _DEEPEST:  # one could hold itself
            return _find_state_dict(content[key], source, depth + 1)
    odd = [
        str(name)
        for name, value in content.items()
        if not isinstance(value, Tensor) and not str(name).endswith("_extra_state")
    ]
    if odd or not content:
        raise _no_state_dict(source, _counted("no tensors under", odd) if odd else "nothing")
    return dict(content)


def _no_state_dict(source: str, received: str) -> ModelError:
    return ModelError(
        f"{source} holds no state dict.",
        received=received,
        expected="tensors by name, at the top or under " + ", ".join(_NESTS),
        remedy="write torch.save(model.state_dict(), path)",
    )


def _without_prefixes(state: dict[str, Any], *, expected: Iterable[str]) -> dict[str, Any]:
    names = set(expected)
    state = {name.replace("_orig_mod.", ""): value for name, value in state.items()}
    while all(name.startswith("module.") for name in state) and not all(n.startswith("module.") for n in names):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def _counted(what: str, names: list[str]) -> str:
    return f"{len(names)} {what}: {shortened(names, most=_LISTED)}"
