"""How each kind of file and folder of ours is checked: what it found, and which other files that covers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

from limbeck.commands.collection_summary import counted
from limbeck.data.decoded import EARLIER
from limbeck.data.decoded import FORMAT as DECODED_FORMAT
from limbeck.data.kept_listing import FORMAT as LISTING_FORMAT
from limbeck.data.kept_normalise import FORMAT as NORMALISE_FORMAT
from limbeck.data.sealed_tensors import open_sealed_tensors
from limbeck.data.shards.index import FORMAT as SHARD_FORMAT
from limbeck.data.video.stored import check_clips
from limbeck.distillation.codec import CHECKPOINT, LAST_WEIGHTS
from limbeck.distillation.committee import COMMITTEE_FILE, read_committee
from limbeck.distillation.run_directory import (
    CONFIG_FILE,
    EVENTS_FILE,
    RECORD_FILE,
    SEARCH_JOURNAL,
    dump_config,
)
from limbeck.errors import ModelError, RecordError
from limbeck.models import check_saved
from limbeck.records import RunRecord, check_seal, hash_file, parse_finite
from limbeck.records.export_record import EXPORT_FILE, read_export
from limbeck.records.listing import SUFFIX, check_listing, listing_of
from limbeck.reports import check_page, read_any_record
from limbeck.searching.journal import check_journal
from limbeck.specialists import load_plan
from limbeck.speech.alignment import checked_lines
from limbeck.targets import TargetStore
from limbeck.targets.layout import MANIFEST, PLAN
from limbeck.targets.writer import damaged_files, read_plan, shard_is_complete
from limbeck.training.checkpoint import checked_archive

UNSEALED = "no checksum: it is of an earlier release"
PLAN_FILE = "plan.yaml"

_OWN_JSON = re.compile(r"^(costs-.*|probe|search|real-time)\.json$|\.files\.json$")

Found = tuple[str, set[str]]  # a verdict, and other files of the folder that it covers


def is_store(folder: Path) -> bool:
    """Whether a folder is a store of soft targets, finished or not."""
    return (folder / PLAN).is_file() or ((folder / MANIFEST).is_file() and not any(folder.glob("*.npy")))


def check_of_whole(folder: Path) -> Callable[[Path], Found | None] | None:
    """Return how a folder is checked as one thing; None where its files are."""
    if listing_of(folder).is_file():
        return _listed_folder
    if is_store(folder):
        return _store
    return _clips if (folder / MANIFEST).is_file() else None


def _store(folder: Path) -> Found:
    if (folder / MANIFEST).is_file():
        store = TargetStore.open(folder)
        return f"soft targets of {store.manifest.plan.data_name}, {store.num_bytes:,} bytes, as written", set()
    plan, digest = read_plan(folder)
    damaged = [file for shard in range(plan.num_shards) for file in damaged_files(folder, plan, digest, shard)]
    if damaged:
        raise RecordError(f"{folder / damaged[0]} was changed after it was written.", remedy="collect again")
    num_whole = sum(shard_is_complete(folder, plan, digest, shard) for shard in range(plan.num_shards))
    return f"soft targets, unfinished: {num_whole} of {counted(plan.num_shards, 'shard')}, as written", set()


def _clips(folder: Path) -> Found:
    check_clips(folder)
    return "decoded clips, as written", set()


def _listed_folder(folder: Path) -> Found:
    if (wrong := check_listing(folder)) is not None:
        raise RecordError(f"{folder} was changed after it was written.", received=wrong)
    return "every file, as written", set()


def _network(path: Path) -> Found:
    folder = path.parent
    manifest = check_saved(folder)
    covered = {manifest["weights"]["file"]}
    if (digest := manifest["extra"].get("last_weights")) is not None:
        if hash_file(folder / LAST_WEIGHTS) != digest:
            raise ModelError(f"{folder / LAST_WEIGHTS} was changed after it was written.")
        covered.add(LAST_WEIGHTS)
    return f"network {manifest['spec']} and its weights, {_sealed(path)}", covered


def _record(path: Path) -> Found:
    record = read_any_record(path)
    verdict = _sealed(path)
    if not isinstance(record, RunRecord):
        return f"record of {record.recipe}, {verdict}", set()
    for name in ("model.json", CONFIG_FILE):
        if not (path.parent / name).is_file():
            raise RecordError(f"{path.parent / name} is missing.", expected=f"a file that stands beside {RECORD_FILE}")
    config = path.parent / CONFIG_FILE
    if config.read_bytes() != dump_config(record.config).encode("utf-8"):
        raise RecordError(f"{config} is not the configuration of the record.", remedy="take it from the record")
    return f"record of {record.kind} and its configuration, {verdict}", {CONFIG_FILE}


def _sealed(path: Path) -> str:
    return "as written" if "sha256" in json.loads(path.read_text(encoding="utf-8")) else UNSEALED


def _events(path: Path) -> Found:
    return f"log of {counted(len(path.read_bytes().splitlines()), 'event')}, from which nothing is computed", set()


def _export(path: Path) -> Found:
    folder, record = path.parent, read_export(path.parent)
    files = record.sha256_of()
    for name, digest in files.items():
        if not (folder / name).is_file() or hash_file(folder / name) != digest:
            raise RecordError(f"{folder / name} is missing, or was changed after it was exported.")
    return f"export of {record.network}, {counted(len(files), 'file')}, as written", set(files)


def _committee(path: Path) -> Found:
    folder, committee = path.parent, read_committee(path.parent)
    for name in (committee.generalist, *(member.folder for member in committee.members)):
        if not (folder / name / "model.json").is_file():
            raise RecordError(f"{folder / name} holds no network.", expected="a network of the committee")
    if not (folder / PLAN_FILE).is_file():
        return "committee, as written", set()
    if load_plan(folder / PLAN_FILE).class_sets != [member.class_set for member in committee.members]:
        raise RecordError(f"{folder / PLAN_FILE} has other class sets than {COMMITTEE_FILE}.")
    return "committee and its plan, as written", {PLAN_FILE}


def _page(path: Path) -> Found | None:
    return ("page, as written", set()) if check_page(path.read_text(encoding="utf-8"), source=str(path)) else None


def _journal(path: Path) -> Found:
    return f"{counted(check_journal(path), 'line')} of trials, as written", set()


def _checkpoint(path: Path) -> Found | None:
    if path.name != CHECKPOINT and path.read_bytes()[:2] in (b"PK", b"\x80\x02"):  # another program's
        return None
    return f"checkpoint, SHA-256 {hashlib.sha256(checked_archive(path)).hexdigest()[:12]}..., as written", set()


def _tensors(path: Path) -> Found | None:
    if path.parent.name not in _CACHED:
        return None
    what, format_name, earlier = _CACHED[path.parent.name]
    if open_sealed_tensors(path, format_name=format_name, earlier=earlier) is None:
        return None
    return f"{what}, as written", set()


def _alignments(path: Path) -> Found | None:
    if path.parent.name != "alignments" and path.name != "alignments.txt":
        return None
    lines, is_sealed = checked_lines(path)
    return (f"alignments of {counted(len(lines), 'utterance')}, as written", set()) if is_sealed else None


def _json(path: Path) -> Found | None:
    text = path.read_text(encoding="utf-8")
    if not _OWN_JSON.search(path.name) and '"limbeck-' not in text:
        return None
    content = parse_finite(text, source=str(path))
    if not isinstance(content, dict) or not {"format", "sha256"} & content.keys():
        return None
    check_seal({"sha256": None, **content}, source=str(path))
    folder = path.with_name(path.name.removesuffix(SUFFIX))
    if path.name.endswith(SUFFIX) and not folder.is_dir():
        raise RecordError(f"{folder} is missing, whose files {path.name} lists.")
    return f"{content.get('format')}, as written", set()


_CACHED = {  # what the folders of the cache hold, its format, and earlier ones
    "decoded": ("decoded data set", DECODED_FORMAT, EARLIER),
    "listings": ("list of files", LISTING_FORMAT, ()),
    "normalisations": ("mean and deviation of inputs", NORMALISE_FORMAT, ()),
    "shards": ("index of a tar file", SHARD_FORMAT, ()),
}
CHECKS_BY_NAME: dict[str, Callable[[Path], Found | None]] = {
    RECORD_FILE: _record,
    "model.json": _network,
    EXPORT_FILE: _export,
    COMMITTEE_FILE: _committee,
    SEARCH_JOURNAL: _journal,
    EVENTS_FILE: _events,
    "report.html": _page,
}
CHECKS_BY_SUFFIX: dict[str, Callable[[Path], Found | None]] = {
    ".json": _json,
    ".pt": _checkpoint,
    ".safetensors": _tensors,
    ".txt": _alignments,
}
