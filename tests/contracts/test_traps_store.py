"""Traps 13 to 19: what published caches of soft targets got wrong, and this store does not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from limbeck.data import Samples, Views, augmentations_from, epoch_order, iterate_batches
from limbeck.errors import OutputError, StoreError, TeacherError
from limbeck.losses import tempered_log_softmax
from limbeck.objectives import Distillation
from limbeck.targets import Dense16, Sparse, TargetStore, fit_lowrank
from limbeck.targets import writer as writer_module
from limbeck.teachers import LogitsTeacher, ModuleTeacher, collect, store_teacher
from limbeck.training import Runtime, TrainConfig, fit

CLASSES = tuple("abcde")
AUGMENTED = Views(augmentations_from(["jitter:2", "flip", "mixup:0.4"]), seed=1)


def images(*, count: int = 60, seed: int = 0) -> Samples:
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=draw)
    return Samples("toy", torch.arange(count) * 2 + 5, inputs, torch.arange(count) % 5, CLASSES)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 5))
    with torch.no_grad():
        module[3].weight.mul_(6.0)
    return module


def train(store: TargetStore, samples: Samples, views: Views, *, teacher=None, batch_size: int = 16) -> nn.Module:
    student = network(5)
    fit(
        student,
        samples,
        Distillation(temperature=2.0, hard_weight=0.0, soft_weight=1.0),
        recipe=TrainConfig(num_epochs=3, batch_size=batch_size),
        teacher=teacher or store_teacher(store),
        views=views,
        runtime=Runtime.resolve("cpu", "fp32"),
    )
    return student


def test_trap_13_every_target_belongs_to_its_own_sample_under_shuffling(tmp_path):
    samples, teacher = images(), ModuleTeacher(network())
    store = collect(teacher, samples, Views(), tmp_path, codec="dense16", batch_size=7)
    for epoch in range(3):
        order = epoch_order(samples.ids, seed=9, epoch=epoch)
        for batch in iterate_batches(samples, Views(), order, batch_size=16, view=epoch):
            stored = store.targets(batch.ids).logits_at(1.0)
            live = teacher(batch.ids, batch.inputs).logits_at(1.0)
            assert_close(stored, live - live.amax(1, keepdim=True), rtol=1e-3, atol=1e-3)


def test_trap_13_training_on_the_store_is_training_on_the_teacher(tmp_path):
    samples, teacher = images(), ModuleTeacher(network())
    store = collect(teacher, samples, AUGMENTED, tmp_path, num_views=3, codec="dense16", batch_size=7)
    stored, live = train(store, samples, AUGMENTED), train(store, samples, AUGMENTED, teacher=teacher)
    start = network(5)
    for a, b, c in zip(stored.parameters(), live.parameters(), start.parameters(), strict=True):
        assert_close(a, b, rtol=1e-2, atol=1e-3)
        assert not torch.equal(a, c)


@pytest.mark.parametrize("what", ["teacher", "data", "transform", "seed of the transform", "class order", "partial"])
def test_trap_14_another_teacher_data_set_or_transform_is_refused_and_nothing_trained(tmp_path, what):
    samples, teacher = images(), ModuleTeacher(network())
    settings = {"num_views": 2, "codec": "dense16", "batch_size": 8, "shard_bytes": 200}
    collect(teacher, samples, AUGMENTED, tmp_path, **settings)
    asked = {
        "samples": samples, "views": AUGMENTED, "teacher_fingerprints": [teacher.fingerprint], "class_names": CLASSES
    }  # fmt: skip
    TargetStore.open(tmp_path, **asked)
    if what == "teacher":
        asked["teacher_fingerprints"] = [ModuleTeacher(network(1)).fingerprint]
    elif what == "data":
        asked["samples"] = images(seed=1)
    elif what == "transform":
        asked["views"] = Views(augmentations_from(["jitter:1", "flip", "mixup:0.4"]), seed=1)
    elif what == "seed of the transform":
        asked["views"] = Views(AUGMENTED.augmentations, seed=2)
    elif what == "class order":
        asked["class_names"] = CLASSES[::-1]
    else:
        (tmp_path / "manifest.json").unlink()
        (tmp_path / "member-0" / "shard-00001.json").unlink()
    with pytest.raises(StoreError) as caught:
        TargetStore.open(tmp_path, **asked)
    assert caught.value.received != caught.value.expected


def test_trap_14_a_store_opened_without_asking_is_still_refused_by_the_loop(tmp_path):
    store = collect(ModuleTeacher(network()), images(), AUGMENTED, tmp_path, num_views=2, codec="dense16")
    student = network(5)
    for samples, views in ((images(seed=1), AUGMENTED), (images(), Views())):
        with pytest.raises(StoreError, match="other"):
            train(store, samples, views)
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), network(5).parameters(), strict=True))


def test_trap_15_one_store_serves_every_temperature(tmp_path):
    samples, teacher = images(), ModuleTeacher(network())
    store = collect(teacher, samples, Views(), tmp_path, codec="dense16")
    live = teacher(samples.ids, Views().batch(samples, torch.arange(60), view=None).inputs).logits_at(1.0)
    for temperature in (0.5, 1.0, 4.0, 20.0):
        stored = tempered_log_softmax(store.targets(samples.ids).logits_at(temperature), temperature=temperature)
        assert_close(stored, tempered_log_softmax(live, temperature=temperature), rtol=1e-3, atol=1e-3)


def test_trap_15_the_top_classes_get_no_more_than_their_mass_at_any_temperature():
    # 14,000 classes on a slope: at T = 4 the top 64 hold a small part of the mass, whatever they hold at T = 1.
    logits = -(torch.linspace(0, 12, 14_000)[None] ** 1.1)
    codec = Sparse(14_000, top=64)
    decoded = codec.decode(codec.encode(logits))
    for temperature in (1.0, 2.0, 3.0, 4.0, 6.5, 8.0, 20.0):
        top = torch.log_softmax(logits.double() / temperature, dim=1)[0, :64].exp().sum()
        stored = torch.softmax(decoded.logits_at(temperature) / temperature, dim=1)[0].double()
        assert_close(stored[:64].sum(), top, rtol=5e-3, atol=0)
        assert float(stored.sum()) == pytest.approx(1.0, abs=1e-4)
    assert float(torch.softmax(logits / 4, dim=1)[0, :64].sum()) < 0.1  # where one bucket at T = 1 would say far more


@pytest.mark.parametrize("class_id", [0, 255, 256, 2048, 2049, 4097, 13_999])
@pytest.mark.parametrize("kind", ["sparse", "lowrank"])
def test_trap_16_class_ids_are_exact(class_id, kind):
    draw = torch.Generator().manual_seed(0)
    logits = 0.1 * torch.randn(40, 2, generator=draw) @ torch.randn(2, 14_000, generator=draw)
    marked = logits[:1].clone()
    marked[0, class_id] += 12.0
    if kind == "sparse":
        codec = Sparse(14_000, top=4)
        assert int(codec.decode(codec.encode(marked)).ids[0, 0]) == class_id
    else:
        codec = fit_lowrank(logits).codec(record_bytes=12, corrections=1)
        assert codec.decode(codec.encode(marked)).ids.tolist() == [[class_id]]
    assert int(codec.decode(codec.encode(marked)).logits_at(1.0).argmax()) == class_id


def test_trap_17_a_store_of_the_clean_view_is_not_served_for_augmented_ones(tmp_path):
    samples, teacher = images(), ModuleTeacher(network())
    store = collect(teacher, samples, AUGMENTED, tmp_path, codec="dense16")
    assert store.num_views is None
    with pytest.raises(StoreError, match="other views"):
        TargetStore.open(tmp_path, views=AUGMENTED)
    with pytest.raises(StoreError, match="other views"):
        train(store, samples, AUGMENTED)
    train(store, samples, AUGMENTED.clean)
    logits = teacher(samples.ids, AUGMENTED.clean.batch(samples, torch.arange(60), view=None).inputs).logits_at(1.0)
    with pytest.raises(TeacherError, match="clean view only"):
        train(store, samples, AUGMENTED, teacher=LogitsTeacher(logits, ids=samples.ids))


def test_trap_17_each_view_has_its_own_targets_also_flipped_and_mixed(tmp_path):
    samples, teacher = images(), ModuleTeacher(network())
    store = collect(teacher, samples, AUGMENTED, tmp_path, num_views=4, codec="dense16", batch_size=32)
    positions = torch.tensor([44, 2, 17])
    seen = []
    for view in range(4):
        batch = AUGMENTED.batch(samples, positions, view=view)
        live = teacher(batch.ids, batch.inputs).logits_at(1.0)
        stored = store.targets(batch.ids, view=view).logits_at(1.0)
        assert_close(stored, live - live.amax(1, keepdim=True), rtol=1e-3, atol=1e-3)
        seen.append(stored)
    assert not any(torch.allclose(seen[0], other, atol=0.05) for other in seen[1:])


def test_trap_17_training_runs_through_the_stored_views_in_turn(tmp_path):
    samples, shown = images(), []
    store = collect(ModuleTeacher(network()), samples, AUGMENTED, tmp_path, num_views=2, codec="dense16")
    teacher = store_teacher(store)
    original = store.targets
    store.targets = lambda ids, *, view, **more: shown.append(view) or original(ids, view=view, **more)
    train(store, samples, AUGMENTED, teacher=teacher, batch_size=30)
    assert shown == [0, 0, 1, 1, 0, 0]


def test_trap_18_a_few_files_whatever_the_number_of_samples_and_no_pickle(tmp_path):
    collect(ModuleTeacher(network()), images(count=500), AUGMENTED, tmp_path, num_views=4, codec="lowrank:3")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".limbeck.lock"]
    assert len(files) == 6  # manifest, plan, ids; arrays, shard and its sidecar
    assert {path.suffix for path in files} == {".json", ".bin", ".safetensors"}
    for path in files:
        assert not path.read_bytes().startswith((b"\x80", b"PK"))


def test_trap_18_no_settings_are_needed_to_read(tmp_path):
    samples = images()
    for codec in ("dense16", "dense8", "sparse:2", "lowrank:3"):
        collect(ModuleTeacher(network()), samples, Views(), tmp_path / codec.replace(":", ""), codec=codec)
        opened = TargetStore.open(tmp_path / codec.replace(":", ""))
        assert opened.targets(samples.ids[:2]).logits_at(2.0).shape == (2, 5)


def test_trap_18_the_writers_error_is_the_runs_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer_module.os, "fsync", full)
    with pytest.raises(OutputError, match="Cannot write"):
        collect(ModuleTeacher(network()), images(), Views(), tmp_path, codec="dense16")


def test_trap_18_a_slice_is_read_without_the_file(tmp_path):
    """A shard larger than memory may hold is mapped: no tensor of its size is made."""
    samples = images()
    collect(ModuleTeacher(network()), samples, Views(), tmp_path, codec="dense16")
    store = TargetStore.open(tmp_path, cache_bytes=0)
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc/self/maps here")
    assert "shard-00000.bin" in maps.read_text()
    assert store.records(samples.ids[:2]).shape == (2, Dense16(5).record_bytes)


@pytest.mark.parametrize("batch_size", [1, 5, 60])
def test_trap_19_the_store_knows_no_batches(tmp_path, batch_size):
    samples, teacher = images(), ModuleTeacher(network())
    reference = collect(teacher, samples, AUGMENTED, tmp_path / "reference", num_views=2, codec="dense16")
    store = collect(teacher, samples, AUGMENTED, tmp_path / "other", num_views=2, codec="dense16",
                    batch_size=batch_size, shard_bytes=70)  # fmt: skip
    for view in (0, 1):
        first = torch.cat([store.targets(ids, view=view).logits_at(1.0) for ids in samples.ids.split(batch_size)])
        assert_close(first, reference.targets(samples.ids, view=view).logits_at(1.0), rtol=2e-3, atol=1e-3)
    assert math.prod(first.shape) == 300
