"""Public keys and how they are imported, and the signing keys (protocol section 2, rule R5).

``cryptography`` accepts small-order and non-canonical Ed25519 keys and low-order X25519 keys; they are refused here, at
the one door through which a key enters. Private keys are small classes whose ``repr`` shows no key.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import IntegrityError, MalformedError

SIGNING_KEY_BYTES = 32
SEALING_KEY_BYTES = 1216
_P = 2**255 - 19
_SIGN_BIT = 1 << 255

# The y coordinates of the eight points of small order (RFC 8032 curve): 1, p-1, 0 and the two of order 8; the sign bit of
# x is masked before the comparison, so both points of each y are covered.
_SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        _P - 1,
        int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
        int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
    }
)
# The u coordinates of low order on Curve25519, reduced mod p (RFC 7748; the list of cr.yp.to/ecdh.html#validate).
_LOW_ORDER_U = frozenset(
    {
        0,
        1,
        _P - 1,
        int.from_bytes(bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"), "little"),
        int.from_bytes(bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"), "little"),
    }
)


class VerifyKey:
    """An imported Ed25519 public key."""

    __slots__ = ("_key", "raw")

    def __init__(self, raw: bytes) -> None:
        """Import 32 bytes; raises ``MalformedError`` for non-canonical encodings and small-order points."""
        check_verify_key(raw)
        self.raw = raw
        self._key = Ed25519PublicKey.from_public_bytes(raw)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return if the 64-byte ``signature`` of ``message`` is valid, else raise ``IntegrityError``."""
        try:
            self._key.verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise IntegrityError("a signature does not verify") from error

    def __repr__(self) -> str:
        return f"VerifyKey({self.raw.hex()[:16]}…)"


class SigningKey:
    """An Ed25519 private key from its 32-byte seed (RFC 8032)."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of ``message``."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey(public {self.public.hex()[:16]}…)"


def check_verify_key(raw: bytes) -> bytes:
    """Return ``raw`` if it is a canonical Ed25519 public key of large order, else raise ``MalformedError``."""
    if len(raw) != SIGNING_KEY_BYTES:
        raise MalformedError("a signing key is not 32 bytes")
    y = int.from_bytes(raw, "little") & (_SIGN_BIT - 1)
    if y >= _P or y in _SMALL_ORDER_Y:
        raise MalformedError("a signing key is not canonical or is of small order")
    return raw


def check_sealing_key(raw: bytes) -> bytes:
    """Return ``raw`` if it is 1184 bytes ML-KEM-768 ‖ 32 bytes X25519 that is not of low order, else ``MalformedError``."""
    if len(raw) != SEALING_KEY_BYTES:
        raise MalformedError(f"a sealing key is not {SEALING_KEY_BYTES} bytes")
    u = (int.from_bytes(raw[1184:], "little") & (_SIGN_BIT - 1)) % _P
    if u in _LOW_ORDER_U:
        raise MalformedError("a sealing key is of low order")
    return raw


def sealing_key_hash(raw: bytes) -> bytes:
    """``seal_sha256``: SHA-256 of the 1216 bytes of a checked public sealing key."""
    return digest(check_sealing_key(raw))
