"""Request signatures, verified by libsodium first: in less than half the time, and without the interpreter's lock.

libsodium only ever says yes to what ``cryptography`` says yes to: both compare the bytes of R without the cofactor and
refuse an S that is not reduced, and libsodium refuses keys and R of small order besides. So what it refuses is asked of
``cryptography``, which has the last word: the same signatures are good here as for everybody who verifies the log later
(protocol section 2). Keys are imported by the one door of ``protocol.keys``.
"""

from __future__ import annotations

from typing import Final

import nacl
from nacl import _sodium  # type: ignore[attr-defined] # compiled, without stubs

from stronghold_cli.protocol.keys import VerifyKey

PINNED_PYNACL: Final = "1.6"
_OK: Final = 0
_NOTHING: Final = _sodium.ffi.NULL

if nacl.__version__.split(".")[:2] != PINNED_PYNACL.split("."):
    # The bare binding is private; the public modules would bring functions that decrypt into the process (rule R16).
    raise ImportError(f"the server knows the binding of PyNaCl {PINNED_PYNACL}, but {nacl.__version__} is installed")
if _sodium.lib.sodium_init() < 0:
    raise ImportError("libsodium cannot be initialised")


class RequestKey(VerifyKey):
    """An imported Ed25519 public key that is asked again and again."""

    __slots__ = ()

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return if the 64-byte ``signature`` of ``message`` is valid, else raise ``IntegrityError``."""
        signed = signature + message
        # The signature's length is fixed: a shorter one would borrow its end from the message.
        if len(signature) != 64 or _sodium.lib.crypto_sign_open(_NOTHING, _NOTHING, signed, len(signed), self.raw) != _OK:
            super().verify(signature, message)
