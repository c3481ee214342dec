"""DSSE v1 envelopes over the exact payload bytes (protocol section 2).

An envelope is JSON ``{payload, payloadType, signatures: [{keyid, sig}]}`` with exactly one signature; ``keyid`` is an
operator's id in hex, or ``root``. A document's hash is SHA-256 of its payload, never of the envelope.
"""

from __future__ import annotations

from stronghold_cli.protocol.encoding import (
    JsonValue,
    decode_base64,
    decode_hex,
    decode_json,
    digest,
    encode_base64,
    encode_json,
)
from stronghold_cli.protocol.errors import IntegrityError, MalformedError
from stronghold_cli.protocol.keys import SigningKey, VerifyKey
from stronghold_cli.protocol.record import Record

ROOT = "root"
MAX_ENVELOPE = 6 << 20
_TYPE = "application/vnd.stronghold.{}.v1+json"


class Envelope(Record):
    """One signed payload. ``payload`` are the exact bytes, ``signature`` 64 bytes."""

    payload: bytes
    payload_type: str
    keyid: str
    signature: bytes

    @property
    def sha256(self) -> bytes:
        """SHA-256 of the payload: the document's hash."""
        return digest(self.payload)

    @property
    def operator_id(self) -> bytes | None:
        """The id of the operator who signed, or ``None`` for root."""
        return None if self.keyid == ROOT else bytes.fromhex(self.keyid)

    def to_json(self) -> dict[str, JsonValue]:
        """The envelope as a JSON object."""
        return {
            "payload": encode_base64(self.payload),
            "payloadType": self.payload_type,
            "signatures": [{"keyid": self.keyid, "sig": encode_base64(self.signature)}],
        }

    def encode(self) -> bytes:
        """The envelope as JSON bytes."""
        return encode_json(self.to_json())

    def verify(self, kind: str, key: VerifyKey) -> None:
        """Return if this is an envelope of ``kind`` that verifies under ``key``, else raise ``IntegrityError``."""
        require_kind(self, kind)
        key.verify(self.signature, pre_authentication_encoding(self.payload_type, self.payload))


def require_kind(envelope: Envelope, kind: str) -> None:
    """Raise ``IntegrityError`` if the envelope's type is not that of ``kind``."""
    if envelope.payload_type != _TYPE.format(kind):
        raise IntegrityError(f"an envelope is not of the type for {kind}")


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """``DSSEv1 <len type> <type> <len body> <body>``, the bytes that are signed (DSSE protocol.md; types are ASCII)."""
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode("ascii"), len(payload), payload)


def sign_envelope(kind: str, payload: bytes, keyid: str, key: SigningKey) -> Envelope:
    """Sign ``payload`` as a document of ``kind``."""
    payload_type = _TYPE.format(kind)
    signature = key.sign(pre_authentication_encoding(payload_type, payload))
    return Envelope(payload=payload, payload_type=payload_type, keyid=keyid, signature=signature)


def decode_envelope(data: bytes) -> Envelope:
    """Parse the JSON bytes of an envelope; raises ``MalformedError``."""
    return envelope_from_json(decode_json(data, MAX_ENVELOPE))


def envelope_from_json(value: object) -> Envelope:
    """Parse an envelope that stands inside a message; raises ``MalformedError``."""
    if not isinstance(value, dict) or value.keys() != {"payload", "payloadType", "signatures"}:
        raise MalformedError("an envelope has other members than payload, payloadType and signatures")
    payload, payload_type, signatures = value["payload"], value["payloadType"], value["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise MalformedError("an envelope has not exactly one signature")
    (entry,) = signatures
    if not isinstance(entry, dict) or entry.keys() != {"keyid", "sig"}:
        raise MalformedError("a signature has other members than keyid and sig")
    keyid, signature = entry["keyid"], entry["sig"]
    if not all(isinstance(text, str) for text in (payload, payload_type, keyid, signature)):
        raise MalformedError("a member of an envelope is not a text")
    if keyid != ROOT:
        decode_hex(keyid, 16)
    if not payload_type.isascii():
        raise MalformedError("an envelope's type is not ASCII")
    return Envelope(
        payload=decode_base64(payload),
        payload_type=payload_type,
        keyid=keyid,
        signature=decode_base64(signature, length=64),
    )
