"""Images from elsewhere take the task's shape and classes, and no label."""

from __future__ import annotations

import pytest
import torch

from limbeck.data import UNLABELLED, Samples, Views, augmentations_from
from limbeck.errors import DataError
from limbeck.recipes.transfer_sets import from_elsewhere, noise_images, views_as_samples, without_labels

GENERATOR = torch.Generator().manual_seed(0)


def picture_set(count, channels, size, *, names=("a", "b")):
    images = torch.randint(0, 256, (count, channels, size, size), generator=GENERATOR, dtype=torch.uint8)
    return Samples("toy", torch.arange(count) * 3 + 2, images, torch.arange(count) % 2, names)


LIKE = picture_set(4, 1, 8, names=("x", "y", "z"))


def test_labels_go_and_all_else_stays():
    bare = without_labels(LIKE)
    assert bare.labels.tolist() == [UNLABELLED] * 4
    assert bare.inputs_fingerprint == LIKE.inputs_fingerprint
    assert bare.class_names == LIKE.class_names


def test_views_held_as_samples_are_the_views_that_a_network_would_see():
    views = Views(augmentations_from(["affine:10:0.1:0.1:0.8", "jitter:1"]), seed=3)
    shown = views_as_samples(LIKE, views, num_views=5)
    assert (len(shown), len(set(shown.ids.tolist()))) == (20, 20)
    assert shown.class_names == LIKE.class_names
    for view in range(5):
        part = shown.take(torch.arange(4) + 4 * view)
        seen = views.batch(LIKE, torch.arange(4), view=view)
        assert torch.equal(Views().batch(part, torch.arange(4), view=None).inputs, seen.inputs)
        assert part.labels.tolist() == LIKE.labels.tolist()
        assert part.ids.tolist() == (LIKE.ids * 5 + view).tolist()
    assert shown.inputs.unique(dim=0).shape[0] > 10, "views differ"


@pytest.mark.parametrize(("size", "inner"), [(12, slice(2, 10)), (8, slice(0, 8)), (11, slice(2, 10))])
def test_colours_become_grey_and_the_centre_is_cropped(size, inner):
    photographs = picture_set(6, 3, size)
    brought = from_elsewhere(photographs, like=LIKE)
    red, green, blue = photographs.inputs[:, :, inner, inner].double().unbind(1)
    expected = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    assert brought.inputs.shape == (6, 1, 8, 8)
    assert (brought.inputs.double() - expected).abs().max() <= 0.51
    assert brought.labels.tolist() == [UNLABELLED] * 6
    assert (brought.class_names, brought.ids.tolist()) == (LIKE.class_names, photographs.ids.tolist())


def test_small_images_are_framed_by_zeros():
    small = picture_set(3, 1, 5)
    brought = from_elsewhere(small, like=LIKE).inputs
    assert torch.equal(brought[:, :, 1:6, 1:6], small.inputs)
    assert int((brought > 0).sum()) == int((small.inputs > 0).sum())


def test_noise_is_uniform_and_its_seeds_own():
    like = picture_set(2000, 1, 4)
    noise = noise_images(like=like, seed=0)
    counts = noise.inputs.flatten().bincount(minlength=256).double()  # 125 expected of each value
    assert float((counts - 125).abs().max()) < 5 * 125**0.5
    assert torch.equal(noise.inputs[5:9], noise_images(like=like.take(torch.arange(5, 9)), seed=0).inputs)
    assert not torch.equal(noise.inputs, noise_images(like=like, seed=1).inputs)
    assert noise.labels.unique().tolist() == [UNLABELLED]
    assert noise.input_shape == like.input_shape


def test_only_images_are_brought_from_elsewhere():
    features = Samples("rows", torch.arange(2), torch.zeros(2, 4), torch.zeros(2).long(), ("a",))
    for samples, like in ((features, LIKE), (LIKE, features), (LIKE, picture_set(2, 3, 8))):
        with pytest.raises(DataError, match="images"):
            from_elsewhere(samples, like=like)
