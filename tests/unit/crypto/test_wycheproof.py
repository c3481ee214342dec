"""Wycheproof (C2SP/wycheproof, ``testvectors_v1``): the files are not kept here.

Set ``WYCHEPROOF`` to the folder ``testvectors_v1`` of a checkout of https://github.com/C2SP/wycheproof to run
them. Vectors that our functions take go through ours; the others go to the primitive of ``cryptography`` beneath.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stronghold_cli.crypto.kdf import extract_and_expand
from stronghold_cli.protocol.errors import IntegrityError, MalformedError
from stronghold_cli.protocol.keys import VerifyKey, check_sealing_key

FOLDER = os.environ.get("WYCHEPROOF", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="WYCHEPROOF does not name the folder of the vectors")


def cases(file: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each case with its group."""
    with open(os.path.join(FOLDER, file), encoding="utf-8") as source:
        content = json.load(source)
    count = 0
    for group in content["testGroups"]:
        for case in group["tests"]:
            count += 1
            yield group, case
    assert count == content["numberOfTests"] > 0


def parts(case: dict[str, Any], *names: str) -> list[bytes]:
    return [bytes.fromhex(case[name]) for name in names]


def test_aes_gcm() -> None:
    opened = 0
    for group, case in cases("aes_gcm_test.json"):
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
            continue  # the only form of suite 0x01
        key, nonce, aad, message, ciphertext, tag = parts(case, "key", "iv", "aad", "msg", "ct", "tag")
        if case["result"] == "valid":
            assert AESGCM(key).encrypt(nonce, message, aad) == ciphertext + tag
            assert AESGCM(key).decrypt(nonce, ciphertext + tag, aad) == message
            opened += 1
        else:
            with pytest.raises(InvalidTag):
                AESGCM(key).decrypt(nonce, ciphertext + tag, aad)
    assert opened


def test_hkdf_sha256() -> None:
    for _, case in cases("hkdf_sha256_test.json"):
        ikm, salt, info, expected = parts(case, "ikm", "salt", "info", "okm")
        if case["result"] == "valid":
            assert extract_and_expand(salt, ikm, info, case["size"]) == expected
        else:
            with pytest.raises(IntegrityError):
                extract_and_expand(salt, ikm, info, case["size"])


def test_ed25519() -> None:
    for group, case in cases("ed25519_test.json"):
        message, signature = parts(case, "msg", "sig")
        key = VerifyKey(bytes.fromhex(group["publicKey"]["pk"]))
        if case["result"] == "valid":
            key.verify(signature, message)
        else:
            with pytest.raises(IntegrityError):
                key.verify(signature, message)


def test_x25519() -> None:
    refused = 0
    for _, case in cases("x25519_test.json"):
        public, private, expected = parts(case, "public", "private", "shared")
        sealing_key = bytes(1184) + public
        if not any(expected):  # a point of low order: refused where a sealing key is imported
            with pytest.raises(MalformedError):
                check_sealing_key(sealing_key)
            refused += 1
            continue
        check_sealing_key(sealing_key)
        key = X25519PrivateKey.from_private_bytes(private)
        assert key.exchange(X25519PublicKey.from_public_bytes(public)) == expected
    assert refused
