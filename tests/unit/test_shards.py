"""Tar shards: which samples, ids and labels they give, how they are read, and what is refused."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import tarfile

import pytest
import torch
from shard_files import picture, png, samples_of, write_tar

from limbeck.commands.verify_folder import verify_folder
from limbeck.data import ReadSettings, Views, iterate_batches, load_data, load_image_folder, load_shards
from limbeck.data import byte_files as byte_files_module
from limbeck.data.shards import index as index_module
from limbeck.data.shards.pattern import expand_braces, files_by_split, files_of
from limbeck.data.shards.tar_members import iterate_members
from limbeck.errors import DataError, RecordError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def shards(tmp_path):
    """Three shards of 20 samples each."""
    for number in range(3):
        write_tar(tmp_path / "set" / f"photos-{number:02d}.tar", samples_of(20 * number, 20))
    return tmp_path / "set"


def on_demand(pattern, **settings):
    return load_shards(str(pattern), memory_limit_bytes=0, **settings).train


def age(path, seconds: float = 3600.0):
    then = os.stat(path).st_mtime - seconds
    os.utime(path, (then, then))


def test_samples_labels_and_pixels(shards):
    samples = on_demand(shards)
    assert (len(samples), samples.num_classes, samples.input_shape) == (60, 3, (3, 4, 4))
    assert samples.labels.tolist() == [number % 3 for number in range(60)]
    asked = torch.tensor([41, 3, 59, 20])
    expected = torch.stack([torch.from_numpy(picture(number)).permute(2, 0, 1) for number in asked.tolist()])
    assert samples.fetch(asked).equal(expected)
    assert samples.fetch(samples.positions_of(samples.ids[asked])).equal(expected)
    assert samples.items(torch.tensor([7]))[0].mode == "RGB"


def test_in_memory_and_on_demand_agree(shards):
    whole = load_shards(str(shards)).train
    assert whole.in_memory
    assert whole.fetch(torch.arange(60)).equal(on_demand(shards).fetch(torch.arange(60)))


def test_the_same_pixels_as_a_folder(shards, tmp_path):
    for number in range(60):
        path = tmp_path / "folder" / str(number % 3) / f"s{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number, size=(6, 8)))
    write_tar(
        tmp_path / "wide.tar",
        [(path.name, path.read_bytes()) for path in sorted((tmp_path / "folder").rglob("*.png"), key=lambda p: p.name)],
    )
    folder = load_image_folder(tmp_path / "folder", image_size=5).train
    tar = on_demand(tmp_path / "wide.tar", image_size=5)
    rows = torch.tensor([int(path[-10:-4]) for path in _paths(tmp_path / "folder")])
    assert tar.fetch(rows).equal(folder.fetch(torch.arange(60)))


def _paths(folder):
    return sorted(str(path) for path in folder.rglob("*.png"))


def test_ids_do_not_depend_on_the_shards(shards, tmp_path):
    write_tar(tmp_path / "one.tar", samples_of(0, 60))
    first, other = on_demand(shards), on_demand(tmp_path / "one.tar")
    assert first.ids.equal(other.ids)
    assert first.fingerprint == other.fingerprint


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mtime", [0, 1234567.125])
def test_members_are_those_that_tarfile_finds(tmp_path, format, mtime):
    long = "deep/" * 25 + "é.jpg"
    longest = long if format == tarfile.USTAR_FORMAT else "deep/" * 60 + "name" * 40 + ".jpg"
    files = [(long, b"1" * 700), ("plain.cls", b"3"), ("empty.json", b""), (longest, b"2" * 512)]
    path = write_tar(tmp_path / "x.tar", files, format=format, mtime=mtime)
    with tarfile.open(path) as tar, path.open("rb") as file:
        expected = [(one.name, one.offset_data, one.size) for one in tar if one.isreg()]
        assert [tuple(one) for one in iterate_members(file, num_bytes=path.stat().st_size, source="x")] == expected


def test_a_size_in_base_256_is_read(tmp_path):
    path = write_tar(tmp_path / "x.tar", [("a.jpg", b"1" * 600)], format=tarfile.GNU_FORMAT)
    content = bytearray(path.read_bytes())
    content[124:136] = bytes([0x80]) + (600).to_bytes(11, "big")
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    path.write_bytes(content)
    with path.open("rb") as file:
        assert [one.size for one in iterate_members(file, num_bytes=len(content), source="x")] == [600]


def test_words_and_json_are_labels(tmp_path):
    files = []
    for number in range(6):
        files.append((f"d/{number}.jpg.png", png(number)))  # the extension jpg.png is no image
        files.append((f"d/{number}.png", png(number)))
        files.append((f"d/{number}.json", json.dumps({"kind": ["cat", "dog"][number % 2], "size": 3}).encode()))
    samples = on_demand(write_tar(tmp_path / "x.tar", files), label_column="kind")
    assert samples.class_names == ("cat", "dog")
    assert samples.labels.tolist() == [0, 1] * 3


def test_words_that_look_like_numbers_are_words(tmp_path):
    files = []
    for number, label in enumerate(["1_0", "2_0", "-1", "1_0"]):
        files += [(f"{number}.png", png(number)), (f"{number}.cls", label.encode())]
    samples = on_demand(write_tar(tmp_path / "x.tar", files))
    assert samples.class_names == ("1_0", "2_0")
    assert samples.labels.tolist() == [0, 1, -1, 0]


def test_shards_without_any_label_are_unlabelled(tmp_path):
    samples = on_demand(write_tar(tmp_path / "x.tar", [(f"{number}.png", png(number)) for number in range(4)]))
    assert samples.labels.tolist() == [-1] * 4


def test_splits_go_by_words_and_folders(tmp_path):
    for place, name in enumerate(["imagenet-train-000.tar", "imagenet-val-000.tar", "imagenet_test.tar"]):
        write_tar(tmp_path / "a" / name, samples_of(20 * place, 9 - place))
        write_tar(tmp_path / "b" / ("train", "val", "test")[place] / "0.tar", samples_of(20 * place, 9 - place))
    for folder in ("a", "b"):
        splits = load_shards(str(tmp_path / folder))
        assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [9, 8, 7]
    whole = load_data(f"shards:{tmp_path}/a/*-{{train,val}}-*.tar::{tmp_path}/a/imagenet_test.tar")
    assert len(whole.test) == 7
    assert files_by_split(["x/contest-1.tar"], pattern="x") == {"train": ["x/contest-1.tar"]}


def test_patterns(shards):
    assert len(files_of(f"{shards}/photos-{{00..02}}.tar", suffix=".tar")) == 3
    assert len(files_of(f"{shards}/photos-0[12].tar::{shards}/photos-01.tar", suffix=".tar")) == 2
    assert expand_braces("a{1,2}{x,y}") == ["a1x", "a1y", "a2x", "a2y"]
    with pytest.raises(DataError, match="too many"):
        expand_braces("{0..999999999}")
    with pytest.raises(DataError, match="too many"):
        expand_braces("{0..9999}{0..9999}")


def test_a_shard_is_indexed_once_and_again_when_it_changes(shards, cache, monkeypatch):
    for path in shards.iterdir():
        age(path)
    first = on_demand(shards)
    assert len(list((cache / "shards").iterdir())) == 3
    indexed = []
    read_index = index_module._read_index
    monkeypatch.setattr(index_module, "_read_index", lambda *a: indexed.append(a[1]) or read_index(*a))
    assert on_demand(shards).fingerprint == first.fingerprint
    assert indexed == []
    write_tar(shards / "photos-01.tar", samples_of(20, 19))
    assert len(on_demand(shards)) == 59
    assert indexed == [str(shards / "photos-01.tar")]


def test_a_damaged_index_is_made_again(shards, cache, caplog):
    for path in shards.iterdir():
        age(path)
    first = on_demand(shards)
    for path in (cache / "shards").iterdir():
        path.write_bytes(path.read_bytes()[:-3])
    assert on_demand(shards).fingerprint == first.fingerprint
    assert "was damaged: it is made again" in caplog.text


def test_kept_indices_are_proven_with_the_cache(shards, cache):
    for path in shards.iterdir():
        age(path)
    on_demand(shards)
    assert {check.verdict for check in verify_folder(cache)} == {"index of a tar file, as written"}
    path = next((cache / "shards").iterdir())
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(RecordError, match=path.name):
        list(verify_folder(cache))


def test_a_shard_that_changes_under_a_run_is_refused(shards):
    samples = on_demand(shards)
    write_tar(shards / "photos-02.tar", samples_of(100, 30))
    samples.fetch(torch.tensor([3]))
    with pytest.raises(DataError, match=r"photos-02\.tar was changed after it was indexed"):
        samples.fetch(torch.tensor([3, 45]))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_are_the_same_by_workers(shards, num_workers):
    samples = on_demand(shards)
    samples.fetch(torch.tensor([0]))  # a file is open before the workers are forked
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    batches = iterate_batches(
        samples, Views(), order, batch_size=8, view=None, reading=ReadSettings(num_workers=num_workers)
    )
    seen = torch.cat([batch.inputs for batch in batches])
    assert seen.equal(samples.fetch(order).float() / 255)


def test_a_copy_in_another_process_opens_files_of_its_own(shards):
    samples = on_demand(shards)
    samples.fetch(torch.tensor([0, 30]))
    other = pickle.loads(pickle.dumps(samples.inputs))
    assert other.files._bytes._open is None
    assert other[torch.tensor([30])].equal(samples.inputs[torch.tensor([30])])


def test_few_files_are_held_open(shards, monkeypatch):
    monkeypatch.setattr(byte_files_module, "MAX_OPEN", 1)
    samples = on_demand(shards)
    for place in (0, 30, 50, 1):
        samples.fetch(torch.tensor([place]))
        assert len(samples.inputs.files._bytes._open._files) == 1


def refusal(tmp_path, files, **settings) -> str:
    with pytest.raises(DataError) as caught:
        on_demand(write_tar(tmp_path / "bad.tar", files), **settings)
    return str(caught.value)


def test_what_is_wrong_with_a_sample_is_told(tmp_path):
    whole = samples_of(0, 3)
    lost = refusal(tmp_path, [*whole, ("s7.cls", b"1")])
    assert "The sample s7 in " in lost
    assert "has no image" in lost
    lost = refusal(tmp_path, [*whole, ("s7.png", png(7))])
    assert "The sample s7 in " in lost
    assert "has no label" in lost
    assert "1 such sample(s) of 4" in lost
    lost = refusal(tmp_path, [*whole, *samples_of(1, 1)])
    assert "The sample s000001 in" in lost
    assert "is there twice" in lost
    assert "two images" in refusal(tmp_path, [*whole, ("s7.png", png(7)), ("s7.jpg", png(7))])
    assert "two labels" in refusal(tmp_path, [("a.png", png(7)), ("a.cls", b"1"), ("a.json", b'{"label": 2}')])
    assert "is not JSON" in refusal(tmp_path, [("a.png", png(7)), ("a.json", b"{")])
    assert "no column 'kind'" in refusal(
        tmp_path, [("a.png", png(7)), ("a.json", b'{"label": 1}')], label_column="kind"
    )
    assert "is no class" in refusal(tmp_path, [("a.png", png(7)), ("a.json", b'{"label": [1, 2]}')])
    assert "label out of range: -7" in refusal(tmp_path, [*whole, ("a.png", png(7)), ("a.cls", b"-7")])


def test_one_key_in_two_shards_names_both(shards):
    write_tar(shards / "photos-03.tar", samples_of(7, 1))
    with pytest.raises(DataError, match="Two samples have the key s000007") as caught:
        on_demand(shards)
    assert "photos-00.tar" in str(caught.value)
    assert "photos-03.tar" in str(caught.value)


@pytest.mark.parametrize("cut", [1, 1024, 5000, 10_241])
def test_a_shard_that_is_cut_short_is_refused(tmp_path, cut):
    path = write_tar(tmp_path / "x.tar", samples_of(0, 40))
    content = path.read_bytes().rstrip(b"\0")
    content = content + bytes(-len(content) % 512) + bytes(1024)
    path.write_bytes(content)
    on_demand(path)
    path.write_bytes(content[: max(0, len(content) - cut - 1000)])
    with pytest.raises(DataError, match=r"x\.tar is cut short"):
        on_demand(path)


def test_other_files_are_refused(tmp_path):
    path = write_tar(tmp_path / "x.tar", samples_of(0, 4))
    content = bytearray(path.read_bytes())
    (tmp_path / "zipped.tar").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match="gunzip"):
        on_demand(tmp_path / "zipped.tar")
    content[3] ^= 1
    (tmp_path / "damaged.tar").write_bytes(content)
    with pytest.raises(DataError, match="damaged or no tar file"):
        on_demand(tmp_path / "damaged.tar")
    with tarfile.open(tmp_path / "linked.tar", "w") as tar:
        info = tarfile.TarInfo("a.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(DataError, match="no plain file"):
        on_demand(tmp_path / "linked.tar")
    with pytest.raises(DataError, match="There is no file"):
        on_demand(tmp_path / "missing.tar")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="names no file"):
        on_demand(tmp_path / "empty")
    with pytest.raises(DataError, match="hold no samples"):
        on_demand(write_tar(tmp_path / "texts.tar", [("a.txt", b"x")]))


def test_any_damage_is_a_message_or_nothing(tmp_path):
    path = write_tar(tmp_path / "x.tar", samples_of(0, 3))
    whole = path.read_bytes()
    draw = torch.Generator().manual_seed(0)
    for _ in range(150):
        content = bytearray(whole)
        for place in torch.randint(0, 12 * 512, (3,), generator=draw).tolist():
            content[place] = int(torch.randint(0, 256, (1,), generator=draw))
        path.write_bytes(content)
        try:
            samples = on_demand(path)
            samples.fetch(torch.arange(len(samples)))
        except DataError:
            continue


def test_images_of_different_sizes_name_both_samples(tmp_path):
    files = [*samples_of(0, 3), ("odd.png", png(9, size=(5, 4))), ("odd.cls", b"0")]
    message = refusal(tmp_path, files)
    assert "odd in " in message
    assert "--image-size N" in message
    assert on_demand(tmp_path / "bad.tar", image_size=4).input_shape == (3, 4, 4)


def test_a_coloured_image_among_grey_ones_is_refused(tmp_path, monkeypatch):
    files = samples_of(0, 600, grey=True)
    assert on_demand(write_tar(tmp_path / "grey.tar", files)).input_shape == (1, 4, 4)
    files[2 * 598] = ("s000598.png", png(598))
    samples = on_demand(write_tar(tmp_path / "mixed.tar", files))
    with pytest.raises(DataError, match=r"s000598 in .*mixed\.tar has colours"):
        samples.fetch(torch.arange(590, 600))


def test_the_command_line_exits_with_2(tmp_path, limbeck):
    path = write_tar(tmp_path / "x.tar", samples_of(0, 40))
    path.write_bytes(path.read_bytes()[:9000])
    found = limbeck("distill", "--data", f"shards:{path}", "--out", tmp_path / "run")
    assert found.returncode == 2
    assert "x.tar is cut short" in found.stderr
