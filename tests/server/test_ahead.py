"""Blobs sent ahead of their commit: named by their sender alone, told to their sender alone, bounded, and swept."""

from __future__ import annotations

import os

import pytest

from stronghold_cli.protocol.documents.leaves import EntryLeaf, decode_entry_leaf
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.messages import Commit, decode_ahead, encode_ahead, encode_blobs
from stronghold_cli.protocol.names import MAX_CIPHERTEXT, MAX_SECRETS
from stronghold_cli.vault import ahead as client_ahead
from stronghold_cli.vault.ahead import PART_BLOBS
from stronghold_server.ahead import LEAST_BYTES, MAX_BLOBS
from stronghold_server.commits import MAX_BLOB
from stronghold_server.housekeeping import UNNAMED_SECONDS
from stronghold_server.settings import load_settings
from tests.server.furnished import Furnished
from tests.server.refusing import add_editor, assert_refused
from tests.server.support import Person, Reply, TestOrg, World
from tests.server.test_housekeeping import housekeeping


def send_ahead(org: TestOrg, blobs: list[bytes], person: Person | None = None) -> Reply:
    return org.post(person or org.admin, "/blobs", encode_blobs(blobs))


def forget(org: TestOrg, hashes: list[bytes], person: Person | None = None) -> Reply:
    return org.post(person or org.admin, "/blobs-forget", encode_ahead(hashes))


def ahead(org: TestOrg, person: Person | None = None) -> frozenset[bytes]:
    reply = org.get(person or org.admin, "/blobs")
    assert reply.status == 200, reply.body
    return decode_ahead(reply.body)


def blobs_on_server(org: TestOrg, hashes: list[bytes]) -> set[bytes]:
    with org.world.store.read() as reader:
        return set(reader.blobs(org.org_id, hashes))


def commit_of_one(full: Furnished, author: Person | None = None) -> Commit:
    draft = full.org.draft(author)
    full.org.put(draft, full.profile, f"SECRET_{os.urandom(4).hex()}", b"x")
    return draft.finish()


def test_commit_names_what_its_author_sent_ahead(full: Furnished) -> None:
    org, commit = full.org, commit_of_one(full)
    hashes = [digest(blob) for blob in commit.blobs]
    reply = send_ahead(org, list(commit.blobs))
    assert decode_ahead(reply.body) == set(hashes) == ahead(org)
    entry = org.world.log(org.org_id)[-2]
    assert (entry.kind, entry.outcome, entry.document) == ("blobs", "ok", None)
    assert org.send(commit.replace(blobs=())).status == 200
    assert ahead(org) == frozenset()
    assert blobs_on_server(org, hashes) == set(hashes)


def test_blob_sent_ahead_by_another_cannot_be_named(full: Furnished) -> None:
    org = full.org
    editor = add_editor(org, full)
    commit = commit_of_one(full, editor)
    send_ahead(org, list(commit.blobs))
    assert_refused(org, commit.replace(blobs=()), "a ciphertext that is not in the commit", author=editor)
    assert len(ahead(org)) == 1
    send_ahead(org, list(commit.blobs), editor)
    assert org.send(commit.replace(blobs=()), editor).status == 200


def test_nobody_is_told_of_blobs_that_others_sent_or_that_are_named(full: Furnished) -> None:
    org = full.org
    editor = add_editor(org, full)
    send_ahead(org, [b"of the admin"])
    assert ahead(org, editor) == frozenset()
    known = decode_entry_leaf(org.state.leaves("entries", full.profile)[full.secret]).ciphertext_sha256
    with org.world.store.read() as reader:
        (named,) = reader.blobs(org.org_id, [known]).values()
    mine, strange = send_ahead(org, [b"new"], editor), send_ahead(org, [named], editor)
    assert decode_ahead(mine.body) == {digest(b"new")}
    assert decode_ahead(strange.body) == {known}
    assert ahead(org, editor) == {digest(b"new"), known}


def test_named_blob_sent_ahead_once_more_is_still_not_new(full: Furnished) -> None:
    """Whoever has the bytes of another profile's ciphertext cannot pin it under a profile of theirs."""
    org = full.org
    entry = decode_entry_leaf(org.state.leaves("entries", full.profile)[full.secret])
    with org.world.store.read() as reader:
        (blob,) = reader.blobs(org.org_id, [entry.ciphertext_sha256]).values()
    send_ahead(org, [blob])
    draft = org.draft()
    other = org.add_profile(draft, "other", full.group)
    draft.leaves("entries", other)[os.urandom(16)] = EntryLeaf(
        version=1, epoch=1, ciphertext_sha256=entry.ciphertext_sha256, prev=bytes(32), oldest=1
    ).encode()
    assert_refused(org, draft.finish(), "names a blob that is not new")


def test_sealing_key_that_is_bad_is_refused_though_it_came_ahead(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    person = org.add_person(draft, "Otto", "reader")
    bad = bytes(1184) + bytes(32)  # an X25519 half of low order
    line = draft.org.operators[person.operator_id].replace(seal_sha256=digest(bad))
    draft.org = draft.org.replace(operators={**draft.org.operators, person.operator_id: line})
    commit = draft.finish().replace(blobs=())
    send_ahead(org, [bad])
    assert_refused(org, commit, "a sealing key is of low order")


def test_blob_of_a_commit_that_never_comes_goes_after_a_day(full: Furnished) -> None:
    org, world = full.org, full.org.world
    send_ahead(org, [b"first"])
    world.now += UNNAMED_SECONDS // 2
    send_ahead(org, [b"second"])
    world.now += UNNAMED_SECONDS // 2 + 1
    org.get(org.admin, "/keys")
    world.loop.run_until_complete(housekeeping(full)[0].purge())
    assert ahead(org) == {digest(b"second")}
    assert blobs_on_server(org, [digest(b"first"), digest(b"second")]) == {digest(b"second")}


def test_what_is_not_wanted_any_more_goes_at_once_and_only_the_own(full: Furnished) -> None:
    org = full.org
    editor = add_editor(org, full)
    known = decode_entry_leaf(org.state.leaves("entries", full.profile)[full.secret]).ciphertext_sha256
    send_ahead(org, [b"mine", b"kept"])
    send_ahead(org, [b"theirs"], editor)
    hashes = [digest(blob) for blob in (b"mine", b"kept", b"theirs")]
    reply = forget(org, [hashes[0], hashes[2], known, digest(b"never sent")])
    assert decode_ahead(reply.body) == {hashes[1]} == ahead(org)
    assert ahead(org, editor) == {hashes[2]}
    assert blobs_on_server(org, [*hashes, known]) == {hashes[1], hashes[2], known}


def test_what_two_have_sent_stays_for_the_other_when_one_forgets(full: Furnished) -> None:
    org = full.org
    editor = add_editor(org, full)
    shared = digest(b"the very same")
    send_ahead(org, [b"the very same"])
    send_ahead(org, [b"the very same"], editor)
    assert decode_ahead(forget(org, [shared], editor).body) == frozenset()
    assert (ahead(org), blobs_on_server(org, [shared])) == ({shared}, {shared})
    forget(org, [shared])
    assert blobs_on_server(org, [shared]) == set()


def test_a_request_holds_a_bounded_number_of_blobs(full: Furnished) -> None:
    blobs = [number.to_bytes(3, "big") for number in range(MAX_BLOBS + 1)]
    assert PART_BLOBS <= MAX_BLOBS
    reply = send_ahead(full.org, blobs)
    assert (reply.status, reply.code) == (400, "MALFORMED")
    assert send_ahead(full.org, blobs[1:]).status == 200


def test_a_request_to_forget_fits_into_the_smallest_bodies() -> None:
    body = encode_ahead([os.urandom(32) for _ in range(client_ahead._FORGOTTEN_AT_ONCE)])
    assert len(body) <= load_settings({}).max_body_bytes


def test_a_named_blob_that_was_sent_ahead_once_more_stays_when_that_is_forgotten(full: Furnished) -> None:
    org = full.org
    known = decode_entry_leaf(org.state.leaves("entries", full.profile)[full.secret]).ciphertext_sha256
    with org.world.store.read() as reader:
        (named,) = reader.blobs(org.org_id, [known]).values()
    send_ahead(org, [named])
    assert decode_ahead(forget(org, [known]).body) == frozenset()
    assert blobs_on_server(org, [known]) == {known}


def test_commit_whose_blob_went_meanwhile_is_refused(full: Furnished) -> None:
    org, commit = full.org, commit_of_one(full)
    send_ahead(org, list(commit.blobs))
    org.world.store.write(lambda writer: writer.sweep_sent_ahead(org.org_id, org.world.now + 1, 100)).result()
    assert_refused(org, commit.replace(blobs=()), "a ciphertext that is not in the commit")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (encode_blobs([]), "MALFORMED"),
        (encode_blobs([b"a", b"a"]), "MALFORMED"),
        (encode_blobs([bytes(MAX_BLOB + 1)]), "MALFORMED"),
        (encode_blobs([bytes(MAX_BLOB)]), ""),
        (b'{"blobs":["*"]}', "MALFORMED"),
        (b'{"blobs":["YQ=="],"more":1}', "MALFORMED"),
    ],
)
def test_bodies(full: Furnished, body: bytes, code: str) -> None:
    reply = full.org.post(full.org.admin, "/blobs", body)
    assert reply.code == code
    assert bool(ahead(full.org)) == (not code)


def test_part_has_a_limit_of_its_own(full: Furnished) -> None:
    limit = full.org.world.settings.max_part_bytes
    for size, code in ((limit, "MALFORMED"), (limit + 1, "TOO_LARGE")):
        reply = full.org.post(full.org.admin, "/blobs", b" " * size)
        assert reply.code == code


def test_room_of_an_operator_and_of_an_org(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = World(tmp_path_factory.mktemp("small"), max_ahead_bytes="8192")
    try:
        org = TestOrg(world).create()
        draft = org.draft()
        people = [org.add_person(draft, f"Person {number}", "editor") for number in range(5)]
        org.apply(draft)
        blob = os.urandom(8192)
        assert send_ahead(org, [blob]).status == 200
        assert send_ahead(org, [blob]).status == 200  # what is there already takes no more room
        refused = send_ahead(org, [b"one more"])
        assert (refused.status, refused.code) == (409, "AHEAD_FULL")
        assert ahead(org) == {digest(blob)}
        tiny = [bytes([number]) for number in range(8192 // LEAST_BYTES + 1)]
        assert send_ahead(org, tiny, people[0]).code == "AHEAD_FULL"
        assert send_ahead(org, tiny[:-1], people[0]).status == 200
        for person in people[1:3]:
            assert send_ahead(org, [os.urandom(8192)], person).status == 200
        assert send_ahead(org, [b"x"], people[3]).code == "AHEAD_FULL"
        # What editors sent does not keep an admin from theirs.
        assert decode_ahead(forget(org, [digest(blob)]).body) == frozenset()
        assert send_ahead(org, [os.urandom(8192)], people[3]).status == 200
        assert send_ahead(org, [b"y"], people[4]).code == "AHEAD_FULL"
        assert send_ahead(org, [os.urandom(8192)]).status == 200
    finally:
        world.close()


# The limits of a profile, with the numbers as they are: its blobs are put into the store as sent ahead.


def put_ahead(org: TestOrg, blobs: dict[bytes, bytes]) -> None:
    def work(writer: object) -> None:
        for sha256, blob in blobs.items():
            writer.put_blob(org.org_id, sha256, blob, org.world.now)  # type: ignore[attr-defined]
            writer.note_sent_ahead(org.org_id, org.admin.operator_id, sha256, len(blob), org.world.now)  # type: ignore[attr-defined]

    org.world.store.write(work).result()


def with_entries(org: TestOrg, profile: bytes, hashes: list[bytes]) -> Commit:
    draft = org.draft()
    for sha256 in hashes:
        leaf = EntryLeaf(version=1, epoch=1, ciphertext_sha256=sha256, prev=bytes(32), oldest=1)
        draft.leaves("entries", profile)[os.urandom(16)] = leaf.encode()
    return draft.finish()


def apply(org: TestOrg, profile: bytes, blobs: dict[bytes, bytes]) -> None:
    from stronghold_cli.protocol.state import advance

    put_ahead(org, blobs)
    commit = with_entries(org, profile, list(blobs))
    reply = org.send(commit)
    assert reply.status == 200, reply.body
    org.state = advance(org.state, commit.changes)


@pytest.fixture
def empty(org: TestOrg) -> tuple[TestOrg, bytes]:
    draft = org.draft()
    profile = org.add_profile(draft, "large", org.add_group(draft, "Group"))
    org.apply(draft)
    return org, profile


def test_profile_of_64_mib_is_taken_and_a_byte_more_refused(empty: tuple[TestOrg, bytes]) -> None:
    org, profile = empty
    blobs = {digest(blob): blob for blob in (bytes([number]) * MAX_BLOB for number in range(MAX_CIPHERTEXT // MAX_BLOB))}
    assert sum(map(len, blobs.values())) == MAX_CIPHERTEXT
    apply(org, profile, blobs)
    more = {digest(b"\xff"): b"\xff"}
    put_ahead(org, more)
    assert_refused(org, with_entries(org, profile, list(more)), "more than 64 MiB of ciphertext")


def test_profile_of_20000_secrets_is_taken_and_one_more_refused(empty: tuple[TestOrg, bytes]) -> None:
    org, profile = empty
    blobs = {digest(blob): blob for blob in (number.to_bytes(4, "big") for number in range(MAX_SECRETS))}
    apply(org, profile, blobs)
    more = {digest(b"more"): b"more"}
    put_ahead(org, more)
    assert_refused(org, with_entries(org, profile, list(more)), "more than 20000 secrets")
