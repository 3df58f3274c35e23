"""Images as another filter would have scaled them."""

from __future__ import annotations

import torch

from limbeck.data import Samples
from limbeck.recipes.scalings import SHARPNESS, mean_absolute_gradient, rescaled


def images_of(pixels):
    return Samples("toy", torch.arange(len(pixels)), pixels, torch.zeros(len(pixels), dtype=torch.int64), ("a", "b"))


NOISE = images_of(torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)))


def test_softer_images_have_smaller_gradients_and_sharper_ones_larger():
    softer, sharper = (rescaled(NOISE, sharpness=SHARPNESS[word]) for word in ("softer", "sharper"))
    assert mean_absolute_gradient(softer) < 0.8 * mean_absolute_gradient(NOISE)
    assert mean_absolute_gradient(sharper) > 1.1 * mean_absolute_gradient(NOISE)
    assert softer.inputs.dtype == torch.uint8
    assert softer.ids.tolist() == NOISE.ids.tolist()


def test_no_sharpness_and_even_images_change_nothing():
    assert torch.equal(rescaled(NOISE, sharpness=0.0).inputs, NOISE.inputs)
    even = images_of(torch.full((2, 1, 8, 8), 77, dtype=torch.uint8))
    assert torch.equal(rescaled(even, sharpness=0.75).inputs, even.inputs)


def test_the_gradient_is_that_of_neighbours_across_and_down():
    stripes = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    stripes[..., ::2] = 255
    assert mean_absolute_gradient(images_of(stripes)) == 1.0  # across 1, down 0
