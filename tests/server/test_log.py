"""The audit log in the store: its clock, its tree, and its recomputation (protocol section 7, attack 52)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from stronghold_cli.protocol.errors import IntegrityError, NotFound, RuleError
from stronghold_cli.protocol.signed_map import EMPTY_ROOT, leaf_hash, tree_root
from stronghold_server.log import MAX_CLOCK_BEHIND, verify_log
from stronghold_server.store.interface import ClockBehind, LogEntry, Side, Writer
from stronghold_server.store.sqlite import SqliteStore

ORG = b"\x01" * 32
OTHER_ORG = b"\x02" * 32
NOW = 1_800_000_000


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "stronghold.db")


@pytest.fixture
def store(path: str) -> Iterator[SqliteStore]:
    store = SqliteStore(path, now=NOW)
    for org in (ORG, OTHER_ORG):
        store.write(lambda w, org=org: w.create_org(org, "Acme", NOW)).result()
    yield store
    store.close()


def append(
    store: SqliteStore, *, now: int = NOW, head_seq: int = 1, org: bytes = ORG, reset_clock: bool = False
) -> LogEntry:
    def work(w: Writer) -> LogEntry:
        return w.append_entry(
            org, lambda index, time: b"leaf %d at %d" % (index, time), now=now, head_seq=head_seq, reset_clock=reset_clock
        )

    return store.write(work).result()


def test_log_grows_by_the_rfc_6962_tree(store: SqliteStore) -> None:
    with store.read() as reader:
        head = reader.log_head(ORG)
        assert head is not None
        assert (head.size, head.root) == (0, EMPTY_ROOT)
        assert verify_log(reader, ORG) == head
    hashes = []
    for index in range(21):
        entry = append(store)
        assert (entry.index, entry.server_time) == (index, NOW)
        hashes.append(leaf_hash(b"leaf %d at %d" % (index, NOW)))
        with store.read() as reader:
            head = verify_log(reader, ORG)
            assert (head.size, head.root) == (index + 1, tree_root(hashes))
    append(store, org=OTHER_ORG)
    with store.read() as reader:
        assert [index for index, _ in reader.log_leaves(ORG, 18, 2)] == [18, 19]
        assert reader.log_nodes(ORG, 0, 0, 100) == hashes
        assert len(reader.log_nodes(ORG, 1, 0, 100)) == 10
        assert reader.log_nodes(ORG, 4, 0, 1) == [tree_root(hashes[:16])]
        assert reader.log_nodes(ORG, 2, 1, 2) == [tree_root(hashes[4:8]), tree_root(hashes[8:12])]
        assert verify_log(reader, OTHER_ORG).size == 1


def test_server_time_never_falls(store: SqliteStore) -> None:
    assert append(store, now=NOW + 50).server_time == NOW + 50
    assert append(store, now=NOW).server_time == NOW + 50
    assert append(store, now=NOW + 50 - MAX_CLOCK_BEHIND).server_time == NOW + 50
    assert append(store, now=NOW + 51).server_time == NOW + 51


def test_clock_that_is_behind_refuses_until_it_is_reset(store: SqliteStore) -> None:
    append(store, now=NOW + 5000)
    with pytest.raises(ClockBehind):
        append(store, now=NOW + 5000 - MAX_CLOCK_BEHIND - 1)
    with store.read() as reader:
        assert verify_log(reader, ORG).size == 1
    assert append(store, now=NOW, reset_clock=True).server_time == NOW
    assert append(store, now=NOW + 1).server_time == NOW + 1


def test_head_seq_never_falls(store: SqliteStore) -> None:
    append(store, head_seq=5)
    with pytest.raises(RuleError):
        append(store, head_seq=4)
    assert append(store, head_seq=5).index == 1


def test_refused_entry_takes_the_whole_work_with_it(store: SqliteStore) -> None:
    append(store, now=NOW + 5000)

    def work(w: Writer) -> None:
        w.put_payload(ORG, bytes(32), b"effect")
        w.append_entry(ORG, lambda index, time: b"entry", now=NOW, head_seq=1)

    with pytest.raises(ClockBehind):
        store.write(work).result()
    with store.read() as reader:
        assert reader.payload(ORG, bytes(32)) is None


def test_failing_leaf_leaves_no_entry(store: SqliteStore) -> None:
    def work(w: Writer) -> None:
        w.append_entry(ORG, lambda index, time: b"one", now=NOW, head_seq=1)
        w.append_entry(ORG, lambda index, time: {}[index], now=NOW, head_seq=1)

    with pytest.raises(KeyError):
        store.write(work).result()
    with store.read() as reader:
        assert verify_log(reader, ORG).size == 0
    with pytest.raises(NotFound):
        append(store, org=b"\x09" * 32)


def test_sides_can_be_pruned_and_the_log_still_verifies(store: SqliteStore) -> None:
    for index in range(3):
        side = Side(salt=bytes([index]) * 16, address="192.0.2.1", user_agent="agent")
        store.write(
            lambda w, i=index, s=side: w.append_entry(ORG, lambda index, time: b"leaf", now=NOW + i, head_seq=1, side=s)
        ).result()
    with store.read() as reader:
        assert reader.log_side(ORG, 1) == Side(salt=b"\x01" * 16, address="192.0.2.1", user_agent="agent")
    assert store.write(lambda w: w.prune_sides(OTHER_ORG, NOW + 9, 9)).result() == 0
    assert store.write(lambda w: w.prune_sides(ORG, NOW + 2, 9)).result() == 2
    with store.read() as reader:
        assert [reader.log_side(ORG, index) is None for index in range(3)] == [True, True, False]
        assert verify_log(reader, ORG).size == 3


FORGERIES = {
    "byte flipped": "UPDATE log_leaves SET leaf = CAST(x'00' || substr(leaf, 2) AS BLOB) WHERE position = 3",
    "entry removed": "DELETE FROM log_leaves WHERE position = 3",
    "last entry removed": "DELETE FROM log_leaves WHERE position = 6",
    "entry added": "INSERT INTO log_leaves SELECT org_id, 7, leaf, nodes FROM log_leaves WHERE position = 6",
    "entries swapped": "UPDATE log_leaves SET leaf = (SELECT leaf FROM log_leaves WHERE position = 2) WHERE position = 1",
    "leaf hash replaced": "UPDATE log_leaves SET nodes = zeroblob(32) WHERE position = 2",
    "inner node replaced": (
        "UPDATE log_leaves SET nodes = unhex(hex(substr(nodes, 1, 64)) || hex(zeroblob(32))) WHERE position = 3"
    ),
    "inner node removed": "UPDATE log_leaves SET nodes = substr(nodes, 1, 64) WHERE position = 3",
    "root replaced": "UPDATE log_heads SET root = zeroblob(32)",
    "log shortened": "UPDATE log_heads SET size = 6",
    "peaks replaced": "UPDATE log_heads SET peaks = zeroblob(96)",
    "head removed": "DELETE FROM log_heads",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_changed_log_does_not_verify(name: str, store: SqliteStore, path: str) -> None:
    for _ in range(7):
        append(store)
    with store.read() as reader:
        verify_log(reader, ORG)
    store.close()
    connection = apsw.Connection(path)
    connection.execute(FORGERIES[name])
    assert connection.changes() >= 1
    connection.close()
    store = SqliteStore(path, now=NOW)
    with store.read() as reader, pytest.raises(IntegrityError):
        verify_log(reader, ORG)
    store.close()


def test_long_log_verifies_in_pages(store: SqliteStore) -> None:
    def work(w: Writer) -> bytes:
        for index in range(4200):
            w.append_entry(ORG, lambda index, time: b"%d" % index, now=NOW, head_seq=index)
        log = w.log_head(ORG)
        assert log is not None
        return log.root

    root = store.write(work).result()
    with store.read() as reader:
        assert verify_log(reader, ORG).root == root == tree_root([leaf_hash(b"%d" % index) for index in range(4200)])
    assert root != hashlib.sha256().digest()
