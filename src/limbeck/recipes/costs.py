"""What exits cost on this machine, measured once and found again, so that a record is written again as it was."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch

from limbeck.distillation.run_directory import plain
from limbeck.jobs.job import KEY_DIGITS
from limbeck.metrics import ExitCost, exit_costs
from limbeck.models import ExitNetwork
from limbeck.records import decode_plain, make_folder, write_text
from limbeck.training import Runtime, environment_facts


def kept_exit_costs(
    network: ExitNetwork, input_shape: tuple[int, ...], *, alone: bool, folder: Path, runtime: Runtime
) -> list[ExitCost]:
    """Return ``exit_costs`` of a network: those in ``FOLDER/costs-KEY.json``, otherwise measured now.

    KEY hashes architecture, input shape, device, and torch's number of threads: weights cost nothing.

    Args:
        network: on the runtime's device.
        input_shape: of one sample.
        alone: see ``exit_costs``.
        folder: made where it is missing.
        runtime: for the environment, which the file tells too.
    Raises:
        OutputError: the folder cannot be written.
        RecordError: a file that was changed.
    """
    asked = [repr(network), input_shape, alone, str(runtime.device), torch.get_num_threads()]
    path = folder / f"costs-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:KEY_DIGITS]}.json"
    if not path.exists():
        costs = [asdict(cost) for cost in exit_costs(network, input_shape, alone=alone)]
        make_folder(folder, remedy="choose another --networks folder")
        content = {"costs": costs, "environment": plain(environment_facts(runtime))}
        write_text(path, json.dumps(content, indent=1) + "\n")
    kept = json.loads(path.read_text(encoding="utf-8"))
    return [decode_plain(ExitCost, cost, str(path)) for cost in kept["costs"]]


def measured_on(runtime: Runtime) -> str:
    """Return the sentence that belongs beside latencies.

    Example:
        >>> measured_on(Runtime.resolve("cpu")).partition(",")[0]
        'Latency is of one sample at a time on cpu'
    """
    num_threads = torch.get_num_threads()
    threads = f", with {num_threads} thread{'s' if num_threads > 1 else ''}" if runtime.device.type == "cpu" else ""
    return f"Latency is of one sample at a time on {runtime.device}{threads}."
