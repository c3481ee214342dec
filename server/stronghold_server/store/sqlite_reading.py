"""The reading half of the store on SQLite: every statement named, every query served by an index.

``SqliteReader`` works inside a transaction that ``sqlite.py`` has begun; see ``interface.Reader`` for what each
operation means.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import apsw

from stronghold_server.store.interface import LogHead, OperatorRow, OrgRow, Side, SignedKind, SignedRow, TokenRow

ORG_IDS: Final = "SELECT org_id FROM orgs ORDER BY org_id"
ORG: Final = "SELECT name, created FROM orgs WHERE org_id = ?"
SETUP_CODE: Final = "SELECT 1 FROM setup_codes WHERE code_sha256 = ? AND used IS NULL"
UNUSED_SETUP_CODES: Final = "SELECT count(*) FROM setup_codes WHERE used IS NULL"

_SIGNED: Final = "SELECT subject, seq, version, sha256, envelope, signed_seq FROM signed_documents"
CURRENT_DOCUMENT: Final = f"{_SIGNED} WHERE org_id = ? AND kind = ? AND subject = ? AND to_seq IS NULL"
CURRENT_DOCUMENTS: Final = (
    f"{_SIGNED} WHERE org_id = ? AND kind = ? AND to_seq IS NULL AND signed_seq > ? ORDER BY signed_seq, rowid"
)
DOCUMENT_CHAIN: Final = f"{_SIGNED} WHERE org_id = ? AND kind = ? AND subject = ? AND seq > ? ORDER BY seq LIMIT ?"
DOCUMENT_BY_HASH: Final = f"{_SIGNED} WHERE org_id = ? AND kind = ? AND sha256 = ?"
DOCUMENTS_ENDED: Final = (
    "SELECT kind, subject, seq, version, sha256, envelope, signed_seq FROM signed_documents WHERE org_id = ? AND to_seq = ?"
)
PAYLOAD: Final = "SELECT payload FROM payloads WHERE org_id = ? AND sha256 = ?"

LEAF: Final = "SELECT value FROM leaves WHERE org_id = ? AND map = ? AND key = ? AND to_seq IS NULL"
LEAVES: Final = "SELECT key, value FROM leaves WHERE org_id = ? AND map = ? AND to_seq IS NULL ORDER BY key"
LEAVES_SET_SINCE: Final = "SELECT key, value FROM leaves WHERE org_id = ? AND map = ? AND from_seq > ? AND to_seq IS NULL"
LEAVES_GONE_SINCE: Final = "SELECT key FROM leaves WHERE org_id = ? AND map = ? AND to_seq > ? AND from_seq <= ?"
LEAF_VALUES: Final = (
    "SELECT from_seq, value FROM leaves WHERE org_id = ? AND map = ? AND key = ? AND from_seq <= ?"
    " ORDER BY from_seq DESC LIMIT ?"
)
LEAVES_BEGUN: Final = "SELECT map, key FROM leaves WHERE org_id = ? AND from_seq = ?"
LEAVES_ENDED: Final = "SELECT map, key, value FROM leaves WHERE org_id = ? AND to_seq = ?"
LEAVES_SET: Final = "SELECT map, key, value FROM leaves WHERE org_id = ? AND from_seq = ?"
KEYS_ENDED: Final = "SELECT map, key FROM leaves WHERE org_id = ? AND to_seq = ?"
LEAF_EXISTED: Final = "SELECT 1 FROM leaves WHERE org_id = ? AND map = ? AND key = ? LIMIT 1"

BLOB: Final = "SELECT content FROM blobs WHERE org_id = ? AND sha256 = ?"
BLOB_IS_NAMED: Final = "SELECT 1 FROM blobs WHERE org_id = ? AND sha256 = ? AND named > 0"
SENT_AHEAD: Final = "SELECT length FROM sent_ahead WHERE org_id = ? AND operator_id = ? AND sha256 = ?"
ALL_SENT_AHEAD: Final = "SELECT sha256 FROM sent_ahead WHERE org_id = ? AND operator_id = ? ORDER BY sha256"
ALL_SENT_AHEAD_IN_ORG: Final = "SELECT sha256 FROM sent_ahead WHERE org_id = ? ORDER BY operator_id, sha256"
BYTES_AHEAD: Final = "SELECT ifnull(sum(max(length, ?)), 0) FROM sent_ahead WHERE org_id = ?"
BYTES_AHEAD_OF_OPERATOR: Final = f"{BYTES_AHEAD} AND operator_id = ?"
SHARE: Final = "SELECT share FROM shares WHERE org_id = ? AND token_id = ?"
TOKEN_COLUMNS: Final = ("token_id", "org_id", "agent_id", "auth_public_key", "ended", "ended_at", "last_used", "uses")
_TOKEN: Final = f"SELECT {', '.join(TOKEN_COLUMNS)} FROM tokens"  # noqa: S608
TOKEN: Final = f"{_TOKEN} WHERE token_id = ?"
TOKENS: Final = f"{_TOKEN} WHERE org_id = ? ORDER BY token_id"
OPERATOR: Final = (
    "SELECT operator_id, request_key, login_key, login_record, keyset_box, ended FROM operators"
    " WHERE org_id = ? AND operator_id = ?"
)

LOG_HEAD: Final = "SELECT size, root, peaks, server_time, head_seq FROM log_heads WHERE org_id = ?"
LOG_LEAVES: Final = "SELECT position, leaf FROM log_leaves WHERE org_id = ? AND position >= ? ORDER BY position LIMIT ?"
# The node of a level at a position stands in the row of its last leaf.
LOG_NODES: Final = (
    "WITH RECURSIVE ends (position, count) AS"
    " (SELECT ((?2 + 1) << ?1) - 1, 1 UNION ALL SELECT position + (1 << ?1), count + 1 FROM ends WHERE count < ?3)"
    " SELECT position, substr(nodes, ?1 * 32 + 1, 32) FROM ends CROSS JOIN log_leaves USING (position)"
    " WHERE org_id = ?4 AND length(nodes) >= ?1 * 32 + 32"
)
LOG_SIDE: Final = "SELECT salt, address, user_agent FROM log_sides WHERE org_id = ? AND position = ?"
COUNTERS: Final = "SELECT kind, count FROM counters ORDER BY kind"


class SqliteReader:
    """``interface.Reader`` on one connection that is inside a transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def _rows(self, statement: str, *values: Any) -> apsw.Cursor:
        return self._connection.execute(statement, values)

    def _row(self, statement: str, *values: Any) -> Any:
        for row in self._connection.execute(statement, values):
            return row
        return None

    def org_ids(self) -> list[bytes]:
        return [row[0] for row in self._rows(ORG_IDS)]

    def org(self, org_id: bytes) -> OrgRow | None:
        row = self._row(ORG, org_id)
        return row and OrgRow(org_id=org_id, name=row[0], created=row[1])

    def has_setup_code(self, code_sha256: bytes) -> bool:
        return self._row(SETUP_CODE, code_sha256) is not None

    def unused_setup_codes(self) -> int:
        return int(self._row(UNUSED_SETUP_CODES)[0])

    def head(self, org_id: bytes) -> SignedRow | None:
        return self.current_document(org_id, "head")

    def current_document(self, org_id: bytes, kind: SignedKind, subject: bytes = b"") -> SignedRow | None:
        row = self._row(CURRENT_DOCUMENT, org_id, kind, subject)
        return row and _signed(row)

    def current_documents(self, org_id: bytes, kind: SignedKind, since: int = 0) -> list[SignedRow]:
        return [_signed(row) for row in self._rows(CURRENT_DOCUMENTS, org_id, kind, since)]

    def document_chain(
        self, org_id: bytes, kind: SignedKind, subject: bytes = b"", *, after: int, limit: int
    ) -> list[SignedRow]:
        return [_signed(row) for row in self._rows(DOCUMENT_CHAIN, org_id, kind, subject, after, limit)]

    def document_by_hash(self, org_id: bytes, kind: SignedKind, sha256: bytes) -> SignedRow | None:
        row = self._row(DOCUMENT_BY_HASH, org_id, kind, sha256)
        return row and _signed(row)

    def documents_ended(self, org_id: bytes, seq: int) -> list[tuple[SignedKind, SignedRow]]:
        return [(row[0], _signed(row[1:])) for row in self._rows(DOCUMENTS_ENDED, org_id, seq)]

    def payload(self, org_id: bytes, sha256: bytes) -> bytes | None:
        return _first(self._row(PAYLOAD, org_id, sha256))

    def payloads(self, org_id: bytes, hashes: Iterable[bytes]) -> dict[bytes, bytes]:
        return self._many(PAYLOAD, org_id, hashes)

    def leaf(self, org_id: bytes, map_key: bytes, key: bytes) -> bytes | None:
        return _first(self._row(LEAF, org_id, map_key, key))

    def leaves(self, org_id: bytes, map_key: bytes) -> dict[bytes, bytes]:
        return dict(self._rows(LEAVES, org_id, map_key))

    def leaf_changes(self, org_id: bytes, map_key: bytes, since: int) -> dict[bytes, bytes | None]:
        gone: dict[bytes, bytes | None] = {
            row[0]: None for row in self._rows(LEAVES_GONE_SINCE, org_id, map_key, since, since)
        }
        return gone | dict(self._rows(LEAVES_SET_SINCE, org_id, map_key, since))

    def leaf_values(self, org_id: bytes, map_key: bytes, key: bytes, *, until: int, limit: int) -> list[tuple[int, bytes]]:
        return list(self._rows(LEAF_VALUES, org_id, map_key, key, until, limit))

    def leaves_replaced(self, org_id: bytes, seq: int) -> list[tuple[bytes, bytes, bytes | None]]:
        found: dict[tuple[bytes, bytes], bytes | None] = dict.fromkeys(self._rows(LEAVES_BEGUN, org_id, seq))
        found.update(((map_key, key), value) for map_key, key, value in self._rows(LEAVES_ENDED, org_id, seq))
        return [(map_key, key, value) for (map_key, key), value in found.items()]

    def leaves_changed(self, org_id: bytes, seq: int) -> list[tuple[bytes, bytes, bytes | None]]:
        found: dict[tuple[bytes, bytes], bytes | None] = dict.fromkeys(self._rows(KEYS_ENDED, org_id, seq))
        found.update(((map_key, key), value) for map_key, key, value in self._rows(LEAVES_SET, org_id, seq))
        return sorted((map_key, key, value) for (map_key, key), value in found.items())

    def keys_that_existed(self, org_id: bytes, map_key: bytes, keys: Iterable[bytes]) -> set[bytes]:
        return {key for key in keys if self._row(LEAF_EXISTED, org_id, map_key, key)}

    def blobs(self, org_id: bytes, hashes: Iterable[bytes]) -> dict[bytes, bytes]:
        return self._many(BLOB, org_id, hashes)

    def named_blobs(self, org_id: bytes, hashes: Iterable[bytes]) -> set[bytes]:
        return {sha256 for sha256 in hashes if self._row(BLOB_IS_NAMED, org_id, sha256)}

    def sent_ahead(self, org_id: bytes, operator_id: bytes, hashes: Iterable[bytes]) -> dict[bytes, int]:
        rows = ((sha256, self._row(SENT_AHEAD, org_id, operator_id, sha256)) for sha256 in hashes)
        return {sha256: int(row[0]) for sha256, row in rows if row is not None}

    def all_sent_ahead(self, org_id: bytes, operator_id: bytes | None) -> list[bytes]:
        if operator_id is None:
            return [row[0] for row in self._rows(ALL_SENT_AHEAD_IN_ORG, org_id)]
        return [row[0] for row in self._rows(ALL_SENT_AHEAD, org_id, operator_id)]

    def bytes_ahead(self, org_id: bytes, operator_id: bytes | None, least: int) -> int:
        if operator_id is None:
            return int(self._row(BYTES_AHEAD, least, org_id)[0])
        return int(self._row(BYTES_AHEAD_OF_OPERATOR, least, org_id, operator_id)[0])

    def share(self, org_id: bytes, token_id: bytes) -> bytes | None:
        return _first(self._row(SHARE, org_id, token_id))

    def token(self, token_id: bytes) -> TokenRow | None:
        row = self._row(TOKEN, token_id)
        return row and read_token(row)

    def tokens(self, org_id: bytes) -> list[TokenRow]:
        return [read_token(row) for row in self._rows(TOKENS, org_id)]

    def operator(self, org_id: bytes, operator_id: bytes) -> OperatorRow | None:
        row = self._row(OPERATOR, org_id, operator_id)
        if row is None:
            return None
        return OperatorRow(
            operator_id=row[0],
            request_key=row[1],
            login_key=row[2],
            login_record=row[3],
            keyset_box=row[4],
            ended=bool(row[5]),
        )

    def log_head(self, org_id: bytes) -> LogHead | None:
        row = self._row(LOG_HEAD, org_id)
        if row is None:
            return None
        size, root, peaks, server_time, head_seq = row
        split = tuple(peaks[start : start + 32] for start in range(0, len(peaks), 32))
        return LogHead(size=size, root=root, peaks=split, server_time=server_time, head_seq=head_seq)

    def log_leaves(self, org_id: bytes, start: int, limit: int) -> list[tuple[int, bytes]]:
        return list(self._rows(LOG_LEAVES, org_id, start, limit))

    def log_nodes(self, org_id: bytes, level: int, start: int, limit: int) -> list[bytes]:
        return [node for _, node in sorted(self._rows(LOG_NODES, level, start, limit, org_id))] if limit > 0 else []

    def log_side(self, org_id: bytes, index: int) -> Side | None:
        row = self._row(LOG_SIDE, org_id, index)
        return row and Side(salt=row[0], address=row[1], user_agent=row[2])

    def counters(self) -> dict[str, int]:
        return dict(self._rows(COUNTERS))

    def _many(self, statement: str, org_id: bytes, hashes: Iterable[bytes]) -> dict[bytes, bytes]:
        """Point reads cost microseconds each: no list has to be bound."""
        found = {}
        for sha256 in hashes:
            row = self._row(statement, org_id, sha256)
            if row is not None:
                found[sha256] = row[0]
        return found


def _first(row: Any) -> bytes | None:
    return None if row is None else row[0]


def _signed(row: Any) -> SignedRow:
    subject, seq, version, sha256, envelope, signed_seq = row
    return SignedRow(subject=subject, seq=seq, version=version, sha256=sha256, envelope=envelope, signed_seq=signed_seq)


def read_token(row: Any) -> TokenRow:
    """The row of a token, in the order of ``TOKEN``."""
    return TokenRow(
        token_id=row[0],
        org_id=row[1],
        agent_id=row[2],
        auth_public_key=row[3],
        ended=row[4],
        ended_at=row[5],
        last_used=row[6],
        uses=row[7],
    )
