"""Boxes: symmetric encryption of protocol section 2, AES-256-GCM under a sub-key that is bound to kind and ctx.

``box = 01 01 ‖ nonce 12 ‖ AES-256-GCM(kdf(key, "box/" + kind, ctx…), nonce, plaintext, aad) ‖ tag 16`` with
``aad = 01 01 ‖ TLV("stronghold/v1/box/" + kind, ctx…)``. The ctx is never sent: whoever opens a box rebuilds it from
documents that are verified (rule R2). Kinds and their ctx, in order (section 3):

    profile-key      org_id, profile_id, profile epoch, group_id, group epoch
    profile-key-old  org_id, profile_id, old epoch, new epoch
    secret           org_id, profile_id, profile epoch, secret_id, version
    keyset           org_id, operator_id
    session          org_id, operator_id; kept on this machine only: TLV(start, end, keyset)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stronghold_cli.crypto.kdf import KEY_BYTES, expander
from stronghold_cli.protocol.encoding import tlv
from stronghold_cli.protocol.errors import IntegrityError, MalformedError

Context: TypeAlias = tuple[bytes | str | int, ...]

SUITE = b"\x01\x01"
NONCE_BYTES = 12
TAG_BYTES = 16
MIN_SECRET = 64
MAX_SECRET = 1_081_344  # what the largest name, value and note are padded to (secrets.py)
OVERHEAD = len(SUITE) + NONCE_BYTES + TAG_BYTES

# The least and the greatest number of plaintext bytes of each kind. A kind that is not in the table does not exist.
_PLAINTEXT_BYTES = {
    "profile-key": (KEY_BYTES, KEY_BYTES),
    "profile-key-old": (KEY_BYTES, KEY_BYTES),
    "secret": (MIN_SECRET, MAX_SECRET),
    "keyset": (KEY_BYTES, KEY_BYTES),
    "session": (28 + KEY_BYTES, 28 + KEY_BYTES),
}


def make_box(key: bytes, kind: str, ctx: Context, plaintext: bytes, random: Callable[[int], bytes]) -> bytes:
    """Encrypt ``plaintext`` under the 32-byte ``key`` for this kind and ctx; ``random`` gives the 12-byte nonce.

    A plaintext of a size that ``open_box`` would refuse raises ``IntegrityError``.
    """
    return BoxFamily(key, kind, ctx).make(b"", plaintext, random)


def open_box(key: bytes, kind: str, ctx: Context, blob: bytes) -> bytes:
    """The plaintext of ``blob``, or ``IntegrityError``: wrong key, kind, ctx, version, suite or size, or a changed byte."""
    return BoxFamily(key, kind, ctx).open(b"", blob)


class BoxFamily:
    """Boxes of one kind under one key that share the beginning of their ctx: what is the same for all is computed once.

    Makes and opens the very boxes of ``make_box`` and ``open_box``; a pull of 10,000 secrets opens them here.
    """

    __slots__ = ("_context", "_derive", "_kind")

    def __init__(self, key: bytes, kind: str, ctx: Context) -> None:
        """``ctx`` is the part of the ctx that all of the boxes share."""
        self._derive = expander(key)
        self._kind = kind
        self._context = tlv("stronghold/v1/box/" + kind, *ctx)

    def make(self, rest: bytes, plaintext: bytes, random: Callable[[int], bytes]) -> bytes:
        """As ``make_box``; ``rest`` is the TLV of the parts of the ctx that follow."""
        _check_size(self._kind, len(plaintext))
        context = self._context + rest
        nonce = random(NONCE_BYTES)
        if len(nonce) != NONCE_BYTES:
            raise IntegrityError(f"the source of randomness did not give {NONCE_BYTES} bytes")
        return SUITE + nonce + AESGCM(self._derive(context)).encrypt(nonce, plaintext, SUITE + context)

    def open(self, rest: bytes, blob: bytes) -> bytes:
        """As ``open_box``; ``rest`` is the TLV of the parts of the ctx that follow."""
        _check_size(self._kind, len(blob) - OVERHEAD)
        if blob[:2] != SUITE:
            raise MalformedError(f"a box ({self._kind}) is not of version 1 and suite 1")
        # The label of the key and that of the aad are one text, so both are the same TLV.
        context = self._context + rest
        try:
            return AESGCM(self._derive(context)).decrypt(blob[2:14], blob[14:], SUITE + context)
        except (InvalidTag, ValueError) as error:
            raise IntegrityError(f"a box ({self._kind}) does not open", evidence={"kind": self._kind}) from error


def _check_size(kind: str, length: int) -> None:
    """Refuse a plaintext length that this kind cannot have, before anything is derived or decrypted (rule R18)."""
    least, greatest = _PLAINTEXT_BYTES[kind]
    if not least <= length <= greatest:
        raise MalformedError(f"a box ({kind}) has a size that it cannot have")
