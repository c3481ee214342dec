"""How much of the fault tests is run: ``FAULTS=full`` takes every n-th call and 200 kills, else a few of them.

``FAULTS_REPORT`` names a file to which every test adds its figures, one JSON object per line: ``python -m
tests.faults.report`` makes the tables of docs/reliability.md from it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.serving import Serving


@pytest.fixture
def report() -> Callable[..., None]:
    """A function that adds one line of figures to the report, if one is wanted."""

    def add(**figures: Any) -> None:
        path = os.environ.get("FAULTS_REPORT")
        if path:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(figures) + "\n")

    return add


@pytest.fixture
def strace(tool_or_skip: Callable[[str], str]) -> str:
    """The path of strace, where it is installed and may trace."""
    path = tool_or_skip("strace")
    if subprocess.run([path, "-qq", "-e", "trace=none", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system lets nobody trace a process")
    return path


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """A data folder, and the server process that uses it; ended after the test."""
    server = Serving(tmp_path / "data", tmp_path)
    yield server
    server.kill()
