"""``doctor``: each problem is found, named with its remedy, and ends with exit code 11."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from tests.e2e.support import Machine, Org, Result, ServerProcess

NOWHERE = {"STRONGHOLD_URL": "http://127.0.0.1:1"}


@pytest.fixture(scope="module")
def token(shared_org: Org) -> str:
    return shared_org.make_agent("CI", {"production": {"KEY": "value"}})


def problems(ended: Result) -> dict[str, dict[str, Any]]:
    """The problems of ``doctor --json`` by name; each has a remedy."""
    found = {each["check"]: each for each in ended.failed(11).json()["checks"] if not each["ok"]}
    assert all(each["remedy"] for each in found.values())
    return found


def checks(ended: Result) -> dict[str, str]:
    """What was found, by name, where all is well."""
    listed = ended.ok().json()["checks"]
    assert all(each["ok"] for each in listed)
    return {each["check"]: each["found"] for each in listed}


@contextmanager
def lying_server(*, protocol: str = "1", ahead: int = 0) -> Iterator[str]:
    """Something that answers every request with this protocol version, and a clock that is ahead."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            self.send_header("Date", formatdate(time.time() + ahead, usegmt=True))
            self.send_header("Stronghold-Protocol", protocol)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Nothing is written."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_unlocked_operator_has_every_sealed_key_checked(org: Org) -> None:
    org.make_agent("CI", {"production": {"KEY": "value"}})
    ended = org.run("doctor", "--json")
    found = checks(ended)
    # Admin, root and the agent's token in the one group; org head, structure and one contents are signed.
    assert "3 signatures and 3 sealed keys" in found["sealed keys"]
    assert "1 group keys and 1 profile keys open" in found["sealed keys"]
    assert found["clock"].startswith("within")
    paths = ended.json()["paths"]
    assert len(paths) >= 5
    text = org.run("doctor").ok().out
    assert all(path in text for path in paths)
    assert org.operator_kit not in text


def test_locked_operator_is_told_what_was_not_looked_at(org: Org) -> None:
    org.run("auth", "lock").ok()
    found = checks(org.run("doctor", "--json"))
    assert "locked" in found["session"]
    assert "sealed keys" not in found


def test_agent_is_told_its_profiles(machine: Machine, token: str) -> None:
    ended = machine.run("doctor", "--json", env={"STRONGHOLD_TOKEN": token})
    found = checks(ended)
    assert found["profiles"] == "production"
    assert "from STRONGHOLD_TOKEN" in found["identity"]
    assert token not in ended.out + ended.err


def test_nobody_is_a_problem(machine: Machine) -> None:
    assert set(problems(machine.run("doctor", "--json"))) == {"identity"}
    assert "problem  identity" in machine.run("doctor").failed(11).out


def test_damaged_token_is_a_problem(machine: Machine, token: str) -> None:
    ended = machine.run("doctor", "--json", env={"STRONGHOLD_TOKEN": token[:-1]})
    assert "damaged" in problems(ended)["identity"]["found"]
    assert token[:-1] not in ended.out + ended.err


def test_expired_token_is_a_problem(machine: Machine, shared_org: Org) -> None:
    end = int(time.time()) + 2
    short = shared_org.make_agent("short", {"production": {"KEY": "value"}}, not_after=end)
    time.sleep(max(0.0, end + 0.5 - time.time()))
    found = problems(machine.run("doctor", "--json", env={"STRONGHOLD_TOKEN": short}))
    assert set(found) == {"agent"}
    assert "expired" in found["agent"]["found"]


def test_agent_without_a_profile_is_a_problem(machine: Machine, shared_org: Org) -> None:
    idle = shared_org.make_agent("idle")
    assert set(problems(machine.run("doctor", "--json", env={"STRONGHOLD_TOKEN": idle}))) == {"profiles"}


def test_token_of_another_server_is_a_problem(
    machine: Machine, token: str, new_server: Callable[..., ServerProcess]
) -> None:
    env = {"STRONGHOLD_TOKEN": token, "STRONGHOLD_URL": new_server().url}
    assert set(problems(machine.run("doctor", "--json", env=env))) == {"agent"}


def test_server_away_is_a_problem(shared_org: Org, machine: Machine, token: str) -> None:
    assert set(problems(shared_org.run("doctor", "--json", env=NOWHERE))) == {"server"}
    assert set(problems(machine.run("doctor", "--json", env={**NOWHERE, "STRONGHOLD_TOKEN": token}))) == {"server"}


@pytest.mark.parametrize(("ahead", "words"), [(300, "behind the server's"), (-300, "ahead of the server's")])
def test_wrong_clock_is_a_problem(org: Org, ahead: int, words: str) -> None:
    org.run("auth", "lock").ok()
    with lying_server(ahead=ahead) as url:
        found = problems(org.run("doctor", "--json", env={"STRONGHOLD_URL": url}))
    assert set(found) == {"clock"}
    assert words in found["clock"]["found"]


def test_other_protocol_is_a_problem(org: Org) -> None:
    with lying_server(protocol="2") as url:
        found = problems(org.run("doctor", "--json", env={"STRONGHOLD_URL": url}))
    assert set(found) == {"server"}
    assert "protocol 2" in found["server"]["found"]


def test_files_and_folders_that_are_open_to_others_are_problems(org: Org) -> None:
    machine = org.machine
    (mark,) = (machine.data / "marks").glob("o-*.json")
    mark.chmod(0o644)
    machine.state.chmod(0o777)
    found = problems(org.run("doctor", "--json"))
    assert found["file"]["remedy"] == f"Run: chmod 600 '{mark}'"
    assert found["state folder"]["remedy"] == f"Run: chmod 700 '{machine.state}'"
    mark.chmod(0o600)
    machine.state.chmod(0o700)
    org.run("doctor").ok()


def test_symlink_among_our_files_is_a_problem(org: Org) -> None:
    (org.machine.data / "tokens").mkdir(mode=0o700)
    (org.machine.data / "tokens" / "elsewhere.json").symlink_to(org.machine.home / "kits")
    assert "no plain file" in problems(org.run("doctor", "--json"))["file"]["found"]


def test_unreadable_mark_is_a_problem_with_the_way_out(org: Org) -> None:
    (mark,) = (org.machine.data / "marks").glob("o-*.json")
    mark.write_text("{}")
    found = problems(org.run("doctor", "--json"))
    assert "auth reset-mark" in found["mark"]["remedy"]
