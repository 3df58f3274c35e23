"""What is tried in one process of Python: numbers at their ends."""

from __future__ import annotations

import random
import warnings

import numpy as np
from report import Part

ENDS = (np.inf, -np.inf, np.nan, 1e38, 1e30, -1e30, 1e-38, 0.0)
MANY_CLASSES, MANY_EVERY = 100_000, 100
TEMPERATURES = (1e-6, 1e-3, 1.0, 1e3, 1e6)


def numbers(part: Part, draw: random.Random, number: int) -> None:
    """Distil from logits and inputs with one end of the numbers among them: a result, or a message that is ours."""
    import torch

    import limbeck
    from limbeck.errors import LimbeckError

    generator = torch.Generator().manual_seed(draw.randrange(1 << 30))
    num_classes = MANY_CLASSES if number % MANY_EVERY == 1 else 3
    inputs, logits = torch.randn(40, 4, generator=generator), torch.randn(40, num_classes, generator=generator)
    where, end = draw.choice((inputs, logits)), draw.choice(ENDS)
    if draw.random() < 0.7:
        where[draw.randrange(40), draw.randrange(3)] = end
    labels = torch.arange(40) % draw.choice((1, 3, 3, 3))
    recipe = limbeck.TrainConfig(num_epochs=1, learning_rate=draw.choice((1e-3, 0.1, 1e10, 1e30)))
    temperature = draw.choice(TEMPERATURES)
    what = f"end {end:g} in {'inputs' if where is inputs else 'logits'}, T {temperature:g}, {recipe.learning_rate:g}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            limbeck.distill(
                "mlp:widths=4",
                limbeck.LogitsTeacher(logits),
                train=(inputs[: draw.choice((1, 40, 40, 40))], labels),
                temperature=temperature,
                recipe=recipe,
                seeds=1,
                progress="silent",
            )
        part.add("a result")
    except LimbeckError:
        part.add("a message")
    except Exception as error:
        part.add("not as promised", f"{what}: {type(error).__name__}: {error}")
