"""What operators read of the past: what commits replaced, and the kept versions of secrets (protocol section 5).

Documents and leaves are kept for ever, each with the seqs between which it stood. ``plan_past`` leads from a head back, one
commit after the other; the client checks each former state by hash. ``plan_history`` gives the older versions of secrets to
operators who may read the profile now. Both answer in pages: what is kept grows with each write, an answer does not.
"""

from __future__ import annotations

from typing import Final

from stronghold_cli.protocol.audit import DocumentReference
from stronghold_cli.protocol.documents.base import MAX_SEQ, ZERO_HASH
from stronghold_cli.protocol.documents.leaves import decode_document_leaf, decode_entry_leaf
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.envelope import Envelope, decode_envelope
from stronghold_cli.protocol.errors import MalformedError, Refused, Unavailable
from stronghold_cli.protocol.messages_past import KeptSecret, KeptSecrets, encode_past
from stronghold_cli.protocol.state import DOCUMENTS, Changes, MapId, OrgState
from stronghold_server.blobs import KeptVersion, decode_kept_version, kept_key, kept_map_key
from stronghold_server.pulls import require_blobs
from stronghold_server.reads import ALL_ROLES, READING_ROLES, require_role
from stronghold_server.service import Effect, Plan, Request, Tools
from stronghold_server.states import LoadedState, map_key, split_map_key
from stronghold_server.store.interface import Reader

PAST_PAGE: Final = 100
MAX_PAST_PAGE: Final = 500
HISTORY_PAGE: Final = 500
MAX_HISTORY_PAGE: Final = 1000


class Past:
    """The routes that lead back; a page ends with what makes it ``page_bytes`` long, and always leads one step on."""

    def __init__(self, page_bytes: int) -> None:
        self._page_bytes = page_bytes

    def plan_past(self, _: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
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
        while len(steps) < limit and size < self._page_bytes and seq > 1:
            step, weight = _replaced(reader, state.org_id, seq)
            if not step.heads:
                raise Refused("ANCHOR_UNKNOWN", "the org has no head of that number")
            steps.append(step)
            size += weight
            seq = _seq_of(reader, state.org_id, step.heads[0])
        reference = DocumentReference(kind="head", id=state.org_id, version=state.seq, sha256=state.head.document.sha256)
        return _answer(loaded, encode_past(steps), reference)

    def plan_history(self, _: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
        """GET profiles/{id}/history: kept versions of one secret, or the last values of deleted ones; page by page.

        ``secret=ID&before=N``: leaves of that secret and the ciphertexts of its versions, the newest first; only those that
        come after the leaf that head N brought. Without a secret: of each deleted one, by id from ``after`` on, the leaves
        back to its last value, with that. ``limit`` is how many leaves, or secrets, the page holds at most.
        """
        state = loaded.state
        profile = _require_readable(state, request)
        query = request.query("secret", "before", "after", "limit")
        secret_id, after = query.hexadecimal("secret", 16), query.hexadecimal("after", 16)
        before = query.count("before", 0, MAX_SEQ)
        limit = query.count("limit", HISTORY_PAGE, MAX_HISTORY_PAGE)
        if limit == 0 or (secret_id is None and before) or (secret_id is not None and after is not None):
            raise MalformedError("the query does not go together: secret and before, or after; and a limit above 0")
        if secret_id is not None and secret_id not in state.leaves("entries", profile.id):
            raise Refused("NOT_FOUND", "the profile never had such a secret")
        page = _HistoryPage(reader, state, profile, self._page_bytes)
        if secret_id is not None:
            page.add(secret_id, before or None, limit)
        else:
            page.add_deleted(after, limit)
        contents = state.contents[profile.id].document
        reference = DocumentReference(kind="contents", id=profile.id, version=contents.version, sha256=contents.sha256)
        return _answer(loaded, page.encode(), reference)


class _HistoryPage:
    """Gathers leaves and the versions that go with them until there are enough bytes; then reads the ciphertexts."""

    def __init__(self, reader: Reader, state: OrgState, profile: Profile, page_bytes: int) -> None:
        self._reader = reader
        self._state = state
        self._profile = profile
        self._left = page_bytes
        self._runs: dict[bytes, KeptSecret] = {}
        self._versions: dict[bytes, dict[int, KeptVersion]] = {}

    def add(self, secret_id: bytes, before: int | None, limit: int, *, to_last_value: bool = False) -> None:
        """At most ``limit`` leaves of a secret, from its current one or that after the one of head ``before`` on.

        The run ends with the first leaf of version ``oldest``: what is older was purged. With ``to_last_value`` it ends with
        the first leaf that has a value.
        """
        entry = decode_entry_leaf(self._state.leaves("entries", self._profile.id)[secret_id])
        rows = self._reader.leaf_values(
            self._state.org_id, map_key("entries", self._profile.id), secret_id, until=before or MAX_SEQ, limit=limit + 1
        )
        number, leaves, versions, end = 0, list[bytes](), dict[int, KeptVersion](), before
        if before is not None and rows and rows[0][0] == before:
            number = decode_entry_leaf(rows.pop(0)[1]).version
        is_last = not rows
        for seq, value in rows[:limit]:
            leaf = decode_entry_leaf(value)
            if leaf.version < entry.oldest:  # purged since the page before
                is_last = True
                break
            leaves.append(value)
            end = seq
            self._left -= len(value)
            if leaf.is_live and leaf.version != number:
                versions[leaf.version] = self._kept(secret_id, leaf.version)
                self._left -= versions[leaf.version].length
            number = leaf.version
            is_last = leaf.version == entry.oldest or leaf.prev == ZERO_HASH
            if is_last or self._left <= 0 or (to_last_value and leaf.is_live):
                break
        self._runs[secret_id] = KeptSecret(leaves=tuple(leaves), ciphertexts={}, before=None if is_last else end)
        self._versions[secret_id] = versions

    def add_deleted(self, after: bytes | None, limit: int) -> None:
        """At most ``limit`` deleted secrets of which a version below the deletion is kept, by id from ``after`` on."""
        leaves = self._state.leaves("entries", self._profile.id)
        for secret_id in sorted(id_ for id_ in leaves if after is None or id_ > after):
            entry = decode_entry_leaf(leaves[secret_id])
            if not entry.is_live and entry.oldest < entry.version:
                self.add(secret_id, None, MAX_HISTORY_PAGE, to_last_value=True)
                if self._left <= 0 or len(self._runs) == limit:
                    return

    def encode(self) -> bytes:
        """The body of the answer, with the ciphertexts and the boxes of older keys that they need."""
        old_keys = self._state.old_keys(self._profile.id)
        chosen = [version for versions in self._versions.values() for version in versions.values()]
        boxes = {old_keys[epoch].box_sha256 for epoch in {version.epoch for version in chosen} - {self._profile.epoch}}
        blobs = require_blobs(self._reader, self._state.org_id, {*(version.sha256 for version in chosen), *boxes})
        secrets = {
            id_: run.replace(ciphertexts={number: blobs[version.sha256] for number, version in self._versions[id_].items()})
            for id_, run in self._runs.items()
        }
        return KeptSecrets(secrets=secrets, boxes=tuple(blobs[sha256] for sha256 in sorted(boxes))).encode()

    def _kept(self, secret_id: bytes, version: int) -> KeptVersion:
        key = kept_map_key(self._profile.id), kept_key(secret_id, version)
        value = self._reader.leaf(self._state.org_id, *key)
        if value is None:
            raise Unavailable("the storage lacks a version that is kept", code="STORAGE_FAILED")
        return decode_kept_version(value)


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
