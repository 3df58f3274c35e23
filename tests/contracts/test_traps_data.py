"""The data's side of TRAPS 13, 17 and 24: a sample and its view are found by identity, and no data runs code."""

from __future__ import annotations

import pickle

import pytest
import torch

from limbeck.data import Crop, Flip, Jitter, Mixup, Samples, Views, epoch_order, iterate_batches
from limbeck.data.cifar import load_plain_pickle
from limbeck.errors import DataError


def samples() -> Samples:
    count = 40
    images = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Samples("toy", torch.arange(count) * 3 + 1, images, torch.arange(count) % 4, tuple("abcd"))


AUGMENTED = Views((Jitter(1), Crop(2, "reflect"), Flip(), Mixup(0.3)), seed=5)


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_trap_13_shuffling_keeps_id_input_and_label_together(batch_size):
    data = samples()
    by_id = {int(i): (data.inputs[k].float() / 255, int(data.labels[k])) for k, i in enumerate(data.ids)}
    for epoch in range(3):
        seen = []
        order = epoch_order(data.ids, seed=0, epoch=epoch)
        for batch in iterate_batches(data, Views(), order, batch_size=batch_size, view=epoch):
            for sample_id, inputs, label in zip(batch.ids.tolist(), batch.inputs, batch.labels.tolist(), strict=True):
                assert torch.equal(inputs, by_id[sample_id][0])
                assert label == by_id[sample_id][1]
                seen.append(sample_id)
        assert sorted(seen) == sorted(by_id)


@pytest.mark.parametrize("view", [0, 1, 5])
def test_trap_17_a_view_is_the_same_whatever_is_around_it(view):
    # What a teacher was shown, by id, in storage order ...
    data = samples()
    shown = AUGMENTED.batch(data, torch.arange(40), view=view)
    by_id = dict(zip(shown.ids.tolist(), shown.inputs, strict=True))
    # ... is what a student sees later, shuffled, in other batches, from another storage order, resumed.
    stored_otherwise = data.take(epoch_order(data.ids, seed=99, epoch=0))
    order = epoch_order(stored_otherwise.ids, seed=1, epoch=7)
    for batch_size, start in ((6, 0), (11, 2)):
        for batch in iterate_batches(
            stored_otherwise, AUGMENTED, order, batch_size=batch_size, view=view, start_batch=start
        ):
            for sample_id, inputs in zip(batch.ids.tolist(), batch.inputs, strict=True):
                assert torch.equal(inputs, by_id[sample_id])


def test_trap_17_the_clean_view_is_not_an_augmented_one():
    data = samples()
    clean = AUGMENTED.batch(data, torch.arange(40), view=None).inputs
    views = [AUGMENTED.batch(data, torch.arange(40), view=view).inputs for view in range(3)]
    assert AUGMENTED.clean.fingerprint != AUGMENTED.fingerprint
    for i, first in enumerate(views):
        assert not torch.equal(first, clean)
        assert all(not torch.equal(first, second) for second in views[:i])


class Hostile:
    def __reduce__(self):
        return exec, ("raise SystemExit('ran')",)


def test_trap_24_a_pickled_batch_cannot_run_code():
    for protocol in range(5):
        with pytest.raises(DataError, match="more than arrays"):
            load_plain_pickle(pickle.dumps({b"data": Hostile()}, protocol=protocol), source="test")
