"""An export for a reader: every file beside the network, in one table and a sentence for each."""

from __future__ import annotations

from limbeck.records.export_record import ExportedFile, ExportRecord
from limbeck.reports.facts import HtmlTable
from limbeck.reports.text_table import text_table
from limbeck.reports.wording import printable

HEADINGS = ("file", "precision", "accuracy", "lost", "changed", "largest difference", "bytes", "us/sample", "batch 64")


def export_table(record: ExportRecord) -> str:
    """Return the network and its files as plain text: accuracy, size, time, and what was compared."""
    table = text_table([HEADINGS, *_rows(record)], words=(0, 1))
    return "\n".join([f"{_compared(record)}.", table, *sentences(record), *record.notes])


def compression_table(record: ExportRecord) -> HtmlTable:
    """Return the network and its files as a table of the page."""
    headings = ["file", "precision", "accuracy", "points lost", "predictions changed", "largest difference of a logit"]
    headings += ["size (B)", "µs a sample, one by one", "µs a sample, batches of 64"]
    rows = [[printable(cell) or "—" for cell in row] for row in _rows(record)]
    return HtmlTable(f"{export_kind(record)}: {printable(_compared(record))}", headings, rows)


def export_kind(record: ExportRecord) -> str:
    """Return what an export is for: "ONNX", "torch.export", "Hugging Face hub"."""
    return {"onnx": "ONNX", "torch": "torch.export", "hf": "Hugging Face hub"}.get(record.to, record.to)


def _compared(record: ExportRecord) -> str:
    return f"{record.network} on {record.data}, {record.split}: {record.files[0].num_samples} samples compared"


def _rows(record: ExportRecord) -> list[tuple[str, ...]]:
    own = _times(record.seconds_per_sample_batch1, record.seconds_per_sample_batch64)
    rows = [("the network", "float32", _percent(record.accuracy), "", "", "", "", *own)]
    rows += [
        (
            file.file,
            file.precision,
            _percent(file.accuracy),
            f"{100 * file.accuracy_lost:.2f}" if file.accuracy is not None else "-",
            f"{file.num_changed_predictions} of {file.num_samples}",
            f"{file.max_logit_difference:.2g}",
            f"{file.num_bytes:,}",
            *_times(file.seconds_per_sample_batch1, file.seconds_per_sample_batch64),
        )
        for file in record.files
    ]
    return rows


def sentences(record: ExportRecord) -> list[str]:
    """Return what each smaller file costs and gives, beside the float32 one where there is one.

    Example: "int8: 0.30 points lost, 26 % of the size, 2.1 x as fast on this machine."
    """
    whole = next((file for file in record.files if file.precision == "float32"), None)
    if whole is None:
        return []
    return [_sentence(file, whole) for file in record.files if file is not whole]


def _sentence(file: ExportedFile, whole: ExportedFile) -> str:
    lost = 100 * file.accuracy_lost
    change = "no accuracy lost" if abs(lost) < 0.005 else f"{abs(lost):.2f} points {'lost' if lost > 0 else 'gained'}"
    if file.accuracy is None:
        change = f"{file.num_changed_predictions} of {file.num_samples} predictions changed"
    text = f"{file.precision}: {change}, {100 * file.num_bytes / whole.num_bytes:.0f} % of the size"
    own, other = file.seconds_per_sample_batch1, whole.seconds_per_sample_batch1
    if own and other:
        text += f", {other / own:.1f} x as fast on this machine, one sample at a time"
    return text + "."


def _times(*seconds: float | None) -> tuple[str, ...]:
    return tuple("-" if one is None else f"{1e6 * one:.1f}" for one in seconds)


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f} %"
