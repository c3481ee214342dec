"""Turns: an admin who was overtaken commits before editors do, and never for longer than a minute."""

from __future__ import annotations

import json

import pytest

from stronghold_cli.protocol.state import advance
from stronghold_server.turns import RETRY_AFTER, SECONDS
from tests.server.furnished import Furnished
from tests.server.refusing import add_editor
from tests.server.support import Person, Reply, TestOrg


def write(full: Furnished, author: Person | None = None) -> Reply:
    """One more secret, by the admin or somebody else."""
    draft = full.org.draft(author)
    full.org.put(draft, full.profile, f"SECRET_{full.org.state.seq}", b"x")
    commit = draft.finish()
    reply = full.org.send(commit, author)
    if reply.status == 200:
        full.org.state = advance(full.org.state, commit.changes)
    return reply


def take(full: Furnished, author: Person | None = None) -> Reply:
    return full.org.post(author or full.org.admin, "/turn", b"")


@pytest.fixture
def editor(full: Furnished) -> Person:
    return add_editor(full.org, full)


def test_editors_wait_until_the_admin_has_committed(full: Furnished, editor: Person) -> None:
    assert write(full, editor).status == 200
    assert json.loads(take(full).body) == {"seconds": SECONDS}
    before = full.org.world.log(full.org.org_id)
    held = write(full, editor)
    assert (held.status, held.code, held.headers["retry-after"]) == (429, "RATE_LIMITED", str(RETRY_AFTER))
    assert full.org.world.log(full.org.org_id) == before
    assert write(full).status == 200
    assert write(full, editor).status == 200


def test_a_commit_that_stands_already_is_answered_as_done_also_during_a_turn(full: Furnished, editor: Person) -> None:
    draft = full.org.draft(editor)
    full.org.put(draft, full.profile, "SECRET", b"x")
    commit = draft.finish()
    assert full.org.send(commit, editor).status == 200
    take(full)
    again = full.org.send(commit, editor)
    assert (again.status, json.loads(again.body)["already"]) == (200, True)


def test_a_turn_ends_after_a_minute(full: Furnished, editor: Person) -> None:
    take(full)
    full.org.world.now += SECONDS - 1
    assert write(full, editor).code == "RATE_LIMITED"
    full.org.world.now += 1
    assert write(full, editor).status == 200


def test_a_turn_of_one_org_holds_nobody_back_in_another(full: Furnished, editor: Person) -> None:
    other = TestOrg(full.org.world, "Other").create()
    assert other.post(other.admin, "/turn", b"").status == 200
    assert write(full, editor).status == 200


def test_admins_hold_each_other_back_never_and_end_their_own_turn_alone(full: Furnished, editor: Person) -> None:
    draft = full.org.draft()
    second = full.org.add_person(draft, "Second", "admin")
    full.org.apply(draft)
    take(full)
    assert write(full, second).status == 200
    assert write(full, editor).code == "RATE_LIMITED"
    assert write(full).status == 200
    assert write(full, editor).status == 200


def test_only_admins_take_a_turn_and_what_is_refused_takes_none(full: Furnished, editor: Person) -> None:
    assert take(full, editor).code == "FORBIDDEN"
    assert full.org.post(full.org.admin, "/turn?x=1", b"").code == "MALFORMED"
    assert write(full, editor).status == 200
