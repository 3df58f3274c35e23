"""The test command cannot hang: what ends a worker, or never ends, fails the run within a minute and is named."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 60
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

OTHERS = "\n\n@pytest.mark.parametrize('number', range(6))\ndef test_other(number):\n    time.sleep(0.05)\n"
UNINTERRUPTED = (
    "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})"  # as in code that never comes back to Python
)


def run_pytest(tmp_path: Path, body: str, *options: str) -> tuple[int, str]:
    """Run a generated test beside six others, with the configuration and the conftest of this project."""
    source = f"import os, signal, time\nimport pytest\n\ndef test_in_question():\n    {body}\n{OTHERS}"
    (tmp_path / "test_generated.py").write_text(source)
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    command = [sys.executable, "-m", "pytest", "--config-file", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    command += ["--numprocesses", "2", "--dist", "loadgroup", *options, str(tmp_path)]
    begun = time.monotonic()
    run = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=4 * LIMIT_SECONDS, cwd=tmp_path
    )
    assert time.monotonic() - begun < LIMIT_SECONDS, run.stdout
    return run.returncode, run.stdout


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"], ids=["exit", "SIGKILL"])
def test_a_worker_that_vanishes_fails_the_run_with_the_name_of_its_test(end, tmp_path):
    code, shown = run_pytest(tmp_path, end)
    assert code != 0, shown
    assert "crashed while running" in shown
    assert "FAILED" in shown
    assert "::test_in_question" in shown.partition("short test summary info")[2]
    assert "worker restarting disabled" in shown


def test_a_test_that_hangs_fails_with_its_name_and_the_others_go_on(tmp_path):
    code, shown = run_pytest(tmp_path, "time.sleep(1000)", "-o", "timeout=2")
    assert code == 1, shown
    assert "Timeout" in shown
    assert "::test_in_question" in shown.partition("short test summary info")[2]
    assert "1 failed, 6 passed" in shown


def test_a_test_that_never_comes_back_to_python_ends_its_worker(tmp_path):
    code, shown = run_pytest(
        tmp_path, f"{UNINTERRUPTED}; time.sleep(1000)", "-o", "timeout=2", "-o", "faulthandler_timeout=4"
    )
    assert code != 0, shown
    assert "crashed while running" in shown
    assert "::test_in_question" in shown.partition("short test summary info")[2]


def test_a_run_in_which_nobody_reports_ends_and_names_what_had_begun(tmp_path):
    code, shown = run_pytest(
        tmp_path, f"{UNINTERRUPTED}; time.sleep(1000)", "-o", "timeout=0", "-o", "silence_limit=15"
    )
    assert code == 70, shown
    assert "FAILED: no test reported anything for 15 s" in shown
    assert "::test_in_question" in shown.rpartition("Not finished: ")[2]
