"""What a callable does, as a text for fingerprints."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import random
import re
import tokenize
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.errors import InvalidValue

_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+|object at|<lambda>")
_MOST_DEPTH = 8


def describe_callable(function: Any) -> str:
    """Return what a function does, by content: its source and captured values, or its class and settings.

    Args:
        function: any callable; an object's generators of random numbers do not count.
    Returns:
        A text that is the same in every process and differs where source, settings, weights or captured values do.
    Raises:
        InvalidValue: content that cannot be read.
    Example:
        >>> def doubled(x):
        ...     return 2 * x
        >>> describe_callable(functools.partial(doubled, 3)) == describe_callable(functools.partial(doubled, 4))
        False
    """
    found = _described(function, depth=0)
    if found is not None:
        return found
    raise InvalidValue(
        "The content of a transform cannot be read, so that stored targets could not tell it from another.",
        received=str(getattr(function, "__qualname__", type(function).__name__)),
        expected="a function whose source is at hand, or an object that shows its settings",
        remedy='give it a name: Transform(function, name="my augmentation 1"), and change the name with the function',
    )


def _described(value: Any, depth: int) -> str | None:
    if depth > _MOST_DEPTH:
        return None
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.generic, torch.dtype)):
        return repr(value)
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return (
            None
            if value.dtype.hasobject
            else f"{value.dtype}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()}"
        )
    if isinstance(value, Mapping):
        return _joined([*value, *value.values()], depth, "mapping")
    if isinstance(value, (list, tuple, set, frozenset)):
        ordered = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        return _joined(ordered, depth, type(value).__name__)
    if isinstance(value, functools.partial):
        return _joined([value.func, value.args, value.keywords], depth, "partial")
    if inspect.ismethod(value):
        return _joined([value.__func__, value.__self__], depth, "method")
    if inspect.isfunction(value):
        return _function_described(value, depth)
    if inspect.isbuiltin(value) or inspect.isclass(value) or inspect.ismodule(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}"
    return _object_described(value, depth)


def _function_described(function: Any, depth: int) -> str | None:
    """A function of an installed package by its name, another by its code and what that closes over."""
    captured = inspect.getclosurevars(function)
    named = {**captured.nonlocals, **{k: v for k, v in captured.globals.items() if not inspect.ismodule(v)}}
    named.pop(function.__name__, None)  # itself
    parts = _joined([named, function.__defaults__, function.__kwdefaults__], depth, "captured")
    code = _source(function)
    return None if parts is None else f"function {code} {parts}"


def _source(function: Any) -> str:
    """The source of a named function, which no version of Python changes; of a lambda, which may share a line, code."""
    if function.__name__ != "<lambda>":
        with contextlib.suppress(OSError, TypeError, tokenize.TokenError, SyntaxError):  # the last two: edited since
            return repr(inspect.getsource(function))
    return _code(function.__code__)


def _code(code: Any) -> str:
    constants = [_code(item) if inspect.iscode(item) else repr(item) for item in code.co_consts]
    return hashlib.sha256(repr((code.co_code, constants, code.co_names, code.co_varnames)).encode()).hexdigest()


def _object_described(value: Any, depth: int) -> str | None:
    """Class and settings: of a module its state and parts, of another object its attributes, else a telling repr."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, nn.Module):
        settings = {k: v for k, v in vars(value).items() if not k.startswith("_") and k != "training"}
        return _joined([kind, settings, dict(value.named_children()), dict(value.state_dict())], depth, "module")
    attributes = getattr(value, "__dict__", None)
    if attributes and not isinstance(value, type):
        settings = {
            k: v
            for k, v in attributes.items()
            if not isinstance(v, (np.random.Generator, torch.Generator, random.Random))
        }
        described = _joined([kind, settings], depth, "object")
        if described is not None:
            return described
    text = repr(value)
    return None if _ADDRESS.search(text) else f"{kind} {text}"


def _joined(values: Any, depth: int, kind: str) -> str | None:
    parts = [_described(value, depth + 1) for value in values]
    return None if None in parts else f"{kind}({', '.join(map(str, parts))})"
