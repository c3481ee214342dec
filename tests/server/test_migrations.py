"""Migrations: from any former schema to the newest one, and what is refused; the log key and its file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import apsw
import pytest

from stronghold_cli.protocol.errors import LocalFileError
from stronghold_server.folder import LOG_KEY_FILE, DataFolder
from stronghold_server.log import EMPTY_LOG, GrowingLog, verify_log
from stronghold_server.store.migrations import Migration, migrate, sqlite_migrations
from stronghold_server.store.sqlite import WRITE_APPLICATION_ID, SqliteStore

NOW = 1_800_000_000
FIRST = Migration(number=1, name="first", sql="CREATE TABLE a (x); INSERT INTO a VALUES (1);")
SECOND = Migration(number=2, name="second", sql="ALTER TABLE a ADD COLUMN y; CREATE TABLE b (z);")
BROKEN = Migration(number=3, name="broken", sql="CREATE TABLE c (z); INSERT INTO missing VALUES (1);")


@pytest.fixture
def connection(tmp_path: Path) -> apsw.Connection:
    return apsw.Connection(str(tmp_path / "some.db"))


def schema(connection: apsw.Connection) -> list[object]:
    return list(connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"))


def test_each_former_schema_ends_at_the_fresh_one(tmp_path: Path) -> None:
    known = sqlite_migrations()
    fresh = apsw.Connection(":memory:")
    migrate(fresh, known, NOW)
    for number in range(len(known)):
        connection = apsw.Connection(":memory:")
        migrate(connection, known[:number], NOW)
        migrate(connection, known, NOW)
        assert schema(connection) == schema(fresh)


def test_former_entries_and_requests_are_carried_over(tmp_path: Path) -> None:
    """Migration 4: the log's tree nodes move beside the leaves, and what was received before still counts as such."""
    path, org_id, other = str(tmp_path / "some.db"), b"o" * 32, b"p" * 32
    connection = apsw.Connection(path)
    connection.execute(WRITE_APPLICATION_ID)
    migrate(connection, sqlite_migrations()[:3], NOW)
    for org, size in ((org_id, 11), (other, 4)):
        log = GrowingLog(EMPTY_LOG)
        connection.execute("INSERT INTO orgs VALUES (?, 'Acme', ?)", (org, NOW))
        for index in range(size):
            leaf = b"%s %d" % (org, index)
            connection.execute("INSERT INTO log_leaves VALUES (?, ?, ?)", (org, index, leaf))
            for node in log.append(leaf, server_time=NOW, head_seq=0):
                connection.execute("INSERT INTO log_nodes VALUES (?, ?, ?, ?)", (org, *node))
        head = log.head()
        values = (org, head.size, head.root, b"".join(head.peaks), NOW, 0)
        connection.execute("INSERT INTO log_heads VALUES (?, ?, ?, ?, ?, ?)", values)
    for key_id in ("t:" + "ab" * 16, "r:" + "cd" * 32):
        connection.execute("INSERT INTO nonces VALUES (?, ?, ?, ?)", (org_id, key_id, b"n" * 16, NOW))
    connection.close()
    store = SqliteStore(path, now=NOW)
    with store.read() as reader:
        assert verify_log(reader, org_id).size == 11
        assert verify_log(reader, other).size == 4
    for key_id in ("t:" + "ab" * 16, "r:" + "cd" * 32):
        assert not store.write(lambda w, key_id=key_id: w.use_nonce(org_id, key_id, b"n" * 16, NOW)).result()
        assert store.write(lambda w, key_id=key_id: w.use_nonce(other, key_id, b"n" * 16, NOW)).result()
    assert store.write(lambda w: w.purge_nonces(NOW + 1, 100)).result() == 4
    store.close()


def test_missing_migrations_are_applied_once_and_in_order(connection: apsw.Connection) -> None:
    migrate(connection, [FIRST], NOW)
    migrate(connection, [FIRST, SECOND], NOW + 1)
    migrate(connection, [FIRST, SECOND], NOW + 2)
    assert list(connection.execute("SELECT x, y FROM a")) == [(1, None)]
    assert list(connection.execute("SELECT number, applied FROM migrations")) == [(1, NOW), (2, NOW + 1)]


def test_failing_migration_leaves_nothing(connection: apsw.Connection) -> None:
    with pytest.raises(apsw.SQLError):
        migrate(connection, [FIRST, SECOND, BROKEN], NOW)
    assert [row[0] for row in connection.execute("SELECT number FROM migrations")] == [1, 2]
    assert not list(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'c'"))


def test_newer_schema_is_refused_untouched(connection: apsw.Connection) -> None:
    migrate(connection, [FIRST, SECOND], NOW)
    before = schema(connection)
    with pytest.raises(LocalFileError, match="schema 2, but this server knows only up to 1"):
        migrate(connection, [FIRST], NOW)
    assert schema(connection) == before


def test_changed_migration_is_refused(connection: apsw.Connection) -> None:
    migrate(connection, [FIRST], NOW)
    with pytest.raises(LocalFileError, match="step 1"):
        migrate(connection, [FIRST.replace(sql=FIRST.sql + " "), SECOND], NOW)
    assert not list(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'b'"))


@pytest.mark.parametrize(
    "names", [["0002_x.sql"], ["0001_x.sql", "0003_y.sql"], ["0001_X.sql"], ["0001_x.sql", "notes.txt"]]
)
def test_gaps_and_strange_files_are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("")
    with pytest.raises(LocalFileError):
        sqlite_migrations(str(tmp_path))


def test_store_refuses_the_database_of_a_newer_server(tmp_path: Path) -> None:
    path = str(tmp_path / "stronghold.db")
    SqliteStore(path, now=NOW).close()
    connection = apsw.Connection(path)
    newer = len(sqlite_migrations()) + 1
    connection.execute("INSERT INTO migrations VALUES (?, 'later', x'00', 1)", (newer,))
    connection.close()
    with pytest.raises(LocalFileError, match=f"schema {newer}"):
        SqliteStore(path, now=NOW)


# The log key


def test_log_key_is_made_once_and_private(tmp_path: Path) -> None:
    folder = DataFolder(str(tmp_path / "data"))
    key = folder.log_key(os.urandom)
    again = folder.log_key(bytes)
    assert (again.id, again.sign.public) == (key.id, key.sign.public)
    assert len(key.id) == 16
    path = Path(folder.file(LOG_KEY_FILE))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o660)
    folder.log_key(os.urandom)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert repr(key) == f"LogKey({key.id.hex()})"
    assert sorted(os.listdir(folder.path)) == ["log.key", "server.lock"]
    folder.close()


def test_log_key_is_not_in_the_database(tmp_path: Path) -> None:
    folder = DataFolder(str(tmp_path / "data"))
    seed = b"\x5a" * 32
    folder.log_key(lambda count: seed[:count])
    store = SqliteStore(folder.file("stronghold.db"), now=NOW)
    store.close()
    database = Path(folder.file("stronghold.db")).read_bytes()
    assert seed not in database
    assert seed.hex().encode() not in database
    folder.close()


@pytest.mark.parametrize("damage", [b"", b"stronghold server log key 1\n", b"x" * 5000])
def test_damaged_log_key_is_an_error_and_is_not_replaced(tmp_path: Path, damage: bytes) -> None:
    folder = DataFolder(str(tmp_path / "data"))
    folder.log_key(os.urandom)
    path = Path(folder.file(LOG_KEY_FILE))
    path.write_bytes(damage)
    with pytest.raises(LocalFileError, match="damaged"):
        folder.log_key(os.urandom)
    assert path.read_bytes() == damage
    folder.close()


def test_cut_log_key_is_an_error(tmp_path: Path) -> None:
    folder = DataFolder(str(tmp_path / "data"))
    folder.log_key(os.urandom)
    path = Path(folder.file(LOG_KEY_FILE))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(LocalFileError):
            folder.log_key(os.urandom)
    folder.close()


def test_log_key_behind_a_link_is_refused(tmp_path: Path) -> None:
    folder = DataFolder(str(tmp_path / "data"))
    (tmp_path / "elsewhere").write_text("x")
    Path(folder.file(LOG_KEY_FILE)).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalFileError):
        folder.log_key(os.urandom)
    folder.close()


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalFileError, match="cannot be used"):
        DataFolder(str(tmp_path / "file" / "data"))
