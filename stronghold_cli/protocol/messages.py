"""The bodies of the API, defined once for client and server (docs/protocol.md, "Bodies").

Each body is a ``Record`` with ``encode`` and a strict ``decode`` that raises ``MalformedError``. Nothing in a body is
believed for standing there: the reader and the vault verify what it carries. The bodies of an agent's pull are in
``messages_pull``, apart, so that a pull imports only those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stronghold_cli.protocol.documents.base import Members
from stronghold_cli.protocol.documents.org import LogKey
from stronghold_cli.protocol.encoding import decode_base64, decode_hex, decode_json, encode_base64, encode_json
from stronghold_cli.protocol.envelope import Envelope, envelope_from_json
from stronghold_cli.protocol.errors import MalformedError
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.state import Changes, MapId

MAX_BODY = 160 << 20
MAP_KINDS = ("documents", "contents", "members", "old_keys", "entries")
_MANY = 1_000_000


class Commit(Record):
    """The one write: changes, new blobs (by content), and the shares of new tokens."""

    changes: Changes
    blobs: tuple[bytes, ...]
    shares: Mapping[bytes, bytes]

    def __repr__(self) -> str:
        return f"Commit({len(self.blobs)} blobs, {len(self.shares)} shares)"

    def to_json(self) -> dict[str, Any]:
        """The commit as a JSON object."""
        return {
            "changes": changes_to_json(self.changes),
            "blobs": [encode_base64(blob) for blob in self.blobs],
            "shares": {token_id.hex(): encode_base64(share) for token_id, share in self.shares.items()},
        }

    def encode(self) -> bytes:
        """The body of a commit."""
        return encode_json(self.to_json())


class Genesis(Record):
    """The body that creates an org: setup code, the first commit, and the first operator's login record and keyset box."""

    setup_code: str
    commit: Commit
    login: Envelope
    keyset: bytes

    def __repr__(self) -> str:
        return f"Genesis({self.commit!r})"

    def encode(self) -> bytes:
        """The body of an org's creation."""
        return encode_json(
            {
                "setup_code": self.setup_code,
                "commit": self.commit.to_json(),
                "login": self.login.to_json(),
                "keyset": encode_base64(self.keyset),
            }
        )


class Committed(Record):
    """The answer to a commit: the seq of its head, and whether that head already stood in the chain."""

    seq: int
    already: bool

    def encode(self) -> bytes:
        """The body of the answer."""
        return encode_json({"seq": self.seq, "already": self.already, "receipt": None})


class Steps(Record):
    """Commits that follow a known state, the oldest first, each with its changes; ``seq`` is that of the newest head."""

    seq: int
    steps: tuple[Changes, ...]

    def encode(self) -> bytes:
        """The body of the answer."""
        return encode_json({"seq": self.seq, "steps": [changes_to_json(step) for step in self.steps]})


class Keys(Record):
    """What opens for an operator: own seals of current group keys, and the boxes of profile keys under those groups."""

    seals: Mapping[bytes, bytes]
    wraps: Mapping[tuple[bytes, bytes], bytes]

    def __repr__(self) -> str:
        return f"Keys({len(self.seals)} seals, {len(self.wraps)} wraps)"

    def encode(self) -> bytes:
        """The body of the answer; wraps are keyed by (profile_id, group_id)."""
        return encode_json(
            {
                "seals": {group_id.hex(): encode_base64(blob) for group_id, blob in self.seals.items()},
                "wraps": [
                    [profile_id.hex(), group_id.hex(), encode_base64(blob)]
                    for (profile_id, group_id), blob in self.wraps.items()
                ],
            }
        )


class Ciphertexts(Record):
    """The ciphertexts of a profile's live entries, by secret id."""

    ciphertexts: Mapping[bytes, bytes]

    def __repr__(self) -> str:
        return f"Ciphertexts({len(self.ciphertexts)})"

    def encode(self) -> bytes:
        """The body of the answer."""
        return encode_json({"ciphertexts": _blobs_to_json(self.ciphertexts), "receipt": None})


class LoginAnswer(Record):
    """What a device needs to log in: login record, keyset box, the org's chain from the anchor, and the head."""

    login: Envelope
    keyset: bytes
    org: tuple[Envelope, ...]
    head: Envelope

    def __repr__(self) -> str:
        return f"LoginAnswer({len(self.org)} links)"

    def encode(self) -> bytes:
        """The body of the answer."""
        return encode_json(
            {
                "login": self.login.to_json(),
                "keyset": encode_base64(self.keyset),
                "org": [envelope.to_json() for envelope in self.org],
                "head": self.head.to_json(),
            }
        )


class TokenUse(Record):
    """What the server counted of a token: uses, and Unix seconds of the last one (``None``: never)."""

    last_used: int | None
    uses: int


def encode_setup(log_keys: tuple[LogKey, ...]) -> bytes:
    """The body of the open route that offers the server's log keys before genesis."""
    return encode_json({"log_keys": [{"id": key.id.hex(), "public_key": encode_base64(key.public_key)} for key in log_keys]})


def decode_setup(body: bytes) -> tuple[LogKey, ...]:
    """Parse the log keys offered."""
    members = Members(decode_json(body, 1 << 16), "setup", ("log_keys",))
    keys = []
    for value in members.items("log_keys", 100):
        key = Members(value, "setup.log_keys", LogKey.members)
        keys.append(LogKey(id=key.id("id"), public_key=key.verify_key("public_key")))
    return tuple(keys)


def encode_sync(changes: Changes) -> bytes:
    """The body of a sync: all changes since the seq asked for."""
    return encode_json({"changes": changes_to_json(changes)})


def decode_sync(body: bytes) -> Changes:
    """Parse a sync."""
    return changes_from_json(Members(decode_json(body, MAX_BODY), "sync", ("changes",)).raw("changes"))


def decode_steps(body: bytes) -> Steps:
    """Parse the commits that follow a known state."""
    members = Members(decode_json(body, MAX_BODY), "steps", Steps.members)
    return Steps(seq=members.count("seq", 1), steps=tuple(changes_from_json(step) for step in members.items("steps", _MANY)))


def decode_commit(body: bytes, limit: int = MAX_BODY) -> Commit:
    """Parse a commit of at most ``limit`` bytes."""
    return _commit_from_json(decode_json(body, limit))


def decode_genesis(body: bytes, limit: int = MAX_BODY) -> Genesis:
    """Parse the creation of an org."""
    members = Members(decode_json(body, limit), "genesis", ("setup_code", "commit", "login", "keyset"))
    return Genesis(
        setup_code=members.text("setup_code", 200),
        commit=_commit_from_json(members.raw("commit")),
        login=envelope_from_json(members.raw("login")),
        keyset=_blob(members.raw("keyset")),
    )


def decode_committed(body: bytes) -> Committed:
    """Parse the answer to a commit."""
    members = Members(decode_json(body, 1 << 20), "committed", ("seq", "already", "receipt"))
    return Committed(seq=members.count("seq", 1), already=members.flag("already"))


def decode_keys(body: bytes) -> Keys:
    """Parse an operator's keys."""
    members = Members(decode_json(body, MAX_BODY), "keys", ("seals", "wraps"))
    wraps = {}
    for item in members.items("wraps", _MANY):
        if not isinstance(item, list) or len(item) != 3 or not all(isinstance(part, str) for part in item):
            raise MalformedError("keys: a wrap is not [profile, group, blob]")
        wraps[decode_hex(item[0], 16), decode_hex(item[1], 16)] = decode_base64(item[2])
    return Keys(seals=_blobs_from_json(members.object("seals", _MANY)), wraps=wraps)


def decode_ciphertexts(body: bytes) -> Ciphertexts:
    """Parse the ciphertexts of a profile."""
    members = Members(decode_json(body, MAX_BODY), "ciphertexts", ("ciphertexts", "receipt"))
    return Ciphertexts(ciphertexts=_blobs_from_json(members.object("ciphertexts", _MANY)))


def decode_login_answer(body: bytes) -> LoginAnswer:
    """Parse the answer to a login."""
    members = Members(decode_json(body, MAX_BODY), "login", ("login", "keyset", "org", "head"))
    return LoginAnswer(
        login=envelope_from_json(members.raw("login")),
        keyset=_blob(members.raw("keyset")),
        org=tuple(envelope_from_json(value) for value in members.items("org", _MANY)),
        head=envelope_from_json(members.raw("head")),
    )


def encode_token_uses(uses: Mapping[bytes, TokenUse]) -> bytes:
    """The body that says when each token was last used."""
    return encode_json(
        {"tokens": {token_id.hex(): {"last_used": use.last_used, "uses": use.uses} for token_id, use in uses.items()}}
    )


def decode_token_uses(body: bytes) -> dict[bytes, TokenUse]:
    """Parse the uses of tokens."""
    uses = {}
    for token_id, value in Members(decode_json(body, MAX_BODY), "tokens", ("tokens",)).object("tokens", _MANY).items():
        members = Members(value, "tokens", TokenUse.members)
        uses[decode_hex(token_id, 16)] = TokenUse(
            last_used=members.optional("last_used", members.count), uses=members.count("uses")
        )
    return uses


def encode_sealing_keys(keys: Iterable[bytes]) -> bytes:
    """The body that delivers public sealing keys (1216 bytes each); a client tells them by their hash."""
    return encode_json({"keys": [encode_base64(key) for key in keys]})


def decode_sealing_keys(body: bytes) -> tuple[bytes, ...]:
    """Parse public sealing keys; each is to be checked on import (rule R5)."""
    members = Members(decode_json(body, MAX_BODY), "sealing keys", ("keys",))
    return tuple(_blob(value) for value in members.items("keys", _MANY))


def encode_old_keys(boxes: Iterable[bytes]) -> bytes:
    """The body that delivers the boxes of a profile's older keys; a client tells them by their hash."""
    return encode_json({"boxes": [encode_base64(box) for box in boxes]})


def decode_old_keys(body: bytes) -> tuple[bytes, ...]:
    """Parse the boxes of a profile's older keys."""
    members = Members(decode_json(body, MAX_BODY), "old keys", ("boxes",))
    return tuple(_blob(value) for value in members.items("boxes", _MANY))


def encode_blobs(blobs: Iterable[bytes]) -> bytes:
    """The body that sends blobs ahead of the commit that will name them."""
    return encode_json({"blobs": [encode_base64(blob) for blob in blobs]})


def decode_blobs(body: bytes) -> tuple[bytes, ...]:
    """Parse blobs that are sent ahead."""
    members = Members(decode_json(body, MAX_BODY), "blobs", ("blobs",))
    return tuple(_blob(value) for value in members.items("blobs", _MANY))


def encode_ahead(hashes: Iterable[bytes]) -> bytes:
    """The answer that says which blobs of the asking operator are there, unnamed, by hash."""
    return encode_json({"hashes": [sha256.hex() for sha256 in hashes]})


def decode_ahead(body: bytes) -> frozenset[bytes]:
    """Parse the hashes of the blobs that were sent ahead."""
    members = Members(decode_json(body, MAX_BODY), "blobs ahead", ("hashes",))
    return frozenset(decode_hex(_text(value), 32) for value in members.items("hashes", _MANY))


def encode_audit(leaves: tuple[bytes, ...], size: int) -> bytes:
    """A page of the audit log: exact leaf bytes, and the log's size."""
    return encode_json({"leaves": [encode_base64(leaf) for leaf in leaves], "size": size})


def decode_audit(body: bytes) -> tuple[tuple[bytes, ...], int]:
    """Parse a page of the audit log."""
    members = Members(decode_json(body, MAX_BODY), "audit", ("leaves", "size"))
    return tuple(_blob(value) for value in members.items("leaves", _MANY)), members.count("size")


def encode_error(code: str, message: str) -> bytes:
    """The body of every refusal: a stable code, and a sentence for people who read the wire."""
    return encode_json({"error": {"code": code, "message": message}})


def decode_error(body: bytes) -> str:
    """The code of a refusal; only this is believed."""
    error = Members(decode_json(body, 1 << 16), "body", ("error",)).raw("error")
    return Members(error, "error", ("code", "message")).text("code", 64)


def changes_to_json(changes: Changes) -> dict[str, Any]:
    """``Changes`` as a JSON object."""
    return {
        "org": [envelope.to_json() for envelope in changes.org],
        "heads": [envelope.to_json() for envelope in changes.heads],
        "structure": None if changes.structure is None else changes.structure.to_json(),
        "contents": [envelope.to_json() for envelope in changes.contents],
        "payloads": [encode_base64(payload) for payload in changes.payloads],
        "maps": [
            {
                "map": kind,
                "id": id_.hex(),
                "leaves": [
                    [encode_base64(key), None if value is None else encode_base64(value)] for key, value in leaves.items()
                ],
            }
            for (kind, id_), leaves in changes.maps.items()
        ],
    }


def changes_from_json(value: object) -> Changes:
    """Parse ``Changes``."""
    members = Members(value, "changes", Changes.members)
    return Changes(
        org=tuple(envelope_from_json(item) for item in members.items("org", _MANY)),
        heads=tuple(envelope_from_json(item) for item in members.items("heads", _MANY)),
        structure=members.optional("structure", lambda name: envelope_from_json(members.raw(name))),
        contents=tuple(envelope_from_json(item) for item in members.items("contents", _MANY)),
        payloads=tuple(_blob(item) for item in members.items("payloads", _MANY)),
        maps=_maps_from_json(members.items("maps", _MANY)),
    )


def _maps_from_json(values: list[Any]) -> dict[MapId, dict[bytes, bytes | None]]:
    maps: dict[MapId, dict[bytes, bytes | None]] = {}
    for value in values:
        members = Members(value, "changes.maps", ("map", "id", "leaves"))
        kind = members.one_of("map", MAP_KINDS)
        id_ = members.fixed_hex("id", 0 if kind in ("documents", "contents") else 16)
        leaves: dict[bytes, bytes | None] = {}
        for item in members.items("leaves", _MANY):
            if not isinstance(item, list) or len(item) != 2:
                raise MalformedError("changes.maps: a leaf is not [key, value]")
            key = _blob(item[0])
            if key in leaves:
                raise MalformedError("changes.maps: a key stands twice")
            leaves[key] = None if item[1] is None else _blob(item[1])
        if (kind, id_) in maps:
            raise MalformedError("changes.maps: a map stands twice")
        maps[kind, id_] = leaves
    return maps


def _commit_from_json(value: object) -> Commit:
    members = Members(value, "commit", Commit.members)
    return Commit(
        changes=changes_from_json(members.raw("changes")),
        blobs=tuple(_blob(item) for item in members.items("blobs", _MANY)),
        shares={
            decode_hex(token_id, 16): decode_base64(_text(share), length=32)
            for token_id, share in members.object("shares", _MANY).items()
        },
    )


def _blobs_to_json(blobs: Mapping[bytes, bytes]) -> dict[str, str]:
    return {id_.hex(): encode_base64(blob) for id_, blob in blobs.items()}


def _blobs_from_json(value: dict[str, Any]) -> dict[bytes, bytes]:
    return {decode_hex(id_, 16): _blob(blob) for id_, blob in value.items()}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise MalformedError("a member is not a text")
    return value


def _blob(value: object) -> bytes:
    return decode_base64(_text(value))
