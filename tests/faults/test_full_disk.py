"""A real small disk that is filled up: nothing is given or taken without its entry, and space that comes back is enough."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.client import Customer
from tests.faults.injecting import STORAGE, sentences
from tests.faults.serving import Serving

DISK = 6 << 20
MOST_REQUESTS = 2000


@pytest.fixture
def small_disk(tmp_path: Path, tool_or_skip: Callable[[str], str]) -> Iterator[Path]:
    """A folder on a file system of a few MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mount, umount = tool_or_skip("mount"), tool_or_skip("umount")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(folder)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"this system lets nobody mount: {done.stderr.strip()}")
    yield folder
    subprocess.run([umount, "--lazy", str(folder)], check=True)


def fill(folder: Path, leave: int) -> Path:
    """Take all space but that many bytes."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        free = os.statvfs(folder)
        left = free.f_bavail * free.f_frsize - leave
        while left > 0:
            left -= file.write(bytes(min(left, 1 << 16)))
    return filler


@pytest.mark.parametrize("act", ["pull", "commit"])
def test_full_disk_gives_and_takes_nothing_and_recovers(small_disk: Path, report: Callable[..., None], act: str) -> None:
    serving = Serving(small_disk / "data", small_disk.parent)
    try:
        serving.start()
        customer = Customer(serving, "Acme")
        send = customer.pull if act == "pull" else customer.commit
        filler = fill(small_disk, leave=256 << 10)
        answers = []
        while len(answers) < MOST_REQUESTS and (not answers or answers[-1].status == 200):
            answers.append(send())
        assert len(answers) > 1, "the disk was full before it was used"
        refused = answers[-1]
        assert (refused.status, refused.code) == (503, "STORAGE_FAILED")
        assert b"share" not in refused.body
        assert customer.pull().status in {0, 503}
        assert serving.ends_within(20)
        assert serving.ended() == 1
        assert sentences(serving.said()) == [STORAGE]
        customer.compare()

        serving.spawn()
        started = serving.listens()
        if started:
            while customer.pull().status == 200:  # what the restart freed is used up
                pass
        assert serving.ended() in ({1} if started else {1, 9})
        assert "Traceback" not in serving.said()
        customer.compare()

        filler.unlink()
        serving.start()
        assert customer.commit().status == 200
        assert customer.pull().status == 200
        agreement = customer.compare()
        assert not serving.stop()
        report(test="full disk", act=act, before=len(answers) - 1, entries=agreement.entries, starts_full=started)
    finally:
        serving.kill()
