"""What temperature does to a teacher's outputs, and what a student learns from them: the pictures of the guide.

Run: python examples/soft_targets.py --networks runs/reproduce/networks --precision bf16 --out docs/images

The networks are those of ``limbeck reproduce hinton2015-mnist``: found where that has run, otherwise trained now (about
an hour on two cores). Everything is measured on training images: the test set is not read.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from limbeck.data import Samples
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork
from limbeck.losses import entropy, tempered_log_softmax
from limbeck.metrics import count_errors
from limbeck.recipes import hinton2015_mnist as table
from limbeck.recipes.data import open_data
from limbeck.recipes.evaluation import predict
from limbeck.recipes.mnist_teacher import section_teacher
from limbeck.training import Runtime, progress_for

TEMPERATURES = [2 ** (k / 2) for k in range(-2, 13)]  # 0.5 to 64
BAR_TEMPERATURES = (1, 4, 20)
LIKENESS_TEMPERATURE = 4
SHIFTS = range(5)
ROLES = {"teacher": "teacher", "hard_labels": "student, labels alone", "distilled": "student, distilled at T = 20"}
LOOKS = {  # colour, line, marker: three that print and colour-blind eyes keep apart
    "teacher": ("#000000", ":", "s"),
    "hard_labels": ("#d55e00", "--", "^"),
    "distilled": ("#0072b2", "-", "o"),
}
Requested = Callable[[TrainedNetwork, Samples], Tensor]  # logits, shape (samples, classes)
Networks = dict[str, list[TrainedNetwork]]  # by role, one for each seed
Outputs = dict[str, list[Tensor]]  # their logits for the images as they are


def main(
    networks: Path,
    out: Path,
    settings: table.Settings | None = None,
    *,
    smoke: bool = False,
    precision: str = "fp32",
    progress: str = "auto",
) -> dict[str, list[list[str]]]:
    """Draw the four pictures; return the guide's tables: heading and rows."""
    settings = settings or (table.SMOKE if smoke else table.Settings())
    experiment = Experiment.of_recipe(networks, Runtime.resolve("cpu", precision), progress_for(progress), smoke=smoke)
    images = open_data(experiment, "mnist")
    teacher = section_teacher(settings, experiment, images)
    students = table.train_students(settings, experiment, images, teacher)
    by_role: Networks = {role: [n for n in (teacher, *students) if n.role == role] for role in ROLES}

    def requested(network: TrainedNetwork, samples: Samples) -> Tensor:
        return predict(experiment, network, samples).logits.double()

    outputs = {role: [requested(member, images) for member in members] for role, members in by_role.items()}
    tables = {
        "entropy": draw_entropy(outputs, out / "soft-targets-entropy.png"),
        "shifts": draw_shifts(by_role, images, requested, out / "soft-targets-shifts.png"),
        "likeness": draw_likeness(outputs, images.labels, out / "soft-targets-likeness.png"),
        "digits": draw_digits(images, outputs["teacher"][0], out / "soft-targets-digits.png"),
    }
    for name, rows in tables.items():
        print(f"\n{name}")
        print("\n".join("| " + " | ".join(row) + " |" for row in rows))
    return tables


def soft(logits: Tensor, temperature: float) -> Tensor:
    """Return softmax(z / T)."""
    return tempered_log_softmax(logits, temperature=temperature).exp()


def bits(logits: Tensor, temperature: float) -> Tensor:
    """Return the entropy of softmax(z / T) for each sample, in bits."""
    return entropy(tempered_log_softmax(logits, temperature=temperature)) / math.log(2)


def shifted(images: Samples, rows: int, columns: int) -> Samples:
    """Move every image; MNIST's margins of 4 pixels are empty, so that nothing comes in on the other side."""
    assert isinstance(images.inputs, Tensor)
    moved = torch.roll(images.inputs, shifts=(rows, columns), dims=(-2, -1))
    return dataclasses.replace(images, inputs=moved)


def draw_digits(images: Samples, logits: Tensor, path: Path) -> list[list[str]]:
    """Draw three twos and the teacher's outputs: a plain one, the likest a 3 and the likest a 7."""
    right = (images.labels == 2) & (logits.argmax(dim=1) == 2)
    chosen = {"the plainest 2": soft(logits, LIKENESS_TEMPERATURE)[:, 2]}
    for other in (3, 7):
        chosen[f"the 2 likest a {other}"] = logits[:, other] - logits[:, 2]
    figure, panels = _new(len(chosen), 1 + len(BAR_TEMPERATURES), width=8.4, height=5.2)
    rows = [["image", *(f"p(2), p(3), p(7) at T = {t}" for t in BAR_TEMPERATURES)]]
    for (what, score), (picture, *bars) in zip(chosen.items(), panels, strict=True):
        position = int(score.masked_fill(~right, -math.inf).argmax())
        assert isinstance(images.inputs, Tensor)
        picture.imshow(images.inputs[position, 0].numpy(), cmap="gray_r")
        picture.set(xticks=[], yticks=[], xlabel=what)
        row = [what]
        for temperature, axes in zip(BAR_TEMPERATURES, bars, strict=True):
            probs = soft(logits[position : position + 1], temperature)[0]
            row.append(", ".join(f"{float(probs[c]):.2g}" for c in (2, 3, 7)))
            axes.bar(range(10), probs.tolist(), color=["#0072b2" if c == 2 else "#d55e00" for c in range(10)])
            axes.set(ylim=(0, 1.02), xticks=range(10), yticks=[0, 0.5, 1])
            if axes.get_subplotspec().is_first_row():
                axes.set_title(f"T = {temperature}")
            if axes.get_subplotspec().is_last_row():
                axes.set_xlabel("class")
        bars[0].set_ylabel("probability")
        rows.append(row)
    figure.suptitle("The teacher's outputs for three twos (blue: the true class)")
    _save(figure, path)
    return rows


def draw_entropy(outputs: Outputs, path: Path) -> list[list[str]]:
    """Draw the mean entropy of soft targets over temperature."""
    figure, [[axes]] = _new(1, 1, width=6.4, height=4.2)
    rows = [["mean entropy in bits at T =", *(f"{t:g}" for t in (1, 2, 4, 8, 16, 32, 64))]]
    for role, logits in outputs.items():
        colour, line, marker = LOOKS[role]
        means = {t: np.mean([bits(z, t).mean() for z in logits]) for t in TEMPERATURES}
        axes.plot(
            TEMPERATURES, list(means.values()), color=colour, linestyle=line, marker=marker, markersize=4,
            label=ROLES[role],
        )  # fmt: skip
        rows.append([ROLES[role], *(f"{means[t]:.3f}" for t in (1, 2, 4, 8, 16, 32, 64))])
        if role == "teacher":
            low, high = np.quantile([bits(logits[0], t).numpy() for t in TEMPERATURES], [0.05, 0.95], axis=1)
            axes.fill_between(TEMPERATURES, low, high, color=colour, alpha=0.12, label="teacher, 5 to 95 % of images")
    axes.axhline(math.log2(10), color="#777777", linewidth=0.8)
    axes.annotate("all ten classes alike: log₂ 10", (0.5, math.log2(10)), xytext=(0, -11), textcoords="offset points",
                  fontsize=8)  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks([0.5, 1, 2, 4, 8, 16, 32, 64], ["0.5", "1", "2", "4", "8", "16", "32", "64"])
    axes.set(xlabel="temperature T", ylabel="entropy of softmax(z / T) in bits", ylim=(0, 3.5))
    axes.set_title("How much an answer says beside its class")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.02), frameon=False, fontsize=8)
    _save(figure, path)
    return rows


def draw_likeness(outputs: Outputs, labels: Tensor, path: Path) -> list[list[str]]:
    """Draw which classes each network takes for alike: mean probability of the wrong ones, by true class."""
    figure, [panels] = _new(1, len(ROLES), width=10.2, height=3.9)
    diagonal, cells, drawn = torch.eye(10, dtype=torch.bool), {}, None
    for role, logits in outputs.items():
        probs = torch.stack([soft(z, LIKENESS_TEMPERATURE) for z in logits]).mean(dim=0)
        means = torch.stack([probs[labels == c].mean(dim=0) for c in range(10)])
        cells[role] = means.masked_fill(diagonal, math.nan)
    largest = max(float(cell[~diagonal].max()) for cell in cells.values())
    for (role, cell), axes in zip(cells.items(), panels, strict=True):
        drawn = axes.imshow(100 * cell.numpy(), cmap="cividis_r", vmin=0, vmax=100 * largest)
        axes.set(xticks=range(10), yticks=range(10), xlabel="class", title=ROLES[role])
    panels[0].set_ylabel("true class")
    assert drawn is not None
    figure.colorbar(drawn, ax=list(panels), shrink=0.8, label=f"mean probability at T = {LIKENESS_TEMPERATURE} (%)")
    _save(figure, path)
    own = cells["teacher"][~diagonal]
    students = {role: torch.stack([own, cells[role][~diagonal]]) for role in ("hard_labels", "distilled")}
    rows = [["correlation of the 90 likenesses with the teacher's", ""]]
    rows += [[ROLES[role], f"{float(torch.corrcoef(pairs)[0, 1]):.3f}"] for role, pairs in students.items()]
    return rows


def draw_shifts(networks: Networks, images: Samples, requested: Requested, path: Path) -> list[list[str]]:
    """Draw the share of errors on moved training images, of which the students saw none in training."""
    figure, [[axes]] = _new(1, 1, width=6.4, height=4.2)
    rows = [["errors in % on images moved by (pixels)", *map(str, SHIFTS)]]
    directions = {d: [(d, 0), (-d, 0), (0, d), (0, -d)] if d else [(0, 0)] for d in SHIFTS}
    for role, members in networks.items():
        wrong = np.array(
            [
                [
                    100
                    * np.mean(
                        [count_errors(requested(member, shifted(images, *to)), images.labels) for to in directions[d]]
                    )
                    / len(images)
                    for d in SHIFTS
                ]
                for member in members
            ]
        )
        colour, line, marker = LOOKS[role]
        mean = wrong.mean(axis=0)
        axes.plot(SHIFTS, mean, color=colour, linestyle=line, marker=marker, markersize=4, label=ROLES[role])
        axes.fill_between(SHIFTS, wrong.min(axis=0), wrong.max(axis=0), color=colour, alpha=0.15)
        rows.append([ROLES[role], *(f"{x:.3g}" for x in mean)])
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set_yticks([0, 0.1, 1, 10, 100], ["0", "0.1", "1", "10", "100"])
    axes.set(xticks=list(SHIFTS), xlabel="training images moved by (pixels)", ylabel="errors (%)", ylim=(0, 100))
    axes.set_title("Only the teacher saw moved images in training")
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    _save(figure, path)
    return rows


def _new(num_rows: int, num_columns: int, *, width: float, height: float) -> tuple[Figure, list[list[Axes]]]:
    figure, panels = plt.subplots(
        num_rows, num_columns, figsize=(width, height), squeeze=False, layout="constrained", dpi=110
    )
    return figure, panels.tolist()


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
    plt.switch_backend("agg")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=Path, default=Path("runs/reproduce/networks"))
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--precision", default="fp32", help="that the networks were trained in")
    parser.add_argument("--smoke", action="store_true", help="a few images and epochs")
    arguments = parser.parse_args()
    main(arguments.networks, arguments.out, smoke=arguments.smoke, precision=arguments.precision)
