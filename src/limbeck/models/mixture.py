"""A mixture of experts: a gating network that trains jointly with the experts it chooses between."""

from __future__ import annotations

from functools import partial
from typing import final

import torch
from torch import Tensor, nn

from limbeck.errors import InvalidValue
from limbeck.models.factory import ModelFactory
from limbeck.models.resolve import build
from limbeck.models.spec import ModelSpec
from limbeck.models.weights import load_state


@final
class MixtureOfExperts(nn.Module):
    r"""K networks whose softmaxes are averaged by a gate that sees the same input.

    .. math:: \log q_c(x) = \log \sum_k g_k(x) \, \mathrm{softmax}(z_k(x))_c, \qquad g(x) = \mathrm{softmax}(v(x))

    The outputs are log-probabilities, so that the cross-entropy of :class:`limbeck.objectives.HardLabels` with them is
    the mixture's negative log-likelihood. With :math:`h_k = g_k q_{k,y} / \sum_j g_j q_{j,y}`, the posterior of expert
    k, its gradient is :math:`g_k - h_k` in the gate's logits and :math:`h_k (q_k - y)` in expert k's: an expert learns
    the samples that it explains better than the others do. Every expert runs on every input.

    Args:
        gate: maps inputs (batch, *input_shape) to v, (batch, experts).
        experts: K networks, each maps the same inputs to z_k, (batch, classes).
    Raises:
        InvalidValue: fewer than two experts.
    Example:
        >>> mixture = MixtureOfExperts(nn.Linear(4, 3), [nn.Linear(4, 2) for _ in range(3)])
        >>> log_probs = mixture(torch.zeros(5, 4))
        >>> log_probs.shape, bool(log_probs.logsumexp(dim=1).abs().max() < 1e-6)
        (torch.Size([5, 2]), True)

    References:
        Jacobs, Jordan, Nowlan, Hinton 1991, "Adaptive mixtures of local experts"; Hinton, Vinyals, Dean 2015,
        arXiv:1503.02531, section 7.
    """

    def __init__(self, gate: nn.Module, experts: list[nn.Module]) -> None:
        super().__init__()
        _require_experts(len(experts))
        self.gate = gate
        self.experts = nn.ModuleList(experts)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return log q, shape (batch, classes), reduced in float32 from half precision."""
        log_gates = _log_softmax(self.gate(inputs))  # (batch, experts)
        log_probs = torch.stack([_log_softmax(expert(inputs)) for expert in self.experts], dim=1)
        return torch.logsumexp(log_gates.unsqueeze(2) + log_probs, dim=1)


def mixture_of_experts(
    expert: str, *, num_experts: int, gate: str | None = None, start: nn.Module | None = None
) -> ModelFactory:
    """Return a factory of a mixture of zoo networks, for ``fit`` with ``HardLabels``.

    Args:
        expert: spec of every expert, such as "resnet20".
        num_experts: K, at least 2.
        gate: spec of the gating network, which gets K outputs; the experts' where not given.
        start: a network of the experts' spec, from whose weights all of them start (as specialists start from the
            generalist). They become different because the gate, drawn at random, favours another for each input.
    Returns:
        A factory ``(input_shape, num_classes) -> MixtureOfExperts``, picklable where ``start`` is.
    Raises:
        InvalidValue: fewer than two experts.
        UnknownName: no such network.
        ModelError: when it is called: inputs that the networks cannot take, or a start that does not fit.
    Example:
        >>> factory = mixture_of_experts("mlp:widths=30", num_experts=4, gate="mlp:widths=8")
        >>> mixture = factory(input_shape=(1, 8, 8), num_classes=10, seed=0)
        >>> sum(p.numel() for p in mixture.parameters())  # 4 x 2260 + 556
        9596
    """
    _require_experts(num_experts)
    expert_spec, gate_spec = ModelSpec.parse(expert), ModelSpec.parse(gate or expert)
    name = f"mixture of {num_experts} experts ({expert_spec}), gate {gate_spec}"
    return ModelFactory(name, partial(_build, expert_spec, gate_spec, num_experts, start))


def _build(
    expert: ModelSpec,
    gate: ModelSpec,
    num_experts: int,
    start: nn.Module | None,
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
) -> nn.Module:
    gating = build(gate, input_shape=input_shape, num_classes=num_experts)
    experts = [build(expert, input_shape=input_shape, num_classes=num_classes) for _ in range(num_experts)]
    if start is not None:
        for one in experts:
            load_state(one, start.state_dict(), source="the network to start from")
    return MixtureOfExperts(gating, experts)


def _log_softmax(logits: Tensor) -> Tensor:
    wide = logits.float() if logits.dtype.itemsize < 4 else logits
    return torch.log_softmax(wide, dim=-1)


def _require_experts(num_experts: int) -> None:
    if num_experts < 2:
        raise InvalidValue("A mixture has at least two experts.", received=num_experts, expected="num_experts >= 2")
