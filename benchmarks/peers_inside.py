"""What ``peers.py`` runs in its environment: each library's epoch, timed in turns, and each library's soft loss.

    python peers_inside.py ENVIRONMENT NUM_ROUNDS NUM_SAMPLES    (prints JSON)

Every way trains the same student (784-800-800-10, the same first weights) from the same teacher (784-1200-1200-10) on
the same batches in the same order with the same optimiser (SGD, Nesterov momentum, fused). That it is the same epoch
is measured: the students' weights are compared with those of a bare loop.

The peers get what their documentation shows as the minimal set-up, and every saving that they offer: no log, no
progress bar, no checkpoint, no validation, no schedule. Their data come from a ``TensorDataset`` in memory
through a ``DataLoader`` without workers; ``plain_loader`` shows what that loader alone costs.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from limbeck.bench.timing import interleaved, machine_facts
from limbeck.data import Samples, Views, epoch_order
from limbeck.losses import soft_target_loss
from limbeck.models import build
from limbeck.objectives import Distillation
from limbeck.teachers import LogitsTeacher, ModuleTeacher, Teacher
from limbeck.training import Recipe, Runtime, fit

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
    return lambda: _limbeck_epoch(task, ModuleTeacher(task.teacher))


def limbeck_ready(task: Task) -> Way:
    """`limbeck.training.fit` on logits that are ready, in memory."""
    return lambda: _limbeck_epoch(task, LogitsTeacher(task.logits))


def _limbeck_epoch(task: Task, teacher: Teacher) -> nn.Module:
    samples = Samples("random", torch.arange(len(task.inputs)), task.inputs, task.labels, tuple("0123456789"))
    recipe = Recipe(
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

    def with_answers(batch: list[Tensor]) -> dict[str, Any]:
        inputs, labels, logits = batch
        return {"teacher": (inputs, labels), "student": (inputs, labels), "teacher_cache": logits}

    def run() -> nn.Module:
        student = task.student()
        distiller = _textbrewer_distiller("GeneralDistiller", task, student)
        _train_textbrewer(distiller, student, task.loader(task.logits), batch_postprocessor=with_answers)
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
        model_T=_InputsOnly(task.teacher),
        model_S=_InputsOnly(student),
        adaptor_T=lambda batch, outputs: {"logits": outputs},
        adaptor_S=lambda batch, outputs: {"logits": outputs, "losses": F.cross_entropy(outputs, batch[1])},
    )


def _train_textbrewer(distiller: Any, student: nn.Module, loader: Any, **options: Any) -> None:
    optimiser = torch.optim.SGD(student.parameters(), **SGD)
    with distiller:
        distiller.train(optimiser, loader, num_epochs=1, **options)


# Measuring

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


def measure(folder: Path, *, num_rounds: int, num_samples: int) -> dict[str, Any]:
    """Time every way that runs, in turns; compare the students; check the soft losses. JSON-able."""
    torchvision = declare_torchvision_operators()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        task = Task.random(num_samples, Path(scratch))
        ways, students, not_run = _tried(task)
        timings = interleaved(ways, num_rounds=num_rounds, warmup=1)
    floor_seconds = timings[FLOOR].median_seconds
    packages = ("limbeck", "torchdistill", "textbrewer", "torch", "torchvision")
    return {
        "name": "peers",
        "settings": {
            "num_samples": num_samples,
            "batch_size": BATCH_SIZE,
            "temperature": TEMPERATURE,
            "hard_weight": HARD_WEIGHT,
            "soft_weight": SOFT_WEIGHT,
            "optimiser": "SGD, " + ", ".join(f"{key} {value}" for key, value in SGD.items()),
            "loader": "the peers': TensorDataset in memory, DataLoader, num_workers 0",
            "num_rounds": num_rounds,
            "dtype": "float32",
        },
        "versions": {package: metadata.version(package) for package in packages},
        "torchvision": torchvision,
        "ways": {way.__name__: (way.__doc__ or "").rstrip(".") for way in WAYS},
        "floor": FLOOR,
        "seconds": {
            name: {"median": timing.median_seconds, "low": timing.low_seconds, "high": timing.high_seconds}
            for name, timing in timings.items()
        },
        "ratios": {name: timing.median_seconds / floor_seconds for name, timing in timings.items()},
        "difference": {name: _difference(name, students, task.student()) for name in ways},
        "not_run": not_run,
        "soft_loss": soft_losses(),
        "machine": machine_facts(),
    }


def declare_torchvision_operators() -> str:
    """Make ``import torchvision`` work beside a CPU build of torch; return what was needed.

    torchdistill imports it. PyPI's wheel is built for CUDA: its compiled operators do not load there, and its Python
    part then fails on the schemas that they would have declared. None of these operators is used here.
    """
    tried = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return "imports as it is"
    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)
    error = tried.stderr.strip().splitlines()[-1]
    return f"imports once the schemas of nms and qnms are declared (without: {error})"


_KEPT: list[Any] = []  # a library's declarations end with it


def soft_losses() -> dict[str, dict[str, Any]]:
    """Compare each library's soft term with T² KL(teacher || student), mean over the batch, on a small example.

    The paper's gradient in the student's logits is T (q - p) / batch, written out here. ``gradient_factor`` is what the
    library's gradient is of it (least squares), ``gradient_remainder`` the relative part that no factor explains.
    """
    return {name: _compared(loss) for name, loss in _soft_terms().items()}


def _soft_terms() -> Mapping[str, Callable[[Tensor, Tensor, float], Tensor]]:
    def limbeck(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        return soft_target_loss(student, teacher, temperature=temperature).mean()

    def torchdistill(student: Tensor, teacher: Tensor, temperature: float, *, hard_weight: float = 0.1) -> Tensor:
        kd_loss = import_module("torchdistill.losses.mid_level").KDLoss(
            ".", "output", ".", "output", temperature=temperature, alpha=hard_weight, beta=1.0
        )
        labels = torch.zeros(len(student), dtype=torch.int64)
        total: Tensor = kd_loss({".": {"output": student}}, {".": {"output": teacher}}, labels)
        return total - hard_weight * F.cross_entropy(student, labels)

    def textbrewer(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        loss: Tensor = import_module("textbrewer").KD_LOSS_MAP["ce"](student, teacher, temperature)
        return loss

    return {
        "limbeck `soft_target_loss`": limbeck,
        "torchdistill `KDLoss`, alpha 0.1, beta 1": torchdistill,
        "torchdistill `KDLoss`, alpha 0, beta 1": lambda *given: torchdistill(*given, hard_weight=0.0),
        'TextBrewer `kd_loss_type="ce"`': textbrewer,
    }


def _compared(loss: Callable[[Tensor, Tensor, float], Tensor]) -> dict[str, Any]:
    try:
        return _compared_with_paper(loss, temperature=4.0)
    except Exception as error:  # a peer that cannot be imported, say
        return {"not_run": _one_line(error)}


def _compared_with_paper(loss: Callable[[Tensor, Tensor, float], Tensor], *, temperature: float) -> dict[str, Any]:
    teacher = torch.tensor([[3.0, -1.0, 0.5], [0.0, 2.0, -2.0]], dtype=torch.float64)
    student = torch.tensor([[1.0, 0.0, -1.0], [2.0, -0.5, 0.0]], dtype=torch.float64)
    p, q = (torch.softmax(logits / temperature, dim=1) for logits in (teacher, student))
    paper_value = float(temperature**2 * (p * (p / q).log()).sum(dim=1).mean())
    paper_gradient = temperature * (q - p) / len(p)

    leaf = student.clone().requires_grad_()
    value = loss(leaf, teacher, temperature)
    (gradient,) = torch.autograd.grad(value, leaf)
    factor = float((gradient * paper_gradient).sum() / paper_gradient.square().sum())
    at_agreement = float(loss(teacher, teacher, temperature))
    return {
        "temperature": temperature,
        "value": float(value.detach()),
        "paper_value": paper_value,
        "value_at_agreement": at_agreement,
        "gradient_factor": factor,
        "gradient_remainder": float((gradient - factor * paper_gradient).norm() / paper_gradient.norm()),
        "in_words": _in_words(factor, at_agreement, temperature),
    }


def _in_words(factor: float, at_agreement: float, temperature: float) -> str:
    if abs(factor - 1) < 1e-5:
        gradient = "the paper's gradient"
    elif abs(factor * temperature**2 - 1) < 1e-5:
        gradient = "without T²: the paper's gradient over T²"
    else:
        gradient = f"the paper's gradient times {factor:.4g}"
    return f"{gradient}; " + (
        "zero at agreement"
        if abs(at_agreement) < 1e-6
        else "a cross-entropy: the teacher's entropy is left at agreement"
    )


def _tried(task: Task) -> tuple[dict[str, Way], dict[str, nn.Module], dict[str, str]]:
    """Set up and run each way once: those that run, their students, and why the others do not."""
    ways: dict[str, Way] = {}
    students: dict[str, nn.Module] = {}
    not_run: dict[str, str] = {}
    for set_up in WAYS:
        name = set_up.__name__
        try:
            way = set_up(task)
            students[name] = way()
            ways[name] = way
        except Exception as error:  # a peer may fail in any manner; the table says how
            not_run[name] = _one_line(error)
    return ways, students, not_run


def _difference(name: str, students: dict[str, nn.Module], fresh: nn.Module) -> float | None:
    """Distance between a student and the reference, over the distance that the reference travelled in training."""
    if name in OWN_ORDER:
        return None
    start, student, reference = (
        nn.utils.parameters_to_vector(network.parameters()).detach()
        for network in (fresh, students[name], students[OWN_REFERENCE.get(name, REFERENCE)])
    )
    return float((student - reference).norm() / (reference - start).norm())


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def main() -> None:
    folder, num_rounds, num_samples = itertools.islice(sys.argv, 1, 4)
    print(json.dumps(measure(Path(folder), num_rounds=int(num_rounds), num_samples=int(num_samples))))


if __name__ == "__main__":
    main()
