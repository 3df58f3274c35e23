"""``limbeck bench``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from limbeck.bench import chunked, cohort, combine, convnet, loading, loss, speech, stacked, step, store, video
from limbeck.errors import LimbeckError, OutputError, unknown_name
from limbeck.records import write_text
from limbeck.reports.bench_figure import bench_svg
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


ALL = "all"


def run(what: str, *, num_rounds: int | None, num_threads: int | None, out: Path | None = None) -> dict[str, Any]:
    """Run a benchmark, or all of them; return its JSON-able result.

    Args:
        what: one of ``BENCHES``, or "all": ``benches`` then holds each result by name, ``not_run`` why others failed.
        num_rounds: interleaved rounds; each benchmark's own number where not given.
        num_threads: of torch.
        out: a .json file for the result, with a figure of ratios over targets beside it, .svg; written after each one.
    Raises:
        UnknownName: another benchmark.
        OutputError: a file that does not end in .json, or cannot be written.
    """
    if what != ALL and what not in BENCHES:
        raise unknown_name("benchmark", what, [*BENCHES, ALL])
    if out is not None and out.suffix != ".json":
        raise OutputError("The result of a benchmark is a JSON file.", received=str(out), expected="a name in .json")
    set_threads(num_threads)
    rounds = {} if num_rounds is None else {"num_rounds": num_rounds}
    if what != ALL:
        result = BENCHES[what](**rounds)
        _keep(result, {what: result}, out)
        return result
    whole: dict[str, Any] = {"name": ALL, "benches": {}, "not_run": {}}
    for name in BENCHES:
        found = _tried(name, rounds)
        whole["not_run" if isinstance(found, str) else "benches"][name] = found
        _keep(whole, whole["benches"], out)
    return whole


def _tried(name: str, rounds: dict[str, int]) -> dict[str, Any] | str:
    """Run a benchmark of many; return its result, or why there is none."""
    try:
        return BENCHES[name](**rounds)
    except (LimbeckError, ImportError) as error:  # an extra that is not installed
        return f"{type(error).__name__}: {error}"


def _keep(content: dict[str, Any], results: dict[str, dict[str, Any]], out: Path | None) -> None:
    if out is not None:
        write_text(out, json.dumps(content, indent=1) + "\n")
        write_text(out.with_suffix(".svg"), bench_svg(results))


def as_texts(result: dict[str, Any]) -> str:
    """Return what ``run`` gave as text: one table, or one for each benchmark and a line for those that did not run."""
    if result["name"] != ALL:
        return as_text(result)
    tables = [as_text(each) for each in result["benches"].values()]
    return "\n\n".join([*tables, *(f"{name}: did not run: {why}" for name, why in result["not_run"].items())])


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
