"""The action as a job finds it: a checkout of its own, and a server that it can reach."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import server, shared_org

__all__ = ["server", "shared_org"]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of every file that is, or is about to be, committed."""
    folder = tmp_path_factory.mktemp("actions") / "owner" / "a checkout"
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in filter(None, subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder
