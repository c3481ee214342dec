"""Key derivation of protocol section 2: ``kdf``, ``kcv`` and the two-input HKDF behind passphrases and tokens.

Every sub-key has a label of its own, so that one key has one job (rule R3). The labels of section 3 that are in use:

    label                        key      ctx
    root/sign, root/seal         RK       none
    op/login, op/wrap            AUK      org_id, operator_id
    op/sign, op/request, op/seal KEYSET   org_id, operator_id
    token/auth, token/wrap       S        none
    token/seal                   MK       token_id
    invite/sign                  I        invite_id
    kcv/group, kcv/profile       GK, PK   org_id, group or profile id, epoch
    box/<kind>                   see box  the ctx of the box
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from stronghold_cli.protocol.encoding import tlv
from stronghold_cli.protocol.errors import IntegrityError

KEY_BYTES = 32
_SHA256 = SHA256()
_BLOCK_BYTES = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


def kdf(key: bytes, label: str, *ctx: bytes | str | int) -> bytes:
    """``HKDF-Expand-SHA256(key, info = TLV("stronghold/v1/" + label, ctx…), 32)``.

    ``key`` is a uniform 32-byte key; any other length raises ``IntegrityError``, since a key that was opened, stored or
    received in a wrong length is nothing to derive from.
    """
    return expander(key)(tlv("stronghold/v1/" + label, *ctx))


def expander(key: bytes) -> Callable[[bytes], bytes]:
    """``HKDF-Expand-SHA256(key, info, 32)`` as a function of ``info``, for a key from which many are derived.

    32 bytes are one block, HMAC-SHA256(key, info ‖ 0x01) (RFC 5869, section 2.3), and HMAC hashes two paddings of the key
    first (RFC 2104), which are hashed once here: a pull derives a key for each secret, at a sixth of the price.
    """
    if len(key) != KEY_BYTES:
        raise IntegrityError(f"a key is not {KEY_BYTES} bytes")
    block = key.ljust(_BLOCK_BYTES, b"\0")
    inner, outer = sha256(block.translate(_INNER)), sha256(block.translate(_OUTER))

    def expand(info: bytes) -> bytes:
        first, second = inner.copy(), outer.copy()
        first.update(info + b"\x01")
        second.update(first.digest())
        return second.digest()

    return expand


def kcv(key: bytes, kind: str, *ctx: bytes | str | int) -> bytes:
    """The 32-byte commitment to ``key`` that signed documents publish (rule R4): ``kdf(key, "kcv/" + kind, ctx…)``."""
    return kdf(key, "kcv/" + kind, *ctx)


def extract_and_expand(salt: bytes, ikm: bytes, info: bytes, length: int = KEY_BYTES) -> bytes:
    """HKDF-SHA256 (RFC 5869) of both steps: ``length`` bytes from two inputs that are both needed."""
    try:
        return HKDF(_SHA256, length, salt, info).derive(ikm)
    except ValueError as error:
        raise IntegrityError("a key cannot be derived in this length") from error
