"""``model.json``, sealed: read, and found to be as it was written, with the weights that it names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limbeck.errors import ModelError, RecordError
from limbeck.models.rebuilding import is_sound
from limbeck.records import check_seal, parse_finite
from limbeck.records.sealing import SEAL

FORMAT = "limbeck-model"
VERSION = 1
MANIFEST = "model.json"

ROLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]*")
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "role": str,
    "spec": str,
    "input_shape": list,
    "class_names": list,
    "normalise": (dict, type(None)),
    "fingerprint": str,
    "weights": dict,
    "extra": dict,
}
_UNSEALED = {*_FIELDS, "format", "version", "dtype", "num_parameters", "torch"}


def read_manifest(path: Path) -> dict[str, Any]:
    """Return what ``model.json`` says.

    Raises:
        ModelError: it is missing, damaged, or of another format or version.
    """
    try:
        manifest = parse_finite(path.read_text(encoding="utf-8"), source=str(path))
    except OSError as error:
        raise ModelError(
            f"There is no saved model in {path.parent}.",
            received=f"{path.name}: {error.strerror}",
            expected=f"a folder with {MANIFEST}, which is written last",
            remedy="name the folder of a finished run; an interrupted one has to be resumed first",
        ) from error
    except (RecordError, UnicodeDecodeError) as error:
        raise damaged(path, str(getattr(error, "received", error))) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ModelError(f"{path} describes no saved model.", expected=f'a JSON object with "format": "{FORMAT}"')
    if manifest.get("version") != VERSION:
        raise ModelError(
            f"{path} has another version.",
            received=manifest.get("version"),
            expected=VERSION,
            remedy="load it with the release of limbeck that wrote it",
        )
    _check_sealed(manifest, path)
    wrong = [key for key, kind in _FIELDS.items() if not isinstance(manifest.get(key, ...), kind)]
    if wrong or not _is_sound(manifest):
        raise damaged(path, f"missing or wrong: {', '.join(wrong) or 'weights, input_shape, class_names or extra'}")
    return manifest


def _check_sealed(manifest: dict[str, Any], path: Path) -> None:
    """Raise ModelError where a manifest was changed; take its seal off."""
    try:
        check_seal(manifest, source=str(path))
    except RecordError as error:
        raise damaged(path, f"it was changed after it was written: {error.received}") from error
    if not manifest.pop(SEAL, None) and (unknown := manifest.keys() - _UNSEALED):
        raise damaged(path, f"unknown: {', '.join(sorted(unknown))}")


def _is_sound(manifest: Mapping[str, Any]) -> bool:
    """Tell whether the fields' contents have the right types, and the weights' name stays in the folder."""
    name, digest = manifest["weights"].get("file"), manifest["weights"].get("sha256")
    return (
        isinstance(name, str)
        and ROLE.fullmatch(name) is not None
        and isinstance(digest, str)
        and all(isinstance(size, int) for size in manifest["input_shape"])
        and all(isinstance(label, str) for label in manifest["class_names"])
        and is_sound(manifest["extra"])
    )


def read_checked(path: Path, sha256: str) -> bytes:
    """Return the content of a file of this SHA-256.

    Raises:
        ModelError: it cannot be read, or is another.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"Cannot read the weights {path}.", received=error.strerror, remedy="copy the whole folder again"
        ) from error
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise damaged(path, f"SHA-256 {found[:12]}... where {MANIFEST} says {sha256[:12]}...")
    return content


def damaged(path: Path, received: str) -> ModelError:
    """Return the error of a file that is not what was written."""
    return ModelError(f"{path} is damaged.", received=f"{received:.200}", remedy="copy the whole folder again")
