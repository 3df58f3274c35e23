"""A training run asks the C library to keep freed memory, unless the user chose otherwise."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from limbeck.memory import set_malloc_thresholds
kept = set_malloc_thresholds()
def step():
    blocks = [torch.ones(int(sys.argv[2])) for _ in range(int(sys.argv[1]))]
for _ in range(8):  # large blocks find their places after some five steps
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


SMALL, LARGE = (8, 600_000), (2, 12_000_000)  # how many blocks of how many floats: of 2.4 MB, of 48 MB


def _run(monkeypatch, blocks=SMALL, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    printed = subprocess.run(
        [sys.executable, "-c", FAULTS, *map(str, blocks)], capture_output=True, text=True, check=True
    ).stdout
    kept, faults = printed.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize("blocks", [SMALL, LARGE])
def test_freed_blocks_are_used_again_without_the_kernel(monkeypatch, blocks):
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    kept, faults = _run(monkeypatch, blocks)
    assert kept
    assert faults < 9_000  # a tenth of 20 x 8 x 586 pages of the small blocks, a fiftieth of the large ones'


@pytest.mark.parametrize(
    "variable",
    [("LIMBECK_MALLOC", "0"), ("MALLOC_TRIM_THRESHOLD_", "131072"), ("GLIBC_TUNABLES", "glibc.malloc.top_pad=1")],
)
def test_the_users_own_choice_stands(monkeypatch, variable):
    kept, _ = _run(monkeypatch, **dict([variable]))
    assert not kept


HELD = """
import torch
from limbeck.memory import return_freed_blocks
made = return_freed_blocks()
held = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
for size in range(1, 32):  # each larger than any before: glibc would map the smaller ones no more
    block = torch.ones(size << 18)
    del block
before = held()
blocks = [torch.ones(1 << 20) for _ in range(32)]
gaps = blocks[::2]  # every second one stays
del blocks
print(made, held() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_blocks_that_a_sharded_network_frees_are_given_back(monkeypatch):
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    printed = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True).stdout
    made, held = printed.split()
    assert made == "True"
    assert int(held) < 20 * (4 << 20)  # 16 blocks of 4 MB are left of 32
