"""What the fast paths reach on a GPU, as Markdown tables; ``device.sh`` runs it.

    python benchmarks/device.py [--dry-run] [--json FILE] [--only PART,PART] [--rounds 7]

Each part is timed in interleaved rounds on one device. A part or a way that fails is reported with its error, and the
others go on; the exit code is then 1. ``--dry-run`` runs the same code on the CPU at sizes that say nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from device_epochs import epochs, stored_targets, teacher_online
from device_host import host_time
from device_losses import chunked_head, soft_targets
from device_measuring import Scale, Table

from limbeck.bench.timing import machine_facts

PARTS: dict[str, Callable[[Scale], Table]] = {  # by worth: what is cut off by a limit comes last
    "losses": soft_targets,
    "epochs": epochs,
    "online": teacher_online,
    "stored": stored_targets,
    "head": chunked_head,
    "host": host_time,
}
BUDGET_SECONDS = 570  # no part begins after it


def main() -> int:
    """Run the parts, print each table when it is there, keep the JSON."""
    arguments = _arguments()
    names = arguments.only.split(",") if arguments.only else list(PARTS)
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"device.py: no part {', '.join(unknown)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    if not arguments.dry_run and not torch.cuda.is_available():
        print("device.py: torch finds no CUDA device; --dry-run runs the same code on the CPU", file=sys.stderr)
        return 2
    scale = _scale(arguments)
    machine = _machine(scale)
    print(f"{machine['device']}, torch {machine['torch']}, limbeck {machine['limbeck']}\n", flush=True)
    started, tables, failed = time.perf_counter(), {}, False
    for name in names:
        if time.perf_counter() - started > BUDGET_SECONDS:
            print(f"{name}: not begun, the time is over\n")
            continue
        try:
            table = PARTS[name](scale)
        except Exception as error:  # the other parts are worth having
            failed = True
            print(f"{name}: {type(error).__name__}: {error}\n", file=sys.stderr)
            continue
        if scale.is_dry:  # tiny sizes on a CPU reach or miss nothing
            table.rows = [{key: value for key, value in row.items() if key != "reached"} for row in table.rows]
        tables[name] = table.as_json()
        print(as_markdown(table) + "\n", flush=True)
        if arguments.json:
            content = {"machine": machine, "dry_run": scale.is_dry, "parts": tables}
            arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{time.perf_counter() - started:.0f} s")
    return int(failed)


def as_markdown(table: Table) -> str:
    """Return a table with the columns that its rows have."""
    columns = list(dict.fromkeys(key for row in table.rows for key in row if key not in ("not_run", "floor")))
    lines = [f"### {table.title}", "", f"Floor: {table.floor}.", ""]
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in table.rows:
        cells = [_cell(column, row.get(column)) for column in columns]
        if "not_run" in row:
            cells[-1] = f"did not run: {row['not_run']}"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, *(f"\n{note}" for note in table.notes)])


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "**missed**"
    if isinstance(value, float):
        return f"{value:.0%}" if column == "bandwidth" else f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return str(value)


def _scale(arguments: argparse.Namespace) -> Scale:
    if arguments.dry_run:
        torch.set_num_threads(1)
        return Scale(torch.device("cpu"), is_dry=True, num_rounds=1)
    return Scale(torch.device("cuda"), is_dry=False, num_rounds=arguments.rounds)


def _machine(scale: Scale) -> dict[str, Any]:
    on_gpu = scale.device.type == "cuda"
    device = torch.cuda.get_device_name() if on_gpu else "a dry run on the CPU: the numbers say nothing"
    return machine_facts() | {"device": device, "cuda": torch.version.cuda}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dry-run", action="store_true", help="run the same code on the CPU, at tiny sizes")
    parser.add_argument("--json", type=Path, help="file to keep everything in")
    parser.add_argument("--only", help="parts, by commas: " + ", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=7, help="how often each way is timed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
