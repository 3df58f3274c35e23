"""The ways of running one epoch of distillation that ``peers_inside.py`` compares.

Every way trains the same student (784-800-800-10, the same first weights) from the same teacher (784-1200-1200-10) on
the same batches in the same order with the same optimiser (SGD, Nesterov momentum, fused). A function here sets its way
up, untimed, and returns the epoch that is timed; its docstring stands in the table.

The peers get what their documentation shows as the minimal set-up, and every saving that they offer: no log, no
progress bar, no checkpoint, no validation, no schedule. Their data come from a ``TensorDataset`` in memory
through a ``DataLoader`` without workers; ``plain_loader`` shows what that loader alone costs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from limbeck.data import Samples, Views, epoch_order
from limbeck.models import build
from limbeck.objectives import Distillation
from limbeck.teachers import LogitsTeacher, ModuleTeacher, Teacher
from limbeck.training import Runtime, TrainConfig, fit

SEED = 0
BATCH_SIZE = 128
TEMPERATURE = 20.0
HARD_WEIGHT = 0.1
SOFT_WEIGHT = 1.0
SGD: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "nesterov": True, "fused": True}
NETWORK: dict[str, Any] = {"input_shape": (784,), "num_classes": 10, "seed": SEED}
FLOOR = "plain"
REFERENCE = "bare_online"  # whose student all distilled ones are compared with
EARLIER_TORCHDISTILL = "torchdistill_1_1_4"

Way = Callable[[], nn.Module]  # trains a student for one epoch and returns it


@dataclass(frozen=True, eq=False)
class Task:
    """The epoch that every way runs."""

    inputs: Tensor  # (samples, 784), float32
    labels: Tensor  # (samples,), int64
    order: Tensor  # positions of the epoch, (samples,)
    teacher: nn.Module  # frozen, in eval mode
    logits: Tensor  # the teacher's answers, (samples, 10)
    scratch: Path  # for files that a library insists on

    @classmethod
    def random(cls, num_samples: int, scratch: Path) -> Task:
        generator = torch.Generator().manual_seed(SEED)
        inputs = torch.randn(num_samples, 784, generator=generator)
        labels = torch.randint(0, 10, (num_samples,), generator=generator)
        order = epoch_order(torch.arange(num_samples), seed=SEED, epoch=0)
        teacher = build("mlp:widths=1200x1200", **NETWORK).eval().requires_grad_(False)
        with torch.no_grad():
            logits = torch.cat([teacher(part) for part in torch.split(inputs, 1024)])
        return cls(inputs, labels, order, teacher, logits, scratch)

    def student(self) -> nn.Module:
        return build("mlp:widths=800x800", **NETWORK)

    def batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield inputs, labels and positions, indexed from memory."""
        for positions in torch.split(self.order, BATCH_SIZE):
            yield self.inputs[positions], self.labels[positions], positions

    def loader(self, *more: Tensor) -> DataLoader[Any]:
        dataset = TensorDataset(self.inputs, self.labels, *more)
        return DataLoader(dataset, batch_size=BATCH_SIZE, sampler=self.order.tolist(), num_workers=0)


# The floor and the reference: loops that a person writes by hand


def plain(task: Task) -> Way:
    """Bare supervised loop over tensors in memory: index, forward, cross-entropy, backward, step."""
    return lambda: _bare_loop(task, task.batches(), lambda outputs, batch: F.cross_entropy(outputs, batch[1]))


def plain_loader(task: Task) -> Way:
    """The same, its batches from the `DataLoader` that the peers get."""
    return lambda: _bare_loop(task, task.loader(), lambda outputs, batch: F.cross_entropy(outputs, batch[1]))


def bare_online(task: Task) -> Way:
    """Bare distillation loop over tensors in memory, the teacher run in every step."""

    def objective(outputs: Tensor, batch: tuple[Tensor, ...]) -> Tensor:
        with torch.no_grad():
            teacher_logits = task.teacher(batch[0])
        soft = F.kl_div(
            F.log_softmax(outputs / TEMPERATURE, dim=1),
            F.softmax(teacher_logits / TEMPERATURE, dim=1),
            reduction="batchmean",
        )
        return SOFT_WEIGHT * TEMPERATURE**2 * soft + HARD_WEIGHT * F.cross_entropy(outputs, batch[1])

    return lambda: _bare_loop(task, task.batches(), objective)


def _bare_loop(task: Task, batches: Any, objective: Callable[[Tensor, Any], Tensor]) -> nn.Module:
    student = task.student()
    optimiser = torch.optim.SGD(student.parameters(), **SGD)
    for batch in batches:
        objective(student(batch[0]), batch).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return student


# Limbeck


def limbeck_online(task: Task) -> Way:
    """`limbeck.training.fit`, the teacher run in every step."""
    teacher = ModuleTeacher(task.teacher)
    return lambda: _limbeck_epoch(task, teacher)


def limbeck_ready(task: Task) -> Way:
    """`limbeck.training.fit` on logits that are ready, in memory."""
    teacher = LogitsTeacher(task.logits)
    return lambda: _limbeck_epoch(task, teacher)


def _limbeck_epoch(task: Task, teacher: Teacher) -> nn.Module:
    samples = Samples("random", torch.arange(len(task.inputs)), task.inputs, task.labels, tuple("0123456789"))
    recipe = TrainConfig(
        num_epochs=1,
        batch_size=BATCH_SIZE,
        learning_rate=SGD["lr"],
        momentum=SGD["momentum"],
        nesterov=SGD["nesterov"],
        schedule="constant",
        weight_decay=0.0,
    )
    objective = Distillation(temperature=TEMPERATURE, hard_weight=HARD_WEIGHT, soft_weight=SOFT_WEIGHT)
    runtime = Runtime.resolve("cpu", "fp32")
    student = task.student()
    fit(student, samples, objective, recipe=recipe, teacher=teacher, views=Views(), runtime=runtime, seed=SEED)
    return student


# torchdistill


def torchdistill_online(task: Task) -> Way:
    """`DistillationBox` with `KDLoss`, the teacher run in every step."""
    return lambda: _torchdistill_epoch("torchdistill", task)


def torchdistill_cached(task: Task) -> Way:
    """torchdistill 1.1.4, `cache_output`: one file per sample, written in an epoch before; 1.1.5 has no cache."""
    sys.path.append(str(task.scratch.parent / "earlier"))
    cache = {"cache_output": str(task.scratch / "torchdistill")}
    _torchdistill_epoch(EARLIER_TORCHDISTILL, task, **cache)
    return lambda: _torchdistill_epoch(EARLIER_TORCHDISTILL, task, **cache)


def _torchdistill_epoch(package: str, task: Task, **loader_options: str) -> nn.Module:
    """The loop of its image classification example, without the meters."""
    config = {
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": lambda dataset: task.order.tolist()},
            "kwargs": {"batch_size": BATCH_SIZE, "num_workers": 0},
            **loader_options,
        },
        "teacher": {"requires_grad": False, "forward_proc": "forward_batch_only"},
        "student": {"requires_grad": True, "forward_proc": "forward_batch_only"},
        "optimizer": {"key": "SGD", "kwargs": dict(SGD)},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": _torchdistill_term()}}},
    }
    device = torch.device("cpu")
    student = task.student()
    box = import_module(f"{package}.core.distillation").get_distillation_box(
        task.teacher,
        student,
        {"train": TensorDataset(task.inputs, task.labels)},
        config,
        device,
        device_ids=None,
        distributed=False,
        lr_factor=1,
    )
    box.pre_epoch_process(epoch=0)
    for inputs, labels, extras in box.train_data_loader:
        loss = box.forward_process(inputs.to(device), labels.to(device), extras)
        box.post_forward_process(loss=loss)
    box.post_epoch_process()
    return student


def _torchdistill_term() -> dict[str, Any]:
    outputs = {
        "student_module_path": ".",
        "student_module_io": "output",
        "teacher_module_path": ".",
        "teacher_module_io": "output",
    }
    weights = {"temperature": TEMPERATURE, "alpha": HARD_WEIGHT, "beta": SOFT_WEIGHT}
    return {"criterion": {"key": "KDLoss", "kwargs": {**outputs, **weights}}, "weight": 1.0}


# TextBrewer


def textbrewer_online(task: Task) -> Way:
    """`GeneralDistiller`, the teacher run in every step."""

    def run() -> nn.Module:
        student = task.student()
        _train_textbrewer(_textbrewer_distiller("GeneralDistiller", task, student), student, task.loader())
        return student

    return run


def textbrewer_fed(task: Task) -> Way:
    """`GeneralDistiller`, its batches carry the teacher's logits (`teacher_cache`)."""

    def with_outputs(batch: list[Tensor]) -> dict[str, Any]:
        inputs, labels, logits = batch
        return {"teacher": (inputs, labels), "student": (inputs, labels), "teacher_cache": logits}

    def run() -> nn.Module:
        student = task.student()
        distiller = _textbrewer_distiller("GeneralDistiller", task, student)
        _train_textbrewer(distiller, student, task.loader(task.logits), batch_postprocessor=with_outputs)
        return student

    return run


def textbrewer_cached(task: Task) -> Way:
    """`BasicDistiller`, `is_caching_logits`: an epoch on its cache, which keeps whole batches in memory."""
    filled = _textbrewer_distiller("BasicDistiller", task, task.student(), is_caching_logits=True)
    for batch in task.loader():
        filled.cache_logits(batch, {}, None)

    def run() -> nn.Module:
        student = task.student()
        distiller = _textbrewer_distiller("BasicDistiller", task, student, is_caching_logits=True)
        distiller.logits_cache = list(filled.logits_cache)
        _train_textbrewer(distiller, student, _NothingLeftToCache(len(filled.logits_cache)))
        return student

    return run


class _InputsOnly(nn.Module):
    """TextBrewer calls a model with the whole batch; ours wants the inputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        outputs: Tensor = self.network(inputs)
        return outputs


@dataclass(frozen=True)
class _NothingLeftToCache:
    """Stands for the loader where the cache is full: ``train`` would fill it first, and only then run its epoch."""

    num_batches: int

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def _textbrewer_distiller(kind: str, task: Task, student: nn.Module, **options: Any) -> Any:
    textbrewer = import_module("textbrewer")
    return getattr(textbrewer, kind)(
        train_config=textbrewer.TrainingConfig(
            device="cpu", log_dir=None, output_dir=str(task.scratch), ckpt_frequency=0
        ),
        distill_config=textbrewer.DistillationConfig(
            temperature=TEMPERATURE,
            kd_loss_weight=SOFT_WEIGHT * TEMPERATURE**2,  # its loss has no T²: see soft_losses
            hard_label_weight=HARD_WEIGHT,
            **options,
        ),
        model_T=_InputsOnly(task.teacher).eval(),  # the mode that it restores afterwards
        model_S=_InputsOnly(student),
        adaptor_T=lambda batch, outputs: {"logits": outputs},
        adaptor_S=lambda batch, outputs: {"logits": outputs, "losses": F.cross_entropy(outputs, batch[1])},
    )


def _train_textbrewer(distiller: Any, student: nn.Module, loader: Any, **options: Any) -> None:
    optimiser = torch.optim.SGD(student.parameters(), **SGD)
    with distiller:
        distiller.train(optimiser, loader, num_epochs=1, **options)


WAYS: tuple[Callable[[Task], Way], ...] = (
    plain,
    plain_loader,
    bare_online,
    limbeck_online,
    limbeck_ready,
    torchdistill_online,
    torchdistill_cached,
    textbrewer_online,
    textbrewer_fed,
    textbrewer_cached,
)
OWN_REFERENCE = {"plain": "plain", "plain_loader": "plain"}  # no teacher
OWN_ORDER = {"textbrewer_cached"}  # shuffles its cached batches
