"""The local copy of the state: lost, tampered with, behind or ahead of its mark, and a server that shows other heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stronghold_cli.keystore.marks import HeadMark, operator_mark
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.org import Policy
from stronghold_cli.protocol.errors import ClientTooOld, IntegrityError, LocalFileError, RuleError
from stronghold_cli.protocol.messages import decode_sync, encode_sync
from stronghold_cli.vault.groups import create_group
from stronghold_cli.vault.replica import Replica, local_state
from tests.support.org import TestOrg, workshop

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def org() -> TestOrg:
    return workshop()


def more(org: TestOrg, *names: str) -> None:
    for name in names:
        org.commit(lambda draft, name=name: create_group(draft, name))  # type: ignore[misc]


def copy_of(home: Path, org: TestOrg) -> Path:
    return home / ".local/share/stronghold/orgs" / f"{org.state.org_id.hex()}.json"


def test_the_first_sync_fetches_everything_from_the_pin_and_keeps_it(org: TestOrg, home: Path) -> None:
    replica = Replica(org.operator())
    assert replica.mark() is None
    assert replica.sync() == org.state
    mark = replica.mark()
    assert mark is not None
    assert (mark.head.seq, mark.head.sha256) == (org.state.seq, org.state.head.document.sha256)
    assert (mark.org.seq, mark.structure_seq) == (org.state.org.document.seq, org.state.structure.document.seq)
    assert copy_of(home, org).exists()
    assert local_state(org.state.org_id) == org.state
    assert replica.has_passed(org.state.head.document.sha256)


def test_later_syncs_fetch_what_changed(org: TestOrg) -> None:
    Replica(org.operator()).sync()
    since = org.state.seq
    more(org, "one", "two")
    org.change_org(name="renamed")
    org.server.targets.clear()
    replica = Replica(org.operator())
    assert replica.sync() == org.state
    assert replica.sync() == org.state
    assert [target.split("?")[1].split("&")[0] for target in org.server.targets] == [f"since={since}", f"since={since + 3}"]


def test_a_first_link_that_is_known_is_dropped(org: TestOrg) -> None:
    replica = Replica(org.operator())
    replica.sync()
    known = org.state.org.envelope
    more(org, "one")
    org.server.forge = lambda target, body: encode_sync(decode_sync(body).replace(org=(known,)))
    assert replica.sync() == org.state


@pytest.mark.parametrize("damage", ["lost", "no JSON", "another state", "a leaf"])
def test_a_copy_that_is_lost_or_tampered_with_is_fetched_anew_with_every_head_since_the_mark(
    org: TestOrg, home: Path, damage: str
) -> None:
    Replica(org.operator()).sync()
    path = copy_of(home, org)
    kept = path.read_bytes()
    marked = org.state.seq
    more(org, "one", "two")
    if damage == "lost":
        path.unlink()
    elif damage == "no JSON":
        path.write_bytes(b"{")
    elif damage == "another state":
        path.write_bytes(encode_sync(org.server.sync(0, org.state.org.document.seq - 1)))
    else:
        changes = decode_sync(kept)
        maps: Any = {map_id: dict(leaves) for map_id, leaves in changes.maps.items()}
        maps.popitem()
        path.write_bytes(encode_sync(changes.replace(maps=maps)))
    assert local_state(org.state.org_id) is None
    org.server.targets.clear()
    assert Replica(org.operator()).sync() == org.state
    since = [target.split("since=")[1].split("&")[0] for target in org.server.targets]
    assert since == ["0", str(marked)]


def test_a_copy_without_a_mark_is_not_believed(org: TestOrg) -> None:
    Replica(org.operator()).sync()
    operator_mark(org.state.org_id).reset()
    assert local_state(org.state.org_id) is None


@pytest.mark.parametrize("lost", [True, False])
def test_an_older_state_than_the_mark_is_refused(org: TestOrg, home: Path, lost: bool) -> None:
    old = org.copy()
    more(org, "one")
    Replica(org.operator()).sync()
    if lost:
        copy_of(home, org).unlink()
    before = operator_mark(org.state.org_id).load()
    with pytest.raises(IntegrityError):
        Replica(old.operator()).sync()
    assert operator_mark(org.state.org_id).load() == before


@pytest.mark.parametrize("lost", [True, False])
def test_a_fork_is_refused(org: TestOrg, home: Path, lost: bool) -> None:
    fork = org.copy()
    more(org, "one")
    more(fork, "other", "later")
    Replica(org.operator()).sync()
    if lost:
        copy_of(home, org).unlink()
    with pytest.raises(IntegrityError):
        Replica(fork.operator()).sync()


def test_a_fork_at_the_marks_own_number_is_refused(org: TestOrg, home: Path) -> None:
    fork = org.copy()
    more(org, "one")
    more(fork, "other")
    Replica(org.operator()).sync()
    copy_of(home, org).unlink()
    with pytest.raises(IntegrityError, match="two different heads"):
        Replica(fork.operator()).sync()


@pytest.mark.parametrize("kept", [slice(1, None), slice(0, 2), slice(None, None, 2), slice(0, 0)])
def test_heads_that_do_not_lead_from_the_mark_to_the_newest_are_refused(org: TestOrg, home: Path, kept: slice) -> None:
    Replica(org.operator()).sync()
    copy_of(home, org).unlink()
    more(org, "one", "two", "three")

    def leave_out(target: str, body: bytes) -> bytes:
        changes = decode_sync(body)
        return body if "since=0" in target else encode_sync(changes.replace(heads=changes.heads[kept]))

    org.server.forge = leave_out
    if kept == slice(None, None, 2):
        kept = slice(0, 3, 2)
    with pytest.raises(IntegrityError):
        Replica(org.operator()).sync()


def test_the_marks_own_head_may_stand_first(org: TestOrg, home: Path) -> None:
    Replica(org.operator()).sync()
    copy_of(home, org).unlink()
    own = org.state.head.envelope
    more(org, "one")

    def repeat(target: str, body: bytes) -> bytes:
        changes = decode_sync(body)
        return body if "since=0" in target else encode_sync(changes.replace(heads=(own, *changes.heads)))

    org.server.forge = repeat
    assert Replica(org.operator()).sync() == org.state


def test_a_jump_of_the_counter_is_refused_after_the_copy_was_lost(org: TestOrg, home: Path) -> None:
    """Attack 9: an editor's head with a number far ahead, genuine but for that."""
    Replica(org.operator()).sync()
    copy_of(home, org).unlink()
    head = org.state.head.document
    jumped = org.sign(head.replace(seq=head.seq + 1000, prev=head.sha256), "eve")
    org.server.forge = lambda _, body: encode_sync(decode_sync(body).replace(heads=(jumped,)))
    with pytest.raises(IntegrityError, match="does not follow the one before"):
        Replica(org.operator()).sync()
    assert Head.decode(jumped.payload).seq == head.seq + 1000


def test_another_org_document_than_the_pinned_one_is_refused(org: TestOrg) -> None:
    operator = org.operator().replace(anchor=b"a" * 32)
    with pytest.raises(IntegrityError, match="not the one that was pinned"):
        Replica(operator).sync()


def test_a_link_left_out_is_refused(org: TestOrg) -> None:
    org.server.forge = lambda _, body: encode_sync(
        decode_sync(body).replace(org=(org.server.links[0], *org.server.links[2:]))
    )
    with pytest.raises(IntegrityError, match="does not follow the one before"):
        Replica(org.operator()).sync()


def test_an_org_that_demands_a_newer_client_says_so(org: TestOrg) -> None:
    org.change_org(policy=Policy(client_min="99.0.0", max_head_age=0))
    with pytest.raises(ClientTooOld, match=r"99\.0\.0"):
        Replica(org.operator()).sync()
    assert operator_mark(org.state.org_id).load() is None


def test_a_state_that_breaks_an_invariant_is_refused(org: TestOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = org.draft()
    draft.put(org.profile("production").replace(editors=(org.id("rob"),)))
    monkeypatch.setattr("stronghold_cli.vault.draft.check_state", lambda state, **_: None)
    _, after = draft.finish()
    org.server.states.append(after)
    org.server.heads.append(after.head.envelope)
    with pytest.raises(RuleError, match="not all editors"):
        Replica(org.operator()).sync()


def test_a_mark_that_cannot_be_kept_stops_an_operator(org: TestOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str, content: bytes) -> None:
        raise LocalFileError(f"{path} cannot be written: no space left.")

    monkeypatch.setattr("stronghold_cli.keystore.marks.write_private", full)
    with pytest.raises(LocalFileError) as caught:
        Replica(org.operator()).sync()
    assert caught.value.code == "MARK_NOT_KEPT"


def test_a_state_older_than_the_kit_is_refused(org: TestOrg) -> None:
    older = org.copy()
    more(org, "one")
    operator = older.operator().replace(floor=org.state.seq)
    with pytest.raises(IntegrityError, match="older than the operator kit"):
        Replica(operator).sync()
    assert Replica(operator).mark() is None


def test_a_head_seen_at_login_binds_the_first_sync(org: TestOrg) -> None:
    older = org.copy()
    more(org, "one")
    seen = HeadMark(seq=org.state.seq, sha256=org.state.head.document.sha256)
    with pytest.raises(IntegrityError, match="older"):
        Replica(older.operator().replace(seen=seen)).sync()
    more(older, "another")
    with pytest.raises(IntegrityError, match="two different heads"):
        Replica(older.operator().replace(seen=seen)).sync()
    more(older, "and on")
    with pytest.raises(IntegrityError, match=r"does not follow|do not lead"):
        Replica(older.operator().replace(seen=seen)).sync()
    more(org, "two")
    assert Replica(org.operator().replace(seen=seen)).sync() == org.state


@pytest.mark.parametrize("lost", [True, False])
def test_a_head_out_of_time_is_refused(org: TestOrg, home: Path, lost: bool) -> None:
    org.change_org(policy=Policy(client_min="0.1.0", max_head_age=60))
    Replica(org.operator()).sync()
    if lost:
        copy_of(home, org).unlink()
    for shift, words in ((61, "more than the 60"), (-301, "in the future")):
        late = org.operator().replace(clock=lambda shift=shift: org.now + shift)
        with pytest.raises(IntegrityError, match=words):
            Replica(late).sync()
    for shift in (60, -300):
        assert Replica(org.operator().replace(clock=lambda shift=shift: org.now + shift)).sync() == org.state


def test_contents_older_than_the_mark_are_refused_after_the_copy_was_lost(org: TestOrg, home: Path) -> None:
    """An editor and the server together: a fresh head over older contents."""
    replica = Replica(org.operator())
    state = replica.sync()
    mark = replica.mark()
    assert mark is not None
    (profile_id, known) = next(iter(mark.contents.items()))
    assert known.sha256 == state.contents[profile_id].document.sha256
    ahead = mark.replace(contents={profile_id: known.replace(version=known.version + 1, sha256=b"x" * 32)})
    operator_mark(org.state.org_id).save(ahead)
    copy_of(home, org).unlink()
    with pytest.raises(IntegrityError, match="profile contents received is older"):
        Replica(org.operator()).sync()
