"""A network in eval mode, frozen, whose weights are watched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import TeacherError
from limbeck.models import fingerprint, unwrap
from limbeck.models.fixed import FixedNetwork


class FrozenNetwork:
    """A module put in eval mode, its parameters without gradients, here, once, for good.

    ``check`` sees that both still hold and that no weight or buffer was written since, by version counters, at the cost
    of reading one integer a tensor. TorchScript modules and exported programs are taken too; a :class:`FixedNetwork`
    has no mode that could change.

    Args:
        module: the network.
        name: of the teacher, for messages.
    Raises:
        TeacherError: a parameter or buffer is not finite.
    """

    def __init__(self, module: nn.Module, *, name: str) -> None:
        self.module, self._name = module, name
        module.eval()
        fixed = {inner for child in module.modules() if isinstance(child, FixedNetwork) for inner in child.modules()}
        self._submodules = [child for child in module.modules() if child not in fixed]
        self._tensors = [*module.parameters(), *module.buffers()]
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        for key, tensor in module.state_dict().items():
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise TeacherError(
                    f"The teacher's {key} holds NaN or infinity.",
                    received=name,
                    remedy="train the teacher again, or load the weights you meant",
                )
        self.fingerprint = network_fingerprint(module)
        self._versions = self._read_versions()
        self._shard_hash: str | None = None  # hash of this rank's, where the weights were sharded

    def shard_weights(self, shard: Callable[[nn.Module], None]) -> None:
        """Let ``shard`` replace the parameters by shards of them, and watch the shards."""
        shard(self.module)
        self._tensors = [*self.module.parameters(), *self.module.buffers()]
        self._versions, self._shard_hash = self._read_versions(), self._hash_shards()

    def check(self) -> None:
        """Raise TeacherError where it is awake, trainable or written to."""
        if any(module.training for module in self._submodules):
            raise TeacherError(
                f"The teacher {self._name} was put in train mode.",
                received="module.training = True",
                expected="eval mode: dropout off, batch-norm statistics fixed",
                remedy="call train() on the student alone; a teacher must not be a submodule of what is trained",
            )
        if any(tensor.requires_grad for tensor in self._tensors):
            raise TeacherError(
                f"The teacher {self._name} is trainable.",
                received="a parameter with requires_grad = True",
                expected="every parameter frozen",
                remedy="do not call requires_grad_() on the teacher",
            )
        if self._read_versions() != self._versions:
            raise self._changed()

    def check_unchanged(self) -> None:
        """Raise TeacherError unless every weight and buffer is what it was, to the byte."""
        self.check()
        if self._shard_hash is None:
            is_same = network_fingerprint(self.module) == self.fingerprint
        else:
            is_same = self._hash_shards() == self._shard_hash
        if not is_same:
            raise self._changed()

    def _hash_shards(self) -> str:
        digest = hashlib.sha256()
        for tensor in self._tensors:
            own = tensor.to_local() if hasattr(tensor, "to_local") else tensor  # of a DTensor
            digest.update(own.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _read_versions(self) -> list[int]:
        return [tensor._version for tensor in self._tensors]

    def _changed(self) -> TeacherError:
        return TeacherError(
            f"The teacher {self._name} changed while it taught.",
            expected="every weight and buffer the same bytes after a run",
            remedy="keep the teacher out of the optimiser, and do not share tensors between teacher and student",
        )


def network_fingerprint(module: nn.Module) -> str:
    """Return ``models.fingerprint``; of a script or an exported graph, the SHA-256 of its graph and its tensors."""
    module = unwrap(module)
    module = module.network if isinstance(module, FixedNetwork) else module
    if isinstance(module, torch.jit.ScriptModule):
        return _script_fingerprint(module)
    if isinstance(module, torch.fx.GraphModule):
        return hashlib.sha256(f"graph\n{module.graph}\n{fingerprint(module)}".encode()).hexdigest()
    return fingerprint(module)


def _script_fingerprint(module: torch.jit.ScriptModule) -> str:
    graph: Any = module.inlined_graph
    digest = hashlib.sha256(b"limbeck-script-fingerprint-1\n")
    digest.update("\n".join(node.kind() for node in graph.nodes()).encode())
    tensors = [(name, tensor) for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)]
    for node in graph.findAllNodes("prim::Constant"):  # where a frozen script has its weights
        if node.hasAttribute("value"):
            value = node.t("value") if node.kindOf("value") == "t" else None
            tensors += [("", value)] if value is not None else []
            digest.update(str(node.output().toIValue()).encode() if value is None else b"")
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
