"""kdf and kcv against a recomputation from RFC 5869 with hmac alone, and the published HKDF vectors."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterator

import cryptography_vectors
import pytest

from stronghold_cli.crypto.kdf import extract_and_expand, kcv, kdf
from stronghold_cli.protocol.errors import IntegrityError

KEY = bytes(range(32))
ORG = bytes(range(100, 132))


def part(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def test_kdf_is_one_hmac_over_the_label_and_the_length_prefixed_ctx() -> None:
    info = part(b"stronghold/v1/op/sign") + part(ORG) + part("né".encode()) + part((7).to_bytes(8, "big"))
    assert kdf(KEY, "op/sign", ORG, "né", 7) == hmac.digest(KEY, info + b"\x01", "sha256")


def test_kcv_is_the_kdf_of_its_own_label() -> None:
    info = part(b"stronghold/v1/kcv/group") + part(ORG) + part((1).to_bytes(8, "big"))
    assert kcv(KEY, "group", ORG, 1) == hmac.digest(KEY, info + b"\x01", "sha256")


def test_label_key_and_every_ctx_part_change_the_result() -> None:
    results = {
        kdf(KEY, "op/sign", ORG, b"a"),
        kdf(KEY, "op/request", ORG, b"a"),
        kdf(KEY[::-1], "op/sign", ORG, b"a"),
        kdf(KEY, "op/sign", ORG[::-1], b"a"),
        kdf(KEY, "op/sign", ORG, b"b"),
        kdf(KEY, "op/sign", ORG + b"a"),
        kdf(KEY, "op/sign", ORG, b"a", b""),
    }
    assert len(results) == 7


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(IntegrityError):
        kdf(bytes(length), "op/sign")


def test_extract_and_expand_is_both_steps_of_hkdf() -> None:
    extracted = hmac.digest(ORG, KEY, "sha256")
    assert extract_and_expand(ORG, KEY, b"info") == hmac.digest(extracted, b"info\x01", "sha256")


def test_an_impossible_length_is_an_integrity_error() -> None:
    with pytest.raises(IntegrityError):
        extract_and_expand(ORG, KEY, b"", 255 * 32 + 1)


def rfc_5869() -> Iterator[dict[str, str]]:
    path = os.path.join(os.path.dirname(cryptography_vectors.__file__), "KDF", "rfc-5869-HKDF-SHA256.txt")
    with open(path, encoding="ascii") as file:
        case: dict[str, str] = {}
        for line in file:
            name, separator, value = line.partition("=")
            if separator:
                case[name.strip()] = value.strip()
            if name.strip() == "OKM":
                yield case
                case = {}


def test_rfc_5869_vectors() -> None:
    cases = list(rfc_5869())
    assert len(cases) == 3
    for case in cases:
        salt, ikm, info = (bytes.fromhex(case.get(name, "")) for name in ("salt", "IKM", "info"))
        prk = hmac.new(salt or bytes(32), ikm, hashlib.sha256).hexdigest()
        assert prk == case["PRK"]
        assert extract_and_expand(salt, ikm, info, int(case["L"])).hex() == case["OKM"]
