"""The hub's folder: a card from the run's record, and a push to a server that speaks like the hub."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import numpy as np
import pytest
import torch
import yaml

import limbeck
from limbeck.data import as_samples
from limbeck.errors import InvalidValue, OutputError
from limbeck.reports import summary_html
from limbeck.statistics import mean_interval

CLASSES = ["ant", "bee"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    draw = torch.Generator().manual_seed(0)
    inputs = torch.rand(120, 4, generator=draw)
    samples = as_samples((inputs, [CLASSES[int(row.sum() > 2)] for row in inputs]))
    out = tmp_path_factory.mktemp("run") / "run"
    result = limbeck.distill(
        "mlp:widths=4", "mlp:widths=8", samples, recipe=limbeck.TrainConfig(num_epochs=2), seeds=3, out=out,
        progress="silent", command="limbeck distill --seeds 3",
    )  # fmt: skip
    return out, result


def card_of(folder):
    text = (folder / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_card_tells_what_the_record_does(run, tmp_path):
    _, result = run
    limbeck.export(result, data=splits(), to="hf", out=tmp_path / "hf", licence="mit")
    head, body = card_of(tmp_path / "hf")
    values = list(result.record.values("distilled", "accuracy").values())
    assert head["license"] == "mit"
    assert head["model-index"][0]["results"][0]["metrics"][0]["value"] == pytest.approx(np.mean(values), abs=1e-4)
    low, high = mean_interval(values)
    assert f"| this network | {np.mean(values):.4f} ({low:.4f} to {high:.4f}) |" in body
    assert "limbeck distill --seeds 3" in body
    assert "mlp:widths=8" in body
    assert "ant, bee" in body


def test_a_result_shows_itself_in_a_line_and_in_a_notebook(run):
    _, result = run
    values = list(result.record.values("distilled", "accuracy").values())
    right = f"{100 * np.mean(values):.2f} % right on the test set"
    assert repr(result) == f"RunResult(mlp:widths=4, seed {result.student_seed} of 3, {right})"
    assert result._repr_html_() == summary_html(result.record)


def splits():
    draw = torch.Generator().manual_seed(1)
    inputs = torch.rand(20, 4, generator=draw)
    samples = as_samples((inputs, [CLASSES[int(row.sum() > 2)] for row in inputs]))
    return limbeck.data.Splits(samples, samples, samples)


def test_a_network_of_no_run_has_a_card_that_says_so(run, tmp_path):
    out, _ = run
    saved = limbeck.load_model(out)
    limbeck.export(saved, data=splits(), to="hf", out=tmp_path / "hf")
    head, body = card_of(tmp_path / "hf")
    assert head["license"] == "unknown"
    assert "model-index" not in head
    assert "There is no record of its training" in body
    assert "on the validation split" in body


def test_the_interval_is_students():
    # Two values d apart: mean ± t(0.975, 1) d / 2, with t = 12.7062.
    low, high = mean_interval([1.0, 2.0])
    assert (low, high) == pytest.approx((1.5 - 12.7062 / 2, 1.5 + 12.7062 / 2), abs=1e-3)
    assert mean_interval([1.0]) is None


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as an upload needs; keeps what it got."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []
    refuses = False

    def do_POST(self):
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size) if size else self._chunks()
        Hub.asked.append(self.path)
        if Hub.refuses:
            return self._answer({"error": "Invalid username or password."}, 401)
        if self.path.startswith("/api/models/") and "/preupload/" in self.path:
            files = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                     for one in json.loads(body)["files"]]  # fmt: skip
            return self._answer({"files": files})
        if "/commit/" in self.path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    Hub.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            return self._answer({"commitUrl": f"{self._home()}/me/net/commit/abc", "commitOid": "abc", "success": True})
        if self.path.startswith("/api/repos/create"):
            return self._answer({"url": f"{self._home()}/me/net", "name": "me/net", "id": "me/net"})
        return self._answer({"warnings": [], "errors": []})

    def do_GET(self):
        Hub.asked.append(self.path)
        self._answer({"id": "me/net", "sha": "abc", "siblings": [], "name": "me", "type": "user", "orgs": []})

    def _chunks(self):
        content = b""
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return content
        while size := int(self.rfile.readline().strip() or b"0", 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _home(self):
        return f"http://{self.headers['Host']}"

    def _answer(self, content, status=200):
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr(Hub, "files", {})
    monkeypatch.setattr(Hub, "asked", [])
    yield Hub
    server.shutdown()
    server.server_close()


@pytest.mark.filterwarnings("ignore")
def test_the_folder_is_pushed_whole(run, tmp_path, hub):
    out, _ = run
    limbeck.export(out, data=splits(), to="hf", out=tmp_path / "hf", push="me/net")
    assert hub.files == {path.name: path.read_bytes() for path in (tmp_path / "hf").iterdir() if path.is_file()}
    assert {"README.md", "model.safetensors", "model.json", "export.json"} == set(hub.files)


@pytest.mark.filterwarnings("ignore")
def test_without_a_login_the_folder_is_kept_and_the_way_told(run, tmp_path, hub, monkeypatch):
    out, _ = run
    monkeypatch.setattr(Hub, "refuses", True)
    with pytest.raises(OutputError, match="me/net was not written") as caught:
        limbeck.export(out, data=splits(), to="hf", out=tmp_path / "hf", push="me/net")
    assert "login" in str(caught.value)
    assert (tmp_path / "hf" / "model.safetensors").is_file()
    assert hub.files == {}


def test_only_a_folder_of_the_hub_is_pushed(run, tmp_path):
    with pytest.raises(InvalidValue, match="folder of the hub"):
        limbeck.export(run[0], data=splits(), out=tmp_path / "x", push="me/net")
