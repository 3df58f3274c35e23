"""A model card in the Hub's format, from a run's record: what the network is, how it was made, how good it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from limbeck.records import RunRecord
from limbeck.records.export_record import ExportRecord
from limbeck.statistics import mean_interval, summarise

MEASURED = (("accuracy", "accuracy"), ("nll", "NLL (nats)"), ("ece", "calibration error (ECE)"))
CONFIDENCE = 0.95


@dataclass(frozen=True)
class CardFacts:
    """What the record does not say.

    Args:
        title: of the page.
        library: "timm", "transformers" or "limbeck".
        input_shape: of one sample.
        licence: an identifier of the Hub's; None where nobody said.
    """

    title: str
    library: str
    input_shape: tuple[int, ...]
    licence: str | None = None


def model_card(export: ExportRecord, run: RunRecord | None, facts: CardFacts) -> str:
    """Return the text of ``README.md``.

    Args:
        export: of the folder.
        run: that the network comes from; None where there is no record of it.
        facts: what neither says.
    """
    parts = [_front_matter(export, run, facts), f"# {facts.title}\n"]
    parts.append(_summary(export, run))
    parts.append("## How good it is\n\n" + (_metrics(run) if run else _split_metrics(export)))
    parts.append("## Use\n\n" + _use(export, facts))
    parts.append("## How it was made\n\n" + _origin(export, run))
    parts.append("## Limits\n\n" + _limits(export, run))
    return "\n".join(parts)


def student_role(run: RunRecord) -> str:
    """Return the role of the network that a run is about: the distilled one where there is one."""
    return "distilled" if "distilled" in run.roles() else run.roles()[-1]


def _front_matter(export: ExportRecord, run: RunRecord | None, facts: CardFacts) -> str:
    is_image = len(facts.input_shape) == 3
    tags = ["knowledge-distillation", "limbeck", "image-classification" if is_image else "classification"]
    lines = ["---", f"license: {json.dumps(facts.licence or 'unknown')}", f"library_name: {facts.library}"]
    if is_image:
        lines.append("pipeline_tag: image-classification")
    lines += ["tags:", *(f"- {tag}" for tag in tags)]
    values = [] if run is None else list(run.values(student_role(run), "accuracy").values())
    if run is not None and values:
        lines += [
            "model-index:",
            f"- name: {json.dumps(facts.title)}",
            "  results:",
            "  - task:",
            f"      type: {tags[-1]}",
            "    dataset:",
            f"      name: {json.dumps(export.data)}",
            f"      type: {json.dumps(export.data)}",
            "      split: test",
            "    metrics:",
            "    - type: accuracy",
            f"      value: {summarise(values).mean:.4f}",
        ]
    return "\n".join([*lines, "---", ""])


def _summary(export: ExportRecord, run: RunRecord | None) -> str:
    told = f"`{export.network}`, {export.num_parameters:,} parameters, {len(export.class_names)} classes"
    if run is None:
        return f"A classifier of {export.data}: {told}.\n"
    teachers = _teachers(run)
    source = f", distilled from {teachers}" if teachers else ""
    return f"A classifier of {export.data}: {told}{source}.\n"


def _metrics(run: RunRecord) -> str:
    roles = [role for role in ("teacher", "baseline", student_role(run)) if role in run.roles()]
    lines = [
        f"On the test set ({run.data.num_test} samples, read once); {_runs(run)}.\n",
        "| network | " + " | ".join(shown for _, shown in MEASURED) + " |",
        "|---|" + "---|" * len(MEASURED),
    ]
    for role in dict.fromkeys(roles):
        cells = [_interval(list(run.values(role, name).values())) for name, _ in MEASURED]
        lines.append(f"| {_shown(role)} | " + " | ".join(cells) + " |")
    lines.append(
        "\nThe weights are those of one run, the one that validation chose. The baseline is the same network, trained "
        "the same way without the teacher.\n"
        if "baseline" in roles
        else "\nThe weights are those of one run, the one that validation chose.\n"
    )
    return "\n".join(lines)


def _split_metrics(export: ExportRecord) -> str:
    if export.accuracy is None:
        return "Not measured: the data had no labels.\n"
    count = export.files[0].num_samples
    return f"Accuracy {100 * export.accuracy:.2f} % on the {export.split} split of {export.data}, {count} samples.\n"


def _use(export: ExportRecord, facts: CardFacts) -> str:
    shape = tuple(facts.input_shape)
    if facts.library == "timm":
        code = 'import timm\nmodel = timm.create_model("local-dir:FOLDER", pretrained=True).eval()'
    elif facts.library == "transformers":
        kind = "AutoModelForImageClassification" if len(shape) == 3 else "AutoModelForSequenceClassification"
        code = f"from transformers import {kind}\nmodel = {kind}.from_pretrained(FOLDER).eval()"
    else:
        code = "import limbeck\nmodel = limbeck.load_model(FOLDER).module"
    normalise = (
        f"Inputs of shape {shape}; images are divided by 255, then normalised with mean {export.normalise['mean']} and "
        f"deviation {export.normalise['std']}."
        if export.normalise
        else f"Inputs of shape {shape}, not normalised; images are divided by 255."
    )
    names = ", ".join(export.class_names[:20]) + (" ..." if len(export.class_names) > 20 else "")
    return (
        f"```python\n{code}\n```\n\n{normalise}\n\nClasses, in order: {names}.\n\n"
        f"Meant for samples like those of {export.data}; for others it was not measured.\n"
    )


def _origin(export: ExportRecord, run: RunRecord | None) -> str:
    if run is None:
        return f"There is no record of its training. Fingerprint of the weights: `{export.fingerprint}`.\n"
    data = run.data
    lines = [
        f"- Command: `{run.command}`",
        f"- Data: {data.name}, {data.num_train} training samples ({data.num_labelled} with labels), "
        f"{data.num_validation} for validation; fingerprint `{data.fingerprint[:16]}`",
    ]
    if teachers := _teachers(run):
        lines.append(f"- Teacher: {teachers}")
    if temperature := run.config.get("temperature"):
        lines.append(f"- Temperature {temperature:g}")
    versions = run.environment
    lines += [
        f"- Seeds {', '.join(map(str, run.seeds))}; Limbeck {versions.get('limbeck')}, torch {versions.get('torch')}, "
        f"on {versions.get('device')}; {run.elapsed_seconds:.0f} s in all",
        f"- Fingerprint of the weights: `{export.fingerprint}`",
        "",
    ]
    return "\n".join(lines)


def _limits(export: ExportRecord, run: RunRecord | None) -> str:
    lines = [
        "It was measured on the data above alone. Whether groups within the classes are served alike was not measured."
    ]
    student = student_role(run) if run else None
    chosen = next((one for one in (run.networks if run else ()) if one.role == student and one.most_confused), None)
    if chosen is not None:
        pairs = ", ".join(f"{true} taken for {taken} ({count})" for true, taken, count in chosen.most_confused[:3])
        lines.append(f"Most frequent mistakes on the test set: {pairs}.")
    return "\n".join(lines) + "\n"


def _teachers(run: RunRecord) -> str:
    named = [f"`{one.name}`" for one in run.networks if one.role == "teacher" or one.role.startswith("member ")]
    return ", ".join(dict.fromkeys(named))


def _runs(run: RunRecord) -> str:
    count = len(run.seeds)
    if count == 1:
        return "one run, which has no interval"
    return f"mean over {count} runs, with the {100 * CONFIDENCE:.0f} % interval of the mean over seeds"


def _shown(role: str) -> str:
    return {"baseline": "the same network without the teacher", "distilled": "this network"}.get(role, role)


def _interval(values: Sequence[float]) -> str:
    """Return a mean with the interval of the mean by Student's t; of one run the value alone."""
    if not values:
        return "-"
    mean, interval = summarise(values).mean, mean_interval(values, confidence=CONFIDENCE)
    return f"{mean:.4f}" if interval is None else f"{mean:.4f} ({interval[0]:.4f} to {interval[1]:.4f})"
