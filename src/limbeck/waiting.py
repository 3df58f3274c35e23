"""Threads that wait for each other leave the processor to others soon."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

SPIN_COUNT = "1000"  # looks at a barrier before a thread sleeps: some microseconds
VARIABLE = "GOMP_SPINCOUNT"  # of GNU's OpenMP, which reads it when torch is loaded
_CHOICES_OF_USER = (VARIABLE, "OMP_WAIT_POLICY")


def spin_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variable that bounds how long torch's threads on the CPU spin; none where the user chose.

    A step of several threads ends each of its parts when the last thread is done; the others look, again and again,
    whether it is. By default GNU's OpenMP lets them look 300,000 times, for milliseconds: where another process holds
    a core that one of them waits for, a step on two threads takes ten times as long as on one. A thread that sleeps
    instead is woken in some microseconds.

    Args:
        environment: in which OMP_WAIT_POLICY or GOMP_SPINCOUNT is the user's choice.
    """
    return {} if any(name in environment for name in _CHOICES_OF_USER) else {VARIABLE: SPIN_COUNT}


def bound_spinning() -> bool:
    """Bound how long this process's threads spin, where torch is not loaded yet; tell whether that was done."""
    wanted = {} if "torch" in sys.modules else spin_environment()
    os.environ.update(wanted)
    return bool(wanted)
