"""What each codec of the store keeps of a real teacher: KL(teacher || stored), top-1 agreement, bytes a sample.

    python benchmarks/codec_fidelity.py                          # trains a 14,000-word next-word classifier first
    python benchmarks/codec_fidelity.py --logits logits.pt       # a matrix (samples, classes) of your own

Bases are fitted to one part of the samples, everything is measured on another.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import torch
from next_word import held_out_logits, train
from torch import Tensor

from limbeck.targets import Codec, Fidelity, choose_codec, measure_fidelity, named_codec
from limbeck.targets.codec import encode

NUM_FITTED = 4096
CODECS = (
    "dense16",
    "dense8",
    "sparse:64",
    "sparse:84",
    "lowrank:48",
    "lowrank:64",
    "lowrank:96",
    "lowrank:128",
    "lowrank:192",
    "lowrank:256",
    "lowrank:384",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logits", type=Path, help="a .pt or .safetensors file with one matrix (samples, classes)")
    parser.add_argument("--train-seconds", type=float, default=240.0, help="of the next-word classifier")
    parser.add_argument("--hidden", type=int, default=256, help="units of its hidden layer")
    parser.add_argument("--samples", type=int, default=5120, help="its answers to look at")
    parser.add_argument("--max-kl", type=float, default=0.02, help="for the codec auto, in nats")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    arguments = parser.parse_args()
    if arguments.logits:
        logits, teacher = read_logits(arguments.logits), str(arguments.logits)
    else:
        model = train(seconds=arguments.train_seconds, hidden=arguments.hidden)
        logits = held_out_logits(model, count=arguments.samples)
        teacher = f"next word, hidden layer of {arguments.hidden}, {arguments.train_seconds:g} s of training"
    num_fitted = min(NUM_FITTED, len(logits) * 4 // 5)
    fit, measured = logits[:num_fitted], logits[num_fitted:]
    print(f"{teacher}: {logits.shape[1]} classes; {len(fit)} samples fitted, {len(measured)} others measured")
    print_head()
    rows = []
    for name in CODECS:
        start = time.perf_counter()
        if int(name.partition(":")[2] or 0) <= logits.shape[1] // 2:
            rows.append(measure(name, named_codec(name, fit), measured, time.perf_counter() - start))
    start = time.perf_counter()
    choice = choose_codec(fit, measured, max_kl=arguments.max_kl)
    rows.append(measure(f"auto: {choice.codec.name}", choice.codec, measured, time.perf_counter() - start))
    if arguments.json:
        content = {"teacher": teacher, "num_classes": logits.shape[1], "num_fitted": len(fit), "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")


def read_logits(path: Path) -> Tensor:
    """Return the one matrix of a file, float32."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        content = load_file(path)
    else:
        content = torch.load(path, weights_only=True)
    matrix = next(iter(content.values())) if isinstance(content, dict) else content
    return matrix.float()


def measure(name: str, codec: Codec, logits: Tensor, fit_seconds: float) -> dict[str, object]:
    """Measure one codec, print its line, and return its numbers."""
    fidelity = measure_fidelity(codec, logits)
    start = time.perf_counter()
    records = encode(codec, logits)
    encode_seconds = (time.perf_counter() - start) / len(logits)
    batch = records[:128]
    start = time.perf_counter()
    codec.decode(batch).logits_at(4.0)
    decode_seconds = (time.perf_counter() - start) / len(batch)
    print_row(name, fidelity, fit_seconds, encode_seconds, decode_seconds)
    return {
        "codec": name,
        "parameters": codec.parameters(),
        "fit_seconds": fit_seconds,
        "encode_seconds_per_sample": encode_seconds,
        "decode_seconds_per_sample": decode_seconds,
        **dataclasses.asdict(fidelity),
    }


def print_head() -> None:
    temperatures = "".join(f"{f'T={t}':>10}" for t in (1, 2, 4, 8, 20))
    print(f"{'codec':<16}{'bytes':>7}{temperatures}{'T=1 99%':>10}{'top-1':>8}{'fit s':>8}{'enc us':>8}{'dec us':>8}")


def print_row(name: str, fidelity: Fidelity, fit_seconds: float, encode: float, decode: float) -> None:
    means = "".join(f"{divergence.mean:>10.2g}" for divergence in fidelity.divergences)
    tail = fidelity.divergences[0].percentile99
    print(
        f"{name:<16}{fidelity.bytes_per_sample:>7}{means}{tail:>10.2g}{fidelity.top1_agreement:>8.3f}"
        f"{fit_seconds:>8.1f}{encode * 1e6:>8.0f}{decode * 1e6:>8.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
