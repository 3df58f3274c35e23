"""Unpacking keeps inside its folder, appears whole or not at all, and happens once."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from limbeck import bounds
from limbeck.data import archives, unpack
from limbeck.errors import DataError

GOOD = {"pets/cat/a.png": b"meow", "pets/dog/b.png": b"bark" * 1000}


def make_tar(path: Path, members: dict[str, bytes], *special: tarfile.TarInfo, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in special:
            tar.addfile(info)
    return path


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def special(kind: bytes, name: str = "pets/x", target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def files_below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.tar", "x.zip", "X.ZIP"])
def test_round_trip(tmp_path, name):
    path = tmp_path / name
    if name.lower().endswith("zip"):
        make_zip(path, GOOD)
    else:
        make_tar(path, GOOD, mode="w" if name.endswith("tar") else "w:gz")
    folder = unpack(path, tmp_path / "out")
    assert files_below(folder) == GOOD
    assert sorted(os.listdir(tmp_path / "out")) == [folder.name, f"{folder.name}.files.json"]


def test_unpacked_once_and_again_when_the_content_changes(tmp_path):
    path = make_tar(tmp_path / "x.tar.gz", GOOD)
    first = unpack(path, tmp_path / "out")
    before = first.stat().st_ino
    assert unpack(path, tmp_path / "out") == first
    assert first.stat().st_ino == before
    make_tar(path, {**GOOD, "pets/cat/c.png": b"purr"})
    second = unpack(path, tmp_path / "out")
    assert second != first
    assert len(files_below(second)) == 3


HOSTILE_PATHS = [
    "/tmp/evil",
    "../evil",
    "pets/../../evil",
    "..\\evil",
    "C:\\evil",
    "\\\\host\\evil",
    "pets\\..\\..\\evil",
]


@pytest.mark.parametrize("name", HOSTILE_PATHS)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_paths_that_lead_out_are_refused(tmp_path, name, kind):
    members = {**GOOD, name: b"evil"}
    path = make_tar(tmp_path / "x.tgz", members) if kind == "tar" else make_zip(tmp_path / "x.zip", members)
    before = set(files_below(tmp_path))
    with pytest.raises(DataError, match=r"not unpacked: (an absolute path|a path that leads out)"):
        unpack(path, tmp_path / "deep" / "out")
    assert set(files_below(tmp_path)) == before
    assert os.listdir(tmp_path / "deep" / "out") == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    path = make_tar(tmp_path / "x.tgz", GOOD, special(kind))
    with pytest.raises(DataError, match="a link or device"):
        unpack(path, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_links_in_zips_are_refused(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo("pets/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="a link or device"):
        unpack(path, tmp_path / "out")


def test_bombs_are_refused_by_what_they_unpack_to(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "x.zip", {"pets/zeros.png": bytes(3_000_000)})
    with pytest.raises(DataError, match="more than 1000000 bytes"):
        unpack(path, tmp_path / "out", max_bytes=1_000_000)
    monkeypatch.setattr(bounds, "ALWAYS_ALLOWED_BYTES", 1000)
    with pytest.raises(DataError, match="bytes unpacked"):  # deflate packs zeros a thousandfold; 200 is the limit
        unpack(path, tmp_path / "out")
    with pytest.raises(DataError, match="bytes unpacked"):
        unpack(make_tar(tmp_path / "z.tgz", {"pets/zeros.png": bytes(3_000_000)}), tmp_path / "out")
    monkeypatch.setattr(archives, "MAX_MEMBERS", 1)
    with pytest.raises(DataError, match="more members"):
        unpack(make_tar(tmp_path / "y.tgz", GOOD), tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_the_same_path_twice_is_refused(tmp_path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for content in (b"one", b"two"):
            info = tarfile.TarInfo("pets/a.png")
            info.size = 3
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(DataError, match="the same path twice"):
        unpack(path, tmp_path / "out")


def test_damaged_archives_are_named_and_leave_nothing(tmp_path):
    noise = os.urandom(200_000)
    whole = make_tar(tmp_path / "x.tgz", {"pets/a.png": noise}).read_bytes()
    zipped = make_zip(tmp_path / "y.zip", {"pets/a.png": noise}).read_bytes()
    cases = {
        "cut.tgz": whole[: len(whole) // 2],
        "none.tgz": b"not an archive",
        "crc.tgz": whole[:-8] + b"\0" * 8,
        "inner.tgz": gzip.compress(b"not a tar" * 100),
        "cut.zip": zipped[: len(zipped) // 2],
        "crc.zip": zipped[:1000] + b"\0\1\2\3" + zipped[1004:],
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} is damaged or no archive"):
            unpack(tmp_path / name, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_another_process_may_be_first(tmp_path, monkeypatch):
    path = make_tar(tmp_path / "x.tgz", GOOD)
    target = tmp_path / "out" / archives.archive_key(path)
    original = archives._unpack_members

    def slow(archive, folder, limit):
        target.mkdir()
        (target / "theirs").write_text("whole")
        return original(archive, folder, limit)

    monkeypatch.setattr(archives, "_unpack_members", slow)
    assert unpack(path, tmp_path / "out") == target
    assert sorted(os.listdir(tmp_path / "out")) == [target.name, f"{target.name}.files.json"]
    assert (target / "theirs").exists()


@pytest.mark.parametrize("damage", ["flip", "remove", "add", "list", "no list"])
def test_a_picture_that_changed_is_unpacked_again_and_that_is_said(tmp_path, caplog, damage):
    folder = unpack(make_tar(tmp_path / "x.tgz", GOOD), tmp_path / "out")
    picture, listing = folder / next(iter(GOOD)), tmp_path / "out" / f"{folder.name}.files.json"
    if damage == "flip":
        picture.write_bytes(bytes([picture.read_bytes()[0] ^ 1]) + picture.read_bytes()[1:])
    elif damage == "remove":
        picture.unlink()
    elif damage == "add":
        picture.with_name("other.png").write_bytes(b"")
    elif damage == "list":
        listing.write_text(listing.read_text().replace("0", "1"))
    else:
        listing.unlink()  # of an earlier release
    assert unpack(tmp_path / "x.tgz", tmp_path / "out") == folder
    assert files_below(folder) == GOOD
    assert len(os.listdir(tmp_path / "out")) == 2
    assert len(caplog.messages) == (damage != "no list")
    assert all("made again" in message for message in caplog.messages)
