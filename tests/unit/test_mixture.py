"""A mixture of experts: its formula, its gradients by responsibilities, and experts that divide the inputs."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor, nn, tensor
from torch.testing import assert_close

from limbeck.data import Batch, Samples, Views
from limbeck.errors import InvalidValue, ModelError, UnknownName
from limbeck.jobs import WorkAndSpan, work_and_span
from limbeck.models import MixtureOfExperts, build, fingerprint, load_model, mixture_of_experts, save_model
from limbeck.objectives import HardLabels, count_valid
from limbeck.teachers import ModuleTeacher
from limbeck.training import Runtime, TrainConfig, fit, predict

CPU = Runtime(torch.device("cpu"), "fp32")


class Given(nn.Module):
    """Logits that are parameters, whatever the input."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.logits


def given(num_experts: int = 3, *, batch: int = 4, classes: int = 5, scale: float = 2.0) -> MixtureOfExperts:
    generator = torch.Generator().manual_seed(0)
    widths = [num_experts, *(classes,) * num_experts]
    gate, *experts = (
        Given(scale * torch.randn(batch, width, generator=generator, dtype=torch.float64)) for width in widths
    )
    return MixtureOfExperts(gate, experts)


def slow(mixture: MixtureOfExperts) -> tuple[Tensor, Tensor]:
    """Return q, (batch, classes), and each expert's part of it, (batch, experts, classes), number by number."""
    v = mixture.gate.logits.detach()
    parts = torch.zeros(len(v), v.shape[1], mixture.experts[0].logits.shape[1], dtype=torch.float64)
    for b in range(len(v)):
        for k, expert in enumerate(mixture.experts):
            z = expert.logits.detach()[b]
            for c in range(len(z)):
                parts[b, k, c] = math.exp(v[b, k]) / v[b].exp().sum() * math.exp(z[c]) / z.exp().sum()
    return parts.sum(dim=1), parts


def test_it_is_the_gates_mean_of_the_experts():
    mixture = given()
    expected, _ = slow(mixture)
    assert_close(mixture(torch.zeros(4, 1)).exp(), expected)


def test_gradients_are_those_of_the_responsibilities():
    mixture, labels = given(), tensor([0, 3, 4, 1])
    batch = Batch(ids=torch.arange(4), inputs=torch.zeros(4, 1), labels=labels)
    outputs = mixture(batch.inputs)
    q, parts = slow(mixture)
    loss = HardLabels()(outputs, None, batch).total
    assert_close(loss, -q[torch.arange(4), labels].log().mean(), rtol=1e-6, atol=1e-6)
    HardLabels().backward(outputs, None, batch, counts=count_valid(batch))
    of_label = parts[torch.arange(4), :, labels]  # (batch, experts)
    responsibilities = of_label / of_label.sum(dim=1, keepdim=True)
    gates = torch.softmax(mixture.gate.logits.detach(), dim=1)
    assert_close(mixture.gate.logits.grad, (gates - responsibilities) / 4, rtol=1e-6, atol=1e-8)
    for k, expert in enumerate(mixture.experts):
        wrong = torch.softmax(expert.logits.detach(), dim=1) - nn.functional.one_hot(labels, 5)
        assert_close(expert.logits.grad, responsibilities[:, k : k + 1] * wrong / 4, rtol=1e-6, atol=1e-8)


def test_certain_experts_and_gates_stay_finite_and_half_precision_is_reduced_in_float32():
    mixture = given(scale=300.0)
    outputs = mixture(torch.zeros(4, 1))
    assert outputs.isfinite().all()
    outputs.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in mixture.parameters())
    half = given().half()
    widened = copy.deepcopy(half).float()
    assert half(torch.zeros(4, 1)).dtype == torch.float32
    assert_close(half(torch.zeros(4, 1)), widened(torch.zeros(4, 1)))


def crossed(count: int = 400) -> Samples:
    """Return points whose class is the sign of the second number, turned round where the first is negative."""
    inputs = 2 * torch.rand(count, 2, generator=torch.Generator().manual_seed(0)) - 1
    inputs = inputs[(inputs.abs() > 0.1).all(dim=1)]
    labels = (inputs[:, 0] * inputs[:, 1] > 0).long()
    return Samples("crossed", torch.arange(len(labels)), inputs, labels, ("no", "yes"))


def accuracy(network: nn.Module, samples: Samples) -> float:
    logits = predict(network, samples, Views(), runtime=CPU)
    return float((logits.argmax(dim=1) == samples.labels).double().mean())


def test_linear_experts_divide_a_plane_that_none_of_them_can_class_alone():
    samples, recipe = crossed(), TrainConfig(num_epochs=60, batch_size=32, learning_rate=0.5)
    alone = build("mlp:widths=none", input_shape=(2,), num_classes=2, seed=0)
    fit(alone, samples, HardLabels(), recipe=recipe, runtime=CPU)
    mixture = mixture_of_experts("mlp:widths=none", num_experts=2)(input_shape=(2,), num_classes=2, seed=0)
    fit(mixture, samples, HardLabels(), recipe=recipe, runtime=CPU)
    assert accuracy(alone, samples) < 0.7
    assert accuracy(mixture, samples) > 0.97
    with torch.no_grad():
        chosen = mixture.gate(samples.inputs).argmax(dim=1)
    shares = [float(chosen[side].double().mean()) for side in _halves(samples.inputs)]
    assert any(abs(first - second) > 0.9 for first, second in (shares[:2], shares[2:]))


def _halves(inputs: Tensor) -> list[Tensor]:
    """Return who lies right, left, above and below: either cut makes the task linear."""
    return [inputs[:, 0] > 0, inputs[:, 0] < 0, inputs[:, 1] > 0, inputs[:, 1] < 0]


def test_parameters_are_the_experts_and_the_gates():
    factory = mixture_of_experts("mlp:widths=7", num_experts=3, gate="mlp:widths=none")
    mixture = factory(input_shape=(4,), num_classes=5, seed=0)
    expert = 4 * 7 + 7 + 7 * 5 + 5
    assert sum(parameter.numel() for parameter in mixture.parameters()) == 3 * expert + 4 * 3 + 3
    first, second, _ = (expert.head.weight for expert in mixture.experts)
    assert not torch.equal(first, second)
    own_gate = mixture_of_experts("mlp:widths=7", num_experts=3)(input_shape=(4,), num_classes=5, seed=0)
    assert own_gate.gate.head.weight.shape == (3, 7)


def test_experts_start_from_a_network_and_become_different():
    start = build("mlp:widths=7", input_shape=(2,), num_classes=2, seed=5)
    own = fingerprint(start)
    factory = mixture_of_experts("mlp:widths=7", num_experts=2, start=start)
    mixture = pickle.loads(pickle.dumps(factory))(input_shape=(2,), num_classes=2, seed=0)
    samples = crossed(60)
    with torch.no_grad():
        assert_close(mixture(samples.inputs), torch.log_softmax(start(samples.inputs), dim=1))
    fit(mixture, samples, HardLabels(), recipe=TrainConfig(num_epochs=1, batch_size=16), runtime=CPU)
    first, second = mixture.experts
    assert fingerprint(first) != fingerprint(second)
    assert fingerprint(start) == own
    with pytest.raises(ModelError, match="do not fit"):
        mixture_of_experts("mlp:widths=8", num_experts=2, start=start)(input_shape=(2,), num_classes=2)


def test_a_mixture_is_saved_loaded_and_a_teacher(tmp_path):
    factory = mixture_of_experts("mlp:widths=7", num_experts=2, gate="mlp:widths=3")
    mixture = factory(input_shape=(2,), num_classes=2, seed=0).eval()
    again = factory(input_shape=(2,), num_classes=2, seed=0)
    assert fingerprint(mixture) == fingerprint(again) != fingerprint(factory(input_shape=(2,), num_classes=2, seed=1))
    saved = save_model(
        tmp_path, mixture, spec=factory.path, input_shape=(2,), class_names=("no", "yes"), normalise=None
    )
    loaded = load_model(tmp_path, factory=factory)
    inputs = crossed(20).inputs
    assert (saved, loaded.fingerprint) == (fingerprint(mixture), fingerprint(mixture))
    assert torch.equal(loaded.module(inputs), mixture(inputs))
    targets = ModuleTeacher(loaded.module)(torch.arange(len(inputs)), inputs)
    assert_close(targets.logits_at(1.0).softmax(dim=1), mixture(inputs).exp())
    with pytest.raises(ModelError, match="not of the zoo"):
        load_model(tmp_path)


def test_what_is_no_mixture_is_refused():
    with pytest.raises(InvalidValue, match="at least two"):
        mixture_of_experts("mlp", num_experts=1)
    with pytest.raises(InvalidValue, match="at least two"):
        MixtureOfExperts(nn.Linear(2, 1), [nn.Linear(2, 2)])
    with pytest.raises(UnknownName):
        mixture_of_experts("mlpp", num_experts=2)
    with pytest.raises(UnknownName):
        mixture_of_experts("mlp", num_experts=2, gate="gat")


def test_work_adds_up_and_the_span_is_the_longest():
    assert work_and_span([2.0, 5.0, 3.0]) == WorkAndSpan(num_jobs=3, work_seconds=10.0, span_seconds=5.0)
    assert work_and_span([2.0, 5.0, 3.0]).parallelism == 2.0
    assert work_and_span([4.0]).parallelism == 1.0
    for wrong in ([], [0.0], [1.0, math.inf], [-1.0]):
        with pytest.raises(InvalidValue, match="takes some time"):
            work_and_span(wrong)
