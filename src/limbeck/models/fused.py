"""Several trained networks as one: a weighted mean of their distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from limbeck.errors import InvalidValue, ModelError, unknown_name
from limbeck.models.calling import find_logits

SPEC = "fused"
PREFIX = f"{SPEC}:"
POOLINGS = ("arithmetic", "geometric")


@final
class FusedNetwork(nn.Module):
    r"""K networks that see the same inputs, each perhaps one of them; a weighted mean of their distributions.

    .. math::
        \log q(x) = \log \sum_k w_k \, \mathrm{softmax}(z_k(x)) \qquad\text{(arithmetic)} \\
        \log q(x) = \log \mathrm{softmax}\Big(\sum_k w_k \log \mathrm{softmax}(z_k(x))\Big) \qquad\text{(geometric)}

    The outputs are log-probabilities, which are logits of the mean: softmax leaves them as they are. Weights of an
    arithmetic mean are scaled to a sum of 1; those of a geometric mean are taken as they are, since their sum is how
    sharp the result is.

    Args:
        networks: at least one, each maps the inputs to z_k, (batch, classes).
        weights: w_k >= 0, one each, not all 0; equal ones of sum 1 where not given.
        pooling: "arithmetic" or "geometric".
        specs: what each is built again from, where it is to be saved.
    Raises:
        InvalidValue: no networks, or weights or specs that do not go with them.
    Example:
        >>> fused = FusedNetwork([nn.Linear(4, 2), nn.Linear(4, 2)], weights=[3, 1])
        >>> fused.weights.tolist(), bool(fused(torch.zeros(5, 4)).logsumexp(dim=1).abs().max() < 1e-6)
        ([0.75, 0.25], True)

    References:
        Wu, Chiu, Wu 2019, "Multi-teacher knowledge distillation for compressed video action recognition".
    """

    weights: Tensor

    def __init__(
        self,
        networks: Sequence[nn.Module],
        *,
        weights: Sequence[float] | None = None,
        pooling: str = "arithmetic",
        specs: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise unknown_name("pooling", pooling, POOLINGS)
        equal = torch.full((len(networks),), 1 / max(1, len(networks)))
        given = equal if weights is None else torch.tensor([float(weight) for weight in weights])
        if not networks or len(given) != len(networks) or (specs is not None and len(specs) != len(networks)):
            raise InvalidValue(
                "Every network that is fused needs one weight.",
                received=f"{len(networks)} networks, {len(given)} weights"
                + ("" if specs is None else f", {len(specs)} specs"),
                expected="as many of each, at least one",
            )
        if not bool(given.isfinite().all()) or bool((given < 0).any()) or not bool(given.any()):
            raise InvalidValue(
                "Weights of networks are finite, 0 or more, and not all 0.", received=given.tolist(), expected="w >= 0"
            )
        self.networks = nn.ModuleList(networks)
        self.specs = None if specs is None else tuple(specs)
        self.pooling = pooling
        self.register_buffer("weights", given / given.sum() if pooling == "arithmetic" else given)

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """Return log q, shape (batch, classes), reduced in float32 from half precision."""
        log_probs = torch.stack([_log_softmax(find_logits(one(*inputs, **named))) for one in self.networks])
        weights = self.weights.view(-1, *[1] * (log_probs.dim() - 1))
        if self.pooling == "arithmetic":
            return torch.logsumexp(log_probs + weights.log(), dim=0)
        return torch.log_softmax((weights * log_probs).sum(dim=0), dim=-1)

    def extra_repr(self) -> str:
        """Return the pooling, for ``repr`` and fingerprints."""
        return f"pooling={self.pooling!r}"


def fuse(
    networks: Sequence[nn.Module],
    *,
    weights: Sequence[float] | None = None,
    pooling: str = "arithmetic",
    specs: Sequence[str] | None = None,
) -> FusedNetwork:
    """Return trained networks as one network, in eval mode: see :class:`FusedNetwork`.

    It is saved, loaded, evaluated and exported like any other. Weights that suit are found on validation samples by
    :func:`limbeck.pooling.fit_weights`.

    Args:
        networks: of the same classes.
        weights: one per network, not negative; equal where None.
        pooling: "arithmetic" (of distributions) or "geometric" (of logits).
        specs: names to build the networks by again, for saving.
    """
    fused = FusedNetwork(networks, weights=weights, pooling=pooling, specs=specs)
    return fused.eval()


def fused_specs(text: str) -> tuple[str, ...] | None:
    """Return the members' specs of ``fused:SPEC+SPEC``, one network that adds its members' logits; None for other text.

    Raises:
        InvalidValue: it begins so and has no two members, or one that is itself fused.
    Example:
        >>> fused_specs("fused:on:iframe:convnet+on:motion:convnet"), fused_specs("convnet")
        (('on:iframe:convnet', 'on:motion:convnet'), None)
    """
    if not text.startswith(PREFIX):
        return None
    specs = tuple(text.removeprefix(PREFIX).split("+"))
    if len(specs) < 2 or not all(specs) or any(spec.startswith(PREFIX) for spec in specs):
        raise InvalidValue(
            "This fused network does not name its members.",
            received=text,
            expected="fused:SPEC+SPEC, two or more, such as fused:on:iframe:convnet+on:motion:convnet",
        )
    return specs


def require_specs(network: FusedNetwork) -> tuple[str, ...]:
    """Return what the networks are built again from.

    Raises:
        ModelError: nobody said.
    """
    if network.specs is None:
        raise ModelError(
            "Nothing says what the fused networks are built again from.",
            received="fuse(networks) without specs",
            expected='fuse(networks, specs=["resnet20", ...])',
        )
    return network.specs


def _log_softmax(logits: Tensor) -> Tensor:
    wide = logits.float() if logits.dtype.itemsize < 4 else logits
    return torch.log_softmax(wide, dim=-1)
