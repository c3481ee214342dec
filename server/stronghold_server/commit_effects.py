"""What an approved commit writes, and what goes with it (protocol section 5, "One write verb"; section 8, "Revoke").

Runs inside the transaction of the commit's audit entry. Nothing is checked here that decides about the commit, except what
another transaction could have changed since: such a surprise undoes all of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.envelope import Envelope
from stronghold_cli.protocol.errors import Refused
from stronghold_cli.protocol.messages import Commit
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.state import OrgState
from stronghold_server.access import NO_LOGIN_KEY
from stronghold_server.blobs import BlobChanges, kept_map_key
from stronghold_server.states import map_key
from stronghold_server.store.interface import TokenEnd, Writer


class Approved(Record):
    """A commit that passed every check. ``blobs``: those in its body by hash; ``ahead``: those its author sent before."""

    before: OrgState | None
    after: OrgState
    author: bytes
    commit: Commit
    blobs: Mapping[bytes, bytes]
    ahead: frozenset[bytes]
    blob_changes: BlobChanges

    def __repr__(self) -> str:
        return f"Approved({self.commit!r})"


def write_commit(writer: Writer, approved: Approved, expected: bytes, now: int) -> None:
    """Write an approved commit after the head with the hash ``expected``."""
    before, after = approved.before, approved.after
    _write_documents(writer, approved, expected)
    _write_leaves(writer, before, after)
    _write_blobs(writer, approved, now)
    _write_tokens(writer, approved, now)
    _write_operators(writer, before, after)


def _write_documents(writer: Writer, approved: Approved, expected: bytes) -> None:
    before, after, changes = approved.before, approved.after, approved.commit.changes
    org_id, seq = after.org_id, after.seq
    head = after.head
    writer.advance_head(org_id, expected=expected, seq=seq, sha256=head.document.sha256, envelope=head.envelope.encode())
    for payload in changes.payloads:
        writer.put_payload(org_id, digest(payload), payload)
    org = after.org.document
    if changes.org:
        _add(writer, after, "org", b"", org.seq, org.seq, after.org.envelope)
        if before is not None and before.org.document.name != org.name:
            writer.rename_org(org_id, org.name)
    structure = after.structure
    if before is None or structure.document.sha256 != before.structure.document.sha256:
        _add(writer, after, "structure", b"", structure.document.seq, structure.document.seq, structure.envelope)
    elif structure.envelope != before.structure.envelope:
        writer.renew_signature(org_id, "structure", structure.document.sha256, structure.envelope.encode(), seq)
    for profile_id, contents in after.contents.items():
        known = None if before is None else before.contents.get(profile_id)
        document = contents.document
        if known is None or known.document.sha256 != document.sha256:
            _add(writer, after, "contents", profile_id, document.seq, document.version, contents.envelope)
        elif known.envelope != contents.envelope:
            writer.renew_signature(org_id, "contents", document.sha256, contents.envelope.encode(), seq)
    for profile_id in set() if before is None else before.contents.keys() - after.contents.keys():
        writer.end_document(org_id, "contents", profile_id, seq)


def _add(writer: Writer, after: OrgState, kind: str, subject: bytes, seq: int, version: int, envelope: Envelope) -> None:
    writer.add_document(
        after.org_id,
        kind,  # type: ignore[arg-type]
        subject,
        seq=seq,
        version=version,
        sha256=envelope.sha256,
        envelope=envelope.encode(),
        signed_seq=after.seq,
    )


def _write_leaves(writer: Writer, before: OrgState | None, after: OrgState) -> None:
    """Write the difference of every signed map, those of documents that are gone included."""
    old_maps = {} if before is None else before.maps
    for map_id in old_maps.keys() | after.maps.keys():
        old, new = old_maps.get(map_id, {}), after.maps.get(map_id, {})
        if old is new:
            continue
        changes: dict[bytes, bytes | None] = {key: None for key in old if key not in new}
        changes.update({key: value for key, value in new.items() if old.get(key) != value})
        if changes:
            writer.change_leaves(after.org_id, map_key(*map_id), after.seq, changes)


def _write_blobs(writer: Writer, approved: Approved, now: int) -> None:
    """Count the references, new ones first, so that a blob that only moves is not deleted in between."""
    org_id, changes = approved.after.org_id, approved.blob_changes
    for sha256, count in changes.added.items():
        if sha256 in approved.blobs:
            writer.put_blob(org_id, sha256, approved.blobs[sha256], now)
        for _ in range(count):
            if not writer.name_blob(org_id, sha256):
                raise Refused("CONFLICT", "a blob that the commit names is gone from the server")
    writer.forget_sent_ahead(org_id, approved.author, approved.ahead)
    for sha256, count in changes.dropped.items():
        for _ in range(count):
            writer.drop_blob_reference(org_id, sha256)
    for profile_id, leaves in changes.kept.items():
        if leaves:
            writer.change_leaves(org_id, kept_map_key(profile_id), approved.after.seq, leaves)


def _write_tokens(writer: Writer, approved: Approved, now: int) -> None:
    """Register new tokens with their shares; end those that stand in no agent document any more."""
    before, after = approved.before, approved.after
    org_id = after.org_id
    known = set() if before is None else {id_ for agent in before.agents.values() for id_ in agent.tokens}
    current = {id_: (agent, token) for agent in after.agents.values() for id_, token in agent.tokens.items()}
    for token_id in current.keys() - known:
        agent, token = current[token_id]
        writer.add_token(org_id, token_id, agent.id, token.auth_public_key)
        writer.put_share(org_id, token_id, approved.commit.shares[token_id])
    if before is None:
        return
    for agent in before.agents.values():
        # Not by `agent.tokens.keys() - current.keys()`, which walks through all tokens of the org for each agent.
        for token_id in [id_ for id_ in agent.tokens if id_ not in current]:
            ends = (agent.not_after, agent.tokens[token_id].not_after)
            end: TokenEnd = "expired" if any(time is not None and time <= now for time in ends) else "revoked"
            writer.delete_share(org_id, token_id)
            writer.end_token(org_id, token_id, end, now)


def _write_operators(writer: Writer, before: OrgState | None, after: OrgState) -> None:
    """Register operators that a later commit adds, still without a login record; end those that are gone.

    The first operator comes with a login record and is registered by ``genesis``.
    """
    if before is None:
        return
    known, current = before.org.document.operators, after.org.document.operators
    for operator_id in current.keys() - known.keys():
        writer.add_operator(
            after.org_id,
            operator_id,
            request_key=current[operator_id].request,
            login_key=NO_LOGIN_KEY,
            login_record=b"",
            keyset_box=b"",
        )
    for operator_id in known.keys() - current.keys():
        writer.end_operator(after.org_id, operator_id)
