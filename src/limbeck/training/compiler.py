"""Whether torch.compile has what it needs."""

from __future__ import annotations

import torch

from limbeck.errors import InvalidValue


def require_compiler(device: torch.device) -> None:
    """Raise InvalidValue unless torch.compile can make kernels for a device: with a C++ compiler, or Triton."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler
    from torch.utils._triton import has_triton

    if device.type == "cpu":
        try:
            get_cpp_compiler()
        except InvalidCxxCompiler as error:
            raise _no_compiler("no C++ compiler", "install g++ or clang, or name one in the variable CXX") from error
    elif not has_triton():
        raise _no_compiler(f"no Triton for {device.type}", "pip install triton")


def refuse_compiler(compiles: bool) -> None:
    """Raise InvalidValue where networks that are trained together were to go through torch.compile."""
    if compiles:
        raise InvalidValue(
            "Networks that are trained together do not go through torch.compile.",
            received="--compile",
            expected="one network at a time: limbeck distill, train and search",
            remedy="leave --compile out",
        )


def _no_compiler(received: str, remedy: str) -> InvalidValue:
    return InvalidValue(
        "torch.compile has nothing to compile with.",
        received=received,
        expected="a C++ compiler on the CPU, Triton on GPUs",
        remedy=f"{remedy}; or leave --compile out",
    )
