"""Networks whose weights are sharded over all ranks (FSDP2): each keeps 1 / N, and gathers block after block.

A shard is a run of rows: of n rows, ceil(n / N) for each rank, fewer for the last ones. Buffers are whole on each rank.
"""

from __future__ import annotations

import contextlib
import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import InvalidValue, ModelError
from limbeck.models.factory import failure
from limbeck.ranks.group import Ranks

SMALLEST_BLOCK = 2**16  # weights that are gathered by themselves; fewer cost more in waiting than they save in memory


def require_sharding(device: torch.device, *, trains: bool) -> None:
    """Raise InvalidValue where this torch cannot share a network out on a device, and train it where that is asked."""
    from torch.distributed.fsdp import FSDPModule

    knows_cpu = hasattr(torch.cpu.Stream, "record_event")
    if device.type not in ("cpu", "cuda") or (device.type == "cpu" and not knows_cpu):
        raise InvalidValue(
            "This torch shares networks out on GPUs alone.",
            received=f"torch {torch.__version__}, device {device.type}",
            expected="a newer torch, or --device cuda",
        )
    if trains and not hasattr(FSDPModule, "set_force_sum_reduction_for_comms"):
        raise InvalidValue(
            "This torch does not add gradients up among ranks; it averages them.",
            received=f"torch {torch.__version__}",
            expected="a newer torch",
        )


def check_shardable(network: nn.Module) -> None:
    """Raise ModelError for a network whose weights cannot be cut into shards."""
    scalars = [name for name, parameter in network.named_parameters() if parameter.dim() == 0]
    dtypes = {str(parameter.dtype) for parameter in network.parameters() if parameter.requires_grad}
    if scalars or len(dtypes) > 1:
        raise ModelError(
            "The weights of this network cannot be sharded over ranks.",
            received=f"{scalars[0]} is a single number" if scalars else f"weights of {', '.join(sorted(dtypes))}",
            expected="weights of one dtype, each with at least one axis",
            remedy="give a single number the shape (1,)" if scalars else "give all weights one dtype",
        )


def sharded_copy(network: nn.Module, *, ranks: Ranks, device: torch.device) -> nn.Module:
    """Return a copy of a network that is sharded over all ranks; the network is left as it is.

    Args:
        network: the same on each rank, in host memory.
        ranks: at least two.
        device: of this rank: one block at a time is whole there.
    Raises:
        ModelError: a network that cannot be copied, or whose weights cannot be cut into shards.
    """
    check_shardable(network)
    own: dict[int, Any] = {
        id(parameter): nn.Parameter(parameter.detach().contiguous(), requires_grad=parameter.requires_grad)
        for parameter in network.parameters()
    }
    own |= {id(buffer): buffer.detach().clone() for buffer in network.buffers()}
    try:
        copied = copy.deepcopy(network, own)  # its weights are in the memory of the network's until they are cut
    except Exception as error:
        raise ModelError(
            "This network cannot be copied, and so not be sharded over ranks.", received=failure(error)
        ) from error
    shard_network(copied, ranks=ranks, device=device)
    return copied


def shard_network(module: nn.Module, *, ranks: Ranks, device: torch.device) -> None:
    """Share out the parameters of a network among ranks, block by block, in place: each rank keeps 1 / N of each.

    A block is what stands in an ``nn.ModuleList`` or ``nn.Sequential`` and has ``SMALLEST_BLOCK`` weights or more; it
    alone is whole on a device while it computes. What is in none of them, and smaller, goes with what is around it, and
    so does what blocks share. Gradients are sums over ranks.
    """
    from torch.distributed.fsdp import FSDPModule, fully_shard

    mesh = mesh_of(device.type, ranks.size)
    for block in blocks_of(module):
        fully_shard(block, mesh=mesh, reshard_after_forward=True)
    fully_shard(module, mesh=mesh, reshard_after_forward=True)
    for part in module.modules():
        if isinstance(part, FSDPModule) and hasattr(part, "set_force_sum_reduction_for_comms"):
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)
    for buffer in module.buffers():
        buffer.data = buffer.data.to(device)


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """Return what is sharded by itself, the inner ones first: large blocks whose weights nothing else has, too."""
    uses = Counter(id(one) for part in module.modules() for one in part.parameters(recurse=False))
    containers = [child for child in module.modules() if isinstance(child, nn.ModuleList | nn.Sequential)]
    found: list[nn.Module] = []
    taken: set[int] = set()  # weights of inner blocks
    for block in dict.fromkeys(block for container in reversed(containers) for block in container):
        own = Counter(id(one) for part in block.modules() for one in part.parameters(recurse=False))
        size = sum(one.numel() for one in block.parameters() if id(one) not in taken)
        alone = all(uses[one] == count for one, count in own.items())
        if size >= SMALLEST_BLOCK and alone and not isinstance(block, nn.ModuleList):
            found.append(block)
            taken |= set(own)
    return found


@cache
def mesh_of(kind: str, num_ranks: int) -> Any:
    """Return the devices of all ranks, of a kind ("cpu", "cuda"), in a row."""
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh(kind, (num_ranks,))


def is_sharded(module: nn.Module) -> bool:
    """Tell whether the weights of a network are sharded over all ranks."""
    return any(is_dtensor(parameter) for parameter in module.parameters())


def is_dtensor(tensor: Tensor) -> bool:
    """Tell whether a tensor is sharded over ranks."""
    return hasattr(tensor, "device_mesh")


def local_shard(tensor: Tensor) -> Tensor:
    """Return this rank's shard of a sharded tensor, in the same memory; any other tensor as it is."""
    with torch.no_grad():
        return tensor.to_local() if is_dtensor(tensor) else tensor  # type: ignore[attr-defined]


def as_dtensor(part: Tensor, like: Tensor) -> Tensor:
    """Return this rank's shard as the tensor that all ranks have together, in the same memory.

    Args:
        part: a shard as ``local_shard(like)`` is.
        like: a sharded tensor; where it is not, ``part`` is returned.
    """
    from torch.distributed.tensor import DTensor

    if not isinstance(like, DTensor):
        return part
    return DTensor.from_local(
        part, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def sharded_zeros(shape: tuple[int, ...], dtype: torch.dtype, *, ranks: Ranks) -> Tensor:
    """Return a tensor of zeros that is sharded over ranks, in host memory."""
    from torch.distributed.tensor import Shard, zeros

    return zeros(*shape, dtype=dtype, device_mesh=mesh_of("cpu", ranks.size), placements=[Shard(0)])


def gathered(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return whole tensors, in host memory of their own on each rank; all ranks gather one after the other."""
    found = {}
    for name, value in weights.items():
        whole: Tensor = value.detach()
        if is_dtensor(whole):
            whole = whole.full_tensor()  # type: ignore[attr-defined]
        found[name] = whole.to("cpu", copy=True, memory_format=torch.contiguous_format)
    return found


@torch.no_grad()
def load_shards(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a network, sharded or not, the values of a state dict of its own: of shards, or of whole tensors."""
    for name, value in module.state_dict().items():
        given = weights[name]
        local_shard(value).copy_(local_shard(given) if is_dtensor(given) else _cut(given, value))


@contextlib.contextmanager
def holding(module: nn.Module, weights: Mapping[str, Tensor] | None) -> Iterator[None]:
    """Let a sharded network have other weights while the block runs; its own where there are none."""
    if weights is None:
        yield
        return
    before = {name: value.detach().clone() for name, value in module.state_dict().items()}
    load_shards(module, weights)
    try:
        yield
    finally:
        load_shards(module, before)


def _cut(whole: Tensor, like: Tensor) -> Tensor:
    """Return this rank's rows of a whole tensor that is to go into a shard; all of it where ``like`` is whole."""
    if not is_dtensor(like):
        return whole
    mesh = like.device_mesh  # type: ignore[attr-defined]
    start = mesh.get_local_rank() * -(-len(whole) // mesh.size())
    return whole[start : start + len(local_shard(like))]
