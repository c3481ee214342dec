"""The quick verification of requests takes exactly the signatures that the protocol's own takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from stronghold_cli.protocol.errors import IntegrityError, MalformedError
from stronghold_cli.protocol.keys import SigningKey, VerifyKey
from stronghold_server.verifying import RequestKey

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493
BASE_Y = 4 * pow(5, -1, P) % P
MESSAGE = b'"@method": GET\n"@path": /v1/pull'
Point = tuple[int, int]


def with_x(y: int) -> Point:
    """A point with this y (RFC 8032, section 5.1.3, written out); x is even."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    if root * root % P != square:
        root = root * pow(2, (P - 1) // 4, P) % P
    assert root * root % P == square
    return (root if root % 2 == 0 else P - root), y


def add(one: Point, two: Point) -> Point:
    (x1, y1), (x2, y2) = one, two
    product = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P,
    )


def multiply(times: int, point: Point) -> Point:
    result = (0, 1)
    while times:
        if times & 1:
            result = add(result, point)
        point = add(point, point)
        times >>= 1
    return result


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def challenge(r: bytes, public: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + public + MESSAGE).digest(), "little") % ORDER


BASE = with_x(BASE_Y)
ORDER_8 = with_x(int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"))
SECRET = 0x1234567890ABCDEF1234567890ABCDEF


def signed(torsion_of_key: int, torsion_of_r: int, secret_r: int, lift: int = 0) -> tuple[bytes, bytes]:
    """Public key and signature with these multiples of a point of order 8 mixed in; ``lift`` times the order on S."""
    public = encode(add(multiply(SECRET, BASE), multiply(torsion_of_key, ORDER_8)))
    r = encode(add(multiply(secret_r, BASE), multiply(torsion_of_r, ORDER_8)))
    s = (secret_r + challenge(r, public) * SECRET) % ORDER + lift * ORDER
    return public, r + s.to_bytes(32, "little")


def cases() -> Iterator[tuple[bytes, bytes]]:
    """What implementations differ about (C2SP/CCTV, ed25519): mixed-order keys, small and mixed R, an unreduced S."""
    for torsion_of_key in range(8):
        for torsion_of_r in range(8):
            for secret_r in (0, 77, 78):
                yield signed(torsion_of_key, torsion_of_r, secret_r)
    yield signed(0, 0, 77, lift=1)
    public, signature = signed(0, 0, 0)
    yield public, (P + 1).to_bytes(32, "little") + signature[32:]  # R is the neutral element, not canonical


def is_good(kind: type[VerifyKey], public: bytes, signature: bytes) -> bool:
    try:
        kind(public).verify(signature, MESSAGE)
    except IntegrityError:
        return False
    return True


def test_both_take_the_same_signatures_where_implementations_differ() -> None:
    outcomes = [(is_good(RequestKey, *case), is_good(VerifyKey, *case)) for case in cases()]
    assert all(quick == own for quick, own in outcomes)
    assert 10 < sum(own for _, own in outcomes) < len(outcomes) - 10


def test_what_only_libsodium_refuses_is_asked_of_the_protocols_own() -> None:
    """An R of small order satisfies RFC 8032 where the signer wants it so."""
    assert is_good(RequestKey, *signed(0, 0, 0))


def test_good_signature_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(VerifyKey, "verify")
    key = SigningKey(bytes(range(32)))
    RequestKey(key.public).verify(key.sign(MESSAGE), MESSAGE)


@pytest.mark.parametrize("cut", [0, 1, 63])
def test_signature_of_another_length_borrows_nothing_from_the_message(cut: int) -> None:
    key = SigningKey(bytes(range(32)))
    whole = key.sign(MESSAGE)
    with pytest.raises(IntegrityError):
        RequestKey(key.public).verify(whole[:cut], whole[cut:] + MESSAGE)


def test_other_message_key_or_signature_is_refused() -> None:
    key, other = SigningKey(bytes(range(32))), SigningKey(bytes(32))
    signature = key.sign(MESSAGE)
    for public, sent, message in (
        (key.public, signature, MESSAGE + b"\n"),
        (other.public, signature, MESSAGE),
        (key.public, signature[:-1] + bytes([signature[-1] ^ 1]), MESSAGE),
        (key.public, signature + b"\0", MESSAGE),
    ):
        with pytest.raises(IntegrityError):
            RequestKey(public).verify(sent, message)


def test_keys_come_in_by_the_one_door() -> None:
    for raw in (encode(ORDER_8), (P + 2).to_bytes(32, "little"), bytes(31)):
        with pytest.raises(MalformedError):
            RequestKey(raw)
