"""The commits since a head, told again one by one: each leads exactly to the state that it made."""

from __future__ import annotations

import pytest

from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.messages import Steps, decode_steps
from stronghold_cli.protocol.rules import check_state
from stronghold_cli.protocol.state import OrgState, lay_over, verify_signers
from stronghold_cli.protocol.steps import check_past_step
from stronghold_server import following
from stronghold_server.store.sqlite_reading import SqliteReader
from tests.server.furnished import Furnished
from tests.server.support import Person, TestOrg


def steps(org: TestOrg, known: OrgState, person: Person | None = None) -> Steps:
    reply = org.get(person or org.admin, f"/steps?since={known.seq}&org_seq={known.org.document.seq}")
    assert reply.status == 200, reply.body
    return decode_steps(reply.body)


def busy(full: Furnished) -> list[OrgState]:
    """Commits of all kinds; the state after each, the first one before them."""
    org, states = full.org, [full.org.state]

    def commit(draft: object, author: Person | None = None) -> None:
        org.apply(draft, author)  # type: ignore[arg-type]
        states.append(org.state)

    draft = org.draft()
    editor = org.add_person(draft, "Edna", "editor")
    commit(draft)
    draft = org.draft()
    short_lived = org.add_group(draft, "Short-lived")
    gone = org.add_profile(draft, "gone", short_lived)
    org.put(draft, gone, "A", b"1")
    commit(draft)
    draft = org.draft()
    draft.profiles[full.profile] = draft.profiles[full.profile].replace(editors=(editor.operator_id,))
    commit(draft)
    draft = org.draft(editor)
    org.put(draft, full.profile, "API_KEY", b"newer", full.second_secret)
    commit(draft, editor)
    draft = org.draft()
    org.rekey_group(draft, full.group)
    commit(draft)
    draft = org.draft()
    draft.profiles.pop(gone)
    draft.groups.pop(short_lived)
    commit(draft)
    draft = org.draft()
    org.revoke(draft, full.agent, full.token)
    commit(draft)
    return states


def follow(known: OrgState, found: Steps) -> list[OrgState]:
    states = [known]
    for changes in found.steps:
        states.append(lay_over(states[-1], changes))
        check_state(states[-1], known=states[-2])
        check_past_step(states[-2], states[-1])
    return states


def test_each_commit_leads_to_the_state_that_it_made(full: Furnished) -> None:
    states = busy(full)
    for index, known in enumerate(states):
        found = steps(full.org, known)
        assert found.seq == full.org.state.seq
        followed = follow(known, found)
        assert [state.head.document for state in followed] == [state.head.document for state in states[index:]]
        assert followed[-1] == full.org.state
        verify_signers(followed[-1], known=known)


@pytest.mark.parametrize("limit", ["commits", "bytes"])
def test_a_long_way_is_told_in_parts(full: Furnished, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    states = busy(full)
    monkeypatch.setattr(following, "MAX_STEPS" if limit == "commits" else "MAX_STEP_BYTES", 2 if limit == "commits" else 1)
    state, parts = states[0], 0
    while state.seq < full.org.state.seq:
        found = steps(full.org, state)
        assert len(found.steps) == (2 if limit == "commits" and found.seq > state.seq + 1 else 1)
        state, parts = follow(state, found)[-1], parts + 1
    assert state == full.org.state
    assert parts == (4 if limit == "commits" else 7)


def test_documents_that_were_signed_anew_stand_with_the_newest_signature(org: TestOrg) -> None:
    """Who signed structure and contents loses the right; a signature of the one who takes it stands under them then."""
    draft = org.draft()
    other = org.add_person(draft, "Otto", "admin")
    org.apply(draft)
    earlier = org.state
    draft = org.draft(other)
    org.add_agent(draft, "Made by Otto")
    profile = org.add_profile(draft, "made-by-otto")
    org.apply(draft)
    known = org.state
    draft = org.draft()
    draft.sign_structure_anew, draft.sign_anew = True, {profile}
    draft.org = draft.org.replace(
        operators={**draft.org.operators, other.operator_id: draft.org.operators[other.operator_id].replace(role="editor")}
    )
    org.apply(draft)
    assert org.state.structure.envelope.operator_id == org.admin.operator_id
    for since in (known, earlier):
        followed = follow(since, steps(org, since))
        verify_signers(followed[-1], known=since)
        assert followed[-1] == org.state


def test_nothing_new_is_no_commit(full: Furnished) -> None:
    assert steps(full.org, full.org.state) == Steps(seq=full.org.state.seq, steps=())


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("since=1", "MALFORMED"), ("org_seq=1", "MALFORMED"), ("since=0&org_seq=1", "MALFORMED"),
        ("since=1&org_seq=0", "MALFORMED"), ("since=99&org_seq=1", "ANCHOR_UNKNOWN"),
        ("since=1&org_seq=99", "ANCHOR_UNKNOWN"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_from_is_refused(full: Furnished, query: str, code: str) -> None:
    assert full.org.get(full.org.admin, f"/steps?{query}").code == code


def test_a_commit_told_without_what_it_changed_is_not_followed(full: Furnished) -> None:
    states = busy(full)
    found = steps(full.org, states[0])
    for index, changes in enumerate(found.steps):
        for map_id in changes.maps:
            maps = {key: leaves for key, leaves in changes.maps.items() if key != map_id}
            with pytest.raises(IntegrityError):
                lay_over(states[index], changes.replace(maps=maps))


def test_no_commit_is_read_beyond_those_that_are_told(full: Furnished, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page costs what it tells, however much history comes after it."""
    states = busy(full)
    read: list[int] = []
    changed = SqliteReader.leaves_changed
    monkeypatch.setattr(
        SqliteReader, "leaves_changed", lambda self, org_id, seq: [read.append(seq), changed(self, org_id, seq)][1]
    )
    monkeypatch.setattr(following, "MAX_STEP_BYTES", 1)
    found = steps(full.org, states[0])
    assert [change.heads for change in found.steps] != []
    assert read == [states[1].seq]
