"""Affine and elastic views match a loop over pixels, and are functions of an image and its own row of numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.data import Affine, Elastic, Jitter, Samples, Views, augmentations_from
from limbeck.data.augmentation_words import describe_augmentation
from limbeck.errors import ConfigError, InvalidValue, ShapeMismatch

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (5, 3, 9, 8), generator=GENERATOR, dtype=torch.uint8)
WARPS = [Affine(30.0, 0.3, 0.2), Elastic(2.5, 4), Elastic(1.0, 2), Affine(30.0, probability=0.9), Elastic(2.5, 4, 0.9)]


def read_by_loop(image, rows, columns):
    """Read one image (channels, height, width) at places (height, width) in pixels, bilinearly, zero outside."""
    height, width = image.shape[1:]
    result = np.zeros(image.shape)
    for r in range(height):
        for c in range(width):
            top, left = math.floor(rows[r, c]), math.floor(columns[r, c])
            for y, x in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                if 0 <= y < height and 0 <= x < width:
                    weight = (1 - abs(rows[r, c] - y)) * (1 - abs(columns[r, c] - x))
                    result[:, r, c] += weight * image[:, y, x]
    return result


def affine_places(affine, drawn, height, width):
    down, right = np.mgrid[:height, :width].astype(float)
    down, right = down - (height - 1) / 2, right - (width - 1) / 2
    angle = math.radians(affine.degrees * (2 * drawn[0] - 1))
    shrink = (1 + affine.scale) ** -(2 * drawn[1] - 1)
    rows = shrink * (math.cos(angle) * down - math.sin(angle) * right)
    columns = shrink * (math.sin(angle) * down + math.cos(angle) * right)
    columns = columns + affine.shear * (2 * drawn[2] - 1) * rows
    return rows + (height - 1) / 2, columns + (width - 1) / 2


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_affine_matches_the_loop(seed):
    affine, images = Affine(40.0, 0.4, 0.3), IMAGES.float()
    uniforms = torch.rand(5, 3, generator=torch.Generator().manual_seed(seed))
    warped = affine(images, uniforms)
    for index in range(5):
        rows, columns = affine_places(affine, uniforms[index].tolist(), 9, 8)
        expected = read_by_loop(images[index].numpy(), rows, columns)
        assert np.abs(warped[index].numpy() - expected).max() < 0.02


def test_affine_turns_grows_and_shears_as_it_says():
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 3] = 1.0  # one to the right of the middle
    turned = Affine(90.0)(image, torch.tensor([[1.0, 0.5, 0.5]]))
    assert float(turned[0, 0, 1, 2] + turned[0, 0, 3, 2]) == pytest.approx(1.0, abs=1e-5)
    block = torch.zeros(1, 1, 17, 17)
    block[..., 6:11, 6:11] = 1.0
    grown, shrunk = (Affine(0.0, 0.5)(block, torch.tensor([[0.5, u, 0.5]])).sum().item() for u in (1.0, 0.0))
    assert grown == pytest.approx(25 * 1.5**2, rel=0.1)
    assert shrunk == pytest.approx(25 / 1.5**2, rel=0.25)  # a few pixels at its edge
    column = torch.zeros(1, 1, 9, 9)
    column[..., 4] = 1.0
    sheared = Affine(0.0, shear=0.5)(column, torch.tensor([[0.5, 0.5, 1.0]]))[0, 0]
    assert [int(sheared[row].argmax()) for row in (0, 2, 4, 6, 8)] == [6, 5, 4, 3, 2]


@pytest.mark.parametrize("pixels", [1.0, 2.0])
@pytest.mark.parametrize("knots", [2, 3, 5])
def test_an_even_field_shifts_the_image(pixels, knots):
    warped = Elastic(pixels, knots)(IMAGES, torch.ones(5, 2 * knots**2))
    shift = int(pixels)
    expected = torch.zeros_like(IMAGES)
    expected[:, :, :-shift, :-shift] = IMAGES[:, :, shift:, shift:]
    assert torch.equal(warped, expected)


def test_a_field_has_its_knots_values_at_the_knots_and_bicubic_ones_between():
    knots = 4
    uniforms = torch.rand(5, 2 * knots**2, generator=GENERATOR)
    images = torch.arange(100.0).view(1, 1, 10, 10).expand(5, 1, 10, 10)  # linear: reading tells the place
    warped = Elastic(0.4, knots)(images, uniforms)[:, 0]
    field = 0.4 * (2 * uniforms.view(5, 2, knots, knots) - 1)
    places = torch.tensor([3, 6])  # inner knots of ten pixels
    inner = field[:, :, 1:3, 1:3]
    expected = images[:, 0][:, places][:, :, places] + 10 * inner[:, 0] + inner[:, 1]
    torch.testing.assert_close(warped[:, places][:, :, places], expected, rtol=1e-4, atol=1e-3)
    between = torch.nn.functional.interpolate(field, size=(10, 10), mode="bicubic", align_corners=True)
    read = images[0, 0] + 10 * between[:, 0] + between[:, 1]
    torch.testing.assert_close(warped[:, 1:-1, 1:-1], read[:, 1:-1, 1:-1], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("warp", WARPS)
def test_nothing_drawn_leaves_the_image(warp):
    assert torch.equal(warp(IMAGES, torch.full((5, warp.draws), 0.5)), IMAGES)


@pytest.mark.parametrize("warp", WARPS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_an_image_is_warped_by_its_own_row_alone(warp, dtype):
    images = IMAGES.to(dtype)
    uniforms = torch.rand(5, warp.draws, generator=GENERATOR)
    kept = images.clone()
    together = warp(images, uniforms)
    assert together.dtype == dtype
    assert together.shape == images.shape
    assert torch.equal(images, kept)
    for index in range(5):
        assert torch.equal(together[index], warp(images[index : index + 1], uniforms[index : index + 1])[0])
    assert not torch.equal(together, images)


def test_views_of_warps_can_be_shown_again():
    samples = Samples("toy", torch.arange(5) * 7, IMAGES, torch.zeros(5).long(), ("a",))
    changes = augmentations_from(["affine:10:0.1:0.1", "elastic:2:4", "jitter:1"])
    assert changes == (Affine(10.0, 0.1, 0.1), Elastic(2.0, 4), Jitter(1))
    assert augmentations_from([describe_augmentation(change) for change in changes]) == changes
    views = Views(changes, seed=3)
    whole = views.batch(samples, torch.arange(5), view=2).inputs
    single = torch.cat([views.batch(samples, torch.tensor([i]), view=2).inputs for i in range(5)])
    assert torch.equal(whole, single)
    assert not torch.equal(whole, views.batch(samples, torch.arange(5), view=3).inputs)


def test_what_cannot_be_is_refused():
    for make in (
        lambda: Affine(0.0), lambda: Affine(-1.0), lambda: Affine(1.0, -0.1), lambda: Affine(float("nan")),
        lambda: Elastic(0.0), lambda: Elastic(-2.0), lambda: Elastic(2.0, 1), lambda: augmentations_from(["elastic:0"]),
    ):  # fmt: skip
        with pytest.raises(InvalidValue):
            make()
    with pytest.raises(ConfigError, match="elastic"):
        augmentations_from(["elastic:2:4:1:1"])
    for warp in WARPS:
        with pytest.raises(ShapeMismatch, match="changes images"):
            warp(torch.zeros(3, 7), torch.zeros(3, warp.draws))


@pytest.mark.parametrize(
    ("sure", "unsure"), [(Affine(30.0, 0.3), Affine(30.0, 0.3, 0.0, 0.4)), (Elastic(2.0, 3), Elastic(2.0, 3, 0.4))]
)
def test_a_warp_with_a_probability_warps_some_images_and_leaves_the_others(sure, unsure):
    uniforms = torch.rand(5, unsure.draws, generator=torch.Generator().manual_seed(4))
    assert unsure.draws == sure.draws + 1
    uniforms[:, -1] = torch.tensor([0.1, 0.39, 0.4, 0.41, 0.9])
    warped, certain = unsure(IMAGES, uniforms), sure(IMAGES, uniforms[:, :-1])
    assert torch.equal(warped[:2], certain[:2])
    assert torch.equal(warped[2:], IMAGES[2:])
    assert not torch.equal(certain, IMAGES)


def test_a_probability_is_part_of_the_view_and_checked():
    assert augmentations_from(["affine:10:0.1:0.2:0.5", "elastic:2:5:0.5"]) == (
        Affine(10.0, 0.1, 0.2, 0.5),
        Elastic(2.0, 5, 0.5),
    )
    for words in ("affine:10:0.1:0.2:1.5", "elastic:2:5:-0.1"):
        with pytest.raises(InvalidValue, match="probability"):
            augmentations_from([words])
