"""Cost of combining a generalist with its specialists: a whole batch against one image after the other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from limbeck.bench.timing import interleaved, machine_facts, seconds_by_way
from limbeck.errors import InvalidValue, require_positive
from limbeck.pooling import active_specialists, combine_specialists

FLOOR = "one_by_one"
SECOND_TARGETS = {"fixed_point": 2.0}  # at the default sizes, on two threads
_FEATURES = 16


def run(
    *,
    num_images: int = 10_000,
    num_classes: int = 200,
    num_specialists: int = 10,
    set_size: int = 40,
    num_looped: int = 200,
    num_rounds: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Time both methods of :func:`limbeck.pooling.combine_specialists`, in turns, on the CPU.

    The floor is the fixed point of one image after the other, on the first ``num_looped`` images; its seconds are of
    these, the ratios per image. Classes are random points; a specialist knows the ``set_size`` nearest to one of them,
    so that sets overlap, and sees an image more clearly than the generalist.

    Args:
        num_images: of a batch.
        num_classes: C.
        num_specialists: K.
        set_size: classes that each specialist knows, below ``num_classes``.
        num_looped: images of the floor, at most ``num_images``.
        num_rounds: how often each way is timed.
        seed: of points and images.
    Returns:
        JSON-able: ``name``, ``settings``, ``active`` (images by number of active specialists), ``disagreement`` (the
        largest difference of a probability between the methods), ``floor``, ``seconds``, ``ratios`` (per image),
        ``targets``, ``second_targets``, ``reached`` and ``machine``.
    Raises:
        InvalidValue: a count that is not above 0, or sizes that do not go together.
    Example:
        >>> result = run(num_images=8, num_classes=6, num_specialists=2, set_size=3, num_looped=2, num_rounds=1)
        >>> list(result["ratios"])
        ['fixed_point', 'gradient']

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 5.5.
    """
    for name, value in (("num_images", num_images), ("num_specialists", num_specialists), ("num_looped", num_looped)):
        require_positive(name, value)
    if not (0 < set_size < num_classes and num_specialists <= num_classes and num_looped <= num_images):
        raise InvalidValue(
            "These sizes do not go together.",
            received=f"{num_classes} classes, {num_specialists} specialists of {set_size}, {num_looped} of "
            f"{num_images} images in the loop",
            expected="0 < set_size < num_classes, num_specialists <= num_classes, num_looped <= num_images",
        )
    generalist, specialists, sets = _outputs(num_images, num_classes, num_specialists, set_size, seed)

    def one_by_one() -> None:
        for i in range(num_looped):
            combine_specialists(generalist[i : i + 1], [logits[i : i + 1] for logits in specialists], sets)

    def whole(method: Any) -> Tensor:
        return combine_specialists(generalist, specialists, sets, method=method)

    ways = {
        FLOOR: one_by_one,
        "fixed_point": lambda: whole("fixed_point"),
        "gradient": lambda: whole("gradient"),
    }
    timings = interleaved(ways, num_rounds=num_rounds, warmup=1)
    share = num_looped / num_images
    ratios = {name: share * timings[name].ratio_to(timings[FLOOR]) for name in ways if name != FLOOR}
    apart = (whole("fixed_point").exp() - whole("gradient").exp()).abs().max()
    return {
        "name": "combine",
        "settings": {
            "num_images": num_images,
            "num_classes": num_classes,
            "num_specialists": num_specialists,
            "set_size": set_size,
            "num_looped": num_looped,
            "num_rounds": num_rounds,
            "seed": seed,
            "dtype": "float32",
        },
        "active": torch.bincount(active_specialists(generalist, sets).sum(dim=1)).tolist(),
        "disagreement": float(apart),
        "floor": f"the fixed point of {num_looped} images, one after the other, per image",
        "seconds": seconds_by_way(timings),
        "ratios": ratios,
        "targets": {},
        "second_targets": dict(SECOND_TARGETS),
        "reached": {name: timings[name].median_seconds <= target for name, target in SECOND_TARGETS.items()},
        "machine": machine_facts(),
    }


def _outputs(
    num_images: int, num_classes: int, num_specialists: int, set_size: int, seed: int
) -> tuple[Tensor, list[Tensor], list[list[int]]]:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(num_classes, _FEATURES, generator=generator)
    labels = torch.randint(0, num_classes, (num_images,), generator=generator)
    images = points[labels] + 0.9 * torch.randn(num_images, _FEATURES, generator=generator)
    centres = torch.randperm(num_classes, generator=generator)[:num_specialists]
    sets = [(points - points[centre]).norm(dim=1).argsort()[:set_size].tolist() for centre in centres]
    specialists = []
    for members in sets:
        logits = 0.7 * images @ points.T + 0.3 * torch.randn(num_images, num_classes, generator=generator)
        outside = [c for c in range(num_classes) if c not in members]
        specialists.append(torch.cat([logits[:, members], logits[:, outside].logsumexp(dim=1, keepdim=True)], dim=1))
    return 0.5 * images @ points.T, specialists, sets
