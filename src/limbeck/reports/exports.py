"""An export for a reader: every file beside the network, in one table and a sentence for each."""

from __future__ import annotations

from limbeck.records.export_record import ExportedFile, ExportRecord


def export_table(record: ExportRecord) -> str:
    """Return the network and its files as plain text: accuracy, size, time, and what was compared."""
    rows = [
        ("file", "precision", "accuracy", "lost", "changed", "largest difference", "bytes", "us/sample", "batch 64")
    ]
    rows.append(
        (
            "the network",
            "float32",
            _percent(record.accuracy),
            "",
            "",
            "",
            "",
            *_times(record, record.files[0], own=True),
        )
    )
    rows += [
        (
            file.file,
            file.precision,
            _percent(file.accuracy),
            f"{100 * file.accuracy_lost:.2f}" if file.accuracy is not None else "-",
            f"{file.num_changed_predictions} of {file.num_samples}",
            f"{file.max_logit_difference:.2g}",
            f"{file.num_bytes:,}",
            *_times(record, file, own=False),
        )
        for file in record.files
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    compared = f"{record.network} on {record.data}, {record.split}: {record.files[0].num_samples} samples compared."
    return "\n".join([compared, *(line.rstrip() for line in lines), *sentences(record), *record.notes])


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


def _times(record: ExportRecord, file: ExportedFile, *, own: bool) -> tuple[str, str]:
    source = record if own else file
    return _micro(source.seconds_per_sample_batch1), _micro(source.seconds_per_sample_batch64)


def _micro(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e6 * seconds:.1f}"


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f} %"
