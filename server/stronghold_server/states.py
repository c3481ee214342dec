"""The newest state of each org in memory, loaded from the store and keyed by the hash of its head.

Nobody assumes that memory holds the newest state: a reader of ``States`` names the head that stands in its snapshot, and a
write compares it again inside its transaction. What is loaded goes through ``protocol.state.advance`` with the current org
document as its anchor, so that a damaged store is noticed and not served. Bounded by the number of orgs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from stronghold_cli.protocol.audit import DocumentReference
from stronghold_cli.protocol.documents.leaves import decode_document_leaf
from stronghold_cli.protocol.envelope import decode_envelope
from stronghold_cli.protocol.errors import NotFound
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.signed_map import SignedMap
from stronghold_cli.protocol.state import CONTENTS, DOCUMENTS, Changes, Leaves, MapId, OrgState, advance
from stronghold_server.store.interface import Reader, TokenRow
from stronghold_server.token_limits import LiveToken

MAX_ORGS: Final = 64
MAX_TOKENS: Final = 4_096
MAX_PULLS: Final = 4_096
MAX_ANSWERS: Final = 2_000
MAX_ANSWER_BYTES: Final = 4 << 20
MAX_KEPT: Final = 1 << 20


class LoadedState:
    """One state of an org, with the trees that prove its leaves, and answers that were made from it."""

    def __init__(self, state: OrgState, former: LoadedState | None = None) -> None:
        """``former``: the state before, whose trees of unchanged maps are used further. Makes the large trees at once."""
        self.state = state
        self.head_sha256 = state.head.document.sha256
        self.answers = Answers()  # of each token, what is its own
        self.shared = Answers()  # of each profile and group, what all agents get
        self.pulls = KnownPulls()
        self._trees: dict[MapId, SignedMap] = {}
        if former is not None:
            self._trees = former.trees_for(state)
        self.tree(*DOCUMENTS)
        self.tree(*CONTENTS)

    def trees_for(self, later: OrgState) -> dict[MapId, SignedMap]:
        """The trees of maps that ``later`` has just the same."""
        known = self.state.maps
        return {map_id: tree for map_id, tree in list(self._trees.items()) if known.get(map_id) is later.maps.get(map_id)}

    def tree(self, kind: str, id_: bytes = b"") -> SignedMap:
        """The signed map with its tree, made when it is first asked for."""
        map_id = (kind, id_)
        tree = self._trees.get(map_id)
        if tree is None:
            tree = self._trees[map_id] = SignedMap(self.state.leaves(kind, id_))
        return tree


class Answers:
    """Encoded parts of answers, which are the same as long as the state is; bounded by number and bytes.

    Larger answers than ``MAX_KEPT`` are made anew each time instead of being kept.
    """

    def __init__(self) -> None:
        self._parts: OrderedDict[tuple[bytes, ...], tuple[bytes, bytes, bytes]] = OrderedDict()
        self._bytes = 0
        self._door = threading.Lock()

    def get(self, key: tuple[bytes, ...]) -> tuple[bytes, bytes, bytes] | None:
        """What was kept under ``key``."""
        return self._parts.get(key)

    def keep(self, key: tuple[bytes, ...], parts: tuple[bytes, bytes, bytes]) -> None:
        """Keep an answer, and let go of the oldest ones where there are too many."""
        if sum(map(len, parts)) > MAX_KEPT:
            return
        with self._door:
            if key in self._parts:
                return
            self._parts[key] = parts
            self._bytes += sum(map(len, parts))
            while self._parts and (len(self._parts) > MAX_ANSWERS or self._bytes > MAX_ANSWER_BYTES):
                _, gone = self._parts.popitem(last=False)
                self._bytes -= sum(map(len, gone))


class KnownPull(Record):
    """What a token gets for a query in one state: contents, by which group, and from which org document on."""

    live: LiveToken
    document: DocumentReference
    group_id: bytes
    anchor: bytes


class KnownPulls:
    """Pulls by token and query, as they were answered in one state; bounded, and safe to use from any thread."""

    def __init__(self, limit: int = MAX_PULLS) -> None:
        self._limit = limit
        self._pulls: OrderedDict[tuple[bytes, str], KnownPull] = OrderedDict()
        self._door = threading.Lock()

    def get(self, key: tuple[bytes, str]) -> KnownPull | None:
        """The pull, if it was kept."""
        return self._pulls.get(key)

    def keep(self, key: tuple[bytes, str], pull: KnownPull) -> None:
        """Keep a pull, and let go of the oldest where there are too many."""
        with self._door:
            self._pulls[key] = pull
            while len(self._pulls) > self._limit:
                self._pulls.popitem(last=False)


class KnownTokens:
    """Tokens as they were read last, for those whose key and agent never change. Used by the event loop's thread alone.

    Whether a token has ended, and its uses, are asked again in the transaction that answers.
    """

    def __init__(self, limit: int = MAX_TOKENS) -> None:
        self._limit = limit
        self._rows: OrderedDict[bytes, TokenRow] = OrderedDict()

    def get(self, token_id: bytes) -> TokenRow | None:
        """The row, if it was kept."""
        return self._rows.get(token_id)

    def keep(self, row: TokenRow) -> None:
        """Keep a row that was just read, and let go of the oldest where there are too many."""
        self._rows[row.token_id] = row
        self._rows.move_to_end(row.token_id)
        while len(self._rows) > self._limit:
            self._rows.popitem(last=False)


class States:
    """The newest states; safe to use from any thread."""

    def __init__(self, limit: int = MAX_ORGS) -> None:
        self._limit = limit
        self._states: OrderedDict[bytes, LoadedState] = OrderedDict()
        self._door = threading.Lock()

    def known(self, org_id: bytes, head_sha256: bytes) -> LoadedState | None:
        """The state under that head, if it is in memory."""
        with self._door:
            loaded = self._states.get(org_id)
            if loaded is None or loaded.head_sha256 != head_sha256:
                return None
            self._states.move_to_end(org_id)
            return loaded

    def newest(self, org_id: bytes) -> LoadedState | None:
        """The newest state in memory, which need not be the org's newest: for plans that are compared before they count."""
        return self._states.get(org_id)

    def current(self, reader: Reader, org_id: bytes) -> LoadedState:
        """The state under the head of the reader's snapshot; ``NotFound`` where there is no such org."""
        row = reader.head(org_id)
        if row is None:
            raise NotFound("this server has no such org")
        loaded = self.known(org_id, row.sha256)
        if loaded is None:
            loaded = LoadedState(load_state(reader, org_id))
            self.put(loaded)
        return loaded

    def put(self, loaded: LoadedState) -> None:
        """Remember a state that is durable, unless a newer one is known."""
        org_id = loaded.state.org_id
        with self._door:
            former = self._states.get(org_id)
            if former is not None and former.state.seq > loaded.state.seq:
                return
            self._states[org_id] = loaded
            self._states.move_to_end(org_id)
            while len(self._states) > self._limit:
                self._states.popitem(last=False)


def map_key(kind: str, id_: bytes) -> bytes:
    """The store's name of a signed map: ``documents``, ``contents``, ``members/`` ‖ group id, …"""
    return kind.encode("ascii") if not id_ else kind.encode("ascii") + b"/" + id_


def split_map_key(stored: bytes) -> MapId | None:
    """The id of a signed map by the store's name of it; None for a map of the server's own."""
    kind, _, id_ = stored.partition(b"/")
    return None if kind == b"kept" else (kind.decode("ascii"), id_)


def load_state(reader: Reader, org_id: bytes) -> OrgState:
    """Rebuild the current state from the store's rows; ``IntegrityError`` where they do not belong together."""
    org = reader.current_document(org_id, "org")
    head = reader.head(org_id)
    structure = reader.current_document(org_id, "structure")
    if org is None or head is None or structure is None:
        raise NotFound("this server has no such org")
    maps: dict[MapId, Leaves] = {
        DOCUMENTS: reader.leaves(org_id, map_key(*DOCUMENTS)),
        CONTENTS: reader.leaves(org_id, map_key(*CONTENTS)),
    }
    payloads = reader.payloads(org_id, (decode_document_leaf(value).sha256 for value in maps[DOCUMENTS].values()))
    for key in maps[DOCUMENTS]:
        kind, _, id_ = key.partition(b"/")
        for inner in _INNER_MAPS.get(kind, ()):
            maps[inner, id_] = reader.leaves(org_id, map_key(inner, id_))
    changes = Changes(
        org=(decode_envelope(org.envelope),),
        heads=(decode_envelope(head.envelope),),
        structure=decode_envelope(structure.envelope),
        contents=tuple(decode_envelope(row.envelope) for row in reader.current_documents(org_id, "contents")),
        payloads=tuple(payloads.values()),
        maps={map_id: dict(leaves) for map_id, leaves in maps.items()},
    )
    return advance(None, changes, anchor=org.sha256)


_INNER_MAPS: Final[dict[bytes, tuple[str, ...]]] = {b"group": ("members",), b"profile": ("old_keys", "entries")}
