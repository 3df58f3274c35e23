"""What networks cost on this machine, measured on samples of the data set."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from limbeck.data import Samples, Views
from limbeck.distillation.run_directory import plain
from limbeck.errors import RecordError
from limbeck.inputs import Inputs
from limbeck.jobs.job import KEY_DIGITS
from limbeck.metrics import ExitCost, count_bytes, count_flops, count_parameters, exit_costs, latency
from limbeck.models import ExitNetwork
from limbeck.records import decode_plain, make_folder, read_sealed_json, sealed_text, tell_remade, write_text
from limbeck.training import Runtime, environment_facts

LATENCY_BATCH_SIZES = (1, 256)
COSTS_FORMAT, COSTS_VERSION = "limbeck-exit-costs", 1


def first_inputs(samples: Samples, views: Views, *, count: int) -> Inputs:
    """Return the clean views of so many samples, the first ones; all of them where there are fewer."""
    return views.clean.batch(samples, torch.arange(min(count, len(samples))), view=None).inputs


def measure_costs(
    module: nn.Module, samples: Samples, views: Views, *, num_runs: int = 50
) -> dict[str, tuple[float, str]]:
    """Return parameters, bytes, operations and latencies of a network by name, each with its unit.

    What runs outside of torch, such as a forest or an ONNX file, has no parameters here: only its latency is measured.

    Args:
        module: on any device.
        samples: the network is run on the first ones; those of a small set are taken again and again.
        views: only the normalisation is used.
        num_runs: timed runs of each latency.
    """
    inputs = first_inputs(samples, views, count=max(LATENCY_BATCH_SIZES))
    measured: dict[str, tuple[float, str]] = {}
    if count_bytes(module):
        measured = {
            "parameters": (float(count_parameters(module)), "count"),
            "bytes": (float(count_bytes(module)), "bytes"),
            "flops": (float(count_flops(module, inputs)), "FLOP per sample"),
        }
    for size in LATENCY_BATCH_SIZES:
        seconds = latency(module, inputs, batch_size=size, num_runs=num_runs)
        measured[f"latency_batch{size}"] = (seconds, "seconds per sample")
    return measured


def costs_of_exit(cost: ExitCost) -> dict[str, tuple[float, str]]:
    """Return what an exit costs as ``measure_costs`` does."""
    return {
        "parameters": (float(cost.num_parameters), "count"),
        "flops": (float(cost.flops), "FLOP per sample"),
        "latency_batch1": (cost.seconds, "seconds per sample"),
    }


def cached_exit_costs(
    network: ExitNetwork, samples: Samples, views: Views, *, alone: bool, folder: Path, runtime: Runtime
) -> list[ExitCost]:
    """Return ``exit_costs`` of a network: those in ``FOLDER/costs-KEY.json``, otherwise measured now.

    A record is then written again as it was. KEY hashes architecture, input shape, device, and torch's number of
    threads: weights cost nothing. A file that was changed is measured again, and that is said.

    Args:
        network: on the runtime's device.
        samples: the first one is run.
        views: only the normalisation is used.
        alone: see ``exit_costs``.
        folder: made where it is missing.
        runtime: for the environment, which the file tells too.
    Raises:
        OutputError: the folder cannot be written.
    """
    asked = [repr(network), samples.input_shape, alone, str(runtime.device), torch.get_num_threads()]
    path = folder / f"costs-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:KEY_DIGITS]}.json"
    if path.exists() and (cached := _read_costs(path)) is not None:
        return cached
    costs = exit_costs(network, first_inputs(samples, views, count=1), alone=alone)
    make_folder(folder, remedy="choose another --networks folder")
    content = {"costs": [asdict(cost) for cost in costs], "environment": plain(environment_facts(runtime))}
    write_text(path, sealed_text({"format": COSTS_FORMAT, "version": COSTS_VERSION, **content}))
    return costs


def _read_costs(path: Path) -> list[ExitCost] | None:
    try:
        found = read_sealed_json(
            path, format_name=COSTS_FORMAT, version=COSTS_VERSION, unsealed=("costs", "environment")
        )
        return [decode_plain(ExitCost, cost, str(path)) for cost in found["costs"]]
    except RecordError:
        tell_remade(path)
        return None


def measured_on(runtime: Runtime) -> str:
    """Return the sentence that belongs beside latencies.

    Example:
        >>> measured_on(Runtime.resolve("cpu")).partition(",")[0]
        'Latency is of one sample at a time on cpu'
    """
    num_threads = torch.get_num_threads()
    threads = f", with {num_threads} thread{'s' if num_threads > 1 else ''}" if runtime.device.type == "cpu" else ""
    return f"Latency is of one sample at a time on {runtime.device}{threads}."
