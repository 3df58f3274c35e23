"""The test command cannot hang: what ends a worker, or never ends, fails the run within a minute and is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 60
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
    pytest.mark.xdist_group("run guards"),  # all cases are started once
]

OTHERS = "\n\n@pytest.mark.parametrize('number', range(6))\ndef test_other(number):\n    time.sleep(0.05)\n"
UNINTERRUPTED = (
    "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})"  # as in code that never comes back to Python
)


CASES = {  # name: what the test in question does, and options of pytest
    "exit": ("os._exit(0)", ()),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)", ()),
    "hangs": ("time.sleep(1000)", ("-o", "timeout=2")),
    "never comes back": (
        f"{UNINTERRUPTED}; time.sleep(1000)",
        ("-o", "timeout=2", "-o", "faulthandler_timeout=4"),
    ),
    "silence": (f"{UNINTERRUPTED}; time.sleep(1000)", ("-o", "timeout=0", "-o", "silence_limit=15")),
}


def start(folder: Path, body: str, *options: str) -> subprocess.Popen[str]:
    """Start a generated test beside six others, with the configuration and the conftest of this project."""
    source = f"import os, signal, time\nimport pytest\n\ndef test_in_question():\n    {body}\n{OTHERS}"
    (folder / "test_generated.py").write_text(source)
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    command = [sys.executable, "-m", "pytest", "--config-file", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    command += ["--numprocesses", "2", "--dist", "loadgroup", *options, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, tuple[int, str]]:
    """Exit code and output of all cases, which wait for their limits side by side; of silence afterwards, alone."""
    together = [name for name in CASES if name != "silence"]
    return ended_runs(together, tmp_path_factory) | ended_runs(["silence"], tmp_path_factory)


def ended_runs(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    begun = time.monotonic()
    started = {name: start(tmp_path_factory.mktemp("run"), CASES[name][0], *CASES[name][1]) for name in names}
    ended = {}
    for name, process in started.items():
        try:
            shown, _ = process.communicate(timeout=max(1, LIMIT_SECONDS - (time.monotonic() - begun)))
        except subprocess.TimeoutExpired:
            process.kill()
            shown = f"not ended within {LIMIT_SECONDS} s"
        ended[name] = (process.returncode or 0, shown)
    return ended


@pytest.mark.parametrize("end", ["exit", "SIGKILL"])
def test_a_worker_that_vanishes_fails_the_run_with_the_name_of_its_test(end, runs):
    code, shown = runs[end]
    assert code != 0, shown
    assert "crashed while running" in shown
    assert "FAILED" in shown
    assert "::test_in_question" in shown.partition("short test summary info")[2]
    assert "worker restarting disabled" in shown


def test_a_test_that_hangs_fails_with_its_name_and_the_others_go_on(runs):
    code, shown = runs["hangs"]
    assert code == 1, shown
    assert "Timeout" in shown
    assert "::test_in_question" in shown.partition("short test summary info")[2]
    assert "1 failed, 6 passed" in shown


def test_a_test_that_never_comes_back_to_python_ends_its_worker(runs):
    code, shown = runs["never comes back"]
    assert code != 0, shown
    assert "crashed while running" in shown
    assert "::test_in_question" in shown.partition("short test summary info")[2]


def test_a_run_in_which_nobody_reports_ends_and_names_what_had_begun(runs):
    code, shown = runs["silence"]
    assert code == 70, shown
    assert "FAILED: no test reported anything for 15 s" in shown
    assert "::test_in_question" in shown.rpartition("Not finished: ")[2]


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="not distributed")
def test_a_group_of_tests_goes_to_one_worker(request):
    assert request.node.nodeid.endswith("@run guards"), "this pytest and this pytest-xdist do not fit together"
