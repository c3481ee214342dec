"""The bodies that deliver the past to operators: what commits replaced, and the kept versions of secrets.

Apart from ``messages``, which every command of an operator imports. Nothing in them is believed: ``past`` and the vault
verify it against a state that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stronghold_cli.protocol.documents.base import MAX_SEQ, Members
from stronghold_cli.protocol.encoding import JsonValue, decode_base64, decode_hex, decode_json, encode_base64, encode_json
from stronghold_cli.protocol.errors import MalformedError
from stronghold_cli.protocol.messages import MAX_BODY, changes_from_json, changes_to_json
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.state import Changes

# A page of the history of secrets: 16 MiB of leaves and ciphertexts at most, and what comes with the last leaf, in base64.
MAX_HISTORY_BODY = 32 << 20
_MANY = 1_000_000


class KeptSecret(Record):
    """A run of one secret's entry leaves, the newest first, and by version the ciphertexts that go with them.

    ``before`` asks for the leaves that follow; ``None`` where the run ends with the oldest that is wanted.
    """

    leaves: tuple[bytes, ...]
    ciphertexts: Mapping[int, bytes]
    before: int | None

    def __repr__(self) -> str:
        return f"KeptSecret({len(self.leaves)} leaves, {len(self.ciphertexts)} versions)"


class KeptSecrets(Record):
    """A page of the past of a profile's secrets by id, and the boxes of the older keys that their ciphertexts need."""

    secrets: Mapping[bytes, KeptSecret]
    boxes: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"KeptSecrets({len(self.secrets)} secrets)"

    def encode(self) -> bytes:
        """The body of the answer."""
        secrets: dict[str, JsonValue] = {id_.hex(): _secret_to_json(secret) for id_, secret in self.secrets.items()}
        return encode_json({"secrets": secrets, "boxes": [encode_base64(box) for box in self.boxes], "receipt": None})


def decode_kept_secrets(body: bytes) -> KeptSecrets:
    """Parse a page of the past of secrets."""
    members = Members(decode_json(body, MAX_HISTORY_BODY), "history", ("secrets", "boxes", "receipt"))
    return KeptSecrets(
        secrets={decode_hex(id_, 16): _secret_from_json(value) for id_, value in members.object("secrets", _MANY).items()},
        boxes=tuple(_blob(value) for value in members.items("boxes", _MANY)),
    )


def encode_past(steps: Iterable[Changes]) -> bytes:
    """The body that leads back: what each commit replaced, the newest commit first."""
    return encode_json({"steps": [changes_to_json(step) for step in steps]})


def decode_past(body: bytes) -> tuple[Changes, ...]:
    """Parse what commits replaced."""
    members = Members(decode_json(body, MAX_BODY), "past", ("steps",))
    return tuple(changes_from_json(step) for step in members.items("steps", _MANY))


def _secret_to_json(secret: KeptSecret) -> JsonValue:
    return {
        "leaves": [encode_base64(leaf) for leaf in secret.leaves],
        "ciphertexts": [[version, encode_base64(blob)] for version, blob in secret.ciphertexts.items()],
        "before": secret.before,
    }


def _secret_from_json(value: object) -> KeptSecret:
    members = Members(value, "history.secrets", KeptSecret.members)
    ciphertexts: dict[int, bytes] = {}
    for item in members.items("ciphertexts", _MANY):
        if not isinstance(item, list) or len(item) != 2 or type(item[0]) is not int or not 1 <= item[0] <= MAX_SEQ:
            raise MalformedError("history: a ciphertext is not [version, blob]")
        if item[0] in ciphertexts:
            raise MalformedError("history: a version stands twice")
        ciphertexts[item[0]] = _blob(item[1])
    return KeptSecret(
        leaves=tuple(_blob(leaf) for leaf in members.items("leaves", _MANY)),
        ciphertexts=ciphertexts,
        before=members.optional("before", members.count),
    )


def _blob(value: object) -> bytes:
    if not isinstance(value, str):
        raise MalformedError("a member is not a text")
    return decode_base64(value)
