"""Torchrun's own agent, with ranks that are forked from a process that has imported everything."""

from __future__ import annotations

import os
import signal
import uuid
from pathlib import Path

from children import command, write_count
from faults import Fault

ENDED = "ended-rank"  # files of this name and a rank's number keep its exit code


def launch(arguments: list[str], num_ranks: int, fault: Fault) -> int:
    """Be torchrun: start the ranks of a command, pass signals on, end all where one ends; return its exit code."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, launch_agent

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num_ranks,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method="fork",
    )
    counted = os.environ["TORTURE_COUNTED"]
    try:
        launch_agent(config, _rank, [arguments, fault, counted])
    except (ChildFailedError, SignalException, KeyboardInterrupt) as error:
        os.write(2, f"torchrun: {error!s:.300}\n".encode())
        return 1
    return 0


def has_ended(folder: Path) -> bool:
    """Return whether a rank has ended by itself, and waits for the agent to see it."""
    return any(folder.glob(f".{ENDED}-*"))


def rank_codes(folder: Path) -> list[int]:
    """Return the exit codes of the ranks that ended by themselves, and forget them."""
    codes = []
    for path in folder.glob(f".{ENDED}-*"):
        codes.append(int(path.read_text()))
        path.unlink()
    return codes


def _rank(arguments: list[str], fault: Fault, counted: str) -> None:
    """Be one rank: as a new process is, with the default signals, and not knowing that it was alone before."""
    import torch

    from limbeck.ranks.group import ranks_of_process

    ranks_of_process.cache_clear()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    rank = os.environ["RANK"]
    code = command(arguments)
    write_count(fault, Path(f"{counted}-{rank}"))
    (Path(counted).parent / f".{ENDED}-{rank}").write_text(str(code))
    if code:
        os._exit(code)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # as at the end of any process
