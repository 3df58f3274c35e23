"""Cost of the soft-target loss, forward and backward, against the conventional way over two softmaxes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from limbeck.bench.timing import interleaved, machine_facts, reached, seconds_by_way
from limbeck.errors import require_positive
from limbeck.losses import soft_target_loss

FLOOR = "conventional"
TARGETS = {"ready_probabilities": 0.33, "from_logits": 0.50}  # of the floor's median


def run(
    *, batch_size: int = 256, num_classes: int = 14_000, temperature: float = 4.0, num_rounds: int = 20, seed: int = 0
) -> dict[str, Any]:
    """Time three ways to the same gradient, in turns, on the CPU with torch's present number of threads.

    Args:
        batch_size: examples.
        num_classes: classes; 14,000 is the size of section 4 of arXiv:1503.02531.
        temperature: T > 0, dimensionless.
        num_rounds: how often each way is timed.
        seed: of the normal logits, standard deviation 3.
    Returns:
        JSON-able: ``name``, ``settings``, ``floor``, ``seconds`` (median and quartiles per way), ``ratios`` (median
        over the floor's median), ``targets``, ``reached`` (per target) and ``machine``.
    Raises:
        InvalidValue: a size or the temperature that is not above 0.
    Example:
        >>> result = run(batch_size=4, num_classes=10, num_rounds=2)
        >>> list(result["seconds"])
        ['conventional', 'ready_probabilities', 'from_logits']

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, sections 2 and 4.
    """
    require_positive("batch_size", batch_size)
    require_positive("num_classes", num_classes)
    require_positive("temperature", temperature)
    generator = torch.Generator().manual_seed(seed)
    student = (3 * torch.randn(batch_size, num_classes, generator=generator)).requires_grad_()
    teacher = 3 * torch.randn(batch_size, num_classes, generator=generator)
    probs = torch.softmax(teacher / temperature, dim=-1)

    def conventional() -> None:
        student.grad = None
        log_q = F.log_softmax(student / temperature, dim=-1)
        p = F.softmax(teacher / temperature, dim=-1)
        loss = temperature * temperature * F.kl_div(log_q, p, reduction="batchmean")
        loss.backward()  # type: ignore[no-untyped-call]

    def ready_probabilities() -> None:
        student.grad = None
        loss = soft_target_loss(student, teacher_probs=probs, temperature=temperature).mean()
        loss.backward()  # type: ignore[no-untyped-call]

    def from_logits() -> None:
        student.grad = None
        loss = soft_target_loss(student, teacher, temperature=temperature).mean()
        loss.backward()  # type: ignore[no-untyped-call]

    functions = {FLOOR: conventional, "ready_probabilities": ready_probabilities, "from_logits": from_logits}
    timings = interleaved(functions, num_rounds=num_rounds)
    floor_seconds = timings[FLOOR].median_seconds
    ratios = {name: timings[name].median_seconds / floor_seconds for name in TARGETS}
    return {
        "name": "loss",
        "settings": {
            "batch_size": batch_size,
            "num_classes": num_classes,
            "temperature": temperature,
            "num_rounds": num_rounds,
            "seed": seed,
            "dtype": "float32",
        },
        "floor": "T² F.kl_div(F.log_softmax(z / T), F.softmax(v / T), reduction='batchmean') and its backward",
        "seconds": seconds_by_way(timings),
        "ratios": ratios,
        "targets": dict(TARGETS),
        "reached": reached(ratios, TARGETS),
        "machine": machine_facts(),
    }
