"""No record shows a secret, a key, a share or a blob: what stands in a traceback or a log is its ``repr`` (rule R22).

Every record of both packages is looked at, each with marked bytes in every member that holds bytes. Which of them may be
shown is listed here by name; whoever adds a member that is not in the list hides it, or adds it.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

import stronghold_cli
import stronghold_server
from stronghold_cli.protocol.record import Record

# What anybody may see who may see the signed documents, the log, or a request: ids, hashes, public keys, signatures.
IDS = """
    agent_id author created_by group_id id identity context invite_id operator_id org_id profile_id secret_id subject
    token_id raw
"""
ID_LISTS = "agents editors groups operators owner default_profile"
HASHES = """
    anchor box_sha256 boxes ciphertext_sha256 content_sha256 head_sha256 kcv org_sha256 pin prev root seal_sha256
    sealed_sha256 sha256 side structure_sha256 wrap_sha256 added ahead dropped path peaks
"""
PUBLIC_KEYS = """
    auth_public auth_public_key login login_key public_key request request_key root_sign seal_public sign
"""
SIGNED = "correlation_id envelope kept leaf login_record maps member nonce payload payloads proof signature"
SHOWN = frozenset(f"{IDS} {ID_LISTS} {HASHES} {PUBLIC_KEYS} {SIGNED}".split())
SECRET_TEXTS = frozenset({"authorization", "passphrase", "setup_code"})

# A key of a mapping is an id or a hash; only what it leads to counts.
_KEYS = re.compile(r"(Mapping|dict)\[(bytes|MapId|tuple\[bytes, bytes\]), ")


class Stub:
    """Stands for a member that is no bytes: whatever is asked of it, it says nothing."""

    def __getattr__(self, name: str) -> Stub:
        return Stub()

    def __call__(self, *_: object) -> Stub:
        return self

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __repr__(self) -> str:
        return "stub"


def records() -> list[type[Record]]:
    """Every record of the client and the server."""
    for package in (stronghold_cli, stronghold_server):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found: dict[str, type[Record]] = {}
    waiting: list[type[Record]] = [Record]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            if kind.__module__.startswith(("stronghold_cli.", "stronghold_server.")):
                found[f"{kind.__module__.removeprefix('stronghold_')}.{kind.__qualname__}"] = kind
    return [found[name] for name in sorted(found)]


def annotations(kind: type[Record]) -> dict[str, str]:
    """The members with their types as written."""
    written: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        written.update(inspect.get_annotations(each))
    return {name: written[name] for name in kind.members}


def holds_bytes(annotation: str) -> bool:
    return "bytes" in _KEYS.sub("Mapping[", annotation) and not annotation.startswith("Callable")


def hidden(kind: type[Record]) -> list[str]:
    """The members that must not be shown."""
    written = annotations(kind)
    return [
        name
        for name, annotation in written.items()
        if (holds_bytes(annotation) and name not in SHOWN) or (name in SECRET_TEXTS and "str" in annotation)
    ]


def mark(name: str, length: int = 32) -> bytes:
    """Bytes that belong to the member's name, all of them letters and digits."""
    return sha256(name.encode()).hexdigest().encode()[:length]


def marked(name: str, annotation: str, length: int) -> Any:
    """A value of the member's type that holds the mark."""
    raw = mark(name, length)
    if name in SECRET_TEXTS:
        return raw.decode()
    if not holds_bytes(annotation):
        return {"bool": False, "int": 1, "str": "secrets.example.com"}.get(annotation, Stub())
    if annotation.startswith(("Mapping", "dict")):
        return {b"k" * 16: raw}
    container = {"tuple": tuple, "list": list, "frozenset": frozenset, "Counter": Counter}.get(annotation.partition("[")[0])
    return raw if container is None else container([raw])


def filled(kind: type[Record]) -> Record:
    """The record with marks in it; a token's and a kit's have their lengths, since these show their last characters."""
    lengths = dict(getattr(kind, "fields", ()))
    values = {name: marked(name, annotation, lengths.get(name, 32)) for name, annotation in annotations(kind).items()}
    record = kind.__new__(kind)
    record.__dict__.update(values)
    return record


RECORDS = records()
CARRIERS = [kind for kind in RECORDS if hidden(kind)]


@pytest.mark.parametrize("kind", CARRIERS, ids=lambda kind: kind.__qualname__)
@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r:>3}".format], ids=["repr", "str", "format", "padded"])
def test_a_record_shows_nothing_of_what_it_carries(kind: type[Record], show: Any) -> None:
    shown = show(filled(kind))
    for name in hidden(kind):
        raw = mark(name)
        for text in (raw.decode(), raw.hex(), b64encode(raw).decode()):
            assert text[:14] not in shown, f"give {kind.__qualname__} a __repr__ without {name}, or list {name} as shown"


def test_a_record_without_a_repr_of_its_own_shows_every_member() -> None:
    """What the test above relies on: a record that carries secrets and forgets its ``repr`` does show them."""

    class Forgotten(Record):
        value: bytes

    assert mark("value").decode() in repr(filled(Forgotten))
    assert hidden(Forgotten) == ["value"]


def test_those_that_carry_secrets_are_found() -> None:
    found = {f"{kind.__name__}.{name}" for kind in CARRIERS for name in hidden(kind)}
    assert found >= {
        "Secret.value", "Secret.note", "AgentToken.secret", "AgentToken.wrapped_master_key", "OperatorKit.account_key",
        "RootKit.root_key", "OperatorInvite.invite_key", "MintedToken.share", "Commit.blobs", "Commit.shares",
        "Genesis.setup_code", "Genesis.keyset", "PullAnswer.share", "PullAnswer.seal", "PullAnswer.wrap",
        "Entry.ciphertext", "LiveEntry.ciphertext", "Keys.seals", "Keys.wraps", "Ciphertexts.ciphertexts",
        "LoginAnswer.keyset", "Rendered.content", "Answer.body", "WireAnswer.body", "Proxy.authorization",
        "Wishes.setup_code", "Approved.blobs", "Received.body", "Effect.body", "OperatorRow.keyset_box",
        "Settings.setup_code", "Side.salt",
    }  # fmt: skip


def test_every_name_in_the_list_is_that_of_a_member() -> None:
    assert {name for kind in RECORDS for name in kind.members} >= SHOWN
