"""What a job returns: the network to deploy and the record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from limbeck.distillation.run_directory import CONFIG_FILE, MARK, MARKER, RECORD_FILE, REPORT_FILE, dump_config
from limbeck.models import save_model
from limbeck.records import RunRecord, make_folder, to_json, write_text
from limbeck.records.search_record import SEARCH_FILE, SearchRecord, search_to_json
from limbeck.reports import plot_run, summary_html, summary_text, write_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class RunResult:
    """A finished job.

    ``student`` is the trained network of the seed that validation chose, in eval mode, on the CPU; it takes inputs as
    the job's views gave them (``normalise``).
    """

    student: nn.Module
    student_name: str
    student_seed: int
    record: RunRecord
    normalise: dict[str, Any] | None

    def __repr__(self) -> str:
        role = "distilled" if "distilled" in self.record.roles() else self.record.roles()[-1]
        values = list(self.record.values(role, "accuracy").values())
        measured = f", {100 * sum(values) / len(values):.2f} % right on the test set" if values else ""
        return f"RunResult({self.student_name}, seed {self.student_seed} of {len(self.record.seeds)}{measured})"

    def _repr_html_(self) -> str:
        """Return verdict and tables for a notebook."""
        return summary_html(self.record)

    def plot(self) -> Figure:
        """Return test errors of every network, and the validation curves, as a matplotlib figure."""
        return plot_run(self.record)

    def summary(self) -> str:
        """Return the table of the networks, the paired difference and the verdict, as plain text."""
        return summary_text(self.record)

    def save(self, directory: str | Path, *, search: SearchRecord | None = None) -> Path:
        """Write student, record and report into a folder; the record comes last.

        Args:
            directory: the folder.
            search: what a search found, which is written beside the record and shown in the report.
        Raises:
            OutputError: the folder cannot be written.
        """
        path = make_folder(Path(directory), remedy="choose another folder")
        if not any(path.iterdir()):
            write_text(path / MARKER, MARK)
        save_model(
            path,
            self.student,
            spec=self.student_name,
            input_shape=tuple(self.record.data.input_shape),
            class_names=tuple(self.record.data.class_names),
            normalise=self.normalise,
        )
        if not (path / CONFIG_FILE).exists():
            write_text(path / CONFIG_FILE, dump_config(self.record.config))
        if search is not None:
            write_text(path / SEARCH_FILE, search_to_json(search))
        write_report(self.record, path / REPORT_FILE, search=search)
        write_text(path / RECORD_FILE, to_json(self.record))
        return path
