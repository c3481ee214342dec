"""The local copy of the state: lost, tampered with, behind or ahead of its mark, and a server that shows other heads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stronghold_cli.keystore.files import locked
from stronghold_cli.keystore.marks import HeadMark, operator_mark
from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.leaves import MemberLeaf
from stronghold_cli.protocol.documents.org import Policy
from stronghold_cli.protocol.documents.profile import Grant
from stronghold_cli.protocol.encoding import decode_base64, encode_base64
from stronghold_cli.protocol.errors import ClientTooOld, IntegrityError, LocalFileError, RuleError
from stronghold_cli.protocol.laid_documents import names_of
from stronghold_cli.protocol.messages import Steps, changes_to_json, decode_steps, decode_sync, encode_sync
from stronghold_cli.protocol.messages_past import decode_past, encode_past
from stronghold_cli.protocol.rules import check_state
from stronghold_cli.protocol.state import OrgState, Signed, lay_over
from stronghold_cli.vault import draft as draft_module
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import add_agent, create_group, grant
from stronghold_cli.vault.rekeying import rekey
from stronghold_cli.vault.removal import remove_from_group
from stronghold_cli.vault.replica import Replica, local_state
from stronghold_cli.version import VERSION
from tests.support import org as org_module
from tests.support.org import NOTHING, TestOrg, workshop

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


@pytest.mark.parametrize("damage", ["lost", "no JSON", "another state", "a leaf", "an agent", "a member more"])
def test_a_copy_that_is_lost_or_tampered_with_is_fetched_anew_with_every_commit_since_the_mark(
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
    else:
        copy = json.loads(kept)
        changes = copy["changes"]
        if damage == "another state":
            copy["changes"] = changes_to_json(org.server.sync(0, org.state.org.document.seq - 1))
        elif damage == "a leaf":
            changes["maps"].pop()
        elif damage == "an agent":
            changes["payloads"] = [_renamed(payload, "bot", "bat") for payload in changes["payloads"]]
            assert changes != json.loads(kept)["changes"]
        else:
            copy["more"] = 1
        path.write_text(json.dumps(copy, separators=(",", ":")))
    assert local_state(org.state.org_id) is None
    org.server.targets.clear()
    assert Replica(org.operator()).sync() == org.state
    asked = [target.rsplit("/", 1)[1].split("&")[0] for target in org.server.targets]
    assert asked == ["sync?since=0", f"past?before={marked + 2}", f"steps?since={marked}"]
    assert local_state(org.state.org_id) == org.state


def _renamed(payload: str, old: str, new: str) -> str:
    return encode_base64(decode_base64(payload).replace(f'"name":"{old}"'.encode(), f'"name":"{new}"'.encode()))


def test_agents_of_the_copy_are_decoded_when_somebody_looks_at_them(org: TestOrg, decoded: list[bytes]) -> None:
    Replica(org.operator()).sync()
    decoded.clear()
    replica = Replica(org.operator())
    state = replica.sync()
    assert (len(state.agents), dict(names_of(state.agents))) == (len(org.state.agents), _names(org.state))
    assert decoded == []
    bot = next(id_ for id_, name in dict(names_of(state.agents)).items() if name == "bot")
    assert state.agents[bot] == org.state.agents[bot]
    assert decoded == [bot]
    more(org, "one")
    later = replica.sync()
    assert later == org.state
    assert sorted(decoded) == sorted(org.state.agents), "each of them once, although there are two states"


def _names(state: OrgState) -> dict[bytes, str]:
    return {id_: agent.name for id_, agent in state.agents.items()}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The ids of the agents that were decoded, in turn."""
    ids: list[bytes] = []
    decode = Agent.decode.__func__  # type: ignore[attr-defined]

    def note(cls: type[Agent], payload: bytes) -> Agent:
        agent: Agent = decode(cls, payload)
        ids.append(agent.id)
        return agent

    monkeypatch.setattr(Agent, "decode", classmethod(note))
    return ids


def test_agents_that_the_server_sends_are_decoded_at_once(org: TestOrg, decoded: list[bytes]) -> None:
    Replica(org.operator()).sync()
    assert sorted(decoded) == sorted(org.state.agents)


@pytest.mark.parametrize("is_own", [True, False])
def test_a_copy_that_another_version_kept_is_checked_again(
    org: TestOrg, home: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[bytes], is_own: bool
) -> None:
    """What an older version let pass, a newer one may refuse: here the newer one knows one rule more."""
    Replica(org.operator()).sync()
    path = copy_of(home, org)
    assert json.loads(path.read_bytes())["checked_by"] == VERSION
    if not is_own:
        path.write_bytes(path.read_bytes().replace(f'"checked_by":"{VERSION}"'.encode(), b'"checked_by":"0.0.1"', 1))
    decoded.clear()
    assert local_state(org.state.org_id) is not None
    assert sorted(decoded) == ([] if is_own else sorted(org.state.agents))

    def demand_more(state: OrgState, **_: Any) -> None:
        raise RuleError("a rule of today")

    monkeypatch.setattr("stronghold_cli.vault.replica.check_state", demand_more)
    assert (local_state(org.state.org_id) is None) is not is_own


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
def test_a_way_back_that_does_not_lead_from_the_newest_head_to_the_mark_is_refused(
    org: TestOrg, home: Path, kept: slice
) -> None:
    Replica(org.operator()).sync()
    copy_of(home, org).unlink()
    more(org, "one", "two", "three")
    newest = org.state.seq

    def leave_out(target: str, body: bytes) -> bytes:
        if f"past?before={newest}&" in target:
            return encode_past(decode_past(body)[:3][kept])
        return encode_past(()) if "past" in target else body

    org.server.forge = leave_out
    with pytest.raises(IntegrityError):
        Replica(org.operator()).sync()
    assert local_state(org.state.org_id) is None


def test_a_jump_of_the_counter_is_refused_after_the_copy_was_lost(org: TestOrg, home: Path) -> None:
    """Attack 9: an editor's head with a number far ahead, genuine but for that."""
    Replica(org.operator()).sync()
    copy_of(home, org).unlink()
    known = org.state.head
    jumped = org.sign(known.document.replace(seq=known.document.seq + 1000, prev=known.document.sha256), "eve")
    step = NOTHING.replace(heads=(jumped,))

    def forge(target: str, body: bytes) -> bytes:
        if "steps" in target:
            return Steps(seq=known.document.seq + 1000, steps=(step,)).encode()
        return encode_sync(decode_sync(body).replace(heads=(jumped,))) if "sync" in target else body

    org.server.forge = forge
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(org.server, "way_back", lambda *_: [NOTHING.replace(heads=(known.envelope,))])
        with pytest.raises(IntegrityError, match="does not follow the one before"):
            Replica(org.operator()).sync()
    assert Head.decode(jumped.payload).seq == known.document.seq + 1000


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
    with pytest.raises(IntegrityError, match="do not lead from the mark"):
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


# Every commit since the known state is checked (attack 31)


class Colluding:
    """An admin and the server together: commits that an honest server would refuse."""

    def __init__(self, org: TestOrg) -> None:
        self.org = org

    def commit(self, act: Callable[[Draft], Any], name: str = "ada") -> None:
        """Carry out an act without the checks of the step."""
        draft = self.org.draft(name)
        act(draft)
        with pytest.MonkeyPatch.context() as patch:
            for module in (draft_module, org_module):
                patch.setattr(module, "check_step", lambda *_: None)
            commit, _ = draft.finish()
            self.org.server.take(commit, draft.keyset.operator_id)

    def drop(self, draft: Draft) -> None:
        """Take the agent out of its group, and its leaves, without a new key."""
        (agent,) = draft.agents().values()
        draft.put(agent.replace(groups=()))
        for token_id in agent.tokens:
            draft.set_member(self.org.group("production").id, token_id, None)


def refused(replica: Replica, words: str) -> None:
    before = replica.mark()
    with pytest.raises(RuleError, match=words) as caught:
        replica.sync()
    assert "signed by 'a" in caught.value.message or "signed by 'eve'" in caught.value.message
    assert replica.mark() == before


def undo_last_commit(org: TestOrg, name: str) -> None:
    """An editor and the server lay everything as it was before the last commit under a head of the editor's."""
    old, new = org.server.states[-2:]
    head = new.head.document
    undone = old.head.document.replace(seq=head.seq + 1, prev=head.sha256, created=head.created)
    signed = org.sign(undone, name)
    org.server.states.append(old.replace(head=Signed(document=undone, envelope=signed)))
    org.server.heads.append(signed)


@pytest.mark.parametrize("copy", ["kept", "lost", "behind its mark", "none, the head seen at login"])
def test_a_removal_that_an_editor_undoes_with_the_server_is_noticed(org: TestOrg, home: Path, copy: str) -> None:
    """Whatever became of the local copy: the state that the last head names is a legal one, with genuine documents."""
    older = Replica(org.operator())
    older.sync()
    content = copy_of(home, org).read_bytes()
    more(org, "one")
    Replica(org.operator()).sync()
    seen = HeadMark(seq=org.state.seq, sha256=org.state.head.document.sha256)
    (agent,) = org.state.agents.values()
    org.commit(lambda draft: remove_from_group(draft, org.group("production"), [agent], []))
    undo_last_commit(org, "eve")
    check_state(org.state)
    assert org.state.agents[agent.id].groups
    operator = org.operator()
    if copy == "behind its mark":
        copy_of(home, org).write_bytes(content)
    elif copy != "kept":
        copy_of(home, org).unlink()
    if copy == "none, the head seen at login":
        operator_mark(org.state.org_id).reset()
        operator = operator.replace(seen=seen)
    replica = Replica(operator)
    before = replica.mark()
    with pytest.raises(IntegrityError, match="a structure is older than the one before it"):
        replica.sync()
    assert replica.mark() == before


def test_an_older_state_never_replaces_the_newer_one_of_another_process(org: TestOrg, home: Path) -> None:
    slow = Replica(org.operator())
    state = slow.sync()
    more(org, "one")
    late = org.state
    more(org, "two")
    Replica(org.operator()).sync()
    content = copy_of(home, org).read_bytes()
    slow.keep(late)
    assert copy_of(home, org).read_bytes() == content
    assert local_state(org.state.org_id) == org.state
    assert state.seq < late.seq < org.state.seq


def test_the_copy_is_written_under_the_marks_lock(org: TestOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else another process could go further between the look at the mark and the writing."""
    held = []

    def write(path: str, content: bytes) -> None:
        with pytest.raises(LocalFileError, match="in use"), locked(operator_mark(org.state.org_id).path, seconds=0):
            pass
        held.append(path)

    monkeypatch.setattr("stronghold_cli.vault.replica.write_private", write)
    Replica(org.operator()).sync()
    assert len(held) == 1


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("later", [0, 3])
def test_a_member_who_is_dropped_without_new_keys_is_noticed(org: TestOrg, home: Path, later: int, lost: bool) -> None:
    """Also where genuine commits hide it: the state that they end in is a legal one. And where the copy was lost."""
    replica = Replica(org.operator())
    replica.sync()
    if lost:
        copy_of(home, org).unlink()
        replica = Replica(org.operator())
    colluding = Colluding(org)
    colluding.commit(colluding.drop)
    broken = org.state.seq
    more(org, *(f"group {number}" for number in range(later)))
    check_state(org.state)
    refused(replica, f"Commit {broken} of the org, signed by 'ada', breaks a rule: a member goes without a new epoch")
    refused(Replica(org.operator()), "a member goes without a new epoch")


def test_a_member_who_is_dropped_and_put_back_without_new_keys_is_noticed(org: TestOrg) -> None:
    replica = Replica(org.operator())
    replica.sync()
    before = org.state.groups
    colluding = Colluding(org)
    colluding.commit(colluding.drop)
    (agent,) = org.state.agents.values()
    org.commit(lambda draft: add_agent(draft, org.group("production"), agent))
    assert org.state.groups.keys() == before.keys()
    refused(replica, "a member goes without a new epoch")


def test_a_grant_that_comes_and_whose_reader_goes_between_two_syncs_is_noticed(org: TestOrg) -> None:
    """The profile keeps the key that the reader got in between: no state before or after shows that."""
    made = org.commit(lambda draft: create_group(draft, "third"))
    (agent,) = org.state.agents.values()
    org.commit(lambda draft: add_agent(draft, org.group("third"), agent))
    replica = Replica(org.operator())
    replica.sync()
    org.commit(lambda draft: grant(draft, org.state.groups[made.id], org.profile("staging")))

    def remove(draft: Draft) -> None:
        (agent,) = draft.agents().values()
        key = draft.keys.profile(org.profile("staging").id)
        draft.put(agent.replace(groups=(org.group("production").id,)))
        rekey(draft, groups=[made.id])
        # Take the new epoch of the profile back, and give the old key to the new group key.
        draft._maps.pop(("entries", org.profile("staging").id))
        draft._maps.pop(("old_keys", org.profile("staging").id))
        draft._written.clear()
        group = draft.groups()[made.id]
        wrap = draft.add_blob(draft.keys.group(made.id).wrap(key, draft.random))
        profile = org.profile("staging")
        draft.put(profile.replace(grants={**profile.grants, made.id: Grant(epoch=group.epoch, wrap_sha256=wrap)}))

    Colluding(org).commit(remove)
    refused(replica, "a reader goes without a new epoch of the profile")


def test_an_editor_who_changes_the_structure_is_noticed_also_where_an_admin_signs_it_later(org: TestOrg) -> None:
    replica = Replica(org.operator())
    replica.sync()
    draft = org.draft("eve")
    create_group(draft, "mine")
    with pytest.MonkeyPatch.context() as patch:
        for module in (draft_module, org_module):
            patch.setattr(module, "check_step", lambda *_: None)
            patch.setattr(module, "advance", lay_over)
        commit, _ = draft.finish()
        org.server.take(commit, org.id("eve"))
    org.commit(lambda draft: create_group(draft, "theirs"))
    refused(replica, "signed by 'eve', breaks a rule: an author who is no admin changes more than contents")


def test_an_illegal_state_between_two_syncs_is_noticed(org: TestOrg) -> None:
    replica = Replica(org.operator())
    replica.sync()
    token_id = org.tokens["ci"].token_id
    draft = org.draft()
    draft.set_member(org.group("staging").id, token_id, MemberLeaf(
        kind="token", owner=org.tokens["ci"].agent.id, seal_sha256=b"k" * 32, sealed_sha256=b"s" * 32))  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for module in (draft_module, org_module):
            patch.setattr(module, "check_state", lambda *_, **__: None)
        commit, _ = draft.finish()
        org.server.take(commit, org.id("ada"))
    colluding = Colluding(org)
    colluding.commit(lambda draft: draft.set_member(org.group("staging").id, token_id, None))
    refused(replica, "a group's members are not exactly those that it must have")


@pytest.mark.parametrize("how", ["none of them", "the last one", "the first one", "too many announced", "too few announced"])
def test_commits_that_do_not_lead_to_the_newest_head_are_refused(org: TestOrg, how: str) -> None:
    replica = Replica(org.operator())
    replica.sync()
    more(org, "one", "two", "three")
    seq = org.state.seq

    def forge(_: str, body: bytes) -> bytes:
        found = decode_steps(body)
        steps = {
            "none of them": (), "the last one": found.steps[:-1], "the first one": found.steps[1:],
        }.get(how, found.steps)  # fmt: skip
        announced = {"too many announced": seq + 1, "too few announced": seq - 1}.get(how, seq)
        return found.replace(steps=steps if found.steps else (), seq=announced).encode()

    org.server.forge = forge
    if how == "the last one":
        # What is left out at the end is asked for again, and comes then.
        org.server.forge = lambda target, body: forge(target, body) if f"since={seq - 3}&" in target else body
        assert replica.sync() == org.state
        return
    with pytest.raises(IntegrityError):
        replica.sync()


def test_commits_come_in_parts(org: TestOrg) -> None:
    replica = Replica(org.operator())
    replica.sync()
    more(org, "one", "two", "three")
    org.server.forge = lambda _, body: decode_steps(body).replace(steps=decode_steps(body).steps[:1]).encode()
    org.server.targets.clear()
    assert replica.sync() == org.state
    assert len(org.server.targets) == 3
    heads = [state.head.document.sha256 for state in org.server.states[-3:]]
    assert all(map(replica.has_passed, heads))


def test_signatures_met_on_the_way_back_are_verified_where_they_still_count(org: TestOrg, home: Path) -> None:
    """The way back comes from one fork, and the commits since from another, in which a document met there is current."""
    Replica(org.operator()).sync()
    copy_of(home, org).unlink()
    fork = org.copy()
    more(fork, "one")
    org.commit(lambda draft: draft.touch_contents(org.profile("staging").id))
    sync, (back,) = fork.server.sync(0, 0), fork.server.way_back(fork.state.seq, 1)
    assert back.structure is not None
    forged = back.replace(structure=back.structure.replace(signature=bytes(64)))
    org.server.forge = lambda target, body: (
        encode_sync(sync) if "sync" in target else encode_past([forged]) if "past" in target else body
    )
    with pytest.raises(IntegrityError, match="signature"):
        Replica(org.operator()).sync()


def test_the_newest_signers_are_those_who_may_sign_now(org: TestOrg) -> None:
    """The commits in between are believed by their hashes; what is current needs a signer with the right."""
    replica = Replica(org.operator())
    replica.sync()
    more(org, "one")

    def forge(_: str, body: bytes) -> bytes:
        found = decode_steps(body)
        (step,) = found.steps
        return found.replace(steps=(step.replace(structure=org.sign(org.state.structure.document, "eve")),)).encode()

    org.server.forge = forge
    with pytest.raises(IntegrityError, match="the structure is not signed by somebody who may sign it now"):
        replica.sync()


def test_a_commit_with_a_second_head_is_refused(org: TestOrg) -> None:
    replica = Replica(org.operator())
    replica.sync()
    more(org, "one", "two")

    def forge(_: str, body: bytes) -> bytes:
        found = decode_steps(body)
        one, two = found.steps
        both = two.replace(heads=(*one.heads, *two.heads), payloads=(*one.payloads, *two.payloads), maps={
            map_id: {**one.maps.get(map_id, {}), **two.maps.get(map_id, {})} for map_id in {**one.maps, **two.maps}
        })  # fmt: skip
        return found.replace(steps=(both,)).encode()

    org.server.forge = forge
    with pytest.raises(RuleError, match="not exactly one new head"):
        replica.sync()


def test_the_known_head_told_again_is_no_commit(org: TestOrg) -> None:
    """A server that goes on telling it, and announces more, would else keep a client busy for ever."""
    replica = Replica(org.operator())
    replica.sync()
    again = NOTHING.replace(heads=(org.state.head.envelope,))
    org.server.forge = lambda _, body: Steps(seq=org.state.seq + 1, steps=(again,)).encode()
    with pytest.raises(RuleError, match="not exactly one new head"):
        replica.sync()
