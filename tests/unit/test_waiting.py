"""Threads spin for a bounded time, unless the user chose how they wait, or torch has been loaded already."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from limbeck.jobs.work import thread_environment
from limbeck.waiting import SPIN_COUNT, VARIABLE, bound_spinning, spin_environment

CHOICES = (VARIABLE, "OMP_WAIT_POLICY")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="GNU's OpenMP")
def test_the_openmp_of_torch_reads_it():
    program = "from limbeck.waiting import bound_spinning; assert bound_spinning(); import torch; torch.ones(1)"
    environment = {name: value for name, value in os.environ.items() if name not in CHOICES}
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{VARIABLE} = '{SPIN_COUNT}'" in run.stderr


@pytest.mark.parametrize("chosen", CHOICES)
def test_what_the_user_chose_stands(chosen):
    assert spin_environment({chosen: "active"}) == {}
    assert spin_environment({}) == {VARIABLE: SPIN_COUNT}


def test_nothing_is_set_where_torch_has_read_it_already(monkeypatch):
    import torch  # noqa: F401

    for name in CHOICES:
        monkeypatch.delenv(name, raising=False)
    assert not bound_spinning()
    assert VARIABLE not in os.environ


def test_processes_of_jobs_get_it(monkeypatch):
    for name in CHOICES:
        monkeypatch.delenv(name, raising=False)
    assert thread_environment(2)[VARIABLE] == SPIN_COUNT
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert VARIABLE not in thread_environment(2)
