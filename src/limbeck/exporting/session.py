"""Files that were exported, as what runs raw samples: ONNX files and programs of ``torch.export``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.data import Normalise
from limbeck.data.normalise import to_float
from limbeck.errors import ModelError
from limbeck.inputs import Inputs
from limbeck.models.calling import find_logits, network_logits
from limbeck.models.fixed import FixedNetwork
from limbeck.teachers.onnx_file import OnnxSession

METADATA = "limbeck"  # key of the JSON in an ONNX file's metadata


@dataclass(frozen=True)
class Facts:
    """What an ONNX file of ours says of itself."""

    class_names: tuple[str, ...]
    task: str
    preprocess: str
    normalise: Normalise | None
    input_shape: tuple[int, ...]
    fingerprint: str
    spec: str

    def as_metadata(self, version: str) -> dict[str, str]:
        """Return texts for the file: the class names for anybody, one a line, and everything as JSON for us."""
        own = self.normalise
        content = {
            "class_names": list(self.class_names),
            "task": self.task,
            "preprocess": self.preprocess,
            "normalise": own and {"mean": list(own.mean), "std": list(own.std)},
            "input_shape": list(self.input_shape),
            "fingerprint": self.fingerprint,
            "spec": self.spec,
            "limbeck": version,
        }
        return {
            "class_names": json.dumps(list(self.class_names)),
            "fingerprint": self.fingerprint,
            METADATA: json.dumps(content),
        }

    @staticmethod
    def read(metadata: Mapping[str, str], *, source: str) -> Facts:
        """Return what a file's metadata say.

        Raises:
            ModelError: a file that is not of ours, or damaged metadata.
        """
        try:
            content: dict[str, Any] = json.loads(metadata[METADATA])
            return Facts(
                class_names=tuple(map(str, content["class_names"])),
                task=str(content["task"]),
                preprocess=str(content["preprocess"]),
                normalise=Normalise.from_saved(content["normalise"]),
                input_shape=tuple(map(int, content["input_shape"])),
                fingerprint=str(content["fingerprint"]),
                spec=str(content["spec"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{source} does not say what it is.",
                received=f"metadata {', '.join(metadata) or 'none'}",
                expected=f"the key {METADATA} with class names and preprocessing",
                remedy="export the network with limbeck export",
            ) from error


def as_file_input(facts: Facts, raw: Inputs) -> Inputs:
    """Return raw samples as a file takes them."""
    return to_float(raw, facts.normalise) if facts.preprocess == "none" else raw


class SessionNetwork(nn.Module):
    """An ONNX file as a module without parameters, so that it is timed and called as every network is."""

    def __init__(self, session: OnnxSession) -> None:
        super().__init__()
        self._session = session

    def forward(self, *parts: Inputs, **named: Inputs) -> Tensor:
        """Return logits, float32."""
        inputs: Inputs = named or (parts[0] if len(parts) == 1 else parts)
        return find_logits(self._session(inputs), logits="logits").float()


def load_program(path: Path) -> nn.Module:
    """Return the module of a ``.pt2`` file that was just written here."""
    module: nn.Module = torch.export.load(str(path)).module()
    return FixedNetwork(module)


def runner(network: nn.Module, facts: Facts) -> Any:
    """Return what runs raw samples through a file's module: raw inputs to logits."""

    def run(raw: Inputs) -> Tensor:
        with torch.inference_mode():
            return network_logits(network, as_file_input(facts, raw)).float()

    return run
