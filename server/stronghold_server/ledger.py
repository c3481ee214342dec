"""The audit entry of one request (protocol section 7): written in the transaction of its effect, or the request fails."""

from __future__ import annotations

from collections.abc import Callable

from stronghold_cli.protocol.audit import SALT_BYTES, AuditLeaf, DocumentReference, side_hash
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.requests import RequestSignature
from stronghold_server.received import Received
from stronghold_server.refusals import Unlogged
from stronghold_server.store.interface import Side, Writer


class Outcome(Record):
    """How a request ended, as its entry says it: ``code`` is a refusal's, or ``TOKEN_DEPRECATED``, or empty."""

    outcome: str
    code: str
    head_seq: int
    document: DocumentReference | None


class Entries:
    """Writes audit entries; ``random`` gives the salts."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random

    def spend_nonce(self, writer: Writer, org_id: bytes, signature: RequestSignature, now: int) -> None:
        """Remember the pair (key id, nonce); ``Unlogged`` where it was used before."""
        if not writer.use_nonce(org_id, signature.key_id.text, signature.nonce, now):
            raise Unlogged("REPLAYED", "this very request was received before", counted="replayed")

    def append(
        self,
        writer: Writer,
        org_id: bytes,
        kind: str,
        received: Received,
        signature: RequestSignature,
        outcome: Outcome,
        now: int,
    ) -> None:
        """Append the entry of a verified request."""
        side = Side(salt=self._random(SALT_BYTES), address=received.address, user_agent=received.user_agent)

        def make_leaf(index: int, server_time: int) -> bytes:
            return AuditLeaf(
                index=index,
                kind=kind,
                server_time=server_time,
                signature_base=signature.base,
                signature=signature.signature,
                key_id=signature.key_id,
                outcome=outcome.outcome,
                code=outcome.code,
                head_seq=outcome.head_seq,
                document=outcome.document,
                correlation_id=received.correlation_id,
                side=side_hash(side.salt, side.address, side.user_agent),
            ).encode()

        writer.append_entry(org_id, make_leaf, now=now, head_seq=outcome.head_seq, side=side)
