"""Networks of timm and of Hugging Face transformers: ``timm:NAME``, ``hf:NAME_OR_FOLDER``."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from limbeck.errors import MissingPackage, ModelError, near_names
from limbeck.models.factory import failure, seeded

SCHEMES = ("timm", "hf")
CONFIG = "transformers"  # key of a transformer's configuration in a saved model's ``extra``


def is_foreign(spec: str) -> bool:
    """Tell whether text has the form ``timm:NAME`` or ``hf:NAME_OR_FOLDER``.

    Example:
        >>> is_foreign("timm:resnet18"), is_foreign("mlp:widths=30x30")
        (True, False)
    """
    scheme, colon, name = spec.partition(":")
    return scheme in SCHEMES and bool(colon and name)


def build_foreign(
    spec: str,
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    seed: int | None = None,
    config: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a network of timm or transformers with random weights, for the data's classes.

    Args:
        spec: ``timm:NAME``, which takes images of ``input_shape[0]`` channels, or ``hf:NAME_OR_FOLDER``, of whose
            configuration the architecture is built.
        input_shape: shape of one sample; of a transformer it does not matter.
        num_classes: number of outputs.
        seed: where given, weights are drawn from it, and torch's global random state is as it was before.
        config: of a transformer that was saved: used in place of NAME's.
    Raises:
        MissingPackage: timm or transformers is not installed.
        ModelError: no such network, or one that cannot be built so.
    """
    scheme, _, name = spec.partition(":")
    with seeded(seed), _told(spec):
        if scheme == "timm":
            return timm_network(name, num_classes=num_classes, in_chans=input_shape[0])
        settings = None if config is None else _config_from(config)
        return _transformer(name, settings or _config_of(name, num_labels=num_classes))


def pretrained(spec: str, *, num_classes: int | None = None) -> nn.Module:
    """Return a network of timm or transformers with its own weights, and its own classes.

    Weights come from a folder, or from the hub where there is a network; only as safetensors, never as a pickle.

    Args:
        spec: ``timm:NAME`` or ``hf:NAME_OR_FOLDER``.
        num_classes: to be expected, for the message; the network keeps its own.
    Raises:
        MissingPackage: timm or transformers is not installed.
        ModelError: no such network, or no weights.
    """
    scheme, _, name = spec.partition(":")
    with _told(spec):
        if scheme == "timm":
            return timm_network(name, pretrained=True)
        config = _config_of(name)
        kind = _class_of(name, config)
        network: nn.Module = kind.from_pretrained(name, config=config, use_safetensors=True, trust_remote_code=False)
        return network


def timm_network(name: str, **settings: Any) -> nn.Module:
    """Return ``timm.create_model(name, ...)``.

    Raises:
        MissingPackage: timm is not installed.
        ModelError: no such network; near ones are listed.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingPackage(
            f"timm:{name} needs timm.", received=str(error)[:200], remedy="pip install 'limbeck[vision]'"
        ) from error
    if not timm.is_model(name.partition(".")[0]):
        near = near_names(name, timm.list_models())
        raise ModelError(
            f"timm has no network named {name!r}.",
            received=f"timm {timm.__version__}",
            remedy=f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them",
        )
    network: nn.Module = timm.create_model(name, **settings)
    return network


def saved_config(module: nn.Module) -> dict[str, Any]:
    """Return what a saved transformer is rebuilt from, for ``extra``; nothing for another network."""
    config: Any = getattr(module, "config", None)
    if not hasattr(config, "to_json_string") or not hasattr(config, "model_type"):
        return {}
    settings = json.loads(config.to_json_string(use_diff=False))
    return {CONFIG: {**settings, "model_type": config.model_type, "architectures": [type(module).__name__]}}


def label_names(module: nn.Module) -> tuple[str, ...] | None:
    """Return a transformer's class names in the order of its outputs; None where it has none of its own."""
    names = getattr(getattr(module, "config", None), "id2label", None)
    if not isinstance(names, Mapping) or not names:
        return None
    ordered = tuple(str(names[key]) for key in sorted(names, key=int))
    return None if all(name == f"LABEL_{index}" for index, name in enumerate(ordered)) else ordered


def _transformers(name: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingPackage(
            f"hf:{name} needs transformers.", received=str(error)[:200], remedy="pip install 'limbeck[hf]'"
        ) from error
    return transformers


def _config_of(name: str, **settings: Any) -> Any:
    return _transformers(name).AutoConfig.from_pretrained(name, trust_remote_code=False, **settings)


def _config_from(config: Mapping[str, Any]) -> Any:
    settings = dict(config)
    return _transformers("config.json").AutoConfig.for_model(settings.pop("model_type"), **settings)


def _transformer(name: str, config: Any) -> nn.Module:
    network: nn.Module = _class_of(name, config)(config)
    return network


def _class_of(name: str, config: Any) -> Any:
    """Return the class of transformers that the configuration names: a classifier."""
    (architecture, *_) = getattr(config, "architectures", None) or [None]
    if architecture is None or "Classification" not in architecture:
        raise ModelError(
            f"hf:{name} is no classifier.",
            received=str(architecture),
            expected="an architecture such as BertForSequenceClassification in its config.json",
            remedy="save the classifier itself: model.save_pretrained(folder)",
        )
    kind = getattr(_transformers(name), architecture, None)
    if kind is None:
        raise ModelError(
            f"transformers has no class {architecture}.",
            received=f"hf:{name}",
            expected="an architecture of the installed transformers; code that a file names is never run",
            remedy="give it as package.module:factory",
        )
    return kind


@contextlib.contextmanager
def _told(spec: str) -> Iterator[None]:
    """Tell what goes wrong inside of another package as an error of ours."""
    try:
        yield
    except (ModelError, MissingPackage):
        raise
    except Exception as error:
        if any("operator torchvision::" in str(one) for one in _with_causes(error)):
            raise MissingPackage(
                f"{spec} needs a torchvision that fits torch.",
                received=f"torch {torch.__version__}, and a torchvision without its operators",
                expected="builds of one kind: both for the CPU, or both for the same CUDA",
                remedy="install torch and torchvision together, both from PyTorch's own index of builds",
            ) from error
        name = spec.partition(":")[2]
        where = "its folder" if os.path.isdir(name) else "the hub, where there is a network, or a folder"
        raise ModelError(
            f"{spec} cannot be built.", received=failure(error)[:300], expected=f"what {where} holds", remedy=None
        ) from error


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it."""
    while error is not None:
        yield error
        error = error.__cause__
