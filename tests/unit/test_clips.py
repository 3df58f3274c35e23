"""Clips as samples: segments, streams moved alike, folders, published splits, what is broken, what is kept."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from limbeck.data import Crop, Flip, Segments, SegmentSettings, Views, load_clip_folder
from limbeck.data.augmentations import Jitter
from limbeck.data.joint import changed_alike
from limbeck.data.video.segments import chosen_frames, read_segments
from limbeck.data.warps import Affine
from limbeck.errors import DataError, InvalidValue, ShapeMismatch

pytest.importorskip("av")

from limbeck.data.video.encoding import write_clip

SETTINGS = SegmentSettings(num_segments=3, num_choices=3)


def frames_of(seed, *, step=2, size=48, num_frames=14):
    generator = np.random.default_rng(seed)
    background = generator.integers(0, 90, (size // 8, size // 8)).repeat(8, 0).repeat(8, 1)
    square = generator.integers(130, 255, (4, 4)).repeat(4, 0).repeat(4, 1)
    for t in range(num_frames):
        frame = background.copy()
        place = 16 + step * t // 2
        frame[16:32, place : place + 16] = square[:, : size - place]
        yield np.repeat(frame.astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight clips of two classes: a square that moves to the right, and one that rests."""
    root = tmp_path_factory.mktemp("clips")
    for name, step in (("moves", 2), ("rests", 0)):
        (root / name).mkdir()
        for number in range(4):
            write_clip(root / name / f"{number}.mp4", frames_of(number, step=step), quality=18, group_size=7)
    return root


@pytest.fixture
def loaded(folder, tmp_path):
    return load_clip_folder(folder, settings=SETTINGS, cache=tmp_path / "cache").train


def test_chosen_frames_cover_every_segment_evenly():
    for num_frames, num_segments, num_choices in ((3, 3, 5), (75, 3, 4), (10, 4, 3)):
        chosen = chosen_frames(num_frames, num_segments=num_segments, num_choices=num_choices)
        assert chosen.shape == (num_segments, num_choices)
        for number, row in enumerate(chosen.tolist()):
            assert row == sorted(row)
            low, high = num_frames * number // num_segments, num_frames * (number + 1) // num_segments
            assert low <= row[0] <= row[-1] < high


def test_a_clip_is_a_mapping_of_three_streams(loaded):
    assert loaded.input_shapes == {"iframe": (3, 3, 48, 48), "motion": (3, 2, 48, 48), "residual": (3, 3, 48, 48)}
    assert loaded.class_names == ("moves", "rests")
    assert not loaded.in_memory
    batch = Views().batch(loaded, torch.arange(8), view=None)
    assert {part.dtype for part in batch.inputs.values()} == {torch.float32}
    assert 0 <= batch.inputs["iframe"].min() < batch.inputs["iframe"].max() <= 1
    assert batch.inputs["motion"].abs().max() <= 1
    moved = batch.inputs["motion"][:, :, 0].amax(dim=(2, 3)) * 32  # pixels to the right since the I-frame
    assert (moved[loaded.labels == 0].amax(dim=1) > 2).all()
    assert (moved[loaded.labels == 1] < 1).all()


def test_frame_is_moved_iframe_and_residual_in_every_segment(folder):
    streams = read_segments(folder / "rests" / "0.mp4", SETTINGS)
    assert streams["iframe"].shape == (3, 3, 3, 48, 48)
    assert not streams["motion"].any()
    assert np.abs(streams["residual"]).mean() < 2  # nothing moves: the frame is the I-frame


def test_views_draw_segments_by_seed_id_and_view(loaded):
    views = Views((Segments(), Flip(0.0)), seed=3)
    first = views.batch(loaded, torch.tensor([0, 5]), view=4).inputs["residual"]
    assert torch.equal(first[1:], views.batch(loaded, torch.tensor([5]), view=4).inputs["residual"])
    assert torch.equal(first, views.batch(loaded, torch.tensor([0, 5]), view=4).inputs["residual"])
    others = [views.batch(loaded, torch.tensor([0, 5]), view=view).inputs["residual"] for view in range(5, 9)]
    assert any(not torch.equal(first, other) for other in others)
    other_seed = dataclasses.replace(views, seed=4)
    assert any(
        not torch.equal(
            views.batch(loaded, torch.tensor([0]), view=view).inputs["residual"],
            other_seed.batch(loaded, torch.tensor([0]), view=view).inputs["residual"],
        )
        for view in range(4)
    )
    clean = Views().batch(loaded, torch.tensor([0, 5]), view=None).inputs["residual"]
    assert torch.equal(views.clean.batch(loaded, torch.tensor([0, 5]), view=None).inputs["residual"], clean)


def test_a_flip_mirrors_all_streams_and_turns_horizontal_vectors(loaded):
    clean = Views().batch(loaded, torch.arange(8), view=None).inputs
    flipped = Views((Flip(1.0),)).batch(loaded, torch.arange(8), view=0).inputs
    for name in ("iframe", "residual"):
        assert torch.equal(flipped[name], clean[name].flip(-1))
    assert torch.equal(flipped["motion"][:, :, 0], -clean["motion"][:, :, 0].flip(-1))
    assert torch.equal(flipped["motion"][:, :, 1], clean["motion"][:, :, 1].flip(-1))


@pytest.mark.parametrize("change", [Crop(4), Crop(4, "reflect"), Jitter(3)])
def test_a_crop_moves_all_streams_alike(loaded, change):
    raw = loaded.fetch(torch.arange(8))
    uniforms = torch.rand(8, 2, generator=torch.Generator().manual_seed(0))
    moved = changed_alike(raw, change, uniforms)
    for name, part in raw.items():
        for time in range(3):  # each picture for itself, by the same draws
            expected = change(part[:, time], uniforms)
            assert torch.equal(moved[name][:, time], expected), (name, time)


def test_what_cannot_move_alike_is_refused(loaded):
    with pytest.raises(DataError, match="affine does not move several pictures"):
        Views((Affine(10.0),)).batch(loaded, torch.arange(2), view=0)
    odd = {"a": torch.zeros(1, 1, 4, 4), "b": torch.zeros(1, 1, 5, 5)}
    with pytest.raises(ShapeMismatch, match="different sizes"):
        changed_alike(odd, Flip(), torch.zeros(1, 1))


def test_segments_are_refused_for_images():
    from limbeck.data import as_samples

    images = as_samples((torch.zeros(2, 1, 8, 8, dtype=torch.uint8), [0, 1]))
    with pytest.raises(DataError, match="no segments to draw"):
        Views((Segments(),)).batch(images, torch.arange(2), view=0)


def test_clips_are_decoded_once(folder, tmp_path, monkeypatch):
    first = load_clip_folder(folder, settings=SETTINGS, cache=tmp_path).train
    monkeypatch.setattr("limbeck.data.video.stored.read_segments", lambda *given, **more: pytest.fail("decoded again"))
    again = load_clip_folder(folder, settings=SETTINGS, cache=tmp_path).train
    assert again.fingerprint == first.fingerprint
    for name, part in first.fetch(torch.arange(8)).items():
        assert torch.equal(part, again.fetch(torch.arange(8))[name])
    with pytest.raises(pytest.fail.Exception):
        load_clip_folder(folder, settings=dataclasses.replace(SETTINGS, num_segments=2), cache=tmp_path)


def test_without_a_cache_that_can_be_written_streams_stay_in_memory(folder, tmp_path):
    (tmp_path / "file").write_text("no folder")
    loaded = load_clip_folder(folder, settings=SETTINGS, cache=tmp_path / "file" / "cache").train
    assert len(loaded) == 8


def test_ids_and_fingerprint_do_not_depend_on_the_folder_and_do_on_the_settings(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "copy")
    one = load_clip_folder(folder, settings=SETTINGS, cache=tmp_path / "a").train
    two = load_clip_folder(tmp_path / "copy", settings=SETTINGS, cache=tmp_path / "a").train
    other = load_clip_folder(folder, settings=SegmentSettings(2, 3), cache=tmp_path / "a").train
    assert torch.equal(one.ids, two.ids)
    assert one.fingerprint == two.fingerprint != other.fingerprint


def test_clips_are_resized_with_their_vectors(folder, tmp_path):
    loaded = load_clip_folder(
        folder, settings=SegmentSettings(3, 1, image_size=24), cache=tmp_path
    ).train.fetch(torch.arange(4))  # fmt: skip
    whole = load_clip_folder(folder, settings=SegmentSettings(3, 1), cache=tmp_path).train.fetch(torch.arange(4))
    assert loaded["iframe"].shape == (4, 3, 3, 24, 24)
    ratio = loaded["motion"][:, :, 0].float().sum() * 4 / whole["motion"][:, :, 0].float().sum()
    assert 0.4 < ratio < 0.6  # half as long, over a quarter of the pixels


def test_broken_clips_are_told_or_left_out_and_listed(folder, tmp_path):
    import shutil

    root = tmp_path / "some"
    shutil.copytree(folder, root)
    (root / "moves" / "9.mp4").write_bytes((root / "moves" / "0.mp4").read_bytes()[:300])
    write_clip(root / "rests" / "8.mp4", frames_of(0, num_frames=2))
    with pytest.raises(DataError, match=r"moves/9\.mp4"):
        load_clip_folder(root, settings=SETTINGS, cache=tmp_path / "cache")
    splits = load_clip_folder(root, settings=SETTINGS, cache=tmp_path / "cache", skip_broken=True)
    assert len(splits.train) == 8
    (note,) = splits.notes
    assert note.startswith("2 of 10 clips of train were left out")
    assert "9.mp4" in note
    assert "8.mp4" in note
    with pytest.raises(DataError, match=r"moves/9\.mp4"):  # found in the cache, and refused all the same
        load_clip_folder(root, settings=SETTINGS, cache=tmp_path / "cache")


def test_a_clip_that_is_too_short_is_told(tmp_path):
    write_clip(tmp_path / "short.mp4", frames_of(0, num_frames=3))
    with pytest.raises(DataError, match=r"short\.mp4 is too short for 3 segments") as caught:
        read_segments(tmp_path / "short.mp4", SETTINGS)
    assert caught.value.received == "2 frame(s) with motion vectors"


def test_clips_of_several_sizes_are_told(folder, tmp_path):
    import shutil

    root = tmp_path / "some"
    shutil.copytree(folder, root)
    write_clip(root / "rests" / "9.mp4", frames_of(0, size=64))
    with pytest.raises(DataError, match="another size") as caught:
        load_clip_folder(root, settings=SETTINGS, cache=tmp_path / "cache")
    assert "--image-size" in caught.value.remedy


def test_a_long_clip_is_decoded_twice_and_gives_the_same(folder, monkeypatch):
    expected = read_segments(folder / "moves" / "0.mp4", SETTINGS)
    monkeypatch.setattr("limbeck.data.video.segments._HELD", 4)
    found = read_segments(folder / "moves" / "0.mp4", SETTINGS)
    for name, part in expected.items():
        np.testing.assert_array_equal(found[name], part)


def test_published_splits_are_taken_unchanged(folder, tmp_path):
    import shutil

    ucf = tmp_path / "ucf"
    shutil.copytree(folder, ucf)
    (ucf / "ucfTrainTestlist").mkdir()
    (ucf / "ucfTrainTestlist" / "trainlist01.txt").write_text("moves/0.mp4 1\nmoves/1.mp4 1\nrests/0.mp4 2\n")
    (ucf / "ucfTrainTestlist" / "testlist01.txt").write_text("moves/2.mp4\nrests/3.mp4\n")
    splits = load_clip_folder(ucf, settings=SETTINGS, cache=tmp_path / "cache")
    assert (splits.train.labels.tolist(), splits.test.labels.tolist()) == ([0, 0, 1], [0, 1])
    with pytest.raises(DataError, match="no split of that number"):
        load_clip_folder(ucf, settings=SETTINGS, cache=tmp_path / "cache", split_number=3)

    hmdb = tmp_path / "hmdb" / "videos"
    shutil.copytree(folder, hmdb)
    files = tmp_path / "hmdb" / "testTrainMulti_7030_splits"
    files.mkdir()
    (files / "moves_test_split2.txt").write_text("0.mp4 1\n1.mp4 0\n2.mp4 2\n")
    (files / "rests_test_split2.txt").write_text("0.mp4 1 \n3.mp4 2 \n")
    splits = load_clip_folder(hmdb, settings=SETTINGS, cache=tmp_path / "cache", split_number=2)
    assert (splits.train.labels.tolist(), splits.test.labels.tolist()) == ([0, 1], [0, 1])
    assert "HMDB-51, split 2" in splits.notes[0]
    (files / "rests_test_split2.txt").write_text("7.mp4 1\n")
    with pytest.raises(DataError, match="named in a split file and is not there"):
        load_clip_folder(hmdb, settings=SETTINGS, cache=tmp_path / "cache", split_number=2)


def test_a_folder_without_clips_is_told(tmp_path):
    with pytest.raises(DataError, match="There is no folder"):
        load_clip_folder(tmp_path / "nothing")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "readme.txt").write_text("no clip")
    with pytest.raises(DataError, match="has no clips"):
        load_clip_folder(tmp_path)
    with pytest.raises(InvalidValue, match="num_segments"):
        SegmentSettings(num_segments=0)
