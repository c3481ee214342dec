"""The key hierarchy: each sub-key from its own label, wraps bound to their documents, commitments checked (rule R4)."""

from __future__ import annotations

import hashlib
import hmac
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from stronghold_cli.crypto.box import make_box
from stronghold_cli.crypto.keys import (
    GroupKey,
    InviteKey,
    Keyset,
    LoginKeys,
    MasterKey,
    ProfileKey,
    RootKey,
    TokenSecret,
    open_group_key,
)
from stronghold_cli.crypto.seal import SealingKey, seal
from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.keys import SigningKey

RAW = bytes(range(32))
ORG, OTHER_ORG = b"o" * 32, b"O" * 32
GROUP, PROFILE, OPERATOR, SECRET_ID, TOKEN_ID = (letter * 16 for letter in (b"g", b"p", b"u", b"s", b"t"))
SECRET = Secret(name="DATABASE_URL", value=b"postgres://", note=b"", author=OPERATOR, time=1_700_000_000)


def derived(label: str, *ctx: bytes) -> bytes:
    parts = (b"stronghold/v1/" + label.encode(), *ctx)
    info = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(RAW, info + b"\x01", "sha256")


def signs_with(label: str, *ctx: bytes) -> bytes:
    return SigningKey(derived(label, *ctx)).public


def seals_with(label: str, *ctx: bytes) -> bytes:
    return SealingKey(derived(label, *ctx)).public


def test_the_root_key_has_two_jobs() -> None:
    root = RootKey(RAW)
    assert root.sign.public == signs_with("root/sign")
    assert root.seal.public == seals_with("root/seal")
    assert root.seal is root.seal


def test_the_invite_key_is_bound_to_its_invite() -> None:
    assert InviteKey(RAW, OPERATOR).sign.public == signs_with("invite/sign", OPERATOR)


def test_a_keyset_has_three_jobs_bound_to_org_and_operator() -> None:
    keyset = Keyset(RAW, ORG, OPERATOR)
    assert keyset.sign.public == signs_with("op/sign", ORG, OPERATOR)
    assert keyset.request.public == signs_with("op/request", ORG, OPERATOR)
    assert keyset.seal.public == seals_with("op/seal", ORG, OPERATOR)


def test_a_token_secret_gives_auth_key_id_and_wrap() -> None:
    secret = TokenSecret(RAW)
    public = signs_with("token/auth")
    assert secret.auth.public == public
    framed = b"\0\0\0\x16stronghold/v1/token-id\0\0\0\x20" + public
    assert secret.token_id == hashlib.sha256(framed).digest()[:16]
    assert secret.wrap == derived("token/wrap")


def test_a_master_key_is_bound_to_its_token() -> None:
    assert MasterKey(RAW, TOKEN_ID).seal.public == seals_with("token/seal", TOKEN_ID)


def test_login_keys_have_two_jobs_and_carry_the_keyset() -> None:
    login = LoginKeys(RAW, ORG, OPERATOR)
    assert login.login.public == signs_with("op/login", ORG, OPERATOR)
    keyset = Keyset(b"k" * 32, ORG, OPERATOR)
    opened = login.open_keyset(login.wrap_keyset(keyset, os.urandom))
    assert opened.raw == keyset.raw
    assert (opened.org_id, opened.operator_id) == (ORG, OPERATOR)


@pytest.mark.parametrize(
    "other",
    [LoginKeys(RAW[::-1], ORG, OPERATOR), LoginKeys(RAW, OTHER_ORG, OPERATOR), LoginKeys(RAW, ORG, b"U" * 16)],
    ids=["key", "org", "operator"],
)
def test_the_keyset_of_somebody_else_neither_opens_nor_is_wrapped(other: LoginKeys) -> None:
    blob = LoginKeys(RAW, ORG, OPERATOR).wrap_keyset(Keyset(RAW, ORG, OPERATOR), os.urandom)
    with pytest.raises(IntegrityError):
        other.open_keyset(blob)


@pytest.mark.parametrize(("org", "operator"), [(OTHER_ORG, OPERATOR), (ORG, b"U" * 16)])
def test_login_keys_wrap_only_the_own_keyset(org: bytes, operator: bytes) -> None:
    with pytest.raises(IntegrityError):
        LoginKeys(RAW, ORG, OPERATOR).wrap_keyset(Keyset(RAW, org, operator), os.urandom)


def test_kcvs_are_bound_to_org_id_and_epoch() -> None:
    epoch = (3).to_bytes(8, "big")
    assert GroupKey(RAW, ORG, GROUP, 3).kcv == derived("kcv/group", ORG, GROUP, epoch)
    assert ProfileKey(RAW, ORG, PROFILE, 3).kcv == derived("kcv/profile", ORG, PROFILE, epoch)


@pytest.fixture(scope="module")
def sealed_group_key() -> tuple[SealingKey, GroupKey, bytes]:
    member = MasterKey(RAW, TOKEN_ID).seal
    key = GroupKey(b"k" * 32, ORG, GROUP, 2)
    return member, key, key.seal_to(member.public, "token", TOKEN_ID)


def test_a_group_key_reaches_its_member(sealed_group_key: tuple[SealingKey, GroupKey, bytes]) -> None:
    member, key, blob = sealed_group_key
    opened = open_group_key(member, ORG, GROUP, 2, "token", TOKEN_ID, key.kcv, blob)
    assert (opened.raw, opened.kcv, opened.epoch) == (key.raw, key.kcv, 2)


@pytest.mark.parametrize(
    "place",
    [
        (OTHER_ORG, GROUP, 2, "token", TOKEN_ID),
        (ORG, b"G" * 16, 2, "token", TOKEN_ID),
        (ORG, GROUP, 1, "token", TOKEN_ID),
        (ORG, GROUP, 2, "operator", TOKEN_ID),
        (ORG, GROUP, 2, "token", b"T" * 16),
    ],
    ids=["org", "group", "epoch", "kind", "member"],
)
def test_a_group_key_opens_in_no_other_place(
    sealed_group_key: tuple[SealingKey, GroupKey, bytes], place: tuple[bytes, bytes, int, str, bytes]
) -> None:
    member, key, blob = sealed_group_key
    expected = GroupKey(key.raw, *place[:3]).kcv  # so that the seal itself has to tell, not the commitment
    with pytest.raises(IntegrityError, match="does not open"):
        open_group_key(member, *place, expected, blob)


def test_a_group_key_of_the_servers_own_making_is_refused(sealed_group_key: tuple[SealingKey, GroupKey, bytes]) -> None:
    member, key, _ = sealed_group_key
    blob = seal(member.public, "group-key", (ORG, GROUP, 2, "token", TOKEN_ID), b"e" * 32)
    with pytest.raises(IntegrityError, match="commits"):
        open_group_key(member, ORG, GROUP, 2, "token", TOKEN_ID, key.kcv, blob)


def test_a_profile_key_reaches_the_granted_group() -> None:
    group, profile = GroupKey(RAW, ORG, GROUP, 2), ProfileKey(b"k" * 32, ORG, PROFILE, 4)
    opened = group.unwrap(PROFILE, 4, profile.kcv, group.wrap(profile, os.urandom))
    assert (opened.raw, opened.kcv, opened.profile_id, opened.epoch) == (profile.raw, profile.kcv, PROFILE, 4)


@pytest.mark.parametrize(
    ("group", "profile_id", "epoch"),
    [
        (GroupKey(RAW, OTHER_ORG, GROUP, 2), PROFILE, 4),
        (GroupKey(RAW, ORG, b"G" * 16, 2), PROFILE, 4),
        (GroupKey(RAW, ORG, GROUP, 3), PROFILE, 4),
        (GroupKey(RAW[::-1], ORG, GROUP, 2), PROFILE, 4),
        (GroupKey(RAW, ORG, GROUP, 2), b"P" * 16, 4),
        (GroupKey(RAW, ORG, GROUP, 2), PROFILE, 5),
    ],
    ids=["org", "group", "group epoch", "key", "profile", "profile epoch"],
)
def test_a_profile_key_opens_in_no_other_place(group: GroupKey, profile_id: bytes, epoch: int) -> None:
    profile = ProfileKey(b"k" * 32, ORG, PROFILE, 4)
    blob = GroupKey(RAW, ORG, GROUP, 2).wrap(profile, os.urandom)
    expected = ProfileKey(profile.raw, group.org_id, profile_id, epoch).kcv
    with pytest.raises(IntegrityError):
        group.unwrap(profile_id, epoch, expected, blob)


def test_a_profile_key_that_the_document_does_not_commit_to_is_refused() -> None:
    group = GroupKey(RAW, ORG, GROUP, 2)
    blob = group.wrap(ProfileKey(b"e" * 32, ORG, PROFILE, 4), os.urandom)
    with pytest.raises(IntegrityError, match="commits") as caught:
        group.unwrap(PROFILE, 4, ProfileKey(b"k" * 32, ORG, PROFILE, 4).kcv, blob)
    assert (b"e" * 32).hex() not in str(caught.value.evidence)


def test_an_older_profile_key_is_kept_under_the_newer_one() -> None:
    old, new = ProfileKey(RAW, ORG, PROFILE, 1), ProfileKey(b"k" * 32, ORG, PROFILE, 2)
    blob = new.wrap_old(old, os.urandom)
    assert new.unwrap_old(1, old.kcv, blob).raw == old.raw
    with pytest.raises(IntegrityError, match="commits"):
        new.unwrap_old(1, new.kcv, blob)
    for opener, epoch in (
        (new, 2),
        (ProfileKey(b"k" * 32, ORG, PROFILE, 3), 1),
        (ProfileKey(b"k" * 32, ORG, b"P" * 16, 2), 1),
    ):
        expected = ProfileKey(RAW, ORG, opener.profile_id, epoch).kcv
        with pytest.raises(IntegrityError, match="does not open"):
            opener.unwrap_old(epoch, expected, blob)


def test_a_key_of_another_org_or_profile_is_not_wrapped() -> None:
    foreign = ProfileKey(RAW, OTHER_ORG, PROFILE, 1)
    with pytest.raises(IntegrityError):
        GroupKey(RAW, ORG, GROUP, 1).wrap(foreign, os.urandom)
    for old in (foreign, ProfileKey(RAW, ORG, b"P" * 16, 1)):
        with pytest.raises(IntegrityError):
            ProfileKey(RAW, ORG, PROFILE, 2).wrap_old(old, os.urandom)


def test_a_secret_opens_where_it_was_written() -> None:
    key = ProfileKey(RAW, ORG, PROFILE, 4)
    assert key.open_secret(SECRET_ID, 7, key.seal_secret(SECRET_ID, 7, SECRET, os.urandom)) == SECRET


@pytest.mark.parametrize(
    ("key", "secret_id", "version"),
    [
        (ProfileKey(RAW, OTHER_ORG, PROFILE, 4), SECRET_ID, 7),
        (ProfileKey(RAW, ORG, b"P" * 16, 4), SECRET_ID, 7),
        (ProfileKey(RAW, ORG, PROFILE, 5), SECRET_ID, 7),
        (ProfileKey(RAW[::-1], ORG, PROFILE, 4), SECRET_ID, 7),
        (ProfileKey(RAW, ORG, PROFILE, 4), b"S" * 16, 7),
        (ProfileKey(RAW, ORG, PROFILE, 4), SECRET_ID, 8),
    ],
    ids=["org", "profile", "epoch", "key", "swapped", "version"],
)
def test_a_secret_opens_nowhere_else(key: ProfileKey, secret_id: bytes, version: int) -> None:
    blob = ProfileKey(RAW, ORG, PROFILE, 4).seal_secret(SECRET_ID, 7, SECRET, os.urandom)
    with pytest.raises(IntegrityError):
        key.open_secret(secret_id, version, blob)


def test_a_genuine_box_with_a_malformed_secret_is_an_integrity_error() -> None:
    blob = make_box(RAW, "secret", (ORG, PROFILE, 4, SECRET_ID, 7), bytes(64), os.urandom)
    with pytest.raises(IntegrityError):
        ProfileKey(RAW, ORG, PROFILE, 4).open_secret(SECRET_ID, 7, blob)


MAKERS: list[Callable[[bytes], object]] = [
    RootKey,
    lambda raw: InviteKey(raw, OPERATOR),
    lambda raw: Keyset(raw, ORG, OPERATOR),
    lambda raw: LoginKeys(raw, ORG, OPERATOR),
    TokenSecret,
    lambda raw: MasterKey(raw, TOKEN_ID),
    lambda raw: GroupKey(raw, ORG, GROUP, 1),
    lambda raw: ProfileKey(raw, ORG, PROFILE, 1),
]


@pytest.mark.parametrize("make", MAKERS)
def test_no_repr_shows_a_key(make: Callable[[bytes], object]) -> None:
    raw = os.urandom(32)
    shown = repr(make(raw))
    assert raw.hex()[:8] not in shown
    assert repr(raw)[2:-1] not in shown
    assert "object at" not in shown


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_refused(make: Callable[[bytes], object], length: int) -> None:
    with pytest.raises(IntegrityError):
        make(bytes(length))


def test_keys_are_imported_without_hpke_ml_kem_and_argon2() -> None:
    script = (
        "import sys, stronghold_cli.crypto.keys as keys\n"
        "keys.Keyset(bytes(32), bytes(32), bytes(16)).request.sign(b'')\n"
        "heavy = ('hpke', 'mlkem', 'argon2', 'x25519', 'dataclasses', 'inspect', 'asyncio', 'pathlib', 'logging')\n"
        "print([name for name in sys.modules if name.rpartition('.')[2] in heavy])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    found = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout == "[]\n"
