"""A store says what was stored, and refuses whatever is not what is about to be trained."""

from __future__ import annotations

import dataclasses
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from limbeck.data import Flip, Jitter, Normalise, Samples, Views
from limbeck.errors import LimbeckError, StoreError, UnknownName
from limbeck.targets import DenseTargets, TargetStore, sample_ids
from limbeck.targets.sample_ids import RankOfId
from limbeck.teachers import EnsembleTeacher, ModuleTeacher, StoreTeacher, collect, store_teacher

CLASSES = ("a", "b", "c", "d")


def images(*, ids: torch.Tensor | None = None, seed: int = 0, count: int = 23) -> Samples:
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randint(0, 256, (count, 1, 6, 6), dtype=torch.uint8, generator=draw)
    return Samples("toy", torch.arange(count) if ids is None else ids, inputs, torch.arange(count) % 4, CLASSES)


def teacher(seed: int = 0, *, classes: int = 4) -> ModuleTeacher:
    torch.manual_seed(seed)
    return ModuleTeacher(nn.Sequential(nn.Flatten(), nn.Linear(36, classes)), name=f"linear {seed}")


VIEWS = Views((Jitter(1), Flip()), Normalise((0.5,), (0.25,)), seed=4)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A store of two teachers and two views in several shards; its second teacher's codec has a basis."""
    path = tmp_path_factory.mktemp("built") / "store"
    ensemble = EnsembleTeacher([teacher(0), teacher(1)])
    assert collect(ensemble, images(), VIEWS, path, num_views=2, codec="lowrank:6", batch_size=5, shard_bytes=90)
    return path


@pytest.fixture
def store(built, tmp_path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "store"))


def open_for_training(path: Path, **changes) -> TargetStore:
    expected = {
        "samples": images(),
        "views": VIEWS,
        "teacher_fingerprints": [teacher(0).fingerprint, teacher(1).fingerprint],
        "class_names": CLASSES,
    }
    return TargetStore.open(path, **{**expected, **changes})


# reading


@pytest.mark.parametrize("ids", [torch.arange(23), torch.arange(23) * 5 + 3, torch.arange(23) * 10**9 - 10**10])
@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
@pytest.mark.parametrize("shard_bytes", [40, 1 << 20])
def test_targets_are_found_by_id_and_view_in_any_order(tmp_path, ids, cache_bytes, shard_bytes):
    shuffled = ids[torch.randperm(23, generator=torch.Generator().manual_seed(2))]
    samples, guide = images(ids=shuffled), teacher()
    collect(guide, samples, VIEWS, tmp_path, num_views=3, codec="dense16", batch_size=4, shard_bytes=shard_bytes)
    store = TargetStore.open(tmp_path, samples=samples, views=VIEWS, cache_bytes=cache_bytes)
    positions = torch.tensor([20, 3, 3, 0, 11])
    for view in (2, 0, 1):
        batch = VIEWS.batch(samples, positions, view=view)
        stored = store.targets(batch.ids, view=view).logits_at(4.0)
        live = guide(batch.ids, batch.inputs, view=view).logits_at(4.0)
        assert_close(torch.softmax(stored / 4, 1), torch.softmax(live / 4, 1), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
@pytest.mark.parametrize("ids", [torch.arange(23), torch.arange(23) * 5 + 3, torch.arange(23) * 10**9])
@pytest.mark.parametrize("num_views", [None, 2])
def test_an_unknown_id_is_named(tmp_path, cache_bytes, ids, num_views):
    samples = images(ids=ids)
    collect(teacher(), samples, VIEWS, tmp_path, num_views=num_views, codec="dense16")
    store = TargetStore.open(tmp_path, cache_bytes=cache_bytes)
    for missing in (-1, int(ids[-1]) + 1, 10**12):
        with pytest.raises(StoreError, match="no targets") as caught:
            store.targets(torch.tensor([int(ids[4]), missing]), view=None if num_views is None else 1)
        assert f"first {missing}" in caught.value.received


def test_a_view_that_is_not_there_is_refused(store):
    opened = open_for_training(store)
    for view in (None, -1, 2):
        with pytest.raises(StoreError, match="does not hold this view"):
            opened.targets(torch.tensor([0]), view=view)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=30, unique=True), st.integers(-(2**62), 2**62))
def test_ranks_of_ids_are_their_places_in_order(ids, other):
    ordered = sorted(ids)
    ranks = RankOfId(torch.tensor(ordered))
    assert ranks(torch.tensor(ids)).tolist() == [ordered.index(i) for i in ids]
    if other not in ids:
        found = int(ranks(torch.tensor([other]))[0]) if ordered[0] >= 0 and other >= 0 and ordered[-1] >= other else -1
        assert found == -1 or found >= len(ids)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300), min_size=1, max_size=300, unique=True),
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-301, 301), min_size=1, max_size=20),
)
@example([0, 1, 2, 2**62 - 2], [2**62 - 2, 3, -1, 2**63 - 1])  # the widest range that is cut into buckets
@example([5], [5, 4, 6, -(2**63)])
def test_ranks_of_many_ids_are_found_without_a_table(ids, others):
    ordered = sorted(ids)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sample_ids, "TABLE_BYTES", 0)
        ranks = RankOfId(torch.tensor(ordered))
    asked = [*ids, *others]
    expected = [ordered.index(number) if number in ids else -1 for number in asked]
    if ordered != list(range(len(ordered))):
        assert ranks(torch.tensor(asked)).tolist() == expected


def test_members_are_pooled_when_read_with_any_weights(store):
    opened = open_for_training(store)
    ids = torch.tensor([3, 9])
    inputs = VIEWS.batch(images(), ids, view=1).inputs
    for weights, pooling in ((None, "arithmetic"), ((1.0, 3.0), "arithmetic"), ((2.0, 0.0), "geometric")):
        stored = store_teacher(opened, weights=weights, pooling=pooling)(ids, inputs, view=1).logits_at(2.0)
        live = EnsembleTeacher([teacher(0), teacher(1)], weights=weights, pooling=pooling)
        expected = live(ids, inputs).logits_at(2.0)
        assert_close(torch.softmax(stored / 2, 1), torch.softmax(expected / 2, 1), rtol=1e-2, atol=1e-3)


def test_a_stored_teacher_says_what_it_is(store):
    opened = open_for_training(store)
    guide = StoreTeacher(opened, member=1)
    assert (guide.num_views, guide.num_classes, guide.reads_inputs, guide.modules) == (2, 4, False, ())
    assert guide.name == "linear 1 (stored)"
    assert guide.fingerprint != StoreTeacher(opened, member=0).fingerprint
    guide.check_fits(images(), VIEWS)
    with pytest.raises(StoreError, match="other samples"):
        guide.check_fits(images(seed=1), VIEWS)
    with pytest.raises(StoreError, match="other views"):
        guide.check_fits(images(), VIEWS.clean)


def test_a_small_dense_store_is_decoded_once_and_a_large_one_is_not(tmp_path):
    collect(teacher(), images(), VIEWS, tmp_path, codec="dense8")
    ids = torch.tensor([5])
    cached = TargetStore.open(tmp_path)
    assert isinstance(cached.targets(ids), DenseTargets)
    assert cached._members[0]._decoded
    uncached = TargetStore.open(tmp_path, cache_bytes=23 * 4 * 4 - 1)
    assert_close(uncached.targets(ids).logits_at(1.0), cached.targets(ids).logits_at(1.0))
    assert not uncached._members[0]._decoded


# refusing


@pytest.mark.parametrize(
    ("changes", "fact", "shown"),
    [
        ({"samples": images(seed=1)}, "other samples", ["toy: 23 samples"]),
        ({"samples": images(ids=torch.arange(23) + 1)}, "other samples", ["toy: 23 samples"]),
        ({"views": Views((Jitter(2), Flip()), VIEWS.normalise, seed=4)}, "other views", ['"pixels": 1', '"pixels": 2']),
        ({"views": Views((Jitter(1),), VIEWS.normalise, seed=4)}, "other views", ["flip"]),
        ({"views": Views((Jitter(1), Flip()), VIEWS.normalise, seed=5)}, "other views", ['"seed": 4', '"seed": 5']),
        ({"views": Views((Jitter(1), Flip()), seed=4)}, "other views", ['"normalise": null', "0.25"]),
        ({"views": VIEWS.clean}, "other views", ["jitter", '"augmentations": []']),
        ({"teacher_fingerprints": [teacher(0).fingerprint]}, "other teachers", ["1 with", "2 (linear 0, linear 1)"]),
        ({"teacher_fingerprints": [teacher(1).fingerprint, teacher(0).fingerprint]}, "other teachers",
         [teacher(0).fingerprint, teacher(1).fingerprint]),
        ({"class_names": ("b", "a", "c", "d")}, "order", ["class 0 is 'b'", "class 0 is 'a'"]),
        ({"class_names": ("a", "b", "c")}, "other classes", ["3 classes", "4 classes"]),
    ],
)  # fmt: skip
def test_what_is_not_the_stores_is_refused_with_both_values(store, changes, fact, shown):
    with pytest.raises(StoreError, match=fact) as caught:
        open_for_training(store, **changes)
    for text in shown:
        assert text in str(caught.value)
    assert caught.value.received
    assert caught.value.expected
    assert caught.value.remedy


def test_the_samples_own_class_order_is_checked_too(store):
    swapped = dataclasses.replace(images(), class_names=("b", "a", "c", "d"))
    with pytest.raises(StoreError, match="order"):
        TargetStore.open(store, samples=swapped)


def test_the_same_samples_stored_otherwise_are_welcome(store):
    order = torch.randperm(23, generator=torch.Generator().manual_seed(3))
    open_for_training(store, samples=images().take(order))
    open_for_training(store, samples=images().without_labels())


def test_folders_that_are_no_store_are_refused(store, tmp_path):
    with pytest.raises(StoreError, match="no store"):
        TargetStore.open(tmp_path / "nothing")
    (store / "manifest.json").unlink()
    with pytest.raises(StoreError, match="unfinished") as caught:
        TargetStore.open(store)
    assert caught.value.received == "4 of 4 shards"
    (store / "member-1" / "shard-00002.json").unlink()
    with pytest.raises(StoreError) as caught:
        TargetStore.open(store)
    assert caught.value.received == "3 of 4 shards"
    with pytest.raises(UnknownName, match="did you mean sizes"):
        TargetStore.open(store, verify="size")


@pytest.mark.parametrize("verify", ["sizes", "hashes"])
def test_missing_and_truncated_files_are_refused(built, tmp_path, verify):
    files = sorted(p.relative_to(built) for p in built.rglob("*") if p.suffix in (".bin", ".safetensors"))
    assert len(files) == 2 * 4 + 2 + 1
    for number, file in enumerate(files):
        for change in ("missing", "truncated", "longer"):
            copy = Path(shutil.copytree(built, tmp_path / f"{number}-{change}"))
            content = (copy / file).read_bytes()
            if change == "missing":
                (copy / file).unlink()
            else:
                (copy / file).write_bytes(content[:-1] if change == "truncated" else content + b"\0")
            with pytest.raises(StoreError, match=r"missing|truncated") as caught:
                open_for_training(copy, verify=verify)
            assert str(file) in str(caught.value)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_byte_flipped_anywhere_is_refused(built, tmp_path_factory, data):
    read = [built / "manifest.json", *built.rglob("*.bin"), *built.rglob("*.safetensors")]
    file = data.draw(st.sampled_from(sorted(read)))
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    copy = Path(shutil.copytree(built, tmp_path_factory.mktemp("flip") / "store"))
    (copy / file.relative_to(built)).write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged|cannot be read"):
        TargetStore.open(copy)
    if "shard" not in file.name:  # shards alone are trusted by their size, where that is asked for
        with pytest.raises(StoreError, match=r"damaged|cannot be read"):
            TargetStore.open(copy, verify="sizes")
    shutil.rmtree(copy)


def test_another_format_version_is_refused_by_name(store):
    from limbeck.targets import manifest as module

    text = (store / "manifest.json").read_text()
    head = text.rpartition(' "sha256": "')[0].replace('"version": 1,', '"version": 2,', 1)
    digest = module.hashlib.sha256(head.encode()).hexdigest()
    (store / "manifest.json").write_text(f'{head} "sha256": "{digest}"\n}}\n')
    with pytest.raises(StoreError, match="another format or version") as caught:
        TargetStore.open(store)
    assert "version 2" in caught.value.received
    assert "version 1" in caught.value.expected


def test_a_sealed_manifest_with_a_wrong_field_is_refused(store):
    from limbeck.targets import manifest as module

    text = (store / "manifest.json").read_text()
    head = text.rpartition(' "sha256": "')[0].replace('"num_classes": 4', '"num_classes": "4"', 1)
    digest = module.hashlib.sha256(head.encode()).hexdigest()
    (store / "manifest.json").write_text(f'{head} "sha256": "{digest}"\n}}\n')
    with pytest.raises(StoreError, match="num_classes"):
        TargetStore.open(store)


# the format, by hand


def test_a_store_can_be_read_with_nothing_but_its_description(tmp_path):
    """docs/store-format.md, followed with struct, json, hashlib and numpy alone."""
    import hashlib

    ids = torch.tensor([30, 10, 20, 40, 50])
    samples, guide = images(ids=ids, count=5), teacher()
    collect(guide, samples, VIEWS, tmp_path, num_views=2, codec="dense16", batch_size=2, shard_bytes=20)

    raw = (tmp_path / "manifest.json").read_bytes()
    head, _, tail = raw.rpartition(b' "sha256": "')
    assert tail[:64].decode() == hashlib.sha256(head).hexdigest()
    manifest = json.loads(raw)
    assert (manifest["format"], manifest["version"]) == ("limbeck-soft-targets", 1)
    plan = manifest["plan"]
    stored_ids = np.fromfile(tmp_path / plan["ids"]["file"], dtype="<i8")
    assert stored_ids.tolist() == [10, 20, 30, 40, 50]

    member = plan["members"][0]
    assert (member["codec"], member["record_bytes"]) == ("dense16", 2 * plan["num_classes"])
    records = b""
    for shard in manifest["shards"][0]:
        content = (tmp_path / shard["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == shard["sha256"]
        assert len(records) == shard["first_record"] * member["record_bytes"]
        records += content
    view, rank = 1, stored_ids.tolist().index(40)
    start = (view * plan["num_samples"] + rank) * member["record_bytes"]
    logits = struct.unpack("<4e", records[start : start + member["record_bytes"]])
    batch = VIEWS.batch(samples, torch.tensor([3]), view=1)
    live = guide(batch.ids, batch.inputs).logits_at(1.0)[0]
    assert logits == pytest.approx((live - live.max()).tolist(), rel=1e-3)


def test_other_codecs_records_by_hand(tmp_path):
    samples, guide = images(), teacher()
    live = guide(samples.ids, VIEWS.clean.batch(samples, samples.ids, view=None).inputs).logits_at(1.0)[7].double()
    gaps = (live - live.max()).tolist()

    collect(guide, samples, VIEWS, tmp_path / "dense8", codec="dense8")
    record = (tmp_path / "dense8/member-0/shard-00000.bin").read_bytes()[7 * 8 : 8 * 8]
    reach, codes = struct.unpack("<f", record[:4])[0], record[4:]
    assert [-reach * (code / 255) ** 1.5 for code in codes] == pytest.approx(gaps, abs=reach / 100)

    collect(guide, samples, VIEWS, tmp_path / "sparse", codec="sparse:2")
    size = 2 * 1 + 2 * 2 + 4 * 7 + 4 * 7
    record = (tmp_path / "sparse/member-0/shard-00000.bin").read_bytes()[7 * size : 8 * size]
    first, second = record[:2]
    assert [first, second] == live.topk(2).indices.tolist()
    assert struct.unpack("<2e", record[2:6]) == pytest.approx((gaps[first], gaps[second]), rel=1e-3)
    masses = struct.unpack("<7f", record[6:34])
    rest = [gap for place, gap in enumerate(gaps) if place not in (first, second)]
    betas = (0, 0.05, 0.125, 0.25, 0.5, 1, 2)
    assert masses == pytest.approx([float(np.logaddexp(*(beta * gap for gap in rest))) for beta in betas], abs=1e-4)

    collect(guide, samples, VIEWS, tmp_path / "lowrank", codec="lowrank:5")
    manifest = json.loads((tmp_path / "lowrank/manifest.json").read_text())
    member = manifest["plan"]["members"][0]
    from safetensors.numpy import load_file

    arrays = load_file(tmp_path / "lowrank" / member["arrays"]["file"])
    size = member["record_bytes"]
    record = (tmp_path / "lowrank/member-0/shard-00000.bin").read_bytes()[7 * size : 8 * size]
    bits, step = member["parameters"]["bits"], member["parameters"]["step"]
    whole, start, logits = int.from_bytes(record, "little"), 0, arrays["mean"].astype(np.float64)
    assert member["parameters"]["corrections"] == 0
    for width, row in zip(bits, arrays["basis"], strict=True):
        field = (whole >> start) & ((1 << width) - 1)
        logits = logits + step * (field - (1 << (width - 1))) * row
        start += width
    assert (logits - logits.max()).tolist() == pytest.approx(gaps, abs=0.05)


def test_every_error_of_the_store_is_one_of_the_projects():
    assert issubclass(StoreError, LimbeckError)
