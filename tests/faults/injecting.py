"""System calls that fail on demand: ``strace -e inject``, on a server as it starts or while it serves.

strace counts the matching calls of each thread by itself, so ``nth`` is the n-th call of whichever thread makes that many:
in a serving process the store's writer thread writes and flushes, readers read in the threads that plan.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from stronghold_cli.protocol.record import Record
from tests.faults.serving import FULL, SECONDS, Serving, database_files

_INJECTED = re.compile(r"^[0-9]+ +([a-z0-9_]+)\(.*\(INJECTED", re.MULTILINE)
STORAGE = "the storage failed: nothing more is written, and the server ends; look at the disk and start it again"


class Fault(Record):
    """One way in which a call fails; ``effect`` as strace writes it: ``error=EIO`` or ``signal=KILL``."""

    call: str
    effect: str

    def __str__(self) -> str:
        return f"{self.call}-{self.effect.partition('=')[2]}"


WRITES = (
    Fault(call="fdatasync", effect="error=EIO"),
    Fault(call="fdatasync", effect="error=ENOSPC"),
    Fault(call="fdatasync", effect="signal=KILL"),
    Fault(call="pwrite64", effect="error=EIO"),
    Fault(call="pwrite64", effect="error=ENOSPC"),
    Fault(call="pwrite64", effect="signal=KILL"),
    Fault(call="ftruncate", effect="error=EIO"),
)
READS = (Fault(call="pread64", effect="error=EIO"),)
NAMES = (Fault(call="fsync", effect="error=EIO"), Fault(call="fsync", effect="signal=KILL"))

MOST = 1000  # a run that meets more calls than that is no run of a fixed piece of work
SHORT = {"fdatasync": (1, 5), "fsync": (1, 3), "pwrite64": (2, 9), "ftruncate": (1,), "pread64": (1,)}


def nth_calls(fault: Fault) -> Iterable[int]:
    """Which calls fail, one in each run: all until a run ends without having met it, or a few."""
    return range(1, MOST) if FULL else SHORT[fault.call]


def sentences(said: str) -> list[str]:
    """The sentences on the storage in the log of a server that ended; nothing but log lines may stand beside them."""
    messages = [str(json.loads(line)["message"]) for line in said.splitlines()]
    assert set(messages) <= {"a request failed", "housekeeping failed", STORAGE}, said
    return [message for message in messages if message == STORAGE]


class Injection:
    """One fault at the n-th call on the database's files or folder."""

    def __init__(self, strace: str, serving: Serving, fault: Fault, nth: int) -> None:
        self._serving = serving
        self._output = serving.errors.with_name("strace")
        self._output.write_bytes(b"")
        paths = [part for path in database_files(serving.folder) for part in ("-P", path)]
        # The log key and the setup code are written under other names first; nothing else of the server calls fsync.
        only = [] if fault.call == "fsync" else paths
        self.command = [
            strace, "-f", "-qq", "-o", str(self._output),
            "-e", f"trace={fault.call}", "-e", f"inject={fault.call}:{fault.effect}:when={nth}", *only,
        ]  # fmt: skip
        self._signals = fault.effect.startswith("signal=")

    @property
    def has_struck(self) -> bool:
        """Whether the n-th call was reached."""
        output = self._output.read_text(errors="replace")
        return "+++ killed by SIGKILL +++" in output if self._signals else _INJECTED.search(output) is not None

    def start(self) -> bool:
        """Start the server with the fault from its first call on; false where it ended instead of listening."""
        self._serving.spawn(*self.command, "-D")
        return self._serving.listens()

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Inject into the server that runs, and let go of it at the end."""
        process = subprocess.Popen([*self.command, "-p", str(self._serving.pid)])
        try:
            self._wait_for_all_threads()
            yield
        finally:
            process.terminate()
            process.wait(SECONDS)

    def _wait_for_all_threads(self) -> None:
        deadline = time.monotonic() + SECONDS
        tasks = Path(f"/proc/{self._serving.pid}/task")
        while any("TracerPid:\t0\n" in (task / "status").read_text() for task in tasks.iterdir()):
            assert time.monotonic() < deadline, "strace has not attached"
            time.sleep(0.01)
