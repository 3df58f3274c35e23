"""Data: samples with stable ids, their order, their views, and where they come from."""

from limbeck.data.adopt import DatasetInputs, as_samples
from limbeck.data.archives import unpack
from limbeck.data.augmentations import Augmentation, Crop, Flip, Jitter, Mixup, augmentations_from
from limbeck.data.balance import BalancedOrder
from limbeck.data.catalog import data_set_names, load_archive, load_data, load_npz
from limbeck.data.checks import UNLABELLED
from limbeck.data.counter import counter_bits, counter_integers, counter_uniform
from limbeck.data.downloads import cache_folder
from limbeck.data.image_files import ImageFiles
from limbeck.data.images import load_image_folder
from limbeck.data.loading import iterate_batches
from limbeck.data.normalise import Normalise
from limbeck.data.order import batch_positions, epoch_batches, epoch_order
from limbeck.data.samples import InputSource, Samples
from limbeck.data.splits import Splits, hold_out, label_part, require_classes
from limbeck.data.views import Batch, Views
from limbeck.data.warps import Affine, Elastic

__all__ = [
    "UNLABELLED",
    "Affine",
    "Augmentation",
    "BalancedOrder",
    "Batch",
    "Crop",
    "DatasetInputs",
    "Elastic",
    "Flip",
    "ImageFiles",
    "InputSource",
    "Jitter",
    "Mixup",
    "Normalise",
    "Samples",
    "Splits",
    "Views",
    "as_samples",
    "augmentations_from",
    "batch_positions",
    "cache_folder",
    "counter_bits",
    "counter_integers",
    "counter_uniform",
    "data_set_names",
    "epoch_batches",
    "epoch_order",
    "hold_out",
    "iterate_batches",
    "label_part",
    "load_archive",
    "load_data",
    "load_image_folder",
    "load_npz",
    "require_classes",
    "unpack",
]
