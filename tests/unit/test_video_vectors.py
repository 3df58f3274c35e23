"""Vectors cell by cell, followed and moved along, against loops over cells and pixels; what an H.264 stream says."""

from __future__ import annotations

import numpy as np
import pytest

from limbeck.data.video.parameter_sets import num_reference_frames
from limbeck.data.video.vectors import CELL, Reference, cells_of, follow, follow_run, runs_of, vector_fields, warped

VECTOR = np.dtype(
    [("source", "i4"), ("w", "u1"), ("h", "u1"), ("dst_x", "i2"), ("dst_y", "i2"), ("motion_x", "i4"),
     ("motion_y", "i4"), ("motion_scale", "u2")]
)  # fmt: skip


def blocks(generator, height, width):
    """Vectors of a frame in macroblocks of 16 pixels, each whole, halved, quartered, of eight 4 x 8, or intra."""
    found = []
    for top in range(0, height, 16):
        for left in range(0, width, 16):
            kind = generator.choice(["16x16", "16x8", "8x16", "8x8", "4x8", "intra"])
            if kind == "intra":
                continue
            wide, high = (int(side) for side in kind.split("x"))
            for y in range(top, top + 16, high):
                for x in range(left, left + 16, wide):
                    right, down = generator.integers(-90, 91, 2)
                    found.append((-1, wide, high, x + wide // 2, y + high // 2, right, down, 4))
    return np.array(found, dtype=VECTOR)


def painted_slowly(vectors, height, width):
    rows, columns = cells_of(height, width)
    field = np.full((rows, columns, 2), np.nan, dtype=np.float32)
    for one in vectors:
        wide, high = int(one["w"]), int(one["h"])
        left, top = int(one["dst_x"]) - wide // 2, int(one["dst_y"]) - high // 2
        for row in range(top // CELL, -(-(top + high) // CELL)):
            for column in range(left // CELL, -(-(left + wide) // CELL)):
                if row < rows and column < columns:
                    field[row, column] = one["motion_x"] / 4, one["motion_y"] / 4
    return field


@pytest.mark.parametrize(("height", "width"), [(64, 96), (90, 130), (16, 8)])
def test_every_cell_gets_the_vector_of_its_block(height, width):
    vectors = blocks(np.random.default_rng(height), height, width)
    field, future = vector_fields(vectors, height=height, width=width)
    assert future is None
    np.testing.assert_array_equal(field, painted_slowly(vectors, height, width))


def test_blocks_outside_the_frame_are_left_out():
    inside = (-1, 16, 16, 8, 8, 4, -8, 4)
    outside = [(-1, 16, 16, x, y, 4, 4, 4) for x, y in ((-8, 8), (8, -8), (72, 8), (8, 72))]
    field, _ = vector_fields(np.array([*outside, inside], dtype=VECTOR), height=64, width=64)
    assert field[0, 0].tolist() == [1, -2]
    assert np.isnan(field[..., 0]).sum() == 64 - 4


def test_following_a_run_compares_nothing_and_gives_the_same():
    generator = np.random.default_rng(3)
    height, width = 90, 130
    before = generator.integers(-80, 80, (*cells_of(height, width), 2)).astype(np.float32) / 4
    run = [blocks(generator, height, width) for _ in range(3)]
    into_the_future = np.array([(1, 16, 16, 8, 8, 40, 40, 4)], dtype=VECTOR)
    found = follow_run([run[0], np.concatenate([run[1], into_the_future]), run[2]], before, height=height, width=width)
    luma = generator.integers(0, 255, (height, width), dtype=np.uint8)
    for vectors, displacement in zip(run, found, strict=True):
        field, _ = vector_fields(vectors, height=height, width=width)
        rows, columns = field.shape[:2]
        for row in range(rows):
            for column in range(columns):
                right, down = np.nan_to_num(field[row, column])
                row_at = min(max(int(8 * row + 4 + down) >> 3, 0), rows - 1)
                column_at = min(max(int(8 * column + 4 + right) >> 3, 0), columns - 1)
                behind = before[row_at, column_at]
                assert displacement[row, column].tolist() == [right + behind[0], down + behind[1]]
        np.testing.assert_array_equal(displacement, follow(luma, [(field, Reference(luma, before))]))
        before = displacement


@pytest.mark.parametrize("shape", [(64, 96, 3), (90, 131, 3), (23, 40)])
def test_an_image_is_read_at_every_pixels_displaced_place(shape):
    generator = np.random.default_rng(4)
    image = generator.integers(0, 255, shape, dtype=np.uint8)
    displacement = generator.integers(-4 * 150, 4 * 150, (*cells_of(*shape[:2]), 2)).astype(np.float32) / 4
    moved = np.rint(displacement).astype(int).repeat(CELL, axis=0).repeat(CELL, axis=1)[: shape[0], : shape[1]]
    rows = np.clip(np.arange(shape[0])[:, None] + moved[..., 1], 0, shape[0] - 1)
    columns = np.clip(np.arange(shape[1]) + moved[..., 0], 0, shape[1] - 1)
    np.testing.assert_array_equal(warped(image, displacement), image[rows, columns])
    np.testing.assert_array_equal(warped(image, displacement, runs=runs_of(image)), image[rows, columns])


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("num_references", [1, 2, 4])
def test_a_file_says_from_how_many_frames_one_is_predicted(tmp_path, suffix, num_references):
    av = pytest.importorskip("av")
    from limbeck.data.video.encoding import write_clip

    path = tmp_path / f"clip.{suffix}"
    frames = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), dtype=np.uint8)
    write_clip(path, frames, num_references=num_references, num_b_frames=0)
    with av.open(str(path)) as container:
        extradata = container.streams.video[0].codec_context.extradata
    assert num_reference_frames(extradata) == num_references
    sets = extradata[8 : 8 + int.from_bytes(extradata[6:8], "big")]
    assert num_reference_frames(b"\0\0\0\1" + sets) == num_references  # behind a start code


@pytest.mark.parametrize("extradata", [None, b"", b"\x01d\x00\r\xff\xe1", b"\x01d\x00\r\xff\xe1\x00\x02gd", b"no set"])
def test_what_says_nothing_is_told_as_nothing(extradata):
    assert num_reference_frames(extradata) is None


def test_scaling_lists_and_orders_of_pictures_are_read_past():
    # High profile: 4:2:0, lists of which the first is given (flat: 16 differences of 0), order of pictures of type 1.
    bits = "01100100" + "0" * 8 + "00001101" + "1" + "010" + "1" + "1" + "0" + "1"
    bits += "1" + "1" * 16 + "0" * 7  # eight lists
    bits += "1" + "010" + "0" + "1" + "1" + "011" + "1" + "1"  # frame numbers, type 1, no zeros, two offsets
    bits += "00110" + "0" + "00100" + "00100" + "1"  # five frames, no gaps, width and height, frames only
    bits += "0" * (-len(bits) % 8)
    content = bytes([0x67]) + int(bits, 2).to_bytes(len(bits) // 8, "big")
    assert num_reference_frames(b"\0\0\1" + content) == 5
    as_fields = bits[: bits.rindex("1")] + "0" + bits[bits.rindex("1") + 1 :]
    fields = bytes([0x67]) + int(as_fields, 2).to_bytes(len(bits) // 8, "big")
    assert num_reference_frames(b"\0\0\1" + fields) is None
