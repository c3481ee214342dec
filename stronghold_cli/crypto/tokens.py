"""Minting an agent token, and opening the master key that it carries (protocol sections 3 and 4, pull step 8).

``KEK = HKDF-SHA256(salt = share, ikm = kdf(S, "token/wrap"), info = TLV("stronghold/v1/token/kek", header), 32)``; the
token carries ``AES-256-GCM(KEK, nonce 0, MK, aad = header)``. Only the server holds the share, only the token holds S: once
the share is deleted nothing opens that copy. The nonce may be zero because a KEK has one use: S, share and MK are made anew
for every attempt to mint, after a conflict too (attack 38), so nothing here takes any of them as an argument.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stronghold_cli.crypto.kdf import KEY_BYTES, extract_and_expand
from stronghold_cli.crypto.keys import MasterKey, TokenSecret
from stronghold_cli.protocol.encoding import tlv
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.token import AgentToken, agent_header

SHARE_BYTES = 32
_NONCE = bytes(12)


class MintedToken(Record):
    """A new token: ``token`` is for the agent alone, ``share`` (32 bytes) for the server alone, the rest for documents."""

    token: AgentToken
    share: bytes
    token_id: bytes
    auth_public: bytes
    seal_public: bytes

    def __repr__(self) -> str:
        return f"MintedToken({self.token_id.hex()})"


def mint_token(pin: bytes, floor: int, address: str, plain_http: bool, random: Callable[[int], bytes]) -> MintedToken:
    """Make a token for the server at ``address``; ``random`` gives S, share and MK, 32 bytes each, in this order.

    ``floor`` is the seq of the head of the commit that mints, ``pin`` the SHA-256 of the org document that it names.
    """
    secret_bytes, share, master = (random(KEY_BYTES) for _ in range(3))
    secret = TokenSecret(secret_bytes)
    header = agent_header(plain_http, pin, floor, address)
    token = AgentToken(
        plain_http=plain_http,
        pin=pin,
        floor=floor,
        secret=secret_bytes,
        wrapped_master_key=AESGCM(_key_encryption_key(secret, share, header)).encrypt(_NONCE, master, header),
        address=address,
    )
    return MintedToken(
        token=token,
        share=share,
        token_id=secret.token_id,
        auth_public=secret.auth.public,
        seal_public=MasterKey(master, secret.token_id).seal.public,
    )


def unlock_master_key(token: AgentToken, secret: TokenSecret, share: bytes) -> MasterKey:
    """Open the master key of ``token`` with its own ``secret`` and the server's ``share``; else ``IntegrityError``."""
    key = _key_encryption_key(secret, share, token.header)
    try:
        master = AESGCM(key).decrypt(_NONCE, token.wrapped_master_key, token.header)
    except (InvalidTag, ValueError) as error:
        raise IntegrityError("the server's share does not open this token's master key") from error
    return MasterKey(master, secret.token_id)


def _key_encryption_key(secret: TokenSecret, share: bytes, header: bytes) -> bytes:
    # HMAC pads a short key with zeros: without this a server could choose among several shares for one KEK (attack 37).
    if len(share) != SHARE_BYTES:
        raise IntegrityError(f"the share of a token is not {SHARE_BYTES} bytes")
    return extract_and_expand(share, secret.wrap, tlv("stronghold/v1/token/kek", header))
