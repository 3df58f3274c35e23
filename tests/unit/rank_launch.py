"""Starts ranks as torchrun does, by its agent, but from a process that has imported torch and this package already.

A new process imports them for seconds; a fork of one that has done nothing else is there at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

WARMED = "rank_jobs"  # what the process imports that ranks are forked from
_AGENT_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def start_ranks(
    num_ranks: int, function: Callable[..., None], *arguments: Any, logs: Path, max_restarts: int = 0
) -> tuple[int, str]:
    """Call a function of a module on ranks.

    Args:
        num_ranks: how many.
        function: what each calls.
        arguments: of the function.
        logs: folder for what the ranks print.
        max_restarts: attempts after the first.
    Returns:
        The exit code of the first rank that failed, else 0; what all ranks of all attempts wrote to stderr.
    """
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num_ranks,
        run_id=f"ranks-{os.getpid()}-{logs.name}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=max_restarts,
        start_method="forkserver",
        logs_specs=DefaultLogsSpecs(log_dir=str(logs), redirects=Std.ALL),
    )
    with pytest.MonkeyPatch.context() as patch:  # the agent leaves its signal handlers behind
        _warm(patch)
        handlers = {number: signal.getsignal(number) for number in _AGENT_SIGNALS}
        try:
            elastic_launch(config, function)(*arguments)
            code = 0
        except ChildFailedError as error:
            code = error.get_first_failure()[1].exitcode
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return code, "\n".join(path.read_text() for path in sorted(logs.rglob("stderr.log")))


def _warm(patch: pytest.MonkeyPatch) -> None:
    """Have the process that ranks are forked from started, where it is not there, with the environment of a rank."""
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    patch.setenv("PYTHONPATH", os.pathsep.join(paths))
    patch.setenv("OMP_NUM_THREADS", "1")
    multiprocessing.get_context("forkserver").set_forkserver_preload([WARMED])
