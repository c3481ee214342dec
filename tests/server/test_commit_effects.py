"""What a commit takes with it, physically, and what operators get of it by sync (protocol section 5)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stronghold_cli.protocol.documents.base import ZERO_HASH
from stronghold_cli.protocol.messages import decode_sync
from stronghold_cli.protocol.state import CONTENTS, DOCUMENTS, OrgState, advance
from tests.server.furnished import Furnished
from tests.server.refusing import add_editor, lockdown
from tests.server.support import Draft, TestOrg, World

# What goes with it.


def share_and_blobs(org: TestOrg, token_id: bytes, hashes: set[bytes]) -> tuple[bytes | None, set[bytes]]:
    with org.world.store.read() as reader:
        return reader.share(org.org_id, token_id), set(reader.blobs(org.org_id, hashes))


def on_disk(world: World, content: bytes) -> bool:
    """Whether the bytes are in the database or its write-ahead log."""
    return any(content in path.read_bytes() for path in world.folder.iterdir())


def test_revoking_deletes_share_seals_and_public_key_physically(full: Furnished) -> None:
    org = full.org
    sealed = org.state.group_members(full.group)[full.token].sealed_sha256
    public_key = org.state.agents[full.agent].tokens[full.token].seal_sha256
    share, blobs = share_and_blobs(org, full.token, {sealed, public_key})
    assert share is not None
    assert on_disk(org.world, share)
    assert blobs == {sealed, public_key}
    draft = org.draft()
    org.revoke(draft, full.agent, full.token)
    org.apply(draft)
    assert share_and_blobs(org, full.token, {sealed, public_key}) == (None, set())
    assert not on_disk(org.world, share)
    with org.world.store.read() as reader:
        row = reader.token(full.token)
        assert row is not None
        assert row.ended == "revoked"
    other, _ = share_and_blobs(org, full.second_token, set())
    assert other is not None


def test_expired_token_that_leaves_its_agent_is_said_to_have_expired(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    org.change_token(draft, full.agent, full.token, not_after=org.world.now + 10)
    org.apply(draft)
    org.world.now += 11
    draft = org.draft()
    org.revoke(draft, full.agent, full.token)
    org.apply(draft)
    with org.world.store.read() as reader:
        row = reader.token(full.token)
        assert row is not None
        assert row.ended == "expired"
    assert org.get_as_token(full.token, "/v1/pull").code == "TOKEN_EXPIRED"


def ciphertext(org: TestOrg, full: Furnished, secret_id: bytes) -> bytes:
    return org.state.entries(full.profile)[secret_id].ciphertext_sha256


def test_older_version_stays_until_it_is_purged(full: Furnished) -> None:
    org = full.org
    first = ciphertext(org, full, full.secret)
    draft = org.draft()
    org.put(draft, full.profile, "DATABASE_URL", b"second", full.secret)
    org.apply(draft)
    second = ciphertext(org, full, full.secret)
    assert share_and_blobs(org, full.token, {first, second})[1] == {first, second}
    draft = org.draft()
    org.change_entry(draft, full.profile, full.secret, oldest=2)
    org.apply(draft)
    assert share_and_blobs(org, full.token, {first, second})[1] == {second}


def test_deleted_secret_stays_in_the_history_until_it_is_purged(full: Furnished) -> None:
    org = full.org
    first = ciphertext(org, full, full.secret)
    draft = org.draft()
    org.change_entry(draft, full.profile, full.secret, version=2, ciphertext_sha256=ZERO_HASH)
    org.apply(draft)
    assert share_and_blobs(org, full.token, {first})[1] == {first}
    draft = org.draft()
    org.change_entry(draft, full.profile, full.secret, oldest=2)
    org.apply(draft)
    assert share_and_blobs(org, full.token, {first})[1] == set()


def test_rekey_deletes_current_ciphertexts_seals_and_wraps_of_the_former_epoch(full: Furnished) -> None:
    org = full.org
    members = org.state.group_members(full.group).values()
    former = {
        *(leaf.sealed_sha256 for leaf in members),
        org.state.profiles[full.profile].grants[full.group].wrap_sha256,
        ciphertext(org, full, full.secret),
        ciphertext(org, full, full.second_secret),
    }
    draft = org.draft()
    org.rekey_group(draft, full.group)
    org.apply(draft)
    assert share_and_blobs(org, full.token, former)[1] == set()
    # No version under the old key is kept, so the box of that key is not either.
    (box,) = org.state.old_keys(full.profile).values()
    assert share_and_blobs(org, full.token, {box.box_sha256})[1] == set()


def test_old_key_box_stays_as_long_as_a_kept_version_needs_it(full: Furnished) -> None:
    org = full.org
    first = ciphertext(org, full, full.secret)
    draft = org.draft()
    org.put(draft, full.profile, "DATABASE_URL", b"second", full.secret)
    org.apply(draft)
    draft = org.draft()
    org.rekey_profile(draft, full.profile)
    org.apply(draft)
    (box,) = org.state.old_keys(full.profile).values()
    assert share_and_blobs(org, full.token, {first, box.box_sha256})[1] == {first, box.box_sha256}
    draft = org.draft()
    org.change_entry(draft, full.profile, full.secret, oldest=2)
    org.apply(draft)
    assert share_and_blobs(org, full.token, {first, box.box_sha256})[1] == set()


def test_deleted_profile_takes_its_ciphertexts_of_all_versions_with_it(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    profile = org.add_profile(draft, "staging", full.group)
    secret = org.put(draft, profile, "A", b"one")
    org.apply(draft)
    draft = org.draft()
    org.put(draft, profile, "A", b"two", secret)
    org.apply(draft)
    with org.world.store.read() as reader:
        kept = reader.leaves(org.org_id, b"kept/" + profile)
    assert len(kept) == 2
    hashes = {
        org.state.entries(profile)[secret].ciphertext_sha256,
        org.state.profiles[profile].grants[full.group].wrap_sha256,
    }
    draft = org.draft()
    draft.profiles.pop(profile)
    org.apply(draft)
    assert share_and_blobs(org, full.token, hashes)[1] == set()
    with org.world.store.read() as reader:
        assert reader.leaves(org.org_id, b"kept/" + profile) == {}
        assert reader.leaves(org.org_id, b"entries/" + profile) == {}
        assert reader.current_document(org.org_id, "contents", profile) is None
    assert org.get_as_token(full.token, "/v1/pull").status == 200


def test_removed_operator_keeps_neither_seals_nor_login(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    other = org.add_person(draft, "Otto", "admin")
    org.apply(draft)
    sealed = org.state.group_members(full.group)[other.operator_id].sealed_sha256
    draft = org.draft()
    operators = dict(draft.org.operators)
    operators.pop(other.operator_id)
    draft.org = draft.org.replace(operators=operators)
    org.rekey_group(draft, full.group)
    org.apply(draft)
    hashes = {sealed, other.keyset.seal.public_sha256}
    assert share_and_blobs(org, full.token, hashes)[1] == set()
    with org.world.store.read() as reader:
        row = reader.operator(org.org_id, other.operator_id)
        assert row is not None
        assert row.ended


# What operators get of it.


def test_sync_from_every_head_gives_the_same_state(full: Furnished) -> None:
    org = full.org
    states: list[OrgState] = [org.state]
    editor = add_editor(org, full)
    states.append(org.state)
    steps: list[Callable[[Draft], object]] = [
        lambda draft: org.put(draft, full.profile, "DATABASE_URL", b"new", full.secret),
        lambda draft: org.revoke(draft, full.agent, full.token),
        lambda draft: org.add_profile(draft, "staging", full.group),
        lambda draft: org.rekey_group(draft, full.group),
        lambda draft: draft.profiles.pop(next(id_ for id_, p in draft.profiles.items() if p.name == "staging")),
        lambda draft: draft.sign_anew.add(full.profile),
        lambda draft: setattr(draft, "lockdowns", (lockdown(),)),
        lambda draft: org.add_group(draft, "Other"),
    ]
    for step in steps:
        draft = org.draft()
        step(draft)
        if draft.sign_anew:  # a head of its own, with nothing new under it but a signature
            draft.created += 1
        org.apply(draft)
        states.append(org.state)
    whole = decode_sync(org.get(org.admin, "/sync?since=0&org_seq=0").body)
    assert advance(None, whole, anchor=whole.org[0].sha256).head == org.state.head
    for known in states:
        reply = org.get(editor, f"/sync?since={known.seq}&org_seq={known.org.document.seq}")
        followed = advance(known, decode_sync(reply.body))
        assert followed.head == org.state.head
        assert followed.contents == org.state.contents
        assert {key: dict(leaves) for key, leaves in followed.maps.items() if leaves} == {
            key: dict(leaves) for key, leaves in org.state.maps.items() if leaves
        }


def test_sync_from_the_newest_head_brings_nothing(full: Furnished) -> None:
    org = full.org
    changes = decode_sync(org.get(org.admin, f"/sync?since={org.state.seq}&org_seq=1").body)
    assert (changes.org, changes.heads, changes.structure, changes.contents, changes.payloads) == ((), (), None, (), ())
    assert changes.maps == {}


@pytest.mark.parametrize("query", ["since=3&org_seq=1", "since=2&org_seq=2"])
def test_sync_from_a_head_that_the_server_does_not_have_is_told_as_such(full: Furnished, query: str) -> None:
    reply = full.org.get(full.org.admin, f"/sync?{query}")
    assert (reply.status, reply.code) == (409, "ANCHOR_UNKNOWN")


def test_state_in_memory_is_the_one_in_the_store(full: Furnished) -> None:
    """After many commits, a server that reads everything back has the same leaves."""
    org = full.org
    for number in range(5):
        draft = org.draft()
        org.put(draft, full.profile, "DATABASE_URL", str(number).encode(), full.secret)
        org.apply(draft)
    before = org.get(org.admin, "/sync?since=0&org_seq=0").body
    org.world.restart()
    assert decode_sync(org.get(org.admin, "/sync?since=0&org_seq=0").body) == decode_sync(before)
    with org.world.store.read() as reader:
        assert reader.leaves(org.org_id, b"documents") == dict(org.state.maps[DOCUMENTS])
        assert reader.leaves(org.org_id, b"contents") == dict(org.state.maps[CONTENTS])


def test_documents_that_were_signed_anew_reach_those_who_know_them(full: Furnished) -> None:
    """Section 5, "Currency": same payload, another signature; the server keeps and delivers the newest envelope."""
    org = full.org
    draft = org.draft()
    other = org.add_person(draft, "Otto", "admin")
    org.apply(draft)
    draft = org.draft(other)
    org.put(draft, full.profile, "DATABASE_URL", b"by Otto", full.secret)
    draft.lockdowns = (lockdown(),)
    org.apply(draft, other)
    known = org.state
    draft = org.draft()
    draft.sign_anew.add(full.profile)
    draft.sign_structure_anew = True
    org.apply(draft)
    assert org.state.contents[full.profile].document == known.contents[full.profile].document
    assert org.state.contents[full.profile].envelope != known.contents[full.profile].envelope
    assert org.state.structure.envelope != known.structure.envelope
    for _ in range(2):
        reply = org.get(org.admin, f"/sync?since={known.seq}&org_seq={known.org.document.seq}")
        followed = advance(known, decode_sync(reply.body))
        assert followed.contents == org.state.contents
        assert followed.structure == org.state.structure
        org.world.restart()
