"""The regime of the recipes on compressed clips: ways that can be compared, and the one that validation chooses."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from limbeck.errors import InvalidValue, UnknownName
from limbeck.recipes import compressed_video
from limbeck.recipes.stream_students import Regime


def test_ways_that_are_not_there_are_told():
    with pytest.raises(UnknownName, match="jointly"):
        Regime(ways=("labels", "jointly"))


@pytest.mark.parametrize("ways", [("labels", "joint_labels"), ("own",), ()])
def test_a_way_to_distil_is_compared_with_labels(ways):
    with pytest.raises(InvalidValue, match="compared with others"):
        Regime(ways=ways)


def test_the_way_of_the_highest_mean_validation_accuracy_is_chosen(monkeypatch):
    accuracies = {("own", 0): 0.9, ("own", 1): 0.5, ("equal", 0): 0.8, ("equal", 1): 0.7}
    monkeypatch.setattr(
        compressed_video, "predict", lambda experiment, network, samples: SimpleNamespace(accuracy=accuracies[network])
    )
    told = []
    results = SimpleNamespace(observe=lambda *values: told.append(values))
    experiment = SimpleNamespace(results=results, validation=None)
    assert compressed_video.choose(experiment, {key: key for key in accuracies}) == "equal"
    assert ("own_fused", 1, "validation_accuracy", 0.5, "fraction") in told
