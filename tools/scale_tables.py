"""What jobs of a size that nobody here has run would take: the tables "On paper" of ``docs/guide/scale.md``.

    python tools/scale_tables.py             # writes them into the page
    python tools/scale_tables.py --check     # exits with 1 where the page has others

Every number is a formula of this file. Its constants are the bytes of a codec's record, as the codec says them, and
what was measured: where, stands beside each.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from limbeck.targets import Dense8, Dense16, Sparse

PAGE = Path(__file__).parents[1] / "docs" / "guide" / "scale.md"
BEGIN, END = (
    "<!-- begin of what tools/scale_tables.py writes -->\n",
    "<!-- end of what tools/scale_tables.py writes -->\n",
)

RECORDS_PER_SECOND = 1000  # stated, not measured: of a teacher's forward pass on one accelerator
STEPS_PER_SECOND = 1000  # stated, not measured: samples of a student's step on one accelerator
LOWRANK_BYTES = 128  # a teacher whose last hidden layer has 256 units: docs/codecs.md
SPARSE_TOP = 84  # docs/codecs.md
IDS_AND_LABELS_BYTES = 16  # two int64 a sample
ORDER_BYTES = 16.2  # a sample, at the peak: epoch_order of 20 M ids
ORDER_SECONDS = 1.5e-7  # a sample, processor time of one thread: the same
FOLDER_BYTES = 67  # a sample, the process's own: benchmarks/many_files.py, start "again", ids and labels included
SHARD_BYTES = 65  # a sample, the process's own: benchmarks/shards.py, "again, shards", ids and labels included
LOOKUP_BYTES = 8 / 32  # a sample at most, for finding ids of a store: targets/sample_ids.py
LOGIT_BYTES = 4  # float32
MAPPED_BYTES = 8  # a sample: ids of a store, which the system can take back


@dataclass(frozen=True)
class Job:
    """A job on paper.

    Args:
        name: in the table.
        samples: of the transfer set.
        views: of each that are stored.
        classes: of a record.
        experts: teachers that each make all records.
        passes: of the student over the samples.
        batch: samples of a step.
        bytes_per_sample: of the process, for where its inputs lie.
        limit: what limits, in words.
    """

    name: str
    samples: int
    views: int
    classes: int
    experts: int
    passes: int
    batch: int
    bytes_per_sample: float
    limit: str

    @property
    def records(self) -> int:
        """Return samples x views x experts."""
        return self.samples * self.views * self.experts

    def store_bytes(self, codec: str) -> int:
        """Return records x bytes of a record."""
        per_record = {
            "dense16": Dense16(self.classes).record_bytes,
            "dense8": Dense8(self.classes).record_bytes,
            "sparse": Sparse(self.classes, top=SPARSE_TOP).record_bytes,
            "lowrank": LOWRANK_BYTES,
        }
        return self.records * per_record[codec]

    @property
    def teacher_hours(self) -> float:
        """Return records / (records a second x 3,600), of one accelerator."""
        return self.records / RECORDS_PER_SECOND / 3600

    @property
    def student_hours(self) -> float:
        """Return samples x passes / (samples a second x 3,600), of one accelerator."""
        return self.samples * self.passes / STEPS_PER_SECOND / 3600

    @property
    def order_seconds(self) -> float:
        """Return the time for the order of one pass, which each rank makes for itself."""
        return self.samples * ORDER_SECONDS

    @property
    def process_bytes(self) -> float:
        """Return what a process holds: where samples lie, ids, labels, an order, the look-up, targets of a batch."""
        by_sample = self.bytes_per_sample + ORDER_BYTES + LOOKUP_BYTES
        return self.samples * by_sample + self.batch * self.classes * self.experts * LOGIT_BYTES


JOBS = [
    Job(
        "ImageNet-1k: 1.28 M images x 40 views, 1,000 classes; 100 passes",
        samples=1_281_167,
        views=40,
        classes=1000,
        experts=1,
        passes=100,
        batch=1024,
        bytes_per_sample=SHARD_BYTES,
        limit="the student's passes",
    ),
    Job(
        "speech: 700 M frames, 14,000 states; 10 passes",
        samples=700_000_000,
        views=1,
        classes=14_000,
        experts=1,
        passes=10,
        batch=256,
        bytes_per_sample=IDS_AND_LABELS_BYTES,
        limit="bytes of dense records: take `lowrank`; each rank's order",
    ),
    Job(
        "JFT: 100 M images, a generalist of 15,000 classes; 5 passes",
        samples=100_000_000,
        views=1,
        classes=15_000,
        experts=1,
        passes=5,
        batch=1024,
        bytes_per_sample=SHARD_BYTES,
        limit="where 100 M samples lie, on every rank",
    ),
    Job(
        "and 61 specialists: 300 classes each, on all images",
        samples=100_000_000,
        views=1,
        classes=300,
        experts=61,
        passes=5,
        batch=1024,
        bytes_per_sample=SHARD_BYTES,
        limit="the teachers' hours: collect each where its samples are",
    ),
]


def tables() -> str:
    """Return both tables as Markdown."""
    store = [
        "| job | records | dense16 | dense8 | sparse:84 | lowrank:128 | teacher | student |",
        "|---|---|---|---|---|---|---|---|",
    ]
    process = ["| job | a process holds | order of a pass | what limits |", "|---|---|---|---|"]
    for job in JOBS:
        sizes = [shown_bytes(job.store_bytes(codec)) for codec in ("dense16", "dense8", "sparse", "lowrank")]
        hours = [f"{job.teacher_hours:,.0f} h", f"{job.student_hours:,.0f} h"]
        store.append("| " + " | ".join([job.name, f"{job.records / 1e6:,.1f} M", *sizes, *hours]) + " |")
        cells = [job.name.split(":")[0], shown_bytes(job.process_bytes), f"{job.order_seconds:.1f} s", job.limit]
        process.append("| " + " | ".join(cells) + " |")
    return "\n".join(store) + "\n\n" + "\n".join(process) + "\n"


def shown_bytes(count: float) -> str:
    """Return a size with three digits, in powers of 1,000.

    Example:
        >>> shown_bytes(51_438_858_000), shown_bytes(19.6e12)
        ('51.4 GB', '19.6 TB')
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 1000 * size else f"{count / size:,.0f} {unit}"
    return f"{count:,.0f} B"


def main() -> int:
    """Write the tables into the page, or compare."""
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    written = before + BEGIN + tables() + END + after
    if "--check" in sys.argv:
        if written != text:
            print(f"{PAGE} has other tables than tools/scale_tables.py: run it")
        return int(written != text)
    PAGE.write_text(written, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
