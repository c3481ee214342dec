"""The writing half of the store on SQLite: every statement named, every query served by an index.

``SqliteWriter`` is one work inside the writer thread's transaction (``sqlite.py``); see ``interface.Writer`` for what each
operation means. ``erases`` is set by whatever deletes bytes that must not stay in a file: the work is then acknowledged
only after the write-ahead log was emptied.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import apsw

from stronghold_cli.protocol.encoding import digest, tlv
from stronghold_cli.protocol.errors import Conflict, NotFound
from stronghold_server.log import EMPTY_LOG, GrowingLog, next_server_time
from stronghold_server.store.interface import (
    COUNTER_KINDS,
    NO_HEAD,
    CounterKind,
    LogEntry,
    LogHead,
    Side,
    SignedKind,
    SignedRow,
    TokenEnd,
    UsedToken,
)
from stronghold_server.store.sqlite_reading import TOKEN_COLUMNS, SqliteReader, read_token

ADD_SETUP_CODE: Final = "INSERT INTO setup_codes (code_sha256, created) VALUES (?, ?) ON CONFLICT DO NOTHING"
USE_SETUP_CODE: Final = "UPDATE setup_codes SET used = ? WHERE code_sha256 = ? AND used IS NULL"
CREATE_ORG: Final = "INSERT INTO orgs (org_id, name, created) VALUES (?, ?, ?)"
CREATE_LOG: Final = "INSERT INTO log_heads (org_id, size, root, peaks, server_time, head_seq) VALUES (?, ?, ?, x'', ?, ?)"
RENAME_ORG: Final = "UPDATE orgs SET name = ? WHERE org_id = ?"

SUPERSEDE_DOCUMENT: Final = (
    "UPDATE signed_documents SET to_seq = ? WHERE org_id = ? AND kind = ? AND subject = ? AND to_seq IS NULL"
)
ADD_DOCUMENT: Final = (
    "INSERT INTO signed_documents (org_id, kind, subject, seq, version, sha256, envelope, signed_seq)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
RENEW_SIGNATURE: Final = (
    "UPDATE signed_documents SET envelope = ?, signed_seq = ? WHERE org_id = ? AND kind = ? AND sha256 = ?"
)
PUT_PAYLOAD: Final = "INSERT INTO payloads (org_id, sha256, payload) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"

END_LEAF: Final = "UPDATE leaves SET to_seq = ? WHERE org_id = ? AND map = ? AND key = ? AND to_seq IS NULL"
END_OTHER_LEAF: Final = f"{END_LEAF} AND value <> ?"
SET_LEAF: Final = (
    "INSERT INTO leaves (org_id, map, key, from_seq, value) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (org_id, map, key) WHERE to_seq IS NULL DO NOTHING"
)

PUT_BLOB: Final = (
    "INSERT INTO blobs (org_id, sha256, content, created) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (org_id, sha256) DO UPDATE SET created = excluded.created"
)
NAME_BLOB: Final = "UPDATE blobs SET named = named + 1 WHERE org_id = ? AND sha256 = ?"
UNNAME_BLOB: Final = "UPDATE blobs SET named = named - 1 WHERE org_id = ? AND sha256 = ?"
DELETE_UNNAMED_BLOB: Final = "DELETE FROM blobs WHERE org_id = ? AND sha256 = ? AND named = 0"
SWEEP_BLOBS: Final = (
    "DELETE FROM blobs WHERE rowid IN"
    " (SELECT rowid FROM blobs WHERE org_id = ? AND named = 0 AND created < ? ORDER BY created LIMIT ?)"
)
NOTE_SENT_AHEAD: Final = (
    "INSERT INTO sent_ahead (org_id, operator_id, sha256, length, created) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (org_id, operator_id, sha256) DO UPDATE SET created = excluded.created"
)
FORGET_SENT_AHEAD: Final = "DELETE FROM sent_ahead WHERE org_id = ? AND operator_id = ? AND sha256 = ?"
SWEEP_SENT_AHEAD: Final = (
    "DELETE FROM sent_ahead WHERE (org_id, operator_id, sha256) IN (SELECT org_id, operator_id, sha256 FROM sent_ahead"
    " WHERE org_id = ? AND created < ? ORDER BY created LIMIT ?)"
)
PUT_SHARE: Final = "INSERT INTO shares (org_id, token_id, share) VALUES (?, ?, ?)"
DELETE_SHARE: Final = "DELETE FROM shares WHERE org_id = ? AND token_id = ?"

ADD_TOKEN: Final = "INSERT INTO tokens (token_id, org_id, agent_id, auth_public_key) VALUES (?, ?, ?, ?)"  # noqa: S105
END_TOKEN: Final = "UPDATE tokens SET ended = ?, ended_at = ? WHERE token_id = ? AND org_id = ? AND ended IS NULL"  # noqa: S105
USE_TOKEN: Final = (
    "UPDATE tokens SET last_used = max(ifnull(last_used, 0), ?), uses = uses + ?"  # noqa: S608 - names of columns
    f" WHERE token_id = ? AND org_id = ? RETURNING {', '.join(TOKEN_COLUMNS)},"
    " (SELECT share FROM shares WHERE shares.org_id = tokens.org_id AND shares.token_id = tokens.token_id)"
)
ADD_OPERATOR: Final = (
    "INSERT INTO operators (org_id, operator_id, request_key, login_key, login_record, keyset_box) VALUES (?, ?, ?, ?, ?, ?)"
)
REPLACE_LOGIN: Final = (
    "UPDATE operators SET login_key = ?, login_record = ?, keyset_box = ? WHERE org_id = ? AND operator_id = ? AND ended = 0"
)
END_OPERATOR: Final = (
    "UPDATE operators SET ended = 1, login_record = x'', keyset_box = x'' WHERE org_id = ? AND operator_id = ?"
)

ADD_REQUEST: Final = "INSERT INTO requests (request, used_at) VALUES (?, ?)"
USE_REQUEST: Final = f"{ADD_REQUEST} ON CONFLICT DO NOTHING"
PURGE_REQUESTS: Final = (
    "DELETE FROM requests WHERE request IN (SELECT request FROM requests WHERE used_at < ? ORDER BY used_at LIMIT ?)"
)
ADD_LOG_LEAF: Final = "INSERT INTO log_leaves (org_id, position, leaf, nodes) VALUES (?, ?, ?, ?)"
ADD_LOG_SIDE: Final = (
    "INSERT INTO log_sides (org_id, position, server_time, salt, address, user_agent) VALUES (?, ?, ?, ?, ?, ?)"
)
ADVANCE_LOG: Final = "UPDATE log_heads SET size = ?, root = ?, peaks = ?, server_time = ?, head_seq = ? WHERE org_id = ?"
# Rows, by how many of them one statement adds: each call of SQLite costs the event loop's thread a turn.
_ROWS_AT_ONCE: Final = (32, 8, 4, 2, 1)
ADD_LOG_LEAVES: Final = {count: ADD_LOG_LEAF + ", (?, ?, ?, ?)" * (count - 1) for count in _ROWS_AT_ONCE}
ADD_LOG_SIDES: Final = {count: ADD_LOG_SIDE + ", (?, ?, ?, ?, ?, ?)" * (count - 1) for count in _ROWS_AT_ONCE}
USE_REQUESTS: Final = {count: f"{ADD_REQUEST}{', (?, ?)' * (count - 1)} ON CONFLICT DO NOTHING" for count in _ROWS_AT_ONCE}
PRUNE_SIDES: Final = (
    "DELETE FROM log_sides WHERE (org_id, position) IN"
    " (SELECT org_id, position FROM log_sides WHERE org_id = ? ORDER BY position LIMIT ?) AND server_time < ?"
)
ADD_COUNT: Final = (
    "INSERT INTO counters (kind, count, last) VALUES (?, ?, ?)"
    " ON CONFLICT (kind) DO UPDATE SET count = count + excluded.count, last = excluded.last"
)

_TAKEN: Final = frozenset({apsw.SQLITE_CONSTRAINT_UNIQUE, apsw.SQLITE_CONSTRAINT_PRIMARYKEY})


class SqliteWriter(SqliteReader):
    """``interface.Writer`` for the works of one transaction; ``erases``: the write-ahead log has to be emptied after it.

    What every request reads or writes of an org is kept here until the transaction ends: its head, where its log stands, and
    the log's new rows, which one statement adds for many requests. ``keep_log`` writes all of it.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        super().__init__(connection)
        self.erases = False
        self._heads: dict[bytes, SignedRow | None] = {}
        self._logs: dict[bytes, GrowingLog] = {}
        self._log_leaves: list[tuple[Any, ...]] = []
        self._log_sides: list[tuple[Any, ...]] = []

    def _change(self, statement: str, *values: Any) -> int:
        """Run a statement; how many rows it changed."""
        self._connection.execute(statement, values)
        return self._connection.changes()

    def _insert_new(self, conflict: str, statement: str, *values: Any) -> None:
        """Insert a row, or raise ``Conflict`` with the sentence given where its key is taken."""
        try:
            self._connection.execute(statement, values)
        except apsw.ConstraintError as error:
            if getattr(error, "extendedresult", None) not in _TAKEN:
                raise
            raise Conflict(conflict) from error

    def add_setup_code(self, code_sha256: bytes, now: int) -> bool:
        return self._change(ADD_SETUP_CODE, code_sha256, now) == 1

    def use_setup_code(self, code_sha256: bytes, now: int) -> bool:
        return self._change(USE_SETUP_CODE, now, code_sha256) == 1

    def create_org(self, org_id: bytes, name: str, now: int) -> None:
        self._insert_new("this org exists on the server already", CREATE_ORG, org_id, name, now)
        log = EMPTY_LOG
        self._connection.execute(CREATE_LOG, (org_id, log.size, log.root, log.server_time, log.head_seq))

    def rename_org(self, org_id: bytes, name: str) -> None:
        self._change(RENAME_ORG, name, org_id)

    def lock_head(self, org_id: bytes) -> SignedRow | None:
        return self.head(org_id)  # the writer's BEGIN IMMEDIATE holds every head of this file still

    def head(self, org_id: bytes) -> SignedRow | None:
        if org_id not in self._heads:
            self._heads[org_id] = super().head(org_id)
        return self._heads[org_id]

    def advance_head(self, org_id: bytes, *, expected: bytes, seq: int, sha256: bytes, envelope: bytes) -> None:
        current = self.head(org_id)
        if (current.sha256 if current else NO_HEAD) != expected:
            raise Conflict("the org's state changed meanwhile")
        self.add_document(org_id, "head", seq=seq, version=seq, sha256=sha256, envelope=envelope, signed_seq=seq)

    def add_document(
        self,
        org_id: bytes,
        kind: SignedKind,
        subject: bytes = b"",
        *,
        seq: int,
        version: int,
        sha256: bytes,
        envelope: bytes,
        signed_seq: int,
    ) -> None:
        self._heads.pop(org_id, None)
        self._change(SUPERSEDE_DOCUMENT, signed_seq, org_id, kind, subject)
        values = (org_id, kind, subject, seq, version, sha256, envelope, signed_seq)
        self._insert_new(f"there is a {kind} document of this number or hash already", ADD_DOCUMENT, *values)

    def renew_signature(self, org_id: bytes, kind: SignedKind, sha256: bytes, envelope: bytes, signed_seq: int) -> None:
        self._heads.pop(org_id, None)
        if self._change(RENEW_SIGNATURE, envelope, signed_seq, org_id, kind, sha256) != 1:
            raise NotFound(f"there is no {kind} document with the hash that was signed anew")

    def end_document(self, org_id: bytes, kind: SignedKind, subject: bytes, seq: int) -> None:
        self._heads.pop(org_id, None)
        if self._change(SUPERSEDE_DOCUMENT, seq, org_id, kind, subject) != 1:
            raise NotFound(f"there is no current {kind} document to end")

    def put_payload(self, org_id: bytes, sha256: bytes, payload: bytes) -> None:
        self._change(PUT_PAYLOAD, org_id, sha256, payload)

    def change_leaves(self, org_id: bytes, map_key: bytes, seq: int, changes: Mapping[bytes, bytes | None]) -> None:
        ended = [(seq, org_id, map_key, key) for key, value in changes.items() if value is None]
        kept = [(key, value) for key, value in changes.items() if value is not None]
        self._connection.executemany(END_LEAF, ended)
        self._connection.executemany(END_OTHER_LEAF, [(seq, org_id, map_key, key, value) for key, value in kept])
        self._connection.executemany(SET_LEAF, [(org_id, map_key, key, seq, value) for key, value in kept])

    def put_blob(self, org_id: bytes, sha256: bytes, content: bytes, now: int) -> None:
        self._change(PUT_BLOB, org_id, sha256, content, now)

    def name_blob(self, org_id: bytes, sha256: bytes) -> bool:
        return self._change(NAME_BLOB, org_id, sha256) == 1

    def drop_blob_reference(self, org_id: bytes, sha256: bytes) -> None:
        if self._change(UNNAME_BLOB, org_id, sha256) != 1:
            raise NotFound("there is no blob with the hash that is no longer named")
        self.erases |= self._change(DELETE_UNNAMED_BLOB, org_id, sha256) == 1

    def note_sent_ahead(self, org_id: bytes, operator_id: bytes, sha256: bytes, length: int, now: int) -> None:
        self._change(NOTE_SENT_AHEAD, org_id, operator_id, sha256, length, now)

    def forget_sent_ahead(self, org_id: bytes, operator_id: bytes, hashes: Iterable[bytes]) -> None:
        self._connection.executemany(FORGET_SENT_AHEAD, [(org_id, operator_id, sha256) for sha256 in hashes])

    def drop_unnamed_blobs(self, org_id: bytes, hashes: Iterable[bytes]) -> None:
        for sha256 in hashes:
            self._erase(DELETE_UNNAMED_BLOB, org_id, sha256)

    def sweep_sent_ahead(self, org_id: bytes, before: int, limit: int) -> int:
        return self._change(SWEEP_SENT_AHEAD, org_id, before, limit)

    def sweep_blobs(self, org_id: bytes, before: int, limit: int) -> int:
        return self._erase(SWEEP_BLOBS, org_id, before, limit)

    def put_share(self, org_id: bytes, token_id: bytes, share: bytes) -> None:
        self._insert_new("this token has a share already", PUT_SHARE, org_id, token_id, share)

    def delete_share(self, org_id: bytes, token_id: bytes) -> bool:
        return self._erase(DELETE_SHARE, org_id, token_id) == 1

    def add_token(self, org_id: bytes, token_id: bytes, agent_id: bytes, auth_public_key: bytes) -> None:
        self._insert_new("a token of this id exists already", ADD_TOKEN, token_id, org_id, agent_id, auth_public_key)

    def end_token(self, org_id: bytes, token_id: bytes, end: TokenEnd, now: int) -> None:
        self._change(END_TOKEN, end, now, token_id, org_id)

    def use_token(self, org_id: bytes, token_id: bytes, now: int, times: int = 1) -> UsedToken:
        row = self._row(USE_TOKEN, now, times, token_id, org_id)
        if row is None:
            raise NotFound("there is no such token in the org")
        return UsedToken(token=read_token(row), share=row[8])

    def add_operator(
        self,
        org_id: bytes,
        operator_id: bytes,
        *,
        request_key: bytes,
        login_key: bytes,
        login_record: bytes,
        keyset_box: bytes,
    ) -> None:
        values = (org_id, operator_id, request_key, login_key, login_record, keyset_box)
        self._insert_new("an operator of this id exists already", ADD_OPERATOR, *values)

    def replace_login(
        self, org_id: bytes, operator_id: bytes, *, login_key: bytes, login_record: bytes, keyset_box: bytes
    ) -> None:
        if self._erase(REPLACE_LOGIN, login_key, login_record, keyset_box, org_id, operator_id) != 1:
            raise NotFound("there is no such operator in the org")

    def end_operator(self, org_id: bytes, operator_id: bytes) -> None:
        if self._erase(END_OPERATOR, org_id, operator_id) != 1:
            raise NotFound("there is no such operator in the org")

    def use_nonce(self, org_id: bytes, key_id: str, nonce: bytes, now: int) -> bool:
        return self._change(USE_REQUEST, _request(org_id, key_id, nonce), now) == 1

    def use_nonces(self, org_id: bytes, pairs: Collection[tuple[str, bytes]], now: int) -> bool:
        rows = [(_request(org_id, key_id, nonce), now) for key_id, nonce in pairs]
        return sum(self._connection.changes() for _ in self._by_rows(USE_REQUESTS, rows)) == len(rows)

    def purge_nonces(self, before: int, limit: int) -> int:
        return self._change(PURGE_REQUESTS, before, limit)

    def log_head(self, org_id: bytes) -> LogHead | None:
        log = self._logs.get(org_id)
        return super().log_head(org_id) if log is None else log.head()

    def log_leaves(self, org_id: bytes, start: int, limit: int) -> list[tuple[int, bytes]]:
        self._write_log_rows()
        return super().log_leaves(org_id, start, limit)

    def log_nodes(self, org_id: bytes, level: int, start: int, limit: int) -> list[bytes]:
        self._write_log_rows()
        return super().log_nodes(org_id, level, start, limit)

    def log_side(self, org_id: bytes, index: int) -> Side | None:
        self._write_log_rows()
        return super().log_side(org_id, index)

    def append_entry(
        self,
        org_id: bytes,
        make_leaf: Callable[[int, int], bytes],
        *,
        now: int,
        head_seq: int,
        side: Side | None = None,
        reset_clock: bool = False,
    ) -> LogEntry:
        log = self._growing_log(org_id)
        server_time = next_server_time(log, now, reset_clock=reset_clock)
        index = log.size
        leaf = make_leaf(index, server_time)
        nodes = b"".join(node for _, _, node in log.append(leaf, server_time=server_time, head_seq=head_seq))
        self._log_leaves.append((org_id, index, leaf, nodes))
        if side is not None:
            self._log_sides.append((org_id, index, server_time, side.salt, side.address, side.user_agent))
        return LogEntry(index=index, server_time=server_time, leaf=leaf)

    def prune_sides(self, org_id: bytes, before: int, limit: int) -> int:
        self._write_log_rows()
        return self._erase(PRUNE_SIDES, org_id, limit, before)

    def add_counts(self, counts: Mapping[CounterKind, int], now: int) -> None:
        if not counts.keys() <= set(COUNTER_KINDS):
            raise ValueError("a counter of an unknown kind would let the table grow")
        for kind, count in counts.items():
            self._change(ADD_COUNT, kind, count, now)

    def keep_log(self) -> None:
        """Write what the log grew by: the last step before the works are kept."""
        self._write_log_rows()
        for org_id, log in self._logs.items():
            head = log.head()
            self._change(ADVANCE_LOG, head.size, head.root, b"".join(head.peaks), head.server_time, head.head_seq, org_id)

    def _growing_log(self, org_id: bytes) -> GrowingLog:
        log = self._logs.get(org_id)
        if log is None:
            former = super().log_head(org_id)
            if former is None:
                raise NotFound("the org has no audit log")
            log = self._logs[org_id] = GrowingLog(former)
        return log

    def _write_log_rows(self) -> None:
        self._insert_rows(ADD_LOG_LEAVES, self._log_leaves)
        self._insert_rows(ADD_LOG_SIDES, self._log_sides)

    def _insert_rows(self, statements: Mapping[int, str], rows: list[tuple[Any, ...]]) -> None:
        for _ in self._by_rows(statements, rows):
            pass
        rows.clear()

    def _by_rows(self, statements: Mapping[int, str], rows: Sequence[tuple[Any, ...]]) -> Iterator[apsw.Cursor]:
        """Run statements that take several rows each until all are in."""
        start = 0
        for count, statement in statements.items():
            while len(rows) - start >= count:
                yield self._connection.execute(statement, tuple(chain.from_iterable(rows[start : start + count])))
                start += count

    def _erase(self, statement: str, *values: Any) -> int:
        """Run a statement that takes bytes away which must not stay in a file; how many rows it changed."""
        changed = self._change(statement, *values)
        self.erases |= changed > 0
        return changed


def _request(org_id: bytes, key_id: str, nonce: bytes) -> bytes:
    """The key of a request among those of the last minutes."""
    return digest(tlv(org_id, key_id, nonce))[:16]
