"""Data: samples with stable ids, their order, their views, and where they come from."""

from limbeck.data.archives import unpack
from limbeck.data.augmentation_words import augmentations_from
from limbeck.data.augmentations import Augmentation, Crop, Flip, Jitter, Mixup, Segments
from limbeck.data.balance import BalancedOrder
from limbeck.data.batches import Batch
from limbeck.data.catalog import data_set_names, load_data
from limbeck.data.checks import IGNORE_INDEX, UNLABELLED, Task, has_positions
from limbeck.data.collate import LengthBuckets, PadCollate, pad_collate
from limbeck.data.counter import counter_bits, counter_integers, counter_uniform
from limbeck.data.data_sets import DatasetInputs
from limbeck.data.downloads import cache_folder
from limbeck.data.frames import Context, FrameWindows, by_utterance, frame_samples, same_moments
from limbeck.data.from_arrays import as_samples, as_splits, is_data_set_dict
from limbeck.data.hub import load_hf, load_tables
from limbeck.data.image_archives import load_archive
from limbeck.data.image_files import ImageFiles
from limbeck.data.images import load_image_folder
from limbeck.data.indexed import IndexedDataset
from limbeck.data.loading import ReadSettings, iterate_batches
from limbeck.data.mixtures import with_mixtures
from limbeck.data.normalise import Normalise, can_normalise
from limbeck.data.npz import load_npz
from limbeck.data.order import batch_positions, epoch_batches, epoch_order
from limbeck.data.path_table import PathTable
from limbeck.data.samples import Samples
from limbeck.data.shards.loading import load_shards
from limbeck.data.sources import InputSource
from limbeck.data.speech import load_corpus, load_speech
from limbeck.data.splits import Splits, hold_out, label_part, require_classes
from limbeck.data.tables import load_table
from limbeck.data.transforms import Transform
from limbeck.data.video.catalog import ClipOptions
from limbeck.data.video.clips import ClipInputs, load_clip_folder
from limbeck.data.video.segments import SegmentSettings
from limbeck.data.views import Views
from limbeck.data.warps import Affine, Elastic

__all__ = [
    "IGNORE_INDEX",
    "UNLABELLED",
    "Affine",
    "Augmentation",
    "BalancedOrder",
    "Batch",
    "ClipInputs",
    "ClipOptions",
    "Context",
    "Crop",
    "DatasetInputs",
    "Elastic",
    "Flip",
    "FrameWindows",
    "ImageFiles",
    "IndexedDataset",
    "InputSource",
    "Jitter",
    "LengthBuckets",
    "Mixup",
    "Normalise",
    "PadCollate",
    "PathTable",
    "ReadSettings",
    "Samples",
    "SegmentSettings",
    "Segments",
    "Splits",
    "Task",
    "Transform",
    "Views",
    "as_samples",
    "as_splits",
    "augmentations_from",
    "batch_positions",
    "by_utterance",
    "cache_folder",
    "can_normalise",
    "counter_bits",
    "counter_integers",
    "counter_uniform",
    "data_set_names",
    "epoch_batches",
    "epoch_order",
    "frame_samples",
    "has_positions",
    "hold_out",
    "is_data_set_dict",
    "iterate_batches",
    "label_part",
    "load_archive",
    "load_clip_folder",
    "load_corpus",
    "load_data",
    "load_hf",
    "load_image_folder",
    "load_npz",
    "load_shards",
    "load_speech",
    "load_table",
    "load_tables",
    "pad_collate",
    "require_classes",
    "same_moments",
    "unpack",
    "with_mixtures",
]
