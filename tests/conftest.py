"""What all tests share: a clean environment, the sizes of property tests, and tools that may be missing."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Generator

import pytest
from hypothesis import HealthCheck, settings

# Examples are the same in every run, so that a red test is red for everybody; `make soak` looks for new ones.
_SLOW_START = [HealthCheck.too_slow]
settings.register_profile(
    "default", max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=_SLOW_START
)
settings.register_profile("soak", max_examples=5000, deadline=None, suppress_health_check=_SLOW_START)
settings.load_profile("default")

IN_CI = os.environ.get("CI") == "true"
# The skips that mean that something could be installed; other reasons (another system, not root) stand.
_INSTALLABLE = ("is not installed", "could not import", "gives no pseudo-terminal")


def pytest_configure(config: pytest.Config) -> None:
    """Forget the caller's identity, token and runner: tests say themselves who acts and where.

    What a script starts in the background ignores Ctrl-C, and so would every program that a test starts and interrupts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        if name.startswith(("STRONGHOLD_", "API_STRONGHOLD_", "GITHUB_")):
            del os.environ[name]


@pytest.fixture(scope="session")
def tool_or_skip() -> Callable[[str], str]:
    """A function that returns the path of a program, or skips the test and says which one is missing."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed (.ci/run installs it)")
        return path

    return find


@pytest.fixture
def terminal_or_skip() -> Generator[tuple[int, int], None, None]:
    """The two ends of a pseudo-terminal (ours, the program's); a chroot without devpts has none to give."""
    try:
        ends = os.openpty()
    except OSError as error:
        pytest.skip(f"this system gives no pseudo-terminal ({error.strerror})")
    try:
        yield ends
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                os.close(end)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In continuous integration a skip for want of a tool is a failure."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        _fail_if_installable(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself as a whole."""
    report = yield
    if IN_CI and report.skipped:
        _fail_if_installable(report)
    return report


def _fail_if_installable(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if any(words in reason for words in _INSTALLABLE):
        report.outcome = "failed"
        report.longrepr = f"skipped in continuous integration: {reason.removeprefix('Skipped: ')}"
