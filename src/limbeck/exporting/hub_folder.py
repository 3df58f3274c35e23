"""A folder that timm or transformers loads by themselves, for the hub: weights and the architecture's own config."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from torch import nn

from limbeck.exporting.program import quiet
from limbeck.exporting.source import Exported
from limbeck.models import load_model, save_model
from limbeck.models.foreign import timm_network
from limbeck.records import write_text

WEIGHTS = "model.safetensors"
TIMM, TRANSFORMERS, OWN = "timm", "transformers", "limbeck"


def library_of(exported: Exported) -> str:
    """Return which library loads the network from the hub: "timm", "transformers" or "limbeck"."""
    if exported.saved.spec.startswith("timm:"):
        return TIMM
    return TRANSFORMERS if _is_transformer(exported.saved.module) else OWN


def write_hub_folder(folder: Path, exported: Exported, *, task: str) -> tuple[str, list[str]]:
    """Write weights and configuration; return the name of the weights' file and notes.

    timm: ``config.json`` for ``timm.create_model("local-dir:FOLDER")``, and weights for ``checkpoint_path=``.
    transformers: what ``save_pretrained`` writes, with the class names, and ``preprocessor_config.json`` for images.
    Networks of the zoo have no library on the hub: the folder is then one that ``limbeck.load_model`` reads.
    """
    library = library_of(exported)
    if library == TIMM:
        return _write_timm(folder, exported)
    if library == TRANSFORMERS:
        return _write_transformer(folder, exported, task=task)
    saved = exported.saved
    save_model(
        folder,
        saved.module,
        spec=saved.spec,
        input_shape=saved.input_shape,
        class_names=saved.class_names,
        normalise=saved.normalise,
        role="model",
    )
    return WEIGHTS, [f"{saved.spec} is of Limbeck's own networks: limbeck.load_model(FOLDER) loads it."]


def load_hub_folder(folder: Path, exported: Exported) -> nn.Module:
    """Return the network that its own library loads from the folder, in eval mode."""
    library = library_of(exported)
    if library == OWN:
        return load_model(folder).module
    with quiet():
        if library == TIMM:
            network = timm_network(
                exported.saved.spec.partition(":")[2],
                checkpoint_path=str(folder / WEIGHTS),
                num_classes=len(exported.saved.class_names),
                in_chans=exported.saved.input_shape[0],
            )
        else:
            kind: Any = type(exported.saved.module)
            network = kind.from_pretrained(str(folder), use_safetensors=True, trust_remote_code=False)
    return network.eval()


def _write_timm(folder: Path, exported: Exported) -> tuple[str, list[str]]:
    import safetensors.torch

    saved = exported.saved
    name, own = saved.spec.partition(":")[2], exported.normalise
    channels, mean_and_std = saved.input_shape[0], {}
    if own is not None:
        mean_and_std = {"mean": _per_channel(own.mean, channels), "std": _per_channel(own.std, channels)}
    else:
        mean_and_std = {"mean": [0.0] * channels, "std": [1.0] * channels}
    config = {
        "architecture": name,
        "num_classes": len(saved.class_names),
        "num_features": getattr(saved.module, "num_features", None),
        "model_args": {"in_chans": channels},
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": list(saved.input_shape),
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "center",
            **mean_and_std,
            "num_classes": len(saved.class_names),
            "label_names": list(saved.class_names),
        },
    }
    state = {key: value.detach().cpu().contiguous().clone() for key, value in saved.module.state_dict().items()}
    safetensors.torch.save_file(state, str(folder / WEIGHTS), metadata={"format": "pt"})
    write_text(folder / "config.json", json.dumps(config, indent=1) + "\n")
    return WEIGHTS, []


def _write_transformer(folder: Path, exported: Exported, *, task: str) -> tuple[str, list[str]]:
    saved, own = exported.saved, exported.normalise
    module: Any = copy.deepcopy(saved.module)
    module.config.id2label = dict(enumerate(saved.class_names))
    module.config.label2id = {name: index for index, name in enumerate(saved.class_names)}
    if task == "multi_label":
        module.config.problem_type = "multi_label_classification"
    with quiet():
        module.save_pretrained(str(folder), safe_serialization=True)
    if len(saved.input_shape) != 3:
        return WEIGHTS, ["The tokenizer is not part of the run: save it into the folder, too."]
    channels, height, width = saved.input_shape
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": own is not None,
        "image_mean": _per_channel(own.mean if own else (0.0,), channels),
        "image_std": _per_channel(own.std if own else (1.0,), channels),
    }
    write_text(folder / "preprocessor_config.json", json.dumps(processor, indent=1) + "\n")
    return WEIGHTS, []


def _per_channel(values: tuple[float, ...], channels: int) -> list[float]:
    return list(values) if len(values) == channels else [values[0]] * channels


def _is_transformer(module: nn.Module) -> bool:
    return hasattr(module, "save_pretrained") and hasattr(getattr(module, "config", None), "model_type")
