"""What the docker client reads from ``--env-file``: asked of the client, by a socket that plays the daemon."""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

_ONE_CALLER = threading.Lock()


class _Daemon(BaseHTTPRequestHandler):
    """Answers a ping, and notes the variables of a container that is to be made."""

    made: ClassVar[list[list[str]]] = []

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(b"OK")

    def do_POST(self) -> None:
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.made.append(wanted["Env"])
        self._answer(b'{"Id":"0","Warnings":[]}', 201)

    def _answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Api-Version", "1.45")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body:
            self.wfile.write(body)

    def address_string(self) -> str:
        return "client"

    def log_message(self, *_: object) -> None:
        """Nothing is told of a request."""


def read_env_files(files: Sequence[bytes]) -> list[dict[str, bytes] | None]:
    """For each file the variables that the client sends; ``None`` where it refuses the file. One caller at a time."""
    with _ONE_CALLER, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with socketserver.UnixStreamServer(str(folder / "socket"), _Daemon) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                return [_read(folder, content) for content in files]
            finally:
                server.shutdown()
                thread.join()


def _read(folder: Path, content: bytes) -> dict[str, bytes] | None:
    file = folder / "file.env"
    file.write_bytes(content)
    _Daemon.made.clear()
    environment = {
        "PATH": os.environ["PATH"],
        "DOCKER_HOST": f"unix://{folder}/socket",
        "DOCKER_CONFIG": str(folder),
        "HOME": str(folder),
    }
    subprocess.run(["docker", "create", "--env-file", str(file), "image"], env=environment, capture_output=True, check=False)
    if not _Daemon.made:
        return None
    (variables,) = _Daemon.made
    return {name: value.encode() for name, _, value in (each.partition("=") for each in variables)}
