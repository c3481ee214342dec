"""Large commits: their blobs go ahead in parts, a cut costs no more than the part it hit, and no share goes ahead."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import IntegrityError, Refused, Unavailable
from stronghold_cli.protocol.messages import decode_ahead, decode_blobs, decode_commit, encode_ahead
from stronghold_cli.vault import ahead as ahead_module
from stronghold_cli.vault.ahead import PART_BYTES, send_ahead
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.groups import create_group
from stronghold_cli.vault.profiles import create_profile, read_secrets, write_secrets
from stronghold_cli.vault.rekeying import rekey
from tests.support.org import TestOrg, workshop

pytestmark = pytest.mark.usefixtures("home")

VALUES = {f"LARGE_{number}": os.urandom(900_000) for number in range(12)}


@pytest.fixture
def org() -> TestOrg:
    return workshop()


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waiting is noted, not done."""
    noted: list[float] = []
    monkeypatch.setattr(send_ahead, "__defaults__", (ahead_module.silent, noted.append))
    return noted


class Wire:
    """Keeps what is sent. Where it is told to, it breaks off before or after the server took the part, or sends it twice."""

    def __init__(self, org: TestOrg) -> None:
        self.parts: list[list[bytes]] = []
        self.commits: list[bytes] = []
        self.breaks: Callable[[int], str] = lambda _: ""
        self.passed_on = org.server._answer
        org.server._answer = self  # type: ignore[method-assign, assignment]

    def __call__(self, path: str, query: object, body: bytes, key_id: object) -> bytes:
        if path.endswith("/commits"):
            self.commits.append(body)
        if not path.endswith("/blobs") or not body:
            return self.passed_on(path, query, body, key_id)  # type: ignore[arg-type]
        assert len(body) <= PART_BYTES + 100
        how = self.breaks(len(self.parts))
        self.parts.append([digest(blob) for blob in decode_blobs(body)])
        if how == "before":
            raise Unavailable("The connection broke.")
        answer = self.passed_on(path, query, body, key_id)  # type: ignore[arg-type]
        if how == "after":
            raise Unavailable("The connection broke.")
        if how == "twice":
            raise Refused("REPLAYED", "something on the way sent it again")
        return answer


def write(vault: Vault) -> None:
    vault.commit(lambda draft: write_secrets(draft, create_profile(draft, "large"), {}, VALUES))


def read_back(org: TestOrg) -> dict[str, bytes]:
    found = read_secrets(Vault(org.operator()), org.profile("large"))
    return {name: stored.secret.value for name, stored in found.items()}


def test_small_commit_goes_in_one_request(org: TestOrg) -> None:
    wire = Wire(org)
    Vault(org.operator()).commit(lambda draft: create_profile(draft, "small"))
    assert (wire.parts, len(wire.commits)) == ([], 1)


def test_blobs_of_a_large_commit_go_ahead_in_parts_each_once(org: TestOrg) -> None:
    wire, vault, told = Wire(org), Vault(org.operator()), list[tuple[str, int, int]]()
    vault.progress = lambda what, done, total: told.append((what, done, total))
    write(vault)
    sent = [sha256 for part in wire.parts for sha256 in part]
    assert len(wire.parts) > 3
    assert len(sent) == len(set(sent)) >= len(VALUES)
    (commit,) = map(decode_commit, wire.commits)
    assert commit.blobs == ()
    assert read_back(org) == VALUES
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1][1] == told[-1][2] > 12 * 900_000


@pytest.mark.parametrize("how", ["before", "after", "twice"])
def test_after_a_cut_only_what_is_missing_is_sent_again(org: TestOrg, how: str, waits: list[float]) -> None:
    wire = Wire(org)
    wire.breaks = lambda number: how if number == 1 else ""
    org.server.ahead[digest(b"of another device")] = b"of another device"
    write(Vault(org.operator()))
    assert not [target for target in org.server.targets if target.endswith("/blobs-forget")]
    again = set(wire.parts[1]) & {sha256 for part in wire.parts[2:] for sha256 in part}
    assert again == (set(wire.parts[1]) if how == "before" else set())
    assert not set(wire.parts[0]) & {sha256 for part in wire.parts[1:] for sha256 in part}
    assert len(waits) == 1
    assert read_back(org) == VALUES


def test_server_that_stays_away_is_waited_for_and_then_nothing_was_changed(org: TestOrg, waits: list[float]) -> None:
    wire, seq = Wire(org), org.state.seq
    wire.breaks = lambda number: "before" if number else ""
    with pytest.raises(Unavailable, match="so nothing was changed"):
        write(Vault(org.operator()))
    assert 60 <= sum(waits) < 70
    assert (org.state.seq, wire.commits) == (seq, [])


def test_a_re_key_that_was_overtaken_sends_its_parts_once(org: TestOrg) -> None:
    write(Vault(org.operator()))
    wire, large = Wire(org), org.profile("large")
    passed_on = org.server._answer

    def overtake(path: str, query: Any, body: bytes, key_id: Any) -> bytes:
        if path.endswith("/commits") and not wire.commits:
            org.commit(lambda draft: create_group(draft, "more"))
            # Blobs that a commit does not name stay there; what the in-memory server keeps goes with any commit.
            org.server.ahead.update({sha256: org.server.blobs[sha256] for part in wire.parts for sha256 in part})
        return passed_on(path, query, body, key_id)

    org.server._answer = overtake  # type: ignore[method-assign, assignment]
    Vault(org.operator()).commit(lambda draft: rekey(draft, profiles=[large.id]))
    sent = [sha256 for part in wire.parts for sha256 in part]
    assert len(wire.commits) == 2
    assert len(sent) == len(set(sent)) >= len(VALUES)
    assert decode_commit(wire.commits[1]).blobs == ()
    assert (org.profile("large").epoch, read_back(org)) == (2, VALUES)


class NoRoom:
    """A server without room for part 1 and those after it, until ``frees`` blobs of other commits were let go."""

    def __init__(self, org: TestOrg, wire: Wire, frees: int) -> None:
        self.asked, self.forgotten = 0, set[bytes]()
        self.frees, self.org = frees, org
        wire.breaks = self.breaks
        passed_on = org.server._answer

        def note(path: str, query: Any, body: bytes, key_id: Any) -> bytes:
            if path.endswith("/blobs-forget"):
                self.forgotten |= decode_ahead(body)
            return passed_on(path, query, body, key_id)

        org.server._answer = note  # type: ignore[method-assign, assignment]

    def breaks(self, number: int) -> str:
        if number and len(self.forgotten) < self.frees:
            self.asked += 1
            raise Refused("AHEAD_FULL", "no room")
        return ""


def test_where_the_server_has_no_room_the_rest_stays_in_the_commit(org: TestOrg, waits: list[float]) -> None:
    wire = Wire(org)
    full = NoRoom(org, wire, frees=1)
    write(Vault(org.operator()))
    (commit,) = map(decode_commit, wire.commits)
    assert len(wire.parts) == 1
    assert set(wire.parts[0]).isdisjoint(map(digest, commit.blobs))
    assert len(commit.blobs) >= len(VALUES) - len(wire.parts[0])
    assert read_back(org) == VALUES
    assert (full.asked, full.forgotten, waits) == (2, set(), [])


def test_what_earlier_commands_left_makes_room_for_this_one(org: TestOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an interrupted re-key of large profiles could not be carried out again before the next day."""
    monkeypatch.setattr(ahead_module, "_FORGOTTEN_AT_ONCE", 2)
    left = [os.urandom(10) for _ in range(5)]
    org.server.ahead = {digest(blob): blob for blob in left}
    wire = Wire(org)
    full = NoRoom(org, wire, frees=5)
    write(Vault(org.operator()))
    assert (full.asked, full.forgotten) == (1, set(map(digest, left)))
    assert len([target for target in org.server.targets if target.endswith("/blobs-forget")]) == 3
    (commit,) = map(decode_commit, wire.commits)
    assert commit.blobs == ()
    assert read_back(org) == VALUES


def test_another_refusal_ends_the_command(org: TestOrg) -> None:
    def refuse(target: str, body: bytes) -> bytes:
        if target.endswith("/blobs"):
            raise Refused("FORBIDDEN", "no")
        return body

    org.server.forge = refuse
    with pytest.raises(Refused, match="no"):
        write(Vault(org.operator()))


def test_server_that_forgets_a_part_is_not_believed(org: TestOrg) -> None:
    org.server.forge = lambda target, body: encode_ahead([]) if target.endswith("/blobs") else body
    with pytest.raises(IntegrityError, match="sent ahead"):
        write(Vault(org.operator()))
