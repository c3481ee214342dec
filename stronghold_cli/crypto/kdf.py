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

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from stronghold_cli.protocol.encoding import tlv
from stronghold_cli.protocol.errors import IntegrityError

KEY_BYTES = 32
_SHA256 = SHA256()


def kdf(key: bytes, label: str, *ctx: bytes | str | int) -> bytes:
    """``HKDF-Expand-SHA256(key, info = TLV("stronghold/v1/" + label, ctx…), 32)``.

    ``key`` is a uniform 32-byte key; any other length raises ``IntegrityError``, since a key that was opened, stored or
    received in a wrong length is nothing to derive from.
    """
    if len(key) != KEY_BYTES:
        raise IntegrityError(f"a key is not {KEY_BYTES} bytes")
    return HKDFExpand(_SHA256, KEY_BYTES, tlv("stronghold/v1/" + label, *ctx)).derive(key)


def kcv(key: bytes, kind: str, *ctx: bytes | str | int) -> bytes:
    """The 32-byte commitment to ``key`` that signed documents publish (rule R4): ``kdf(key, "kcv/" + kind, ctx…)``."""
    return kdf(key, "kcv/" + kind, *ctx)


def extract_and_expand(salt: bytes, ikm: bytes, info: bytes, length: int = KEY_BYTES) -> bytes:
    """HKDF-SHA256 (RFC 5869) of both steps: ``length`` bytes from two inputs that are both needed."""
    try:
        return HKDF(_SHA256, length, salt, info).derive(ikm)
    except ValueError as error:
        raise IntegrityError("a key cannot be derived in this length") from error
