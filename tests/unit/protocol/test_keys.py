"""How public keys are imported: every small-order, non-canonical and low-order key is refused (attack 33)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import IntegrityError, MalformedError
from stronghold_cli.protocol.keys import SigningKey, VerifyKey, check_sealing_key, check_verify_key, sealing_key_hash

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_ONE = pow(2, (P - 1) // 4, P)
SIGN = 1 << 255
SEED = bytes(range(32))


def _square_root(value: int) -> int | None:
    root = pow(value, (P + 3) // 8, P)
    for candidate in (root, root * SQRT_MINUS_ONE % P):
        if candidate * candidate % P == value % P:
            return candidate
    return None


def _add(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
    """Addition on edwards25519, affine (RFC 8032, section 5.1.4, written out)."""
    (x1, y1), (x2, y2) = one, two
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P
    return x, y


def _multiply(times: int, point: tuple[int, int]) -> tuple[int, int]:
    result = (0, 1)
    while times:
        if times & 1:
            result = _add(result, point)
        point = _add(point, point)
        times >>= 1
    return result


def _torsion_points() -> set[tuple[int, int]]:
    """The eight points of small order, from the curve equation: L times points until one of order 8 comes out."""
    order = 2**252 + 27742317777372353535851937790883648493
    for y in range(2, 50):
        x = _square_root((y * y - 1) * pow(D * y * y + 1, -1, P) % P)
        if x is None:
            continue
        torsion = _multiply(order, (x, y))
        points = {_multiply(times, torsion) for times in range(8)}
        if len(points) == 8:
            return points
    raise AssertionError("no point of order 8 found")


def _small_order_encodings() -> list[bytes]:
    """Both signs of x and both representatives of y below 2^255, for each of the eight points."""
    values = {y for _, y in _torsion_points()}
    candidates = {y + lift for y in values for lift in (0, P) if y + lift < SIGN}
    return sorted((value | sign).to_bytes(32, "little") for value in candidates for sign in (0, SIGN))


def test_the_fourteen_known_small_order_encodings_are_among_those_computed() -> None:
    # C2SP/CCTV, ed25519: "eight plus six alternative encodings".
    assert len(_torsion_points()) == 8
    assert len(_small_order_encodings()) == 14


@pytest.mark.parametrize("raw", _small_order_encodings(), ids=bytes.hex)
def test_small_order_keys_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        check_verify_key(raw)
    with pytest.raises(MalformedError):
        VerifyKey(raw)


@pytest.mark.parametrize("sign", [0, SIGN])
@pytest.mark.parametrize("y", range(P, 2**255))
def test_every_non_canonical_y_is_refused(y: int, sign: int) -> None:
    with pytest.raises(MalformedError):
        check_verify_key((y | sign).to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_verify_keys_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(MalformedError):
        check_verify_key(bytes([9]) * length)


def test_a_signature_verifies_under_its_key_and_message_only() -> None:
    key = SigningKey(SEED)
    verify = VerifyKey(key.public)
    signature = key.sign(b"message")
    verify.verify(signature, b"message")
    for wrong, message in (
        (signature, b"massage"),
        (bytes(64), b"message"),
        (signature[:63], b"message"),
        (b"", b"message"),
    ):
        with pytest.raises(IntegrityError):
            verify.verify(wrong, message)
    with pytest.raises(IntegrityError):
        VerifyKey(SigningKey(bytes(32)).public).verify(signature, b"message")


def test_keys_do_not_show_themselves() -> None:
    key = SigningKey(SEED)
    assert SEED.hex() not in repr(key)
    assert repr(key) == f"SigningKey(public {key.public.hex()[:16]}…)"
    assert repr(VerifyKey(key.public)) == f"VerifyKey({key.public.hex()[:16]}…)"


def _low_order_u() -> set[int]:
    """The u of every point whose order divides 8 on Curve25519 or its twist, from the doubling formula (RFC 7748).

    Order 2: u = 0 on both (the other roots of u² + Au + 1 are no squares); order 4: u = 1 and u = -1; order 8 doubles to
    these: (u² - 1)² = 4u(u² + Au + 1)·v with v = ±1.
    """
    a = 486662
    found = {0, 1, P - 1}
    for v in (1, P - 1):
        # (u² - 1)² - 4vu(u² + au + 1) is palindromic up to sign: with w = u + 1/u it is w² - 4 - 4v(w + a) = 0.
        discriminant = _square_root((16 + 4 * (4 + 4 * v * a)) % P)
        if discriminant is None:
            continue
        for sign in (1, -1):
            w = (4 * v + sign * discriminant) * pow(2, -1, P) % P
            root = _square_root((w * w - 4) % P)
            if root is not None:
                found |= {(w + root) * pow(2, -1, P) % P, (w - root) * pow(2, -1, P) % P}
    return found


def _low_order_encodings() -> list[bytes]:
    candidates = {u + lift for u in _low_order_u() for lift in (0, P) if u + lift < SIGN}
    return sorted((value | bit).to_bytes(32, "little") for value in candidates for bit in (0, SIGN))


def test_the_computed_low_order_points_give_a_zero_shared_secret() -> None:
    assert len(_low_order_u()) == 5
    private = X25519PrivateKey.from_private_bytes(SEED)
    for raw in _low_order_encodings():
        with pytest.raises(ValueError, match="shared"):
            private.exchange(X25519PublicKey.from_public_bytes(raw))


@pytest.mark.parametrize("raw", _low_order_encodings(), ids=bytes.hex)
def test_sealing_keys_of_low_order_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        check_sealing_key(bytes(1184) + raw)
    with pytest.raises(MalformedError):
        sealing_key_hash(bytes(1184) + raw)


@pytest.mark.parametrize("length", [0, 1184, 1215, 1217])
def test_sealing_keys_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(MalformedError):
        check_sealing_key(bytes([9]) * length)


def test_a_good_sealing_key_is_named_by_its_hash() -> None:
    raw = bytes(1184) + X25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
    assert check_sealing_key(raw) == raw
    assert sealing_key_hash(raw) == digest(raw)
