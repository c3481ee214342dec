"""What operators follow: each commit since the head that they know, one by one (protocol section 5, "Org chain").

An operator's client checks of every commit whether it may follow the one before, which the state that they all lead to does
not tell any more. Documents and leaves are kept for ever, each with the seqs between which it stood, so each commit's
changes can be told again. Envelopes are the newest of their documents: one that was signed anew stands in the commit that
made its document and, while that is current, in the one that signed it anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from stronghold_cli.protocol.audit import DocumentReference
from stronghold_cli.protocol.documents.base import MAX_SEQ
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.leaves import decode_document_leaf, split_document_key
from stronghold_cli.protocol.envelope import Envelope, decode_envelope
from stronghold_cli.protocol.errors import MalformedError, Refused
from stronghold_cli.protocol.messages import Steps
from stronghold_cli.protocol.state import CONTENTS, DOCUMENTS, INNER_MAPS, Changes, MapId, OrgState
from stronghold_server.pulls import MAX_LINKS
from stronghold_server.reads import ALL_ROLES, require_role
from stronghold_server.service import Effect, Plan, Request, Tools
from stronghold_server.states import LoadedState, split_map_key
from stronghold_server.store.interface import Reader, SignedRow

# An answer holds so many commits at most, and ends after the one with which it has so many bytes.
MAX_STEPS: Final = 200
MAX_STEP_BYTES: Final = 16 << 20


def plan_steps(_: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
    """GET steps?since=N&org_seq=M: the commits after head N and org document M, in their order, and the newest seq."""
    require_role(loaded.state, request, ALL_ROLES)
    query = request.query("since", "org_seq")
    since, org_seq = query.count("since", 0, MAX_SEQ), query.count("org_seq", 0, MAX_SEQ)
    state = loaded.state
    if not since or not org_seq:
        raise MalformedError("the query names no head and org document to begin from")
    if since > state.seq or org_seq > state.org.document.seq:
        raise Refused("ANCHOR_UNKNOWN", "the org has no head or org document of that number yet")
    body = Steps(seq=state.seq, steps=tuple(_steps(reader, state, since, org_seq))).encode()
    reference = DocumentReference(kind="head", id=state.org_id, version=state.seq, sha256=state.head.document.sha256)
    effect = Effect(body=body, head_seq=state.seq, document=reference, code="")
    return Plan(head_sha256=loaded.head_sha256, apply=lambda _: effect, settle=None)


def _steps(reader: Reader, state: OrgState, since: int, org_seq: int) -> Iterable[Changes]:
    org_id = state.org_id
    heads = reader.document_chain(org_id, "head", after=since, limit=MAX_STEPS)
    if not heads:
        return
    links = {row.sha256: row for row in reader.document_chain(org_id, "org", after=org_seq, limit=MAX_LINKS)}
    structures = {
        row.seq: row for row in reader.document_chain(org_id, "structure", after=since, limit=MAX_STEPS) if row.seq > since
    }
    signed_anew = _signed_anew(reader, org_id, since)
    weight = 0
    for row in heads:
        if weight >= MAX_STEP_BYTES:
            return
        head = decode_envelope(row.envelope)
        link = links.pop(Head.decode(head.payload).org_sha256, None)
        maps = _changed_maps(reader, org_id, row.seq)
        named = [decode_document_leaf(value).sha256 for value in maps.get(DOCUMENTS, {}).values() if value is not None]
        structure = structures.get(row.seq) or next(iter(signed_anew[row.seq, "structure"]), None)
        contents = [*_contents(reader, org_id, maps.get(CONTENTS, {}).values()), *signed_anew[row.seq, "contents"]]
        step = Changes(
            org=() if link is None else (decode_envelope(link.envelope),),
            heads=(head,),
            structure=None if structure is None else decode_envelope(structure.envelope),
            contents=tuple(decode_envelope(item.envelope) for item in contents),
            payloads=tuple(reader.payloads(org_id, named).values()),
            maps=maps,
        )
        weight += _weight(step)
        yield step


def _changed_maps(reader: Reader, org_id: bytes, seq: int) -> dict[MapId, dict[bytes, bytes | None]]:
    """The leaves that a commit changed. A map inside a document goes with the document."""
    maps: dict[MapId, dict[bytes, bytes | None]] = {}
    for stored, key, value in reader.leaves_changed(org_id, seq):
        map_id = split_map_key(stored)
        if map_id is not None:
            maps.setdefault(map_id, {})[key] = value
    for key, value in maps.get(DOCUMENTS, {}).items():
        kind, id_ = split_document_key(key)
        for name in INNER_MAPS.get(kind, ()) if value is None else ():
            maps.pop((name, id_), None)
    return maps


def _contents(reader: Reader, org_id: bytes, hashes: Iterable[bytes | None]) -> list[SignedRow]:
    rows = (reader.document_by_hash(org_id, "contents", sha256) for sha256 in hashes if sha256 is not None)
    return [row for row in rows if row is not None]


def _signed_anew(reader: Reader, org_id: bytes, since: int) -> defaultdict[tuple[int, str], list[SignedRow]]:
    """Current documents by the seq of a later commit that signed them anew, and their kind."""
    found: defaultdict[tuple[int, str], list[SignedRow]] = defaultdict(list)
    for kind in ("structure", "contents"):
        for row in reader.current_documents(org_id, kind, since):
            if row.signed_seq > row.seq:
                found[row.signed_seq, kind].append(row)
    return found


def _weight(step: Changes) -> int:
    """About how many bytes the changes of a commit are."""
    envelopes: list[Envelope] = [*step.heads, *step.contents, *([step.structure] if step.structure else [])]
    leaves = sum(len(key) + len(value or b"") for changed in step.maps.values() for key, value in changed.items())
    return leaves + sum(len(envelope.payload) for envelope in envelopes) + sum(map(len, step.payloads))
