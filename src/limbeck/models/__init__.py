"""Networks: a small zoo, the specs that name its members, weights, and saved models.

Every network of the zoo has ``embed(inputs) -> (batch, features)`` and a linear ``head``; its output is
``head(embed(inputs))``, logits of shape (batch, classes).
"""

from __future__ import annotations

from limbeck.models.constraints import constrain_max_norm, max_norm_of, project_max_norm
from limbeck.models.dropout import Dropout
from limbeck.models.early_exit import EarlyExitOutput
from limbeck.models.exits import EveryExit, ExitNetwork, ExitOutputs
from limbeck.models.factory import ModelFactory, is_factory_path, load_factory
from limbeck.models.full_softmax import FullSoftmaxSpecialist, class_columns, logits_with_dustbin
from limbeck.models.fused import FusedNetwork, fuse
from limbeck.models.heads import MultiHeadClassifier, logits_layer, multi_head_network, specialist_network
from limbeck.models.hints import FeatureOutputs, TappedNetwork, add_taps
from limbeck.models.mixture import MixtureOfExperts, mixture_of_experts
from limbeck.models.modes import check_output, evaluating
from limbeck.models.placing_exits import add_exits, exit_network
from limbeck.models.resolve import build
from limbeck.models.saved import SavedModel, check_saved, load_model, save_model
from limbeck.models.spec import ModelSpec
from limbeck.models.streams import OnKey, SegmentConsensus, build_on_key, on_key
from limbeck.models.taps import tapped
from limbeck.models.weights import buffers_fingerprint, fingerprint, load_weights, unwrap
from limbeck.models.zoo import ZOO

__all__ = [
    "ZOO",
    "Dropout",
    "EarlyExitOutput",
    "EveryExit",
    "ExitNetwork",
    "ExitOutputs",
    "FeatureOutputs",
    "FullSoftmaxSpecialist",
    "FusedNetwork",
    "MixtureOfExperts",
    "ModelFactory",
    "ModelSpec",
    "MultiHeadClassifier",
    "OnKey",
    "SavedModel",
    "SegmentConsensus",
    "TappedNetwork",
    "add_exits",
    "add_taps",
    "buffers_fingerprint",
    "build",
    "build_on_key",
    "check_output",
    "check_saved",
    "class_columns",
    "constrain_max_norm",
    "evaluating",
    "exit_network",
    "fingerprint",
    "fuse",
    "is_factory_path",
    "load_factory",
    "load_model",
    "load_weights",
    "logits_layer",
    "logits_with_dustbin",
    "max_norm_of",
    "mixture_of_experts",
    "multi_head_network",
    "on_key",
    "project_max_norm",
    "save_model",
    "specialist_network",
    "tapped",
    "unwrap",
]
