"""A container image run without a container engine: the archive's layers unpacked, its configuration kept to the letter.

A ``Pod`` is a network of its own, with nothing but loopback, so that a server may listen on all addresses. A container has
mounts, processes, host name and IPC of its own, the image's root read-only, a fresh /dev, and the image's user, environment,
working folder and entry point; it can gain no privilege. Control groups and seccomp are an engine's and are not here.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SECONDS = 40
_LOOPBACK_UP = """
import fcntl, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    request = struct.pack("16sH14x", b"lo", 1)
    fcntl.ioctl(any_socket, 0x8914, request)
print("up", flush=True)
sys.stdin.read()
"""


class Image:
    """An image archive as ``docker save`` writes it, unpacked into ``folder``."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self.archive = folder / "archive"
        with tarfile.open(archive) as tar:
            tar.extractall(self.archive, filter="data")
        (manifest,) = json.loads((self.archive / "manifest.json").read_text())
        self.configuration: dict[str, Any] = json.loads((self.archive / manifest["Config"]).read_text())
        self.config: dict[str, Any] = self.configuration["config"]
        self.layers = [self.archive / name for name in manifest["Layers"]]
        self.root = folder / "root"
        self.root.mkdir()
        for layer in self.layers:
            self._unpack(layer)

    def _unpack(self, layer: Path) -> None:
        command = ["tar", "--numeric-owner", "-xpf", str(layer), "-C", str(self.root)]
        subprocess.run(command, check=True)
        for mark in list(self.root.rglob(".wh.*")):
            gone = mark.with_name(mark.name.removeprefix(".wh."))
            shutil.rmtree(gone) if gone.is_dir() and not gone.is_symlink() else gone.unlink(missing_ok=True)
            mark.unlink()

    @property
    def user(self) -> tuple[int, int]:
        """The numbers of user and group."""
        user, group = self.config["User"].split(":")
        return int(user), int(group)

    @property
    def environment(self) -> dict[str, str]:
        """What the image sets, and HOME, as engines take it from the image's own list of users."""
        given = dict(entry.split("=", 1) for entry in self.config["Env"])
        rows = (row.split(":") for row in (self.root / "etc/passwd").read_text().splitlines())
        (home,) = [row[5] for row in rows if row[2] == str(self.user[0])]
        return {**given, "HOME": home}


class Pod:
    """A network of its own, for the containers that share it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-c", _LOOPBACK_UP], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"up\n"
        self.network = f"/proc/{self._process.pid}/ns/net"

    def end(self) -> None:
        """Let the network go."""
        self._process.communicate(timeout=SECONDS)


class Container:
    """One container of ``image``: ``words`` stand where `docker run IMAGE …` has them.

    ``volumes`` are folders of this machine by the path inside; ``entrypoint`` replaces the image's.
    """

    def __init__(
        self,
        image: Image,
        pod: Pod,
        *words: str,
        volumes: Mapping[str, Path] | None = None,
        environment: Mapping[str, str] | None = None,
        entrypoint: list[str] | None = None,
    ) -> None:
        self._image = image
        self._environment = {**image.environment, **(environment or {})}
        command = [*(entrypoint or image.config["Entrypoint"]), *(words or image.config["Cmd"])]
        user, group = image.user
        inside = ["chroot", f"--userspec={user}:{group}", "--groups=", str(image.root), *self._started(command)]
        script = "\n".join([*self._mounts(volumes or {}), f"exec setpriv --no-new-privs {shlex.join(inside)}"])
        unshare = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
        self.process = subprocess.Popen(
            ["nsenter", f"--net={pod.network}", *unshare, "sh", "-ec", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def _mounts(self, volumes: Mapping[str, Path]) -> list[str]:
        root = shlex.quote(str(self._image.root))
        lines = [
            *(f"mkdir -p {root}{shlex.quote(at)}" for at in volumes),
            f"mount --bind {root} {root}",
            f"mount -o remount,bind,ro,nosuid {root}",
            f"mount -t proc -o nosuid,nodev,noexec proc {root}/proc",
            f"mount -t tmpfs -o mode=0755,nosuid tmpfs {root}/dev",
            f"mkdir -m 1777 {root}/dev/shm",
        ]
        for name in ("null", "zero", "random", "urandom"):
            lines += [f"touch {root}/dev/{name}", f"mount --bind /dev/{name} {root}/dev/{name}"]
        lines += [f"mount --bind {shlex.quote(str(path))} {root}{shlex.quote(at)}" for at, path in volumes.items()]
        return lines

    def _started(self, command: list[str]) -> list[str]:
        """The command with the image's environment and working folder and nothing else."""
        variables = [f"{name}={value}" for name, value in self._environment.items()]
        return ["/usr/bin/env", "-i", f"--chdir={self._image.config['WorkingDir']}", *variables, *command]

    @property
    def init(self) -> int:
        """The id, on this machine, of the container's process 1."""
        (child,) = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(child)

    def read_until(self, text: str) -> str:
        """Standard output until ``text`` is in it."""
        assert self.process.stdout is not None
        said, deadline = b"", time.monotonic() + SECONDS
        while text.encode() not in said:
            assert time.monotonic() < deadline, said
            if select.select([self.process.stdout], [], [], 1)[0]:
                piece = os.read(self.process.stdout.fileno(), 1 << 16)
                assert piece, (said, self.wait())
                said += piece
        return said.decode()

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one more command in the container, as `docker exec` does."""
        user, group = self._image.user
        enter = ["nsenter", "--target", str(self.init), "--mount", "--uts", "--ipc", "--net", "--pid", "--root"]
        return subprocess.run(
            [*enter, f"--setgid={group}", f"--setuid={user}", *self._started(list(command))],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def signal(self, number: int) -> None:
        """Send a signal to process 1, as `docker stop` does."""
        os.kill(self.init, number)

    def wait(self) -> tuple[int, str, str]:
        """Exit code, the rest of standard output, and standard error."""
        out, errors = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out.decode(), errors.decode()

    def end(self) -> None:
        """Kill what is left: with process 1 goes everything in the container, and what waits for it here."""
        if self.process.poll() is None:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            for process in (*children, self.process.pid):
                os.kill(int(process), signal.SIGKILL)
        self.process.communicate(timeout=SECONDS)
