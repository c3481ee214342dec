"""What operators read of the past: what commits replaced, and the kept versions of secrets (protocol section 5).

Documents and leaves are kept for ever, each with the seqs between which it stood. ``plan_past`` leads from a head back, one
commit after the other; the client checks each former state by hash. ``plan_history`` gives the older versions of secrets to
operators who may read the profile now.
"""

from __future__ import annotations

from typing import Final

from stronghold_cli.protocol.audit import DocumentReference
from stronghold_cli.protocol.documents.base import MAX_SEQ
from stronghold_cli.protocol.documents.leaves import decode_document_leaf
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.encoding import decode_u64
from stronghold_cli.protocol.envelope import Envelope, decode_envelope
from stronghold_cli.protocol.errors import Refused
from stronghold_cli.protocol.messages_past import KeptSecret, KeptSecrets, encode_past
from stronghold_cli.protocol.state import DOCUMENTS, Changes, MapId, OrgState
from stronghold_server.blobs import KeptVersion, decode_kept, kept_map_key
from stronghold_server.pulls import require_blobs
from stronghold_server.reads import ALL_ROLES, READING_ROLES, require_role
from stronghold_server.service import Effect, Plan, Request, Tools
from stronghold_server.states import LoadedState, map_key, split_map_key
from stronghold_server.store.interface import Reader

PAST_PAGE: Final = 100
MAX_PAST_PAGE: Final = 500
# A page ends once it holds this many bytes of documents and leaves; it always leads one commit back.
MAX_PAGE_BYTES: Final = 4 << 20


def plan_past(_: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
    """GET past?before=N&limit=M: what the commits of head N, N-1, … replaced, at most M of them; none before head 2."""
    require_role(loaded.state, request, ALL_ROLES)
    query = request.query("before", "limit")
    state = loaded.state
    seq = query.count("before", state.seq, MAX_SEQ)
    limit = query.count("limit", PAST_PAGE, MAX_PAST_PAGE)
    if seq > state.seq:
        raise Refused("ANCHOR_UNKNOWN", "the org has no head of that number yet")
    steps: list[Changes] = []
    size = 0
    while len(steps) < limit and size < MAX_PAGE_BYTES and seq > 1:
        step, weight = _replaced(reader, state.org_id, seq)
        if not step.heads:
            raise Refused("ANCHOR_UNKNOWN", "the org has no head of that number")
        steps.append(step)
        size += weight
        seq = _seq_of(reader, state.org_id, step.heads[0])
    reference = DocumentReference(kind="head", id=state.org_id, version=state.seq, sha256=state.head.document.sha256)
    return _answer(loaded, encode_past(steps), reference)


def plan_history(_: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
    """GET profiles/{id}/history?secret=ID: all kept versions of a secret; without one, the last ones of deleted secrets."""
    state = loaded.state
    profile = _require_readable(state, request)
    secret_id = request.query("secret").hexadecimal("secret", 16)
    entries = state.entries(profile.id)
    if secret_id is not None and secret_id not in entries:
        raise Refused("NOT_FOUND", "the profile never had such a secret")
    wanted = [secret_id] if secret_id is not None else [id_ for id_, entry in entries.items() if not entry.is_live]
    kept: dict[bytes, dict[int, KeptVersion]] = {id_: {} for id_ in wanted}
    for key, version in decode_kept(reader.leaves(state.org_id, kept_map_key(profile.id))).items():
        if key[:16] in kept:
            kept[key[:16]][decode_u64(key[16:])] = version
    if secret_id is None:
        kept = {id_: {max(versions): versions[max(versions)]} for id_, versions in kept.items() if versions}
    chosen = [version for versions in kept.values() for version in versions.values()]
    old_keys = state.old_keys(profile.id)
    boxes = {old_keys[epoch].box_sha256 for epoch in {version.epoch for version in chosen} - {profile.epoch}}
    blobs = require_blobs(reader, state.org_id, {*(version.sha256 for version in chosen), *boxes})
    entries_map = map_key("entries", profile.id)
    body = KeptSecrets(
        secrets={
            id_: KeptSecret(
                leaves=tuple(reader.leaf_values(state.org_id, entries_map, id_)),
                ciphertexts={number: blobs[version.sha256] for number, version in versions.items()},
            )
            for id_, versions in kept.items()
        },
        boxes=tuple(blobs[sha256] for sha256 in sorted(boxes)),
    ).encode()
    contents = state.contents[profile.id].document
    reference = DocumentReference(kind="contents", id=profile.id, version=contents.version, sha256=contents.sha256)
    return _answer(loaded, body, reference)


def _require_readable(state: OrgState, request: Request) -> Profile:
    """The profile in the path, if the operator may read it: as an admin, or in a group that is granted it."""
    operator_id = require_role(state, request, READING_ROLES)
    profile = state.profiles.get(request.subject)
    if profile is None:
        raise Refused("NOT_FOUND", "the org has no such profile")
    is_admin = state.org.document.role_of(operator_id) == "admin"
    if not is_admin and not any(operator_id in state.leaves("members", group_id) for group_id in profile.grants):
        raise Refused("PROFILE_FORBIDDEN", "this operator stands in no group that is granted the profile")
    return profile


def _replaced(reader: Reader, org_id: bytes, seq: int) -> tuple[Changes, int]:
    """What the commit of head ``seq`` replaced, and about how many bytes that is."""
    envelopes: dict[str, list[Envelope]] = {"org": [], "head": [], "structure": [], "contents": []}
    weight = 0
    for kind, row in reader.documents_ended(org_id, seq):
        envelopes[kind].append(decode_envelope(row.envelope))
        weight += len(row.envelope)
    maps: dict[MapId, dict[bytes, bytes | None]] = {}
    for stored, key, value in reader.leaves_replaced(org_id, seq):
        map_id = split_map_key(stored)
        if map_id is not None:
            maps.setdefault(map_id, {})[key] = value
            weight += len(key) + len(value or b"")
    named = {decode_document_leaf(value).sha256 for value in maps.get(DOCUMENTS, {}).values() if value is not None}
    payloads = tuple(reader.payloads(org_id, named).values())
    changes = Changes(
        org=tuple(envelopes["org"]),
        heads=tuple(envelopes["head"]),
        structure=envelopes["structure"][0] if envelopes["structure"] else None,
        contents=tuple(envelopes["contents"]),
        payloads=payloads,
        maps=maps,
    )
    return changes, weight + sum(map(len, payloads))


def _seq_of(reader: Reader, org_id: bytes, head: Envelope) -> int:
    row = reader.document_by_hash(org_id, "head", head.sha256)
    return 0 if row is None else row.seq


def _answer(loaded: LoadedState, body: bytes, document: DocumentReference) -> Plan:
    effect = Effect(body=body, head_seq=loaded.state.seq, document=document, code="")
    return Plan(head_sha256=loaded.head_sha256, apply=lambda _: effect, settle=None)
