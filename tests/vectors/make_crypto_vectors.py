"""Make the frozen vectors of the crypto package, or compare them: ``python tests/vectors/make_crypto_vectors.py [--check]``.

``own/crypto.json`` fixes the bytes of every key, box, seal, padding, passphrase and token of protocol sections 2 to 4.
Everything in it follows from fixed inputs, except the seals: HPKE draws its own randomness, so a seal is made once, kept,
and from then on only opened. Bytes stand as ``hex:…``. ``--check`` writes nothing and exits with 1 where anything differs.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from hashlib import shake_256
from typing import Any

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))

from stronghold_cli.crypto.box import Context, make_box, open_box
from stronghold_cli.crypto.kdf import extract_and_expand, kcv, kdf
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
from stronghold_cli.crypto.passphrase import FLOOR, account_unlock_key
from stronghold_cli.crypto.seal import SealingKey, seal
from stronghold_cli.crypto.secrets import Secret, decode_secret, pad, padded_length
from stronghold_cli.crypto.tokens import mint_token, unlock_master_key
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.token import parse_agent_token

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "own", "crypto.json")


def fixed(name: str, size: int) -> bytes:
    """``size`` bytes that belong to ``name`` for ever."""
    return shake_256(b"stronghold test vector: " + name.encode()).digest(size)


def numbered(name: str) -> Callable[[int], bytes]:
    """Randomness that gives the next fixed bytes of ``name`` at each call."""
    calls = iter(range(1 << 16))
    return lambda size: fixed(f"{name} {next(calls)}", size)


ORG, OPERATOR, GROUP, PROFILE = fixed("org", 32), fixed("operator", 16), fixed("group", 16), fixed("profile", 16)
SECRET_ID, INVITE, PIN = fixed("secret", 16), fixed("invite", 16), fixed("pin", 32)
BOXES: dict[str, tuple[Context, bytes]] = {
    "profile-key": ((ORG, PROFILE, 4, GROUP, 2), fixed("profile key", 32)),
    "profile-key-old": ((ORG, PROFILE, 3, 4), fixed("old profile key", 32)),
    "secret": ((ORG, PROFILE, 4, SECRET_ID, 7), pad(b"any plaintext")),
    "keyset": ((ORG, OPERATOR), fixed("keyset", 32)),
}
SEAL_CTX: Context = (ORG, GROUP, 2, "token", fixed("member", 16))
SECRETS = (
    Secret(name="EMPTY", value=b"", note=b"", author=OPERATOR, time=0),
    Secret(name="ACCENT", value="e\u0301 😀".encode(), note="né".encode(), author=OPERATOR, time=1_700_000_000),
    Secret(name="BYTES", value=bytes(range(256)), note=b"\xff", author=OPERATOR, time=2**53 - 1),
)


def plain(value: Any) -> Any:
    """The value as JSON has it: bytes as ``hex:…``."""
    if isinstance(value, bytes):
        return "hex:" + value.hex()
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def entry(**members: Any) -> dict[str, Any]:
    return {name: plain(value) for name, value in members.items()}


def derivations() -> dict[str, Any]:
    """kdf, kcv and HKDF."""
    key = fixed("uniform key", 32)
    ctx: Context = (ORG, "text é", 7)
    return {
        "kdf": entry(key=key, label="op/sign", ctx=ctx, result=kdf(key, "op/sign", *ctx)),
        "kdf without ctx": entry(key=key, label="root/sign", ctx=(), result=kdf(key, "root/sign")),
        "kcv": entry(key=key, kind="group", ctx=(ORG, GROUP, 2), result=kcv(key, "group", ORG, GROUP, 2)),
        "hkdf": entry(salt=ORG, ikm=key, info=b"info", result=extract_and_expand(ORG, key, b"info")),
    }


def keys() -> dict[str, Any]:
    """Every key class: raw bytes in, public parts out."""
    raw = fixed("raw key", 32)
    root, keyset, login = RootKey(raw), Keyset(raw, ORG, OPERATOR), LoginKeys(raw, ORG, OPERATOR)
    token, invite = TokenSecret(raw), InviteKey(raw, INVITE)
    master = MasterKey(raw, token.token_id)
    return {
        "inputs": entry(raw=raw, org_id=ORG, operator_id=OPERATOR, invite_id=INVITE, group_id=GROUP, profile_id=PROFILE),
        "sealing key": entry(public=SealingKey(raw).public),
        "root": entry(sign=root.sign.public, seal_sha256=root.seal.public_sha256),
        "invite": entry(sign=invite.sign.public),
        "keyset": entry(sign=keyset.sign.public, request=keyset.request.public, seal_sha256=keyset.seal.public_sha256),
        "login": entry(login=login.login.public, box=login.wrap_keyset(keyset, numbered("login box"))),
        "token": entry(auth=token.auth.public, token_id=token.token_id, wrap=token.wrap),
        "master key": entry(seal_sha256=master.seal.public_sha256),
        "group": entry(epoch=2, kcv=GroupKey(raw, ORG, GROUP, 2).kcv),
        "profile": entry(epoch=4, kcv=ProfileKey(raw, ORG, PROFILE, 4).kcv),
    }


def boxes() -> dict[str, Any]:
    """One box of every kind, opened again before it is written."""
    made = {}
    for kind, (ctx, plaintext) in BOXES.items():
        key = fixed(f"key of {kind}", 32)
        blob = make_box(key, kind, ctx, plaintext, numbered(kind))
        if open_box(key, kind, ctx, blob) != plaintext:
            raise SystemExit(f"the box {kind} does not open")
        made[kind] = entry(key=key, ctx=ctx, plaintext=plaintext, blob=blob)
    return made


def secrets() -> dict[str, Any]:
    """Padded plaintexts, as digests where they are long, and the sizes around every step of the padding."""
    for secret in SECRETS:
        if decode_secret(secret.encode()) != secret:
            raise SystemExit("a secret does not come back")
    lengths = (
        0,
        1,
        64,
        65,
        128,
        129,
        256,
        257,
        512,
        513,
        1024,
        1025,
        1088,
        1089,
        2048,
        2049,
        65_537,
        1 << 20,
        (1 << 20) + 1,
    )
    return {
        "padded length": {str(length): padded_length(length) for length in lengths},
        "plaintexts": [
            entry(**{name: getattr(secret, name) for name in secret.members}, padded=secret.encode()) for secret in SECRETS
        ],
    }


def passphrase() -> dict[str, Any]:
    """A passphrase at the floor of the parameters, with an accent that NFC composes."""
    text, account_key, salt = "cafe\u0301 cheval", fixed("account key", 32), fixed("salt", 16)
    login = account_unlock_key(text, account_key, salt, FLOOR, ORG, OPERATOR)
    costs = {name: getattr(FLOOR, name) for name in FLOOR.members}
    inputs = entry(passphrase=text, account_key=account_key, salt=salt, org_id=ORG, operator_id=OPERATOR)
    return {**inputs, **costs, **entry(login=login.login.public)}


def token() -> dict[str, Any]:
    """A minted token, its text, and the master key that token and share open."""
    minted = mint_token(PIN, 7, "vault.example.com:8443/base", False, numbered("mint"))
    read = parse_agent_token(minted.token.text)
    if unlock_master_key(read, TokenSecret(read.secret), minted.share).seal.public != minted.seal_public:
        raise SystemExit("the minted token does not open")
    return entry(
        text=minted.token.text,
        share=minted.share,
        token_id=minted.token_id,
        auth=minted.auth_public,
        seal_sha256=digest(minted.seal_public),
    )


def seals(kept: dict[str, Any]) -> dict[str, Any]:
    """The seals kept from before, or new ones; each is opened, as a seal and as the group key that it carries."""
    made = {}
    for name in ("first", "second"):
        seed, plaintext = fixed(f"seed of the {name} seal", 32), fixed(f"group key of the {name} seal", 32)
        receiver = SealingKey(seed)
        blob = seal(receiver.public, "group-key", SEAL_CTX, plaintext)
        if name in kept:
            blob = bytes.fromhex(kept[name]["blob"].removeprefix("hex:"))
        commitment = kcv(plaintext, "group", *SEAL_CTX[:3])
        opened = open_group_key(receiver, ORG, GROUP, 2, "token", fixed("member", 16), commitment, blob)
        if opened.raw != plaintext:
            raise SystemExit(f"the {name} seal does not open")
        made[name] = entry(seed=seed, kind="group-key", ctx=SEAL_CTX, plaintext=plaintext, kcv=commitment, blob=blob)
    return made


def all_vectors(kept: dict[str, Any]) -> dict[str, Any]:
    return {
        "origin": "made by tests/vectors/make_crypto_vectors.py",
        "derivations": derivations(),
        "keys": keys(),
        "boxes": boxes(),
        "seals": seals(kept.get("seals", {})),
        "secrets": secrets(),
        "passphrase": passphrase(),
        "token": token(),
    }


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """The paths at which two trees differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old.keys() | new.keys():
            yield from differences(old.get(name), new.get(name), f"{path}/{name}")
    elif old != new:
        yield path


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    kept = {}
    if os.path.exists(PATH):
        with open(PATH, encoding="utf-8") as file:
            kept = json.load(file)
    made = all_vectors(kept)
    if not arguments:
        os.makedirs(os.path.dirname(PATH), exist_ok=True)
        with open(PATH, "w", encoding="utf-8") as file:
            file.write(json.dumps(made, indent=1, ensure_ascii=True) + "\n")
        return 0
    changed = sorted(differences(kept, made))
    for path in changed:
        print(f"differs: {path}", file=sys.stderr)
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
