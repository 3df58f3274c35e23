"""Five students as ONNX and torch.export files, each compared with its network: the table of docs/guide/deploy.md.

Run: python examples/export_parity.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from torch import nn

import limbeck
from limbeck.data import Splits

PRECISIONS = ("float32", "float16", "int8")
HEADINGS = ("student", "precision", "accuracy", "points lost", "changed", "largest difference of a logit", "bytes")
HEADINGS += ("µs a sample, one by one",)


def vit(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Build a vision transformer of transformers: 3 layers, 48 wide, patches of 8 x 8."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        image_size=input_shape[-1], num_channels=input_shape[0], patch_size=8, hidden_size=48, num_hidden_layers=3,
        num_attention_heads=4, intermediate_size=96, num_labels=num_classes,
    )  # fmt: skip
    return ViTForImageClassification(config)


STUDENTS = {  # what is trained, and for how many epochs
    "`mlp:widths=64x64`": ("mlp:widths=64x64", 8),
    "`convnet:channels=8x16`": ("convnet:channels=8x16", 12),
    "`resnet20`": ("resnet20", 5),
    "`timm:test_resnet`": ("timm:test_resnet", 5),
    "a ViT of transformers (3 layers, 48 wide)": (vit, 30),
}


def rows_of(name: str, network: object, splits: Splits, num_epochs: int) -> tuple[list[list[str]], float]:
    """Train and export a network; return its rows, and the largest difference of its torch.export file's logits."""
    recipe = limbeck.TrainConfig(num_epochs=num_epochs, batch_size=32, optimiser="adamw", learning_rate=3e-3)
    result = limbeck.train(network, splits, recipe=recipe, progress="silent")
    with tempfile.TemporaryDirectory() as folder:
        onnx = limbeck.export(
            result, data=splits, out=Path(folder) / "onnx", to="onnx", precision=PRECISIONS, max_lost=1.0
        )
        program = limbeck.export(result, data=splits, out=Path(folder) / "torch", to="torch")
    own = [f"{1e6 * onnx.seconds_per_sample_batch1:,.0f}"]
    rows = [[name, "the network", f"{100 * (onnx.accuracy or 0):.2f} %", "", "", "", "", *own]]
    for file in onnx.files:
        changed = f"{file.num_changed_predictions} of {file.num_samples}"
        told = [f"{100 * (file.accuracy or 0):.2f} %", f"{100 * file.accuracy_lost:.2f}", changed]
        told += [f"{file.max_logit_difference:.2g}", f"{file.num_bytes:,}"]
        rows.append(["", file.precision, *told, f"{1e6 * (file.seconds_per_sample_batch1 or 0):,.0f}"])
    return rows, program.files[0].max_logit_difference


def main(names: tuple[str, ...] = tuple(STUDENTS), num_epochs: int | None = None) -> str:
    """Return the table as Markdown."""
    splits = limbeck.load_data("digits", image_size=32)
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    largest = 0.0
    for name in names:
        network, own_epochs = STUDENTS[name]
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows, difference = rows_of(name, network, splits, num_epochs or own_epochs)
        lines += [f"| {' | '.join(row)} |" for row in rows]
        largest = max(largest, difference)
    lines += ["", f"The torch.export files' logits differed by at most {largest:.2g}."]
    print("\n".join(lines))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
