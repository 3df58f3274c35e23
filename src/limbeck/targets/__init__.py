"""Soft targets: what a teacher says of a batch, asked for at a temperature, and the store that keeps it."""

from limbeck.targets.choosing import CODECS, Choice, check_codec_name, choose_codec, codec_from, named_codec
from limbeck.targets.codec import Codec
from limbeck.targets.compact_targets import LowRankTargets, SparseTargets, TailMass
from limbeck.targets.dense_codecs import Dense8, Dense16
from limbeck.targets.feature_targets import FeatureTargets
from limbeck.targets.fidelity import Divergence, Fidelity, measure_fidelity
from limbeck.targets.labels_codec import LabelsCodec
from limbeck.targets.lowrank_codec import LowRank
from limbeck.targets.lowrank_fit import LowRankFit, fit_lowrank
from limbeck.targets.manifest import FileRecord, Manifest, MemberRecord, Plan, ShardRecord
from limbeck.targets.positions_codec import PositionsCodec, PositionTargets
from limbeck.targets.reader import TargetStore, read_manifest
from limbeck.targets.soft_targets import DenseTargets, SoftTargets
from limbeck.targets.sparse_codec import Sparse

__all__ = [
    "CODECS",
    "Choice",
    "Codec",
    "Dense8",
    "Dense16",
    "DenseTargets",
    "Divergence",
    "FeatureTargets",
    "Fidelity",
    "FileRecord",
    "LabelsCodec",
    "LowRank",
    "LowRankFit",
    "LowRankTargets",
    "Manifest",
    "MemberRecord",
    "Plan",
    "PositionTargets",
    "PositionsCodec",
    "ShardRecord",
    "SoftTargets",
    "Sparse",
    "SparseTargets",
    "TailMass",
    "TargetStore",
    "check_codec_name",
    "choose_codec",
    "codec_from",
    "fit_lowrank",
    "measure_fidelity",
    "named_codec",
    "read_manifest",
]
