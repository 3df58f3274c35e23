"""Clips as their files hold them: vectors of known motion, residuals, B-frames, groups, damaged files."""

from __future__ import annotations

import numpy as np
import pytest

from limbeck.errors import DataError, UnknownName

pytest.importorskip("av")

from limbeck.data.video.encoding import write_clip
from limbeck.data.video.reading import read_clip
from limbeck.data.video.vectors import Reference, follow, vector_fields, warped

SIDE, STEP = 96, 3  # pixels
VECTOR = np.dtype(
    [("source", "i4"), ("w", "u1"), ("h", "u1"), ("dst_x", "i2"), ("dst_y", "i2"), ("motion_x", "i4"),
     ("motion_y", "i4"), ("motion_scale", "u2")]
)  # fmt: skip


def moving_square(num_frames=12, *, right=STEP, down=0, side=32):
    """A grey textured square that moves over a grey background of another texture; where its corner is."""
    generator = np.random.default_rng(0)
    background = generator.integers(60, 90, (SIDE // 8, SIDE // 8)).repeat(8, 0).repeat(8, 1)
    square = generator.integers(130, 255, (side // 4, side // 4)).repeat(4, 0).repeat(4, 1)
    frames = []
    for t in range(num_frames):
        frame = background.copy()
        frame[24 + down * t : 24 + down * t + side, 8 + right * t : 8 + right * t + side] = square
        frames.append(np.repeat(frame.astype(np.uint8)[..., None], 3, axis=2))
    return frames


def inner_cells(t, *, right=STEP, down=0, side=32):
    """Rows and columns of the cells that lie wholly inside the square of ``moving_square``, one cell from its edge."""
    top, left = 24 + down * t, 8 + right * t
    return slice(top // 8 + 2, (top + side) // 8 - 1), slice(left // 8 + 2, (left + side) // 8 - 1)


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", "mp4"), ("libx264", "mkv"), ("mpeg4", "avi")])
@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, 2), (2, 2)])
def test_vectors_of_a_moving_square_are_its_motion(tmp_path, codec, suffix, right, down):
    path = tmp_path / f"square.{suffix}"
    write_clip(path, moving_square(right=right, down=down), codec=codec, quality=18 if codec == "libx264" else 2)
    frames = list(read_clip(path))
    assert [frame.kind for frame in frames] == ["I"] + ["P"] * 11
    for frame in frames[1:6]:
        moved = frame.motion()[inner_cells(frame.number, right=right, down=down)]
        assert moved.size
        np.testing.assert_allclose(moved[..., 0], right * frame.number, atol=0.51)
        np.testing.assert_allclose(moved[..., 1], down * frame.number, atol=0.51)


def test_the_residual_of_known_motion_is_near_zero_and_completes_the_frame(tmp_path):
    write_clip(tmp_path / "square.mp4", moving_square(), quality=12)
    for frame in list(read_clip(tmp_path / "square.mp4"))[1:6]:
        rows, columns = (slice(8 * part.start, 8 * part.stop) for part in inner_cells(frame.number))
        residual = frame.residual()
        unmoved = frame.pixels.astype(int) - frame.iframe.pixels
        assert np.abs(residual[rows, columns]).mean() < 4 < 20 < np.abs(unmoved[rows, columns]).mean()
        again = warped(frame.iframe.pixels, frame.displacement) + residual
        np.testing.assert_array_equal(again, frame.pixels)


def test_a_group_begins_with_an_iframe_that_its_frames_name(tmp_path):
    write_clip(tmp_path / "groups.mp4", moving_square(16), group_size=5)
    frames = list(read_clip(tmp_path / "groups.mp4"))
    assert [frame.number for frame in frames if frame.kind == "I"] == [0, 5, 10, 15]
    for frame in frames:
        if frame.kind == "P":
            assert frame.iframe.number == frame.number // 5 * 5
            moved = frame.motion()[inner_cells(frame.number)]
            assert not moved.size or abs(np.median(moved[..., 0]) - STEP * (frame.number % 5)) < 0.6


def test_vectors_into_several_frames_are_followed_to_the_right_one(tmp_path):
    """x264's own settings predict from three frames, which the decoder does not tell apart."""
    write_clip(tmp_path / "square.mp4", moving_square(), group_size=250, num_references=3, num_b_frames=3, quality=18)
    frames = list(read_clip(tmp_path / "square.mp4", b_frames="use"))
    assert [frame.number for frame in frames] == list(range(12))
    assert {"I", "P", "B"} == {frame.kind for frame in frames}
    for frame in frames[1:7]:
        moved = frame.motion()[inner_cells(frame.number)]
        assert abs(np.median(moved[..., 0]) - STEP * frame.number) < 0.6, (frame.number, frame.kind)


def test_b_frames_are_skipped_or_refused_by_name(tmp_path):
    write_clip(tmp_path / "b.mp4", moving_square(), num_b_frames=3, num_references=3)
    used = list(read_clip(tmp_path / "b.mp4", b_frames="use"))
    skipped = list(read_clip(tmp_path / "b.mp4"))
    assert [frame.number for frame in skipped] == [frame.number for frame in used if frame.kind != "B"]
    with pytest.raises(DataError, match="B-frames, which are refused"):
        list(read_clip(tmp_path / "b.mp4", b_frames="refuse"))
    with pytest.raises(UnknownName, match="drop"):
        list(read_clip(tmp_path / "b.mp4", b_frames="drop"))


def test_a_span_of_seconds_is_cut_out_with_vectors_to_an_iframe_before_it(tmp_path):
    write_clip(tmp_path / "square.mp4", moving_square(), rate=10, quality=18)
    frames = list(read_clip(tmp_path / "square.mp4", start_seconds=0.3, end_seconds=0.6))
    assert [frame.number for frame in frames] == [3, 4, 5]
    assert frames[0].iframe.number == 0
    assert abs(np.median(frames[0].motion()[inner_cells(3)][..., 0]) - 9) < 0.6
    with pytest.raises(DataError, match="no frames in the span"):
        list(read_clip(tmp_path / "square.mp4", start_seconds=7.0, end_seconds=8.0))


def test_follow_adds_the_displacement_at_the_vectors_end():
    luma = np.random.default_rng(1).integers(0, 255, (32, 32), dtype=np.uint8)
    moved = np.roll(luma, 8, axis=1)  # content came from 8 pixels to the left
    behind = np.zeros((4, 4, 2), dtype=np.float32)
    behind[1, 1] = (-5, 2)
    vectors = np.array([(-1, 8, 8, 20, 12, -32, 0, 4)], dtype=VECTOR)  # the cell at row 1, column 2
    past, future = vector_fields(vectors, height=32, width=32)
    assert past[1, 2].tolist() == [-8, 0]
    assert np.isnan(past).sum() == 2 * 15
    assert future is None
    wrong = Reference(luma[::-1], np.full((4, 4, 2), 99, dtype=np.float32))
    right = Reference(luma, behind)
    found = follow(moved, [(past, wrong), (past, right)])
    assert found[1, 2].tolist() == [-13, 2]
    assert found[0, 0].tolist() == [99, 99]  # without a vector: the nearest frame's


def test_no_video_stream_is_told(tmp_path):
    import av

    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(DataError, match=r"sound\.mp4 has no video stream") as caught:
        list(read_clip(tmp_path / "sound.mp4"))
    assert caught.value.received == "audio"


def test_a_codec_without_vectors_is_named_with_what_to_encode_to(tmp_path):
    write_clip(tmp_path / "pictures.avi", moving_square(3), codec="ffv1", quality=3)
    with pytest.raises(DataError, match="ffv1, whose decoder tells no motion vectors") as caught:
        list(read_clip(tmp_path / "pictures.avi"))
    assert "libx264" in caught.value.remedy


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_files_that_are_cut_off_are_told(tmp_path, suffix):
    path = tmp_path / f"clip.{suffix}"
    write_clip(path, moving_square(16), rate=8)
    content = path.read_bytes()
    for share in (0.5, 0.8):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(DataError, match=rf"clip\.{suffix}"):
            list(read_clip(path))


def test_files_that_are_no_clips_are_told(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no clip")
    for name in ("empty.mp4", "text.mp4", "missing.mp4"):
        with pytest.raises(DataError, match=f"Cannot read the clip .*{name}"):
            list(read_clip(tmp_path / name))


def test_frames_of_several_sizes_are_told(tmp_path):
    for name, frames in (("a", moving_square(4)), ("b", [frame[:64, :64] for frame in moving_square(4)])):
        write_clip(tmp_path / f"{name}.h264", frames)
    joined = tmp_path / "joined.h264"
    joined.write_bytes((tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes())
    with pytest.raises(DataError, match="change their size") as caught:
        list(read_clip(joined))
    assert "96x96, then 64x64" in caught.value.received
