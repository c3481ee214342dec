"""The agents, groups, profiles and invites of a state, and how changed leaves are laid over them (protocol section 5).

``state.advance`` checks the map that names them; here stands what each payload must be: what its leaf says, the org's own,
and no older than the one before it. An operator's commands look at few of an org's thousands of agents, so those of a state
that was verified as a whole before (the local copy; ``vault/replica``) are decoded when they are first looked at. What is
received is never put off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Generic, TypeAlias, TypeVar

from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.invite import Invite
from stronghold_cli.protocol.documents.leaves import DocumentLeaf, decode_document_leaf, split_document_key
from stronghold_cli.protocol.documents.org import Operator
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import IntegrityError

D = TypeVar("D", bound="Agent | Group | Profile | Invite")
N = TypeVar("N", bound="Agent | Group | Profile | Invite | Operator")
OrgDocument: TypeAlias = Agent | Group | Profile | Invite

OTHER_ORG = "a document belongs to another org"
_TYPES: dict[str, type[OrgDocument]] = {"agent": Agent, "group": Group, "profile": Profile, "invite": Invite}


class LaidDocuments:
    """The documents of one state by kind and id; begins with copies of those ``before`` (a function of the kind)."""

    def __init__(self, before: Callable[[str], Mapping[bytes, OrgDocument]] | None, org_id: bytes) -> None:
        self.by_kind: dict[str, MutableMapping[bytes, OrgDocument]] = {
            kind: {} if before is None else copy_documents(before(kind)) for kind in _TYPES
        }
        self._org_id = org_id

    def lay(self, changed: Mapping[bytes, bytes | None], payloads: Iterable[bytes], *, defer_agents: bool) -> None:
        """Lay changed leaves of the documents map over these; raises ``IntegrityError``.

        ``defer_agents``: there are no agents yet, and those to come are decoded when they are first looked at.
        """
        by_hash = {digest(payload): payload for payload in payloads}
        deferred: Deferred[OrgDocument] = Deferred(lambda id_, payload, leaf: self._decode("agent", id_, payload, leaf))
        for key, value in changed.items():
            kind, id_ = split_document_key(key)
            if value is None:
                self.by_kind[kind].pop(id_, None)
                continue
            leaf = decode_document_leaf(value)
            previous = self.by_kind[kind].get(id_)
            if previous is not None and previous.sha256 == leaf.sha256:
                _require_named(previous, kind, id_, leaf)
                continue
            payload = by_hash.get(leaf.sha256)
            if payload is None:
                raise IntegrityError("the payload of a document is missing", evidence={"kind": kind, "id": id_.hex()})
            if kind == "agent" and defer_agents:
                deferred.defer(id_, payload, leaf)
                continue
            document = self._decode(kind, id_, payload, leaf)
            _check_not_falling(kind, previous, document)
            self.by_kind[kind][id_] = document
        if defer_agents:
            self.by_kind["agent"] = deferred

    def _decode(self, kind: str, id_: bytes, payload: bytes, leaf: DocumentLeaf) -> OrgDocument:
        document = _TYPES[kind].decode(payload)
        _require_named(document, kind, id_, leaf)
        if document.org_id != self._org_id:
            raise IntegrityError(OTHER_ORG, evidence={"kind": kind, "id": id_.hex()})
        return document


class _Place(Generic[D]):
    """One document, or until somebody asks for it its leaf and payload. All copies of a mapping share it."""

    __slots__ = ("document", "payload")

    def __init__(self, document: D | DocumentLeaf, payload: bytes = b"") -> None:
        self.document = document
        self.payload = payload


class Deferred(MutableMapping[bytes, D]):
    """Documents by id; ``decode(id, payload, leaf)`` makes one of what was put off, and raises what is wrong with it."""

    __slots__ = ("_decode", "_places")

    def __init__(self, decode: Callable[[bytes, bytes, DocumentLeaf], D]) -> None:
        self._decode = decode
        self._places: dict[bytes, _Place[D]] = {}

    def defer(self, id_: bytes, payload: bytes, leaf: DocumentLeaf) -> None:
        """Set a document by its payload and the leaf that names it."""
        self._places[id_] = _Place(leaf, payload)

    def copy(self) -> Deferred[D]:
        """A mapping of its own; what one of both decodes, the other need not decode again."""
        other = Deferred(self._decode)
        other._places = dict(self._places)
        return other

    def __getitem__(self, id_: bytes) -> D:
        place = self._places[id_]
        document = place.document
        if isinstance(document, DocumentLeaf):
            document = place.document = self._decode(id_, place.payload, document)
        return document

    def __setitem__(self, id_: bytes, document: D) -> None:
        self._places[id_] = _Place(document)

    def __delitem__(self, id_: bytes) -> None:
        del self._places[id_]

    def __contains__(self, id_: object) -> bool:
        return id_ in self._places

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"Deferred({len(self._places)})"

    def payloads(self) -> Iterator[bytes]:
        """The payloads of all documents; none is decoded for that."""
        for place in self._places.values():
            yield place.payload if isinstance(place.document, DocumentLeaf) else place.document.payload

    def names(self) -> Iterator[tuple[bytes, str]]:
        """The names of all documents with their ids; none is decoded for that."""
        return ((id_, place.document.name) for id_, place in self._places.items())


def names_of(documents: Mapping[bytes, N]) -> Iterable[tuple[bytes, str]]:
    """Ids and names of documents, or operators; none is decoded for that."""
    return documents.names() if isinstance(documents, Deferred) else ((id_, item.name) for id_, item in documents.items())


def payloads_of(documents: Mapping[bytes, OrgDocument]) -> Iterable[bytes]:
    """The payloads of a state's documents of one kind; none is decoded for that."""
    return documents.payloads() if isinstance(documents, Deferred) else (item.payload for item in documents.values())


def copy_documents(documents: Mapping[bytes, D]) -> MutableMapping[bytes, D]:
    """A mapping of one's own of the same documents."""
    return documents.copy() if isinstance(documents, Deferred) else dict(documents)


def _require_named(document: OrgDocument, kind: str, id_: bytes, leaf: DocumentLeaf) -> None:
    if document.id != id_ or document.name != leaf.name:
        raise IntegrityError("a document's id or name is not that of its leaf", evidence={"kind": kind, "id": id_.hex()})


def _check_not_falling(kind: str, previous: OrgDocument | None, document: OrgDocument) -> None:
    if previous is None or isinstance(previous, Invite) or isinstance(document, Invite):
        return
    if document.version < previous.version or (document.version == previous.version and document.sha256 != previous.sha256):
        raise IntegrityError(
            "a document's version falls, or stands for two documents",
            evidence={"kind": kind, "id": document.id.hex(), "known": previous.version, "offered": document.version},
        )
