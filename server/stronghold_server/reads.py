"""What operators read: sync, keys, contents of a profile, uses of tokens, the audit log, and the own keyset.

Sync gives what turns the state that the client knows into the current one (protocol section 5): every link of the org chain
and every head since then, the envelopes that are new or signed anew, and the changed leaves with their payloads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from stronghold_cli.protocol.audit import DocumentReference
from stronghold_cli.protocol.documents.base import MAX_SEQ
from stronghold_cli.protocol.documents.leaves import decode_document_leaf, decode_member_leaf
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.encoding import MAX_INTEGER
from stronghold_cli.protocol.envelope import Envelope, decode_envelope
from stronghold_cli.protocol.errors import MalformedError, Refused
from stronghold_cli.protocol.messages import (
    Ciphertexts,
    Keys,
    LoginAnswer,
    TokenUse,
    encode_audit,
    encode_old_keys,
    encode_sealing_keys,
    encode_sync,
    encode_token_uses,
)
from stronghold_cli.protocol.state import CONTENTS, DOCUMENTS, Changes, MapId, OrgState
from stronghold_server.pulls import MAX_LINKS, org_links, require_blobs
from stronghold_server.service import Effect, Plan, Request, Tools
from stronghold_server.states import LoadedState, map_key
from stronghold_server.store.interface import Reader

ALL_ROLES: Final = frozenset({"admin", "editor", "reader", "auditor"})
READING_ROLES: Final = frozenset({"admin", "editor", "reader"})
LOG_ROLES: Final = frozenset({"admin", "auditor"})
WRITING_ROLES: Final = frozenset({"admin", "editor"})
AUDIT_PAGE: Final = 100
MAX_AUDIT_PAGE: Final = 1000


def plan_sync(_: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
    """GET sync?since=N&org_seq=M: everything after head N and org document M; all that is current where N is 0."""
    require_role(loaded.state, request, ALL_ROLES)
    query = request.query("since", "org_seq")
    since = query.count("since", 0, MAX_SEQ)
    org_seq = query.count("org_seq", 0, MAX_SEQ)
    state = loaded.state
    if since > state.seq or org_seq > state.org.document.seq:
        raise Refused("ANCHOR_UNKNOWN", "the org has no head or org document of that number yet")
    body = encode_sync(_changes_since(reader, state, since, org_seq))
    return _answer(loaded, body, _head_reference(state))


def plan_keys(_: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
    """GET keys: the own seals of group keys, and the boxes of profile keys under those groups."""
    operator_id = require_role(loaded.state, request, READING_ROLES)
    request.query()
    state = loaded.state
    own_groups = _groups_of(state, operator_id)
    seals = {
        group_id: decode_member_leaf(state.leaves("members", group_id)[operator_id]).sealed_sha256 for group_id in own_groups
    }
    wraps = {
        (profile.id, group_id): grant.wrap_sha256
        for profile in state.profiles.values()
        for group_id, grant in profile.grants.items()
        if group_id in own_groups
    }
    blobs = require_blobs(reader, state.org_id, {*seals.values(), *wraps.values()})
    keys = Keys(
        seals={group_id: blobs[sha256] for group_id, sha256 in seals.items()},
        wraps={place: blobs[sha256] for place, sha256 in wraps.items()},
    )
    return _answer(loaded, keys.encode(), _head_reference(state))


def plan_sealing_keys(_: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
    """GET sealing-keys: the public sealing keys of root and all operators, of one agent's tokens, or of a group's members.

    ``agent`` and ``group`` name whose keys are asked for; without either, root's and the operators'.
    """
    require_role(loaded.state, request, READING_ROLES)
    state = loaded.state
    query = request.query("agent", "group")
    agent_id, group_id = query.hexadecimal("agent", 16), query.hexadecimal("group", 16)
    if agent_id is not None and group_id is not None:
        raise MalformedError("the query names an agent and a group")
    if group_id is not None:
        if group_id not in state.groups:
            raise Refused("NOT_FOUND", "the org has no such group")
        hashes = {leaf.seal_sha256 for leaf in state.group_members(group_id).values()}
    elif agent_id is None:
        org = state.org.document
        hashes = {org.root.seal_sha256, *(operator.seal_sha256 for operator in org.operators.values())}
    elif agent_id in state.agents:
        hashes = {token.seal_sha256 for token in state.agents[agent_id].tokens.values()}
    else:
        raise Refused("NOT_FOUND", "the org has no such agent")
    blobs = require_blobs(reader, state.org_id, hashes)
    return _answer(loaded, encode_sealing_keys(blobs[sha256] for sha256 in sorted(hashes)), _head_reference(state))


def plan_contents(_: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
    """GET profiles/{id}/contents: the ciphertexts of a profile's live entries."""
    state = loaded.state
    profile = _require_readable(state, request)
    request.query()
    hashes = {key: entry.ciphertext_sha256 for key, entry in state.entries(profile.id).items() if entry.is_live}
    blobs = require_blobs(reader, state.org_id, set(hashes.values()))
    body = Ciphertexts(ciphertexts={key: blobs[sha256] for key, sha256 in hashes.items()}).encode()
    return _answer(loaded, body, _contents_reference(state, profile))


def plan_old_keys(_: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
    """GET profiles/{id}/old-keys: the boxes of a profile's older keys, of those epochs that a kept version needs."""
    state = loaded.state
    profile = _require_readable(state, request)
    request.query()
    boxes = reader.blobs(state.org_id, {leaf.box_sha256 for leaf in state.old_keys(profile.id).values()})
    body = encode_old_keys(boxes[sha256] for sha256 in sorted(boxes))
    return _answer(loaded, body, _contents_reference(state, profile))


def plan_tokens(_: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
    """GET tokens: when each token that the org ever had was last used."""
    require_role(loaded.state, request, LOG_ROLES)
    request.query()
    uses = {row.token_id: TokenUse(last_used=row.last_used, uses=row.uses) for row in reader.tokens(request.org_id)}
    return _answer(loaded, encode_token_uses(uses), None)


def plan_audit(_: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
    """GET audit?after=N&limit=M: at most M entries after the first N, and the log's size without this request's entry."""
    require_role(loaded.state, request, LOG_ROLES)
    query = request.query("after", "limit")
    after = query.count("after", 0, MAX_INTEGER)
    limit = query.count("limit", AUDIT_PAGE, MAX_AUDIT_PAGE)
    log = reader.log_head(request.org_id)
    size = 0 if log is None else log.size
    leaves = tuple(leaf for _, leaf in reader.log_leaves(request.org_id, after, limit)) if after < size else ()
    return _answer(loaded, encode_audit(leaves, size), None)


def plan_keyset(_: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
    """GET keyset?org=SHA256: login record, keyset box, the org chain from that document, and the head (section 8, login)."""
    anchor = request.query("org").hexadecimal("org", 32)
    if anchor is None:
        raise MalformedError("the query parameter org is missing")
    operator = reader.operator(request.org_id, request.caller.signature.key_id.raw)
    if operator is None or not operator.login_record:
        raise Refused("OPERATOR_REMOVED", "this operator was removed from the org")
    answer = LoginAnswer(
        login=decode_envelope(operator.login_record),
        keyset=operator.keyset_box,
        org=org_links(reader, request.org_id, anchor),
        head=loaded.state.head.envelope,
    )
    return _answer(loaded, answer.encode(), _head_reference(loaded.state))


def require_role(state: OrgState, request: Request, roles: frozenset[str]) -> bytes:
    """Return the operator's id if their role in the current org document is one of ``roles``."""
    operator_id = request.caller.signature.key_id.raw
    role = state.org.document.role_of(operator_id)
    if role is None:
        raise Refused("OPERATOR_REMOVED", "this operator was removed from the org")
    if role not in roles:
        raise Refused("FORBIDDEN", f"this needs one of the roles {', '.join(sorted(roles))}")
    return operator_id


def _require_readable(state: OrgState, request: Request) -> Profile:
    """The profile in the path, if the operator may read it: as an admin, or in a group that is granted it."""
    operator_id = require_role(state, request, READING_ROLES)
    profile = state.profiles.get(request.subject)
    if profile is None:
        raise Refused("NOT_FOUND", "the org has no such profile")
    is_admin = state.org.document.role_of(operator_id) == "admin"
    if not is_admin and _groups_of(state, operator_id).isdisjoint(profile.grants):
        raise Refused("PROFILE_FORBIDDEN", "this operator stands in no group that is granted the profile")
    return profile


def _contents_reference(state: OrgState, profile: Profile) -> DocumentReference:
    contents = state.contents[profile.id].document
    return DocumentReference(kind="contents", id=profile.id, version=contents.version, sha256=contents.sha256)


def _answer(loaded: LoadedState, body: bytes, document: DocumentReference | None) -> Plan:
    effect = Effect(body=body, head_seq=loaded.state.seq, document=document, code="")
    return Plan(head_sha256=loaded.head_sha256, apply=lambda _: effect, settle=None)


def _head_reference(state: OrgState) -> DocumentReference:
    return DocumentReference(kind="head", id=state.org_id, version=state.seq, sha256=state.head.document.sha256)


def _groups_of(state: OrgState, operator_id: bytes) -> set[bytes]:
    """The groups whose key is sealed to the operator."""
    return {group_id for group_id in state.groups if operator_id in state.leaves("members", group_id)}


def _changes_since(reader: Reader, state: OrgState, since: int, org_seq: int) -> Changes:
    org_id = state.org_id
    org = reader.document_chain(org_id, "org", after=org_seq, limit=MAX_LINKS)
    heads: tuple[Envelope, ...] = (state.head.envelope,)
    if since:
        heads = tuple(
            decode_envelope(row.envelope) for row in reader.document_chain(org_id, "head", after=since, limit=MAX_LINKS)
        )
    structures = reader.current_documents(org_id, "structure", since)
    contents = reader.current_documents(org_id, "contents", since)
    maps = _maps_since(state, since, lambda map_id: reader.leaf_changes(org_id, map_key(*map_id), since))
    changed = (decode_document_leaf(value).sha256 for value in maps.get(DOCUMENTS, {}).values() if value is not None)
    return Changes(
        org=tuple(decode_envelope(row.envelope) for row in org),
        heads=heads,
        structure=decode_envelope(structures[0].envelope) if structures else None,
        contents=tuple(decode_envelope(row.envelope) for row in contents),
        payloads=tuple(reader.payloads(org_id, changed).values()),
        maps=maps,
    )


def _maps_since(
    state: OrgState, since: int, read: Callable[[MapId], dict[bytes, bytes | None]]
) -> dict[MapId, dict[bytes, bytes | None]]:
    """The changed leaves of the maps that exist now; those of documents that went, went with them."""
    map_ids: list[MapId] = [DOCUMENTS, CONTENTS, *(("members", id_) for id_ in state.groups)]
    for id_ in state.profiles:
        map_ids += [("old_keys", id_), ("entries", id_)]
    if since == 0:
        # Leaves that went before the client began are nothing to a client that begins with nothing.
        everything = {map_id: dict[bytes, bytes | None](state.leaves(*map_id)) for map_id in map_ids}
        return {map_id: leaves for map_id, leaves in everything.items() if leaves}
    return {map_id: leaves for map_id in map_ids if (leaves := read(map_id))}
