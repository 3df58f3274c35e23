"""Comparing what is stored with what the teachers say now."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from limbeck.data import Samples, Views, counter_bits
from limbeck.errors import StoreError
from limbeck.losses import kl_divergence, tempered_log_softmax
from limbeck.targets import TargetStore
from limbeck.targets.labels_codec import beside_zero
from limbeck.targets.matching import check_samples, check_teachers, check_views
from limbeck.teachers.positions import padded_positions
from limbeck.teachers.precision import Forward
from limbeck.teachers.teacher import Teacher

TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2, "fp16": 1e-2}  # nats, KL(stored || now) at T = 1: rounding of the passes


def compare_outputs(
    store: TargetStore, members: Sequence[Teacher], samples: Samples, views: Views, *, count: int, batch_size: int
) -> float:
    """Return the largest divergence over ``count`` records; see ``verify_store``."""
    plan = store.manifest.plan
    shown = views if plan.num_views is not None else views.clean
    check_teachers(plan, [member.fingerprint for member in members])
    check_samples(plan, samples)
    check_views(plan, shown)
    forward = Forward(members, precision=plan.precision)
    order = torch.argsort(counter_bits(samples.ids, seed=0, stream="store verification")[:, 0])
    worst = 0.0
    num_views = plan.num_views or 1
    for view in range(num_views):
        chosen = order[view::num_views][: -(-count // num_views)]
        for start in range(0, len(chosen), batch_size):
            batch = views.batch(
                samples, chosen[start : start + batch_size], view=None if plan.num_views is None else view
            )
            with torch.no_grad():
                outputs = forward(batch)
            for member, raw in enumerate(outputs):
                codec, logits = store.codecs[member], padded_positions(raw, samples, batch.labels)
                now = codec.decode(codec.encode(logits).cpu()).logits_at(1.0)
                kept = store.targets(batch.ids, view=view, member=member).logits_at(1.0)
                if codec.independent:
                    now, kept = beside_zero(now), beside_zero(kept)
                divergences = kl_divergence(
                    tempered_log_softmax(kept, temperature=1.0), tempered_log_softmax(now, temperature=1.0)
                )
                of_samples = divergences.flatten(1).amax(dim=1) if divergences.ndim > 1 else divergences
                worst = max(worst, float(of_samples.max()))
                if worst > TOLERANCE[plan.precision]:
                    row = int(of_samples.argmax())
                    raise StoreError(
                        f"The store {store.path} does not hold what {members[member].name} says.",
                        received=f"sample id {int(batch.ids[row])}, view {view}: {worst:.4g} nats apart at T = 1",
                        expected=f"at most {TOLERANCE[plan.precision]:g} nats, which rounding explains",
                        remedy="remove the store and collect again",
                    )
    return worst
