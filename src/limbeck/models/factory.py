"""A model from the user's own module, named explicitly: ``package.module:factory``."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import nn

from limbeck.errors import ModelError, near_names

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class ModelFactory:
    """The user's own function that builds a model, ready to be called with what the data knows.

    Args:
        path: where it came from, ``package.module:factory``; named in errors.
        function: called with those of ``input_shape`` and ``num_classes`` that it accepts.
    """

    path: str
    function: Callable[..., object]

    def __call__(self, *, input_shape: tuple[int, ...], num_classes: int, seed: int | None = None) -> nn.Module:
        """Build the model.

        Args:
            input_shape: shape of one sample.
            num_classes: number of outputs.
            seed: where given, weights are drawn from it, and torch's global random state is as it was before.
        Raises:
            ModelError: the function needs other arguments, fails, or returns no ``nn.Module``.
        """
        accepted = self._accepted({"input_shape": input_shape, "num_classes": num_classes})
        try:
            with seeded(seed):
                model = self.function(**accepted)
        except Exception as error:
            raise ModelError(f"{self.path} failed.", received=failure(error), remedy="mend the factory") from error
        if not isinstance(model, nn.Module):
            raise ModelError(
                f"{self.path} did not build a model.",
                received=f"{type(model).__name__}",
                expected="a torch.nn.Module, returned by the factory",
            )
        return model

    def _accepted(self, offered: dict[str, Any]) -> dict[str, Any]:
        try:
            parameters = inspect.signature(self.function).parameters.values()
        except (TypeError, ValueError):  # some builtins have no signature
            return {}
        by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        accepted = {p.name for p in parameters if p.kind in by_keyword}
        needed = {
            p.name
            for p in parameters
            if p.default is inspect.Parameter.empty
            and p.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        }
        if unmet := sorted(needed - (accepted & offered.keys())):
            raise ModelError(
                f"{self.path} needs arguments that nothing here can give.",
                received=", ".join(unmet),
                expected="a factory called as factory(input_shape=..., num_classes=...), or with fewer of these",
                remedy="give the others a default, or wrap the factory in a function of your own",
            )
        takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
        return {key: value for key, value in offered.items() if takes_all or key in accepted}


def is_factory_path(text: str) -> bool:
    """Tell whether text has the form ``package.module:factory``, as against a spec such as ``mlp:widths=30x30``.

    Example:
        >>> is_factory_path("my_nets.small:build"), is_factory_path("mlp:widths=30x30"), is_factory_path("mlp")
        (True, False, False)
    """
    return _PATH.fullmatch(text) is not None


def load_factory(path: str) -> ModelFactory:
    """Import a module and return its factory. This runs the module's code: call it only with a path the user typed.

    The working folder is put first on ``sys.path``, as ``python -m`` does, and stays there.

    Args:
        path: ``package.module:factory``; the part after the colon may be dotted.
    Raises:
        ModelError: no such form, module or attribute; the import fails; or the attribute cannot be called.
    Example:
        >>> factory = load_factory("torch.nn:Identity")
        >>> factory(input_shape=(4,), num_classes=4)
        Identity()
    """
    if not is_factory_path(path):
        raise ModelError("This is no factory's path.", received=path, expected="package.module:factory")
    module_name, _, attribute = path.partition(":")
    found: Any = _imported(module_name)
    for name in attribute.split("."):
        if not hasattr(found, name):
            near = near_names(name, [key for key in vars(found) if not key.startswith("_")])
            raise ModelError(
                f"{module_name} has no attribute {attribute!r}.",
                received=path,
                remedy=f"did you mean {' or '.join(near)}?" if near else "name a function of that module",
            )
        found = getattr(found, name)
    if isinstance(found, nn.Module) or not callable(found):
        raise ModelError(
            f"{path} is not a factory.",
            received="a model that is built already" if isinstance(found, nn.Module) else type(found).__name__,
            expected="a function or class that returns a new nn.Module on each call",
        )
    return ModelFactory(path, found)


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Draw torch's random numbers on the CPU from ``seed`` inside the block; None leaves the global state in use."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def failure(error: BaseException) -> str:
    """Return the last line of an error's traceback and the line of code that raised it.

    Example:
        >>> failure(KeyError("weights"))
        "KeyError: 'weights'"
    """
    last = traceback.format_exception_only(error)[-1].strip()
    frames = traceback.extract_tb(error.__traceback__)
    return f"{last} ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else last


def _imported(module_name: str) -> ModuleType:
    folder = os.getcwd()
    if sys.path[:1] not in ([folder], [""]):
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise ModelError(
                f"There is no module named {error.name}.",
                received=module_name,
                expected=f"a module that Python finds from {folder}",
                remedy="run from the folder that holds it, or install its package; a model of the zoo takes key=value",
            ) from error
        raise _import_failed(module_name, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(module_name, error) from error


def _import_failed(module_name: str, error: BaseException) -> ModelError:
    return ModelError(
        f"Importing {module_name} failed.", received=failure(error), remedy="mend or install what it needs"
    )
