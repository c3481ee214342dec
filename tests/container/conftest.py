"""One image for all tests of it, built once for all of pytest's processes; a pod for each test."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.container.containers import Container, Image, Pod

REPOSITORY = Path(__file__).parents[2]
TOOLS = ("buildah", "debootstrap", "nsenter", "setpriv", "unshare")
BUILD_SECONDS = 500


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, tool_or_skip: Callable[[str], str]) -> Iterator[Image]:
    """The image of this working tree, or the archive that the variable IMAGE names."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("building and running an image without a container engine takes root")
    for tool in TOOLS:
        tool_or_skip(tool)
    given = os.environ.get("IMAGE")
    archive = Path(given) if given else built_once(tmp_path_factory.getbasetemp())
    folder = tmp_path_factory.mktemp("image")
    yield Image(archive, folder)
    shutil.rmtree(folder)


def built_once(basetemp: Path) -> Path:
    """The archive, built by whichever of pytest's processes comes first."""
    shared = basetemp.parent if "PYTEST_XDIST_WORKER" in os.environ else basetemp
    archive = shared / "stronghold-image.tar"
    with (shared / "stronghold-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            building = subprocess.run(
                [REPOSITORY / ".ci/build-image", archive],
                env={**os.environ, "TMPDIR": str(shared)},
                capture_output=True,
                text=True,
                check=False,
                timeout=BUILD_SECONDS,
            )
            assert building.returncode == 0, building.stderr
            print(building.stderr)
    return archive


@pytest.fixture
def run(image: Image) -> Iterator[Callable[..., Container]]:
    """A function that starts a container in this test's pod."""
    pod, started = Pod(), []

    def start(*words: str, **settings: object) -> Container:
        started.append(Container(image, pod, *words, **settings))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for container in started:
        container.end()
    pod.end()
