"""What holds for all tests: the same tree gives the same result, and no run waits for ever.

Property tests draw the same examples in every run. ``pytest --hypothesis-profile default`` draws new ones.

Three guards stand one behind the other. pytest-timeout fails a test after ``timeout`` seconds. Where the test does not
come back to Python, faulthandler ends its process after ``faulthandler_timeout``; xdist then fails the run with the
test's name, because no worker is replaced. Where nobody reports any more, a thread ends the run after ``silence_limit``
seconds and names the tests that had begun.
"""

from __future__ import annotations

import gc
import os
import threading
import time

import pytest
from hypothesis import settings

import axe
import chromium as browser

settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

# Unit tests that run jobs, timings, processes, browsers' pages or large libraries: `make quick` leaves these files out,
# and what is marked slow.
SLOW_FILES = (
    "test_bench_cohort.py",
    "test_bench_combine.py",
    "test_bench_step.py",
    "test_bench_timing.py",
    "test_bench_video.py",
    "test_cli.py",
    "test_cli_clips.py",
    "test_cli_specialists.py",
    "test_cli_store.py",
    "test_collecting.py",
    "test_device_scripts.py",
    "test_distill.py",
    "test_distill_fuse.py",
    "test_distill_mutual.py",
    "test_distill_self.py",
    "test_exits.py",
    "test_experiment.py",
    "test_export.py",
    "test_jobs_ray.py",
    "test_memory.py",
    "test_report.py",
    "test_report_beside.py",
    "test_run_guards.py",
    "test_search.py",
    "test_tasks.py",
    "test_teacher_files.py",
    "test_teacher_outputs.py",
    "test_text_networks.py",
    "test_trackers.py",
    "test_train_specialists.py",
    "test_verify.py",
)
EXIT_CODE_OF_SILENCE = 70
NO_BROWSER = "no Chromium found"
NO_AXE = "no axe-core found"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("silence_limit", "seconds without a word from any test after which the run is ended", default="420")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the process that the user started
        config.pluginmanager.register(_Watchdog(float(config.getini("silence_limit"))), "limbeck-watchdog")


def pytest_collection_finish() -> None:
    gc.freeze()  # half a million objects of imported libraries, which no collection need look at again


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name in SLOW_FILES:
            item.add_marker(pytest.mark.slow)


class _Watchdog:
    """Ends a run in which nothing is reported any more; a thread, for the main one may wait for ever."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._last_word = time.monotonic()
        self._begun: dict[str, None] = {}
        self._stderr = os.dup(2)  # now, while pytest does not capture it
        threading.Thread(target=self._watch, daemon=True).start()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._last_word = time.monotonic()
        self._begun[nodeid] = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._last_word = time.monotonic()
        self._begun.pop(nodeid, None)

    def _watch(self) -> None:
        while time.monotonic() < self._last_word + self._limit_seconds:
            time.sleep(min(1.0, self._limit_seconds / 10))
        tests = ", ".join(self._begun) or "none that had begun"
        line = f"FAILED: no test reported anything for {self._limit_seconds:g} s. Not finished: {tests}\n"
        os.write(self._stderr, line.encode())
        os._exit(EXIT_CODE_OF_SILENCE)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; a test that asks for it is skipped where there is none."""
    path = browser.find()
    if path is None:
        pytest.skip(NO_BROWSER)
    return path


@pytest.fixture(scope="session")
def axe_script() -> str:
    """The text of axe-core; a test that asks for it is skipped where there is none."""
    path = axe.find()
    if path is None:
        pytest.skip(NO_AXE)
    return path.read_text(encoding="utf-8")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.getreports("skipped")
    count = sum(NO_BROWSER in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(f"{count} browser tests were skipped: no Chromium. To get one: {browser.REMEDY}")
    count = sum(NO_AXE in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(f"{count} accessibility tests were skipped: no axe-core. To get it: {axe.REMEDY}")
