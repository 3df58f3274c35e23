"""The whole way once on a few samples, before anything is trained: what would fail at the end fails in a second."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from limbeck.distillation.costs import first_inputs
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import predictions_of
from limbeck.distillation.sources import Network
from limbeck.distillation.trained import PooledNetwork
from limbeck.errors import LimbeckError, ModelError
from limbeck.metrics import count_bytes, count_flops, exit_costs, latency
from limbeck.metrics.rows import NoSoftmax
from limbeck.models import EveryExit, ExitNetwork, save_model
from limbeck.models.factory import failure
from limbeck.models.sharding import check_shardable
from limbeck.teachers import Teacher

NUM_SAMPLES = 2


def dry_run(experiment: Experiment, networks: Mapping[str, nn.Module | Teacher | Network]) -> None:
    """Evaluate, cost and save every network once on two test samples.

    Args:
        experiment: of the job.
        networks: by role: networks to be trained, built or not, and teachers. Teachers are not saved; those that read
            no inputs are left out. Weights, buffers and modes stay as they were.
    Raises:
        ModelError: a network that fails on the way; which step, and the cause, are told.
    """
    for role, network in networks.items():
        if isinstance(network, nn.Module) and experiment.runtime.shards_students:
            check_shardable(network)
        network = experiment.data.build(network, seed=0) if isinstance(network, Network) else network
        if not isinstance(network, Teacher):
            _walk(experiment, role, network, is_saved=experiment.directory.path is not None)
        elif network.reads_inputs:
            _walk(experiment, role, PooledNetwork(network), is_saved=False)


def _walk(experiment: Experiment, role: str, module: nn.Module, *, is_saved: bool) -> None:
    data, views = experiment.data, experiment.clean_views()
    runtime = replace(experiment.runtime, device=experiment.runtime.place_of_students)
    few = data.test.take(torch.arange(min(NUM_SAMPLES, len(data.test))))
    step, remedy = "evaluated", "check that it takes the data set's inputs and gives logits (batch, classes)"
    try:
        predictions_of(module, few, views, runtime=runtime).measured()
        step, remedy = "costed", "its forward pass must run in eval mode, on one sample and on a batch"
        inputs = first_inputs(few, views, count=NUM_SAMPLES)
        count_bytes(module), count_flops(module, inputs)
        latency(module, inputs, batch_size=NUM_SAMPLES, num_runs=1, num_warmup_runs=0)
        if isinstance(module, ExitNetwork):
            predictions_of(EveryExit(module), few, views, runtime=runtime)
            exit_costs(module, inputs, num_runs=1, max_seconds=0.1)
        if is_saved:
            step, remedy = "saved", "leave out=None and save the network that the job returns in a way of your own"
            with tempfile.TemporaryDirectory() as folder:
                save_model(
                    Path(folder),
                    module,
                    spec=role,
                    input_shape=data.train.input_shape,
                    class_names=data.train.class_names,
                    normalise=None,
                )
    except NoSoftmax as error:
        raise ModelError(
            f"The {role} gives outputs that have no softmax; nothing was trained.",
            received=f"{error.fact} {error.received}",
            expected="finite logits that float32 can hold",
            remedy="load the weights you meant; a learning rate has no part in it",
        ) from error
    except LimbeckError as error:
        error.remedy = error.remedy or remedy
        raise
    except Exception as error:
        raise ModelError(
            f"The {role} cannot be {step}; nothing was trained.", received=failure(error), remedy=remedy
        ) from error
