"""How a commit that must be refused is sent, and what has to be left of it: an audit entry and nothing else."""

from __future__ import annotations

import os

from stronghold_cli.protocol.documents.structure import Lockdown
from stronghold_cli.protocol.messages import Commit
from tests.server.furnished import Furnished
from tests.server.support import Person, TestOrg


def assert_refused(org: TestOrg, commit: Commit, *says: str, author: Person | None = None) -> None:
    """The commit is refused with this sentence; the state stays, and the log has one more entry that says so."""
    before = org.world.log(org.org_id)
    reply = org.send(commit, author)
    assert (reply.status, reply.code) == (422, "COMMIT_REFUSED"), reply.body
    assert any(sentence in reply.body.decode() for sentence in says), reply.body
    assert_nothing_changed(org, before_entries=len(before), code="COMMIT_REFUSED")


def assert_nothing_changed(org: TestOrg, *, before_entries: int, code: str) -> None:
    log = org.world.log(org.org_id)
    assert len(log) == before_entries + 1
    assert (log[-1].kind, log[-1].outcome, log[-1].code) == ("commit", "refused", code)
    with org.world.store.read() as reader:
        head = reader.head(org.org_id)
        assert head is not None
        assert head.sha256 == org.state.head.document.sha256


def with_changes(commit: Commit, **changes: object) -> Commit:
    return commit.replace(changes=commit.changes.replace(**changes))


def add_editor(org: TestOrg, full: Furnished, *, listed: bool = True) -> Person:
    draft = org.draft()
    editor = org.add_person(draft, "Eve", "editor")
    if listed:
        profile = draft.profiles[full.profile]
        draft.profiles[full.profile] = profile.replace(editors=(editor.operator_id,))
    org.apply(draft)
    return editor


def lockdown() -> Lockdown:
    return Lockdown(id=os.urandom(16), all=True, groups=(), agents=(), labels=(), reason="", created=1)
