"""The Dockerfile has no finding of its linter; the image itself is built and tested in `tests/container`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_dockerfile_has_no_finding(tool_or_skip: Callable[[str], str]) -> None:
    linting = subprocess.run(
        [tool_or_skip("hadolint"), "Dockerfile"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (linting.returncode, linting.stdout) == (0, "")
