"""Data: samples with stable ids, their order, their views, and where they come from."""

from limbeck.data.augmentations import Augmentation, Crop, Flip, Jitter, Mixup, augmentations_from
from limbeck.data.checks import UNLABELLED
from limbeck.data.counter import counter_bits, counter_integers, counter_uniform
from limbeck.data.loading import iterate_batches
from limbeck.data.normalise import Normalise
from limbeck.data.order import batch_positions, epoch_batches, epoch_order
from limbeck.data.samples import InputSource, Samples
from limbeck.data.splits import Splits, hold_out, label_part, require_classes
from limbeck.data.views import Batch, Views

__all__ = [
    "UNLABELLED",
    "Augmentation",
    "Batch",
    "Crop",
    "Flip",
    "InputSource",
    "Jitter",
    "Mixup",
    "Normalise",
    "Samples",
    "Splits",
    "Views",
    "augmentations_from",
    "batch_positions",
    "counter_bits",
    "counter_integers",
    "counter_uniform",
    "epoch_batches",
    "epoch_order",
    "hold_out",
    "iterate_batches",
    "label_part",
    "require_classes",
]
