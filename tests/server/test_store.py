"""The store on a real database: isolation, durability, group commit, physical deletion (protocol sections 3, 5, 7)."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from stronghold_cli.protocol.errors import Conflict, LocalFileError, NotFound
from stronghold_server.folder import DataFolder
from stronghold_server.log import verify_log
from stronghold_server.store import sqlite, sqlite_reading, sqlite_writing
from stronghold_server.store.interface import COUNTER_KINDS, NO_HEAD, Reader, Side, StorageFailed, Writer
from stronghold_server.store.sqlite import SqliteStore, check_sqlite_release

ORG = b"\x01" * 32
OTHER_ORG = b"\x02" * 32
NOW = 1_800_000_000


def hash_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


def id_of(number: int) -> bytes:
    return number.to_bytes(16, "big")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "stronghold.db")


@pytest.fixture
def store(path: str) -> Iterator[SqliteStore]:
    store = SqliteStore(path, now=NOW)
    store.write(lambda w: w.create_org(ORG, "Acme", NOW)).result()
    store.write(lambda w: w.create_org(OTHER_ORG, "Other", NOW)).result()
    yield store
    store.close()


def do(store: SqliteStore, *steps: Callable[[Writer], object]) -> None:
    store.write(lambda w: [step(w) for step in steps]).result()


def bytes_on_disk(path: str) -> bytes:
    return b"".join(Path(name).read_bytes() for name in (path, f"{path}-wal") if Path(name).exists())


# Transactions


def test_work_that_raises_leaves_nothing_and_keeps_its_neighbours(store: SqliteStore) -> None:
    gate = threading.Event()
    store.write(lambda w: gate.wait(5))  # the next three meet in one batch

    def fail(w: Writer) -> None:
        w.put_payload(ORG, hash_of(2), b"two")
        raise ValueError("a fault of this work")

    first = store.write(lambda w: w.put_payload(ORG, hash_of(1), b"one"))
    second = store.write(fail)
    third = store.write(lambda w: w.put_payload(ORG, hash_of(3), b"three"))
    gate.set()
    first.result()
    with pytest.raises(ValueError, match="a fault of this work"):
        second.result()
    third.result()
    with store.read() as reader:
        assert reader.payloads(ORG, map(hash_of, (1, 2, 3))) == {hash_of(1): b"one", hash_of(3): b"three"}
    assert store.status().ready


def test_entries_of_one_batch_follow_each_other_and_a_work_that_raises_leaves_no_gap(store: SqliteStore) -> None:
    gate = threading.Event()
    store.write(lambda w: gate.wait(5))  # the next three meet in one batch

    def enter(w: Writer, text: bytes) -> int:
        assert w.append_entry(ORG, lambda index, _: b"%s %d" % (text, index), now=NOW, head_seq=1).leaf
        log = w.log_head(ORG)
        assert log is not None
        return log.size

    def fail(w: Writer) -> None:
        enter(w, b"undone")
        raise ValueError("a fault of this work")

    first = store.write(lambda w: enter(w, b"first"))
    second = store.write(fail)
    third = store.write(lambda w: enter(w, b"third"))
    other = store.write(lambda w: w.append_entry(OTHER_ORG, lambda index, _: b"%d" % index, now=NOW, head_seq=1).index)
    gate.set()
    assert (first.result(), third.result(), other.result()) == (1, 2, 0)
    assert isinstance(second.exception(), ValueError)
    with store.read() as reader:
        assert [leaf for _, leaf in reader.log_leaves(ORG, 0, 10)] == [b"first 0", b"third 1"]
        assert verify_log(reader, ORG).size == 2
        assert verify_log(reader, OTHER_ORG).size == 1


def test_works_of_one_batch_see_each_others_heads_and_not_those_that_were_undone(store: SqliteStore) -> None:
    gate = threading.Event()
    seen: list[tuple[str, bytes | None]] = []

    def advance(w: Writer, name: str, seq: int, expected: bytes) -> None:
        head = w.lock_head(ORG)
        seen.append((name, head and head.sha256))
        w.advance_head(ORG, expected=expected, seq=seq, sha256=hash_of(seq), envelope=b"head")
        head = w.lock_head(ORG)
        assert head is not None
        assert head.sha256 == hash_of(seq)

    def undone(w: Writer) -> None:
        advance(w, "undone", 2, hash_of(1))
        raise ValueError("a fault of this work")

    for works in ([], [undone]):  # the second time all of them are run again, each for itself
        store.write(lambda w: gate.wait(5))
        start = len(seen)
        base = 0 if not works else 3
        first = store.write(lambda w, b=base: advance(w, "first", b + 1, hash_of(b) if b else NO_HEAD))
        others = [store.write(work) for work in works]
        second = store.write(lambda w, b=base: advance(w, "second", b + 2, hash_of(b + 1)))
        third = store.write(lambda w, b=base: advance(w, "third", b + 3, hash_of(b + 2)))
        gate.set()
        for done in (first, second, third):
            done.result()
        assert all(other.exception() for other in others)
        assert seen[start:][-1] == ("third", hash_of(base + 2))
        gate.clear()
    with store.read() as reader:
        head = reader.head(ORG)
        assert head is not None
        assert head.sha256 == hash_of(6)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40, 75])
def test_entries_of_one_transaction_are_written_whatever_their_number_and_read_by_the_work_itself(
    store: SqliteStore, count: int
) -> None:
    side = Side(salt=b"\x05" * 16, address="192.0.2.1", user_agent="test")

    def work(w: Writer) -> None:
        for index in range(count):
            w.append_entry(ORG, lambda number, _: b"entry %d" % number, now=NOW, head_seq=1, side=side)
            assert w.log_leaves(ORG, index, 2) == [(index, b"entry %d" % index)]
            assert len(w.log_nodes(ORG, 0, index, 2)) == 1
            assert w.log_side(ORG, index) == side

    store.write(work).result()
    store.write(
        lambda w: [
            w.append_entry(ORG, lambda number, _: b"entry %d" % number, now=NOW, head_seq=1, side=side) for _ in range(count)
        ]
    ).result()
    with store.read() as reader:
        assert reader.log_leaves(ORG, 0, 1000) == [(index, b"entry %d" % index) for index in range(2 * count)]
        assert verify_log(reader, ORG).size == 2 * count
        assert {reader.log_side(ORG, index) for index in range(2 * count)} == {side}


@pytest.mark.parametrize("read", [lambda w: w.log_nodes(ORG, 0, 0, 1), lambda w: w.log_side(ORG, 0)])
def test_every_reader_of_the_log_sees_what_its_work_appended(store: SqliteStore, read: Callable[[Reader], object]) -> None:
    side = Side(salt=b"\x05" * 16, address="192.0.2.1", user_agent="test")

    def work(w: Writer) -> object:
        w.append_entry(ORG, lambda number, _: b"entry", now=NOW, head_seq=1, side=side)
        return read(w)

    assert store.write(work).result()


def test_work_that_erased_and_failed_does_not_wait_for_what_was_not_erased(store: SqliteStore) -> None:
    store.write(lambda w: w.put_share(ORG, id_of(1), hash_of(1))).result()
    gate = threading.Event()

    def fail(w: Writer) -> None:
        w.delete_share(ORG, id_of(1))
        raise ValueError("a fault of this work")

    with store.read():  # holds every checkpoint up
        store.write(lambda w: gate.wait(5))
        failing = store.write(fail)
        beside = store.write(lambda w: w.put_payload(ORG, hash_of(1), b"one"))
        gate.set()
        beside.result()
        assert isinstance(failing.exception(0), ValueError)
        assert store.status().unerased == 0


def test_work_reads_what_it_wrote_and_snapshots_do_not_move(store: SqliteStore) -> None:
    with store.read() as reader:
        assert reader.payload(ORG, hash_of(1)) is None

        def work(w: Writer) -> bytes | None:
            w.put_payload(ORG, hash_of(1), b"one")
            return w.payload(ORG, hash_of(1))

        assert store.write(work).result() == b"one"
        assert reader.payload(ORG, hash_of(1)) is None
    with store.read() as reader:
        assert reader.payload(ORG, hash_of(1)) == b"one"


def test_snapshot_cannot_write(store: SqliteStore) -> None:
    with store.read() as reader, pytest.raises(apsw.ReadOnlyError):
        reader._connection.execute("DELETE FROM orgs")  # type: ignore[attr-defined]


def test_cancelled_work_does_not_run(store: SqliteStore) -> None:
    gate = threading.Event()
    store.write(lambda w: gate.wait(5))
    waiting = store.write(lambda w: w.put_payload(ORG, hash_of(1), b"one"))
    time.sleep(0.02)
    cancelled = store.write(lambda w: w.put_payload(ORG, hash_of(2), b"two"))
    assert cancelled.cancel()
    gate.set()
    waiting.result()
    with store.read() as reader:
        assert reader.payload(ORG, hash_of(2)) is None


def test_work_that_calls_write_is_told_instead_of_waiting_for_itself(store: SqliteStore) -> None:
    with pytest.raises(RuntimeError, match="may not call write"):
        store.write(lambda w: store.write(lambda again: None).result()).result(timeout=5)


def test_closed_store_refuses_writes_after_finishing_those_that_wait(path: str) -> None:
    store = SqliteStore(path, now=NOW)
    waiting = [store.write(lambda w, n=n: w.add_setup_code(hash_of(n), NOW)) for n in range(300)]
    store.close()
    assert all(future.result() for future in waiting)
    with pytest.raises(StorageFailed):
        store.write(lambda w: None).result()
    assert not store.status().ready
    assert not Path(f"{path}-wal").exists()


# Documents and leaves


def test_head_advances_only_from_the_head_it_was_checked_against(store: SqliteStore) -> None:
    do(store, lambda w: w.advance_head(ORG, expected=NO_HEAD, seq=1, sha256=hash_of(1), envelope=b"e1"))
    for expected in (NO_HEAD, hash_of(9)):
        with pytest.raises(Conflict):
            do(store, lambda w, e=expected: w.advance_head(ORG, expected=e, seq=2, sha256=hash_of(2), envelope=b"e2"))
    do(store, lambda w: w.advance_head(ORG, expected=hash_of(1), seq=2, sha256=hash_of(2), envelope=b"e2"))
    with store.read() as reader:
        head = reader.head(ORG)
        assert head is not None
        assert (head.seq, head.sha256, head.envelope, head.signed_seq) == (2, hash_of(2), b"e2", 2)
        assert reader.head(OTHER_ORG) is None
        assert [row.seq for row in reader.document_chain(ORG, "head", after=0, limit=9)] == [1, 2]
        assert reader.document_by_hash(ORG, "head", hash_of(1)) is not None
        assert reader.document_by_hash(OTHER_ORG, "head", hash_of(1)) is None


def test_renewed_signature_comes_again_to_those_who_know_the_document(store: SqliteStore) -> None:
    profile = id_of(7)
    add = {"seq": 1, "version": 1, "sha256": hash_of(1), "envelope": b"old", "signed_seq": 1}
    do(store, lambda w: w.add_document(ORG, "contents", profile, **add))
    do(store, lambda w: w.renew_signature(ORG, "contents", hash_of(1), b"new", 5))
    with store.read() as reader:
        (row,) = reader.current_documents(ORG, "contents", since=4)
        assert (row.subject, row.seq, row.version, row.envelope, row.signed_seq) == (profile, 1, 1, b"new", 5)
        assert reader.current_documents(ORG, "contents", since=5) == []
    with pytest.raises(NotFound):
        do(store, lambda w: w.renew_signature(OTHER_ORG, "contents", hash_of(1), b"x", 6))


def test_each_profile_has_one_current_contents_and_keeps_the_former(store: SqliteStore) -> None:
    for version in (1, 2, 3):
        values = {"seq": version + 10, "version": version, "envelope": b"%d" % version, "signed_seq": version + 10}
        do(store, lambda w, v=values: w.add_document(ORG, "contents", id_of(1), sha256=hash_of(v["version"]), **v))
    with pytest.raises(Conflict):
        do(store, lambda w: w.add_document(ORG, "contents", id_of(1), sha256=hash_of(3), **values))
    with store.read() as reader:
        current = reader.current_document(ORG, "contents", id_of(1))
        assert current is not None
        assert current.version == 3
        chain = reader.document_chain(ORG, "contents", id_of(1), after=11, limit=1)
        assert [row.version for row in chain] == [2]
    do(store, lambda w: w.end_document(ORG, "contents", id_of(1), 14))
    with store.read() as reader:
        assert reader.current_documents(ORG, "contents") == []
        assert len(reader.document_chain(ORG, "contents", id_of(1), after=0, limit=9)) == 3
    with pytest.raises(NotFound):
        do(store, lambda w: w.end_document(ORG, "contents", id_of(1), 15))


def test_leaf_changes_bring_any_former_state_to_the_current_one(store: SqliteStore) -> None:
    steps: list[dict[bytes, bytes | None]] = [
        {b"a": b"1", b"b": b"1", b"c": b"1"},
        {b"b": b"2", b"d": b"1"},
        {b"a": None, b"d": None, b"c": b"1"},
        {b"a": b"3", b"e": b"1"},
        {b"b": None},
    ]
    states: list[dict[bytes, bytes]] = [{}]
    for seq, step in enumerate(steps, start=1):
        do(store, lambda w, seq=seq, step=step: w.change_leaves(ORG, b"documents", seq, step))
        merged = states[-1] | step
        states.append({key: value for key, value in merged.items() if value is not None})
    with store.read() as reader:
        assert reader.leaves(ORG, b"documents") == states[-1]
        assert list(reader.leaves(ORG, b"documents")) == sorted(states[-1])
        for since, known in enumerate(states):
            changes = reader.leaf_changes(ORG, b"documents", since)
            merged = known | changes
            assert {key: value for key, value in merged.items() if value is not None} == states[-1]
            assert {key for key, value in changes.items() if value is None} <= known.keys()
        assert b"c" not in reader.leaf_changes(ORG, b"documents", 1)  # it was set to what it was
        assert reader.leaf(ORG, b"documents", b"a") == b"3"
        assert reader.leaf(ORG, b"documents", b"b") is None
        assert reader.leaves(ORG, b"members/1") == reader.leaves(OTHER_ORG, b"documents") == {}


def test_changed_leaves_tell_each_commit_again(store: SqliteStore) -> None:
    commits: list[dict[bytes, bytes | None]] = [
        {b"a": b"1", b"b": b"1"},
        {b"a": b"2", b"c": b"1"},
        {b"b": None},
        {b"a": None, b"c": b"2"},
        {b"b": b"9"},
        {b"c": b"3"},
    ]
    for seq, commit in enumerate(commits, start=1):
        do(store, lambda w, seq=seq, commit=commit: w.change_leaves(ORG, b"documents", seq, commit))
        do(store, lambda w, seq=seq: w.change_leaves(ORG, b"contents", seq, {b"other": bytes([seq])}))
    with store.read() as reader:
        for seq, commit in enumerate(commits, start=1):
            expected = [(b"documents", key, value) for key, value in sorted(commit.items())]
            assert reader.leaves_changed(ORG, seq) == [(b"contents", b"other", bytes([seq])), *expected]
        assert reader.leaves_changed(ORG, 7) == reader.leaves_changed(OTHER_ORG, 1) == []


def test_key_that_went_is_remembered(store: SqliteStore) -> None:
    do(store, lambda w: w.change_leaves(ORG, b"documents", 1, {b"gone": b"1", b"here": b"1"}))
    do(store, lambda w: w.change_leaves(ORG, b"documents", 2, {b"gone": None}))
    with store.read() as reader:
        assert reader.keys_that_existed(ORG, b"documents", [b"gone", b"here", b"new"]) == {b"gone", b"here"}
        assert reader.keys_that_existed(OTHER_ORG, b"documents", [b"gone"]) == set()


# Blobs, shares, tokens, operators


def test_blob_goes_with_the_last_document_that_names_it(store: SqliteStore, path: str) -> None:
    content = b"\x01\x01" + os.urandom(5000)
    do(store, lambda w: w.put_blob(ORG, hash_of(1), content, NOW))
    assert store.write(lambda w: (w.name_blob(ORG, hash_of(1)), w.name_blob(ORG, hash_of(1)))).result() == (True, True)
    do(store, lambda w: w.drop_blob_reference(ORG, hash_of(1)))
    with store.read() as reader:
        assert reader.blobs(ORG, [hash_of(1), hash_of(2)]) == {hash_of(1): content}
        assert reader.blobs(OTHER_ORG, [hash_of(1)]) == {}
    assert content[-32:] in bytes_on_disk(path)
    do(store, lambda w: w.drop_blob_reference(ORG, hash_of(1)))
    with store.read() as reader:
        assert reader.blobs(ORG, [hash_of(1)]) == {}
    disk = bytes_on_disk(path)
    assert not any(content[at : at + 16] in disk for at in range(0, 4980, 16))


def test_blob_is_named_inside_its_own_org_only(store: SqliteStore) -> None:
    do(store, lambda w: w.put_blob(ORG, hash_of(1), b"blob", NOW))
    assert store.write(lambda w: w.name_blob(OTHER_ORG, hash_of(1))).result() is False
    with pytest.raises(NotFound):
        do(store, lambda w: w.drop_blob_reference(OTHER_ORG, hash_of(1)))


def test_sweep_takes_old_blobs_that_nothing_names(store: SqliteStore) -> None:
    for number, created in ((1, NOW), (2, NOW), (3, NOW), (4, NOW + 50)):
        do(store, lambda w, n=number, c=created: w.put_blob(ORG, hash_of(n), b"blob", c))
    do(store, lambda w: w.name_blob(ORG, hash_of(1)), lambda w: w.put_blob(ORG, hash_of(2), b"blob", NOW + 60))
    assert store.write(lambda w: w.sweep_blobs(OTHER_ORG, NOW + 10, 9)).result() == 0
    assert store.write(lambda w: w.sweep_blobs(ORG, NOW + 10, 9)).result() == 1
    with store.read() as reader:
        assert reader.blobs(ORG, map(hash_of, range(5))).keys() == {hash_of(1), hash_of(2), hash_of(4)}
    assert store.write(lambda w: w.sweep_blobs(ORG, NOW + 99, 1)).result() == 1


def test_deleted_shares_are_in_no_file(store: SqliteStore, path: str) -> None:
    shares = {os.urandom(16): os.urandom(32) for _ in range(600)}  # enough for the pages to split
    ids = list(shares)
    for start in range(0, 600, 40):
        chunk = ids[start : start + 40]
        do(store, lambda w, chunk=chunk: [w.put_share(ORG, token, shares[token]) for token in chunk])
    assert all(share in bytes_on_disk(path) for share in shares.values())
    for start in range(0, 500, 50):
        chunk = ids[start : start + 50]
        assert all(store.write(lambda w, chunk=chunk: [w.delete_share(ORG, token) for token in chunk]).result())
        assert Path(f"{path}-wal").stat().st_size == 0
    disk = bytes_on_disk(path)
    assert not any(part in disk for token in ids[:500] for part in (shares[token][:16], shares[token][16:]))
    with store.read() as reader:
        assert reader.share(ORG, ids[0]) is None
        assert reader.share(ORG, ids[-1]) == shares[ids[-1]]
        assert reader.share(OTHER_ORG, ids[-1]) is None


def test_deletion_waits_for_a_reader_with_an_old_snapshot_while_others_go_on(store: SqliteStore, path: str) -> None:
    share = os.urandom(32)
    do(store, lambda w: w.put_share(ORG, id_of(1), share))
    with store.read() as reader:
        assert reader.share(ORG, id_of(1)) == share
        deletion = store.write(lambda w: w.delete_share(ORG, id_of(1)))
        store.write(lambda w: w.put_payload(ORG, hash_of(1), b"one")).result(timeout=2)
        time.sleep(0.1)
        assert not deletion.done()
        assert store.status().unerased == 1
    assert deletion.result(timeout=2) is True
    assert store.status().unerased == 0
    assert share not in bytes_on_disk(path)


def test_deletion_that_is_held_up_too_long_is_told_and_completed_later(
    store: SqliteStore, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "ERASE_SECONDS", 0.1)
    share = os.urandom(32)
    do(store, lambda w: w.put_share(ORG, id_of(1), share))
    with store.read() as reader:
        reader.org_ids()
        assert store.write(lambda w: w.delete_share(ORG, id_of(1))).result(timeout=3) is True
        assert store.status().unerased == 1
        assert share in bytes_on_disk(path)
    end = time.monotonic() + 3
    while store.status().unerased and time.monotonic() < end:
        time.sleep(0.01)
    assert store.status().unerased == 0
    assert share not in bytes_on_disk(path)


def test_share_and_token_id_are_taken_once(store: SqliteStore) -> None:
    token = id_of(1)
    do(store, lambda w: w.add_token(ORG, token, id_of(2), hash_of(3)), lambda w: w.put_share(ORG, token, hash_of(4)))
    with pytest.raises(Conflict):
        do(store, lambda w: w.put_share(ORG, token, hash_of(5)))
    for org in (ORG, OTHER_ORG):
        with pytest.raises(Conflict):
            do(store, lambda w, org=org: w.add_token(org, token, id_of(2), hash_of(3)))
    assert store.write(lambda w: w.delete_share(OTHER_ORG, token)).result() is False
    with store.read() as reader:
        assert reader.share(ORG, token) == hash_of(4)


def test_ended_token_keeps_its_first_end_and_its_id(store: SqliteStore) -> None:
    token = id_of(1)
    do(store, lambda w: w.add_token(ORG, token, id_of(2), hash_of(3)))
    used = [store.write(lambda w, t=t: w.use_token(ORG, token, t)).result() for t in (NOW + 5, NOW)]
    assert [(use.token.uses, use.token.last_used, use.share) for use in used] == [(1, NOW + 5, None), (2, NOW + 5, None)]
    with pytest.raises(NotFound):
        do(store, lambda w: w.use_token(OTHER_ORG, token, NOW))
    do(store, lambda w: w.end_token(OTHER_ORG, token, "revoked", NOW))
    do(store, lambda w: w.end_token(ORG, token, "revoked", NOW + 7), lambda w: w.end_token(ORG, token, "expired", NOW + 9))
    with store.read() as reader:
        row = reader.token(token)
        assert row is not None
        assert (row.org_id, row.agent_id, row.auth_public_key) == (ORG, id_of(2), hash_of(3))
        assert (row.ended, row.ended_at, row.last_used, row.uses) == ("revoked", NOW + 7, NOW + 5, 2)
        assert reader.tokens(ORG) == [row]
        assert reader.tokens(OTHER_ORG) == []
        assert reader.token(id_of(9)) is None


def test_operator_that_ended_keeps_nothing_that_logs_in(store: SqliteStore, path: str) -> None:
    boxes = [os.urandom(92) for _ in range(2)]
    login = {"login_key": hash_of(2), "login_record": b"record"}
    do(store, lambda w: w.add_operator(ORG, id_of(1), request_key=hash_of(1), keyset_box=boxes[0], **login))
    with pytest.raises(Conflict):
        do(store, lambda w: w.add_operator(ORG, id_of(1), request_key=hash_of(1), keyset_box=boxes[0], **login))
    do(store, lambda w: w.replace_login(ORG, id_of(1), keyset_box=boxes[1], **login))
    assert boxes[0][:32] not in bytes_on_disk(path)
    with store.read() as reader:
        row = reader.operator(ORG, id_of(1))
        assert row is not None
        assert (row.request_key, row.keyset_box, row.ended) == (hash_of(1), boxes[1], False)
        assert reader.operator(OTHER_ORG, id_of(1)) is None
    do(store, lambda w: w.end_operator(ORG, id_of(1)))
    assert boxes[1][:32] not in bytes_on_disk(path)
    with store.read() as reader:
        row = reader.operator(ORG, id_of(1))
        assert row is not None
        assert (row.ended, row.keyset_box, row.login_record) == (True, b"", b"")
    with pytest.raises(NotFound):
        do(store, lambda w: w.replace_login(ORG, id_of(1), keyset_box=boxes[1], **login))


def test_setup_code_is_good_for_one_org(store: SqliteStore) -> None:
    assert store.write(lambda w: w.add_setup_code(hash_of(1), NOW)).result() is True
    with store.read() as reader:
        assert reader.unused_setup_codes() == 1
    assert [store.write(lambda w: w.use_setup_code(hash_of(1), NOW)).result() for _ in range(2)] == [True, False]
    assert store.write(lambda w: w.use_setup_code(hash_of(2), NOW)).result() is False
    assert store.write(lambda w: w.add_setup_code(hash_of(1), NOW)).result() is False  # a setting, given at the next start
    with store.read() as reader:
        assert reader.unused_setup_codes() == 0


def test_org_exists_once(store: SqliteStore) -> None:
    with pytest.raises(Conflict):
        do(store, lambda w: w.create_org(ORG, "Again", NOW))
    do(store, lambda w: w.rename_org(ORG, "Acme 2"))
    with store.read() as reader:
        assert reader.org_ids() == [ORG, OTHER_ORG]
        org = reader.org(ORG)
        assert org is not None
        assert (org.name, org.created) == ("Acme 2", NOW)
        assert reader.org(b"\x03" * 32) is None


def test_nonce_is_new_once_also_after_a_restart(path: str) -> None:
    store = SqliteStore(path, now=NOW)
    assert store.write(lambda w: w.use_nonce(ORG, "t:aa", id_of(1), NOW)).result() is True
    store.close()
    store = SqliteStore(path, now=NOW)
    assert store.write(lambda w: w.use_nonce(ORG, "t:aa", id_of(1), NOW + 5)).result() is False
    assert store.write(lambda w: w.use_nonce(ORG, "t:bb", id_of(1), NOW + 5)).result() is True
    assert store.write(lambda w: w.purge_nonces(NOW, 10)).result() == 0
    assert store.write(lambda w: w.purge_nonces(NOW + 1, 10)).result() == 1
    assert store.write(lambda w: w.use_nonce(ORG, "t:aa", id_of(1), NOW + 700)).result() is True
    store.close()


def test_several_nonces_are_new_or_one_of_them_is_not(store: SqliteStore) -> None:
    def use(*pairs: tuple[str, int], org_id: bytes = ORG) -> bool:
        nonces = [(key_id, id_of(number)) for key_id, number in pairs]
        return bool(store.write(lambda w: w.use_nonces(org_id, nonces, NOW)).result())

    assert use()
    assert use(*(("t:aa", number) for number in range(45)))
    assert use(("t:bb", 3), ("t:aa", 45))
    assert use(("t:bb", 3), org_id=OTHER_ORG)
    assert not use(("t:aa", 50), ("t:bb", 3), ("t:aa", 51))
    assert not use(("t:cc", 1), ("t:cc", 1))
    assert not store.write(lambda w: w.use_nonce(ORG, "t:aa", id_of(44), NOW)).result()


def test_uses_are_counted_several_at_once(store: SqliteStore) -> None:
    store.write(lambda w: w.add_token(ORG, id_of(9), id_of(1), hash_of(3))).result()
    assert store.write(lambda w: w.use_token(ORG, id_of(9), NOW, 3)).result().token.uses == 3
    assert store.write(lambda w: w.use_token(ORG, id_of(9), NOW - 5)).result().token.uses == 4
    with store.read() as reader:
        row = reader.token(id_of(9))
    assert row is not None
    assert (row.uses, row.last_used) == (4, NOW)


def test_counters_do_not_grow(store: SqliteStore) -> None:
    for _ in range(2):
        do(store, lambda w: w.add_counts(dict.fromkeys(COUNTER_KINDS, 3), NOW))
    with pytest.raises(ValueError, match="unknown kind"):
        do(store, lambda w: w.add_counts({"other": 1}, NOW))  # type: ignore[dict-item]
    with store.read() as reader:
        assert reader.counters() == dict.fromkeys(COUNTER_KINDS, 6)


# Files, locks, releases


def test_files_are_private_and_companions_too(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o666))
    Path(path).chmod(0o644)
    store = SqliteStore(path, now=NOW)
    store.write(lambda w: w.create_org(ORG, "Acme", NOW)).result()
    modes = {Path(name).name: stat.S_IMODE(Path(name).stat().st_mode) for name in (path, f"{path}-wal", f"{path}-shm")}
    store.close()
    assert set(modes.values()) == {0o600}


def test_second_process_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder = DataFolder(str(tmp_path / "data"))
    script = "import sys; from stronghold_server.folder import DataFolder; DataFolder(sys.argv[1])"
    command = [sys.executable, "-c", script, folder.path]
    second = subprocess.run(command, env=child_env(), capture_output=True, text=True, check=False)
    assert second.returncode != 0
    assert f"LocalFileError: another server uses the data folder {folder.path}" in second.stderr
    folder.close()
    again = subprocess.run(command, env=child_env(), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert stat.S_IMODE(Path(folder.path).stat().st_mode) == 0o700


def test_file_of_another_program_is_left_alone(path: str) -> None:
    other = apsw.Connection(path)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = Path(path).read_bytes()
    with pytest.raises(LocalFileError, match="another program"):
        SqliteStore(path, now=NOW)
    assert Path(path).read_bytes() == before


def test_file_that_is_no_database_is_refused(path: str) -> None:
    Path(path).write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(LocalFileError, match="cannot be used"):
        SqliteStore(path, now=NOW)


@pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.52.0"])
def test_sqlite_release_with_a_fault_is_refused(version: str) -> None:
    with pytest.raises(LocalFileError, match=version):
        check_sqlite_release(version)


@pytest.mark.parametrize("version", ["3.51.3", "3.52.1", "3.54.1", "4.0.0"])
def test_sqlite_release_without_it_is_taken(version: str) -> None:
    check_sqlite_release(version)


def test_writer_settings_hold(store: SqliteStore) -> None:
    def settings(w: Writer) -> list[object]:
        connection = w._connection  # type: ignore[attr-defined]
        names = ("journal_mode", "synchronous", "secure_delete", "foreign_keys")
        return [next(connection.execute(f"PRAGMA {name}"))[0] for name in names]

    assert store.write(settings).result() == ["wal", 2, 1, 1]


STATEMENTS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": statement
    for module in (sqlite_reading, sqlite_writing)
    for name, statement in vars(module).items()
    if name.isupper() and not name.startswith("_") and isinstance(statement, str)
} | {
    f"sqlite_writing.{name}[{count}]": statement
    for name in ("ADD_LOG_LEAVES", "ADD_LOG_SIDES", "USE_REQUESTS")
    for count, statement in getattr(sqlite_writing, name).items()
}
WHOLE_TABLE = {"sqlite_reading.ORG_IDS", "sqlite_reading.COUNTERS", "sqlite_reading.UNUSED_SETUP_CODES"}


def test_every_statement_is_served_by_an_index(store: SqliteStore) -> None:
    assert len(STATEMENTS) > 50
    for name, statement in STATEMENTS.items():
        with store.read() as reader:
            values = len(set(re.findall(r"\?[0-9]+", statement))) or statement.count("?")
            rows = reader._connection.execute(  # type: ignore[attr-defined]
                f"EXPLAIN QUERY PLAN {statement}", (None,) * values
            )
            plan = [row[3] for row in rows]
        if name not in WHOLE_TABLE:
            plan = [step for step in plan if not step.endswith("VALUES CLAUSE")]
            if name == "sqlite_reading.LOG_NODES":
                plan = [step for step in plan if step not in ("SCAN ends", "SCAN CONSTANT ROW")]  # what is asked for
            assert not [step for step in plan if "SCAN" in step or "TEMP B-TREE" in step], (name, plan)


# Durability


class CountingFile(apsw.VFSFile):
    def __init__(self, vfs: CountingVfs, name: object, flags: list[int]) -> None:
        self.vfs = vfs
        self.is_log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        super().__init__("", name, flags)  # type: ignore[arg-type]

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self.is_log:
            self.vfs.syncs += 1
            if self.vfs.broken == "sync":
                raise apsw.IOError("injected")
        super().xSync(flags)

    def xWrite(self, content: bytes, offset: int) -> None:  # noqa: N802
        if self.is_log and self.vfs.broken == "full":
            raise apsw.FullError("injected")
        super().xWrite(content, offset)


class CountingVfs(apsw.VFS):
    def __init__(self, name: str) -> None:
        self.syncs = 0
        self.broken = ""
        self.label = name
        super().__init__(name, "")

    def xOpen(self, name: object, flags: list[int]) -> CountingFile:  # type: ignore[override] # noqa: N802
        return CountingFile(self, name, flags)


@pytest.fixture
def vfs(request: pytest.FixtureRequest) -> Iterator[CountingVfs]:
    vfs = CountingVfs(f"counting-{os.getpid()}-{id(request)}")
    yield vfs
    vfs.unregister()


def test_many_writers_share_disk_flushes(path: str, vfs: CountingVfs) -> None:
    store = SqliteStore(path, now=NOW, vfs=vfs.label)
    store.write(lambda w: w.create_org(ORG, "Acme", NOW)).result()
    vfs.syncs = 0
    store.write(lambda w: w.put_payload(ORG, hash_of(1000), b"x")).result()
    assert vfs.syncs >= 1  # an acknowledged write was flushed
    vfs.syncs = 0
    gate = threading.Event()
    store.write(lambda w: gate.wait(5))
    futures = [store.write(lambda w, n=n: w.put_payload(ORG, hash_of(n), b"x")) for n in range(200)]
    gate.set()
    for future in futures:
        future.result()
    assert 1 <= vfs.syncs <= 4
    store.close()


@pytest.mark.parametrize("fault", ["sync", "full"])
def test_failing_commit_poisons_the_writer(path: str, vfs: CountingVfs, fault: str) -> None:
    failures: list[StorageFailed] = []
    store = SqliteStore(path, now=NOW, vfs=vfs.label, on_failure=failures.append)
    store.write(lambda w: w.create_org(ORG, "Acme", NOW)).result()
    gate = threading.Event()
    store.write(lambda w: gate.wait(5))
    time.sleep(0.02)
    vfs.broken = fault
    batch = [store.write(lambda w, n=n: w.put_payload(ORG, hash_of(n), b"x" * 5000)) for n in range(3)]
    gate.set()
    for future in batch:
        with pytest.raises(StorageFailed):
            future.result(timeout=5)
    vfs.broken = ""
    with pytest.raises(StorageFailed):
        store.write(lambda w: w.put_payload(ORG, hash_of(9), b"x")).result(timeout=5)
    assert not store.status().ready
    assert len(failures) == 1
    store.close()
    store = SqliteStore(path, now=NOW)
    with store.read() as reader:
        assert reader.org_ids() == [ORG]
        if fault == "full":
            assert reader.payloads(ORG, map(hash_of, range(10))) == {}
    store.close()


def test_fault_inside_a_work_poisons_the_writer(path: str) -> None:
    store = SqliteStore(path, now=NOW)

    def faulty(w: Writer) -> None:
        raise apsw.CorruptError("injected")

    with pytest.raises(StorageFailed):
        store.write(faulty).result(timeout=5)
    assert not store.status().ready
    store.close()


def child_env() -> dict[str, str]:
    root = Path(__file__).resolve().parents[2]
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(root / "server")))}


CHILD = """
import os, sys
from stronghold_server.store.sqlite import SqliteStore
org = b"\\x01" * 32
store = SqliteStore(sys.argv[1], now=1_800_000_000)
start = int(sys.argv[2])
if not start:
    store.write(lambda w: w.create_org(org, "Acme", 1_800_000_000)).result()
def work(number):
    def run(w):
        w.put_payload(org, number.to_bytes(32, "big"), b"x" * 700)
        w.append_entry(org, lambda index, time: b"%d" % number, now=1_800_000_000, head_seq=1)
        return number
    return run
def told(future):
    os.write(1, b"%d\\n" % future.result())
for number in range(start, start + 1_000_000):
    store.write(work(number)).add_done_callback(told)
    while store._queue.qsize() > 50:
        pass
"""


def test_acknowledged_writes_survive_kill_9(path: str) -> None:
    acknowledged: set[int] = set()
    for round_ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, path, str(round_ * 1_000_000)], env=child_env(), stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        for _ in range(200 + 150 * round_):
            acknowledged.add(int(child.stdout.readline()))
        child.send_signal(signal.SIGKILL)
        lines = child.stdout.read().split(b"\n")
        acknowledged.update(int(line) for line in lines[:-1])
        child.stdout.close()
        child.wait()
    store = SqliteStore(path, now=NOW)
    with store.read() as reader:
        payloads = reader.payloads(ORG, (number.to_bytes(32, "big") for number in acknowledged))
        assert len(payloads) == len(acknowledged)
        assert_entries_and_effects_agree(reader)
    store.close()


def assert_entries_and_effects_agree(reader: Reader) -> None:
    """No effect without its log entry, no entry without its effect; the tree recomputes."""
    head = verify_log(reader, ORG)
    logged = {int(leaf) for _, leaf in reader.log_leaves(ORG, 0, head.size)}
    connection = reader._connection  # type: ignore[attr-defined]
    stored = {int.from_bytes(row[0], "big") for row in connection.execute("SELECT sha256 FROM payloads")}
    assert stored == logged
    assert len(logged) == head.size


def test_bytes_that_a_killed_process_left_in_the_log_go_at_the_next_start(path: str) -> None:
    script = """
import os, sys
from stronghold_server.store.sqlite import SqliteStore
org = b"\\x01" * 32
store = SqliteStore(sys.argv[1], now=1)
store.write(lambda w: w.create_org(org, "Acme", 1)).result()
store.write(lambda w: w.put_share(org, bytes(16), b"S" * 32)).result()
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script, path], env=child_env(), check=False)
    assert b"S" * 32 in Path(f"{path}-wal").read_bytes()
    store = SqliteStore(path, now=NOW)
    assert Path(f"{path}-wal").stat().st_size == 0
    with store.read() as reader:
        assert reader.share(ORG, bytes(16)) == b"S" * 32
    store.close()


def test_store_serves_many_threads_at_once(store: SqliteStore) -> None:
    found: list[int] = []

    def use(number: int) -> None:
        for step in range(20):
            key = hash_of(number * 100 + step)
            store.write(lambda w, key=key: w.put_payload(ORG, key, key)).result()
            with store.read() as reader:
                found.append(reader.payload(ORG, key) == key)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 160
