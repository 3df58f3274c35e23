"""limbeck distill --data clips:FOLDER: three streams, weighted teachers, fused students; what is refused, exit 2."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

from limbeck.data.video.encoding import write_clip

QUICK = ["--epochs", "1", "--seeds", "1", "--progress", "silent", "--threads", "1", "--image-size", "16"]
STREAMS = ("iframe", "motion", "residual")
TEACHERS = [part for stream in STREAMS for part in ("--teacher", f"on:{stream}:convnet:channels=4x8")]
STUDENTS = [part for stream in STREAMS for part in ("--student", f"on:{stream}:convnet:channels=2x4")]


@pytest.fixture
def clips(tmp_path):
    """Forty clips of two classes: a square that moves to the right, and one that falls."""
    for name, (right, down) in {"right": (2, 0), "falls": (0, 2)}.items():
        folder = tmp_path / "clips" / name
        folder.mkdir(parents=True)
        for number in range(20):
            generator = np.random.default_rng(number)
            background = generator.integers(0, 90, (32, 32), dtype=np.uint8)
            frames = []
            for t in range(7):
                frame = background.copy()
                frame[4 + down * t : 12 + down * t, 4 + right * t : 12 + right * t] = 220
                frames.append(np.repeat(frame[..., None], 3, axis=2))
            write_clip(folder / f"{number}.mp4", frames)
    return tmp_path / "clips"


def test_clips_are_distilled_fused_and_evaluated(limbeck, clips, tmp_path):
    done = limbeck(
        "distill", "--data", f"clips:{clips}", *TEACHERS, *STUDENTS, "--fuse", "--augment", "segments", "--augment",
        "crop:1", "--views", "2", "--teacher-weighting", "fitted", "--out", "run", *QUICK,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "run" / "model.json").read_text())
    assert manifest["spec"] == "fused"
    assert [member["spec"] for member in manifest["extra"]["members"]] == [spec for spec in STUDENTS if ":" in spec]
    assert (tmp_path / "run" / "targets" / "manifest.json").is_file()
    done = limbeck("evaluate", "run", "--data", f"clips:{clips}", "--image-size", 16, "--json")
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)["measurements"]
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    (found,) = (m["value"] for m in record["measurements"] if (m["network"], m["split"], m["weights"], m["name"])
                == ("fused distilled", "test", "selected", "errors"))  # fmt: skip
    assert measured["errors"]["value"] == found


def test_the_preset_of_clips_gives_the_streams_their_networks(limbeck, clips, tmp_path):
    done = limbeck("train", "--data", f"clips:{clips}", "--out", "alone", *QUICK)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "alone" / "model.json").read_text())["spec"].startswith("on:iframe:")
    done = limbeck(
        "distill", "--data", f"clips:{clips}", "--student", "on:motion:convnet:channels=2x4", *TEACHERS, "--out", "one",
        *QUICK,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "one" / "model.json").read_text())["spec"] == "on:motion:convnet:channels=2x4"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--segments", "9"], "too short for 9 segments"),
        (["--student", "on:sound:convnet", "--teacher", "on:motion:convnet:channels=2"], "no input 'sound'"),
        (["--student", "convnet", "--teacher", "on:motion:convnet:channels=2"], "images only"),
        (["--augment", "elastic:2"], "does not move several pictures alike"),
        (["--b-frames", "drop"], "drop"),
        ([*STUDENTS[:2], "--fuse"], "Fusing needs several students"),
    ],
)
def test_what_does_not_go_is_refused_with_exit_2(limbeck, clips, tmp_path, arguments, told):
    done = limbeck("distill", "--data", f"clips:{clips}", "--out", "run", *arguments, *QUICK)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "record.json").exists()


def test_broken_clips_end_the_command_or_are_left_out(limbeck, clips):
    (clips / "right" / "broken.mp4").write_bytes(b"no clip")
    given = ["distill", "--data", f"clips:{clips}", *TEACHERS, *STUDENTS, "--fuse", *QUICK]
    done = limbeck(*given, "--out", "run")
    assert done.returncode == 2
    assert "broken.mp4" in done.stderr
    done = limbeck(*given, "--skip-broken", "--out", "run")
    assert done.returncode == 0, done.stderr
    record = json.loads(Path("run/record.json").read_text())
    assert any("1 of 41 clips of train were left out" in note for note in record["notes"])
