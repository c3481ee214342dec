"""Blobs sent ahead of the commit that will name them (protocol section 5, "One write verb"; section 13).

A large commit would be one long request, lost whole when the connection breaks. Its blobs may come before it in parts; a
client that was cut off asks which of its own are there and sends the rest. Three rules keep that from becoming a way around
what a commit must satisfy:

- a blob sent ahead may be named by a commit of the operator who sent it, and by no other;
- an operator is told of the blobs that they sent themselves, and of no other: nobody can ask whether a blob is there;
- what nothing names goes after 24 hours, or when its sender says so, and until then has a limit for each operator and for
  the editors of an org together.
"""

from __future__ import annotations

from typing import Final

from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import MalformedError, Refused
from stronghold_cli.protocol.messages import decode_ahead, decode_blobs, encode_ahead
from stronghold_cli.protocol.state import OrgState
from stronghold_server.commits import MAX_BLOB
from stronghold_server.reads import WRITING_ROLES, require_role
from stronghold_server.service import Effect, Plan, Request, Tools
from stronghold_server.states import LoadedState
from stronghold_server.store.interface import Reader, Writer

# A blob costs its row too: many tiny ones are counted as what they take.
LEAST_BYTES: Final = 1024
# Of one request: each is looked up while nothing else is written.
MAX_BLOBS: Final = 10_000
ORG_SHARE: Final = 4


class Ahead:
    """The routes of /v1/orgs/{org}/blobs; ``limit`` is what one operator may have there, in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def plan_send(self, tools: Tools, request: Request) -> Plan:
        """POST: keep the blobs of the body as sent by this operator; the answer names them by their hashes."""
        with tools.store.read() as reader:
            loaded = tools.states.current(reader, request.org_id)
        author = require_role(loaded.state, request, WRITING_ROLES)
        request.query()
        blobs = _distinct(decode_blobs(request.received.body))
        if len(blobs) > MAX_BLOBS:
            raise MalformedError(f"more than {MAX_BLOBS} blobs are sent ahead at once")
        effect = Effect(body=encode_ahead(blobs), head_seq=loaded.state.seq, document=None, code="")

        def apply(writer: Writer) -> Effect:
            known = writer.sent_ahead(request.org_id, author, blobs)
            more = sum(max(len(blob), LEAST_BYTES) for sha256, blob in blobs.items() if sha256 not in known)
            self._require_room(writer, loaded.state, author, more)
            for sha256, blob in blobs.items():
                writer.put_blob(request.org_id, sha256, blob, request.now)
                writer.note_sent_ahead(request.org_id, author, sha256, len(blob), request.now)
            return effect

        return Plan(head_sha256=loaded.head_sha256, apply=apply, settle=None)

    def plan_list(self, _: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
        """GET: the hashes of the blobs that this operator sent ahead and no commit has named yet."""
        author = require_role(loaded.state, request, WRITING_ROLES)
        request.query()
        body = encode_ahead(reader.all_sent_ahead(request.org_id, author))
        effect = Effect(body=body, head_seq=loaded.state.seq, document=None, code="")
        return Plan(head_sha256=loaded.head_sha256, apply=lambda _: effect, settle=None)

    def plan_forget(self, tools: Tools, request: Request) -> Plan:
        """POST blobs-forget: the blobs of the body were sent by this operator for a commit that will not come."""
        with tools.store.read() as reader:
            loaded = tools.states.current(reader, request.org_id)
        author = require_role(loaded.state, request, WRITING_ROLES)
        request.query()
        hashes = decode_ahead(request.received.body)

        def apply(writer: Writer) -> Effect:
            own = hashes & set(writer.all_sent_ahead(request.org_id, author))
            writer.forget_sent_ahead(request.org_id, author, own)
            # Others may have sent the same bytes, and were told that they are there.
            writer.drop_unnamed_blobs(request.org_id, own.difference(writer.all_sent_ahead(request.org_id, None)))
            body = encode_ahead(writer.all_sent_ahead(request.org_id, author))
            return Effect(body=body, head_seq=loaded.state.seq, document=None, code="")

        return Plan(head_sha256=loaded.head_sha256, apply=apply, settle=None)

    def _require_room(self, writer: Writer, state: OrgState, author: bytes, more: int) -> None:
        """An admin has the room of one operator whatever others did: editors cannot fill it, and so stop a removal."""
        org_id = state.org_id
        if writer.bytes_ahead(org_id, author, LEAST_BYTES) + more > self._limit:
            raise Refused("AHEAD_FULL", "this operator has sent as much ahead as may wait for a commit")
        if state.org.document.role_of(author) == "admin":
            return
        if writer.bytes_ahead(org_id, None, LEAST_BYTES) + more > self._limit * ORG_SHARE:
            raise Refused("AHEAD_FULL", "the org's operators have sent as much ahead as may wait for commits")


def _distinct(blobs: tuple[bytes, ...]) -> dict[bytes, bytes]:
    """The blobs by hash."""
    if not blobs:
        raise MalformedError("no blob is sent ahead")
    if any(len(blob) > MAX_BLOB for blob in blobs):
        raise MalformedError("a blob sent ahead is too large")
    by_hash = {digest(blob): blob for blob in blobs}
    if len(by_hash) != len(blobs):
        raise MalformedError("a blob sent ahead stands twice in the request")
    return by_hash
