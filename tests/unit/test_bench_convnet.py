"""A convnet's epoch is timed against a bare loop in a process of its own, and a process that dies is told."""

from __future__ import annotations

import pytest

from limbeck.bench import convnet
from limbeck.errors import ModelError


@pytest.mark.slow
def test_both_processes_run_their_epochs():
    result = convnet.run(num_samples=8, num_rounds=1)
    assert set(result["seconds"]) == {"stock", "supervised"}
    assert all(value["median"] > 0 for value in result["seconds"].values())
    assert result["ratios"]["supervised"] > 0


@pytest.mark.slow
def test_a_process_that_ends_is_told():
    with pytest.raises(ModelError, match="has ended"), convnet._Child("ours", num_samples=0, seed=0):
        pass
