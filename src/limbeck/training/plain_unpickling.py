"""A reader of ``torch.distributed.checkpoint`` that runs no code of what it reads."""

from __future__ import annotations

import pickle
import re
from typing import Any

from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta

_PLAIN = re.compile(
    r"torch\.distributed\.checkpoint\.(metadata|filesystem)\.\w+"
    r"|torch\.(Size|device|float\d+|bfloat16|u?int\d+|bool|strided|\w*_format)|torch\.serialization\._get_layout"
    r"|pathlib(\._local)?\.(Posix|Windows)Path|builtins\.set"
)


class PlainReader(FileSystemReader):
    """Reads a checkpoint whose ``.metadata``, a pickle, may name nothing but the classes that torch writes there.

    Tensors are read by ``torch.load`` with ``weights_only``; the checkpoints of this package hold nothing else.
    """

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        """Return what the checkpoint holds, and where.

        Raises:
            pickle.UnpicklingError: it asks for something else.
        """
        with open(self.path / ".metadata", "rb") as file:  # type: ignore[operator]
            metadata: Metadata = _PlainUnpickler(file).load()
        metadata.storage_meta = metadata.storage_meta or StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if not _PLAIN.fullmatch(f"{module}.{name}"):
            raise pickle.UnpicklingError(f"it asks for {module}.{name}; nothing was run")
        return super().find_class(module, name)
