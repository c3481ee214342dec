"""What only the server can check of a commit: ids that existed, token ids of the whole server, blobs, shares and sizes."""

from __future__ import annotations

import pytest

from stronghold_cli.protocol.documents.base import NO_EXTENSIONS, ZERO_HASH
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.leaves import decode_entry_leaf, decode_old_key_leaf
from stronghold_cli.protocol.encoding import digest
from stronghold_server import commits
from tests.server.furnished import Furnished
from tests.server.refusing import assert_refused, with_changes
from tests.server.support import TestOrg


def test_id_that_is_gone_never_comes_back(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    group_id = org.add_group(draft, "Short-lived")
    org.apply(draft)
    group, leaves = org.state.groups[group_id], dict(org.state.leaves("members", group_id))
    draft = org.draft()
    draft.groups.pop(group_id)
    org.apply(draft)
    draft = org.draft()
    org.add_group(draft, "Again")
    new_id = next(id_ for id_, item in draft.groups.items() if item.name == "Again")
    draft.groups[group_id] = draft.groups.pop(new_id).replace(id=group_id)
    draft.maps["members", group_id] = draft.maps.pop(("members", new_id))
    assert group.id == group_id
    assert leaves
    assert_refused(org, draft.finish(), "the id of a new document was used before")


def test_operator_who_was_removed_does_not_come_back(org: TestOrg) -> None:
    draft = org.draft()
    other = org.add_person(draft, "Otto", "reader")
    org.apply(draft)
    line = draft.org.operators[other.operator_id]
    draft = org.draft()
    operators = dict(draft.org.operators)
    operators.pop(other.operator_id)
    draft.org = draft.org.replace(operators=operators)
    org.apply(draft)
    draft = org.draft()
    draft.blobs.append(other.keyset.seal.public)
    draft.org = draft.org.replace(operators={**draft.org.operators, other.operator_id: line})
    assert_refused(org, draft.finish(), "the id of a new operator was used before")
    for reply in (org.get(other, "/sync?since=0"), org.post(other, "", b"a genesis")):
        assert (reply.status, reply.code) == (401, "OPERATOR_REMOVED")
        assert org.world.last(org.org_id).code == "OPERATOR_REMOVED"


def test_revoked_token_does_not_come_back(full: Furnished) -> None:
    org = full.org
    line = org.state.agents[full.agent].tokens[full.token]
    draft = org.draft()
    org.revoke(draft, full.agent, full.token)
    org.apply(draft)
    draft = org.draft()
    minted = org.tokens[full.token]
    agent = draft.agents[full.agent]
    draft.agents[full.agent] = agent.replace(tokens={**agent.tokens, full.token: line})
    draft.shares[full.token] = minted.share
    draft.blobs.append(minted.seal_public)
    org._seal_token(draft, full.group, full.agent, minted)
    assert_refused(org, draft.finish(), "the id of a new token is taken on this server")


def test_token_id_of_another_org_cannot_be_squatted(full: Furnished) -> None:
    """Attack 23: an admin of another org registers a token id and key that this org uses."""
    other = TestOrg(full.org.world, "Other").create()
    line = full.org.state.agents[full.agent].tokens[full.token]
    draft = other.draft()
    agent_id = other.add_agent(draft, "Squatter")
    token = line.replace(created_by=other.admin.operator_id)
    draft.agents[agent_id] = draft.agents[agent_id].replace(tokens={full.token: token})
    draft.shares[full.token] = b"s" * 32
    draft.blobs.append(full.org.tokens[full.token].seal_public)
    assert_refused(other, draft.finish(), "the id of a new token is taken on this server")
    assert full.org.get_as_token(full.token, "/v1/pull").status == 200


def test_token_id_that_is_not_made_from_its_key_is_refused(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    agent_id = org.add_agent(draft, "Other")
    token_id = org.mint(draft, agent_id)
    tokens = draft.agents[agent_id].tokens
    draft.agents[agent_id] = draft.agents[agent_id].replace(tokens={b"i" * 16: tokens[token_id]})
    draft.shares = {b"i" * 16: draft.shares[token_id]}
    assert_refused(org, draft.finish(), "the id of a new token is not made from its key")


def test_each_blob_that_a_commit_names_must_be_there(org: TestOrg) -> None:
    """Seals, wraps, ciphertexts and public sealing keys: whichever is left out, the commit is refused."""
    draft = org.draft()
    group = org.add_group(draft, "Group")
    profile = org.add_profile(draft, "production", group)
    org.mint(draft, org.add_agent(draft, "Agent", group))
    org.put(draft, profile, "A", b"x")
    org.add_person(draft, "Otto", "admin")
    commit = draft.finish()
    assert len(commit.blobs) == 8
    for left_out in range(len(commit.blobs)):
        blobs = commit.blobs[:left_out] + commit.blobs[left_out + 1 :]
        assert_refused(org, commit.replace(blobs=blobs), "not in the commit", "newly names a blob that it does not carry")
    assert org.send(commit).status == 200


def test_old_key_box_must_be_there(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    org.put(draft, full.profile, "A", b"newer", full.secret)
    org.apply(draft)
    draft = org.draft()
    org.rekey_profile(draft, full.profile)
    commit = draft.finish()
    for left_out in range(len(commit.blobs)):
        blobs = commit.blobs[:left_out] + commit.blobs[left_out + 1 :]
        assert_refused(org, commit.replace(blobs=blobs), "not in the commit", "newly names a blob that it does not carry")


def test_blob_that_nothing_names_is_refused(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    org.put(draft, full.profile, "A", b"x")
    commit = draft.finish()
    assert_refused(org, commit.replace(blobs=(*commit.blobs, b"spare")), "a blob that it does not newly name")
    assert_refused(org, commit.replace(blobs=commit.blobs * 2), "a blob stands twice")


def test_editor_cannot_name_what_is_there_already(full: Furnished) -> None:
    """All leaves are known to all operators: naming another profile's blob must neither deliver nor keep it."""
    org = full.org
    draft = org.draft()
    other = org.add_profile(draft, "other", full.group)
    org.apply(draft)
    foreign = next(iter(blobs_of(org)))
    wrap = org.state.profiles[full.profile].grants[full.group].wrap_sha256
    for sha256 in (foreign, wrap):
        draft = org.draft()
        org.put(draft, other, "STOLEN", b"x")
        entries = draft.leaves("entries", other)
        (secret_id,) = entries
        own = decode_entry_leaf(entries[secret_id]).ciphertext_sha256
        entries[secret_id] = entries[secret_id].replace(own, sha256)
        draft.blobs.clear()
        assert_refused(org, draft.finish(), "an entry names a ciphertext that is not in the commit")
        with org.world.store.read() as reader:
            draft.blobs.append(reader.blobs(org.org_id, [sha256])[sha256])
        assert_refused(org, draft.finish(), "a blob that is not new")


def test_new_epoch_keeps_the_keys_of_kept_versions(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    org.put(draft, full.profile, "A", b"newer", full.secret)
    org.apply(draft)
    draft = org.draft()
    org.rekey_profile(draft, full.profile)
    leaves = draft.leaves("old_keys", full.profile)
    boxes = {decode_old_key_leaf(value).box_sha256 for value in leaves.values()}
    leaves.clear()
    draft.blobs[:] = [blob for blob in draft.blobs if digest(blob) not in boxes]
    assert_refused(org, draft.finish(), "a kept version of a secret has no old key")


def test_blob_that_is_too_large_is_refused(full: Furnished, monkeypatch: pytest.MonkeyPatch) -> None:
    org = full.org
    monkeypatch.setattr(commits, "MAX_BLOB", 1000)
    draft = org.draft()
    org.put(draft, full.profile, "A", b"x" * 2000)
    assert_refused(org, draft.finish(), "too large")


def test_profile_that_holds_too_much_ciphertext_is_refused(full: Furnished, monkeypatch: pytest.MonkeyPatch) -> None:
    org = full.org
    draft = org.draft()
    org.put(draft, full.profile, "A", b"x" * 1000)
    commit = draft.finish()
    live = sum(len(blob) for blob in blobs_of(org).values()) + len(commit.blobs[0])
    monkeypatch.setattr(commits, "MAX_CIPHERTEXT", live - 1)
    assert_refused(org, commit, "of ciphertext")
    monkeypatch.setattr(commits, "MAX_CIPHERTEXT", live)
    assert org.send(commit).status == 200


def blobs_of(org: TestOrg) -> dict[bytes, bytes]:
    """The ciphertexts of all live entries."""
    hashes = {
        entry.ciphertext_sha256
        for profile_id in org.state.profiles
        for entry in org.state.entries(profile_id).values()
        if entry.is_live
    }
    with org.world.store.read() as reader:
        return reader.blobs(org.org_id, hashes)


def test_public_sealing_key_of_low_order_is_refused(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    token_id = org.mint(draft, full.agent)
    good = org.tokens[token_id].seal_public
    bad = good[:1184] + bytes(32)
    org.change_token(draft, full.agent, token_id, seal_sha256=digest(bad))
    draft.blobs[draft.blobs.index(good)] = bad
    leaves = draft.leaves("members", full.group)
    leaves[token_id] = leaves[token_id].replace(digest(good), digest(bad))
    assert_refused(org, draft.finish(), "low order")


@pytest.mark.parametrize("case", ["missing", "spare", "of a known token"])
def test_shares_are_exactly_those_of_the_new_tokens(full: Furnished, case: str) -> None:
    org = full.org
    draft = org.draft()
    org.mint(draft, full.agent)
    commit = draft.finish()
    shares = {
        "missing": {},
        "spare": {**commit.shares, b"x" * 16: b"s" * 32},
        "of a known token": {**commit.shares, full.token: b"s" * 32},
    }[case]
    with org.world.store.read() as reader:
        share = reader.share(org.org_id, full.token)
    assert_refused(org, commit.replace(shares=shares), "exactly one share for each new token")
    with org.world.store.read() as reader:
        assert reader.share(org.org_id, full.token) == share


def test_document_that_is_not_changed_or_contents_that_is_not_current_is_refused(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    org.put(draft, full.profile, "A", b"x")
    commit = draft.finish()
    payload = org.state.groups[full.group].payload
    assert_refused(org, with_changes(commit, payloads=(payload,)), "other documents than those that it changes")
    stray = Contents(
        org_id=org.org_id,
        profile_id=b"p" * 16,
        seq=org.state.seq + 1,
        version=1,
        prev=ZERO_HASH,
        profile_epoch=1,
        entries=org.state.contents[full.profile].document.entries,
        created=org.world.now,
        **NO_EXTENSIONS,
    )
    contents = (*commit.changes.contents, org.admin.sign("contents", stray.payload))
    assert_refused(org, with_changes(commit, contents=contents), "a contents that it does not make current")


def test_map_that_belongs_to_no_document_is_refused(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    org.put(draft, full.profile, "A", b"x")
    commit = draft.finish()
    maps = {**commit.changes.maps, ("members", b"n" * 16): {b"k" * 16: None}}
    assert_refused(org, with_changes(commit, maps=maps), "a map that belongs to no document")
