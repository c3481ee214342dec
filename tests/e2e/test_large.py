"""Large profiles through the real program: thousands of secrets, values of 1 MiB, and a server that dies in the middle."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tests.e2e.support import Machine, Org, ServerProcess, make_org

MIB = 1 << 20


def push(org: Org, profile: str, values: dict[str, str]) -> None:
    path = org.machine.file(f"{profile}.json", json.dumps(values))
    org.run("env", "push", str(path), "--profile", profile, "--yes", seconds=110).ok()


def pull(org: Org, profile: str) -> dict[str, str]:
    found: dict[str, str] = org.run("env", "pull", "-p", profile, "--format", "json", seconds=110).ok().json()
    return found


def kinds(org: Org) -> list[str]:
    """The kinds of the requests that the audit log holds, without the commands' reading."""
    entries = org.run("--json", "audit", "list", "--limit", "1000").ok().json()
    return [entry["kind"] for entry in entries if entry["kind"] in ("blobs", "blobs-ahead", "commit")]


def test_two_thousand_secrets_and_a_value_of_a_mebibyte(org: Org) -> None:
    values = {f"SECRET_{number:04}": os.urandom(24).hex() for number in range(1999)}
    values["LARGEST"] = os.urandom(MIB // 2).hex()
    push(org, "large", values)
    assert pull(org, "large") == values
    assert len(org.run("env", "pull", "-p", "large").ok().out.splitlines()) == 2000


def test_value_of_more_than_a_mebibyte_is_refused(org: Org) -> None:
    path = org.machine.file("over.json", json.dumps({"OVER": "x" * (MIB + 1)}))
    refused = org.run("env", "push", str(path), "--profile", "over", "--yes").failed(2)
    assert "OVER" in refused.err or "1048577" in refused.err
    assert "commit" not in kinds(org)


@pytest.mark.usefixtures("terminal_or_skip")
def test_push_that_takes_longer_than_a_second_shows_a_bar_on_a_terminal(
    new_server: Callable[..., ServerProcess], machine: Machine
) -> None:
    server = new_server()
    make_org(machine, server)
    values = {f"LARGE_{number}": os.urandom(MIB // 2).hex() for number in range(16)}
    path = machine.file("bar.json", json.dumps(values))
    holder = threading.Thread(target=_hold_after_parts, args=(server, len(server.log)))
    holder.start()
    try:
        said = machine.type(
            "env", "push", str(path), "--profile", "bar", "--yes", env={"TERM": "xterm", "COLUMNS": "80"}, seconds=110
        ).ok()
    finally:
        holder.join(60)
    assert "Sending" in said.out
    assert "%" in said.out
    assert "Wrote 16 secrets to 'bar'." in said.out


def test_server_that_is_killed_in_the_middle_gets_the_missing_parts_alone(
    new_server: Callable[..., ServerProcess], machine: Machine
) -> None:
    server = new_server()
    org = make_org(machine, server)
    values = {f"LARGE_{number}": os.urandom(MIB // 2).hex() for number in range(16)}
    push(org, "whole", values)
    undisturbed = kinds(org).count("blobs")
    assert undisturbed >= 8

    killer = threading.Thread(target=_kill_after_parts, args=(server, len(server.log)))
    killer.start()
    try:
        push(org, "cut", values)
    finally:
        killer.join(60)
    assert pull(org, "cut") == values
    seen = kinds(org)
    # A part that arrived is never sent again, answered or not: both pushes have left the same number of entries.
    assert seen.count("blobs") == 2 * undisturbed
    assert seen.count("commit") == 2


def _wait_for_parts(server: ServerProcess, start: int, count: int) -> None:
    deadline = time.monotonic() + 60
    while server.log[start:].count('"event":"blobs"') < count and time.monotonic() < deadline:
        time.sleep(0.002)


def _kill_after_parts(server: ServerProcess, start: int) -> None:
    """Kill the server once it has taken three parts, and start it again on its folder and port a second later."""
    _wait_for_parts(server, start, 3)
    server.stop(signal.SIGKILL)
    time.sleep(1)
    server.start()


def _hold_after_parts(server: ServerProcess, start: int) -> None:
    """Hold the server still for a while once it has taken a part."""
    _wait_for_parts(server, start, 1)
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    server.process.send_signal(signal.SIGCONT)
