"""The checks of a commit (protocol section 5): each forged one is refused with its rule, and leaves nothing but an entry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from stronghold_cli.protocol.envelope import sign_envelope
from stronghold_cli.protocol.messages import decode_committed
from stronghold_cli.protocol.requests import KeyId
from tests.server.furnished import Furnished
from tests.server.refusing import add_editor, assert_nothing_changed, assert_refused, lockdown, with_changes
from tests.server.support import Draft, Person, Reply, TestOrg

# What is accepted.


def test_commit_is_answered_with_its_seq_and_stands_in_the_log(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    org.put(draft, full.profile, "NEW", b"x")
    reply = org.send(draft.finish())
    assert decode_committed(reply.body).seq == 3
    entry = org.world.last(org.org_id)
    assert (entry.kind, entry.outcome, entry.code, entry.head_seq) == ("commit", "ok", "", 3)
    assert entry.document is not None
    assert (entry.document.kind, entry.document.version) == ("head", 3)


def test_same_commit_again_is_answered_as_done_without_a_second_effect(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    org.mint(draft, full.agent)
    commit = org.apply(draft)
    further = org.draft()
    org.put(further, full.profile, "LATER", b"x")
    org.apply(further)
    entries = len(org.world.log(org.org_id))
    reply = org.send(commit)
    assert reply.status == 200
    answer = decode_committed(reply.body)
    assert (answer.seq, answer.already) == (3, True)
    log = org.world.log(org.org_id)
    assert len(log) == entries + 1
    assert (log[-1].outcome, log[-1].head_seq) == ("ok", 4)
    with org.world.store.read() as reader:
        head = reader.head(org.org_id)
        assert head is not None
        assert head.seq == 4


def test_server_that_restarts_goes_on_from_its_own_rows(full: Furnished) -> None:
    org = full.org
    org.world.restart()
    draft = org.draft()
    org.put(draft, full.profile, "AFTER", b"x")
    org.apply(draft)
    draft = org.draft()
    org.rekey_group(draft, full.group)
    org.apply(draft)
    org.world.restart()
    assert org.get_as_token(full.token, "/v1/pull").status == 200


def test_editor_writes_the_profile_that_lists_them(full: Furnished) -> None:
    org = full.org
    editor = add_editor(org, full)
    draft = org.draft(editor)
    org.put(draft, full.profile, "BY_EDITOR", b"x")
    org.apply(draft, editor)
    assert org.world.last(org.org_id).key_id == KeyId(kind="o", raw=editor.operator_id)


# Which state it was made for.


def test_commit_for_an_older_state_is_a_conflict(full: Furnished) -> None:
    org = full.org
    late = org.draft()
    org.put(late, full.profile, "LATE", b"x")
    stale = late.finish()
    draft = org.draft()
    org.put(draft, full.profile, "FIRST", b"x")
    org.apply(draft)
    entries = len(org.world.log(org.org_id))
    reply = org.send(stale)
    assert (reply.status, reply.code) == (409, "CONFLICT")
    assert_nothing_changed(org, before_entries=entries, code="CONFLICT")


def test_of_two_commits_at_the_same_time_one_takes_effect(full: Furnished) -> None:
    org = full.org
    world = org.world
    bodies = []
    for name in ("ONE", "TWO", "THREE"):
        draft = org.draft()
        org.put(draft, full.profile, name, b"x")
        bodies.append(draft.finish().encode())
    key_id = KeyId(kind="o", raw=org.admin.operator_id)
    target = f"{org.path}/commits"

    async def all_at_once() -> list[Reply]:
        return await asyncio.gather(
            *(
                world.request("POST", target, body, world.sign(org.admin.keyset.request, key_id, "POST", target, body))
                for body in bodies
            )
        )

    replies = world.loop.run_until_complete(all_at_once())
    assert sorted(reply.status for reply in replies) == [200, 409, 409]
    assert [entry.outcome for entry in world.log(org.org_id)[-3:]].count("ok") == 1


def test_head_may_be_dated_five_minutes_ahead_and_no_more(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    draft.created = org.world.now + 301
    org.put(draft, full.profile, "A", b"x")
    assert_refused(org, draft.finish(), "five minutes ahead")
    draft = org.draft()
    draft.created = org.world.now + 300
    org.put(draft, full.profile, "A", b"x")
    org.apply(draft)


def test_server_whose_clock_fell_behind_its_log_writes_nothing(full: Furnished) -> None:
    org = full.org
    entries = len(org.world.log(org.org_id))
    org.world.now -= 61
    draft = org.draft()
    org.put(draft, full.profile, "A", b"x")
    reply = org.send(draft.finish())
    assert (reply.status, reply.code) == (503, "CLOCK_BEHIND")
    assert len(org.world.log(org.org_id)) == entries
    org.world.now += 1
    assert org.get_as_token(full.token, "/v1/pull").status == 200


# Who signed it.


@pytest.mark.parametrize("role", ["reader", "auditor"])
def test_role_that_may_not_write_is_refused_before_the_body_is_read(full: Furnished, role: str) -> None:
    org = full.org
    draft = org.draft()
    person = org.add_person(draft, "Rita", role)
    org.apply(draft)
    draft = org.draft(person)
    org.put(draft, full.profile, "A", b"x")
    entries = len(org.world.log(org.org_id))
    for body in (draft.finish().encode(), b"no commit at all"):
        reply = org.post(person, "/commits", body)
        assert (reply.status, reply.code) == (403, "FORBIDDEN")
    assert len(org.world.log(org.org_id)) == entries + 2
    assert org.world.last(org.org_id).code == "FORBIDDEN"


def test_commit_signed_by_another_admin_than_its_sender_is_refused(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    other = org.add_person(draft, "Otto", "admin")
    org.apply(draft)
    draft = org.draft(other)
    org.put(draft, full.profile, "A", b"x")
    assert_refused(org, draft.finish(), "not that of the commit's author", author=org.admin)


@pytest.mark.parametrize("forged", ["head", "structure", "contents"])
def test_envelope_that_names_an_admin_but_was_signed_by_another_key_is_refused(full: Furnished, forged: str) -> None:
    org = full.org
    stranger = Person(org.org_id, "Mallory", "admin")
    draft = org.draft()
    org.add_group(draft, "New")
    org.put(draft, full.profile, "A", b"x")
    honest = draft.sign
    draft.sign = lambda kind, payload: (
        sign_envelope(kind, payload, org.admin.keyid, stranger.keyset.sign) if kind == forged else honest(kind, payload)
    )
    assert_refused(org, draft.finish(), "does not verify")


def test_editor_who_changes_more_than_contents_is_refused(full: Furnished) -> None:
    org = full.org
    editor = add_editor(org, full)
    changes: list[Callable[[Draft], object]] = [
        lambda draft: org.add_agent(draft, "Mine"),
        lambda draft: draft.profiles.update({full.profile: draft.profiles[full.profile].replace(name="renamed")}),
        lambda draft: setattr(draft, "lockdowns", (lockdown(),)),
    ]
    for change in changes:
        draft = org.draft(editor)
        change(draft)
        assert_refused(org, draft.finish(), "not signed by somebody who may sign it now", author=editor)


def test_editor_with_an_org_document_of_their_own_is_refused(full: Furnished) -> None:
    org = full.org
    editor = add_editor(org, full)
    draft = org.draft(editor)
    operators = dict(draft.org.operators)
    operators[editor.operator_id] = operators[editor.operator_id].replace(role="admin")
    draft.org = draft.org.replace(operators=operators)
    assert_refused(org, draft.finish(), "not signed by root or an admin", author=editor)


def test_editor_who_writes_a_profile_that_does_not_list_them_is_refused(full: Furnished) -> None:
    org = full.org
    editor = add_editor(org, full, listed=False)
    draft = org.draft(editor)
    org.put(draft, full.profile, "A", b"x")
    assert_refused(org, draft.finish(), "not signed by somebody who may sign it now", author=editor)


def test_editor_may_not_purge(full: Furnished) -> None:
    org = full.org
    editor = add_editor(org, full)
    draft = org.draft(editor)
    org.put(draft, full.profile, "A", b"x", full.secret)
    org.apply(draft, editor)
    draft = org.draft(editor)
    org.change_entry(draft, full.profile, full.secret, oldest=2)
    assert_refused(org, draft.finish(), "oldest version falls, or is raised by somebody who is no admin", author=editor)


def test_commit_after_which_a_document_lacks_its_signer_is_refused(org: TestOrg) -> None:
    draft = org.draft()
    other = org.add_person(draft, "Otto", "admin")
    org.apply(draft)
    draft = org.draft(other)
    draft.lockdowns = (lockdown(),)
    org.apply(draft, other)
    for signs_anew in (False, True):
        draft = org.draft()
        operators = dict(draft.org.operators)
        operators.pop(other.operator_id)
        draft.org = draft.org.replace(operators=operators)
        draft.sign_structure_anew = signs_anew
        if signs_anew:
            org.apply(draft)
        else:
            assert_refused(org, draft.finish(), "not signed by somebody who may sign it now")


# What it says.


@pytest.mark.parametrize("kind", ["head", "structure", "contents"])
def test_document_of_another_org_is_refused(full: Furnished, kind: str) -> None:
    org = full.org
    draft = org.draft()
    org.add_group(draft, "New")
    org.put(draft, full.profile, "A", b"x")
    setattr(draft, f"edit_{kind}", lambda document: document.replace(org_id=b"o" * 32))
    assert_refused(org, draft.finish(), "another org")


@pytest.mark.parametrize("version", [1, 3])
def test_version_that_does_not_rise_by_one_is_refused(full: Furnished, version: int) -> None:
    org = full.org
    draft = org.draft()
    draft.groups[full.group] = draft.groups[full.group].replace(name="Renamed")
    draft.versions[full.group] = version
    assert_refused(org, draft.finish(), "version")


def test_member_that_goes_without_a_new_epoch_is_refused(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    draft.agents[full.agent] = draft.agents[full.agent].replace(groups=())
    for token_id in (full.token, full.second_token):
        draft.leaves("members", full.group).pop(token_id)
    assert_refused(org, draft.finish(), "a member goes without a new epoch")


def test_ghost_member_is_refused(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    leaves = draft.leaves("members", full.group)
    leaves[b"g" * 16] = leaves[org.admin.operator_id]
    assert_refused(org, draft.finish(), "not exactly those that it must have")


def test_grant_that_goes_without_a_new_epoch_is_refused(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    draft.profiles[full.profile] = draft.profiles[full.profile].replace(grants={})
    assert_refused(org, draft.finish(), "a reader goes without a new epoch")


def test_leaves_that_do_not_give_the_root_are_refused(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    org.put(draft, full.profile, "A", b"x")
    commit = draft.finish()
    entries = dict(commit.changes.maps["entries", full.profile])
    entries[full.secret] = None
    maps = {**commit.changes.maps, ("entries", full.profile): entries}
    assert_refused(org, with_changes(commit, maps=maps), "do not give its root")


def test_agent_name_that_is_taken_is_refused(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    org.add_agent(draft, "ci pipeline")
    assert_refused(org, draft.finish(), "two agents have the same name")


def test_secret_id_of_another_length_is_refused(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    org.put(draft, full.profile, "A", b"x", b"short")
    assert_refused(org, draft.finish(), "the id of a secret is not 16 bytes")


def test_log_key_of_this_server_cannot_be_taken_out(org: TestOrg) -> None:
    draft = org.draft()
    (key,) = draft.org.log_keys
    draft.org = draft.org.replace(log_keys=(key.replace(id=b"M" * 16),))
    assert_refused(org, draft.finish(), "does not list this server's log key")


@pytest.mark.parametrize("member", ["sign", "request", "seal_sha256"])
def test_keys_of_an_operator_never_change(org: TestOrg, member: str) -> None:
    draft = org.draft()
    other = org.add_person(draft, "Otto", "reader")
    org.apply(draft)
    draft = org.draft()
    stranger = Person(org.org_id, "Otto", "reader")
    draft.blobs.append(stranger.keyset.seal.public)
    changed = other.as_operator().replace(**{member: getattr(stranger.as_operator(), member)})
    draft.org = draft.org.replace(operators={**draft.org.operators, other.operator_id: changed})
    assert_refused(org, draft.finish(), "the keys of an operator change")


def test_two_heads_in_one_commit_are_refused(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    org.put(draft, full.profile, "A", b"x")
    commit = draft.finish()
    assert_refused(org, with_changes(commit, heads=commit.changes.heads * 2), "not exactly one head")
