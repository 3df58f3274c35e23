"""Whether a store is of what is about to be trained; both values are shown where it is not."""

from __future__ import annotations

import json
from collections.abc import Sequence

from limbeck.data import Samples, Views
from limbeck.errors import StoreError
from limbeck.targets.labels_codec import INDEPENDENT
from limbeck.targets.manifest import Plan

COLLECT_AGAIN = "collect the targets again for what is about to be trained, or train with what the store was made for"


def check_teachers(plan: Plan, fingerprints: Sequence[str] | None) -> None:
    """Raise StoreError unless the store's teachers are these, in this order."""
    stored = [member.fingerprint for member in plan.members]
    if fingerprints is None or list(fingerprints) == stored:
        return
    names = ", ".join(member.name for member in plan.members)
    raise StoreError(
        "The store is of other teachers.",
        received=f"{len(fingerprints)} with fingerprints {', '.join(fingerprints)}",
        expected=f"{len(stored)} ({names}) with fingerprints {', '.join(stored)}",
        remedy=COLLECT_AGAIN,
    )


def check_labels(plan: Plan, samples: Samples | None) -> None:
    """Raise StoreError where one has independent labels, and the other classes that exclude each other."""
    if samples is None:
        return
    kinds = ("classes that exclude each other", "independent labels")
    stored = all(member.parameters.get(INDEPENDENT, False) for member in plan.members)
    if stored != (samples.task == "multi_label"):
        raise StoreError(
            "The store keeps soft targets of another kind than the labels.",
            received=kinds[not stored],
            expected=kinds[stored],
            remedy=COLLECT_AGAIN,
        )


def check_samples(plan: Plan, samples: Samples | None) -> None:
    """Raise StoreError unless the store's ids and raw inputs are those of ``samples``."""
    if samples is None or samples.inputs_fingerprint == plan.inputs_fingerprint:
        return
    raise StoreError(
        "The store is of other samples.",
        received=f"{samples.name}: {len(samples)} samples, fingerprint {samples.inputs_fingerprint}",
        expected=f"{plan.data_name}: {plan.num_samples} samples, fingerprint {plan.inputs_fingerprint}",
        remedy=COLLECT_AGAIN,
    )


def check_views(plan: Plan, views: Views | None) -> None:
    """Raise StoreError unless what ``views`` show is what the store's teachers saw."""
    if views is None or views.fingerprint == plan.views_fingerprint:
        return
    received, expected = views.describe(), plan.views
    differing = [key for key in expected if key != "fingerprint" and received.get(key) != expected[key]]
    raise StoreError(
        "The store is of other views: its teachers did not see the pixels that the student will see.",
        received=_shown(received, differing),
        expected=_shown(expected, differing),
        remedy=COLLECT_AGAIN,
    )


def check_class_names(plan: Plan, class_names: Sequence[str] | None) -> None:
    """Raise StoreError unless the classes are the store's, in its order."""
    if class_names is None or list(class_names) == plan.class_names:
        return
    place = next(
        (i for i, (a, b) in enumerate(zip(class_names, plan.class_names, strict=False)) if a != b),
        min(len(class_names), len(plan.class_names)),
    )
    raise StoreError(
        "The store has other classes, or another order of them.",
        received=f"{len(class_names)} classes; class {place} is {_name(class_names, place)}",
        expected=f"{len(plan.class_names)} classes; class {place} is {_name(plan.class_names, place)}",
        remedy=COLLECT_AGAIN,
    )


def _shown(described: dict[str, object], differing: Sequence[str]) -> str:
    shown = {key: described.get(key) for key in differing}
    return f"{json.dumps(shown, sort_keys=True)}, fingerprint {described.get('fingerprint')}"


def _name(names: Sequence[str], place: int) -> str:
    return repr(names[place]) if place < len(names) else "not there"
