"""What the tests of the commands share: the corpus of fifty, tokens that are wrong in one way, servers that misbehave."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from stronghold_cli.protocol.token import parse_agent_token
from tests.e2e.support import Machine, Org, Result

CORPUS = Path(__file__).parent.parent / "data"
FIFTY_FILE = CORPUS / "fifty.env"
# The corpus as it was written down by hand beside the .env, not as any of our own code reads it.
FIFTY: dict[str, str] = json.loads((CORPUS / "fifty.json").read_text("utf-8"))

# One call of every command that acts as the operator; none of them gets as far as missing what it names.
OPERATOR_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("profile", "create", "new-one"),
    ("profile", "list"),
    ("profile", "show", "production"),
    ("profile", "rename", "production", "new-one"),
    ("profile", "edit", "production", "--description", "new"),
    ("profile", "copy", "production", "new-one"),
    ("profile", "delete", "production", "--yes"),
    ("secret", "set", "NAME", "--file", "value", "--profile", "production"),
    ("secret", "get", "NAME", "--profile", "production"),
    ("secret", "list", "--profile", "production"),
    ("secret", "delete", "NAME", "--profile", "production", "--yes"),
    ("secret", "history", "NAME", "--profile", "production"),
    ("secret", "rollback", "NAME", "--profile", "production", "--yes"),
    ("secret", "restore", "NAME", "--profile", "production", "--yes"),
    ("secret", "purge", "NAME", "--profile", "production", "--yes"),
    ("env", "push", "values.env", "--profile", "production", "--yes"),
    ("env", "pull", "--profile", "production"),
    ("env", "diff", "production", "staging"),
    ("env", "validate", "--require-from", "values.env", "--profile", "production"),
    ("env", "run", "--profile", "production", "--", "true"),
    ("run", "--profile", "production", "--", "true"),
    ("group", "create", "new-one"),
    ("group", "list"),
    ("group", "show", "production"),
    ("group", "add", "production", "--agent", "ci"),
    ("group", "grant", "production", "production"),
    ("group", "rename", "production", "new-one"),
    ("group", "remove", "production", "--agent", "ci", "--yes"),
    ("group", "ungrant", "production", "production", "--yes"),
    ("group", "delete", "production", "--yes"),
    ("access", "list"),
    ("access", "explain", "ci", "production"),
    ("agent", "create", "new-one"),
    ("agent", "list"),
    ("agent", "show", "ci"),
    ("agent", "compromised", "ci", "--yes"),
    ("agent", "delete", "ci", "--yes"),
    ("token", "mint", "ci"),
    ("token", "list"),
    ("token", "revoke", "first", "--yes"),
    ("token", "deprecate", "first"),
    ("token", "undeprecate", "first"),
    ("token", "rotate", "first"),
    ("agent", "rename", "ci", "other"),
    ("agent", "edit", "ci", "--no-expiry"),
    ("agent", "label", "ci", "a=b"),
    ("agent", "pause", "ci"),
    ("agent", "deactivate", "ci"),
    ("agent", "activate", "ci"),
    ("lockdown", "--all", "--reason", "a test"),
    ("lockdown", "list"),
    ("lockdown", "lift", "ld_000000"),
    ("audit", "list"),
    ("audit", "show", "1"),
    ("agent", "exposure", "ci"),
)

_MASK = re.compile(rb"::add-mask::([^\n]*)\n")
T = TypeVar("T")


def with_token(token: str, **more: str | None) -> dict[str, str | None]:
    """The environment of a job that has this token, and further variables."""
    return {"STRONGHOLD_TOKEN": token, **more}


def altered(token: str, **changes: Any) -> str:
    """A well-formed token that differs from another one in some fields."""
    return parse_agent_token(token).replace(**changes).text


def in_parallel(calls: Sequence[Callable[[], T]], at_once: int = 12) -> list[T]:
    """Carry out calls that mostly wait, several at once; the results in their order."""
    with ThreadPoolExecutor(at_once) as pool:
        return [each.result() for each in [pool.submit(call) for call in calls]]


def ids_in(org: Org) -> dict[str, str]:
    """The ids of the org's agents, groups, profiles and tokens (``agent/token``), by name."""
    found = {}
    for noun in ("agent", "group", "profile"):
        for item in org.run("--json", noun, "list").ok().json():
            found[f"{noun} {item['name']}"] = item["id"]
    for item in org.run("--json", "token", "list").ok().json():
        found[f"token {item['agent']}/{item['name']}"] = item["id"]
    return found


def masks_in(stderr: bytes) -> set[bytes]:
    """What GitHub's runner hides after reading this stream, decoded as the runner does."""
    found = _MASK.findall(stderr)
    return {each.replace(b"%0D", b"\r").replace(b"%0A", b"\n").replace(b"%25", b"%") for each in found}


def files_of(folder: Path) -> dict[str, bytes]:
    """Every plain file in a folder, hidden ones too, with its content."""
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file() and not each.is_symlink()}


def shifted_clock(machine: Machine, seconds: int) -> dict[str, str | None]:
    """The environment in which a command of this machine sees a clock that is wrong by ``seconds``."""
    folder = machine.home / f"clock{seconds}"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(
        f"import time\n_right = time.time\ntime.time = lambda: _right() + {seconds}\n", encoding="utf-8"
    )
    return {"PYTHONPATH": f"{folder}{os.pathsep}{machine.environment()['PYTHONPATH']}"}


def unused_port() -> int:
    """A port of the loopback address on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def misbehaving_server(answer: bytes | None) -> Iterator[tuple[str, threading.Event]]:
    """A server that answers every request with these bytes and hangs up; with ``None`` it never answers.

    Gives its ``host:port`` and an event that is set once a request has come.
    """
    asked, over = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(10)
                    connection.recv(1 << 16)
                    asked.set()
                    if answer is None:
                        over.wait()
                    else:
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", asked
        finally:
            over.set()
            thread.join()


def reveals(result: Result, *texts: str) -> list[str]:
    """Which of the texts stand in what a command printed, on either stream."""
    return [each for each in texts if each in result.out or each in result.err]


def push(org: Org, profile: str, values: Mapping[str, str], *options: str) -> Result:
    """Push values into a profile of an org as a JSON file."""
    file = org.machine.file(f"push-{profile}.json", json.dumps(dict(values)))
    return org.run("env", "push", str(file), "--profile", profile, "--yes", *options)
