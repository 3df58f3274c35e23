"""``limbeck bench``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from limbeck.bench import chunked, cohort, combine, convnet, loading, loss, speech, stacked, step, store, video
from limbeck.errors import unknown_name
from limbeck.training import set_threads

BENCHES: dict[str, Callable[..., dict[str, Any]]] = {
    "chunked": chunked.run,
    "cohort": cohort.run,
    "combine": combine.run,
    "convnet": convnet.run,
    "loading": loading.run,
    "loss": loss.run,
    "speech": speech.run,
    "stacked": stacked.run,
    "step": step.run,
    "store": store.run,
    "video": video.run,
}


def run(what: str, *, num_rounds: int | None, num_threads: int | None) -> dict[str, Any]:
    """Run a benchmark; return its JSON-able result."""
    if what not in BENCHES:
        raise unknown_name("benchmark", what, BENCHES)
    set_threads(num_threads)
    rounds = {} if num_rounds is None else {"num_rounds": num_rounds}
    return BENCHES[what](**rounds)


def as_text(result: dict[str, Any]) -> str:
    """Return a benchmark's result as a small table: medians, peak memory, ratios to the floor and targets."""
    machine = result["machine"]
    lines = [
        f"{result['name']}: against {result['floor']}",
        f"{machine['processor']}, {machine['num_threads']} threads, torch {machine['torch']}",
    ]
    for name, seconds in result["seconds"].items():
        text = f"  {name:<22}{1e3 * seconds['median']:>10.2f} ms"
        text += _against(result["ratios"].get(name), result["targets"].get(name))
        limit = result.get("second_targets", {}).get(name)
        lines.append(text + (f"   target {1e3 * limit:.0f} ms" if limit is not None else ""))
    for name, count in result.get("memory_bytes", {}).items():
        text = f"  {name:<22}{1e-6 * count:>10.2f} MB"
        lines.append(text + _against(result["memory_ratios"].get(name), result["memory_targets"].get(name)))
    if "overhead_microseconds" in result:
        overhead = f"{result['overhead_microseconds']:.0f} µs"
        lines.append(f"  a step of fit takes {overhead} longer than a bare one on a tiny network")
    if "speed_over_flow" in result:
        lines.append(
            f"  three segments are read {result['speed_over_flow']:.1f} times as fast as frames and the flow of each "
            f"(target {result['speed_target']:.0f})"
        )
    if result.get("small_files"):
        small = result["small_files"]
        lines.append(
            f"  {small['num_files']:,} small files: listed and fingerprinted in "
            f"{small['list_and_fingerprint_seconds']:.1f} s (target {small['target_seconds']:.0f}), "
            f"{small['bytes_each']:.0f} bytes each (target {small['target_bytes_each']:.0f}), "
            f"{1e-6 * small['epoch_growth_bytes']:.1f} MB more over an epoch"
        )
    return "\n".join(lines)


def _against(ratio: float | None, target: float | None) -> str:
    digits = 2 if target is None or target >= 0.01 else 4
    text = f"   ratio {ratio:.{digits + 1}f}" if ratio is not None else ""
    return text + (f"   target {target:.{digits}f}" if target is not None else "")
