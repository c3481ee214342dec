"""Minting and opening the master key that a token carries (attacks 37 and 38)."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stronghold_cli.crypto.kdf import kdf
from stronghold_cli.crypto.keys import MasterKey, TokenSecret
from stronghold_cli.crypto.tokens import MintedToken, mint_token, unlock_master_key
from stronghold_cli.protocol.errors import IntegrityError, TokenMalformed
from stronghold_cli.protocol.token import parse_agent_token

PIN = bytes(range(32))
ADDRESS = "vault.example.com/base"


def mint(random: Callable[[int], bytes] = os.urandom) -> MintedToken:
    return mint_token(PIN, 7, ADDRESS, False, random)


@pytest.fixture(scope="module")
def minted() -> MintedToken:
    return mint()


def test_token_and_share_together_open_the_master_key(minted: MintedToken) -> None:
    token = parse_agent_token(minted.token.text)
    secret = TokenSecret(token.secret)
    master = unlock_master_key(token, secret, minted.share)
    assert master.seal.public == minted.seal_public
    assert master.token_id == secret.token_id == minted.token_id
    assert secret.auth.public == minted.auth_public
    assert (token.pin, token.floor, token.address, token.plain_http) == (PIN, 7, ADDRESS, False)


def test_the_bytes_are_those_of_the_protocol() -> None:
    drawn = [bytes([number]) * 32 for number in (1, 2, 3)]
    secret, share, master = drawn
    minted = mint(lambda size: drawn.pop(0))
    header = b"\x01\x01\x00" + PIN + b"\0\0\0\x07" + bytes([len(ADDRESS)]) + ADDRESS.encode()
    info = b"\0\0\0\x17stronghold/v1/token/kek" + len(header).to_bytes(4, "big") + header
    key = hmac.digest(hmac.digest(share, kdf(secret, "token/wrap"), "sha256"), info + b"\x01", "sha256")
    assert minted.token.wrapped_master_key == AESGCM(key).encrypt(bytes(12), master, header)
    assert (minted.token.secret, minted.share) == (secret, share)
    assert minted.seal_public == MasterKey(master, minted.token_id).seal.public


def test_every_mint_draws_secret_share_and_master_key_anew() -> None:
    sizes: list[int] = []

    def counted(size: int) -> bytes:
        sizes.append(size)
        return os.urandom(size)

    first, second = mint(counted), mint(counted)
    assert sizes == [32] * 6
    for name in ("share", "token_id", "auth_public", "seal_public"):
        assert getattr(first, name) != getattr(second, name)
    assert first.token.secret != second.token.secret
    assert first.token.wrapped_master_key != second.token.wrapped_master_key


def test_no_key_of_a_mint_is_another_one_of_it(minted: MintedToken) -> None:
    assert minted.share != minted.token.secret
    assert minted.share not in minted.token.text.encode()


@pytest.mark.parametrize("share", [bytes(32), b"", bytes(64), None], ids=["chosen", "empty", "long", "of another token"])
def test_another_share_does_not_open(minted: MintedToken, share: bytes | None) -> None:
    with pytest.raises(IntegrityError):
        unlock_master_key(minted.token, TokenSecret(minted.token.secret), mint().share if share is None else share)


def test_a_share_padded_or_cut_where_hmac_would_not_see_it_is_refused() -> None:
    drawn = [b"s" * 32, b"h" * 31 + b"\0", b"m" * 32]
    minted = mint(lambda size: drawn.pop(0))
    secret = TokenSecret(minted.token.secret)
    unlock_master_key(minted.token, secret, minted.share)
    for share in (minted.share[:-1], minted.share + b"\0", minted.share + bytes(32)):
        with pytest.raises(IntegrityError, match="not 32 bytes"):
            unlock_master_key(minted.token, secret, share)


@pytest.mark.parametrize(
    "change",
    [{"pin": PIN[::-1]}, {"floor": 8}, {"address": "vault.example.org/base"}, {"plain_http": True}],
    ids=["pin", "floor", "address", "plain http"],
)
def test_every_field_of_the_header_is_bound(minted: MintedToken, change: dict[str, object]) -> None:
    with pytest.raises(IntegrityError):
        unlock_master_key(minted.token.replace(**change), TokenSecret(minted.token.secret), minted.share)


def test_a_changed_byte_of_the_wrapped_master_key_does_not_open(minted: MintedToken) -> None:
    secret = TokenSecret(minted.token.secret)
    wrapped = minted.token.wrapped_master_key
    for position in range(len(wrapped)):
        changed = bytearray(wrapped)
        changed[position] ^= 1
        with pytest.raises(IntegrityError):
            unlock_master_key(minted.token.replace(wrapped_master_key=bytes(changed)), secret, minted.share)
    for cut in (b"", wrapped[:-1], wrapped[:16]):
        with pytest.raises(IntegrityError):
            unlock_master_key(minted.token.replace(wrapped_master_key=cut), secret, minted.share)


def test_the_secret_of_another_token_does_not_open(minted: MintedToken) -> None:
    with pytest.raises(IntegrityError):
        unlock_master_key(minted.token, TokenSecret(mint().token.secret), minted.share)


def test_nothing_is_minted_for_an_address_that_no_token_can_hold() -> None:
    with pytest.raises(TokenMalformed):
        mint_token(PIN, 7, "https://vault.example.com", False, os.urandom)


def test_repr_shows_the_token_id_only(minted: MintedToken) -> None:
    assert repr(minted) == f"MintedToken({minted.token_id.hex()})"
