"""Data at addresses, through fsspec: in its memory, and on an HTTP server of this machine."""

from __future__ import annotations

import functools
import http.server
import re
import threading

import pytest
import torch
from shard_files import picture, png, samples_of, write_tar

from limbeck.data import ReadSettings, Views, iterate_batches, load_data, load_image_folder, load_shards
from limbeck.data.byte_files import stamp_of
from limbeck.data.remote_folders import load_remote_folder
from limbeck.errors import DataError, MissingPackage

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    system.rm("/", recursive=True) if system.ls("/") else None
    yield system
    system.store.clear()


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, ranges of files too, and counts the bytes."""

    reads_ranges = True
    sent: list[int]

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        found = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if self.reads_ranges else None
        if found is None:
            self.sent.append(-1)
            super().do_GET()
            return
        with open(self.translate_path(self.path), "rb") as file:
            whole = file.read()
        piece = whole[int(found[1]) : int(found[2]) + 1]
        self.sent.append(len(piece))
        self.send_response(206)
        self.send_header("Content-Length", str(len(piece)))
        self.send_header("Content-Range", f"bytes {found[1]}-{int(found[1]) + len(piece) - 1}/{len(whole)}")
        self.end_headers()
        self.wfile.write(piece)

    def end_headers(self) -> None:
        if self.reads_ranges:
            self.send_header("Accept-Ranges", "bytes")
        super().end_headers()


@pytest.fixture(params=[True])
def server(tmp_path, request):
    pytest.importorskip("aiohttp")
    (tmp_path / "www").mkdir()
    handler = type("Handler", (_Ranges,), {"reads_ranges": request.param, "sent": []})
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=tmp_path / "www"))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}", tmp_path / "www", handler.sent
    httpd.shutdown()
    httpd.server_close()


def upload(system, path, name):
    system.pipe(name, path.read_bytes())


def expected(numbers):
    return torch.stack([torch.from_numpy(picture(number)).permute(2, 0, 1) for number in numbers])


def test_shards_in_memory(memory, tmp_path):
    for number in range(2):
        path = write_tar(tmp_path / f"{number}.tar", samples_of(20 * number, 20))
        upload(memory, path, f"/set/train-{number}.tar")
    local = load_shards(f"{tmp_path}/{{0,1}}.tar", memory_limit_bytes=0).train
    for pattern in ("memory://set", "memory://set/*.tar", "memory://set/train-{0..1}.tar"):
        samples = load_shards(pattern, memory_limit_bytes=0).train
        assert samples.ids.equal(local.ids)
        assert samples.fingerprint == local.fingerprint
        assert samples.fetch(torch.tensor([35, 2])).equal(expected([35, 2]))
    assert load_data("shards:memory://set").name == "set"


def test_a_shard_that_is_cut_short_is_named_by_its_address(memory, tmp_path):
    path = write_tar(tmp_path / "x.tar", samples_of(0, 20))
    memory.pipe("/set/x.tar", path.read_bytes()[:7000])
    with pytest.raises(DataError, match=r"memory://.*x\.tar is cut short"):
        load_shards("memory://set/x.tar")
    with pytest.raises(DataError, match="There is no file memory://set/y"):
        load_shards("memory://set/y.tar")


def test_a_folder_in_memory_is_the_folder(memory, tmp_path):
    for number in range(24):
        inner = ("train", "test")[number % 4 == 3]
        path = tmp_path / "photos" / inner / f"class{number % 2 + number // 12}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
        upload(memory, path, f"/photos/{inner}/{path.parent.name}/{path.name}")
    local, remote = load_image_folder(tmp_path / "photos"), load_data("memory://photos", validation_fraction=0)
    for split in ("train", "test"):
        assert getattr(remote, split).fingerprint == getattr(local, split).fingerprint
    lazy = load_remote_folder("memory://photos", memory_limit_bytes=0).train
    assert lazy.fetch(torch.tensor([7, 2])).equal(local.train.fetch(torch.tensor([7, 2])))
    memory.pipe("/photos/train/class0/0.png", b"short")
    with pytest.raises(DataError, match=r"memory://photos/train/class0/0\.png gave less"):
        lazy.fetch(torch.arange(len(lazy)))


def test_tables_in_memory(memory, tmp_path):
    pytest.importorskip("datasets")
    import pyarrow as pa
    import pyarrow.parquet as parquet

    rows = [{"image": {"bytes": png(number), "path": "x.png"}, "label": number % 2} for number in range(12)]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    upload(memory, tmp_path / "x.parquet", "/tables/train-0.parquet")
    samples = load_data("parquet:memory://tables", validation_fraction=0).train
    assert samples.fetch(samples.positions_of(torch.tensor([7]))).equal(expected([7]))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_shards_of_a_server_are_read_in_ranges(server, num_workers):
    address, folder, sent = server
    write_tar(folder / "train-0.tar", samples_of(0, 40))
    samples = load_shards(f"{address}/train-{{0..0}}.tar", memory_limit_bytes=0).train
    sent.clear()
    order = torch.tensor([33, 4, 17, 8])
    reading = ReadSettings(num_workers=num_workers)
    batches = iterate_batches(samples, Views(), order, batch_size=2, view=None, reading=reading)
    assert torch.cat([batch.inputs for batch in batches]).equal(expected(order.tolist()).float() / 255)
    assert sorted(sent) == sorted(len(png(number)) for number in order.tolist())


def test_an_index_of_a_server_is_kept_while_the_file_is_the_same(server, cache):
    address, folder, sent = server
    write_tar(folder / "x.tar", samples_of(0, 10))
    first = load_shards(f"{address}/x.tar", memory_limit_bytes=0).train
    assert len(list((cache / "shards").iterdir())) == 1
    sent.clear()
    assert load_shards(f"{address}/x.tar", memory_limit_bytes=0).train.ids.equal(first.ids)
    assert all(0 < size < 200 for size in sent)  # single images that are looked at, not the file
    assert "Last-Modified" in stamp_of(f"{address}/x.tar")[1]
    write_tar(folder / "x.tar", samples_of(0, 30))
    fsspec.filesystem("http").dircache.clear()
    assert len(load_shards(f"{address}/x.tar", memory_limit_bytes=0).train) == 30


@pytest.mark.parametrize("server", [False], indirect=True)
def test_a_server_without_ranges_is_refused(server):
    address, folder, _ = server
    write_tar(folder / "x.tar", samples_of(0, 10))
    with pytest.raises(DataError, match=r"range|bytes|Range"):
        load_shards(f"{address}/x.tar", memory_limit_bytes=0).train.fetch(torch.tensor([3]))


def test_a_server_that_is_not_there_is_told(limbeck):
    pytest.importorskip("aiohttp")
    found = limbeck("train", "--data", "shards:http://127.0.0.1:9/x.tar", "--out", "run")
    assert found.returncode == 2
    assert "http://127.0.0.1:9/x.tar" in found.stderr


def test_what_is_missing_is_told(monkeypatch):
    with pytest.raises(DataError, match="Nothing opens nonsense://x"):
        load_data("nonsense://x")

    def lacks(address):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", lacks)
    with pytest.raises(MissingPackage, match="needs one more package") as caught:
        load_data("s3://bucket/photos")
    assert "s3fs" in str(caught.value)
