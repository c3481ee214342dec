"""The ``Store`` interface: everything that the server keeps, in operations named by their meaning.

Implements what protocol sections 5 (signed state, the one write verb), 6 (nonces) and 7 (audit log) ask of storage. The
interface is made so that a PostgreSQL with several replicas fits behind it as well as one SQLite file:

- no SQL and no connection leaves a store module;
- a ``Reader`` is one consistent, read-only snapshot; a ``Writer`` is one transaction, whole or not at all;
- nobody assumes that memory holds the newest state: a commit calls ``lock_head`` inside its transaction and hands the
  hash that it was checked against to ``advance_head``, which refuses another one;
- all that belongs to an org is asked for by ``org_id`` first. Only tokens are found by their id alone.

Ids and hashes are raw bytes (org_id 32, other ids 16, hashes 32), times Unix seconds, ``seq`` the seq of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Final, Literal, Protocol, TypeVar

from stronghold_cli.protocol.errors import Unavailable
from stronghold_cli.protocol.record import Record

T = TypeVar("T")

# The four kinds of signed documents (protocol section 5). ``subject`` is the profile's id for contents, else empty.
SignedKind = Literal["org", "structure", "contents", "head"]
TokenEnd = Literal["revoked", "expired"]
CounterKind = Literal["unknown_key", "clock_skew", "replayed", "rate_limited", "malformed", "authority_unknown"]
COUNTER_KINDS: Final[tuple[CounterKind, ...]] = (
    "unknown_key",
    "clock_skew",
    "replayed",
    "rate_limited",
    "malformed",
    "authority_unknown",
)
NO_HEAD: Final = bytes(32)


class StorageFailed(Unavailable):
    """The storage did not take a write, or can no longer be trusted to: nothing was acknowledged."""

    code = "STORAGE_FAILED"


class ClockBehind(Unavailable):
    """The server's clock is more than 60 s behind the last entry of an org's log (protocol section 7)."""

    code = "CLOCK_BEHIND"


class OrgRow(Record):
    """An org on this server."""

    org_id: bytes
    name: str
    created: int


class SignedRow(Record):
    """A signed document; ``signed_seq`` is the seq of the head with which its newest envelope came.

    ``seq`` is the document's own; ``version`` that of contents, elsewhere equal to ``seq``; ``sha256`` is of the payload.
    """

    subject: bytes
    seq: int
    version: int
    sha256: bytes
    envelope: bytes
    signed_seq: int


class TokenRow(Record):
    """A token that was ever made on this server; kept for ever, so that its id never comes back."""

    token_id: bytes
    org_id: bytes
    agent_id: bytes
    auth_public_key: bytes
    ended: TokenEnd | None
    ended_at: int | None
    last_used: int | None
    uses: int


class UsedToken(Record):
    """A token as it is with the use that was just counted, and its share; None once that was deleted."""

    token: TokenRow
    share: bytes | None

    def __repr__(self) -> str:
        return f"UsedToken({self.token!r})"


class OperatorRow(Record):
    """An operator's request key and, until they are removed, what logs them in on a new device (sections 3 and 8)."""

    operator_id: bytes
    request_key: bytes
    login_key: bytes
    login_record: bytes
    keyset_box: bytes
    ended: bool

    def __repr__(self) -> str:
        return f"OperatorRow({self.operator_id.hex()})"


class LogHead(Record):
    """Where an org's log stands: ``peaks`` are the roots of its complete subtrees, the largest first."""

    size: int
    root: bytes
    peaks: tuple[bytes, ...]
    server_time: int
    head_seq: int


class LogEntry(Record):
    """An entry that was appended."""

    index: int
    server_time: int
    leaf: bytes


class Side(Record):
    """What the ``side`` hash of an audit leaf stands for, kept apart so that it can be pruned (section 7)."""

    salt: bytes
    address: str
    user_agent: str

    def __repr__(self) -> str:
        return "Side(…)"


class StoreStatus(Record):
    """``ready`` is false for good once a write failed; ``unerased`` counts works whose bytes may be in a file yet."""

    ready: bool
    unerased: int


class Reader(Protocol):
    """One consistent snapshot of everything that was committed before it began."""

    def org_ids(self) -> list[bytes]:
        """The ids of all orgs on this server."""

    def org(self, org_id: bytes) -> OrgRow | None:
        """The org, or None where this server has none of that id."""

    def has_setup_code(self, code_sha256: bytes) -> bool:
        """Whether a setup code with this hash is known and not used up."""

    def unused_setup_codes(self) -> int:
        """How many setup codes are still good for one org each."""

    # Signed documents and payloads.

    def head(self, org_id: bytes) -> SignedRow | None:
        """The current head."""

    def current_document(self, org_id: bytes, kind: SignedKind, subject: bytes = b"") -> SignedRow | None:
        """The current document of that kind (of contents: of that profile)."""

    def current_documents(self, org_id: bytes, kind: SignedKind, since: int = 0) -> list[SignedRow]:
        """The current documents of that kind whose newest envelope came after head ``since``, in the order of coming."""

    def document_chain(
        self, org_id: bytes, kind: SignedKind, subject: bytes = b"", *, after: int, limit: int
    ) -> list[SignedRow]:
        """At most ``limit`` documents of a chain whose own seq is above ``after``, by seq, the current one included."""

    def document_by_hash(self, org_id: bytes, kind: SignedKind, sha256: bytes) -> SignedRow | None:
        """The document with that payload hash, current or not."""

    def documents_ended(self, org_id: bytes, seq: int) -> list[tuple[SignedKind, SignedRow]]:
        """The documents that stood until the commit of head ``seq`` replaced or ended them."""

    def payload(self, org_id: bytes, sha256: bytes) -> bytes | None:
        """The payload of an agent, group, profile or invite document."""

    def payloads(self, org_id: bytes, hashes: Iterable[bytes]) -> dict[bytes, bytes]:
        """The payloads that are there, by hash."""

    # Leaves of the signed maps. ``map_key`` names the map: b"documents", b"contents", b"members/" + group id, …

    def leaf(self, org_id: bytes, map_key: bytes, key: bytes) -> bytes | None:
        """The current value of a leaf."""

    def leaves(self, org_id: bytes, map_key: bytes) -> dict[bytes, bytes]:
        """All current leaves of a map, sorted by key."""

    def leaf_changes(self, org_id: bytes, map_key: bytes, since: int) -> dict[bytes, bytes | None]:
        """What a party that knows the map as of head ``since`` lacks: key to value, or to None for a leaf that went."""

    def leaf_values(self, org_id: bytes, map_key: bytes, key: bytes, *, until: int, limit: int) -> list[tuple[int, bytes]]:
        """At most ``limit`` values that a leaf had up to head ``until``, the newest first: (first seq, value)."""

    def leaves_replaced(self, org_id: bytes, seq: int) -> list[tuple[bytes, bytes, bytes | None]]:
        """The leaves that the commit of head ``seq`` changed: (map_key, key, former value, None for a new one)."""

    def leaves_changed(self, org_id: bytes, seq: int) -> list[tuple[bytes, bytes, bytes | None]]:
        """What the commit of head ``seq`` set or dropped, sorted: (map, key, value), the value None for a leaf that went."""

    def keys_that_existed(self, org_id: bytes, map_key: bytes, keys: Iterable[bytes]) -> set[bytes]:
        """Those of ``keys`` that are, or ever were, leaves of the map: an id once gone never comes back."""

    # Blobs, shares, tokens, operators.

    def blobs(self, org_id: bytes, hashes: Iterable[bytes]) -> dict[bytes, bytes]:
        """The blobs that are there, by hash."""

    def named_blobs(self, org_id: bytes, hashes: Iterable[bytes]) -> set[bytes]:
        """Those of the blobs that a current document names."""

    def sent_ahead(self, org_id: bytes, operator_id: bytes, hashes: Iterable[bytes]) -> dict[bytes, int]:
        """Those of the blobs that this very operator sent ahead: hash to length in bytes."""

    def all_sent_ahead(self, org_id: bytes, operator_id: bytes | None) -> list[bytes]:
        """The hashes of all blobs that this operator (``None``: anybody of the org) sent ahead and no commit has named yet;
        sorted, for anybody by the operators first."""

    def bytes_ahead(self, org_id: bytes, operator_id: bytes | None, least: int) -> int:
        """How much an operator (``None``: all of the org) has sent ahead, each blob counted as ``least`` bytes or more."""

    def share(self, org_id: bytes, token_id: bytes) -> bytes | None:
        """The server's half of what opens a token's master key; None once it was deleted."""

    def token(self, token_id: bytes) -> TokenRow | None:
        """The token of that id in whichever org."""

    def tokens(self, org_id: bytes) -> list[TokenRow]:
        """All tokens that the org ever had."""

    def operator(self, org_id: bytes, operator_id: bytes) -> OperatorRow | None:
        """The operator of that id inside the org."""

    # The audit log.

    def log_head(self, org_id: bytes) -> LogHead | None:
        """Where the org's log stands."""

    def log_leaves(self, org_id: bytes, start: int, limit: int) -> list[tuple[int, bytes]]:
        """At most ``limit`` entries from index ``start`` on: (index, leaf bytes)."""

    def log_nodes(self, org_id: bytes, level: int, start: int, limit: int) -> list[bytes]:
        """At most ``limit`` complete tree nodes of a level from position ``start`` on; level 0 holds the leaf hashes."""

    def log_side(self, org_id: bytes, index: int) -> Side | None:
        """The side row of an entry, unless it was pruned."""

    def counters(self) -> dict[str, int]:
        """How often requests were turned away before they could make an audit entry, by kind."""


class Writer(Reader, Protocol):
    """One transaction. What it reads includes what it wrote. Any exception undoes all of it."""

    def add_setup_code(self, code_sha256: bytes, now: int) -> bool:
        """Keep a setup code's hash; False where this code was known before, used or not."""

    def use_setup_code(self, code_sha256: bytes, now: int) -> bool:
        """Use a setup code up; False where it is unknown or was used before."""

    def create_org(self, org_id: bytes, name: str, now: int) -> None:
        """Add an org with an empty log; ``Conflict`` where it exists."""

    def rename_org(self, org_id: bytes, name: str) -> None:
        """Follow the name in the org's newest org document."""

    def lock_head(self, org_id: bytes) -> SignedRow | None:
        """The current head, held still until the transaction ends: the first step of each commit."""

    def advance_head(self, org_id: bytes, *, expected: bytes, seq: int, sha256: bytes, envelope: bytes) -> None:
        """Put the new head after the one with hash ``expected`` (``NO_HEAD``: the first); ``Conflict`` if that moved on."""

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
        """Make a document the current one of its kind and subject; ``Conflict`` where its seq or hash is taken."""

    def renew_signature(self, org_id: bytes, kind: SignedKind, sha256: bytes, envelope: bytes, signed_seq: int) -> None:
        """Replace the envelope of a document by one with another signature under the same payload (section 5)."""

    def end_document(self, org_id: bytes, kind: SignedKind, subject: bytes, seq: int) -> None:
        """From head ``seq`` on there is no current document of that kind and subject: the contents of a deleted profile."""

    def put_payload(self, org_id: bytes, sha256: bytes, payload: bytes) -> None:
        """Keep a payload for ever; once more is no change."""

    def change_leaves(self, org_id: bytes, map_key: bytes, seq: int, changes: Mapping[bytes, bytes | None]) -> None:
        """Set leaves, or drop those with None, as of head ``seq``; a value that stands already is no change."""

    def put_blob(self, org_id: bytes, sha256: bytes, content: bytes, now: int) -> None:
        """Keep a blob that nothing names yet; where it is known its 24 hours begin anew."""

    def name_blob(self, org_id: bytes, sha256: bytes) -> bool:
        """Count one more current document that names the blob; False where the blob is not there."""

    def drop_blob_reference(self, org_id: bytes, sha256: bytes) -> None:
        """Count one less; at none the bytes are deleted physically."""

    def note_sent_ahead(self, org_id: bytes, operator_id: bytes, sha256: bytes, length: int, now: int) -> None:
        """Remember that an operator sent a blob ahead; where that is known its 24 hours begin anew."""

    def forget_sent_ahead(self, org_id: bytes, operator_id: bytes, hashes: Iterable[bytes]) -> None:
        """The operator's commit has named these blobs."""

    def drop_unnamed_blobs(self, org_id: bytes, hashes: Iterable[bytes]) -> None:
        """Delete those of the blobs that no document names."""

    def sweep_sent_ahead(self, org_id: bytes, before: int, limit: int) -> int:
        """Forget at most ``limit`` blobs sent ahead before ``before``; how many."""

    def sweep_blobs(self, org_id: bytes, before: int, limit: int) -> int:
        """Delete at most ``limit`` blobs that nothing names and that came before ``before``; how many went."""

    def put_share(self, org_id: bytes, token_id: bytes, share: bytes) -> None:
        """Keep a new token's share; ``Conflict`` where there is one."""

    def delete_share(self, org_id: bytes, token_id: bytes) -> bool:
        """Delete a share physically; False where there was none."""

    def add_token(self, org_id: bytes, token_id: bytes, agent_id: bytes, auth_public_key: bytes) -> None:
        """Register a token; ``Conflict`` where any org of this server ever had that id."""

    def end_token(self, org_id: bytes, token_id: bytes, end: TokenEnd, now: int) -> None:
        """Say that a token is over, and why; a token that ended before keeps its first end."""

    def use_token(self, org_id: bytes, token_id: bytes, now: int, times: int = 1) -> UsedToken:
        """Count a use, or several; the token with them, and its share."""

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
        """Register an operator; ``Conflict`` where the org ever had that id."""

    def replace_login(
        self, org_id: bytes, operator_id: bytes, *, login_key: bytes, login_record: bytes, keyset_box: bytes
    ) -> None:
        """After a change of passphrase; the former box is deleted physically."""

    def end_operator(self, org_id: bytes, operator_id: bytes) -> None:
        """Say that an operator was removed; login record and keyset box are deleted physically."""

    def use_nonce(self, org_id: bytes, key_id: str, nonce: bytes, now: int) -> bool:
        """Remember a request; False where this key used this nonce before: a replay (section 6)."""

    def use_nonces(self, org_id: bytes, pairs: Collection[tuple[str, bytes]], now: int) -> bool:
        """Remember several requests, each by (key id, nonce); False where one of them or more is a replay."""

    def purge_nonces(self, before: int, limit: int) -> int:
        """Forget at most ``limit`` nonces used before ``before``; how many went."""

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
        """Append ``make_leaf(index, server_time)`` to the org's log (section 7).

        ``server_time`` is the higher of ``now`` and the former leaf's. ``ClockBehind`` where ``now`` is more than 60 s
        behind that, unless ``reset_clock``: the admin's signed ``clock`` entry, the only place where time may fall.
        ``RuleError`` where ``head_seq`` falls.
        """

    def prune_sides(self, org_id: bytes, before: int, limit: int) -> int:
        """Delete at most ``limit`` side rows of entries whose server time is before ``before``; how many went."""

    def add_counts(self, counts: Mapping[CounterKind, int], now: int) -> None:
        """Add to the counters; the caller gathers counts in memory, so that a flood does not become a flood of writes."""


class Store(Protocol):
    """Everything that the server keeps. Safe to use from any thread."""

    def read(self) -> AbstractContextManager[Reader]:
        """A read-only snapshot for the length of a ``with``; keep it short, it holds deletion up."""

    def write(self, work: Callable[[Writer], T]) -> Future[T]:
        """Run ``work`` in a transaction; the future resolves when its effect is durable, or holds its exception.

        ``work`` runs in another thread, together with works of others in one disk flush, and may not call ``write``. It may
        run more than once, where one beside it failed: it changes nothing but what the writer changes. Its exception undoes
        its own effect alone. Where it deleted secrets' bytes, the future waits until these are gone from
        the files. ``StorageFailed``: nothing of it is acknowledged, and the store takes no further writes.
        """

    def status(self) -> StoreStatus:
        """What ``/readyz`` tells."""

    def close(self) -> None:
        """Finish the works that are queued, and let go of the storage."""
