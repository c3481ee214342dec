"""``state.advance``: every link, root, payload and number of a change is checked before it becomes the state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.protocol.documents.base import NO_EXTENSIONS
from stronghold_cli.protocol.documents.invite import Invite
from stronghold_cli.protocol.documents.leaves import DocumentLeaf, decode_entry_leaf, document_key
from stronghold_cli.protocol.documents.org import Resume
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.laid_documents import LaidDocuments
from stronghold_cli.protocol.signed_map import map_root
from stronghold_cli.protocol.state import CONTENTS, DOCUMENTS, Changes, OrgState, advance, verify_signers
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import create_group
from stronghold_cli.vault.profiles import create_profile, write_secrets
from tests.support.org import NOTHING, TestOrg, difference, found, renew_group, workshop


@pytest.fixture
def org() -> TestOrg:
    return workshop()


def refused(before: OrgState | None, changes: Changes, message: str, **how: Any) -> None:
    with pytest.raises(IntegrityError, match=message):
        advance(before, changes, **how)


def commit_of(org: TestOrg, act: Callable[[Draft], Any]) -> Changes:
    """The changes of a commit that is not sent."""
    draft = org.draft()
    act(draft)
    commit, _ = draft.finish()
    return commit.changes


def write(org: TestOrg, name: str = "NEW") -> Changes:
    return commit_of(org, lambda draft: write_secrets(draft, org.profile("production"), {}, {name: b"v"}))


def rehead(org: TestOrg, changes: Changes, **members: Any) -> Changes:
    """The changes with a head that says something else, signed anew."""
    head = org.state.head.document.replace(seq=org.state.seq + 1, prev=org.state.head.document.sha256)
    if changes.structure is not None:
        head = head.replace(structure_sha256=changes.structure.sha256)
    leaves = {**org.state.leaves("contents"), **{k: v for k, v in changes.maps.get(CONTENTS, {}).items() if v is not None}}
    return changes.replace(heads=(org.sign(head.replace(**{"contents": map_root(leaves), **members})),))


def restructured(org: TestOrg, leaves: dict[bytes, bytes | None], *payloads: bytes, **members: Any) -> Changes:
    """Changes of the documents map, with a structure and head that agree."""
    after = {**org.state.leaves("documents"), **leaves}
    known = org.state.structure.document
    root = map_root({key: value for key, value in after.items() if value is not None})
    structure = known.replace(**{"seq": org.state.seq + 1, "prev": known.sha256, "documents": root, **members})
    changes = NOTHING.replace(structure=org.sign(structure), payloads=payloads, maps={DOCUMENTS: leaves} if leaves else {})
    return rehead(org, changes)


def put(org: TestOrg, document: Any, **leaf: Any) -> Changes:
    """One document in place of that of its id."""
    value = DocumentLeaf(**{"name": document.name, "sha256": document.sha256, **leaf}).encode()
    return restructured(org, {document_key(document.KIND, document.id): value}, document.payload)


# From nothing


def test_a_state_comes_again_from_everything_that_is_current(org: TestOrg) -> None:
    assert advance(None, org.server.sync(0, 0)) == org.state


def test_a_state_comes_from_a_pinned_link_without_those_before(org: TestOrg) -> None:
    anchor = org.state.org.document.sha256
    changes = org.server.sync(0, 0)
    assert advance(None, changes.replace(org=changes.org[-1:]), anchor=anchor) == org.state
    refused(None, changes, "not the one that was pinned", anchor=anchor)
    refused(None, changes.replace(org=()), "org document is missing", anchor=anchor)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"org": ()}, "org document is missing"),
        ({"heads": ()}, "not exactly one head"),
        ({"structure": None}, "structure is missing"),
        ({"contents": ()}, "not those of the profiles"),
        ({"payloads": ()}, "payload of a document is missing"),
        ({"maps": {}}, "do not give its root"),
    ],
)
def test_everything_is_needed_without_a_state_before(org: TestOrg, change: dict[str, Any], message: str) -> None:
    refused(None, org.server.sync(0, 0).replace(**change), message)


def test_one_head_only_stands_without_a_state_before(org: TestOrg) -> None:
    changes = org.server.sync(0, 0)
    refused(None, changes.replace(heads=changes.heads * 2), "not exactly one head")


@pytest.mark.parametrize("kind", ["documents", "contents", "members", "entries"])
@pytest.mark.parametrize("how", ["dropped", "changed", "added"])
def test_the_leaves_of_every_map_give_its_root(org: TestOrg, kind: str, how: str) -> None:
    changes = org.server.sync(0, 0)
    map_id = next(map_id for map_id in changes.maps if map_id[0] == kind)
    leaves = dict(changes.maps[map_id])
    key = min(leaves)
    if how == "dropped":
        del leaves[key]
    else:
        other = next(value for other, value in leaves.items() if other != key)
        leaves[key if how == "changed" else key[:-1] + bytes([key[-1] ^ 1])] = other
    with pytest.raises(IntegrityError):
        advance(None, changes.replace(maps={**changes.maps, map_id: leaves}))


def test_leaves_of_old_keys_give_their_root(org: TestOrg) -> None:
    org.commit(lambda draft: renew_group(draft, org.group("production")))
    changes = org.server.sync(0, 0)
    assert advance(None, changes).profiles == org.state.profiles
    map_id = ("old_keys", org.profile("production").id)
    assert advance(None, changes).old_keys(map_id[1]).keys() == {1}
    refused(None, changes.replace(maps={**changes.maps, map_id: {}}), "old_keys map do not give its root")


@pytest.mark.parametrize("kind", ["members", "old_keys", "entries"])
def test_a_map_of_nobody_is_refused(org: TestOrg, kind: str) -> None:
    changes = org.server.sync(0, 0)
    stray = {(kind, b"s" * 16): {b"k" * 16: b"v"}}
    refused(None, changes.replace(maps={**changes.maps, **stray}), "belongs to no group and no profile")


# Heads


def test_a_state_follows_over_many_commits(org: TestOrg) -> None:
    for before in org.server.states:
        changes = org.server.sync(before.seq, before.org.document.seq)
        heads = changes.heads or (before.head.envelope,)
        assert advance(before, changes.replace(heads=heads)) == org.state


def test_heads_left_out_or_out_of_order_are_refused(org: TestOrg) -> None:
    before = org.server.states[-4]
    changes = org.server.sync(before.seq, before.org.document.seq)
    assert len(changes.heads) == 3
    for heads in (changes.heads[1:], changes.heads[::2], changes.heads[::-1]):
        refused(before, changes.replace(heads=heads), "does not follow the one before")


def test_a_change_without_a_head_has_that_of_before(org: TestOrg) -> None:
    assert advance(org.state, NOTHING) == org.state


@pytest.mark.parametrize("members", [{"prev": b"p" * 32}, {"seq": 100}, {"seq": 1}])
def test_a_head_counts_one_on_and_names_the_one_before(org: TestOrg, members: dict[str, Any]) -> None:
    refused(org.state, rehead(org, write(org), **members), "does not follow the one before")


@pytest.mark.parametrize("member", ["org_sha256", "structure_sha256"])
def test_a_head_names_the_current_org_document_and_structure(org: TestOrg, member: str) -> None:
    refused(org.state, rehead(org, write(org), **{member: b"x" * 32}), "head names another")


def test_after_a_resume_the_head_jumps_once_and_never_down(org: TestOrg) -> None:
    head = org.state.head.document
    for seq, known, legal in ((2000, 1000, True), (1001, 1000, True), (1000, 1000, False), (3, 1, False)):
        resume = Resume(head_sha256=head.sha256, seq=known)
        changes = org.org_changes(signer="root", resume=resume)
        (org_link,) = changes.org
        jumped = org.sign(head.replace(seq=seq, prev=head.sha256, org_sha256=org_link.sha256))
        if legal:
            assert advance(org.state, changes.replace(heads=(jumped,))).seq == seq
        else:
            refused(org.state, changes.replace(heads=(jumped,)), "does not follow the one before")
    other = Resume(head_sha256=b"h" * 32, seq=1)
    changes = org.org_changes(signer="root", resume=other)
    jumped = org.sign(head.replace(seq=2000, prev=head.sha256, org_sha256=changes.org[0].sha256))
    refused(org.state, changes.replace(heads=(jumped,)), "does not follow the one before")


def test_an_org_link_that_does_not_follow_is_refused(org: TestOrg) -> None:
    changes = org.org_changes(seq=org.state.org.document.seq + 2)
    refused(org.state, changes, "does not follow the one before")


# Structure and documents


def test_an_older_genuine_structure_is_refused_under_a_new_head(org: TestOrg) -> None:
    older = org.server.states[-2].structure
    refused(org.state, rehead(org, NOTHING.replace(structure=older.envelope)), "structure is older than the one before")


def test_another_structure_of_the_same_number_is_refused(org: TestOrg) -> None:
    seq = org.state.structure.document.seq
    refused(org.state, restructured(org, {}, seq=seq), "structure is older than the one before it, or has its number")


def test_a_structure_newer_than_its_head_is_refused(org: TestOrg) -> None:
    refused(org.state, restructured(org, {}, seq=org.state.seq + 2), "head names another structure")


def test_a_structure_whose_documents_did_not_come_is_refused(org: TestOrg) -> None:
    root = org.state.structure.document.documents
    changes = restructured(org, {}, documents=root.replace(size=root.size + 1))
    refused(org.state, changes, "leaves of the documents map do not give its root")


def test_a_documents_name_and_id_are_those_of_its_leaf(org: TestOrg) -> None:
    group = org.group("staging").replace(version=2)
    assert advance(org.state, put(org, group)).groups[group.id].version == 2
    refused(org.state, put(org, group, name="other"), "id or name is not that of its leaf")
    value = DocumentLeaf(name=group.name, sha256=group.sha256).encode()
    changes = restructured(org, {document_key("group", b"i" * 16): value}, group.payload)
    refused(org.state, changes, "id or name is not that of its leaf")


def test_a_document_that_stays_keeps_the_name_of_its_leaf(org: TestOrg) -> None:
    (agent,) = org.state.agents.values()
    for document in (agent, org.group("staging"), org.profile("staging")):
        refused(org.state, put(org, document, name="other"), "id or name is not that of its leaf")
    invited = Invite(
        org_id=org.state.org_id, id=b"i" * 16, public_key=SigningKey(b"i" * 32).public, role="reader", name="guest",
        created=1, not_after=2, **NO_EXTENSIONS,
    )  # fmt: skip
    state = advance(org.state, put(org, invited))
    leaf = DocumentLeaf(name="other", sha256=invited.sha256).encode()
    laid = LaidDocuments(state.documents, state.org_id)
    with pytest.raises(IntegrityError, match="id or name is not that of its leaf"):
        laid.lay({document_key("invite", invited.id): leaf}, [invited.payload], defer_agents=False)


def test_a_payload_of_another_kind_is_refused(org: TestOrg) -> None:
    group = org.group("staging").replace(version=2)
    value = DocumentLeaf(name=group.name, sha256=group.sha256).encode()
    refused(
        org.state, restructured(org, {document_key("profile", group.id): value}, group.payload), "profile has not exactly"
    )


def test_a_missing_payload_is_refused(org: TestOrg) -> None:
    changes = put(org, org.group("staging").replace(version=2))
    refused(org.state, changes.replace(payloads=()), "payload of a document is missing")


def test_a_documents_version_never_falls_nor_stands_for_two(org: TestOrg) -> None:
    org.commit(lambda draft: draft.put(org.profile("staging").replace(description="two")))
    profile = org.profile("staging")
    for version in (profile.version, profile.version - 1):
        changes = put(org, profile.replace(description="other", version=version))
        refused(org.state, changes, "version falls, or stands for two documents")


def test_what_belonged_to_a_document_goes_with_it(org: TestOrg) -> None:
    before, staging, group = org.state, org.profile("staging"), org.group("staging")
    gone: dict[bytes, bytes | None] = {document_key("profile", staging.id): None, document_key("group", group.id): None}
    changes = restructured(org, gone)
    maps = {**changes.maps, CONTENTS: {staging.id: None}}
    contents = map_root({key: value for key, value in before.leaves("contents").items() if key != staging.id})
    after = advance(before, rehead(org, changes.replace(maps=maps), contents=contents))
    assert staging.id not in after.profiles
    assert group.id not in after.groups
    assert not {id_ for _, id_ in after.maps} & {staging.id, group.id}
    # ... and where its leaf in the contents map stays, it is missed
    refused(before, rehead(org, changes), "not those of the profiles")


def test_documents_of_another_org_are_refused(org: TestOrg) -> None:
    group = org.group("staging").replace(version=2, org_id=b"o" * 32)
    refused(org.state, put(org, group), "belongs to another org")
    refused(org.state, restructured(org, {}, org_id=b"o" * 32), "belongs to another org")
    refused(org.state, rehead(org, write(org), org_id=b"o" * 32), "belongs to another org")


def test_the_state_of_another_org_does_not_follow(org: TestOrg) -> None:
    other = found("other")
    with pytest.raises(IntegrityError):
        advance(org.state, other.server.sync(0, 0))


# Contents and entries


def contents_changes(org: TestOrg, **members: Any) -> Changes:
    """A contents of production with other members, named by the head."""
    profile_id = org.profile("production").id
    known = org.state.contents[profile_id].document
    members = {"version": known.version + 1, "seq": org.state.seq + 1, "prev": known.sha256, **members}
    contents = known.replace(**members)
    maps = {CONTENTS: {profile_id: contents.sha256}}
    return rehead(org, NOTHING.replace(contents=(org.sign(contents),), maps=maps))


def test_a_contents_version_never_falls_nor_stands_for_two(org: TestOrg) -> None:
    known = org.state.contents[org.profile("production").id].document
    assert advance(org.state, contents_changes(org)).seq == org.state.seq + 1
    refused(org.state, contents_changes(org, version=known.version - 1), "version of a contents falls")
    refused(org.state, contents_changes(org, version=known.version), "contents version stands for two documents")


def test_a_contents_newer_than_its_head_is_refused(org: TestOrg) -> None:
    refused(org.state, contents_changes(org, seq=org.state.seq + 2), "wrong profile or number")


def test_a_contents_under_another_profile_is_refused(org: TestOrg) -> None:
    production, staging = org.profile("production").id, org.profile("staging").id
    sha256 = org.state.contents[staging].document.sha256
    changes = rehead(org, NOTHING.replace(maps={CONTENTS: {production: sha256}}))
    refused(org.state, changes, "head names other contents of a profile")


def test_a_contents_of_another_org_is_refused(org: TestOrg) -> None:
    refused(org.state, contents_changes(org, org_id=b"o" * 32), "belongs to another org")


def test_a_root_in_the_contents_without_its_leaves_is_refused(org: TestOrg) -> None:
    refused(org.state, contents_changes(org, entries=map_root({})), "entries map do not give its root")
    changes = write(org)
    maps = {map_id: leaves for map_id, leaves in changes.maps.items() if map_id[0] != "entries"}
    refused(org.state, changes.replace(maps=maps), "entries map do not give its root")


def test_a_leaf_without_its_root_is_refused(org: TestOrg) -> None:
    group = org.group("production")
    maps = {("members", group.id): {bytes(16): None}}
    refused(org.state, rehead(org, NOTHING.replace(maps=maps)), "members map do not give its root")


def with_entry(org: TestOrg, **members: Any) -> Changes:
    """A contents in which the first entry says something else."""
    profile_id = org.profile("production").id
    leaves = dict(org.state.leaves("entries", profile_id))
    key = min(leaves)
    changed = decode_entry_leaf(leaves[key]).replace(**members).encode() if members else None
    after = {**{k: v for k, v in leaves.items() if k != key}, **({key: changed} if changed else {})}
    changes = contents_changes(org, entries=map_root(after))
    return changes.replace(maps={**changes.maps, ("entries", profile_id): {key: changed}})


@pytest.mark.parametrize("lower", [{"version": 1}, {"oldest": 1}, {"epoch": 1}, {}])
def test_nothing_of_an_entry_falls_and_none_goes(org: TestOrg, lower: dict[str, int]) -> None:
    profile_id = org.profile("production").id
    key = min(org.state.leaves("entries", profile_id))
    raised = advance(org.state, with_entry(org, version=3, oldest=2, epoch=2))
    org.server.states.append(raised)
    leaf = {"version": 3, "oldest": 2, "epoch": 2, **lower}
    if lower == {"version": 1}:
        leaf["oldest"] = 1
    assert decode_entry_leaf(raised.leaves("entries", profile_id)[key]).version == 3
    changes = with_entry(org, **leaf) if lower else with_entry(org)
    refused(raised, changes, "an entry falls, or is gone")


def test_an_entrys_version_stands_for_one_ciphertext(org: TestOrg) -> None:
    refused(org.state, with_entry(org, ciphertext_sha256=b"c" * 32), "entry's version stands for two ciphertexts")


def test_entries_go_with_their_profile(org: TestOrg) -> None:
    staging = org.profile("staging")
    changes = restructured(org, {document_key("profile", staging.id): None})
    leaves = dict.fromkeys(org.state.leaves("entries", staging.id))
    contents = {key: value for key, value in org.state.leaves("contents").items() if key != staging.id}
    maps = {**changes.maps, CONTENTS: {staging.id: None}, ("entries", staging.id): leaves}
    after = advance(org.state, rehead(org, changes.replace(maps=maps), contents=map_root(contents)))
    assert ("entries", staging.id) not in after.maps


# Signers


def test_the_same_payload_may_be_signed_anew_by_another_who_may(org: TestOrg) -> None:
    head = org.sign(org.state.head.document, "eve")
    contents = org.sign(org.state.contents[org.profile("production").id].document, "eve")
    after = advance(org.state, NOTHING.replace(heads=(head,), contents=(contents,)))
    assert (after.head.envelope, after.seq) == (head, org.state.seq)
    assert after.contents[org.profile("production").id].envelope == contents


@pytest.mark.parametrize("part", ["head", "structure", "contents"])
@pytest.mark.parametrize("name", ["rob", "una"])
def test_a_signature_counts_only_with_its_right(org: TestOrg, part: str, name: str) -> None:
    production = org.profile("production").id
    changes = {
        "head": lambda: NOTHING.replace(heads=(org.sign(org.state.head.document, name),)),
        "structure": lambda: NOTHING.replace(structure=org.sign(org.state.structure.document, name)),
        "contents": lambda: NOTHING.replace(contents=(org.sign(org.state.contents[production].document, name),)),
    }[part]()
    refused(org.state, changes, f"{part} is not signed by somebody who may sign it now")


@pytest.mark.parametrize("part", ["head", "structure", "contents"])
def test_a_broken_signature_is_refused(org: TestOrg, part: str) -> None:
    production = org.profile("production").id
    changes = {
        "head": lambda: NOTHING.replace(heads=(org.state.head.envelope.replace(signature=bytes(64)),)),
        "structure": lambda: NOTHING.replace(structure=org.state.structure.envelope.replace(signature=bytes(64))),
        "contents": lambda: NOTHING.replace(
            contents=(org.state.contents[production].envelope.replace(signature=bytes(64)),)
        ),
    }[part]()
    refused(org.state, changes, "signature does not verify")


def test_signatures_are_verified_again_under_a_new_org_document(org: TestOrg) -> None:
    operators = dict(org.state.org.document.operators)
    ada, rob = org.id("ada"), org.id("rob")
    # the keys of two people swapped: same ids and roles, but the signatures no longer verify
    operators[ada] = operators[ada].replace(sign=operators[rob].sign)
    operators[rob] = operators[rob].replace(sign=org.state.org.document.operators[ada].sign)
    changes = org.org_changes(operators=operators)
    refused(org.state, changes, "signature does not verify")


def test_a_right_taken_away_leaves_what_was_signed_by_it_without_a_signer(org: TestOrg) -> None:
    head = org.sign(org.state.head.document, "eve")
    state = advance(org.state, NOTHING.replace(heads=(head,)))
    operators = {id_: operator for id_, operator in state.org.document.operators.items() if id_ != org.id("eve")}
    document = state.org.document.replace(operators=operators)
    with pytest.raises(IntegrityError, match="head is not signed by somebody"):
        verify_signers(state.replace(org=state.org.replace(document=document)))


def test_difference_and_advance_undo_each_other(org: TestOrg) -> None:
    before = org.state
    org.commit(lambda draft: create_group(draft, "more"))
    org.commit(lambda draft: create_profile(draft, "another"))
    changes = difference(before, org.state).replace(heads=tuple(org.server.heads[-2:]))
    assert advance(before, changes) == org.state
