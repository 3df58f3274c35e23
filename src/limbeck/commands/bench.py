"""``limbeck bench``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from limbeck.bench import loss, stacked, step
from limbeck.errors import unknown_name
from limbeck.training import set_threads

BENCHES: dict[str, Callable[..., dict[str, Any]]] = {"loss": loss.run, "stacked": stacked.run, "step": step.run}


def run(what: str, *, num_rounds: int | None, num_threads: int | None) -> dict[str, Any]:
    """Run a benchmark; return its JSON-able result."""
    if what not in BENCHES:
        raise unknown_name("benchmark", what, BENCHES)
    set_threads(num_threads)
    rounds = {} if num_rounds is None else {"num_rounds": num_rounds}
    return BENCHES[what](**rounds)


def as_text(result: dict[str, Any]) -> str:
    """Return a benchmark's result as a small table: medians, and ratios to the floor beside the targets."""
    machine = result["machine"]
    lines = [
        f"{result['name']}: against {result['floor']}",
        f"{machine['processor']}, {machine['num_threads']} threads, torch {machine['torch']}",
    ]
    for name, seconds in result["seconds"].items():
        ratio = result["ratios"].get(name)
        target = result["targets"].get(name)
        text = f"  {name:<22}{1e3 * seconds['median']:>10.2f} ms"
        text += f"   ratio {ratio:.3f}" if ratio is not None else ""
        text += f"   target {target:.2f}" if target is not None else ""
        lines.append(text)
    return "\n".join(lines)
