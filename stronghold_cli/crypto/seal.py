"""Seals: encryption to a public key of protocol section 2, HPKE base mode with X-Wing, HKDF-SHA256 and AES-256-GCM.

``seal = 01 01 ‖ enc 1120 ‖ ciphertext ‖ tag 16``: after version and suite stand exactly the bytes of the library's single
shot, which are ``enc`` (ML-KEM-768 ciphertext 1088 ‖ X25519 ephemeral key 32) and the AES-256-GCM ciphertext with its tag;
the aad of HPKE is empty, and ``info = TLV("stronghold/v1/seal/" + kind, SHA256(public), ctx…)`` binds receiver, kind and
ctx. The one kind is ``group-key`` with ctx org_id, group_id, epoch, member kind, member id (section 3).

Import this module only where something is sealed or opened. Where the library has no ML-KEM its first use, and
``require_suite``, which the program calls as it starts, raise ``StrongholdError``: there is no fall-back (section 2).
The randomness of a seal is drawn by the library itself: HPKE takes none from outside.
"""

from __future__ import annotations

from hashlib import shake_256

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

from stronghold_cli.crypto.box import SUITE, TAG_BYTES, Context
from stronghold_cli.crypto.kdf import KEY_BYTES
from stronghold_cli.protocol.encoding import digest, tlv
from stronghold_cli.protocol.errors import IntegrityError, MalformedError, StrongholdError
from stronghold_cli.protocol.keys import check_sealing_key

ENC_BYTES = 1120
_MLKEM_SEED_BYTES = 64
_MLKEM_PUBLIC_BYTES = 1184

# The exact number of plaintext bytes of each kind. A kind that is not in the table does not exist.
_PLAINTEXT_BYTES = {"group-key": KEY_BYTES}


class SealingKey:
    """An X-Wing private key from its 32-byte seed, expanded by SHAKE256 to ML-KEM d ‖ z (64) and X25519 (32)."""

    __slots__ = ("_key", "public", "public_sha256")

    def __init__(self, seed: bytes) -> None:
        """Expand ``seed``; ``public`` is ML-KEM-768 1184 ‖ X25519 32, ``public_sha256`` its hash in documents."""
        if len(seed) != KEY_BYTES:
            raise IntegrityError(f"the seed of a sealing key is not {KEY_BYTES} bytes")
        expanded = shake_256(seed).digest(_MLKEM_SEED_BYTES + 32)
        try:
            post_quantum = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES])
            classical = X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:])
            self._key = MLKEM768X25519PrivateKey(post_quantum, classical)
        except UnsupportedAlgorithm as error:
            raise _suite_missing() from error
        self.public = post_quantum.public_key().public_bytes_raw() + classical.public_key().public_bytes_raw()
        self.public_sha256 = digest(self.public)

    def open(self, kind: str, ctx: Context, blob: bytes) -> bytes:
        """The plaintext of a seal made for this key, kind and ctx; anything else raises ``IntegrityError``."""
        if len(blob) != len(SUITE) + ENC_BYTES + _PLAINTEXT_BYTES[kind] + TAG_BYTES:
            raise MalformedError(f"a seal ({kind}) has a size that it cannot have")
        if blob[:2] != SUITE:
            raise MalformedError(f"a seal ({kind}) is not of version 1 and suite 1")
        try:
            return _suite().decrypt(blob[2:], self._key, _info(kind, self.public_sha256, ctx))
        except (InvalidTag, ValueError) as error:
            raise IntegrityError(f"a seal ({kind}) does not open", evidence={"kind": kind}) from error

    def __repr__(self) -> str:
        return f"SealingKey(public sha256 {self.public_sha256.hex()[:16]}…)"


def seal(public: bytes, kind: str, ctx: Context, plaintext: bytes) -> bytes:
    """Encrypt ``plaintext`` to the 1216-byte ``public`` key; a bad key or size raises ``IntegrityError`` (rule R5)."""
    if len(plaintext) != _PLAINTEXT_BYTES[kind]:
        raise IntegrityError(f"what is to be sealed ({kind}) has a size that it cannot have")
    check_sealing_key(public)
    try:
        post_quantum = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES])
        classical = X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:])
        receiver = MLKEM768X25519PublicKey(post_quantum, classical)
        return SUITE + _suite().encrypt(plaintext, receiver, _info(kind, digest(public), ctx))
    except UnsupportedAlgorithm as error:
        raise _suite_missing() from error
    except ValueError as error:
        # ML-KEM coefficients that are not reduced (FIPS 203, 7.2) are told by the library alone.
        raise MalformedError("a sealing key is not a canonical ML-KEM key") from error


def require_suite() -> None:
    """Return if the library can do all of suite 0x01, else raise ``StrongholdError``: called as the program starts."""
    SealingKey(bytes(KEY_BYTES))
    _suite()


def _suite() -> Suite:
    try:
        return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    except UnsupportedAlgorithm as error:
        raise _suite_missing() from error


def _suite_missing() -> StrongholdError:
    return StrongholdError(
        "The cryptography library of this Python has no ML-KEM, which Stronghold needs.",
        hint="Install a wheel of cryptography 50 or newer, or build it against OpenSSL 3.5 or newer.",
        code="SUITE_MISSING",
    )


def _info(kind: str, public_sha256: bytes, ctx: Context) -> bytes:
    return tlv("stronghold/v1/seal/" + kind, public_sha256, *ctx)
