"""Texts for people in signed documents: none holds a character that drives a terminal, whoever signed it.

A document with such a text is refused by whoever decodes it: operators, agents and the server alike.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.base import Document
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.invite import Invite
from stronghold_cli.protocol.documents.login import Acceptance
from stronghold_cli.protocol.documents.org import Org
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.documents.structure import Structure
from stronghold_cli.protocol.errors import MalformedError

VECTORS = Path(__file__).parents[2] / "vectors"
GOOD: dict[str, Any] = json.loads((VECTORS / "own" / "documents.json").read_text(encoding="utf-8"))["documents"]

HOSTILE = (
    "\x00", "\x07", "\x1b", "\x1b[2J", "\x1b]0;title\x07", "\r", "\x7f", "\x9b", "\x9d", "\u202a", "\u202e", "\u2066",
    "\u2069", "\u200e", "\u200f", "\u061c", "\u2028", "\u200b", "\ufeff", "\ue000",
)  # fmt: skip
# Where texts for people stand; * is the first member of an object.
TEXTS: tuple[tuple[type[Document], tuple[str | int, ...]], ...] = (
    (Org, ("name",)),
    (Org, ("operators", "*", "name")),
    (Agent, ("name",)),
    (Agent, ("description",)),
    (Agent, ("tokens", "*", "name")),
    (Agent, ("tokens", "*", "last4")),
    (Agent, ("labels", "*")),
    (Group, ("name",)),
    (Profile, ("name",)),
    (Profile, ("description",)),
    (Invite, ("name",)),
    (Acceptance, ("name",)),
    (Structure, ("lockdowns", 0, "reason")),
)


def replaced(value: Any, place: tuple[str | int, ...], text: str) -> Any:
    """A copy with this text at the place; at the end of a path, ``*`` is the value of the first member."""
    if not place:
        return text
    step = next(iter(value)) if place[0] == "*" else place[0]
    if isinstance(value, list):
        return [replaced(each, place[1:], text) if index == step else each for index, each in enumerate(value)]
    return {name: replaced(each, place[1:], text) if name == step else each for name, each in value.items()}


def payload(kind: type[Document]) -> Any:
    """A good document of the kind that has all of the places."""
    decoded = [json.loads(each["payload"]) for each in GOOD.values() if each["kind"] == kind.KIND]
    return max(decoded, key=lambda value: len(json.dumps(value)))


@pytest.mark.parametrize("sign", HOSTILE, ids=ascii)
@pytest.mark.parametrize(("kind", "place"), TEXTS, ids=lambda value: str(getattr(value, "KIND", value)))
def test_no_text_of_a_document_drives_a_terminal(kind: type[Document], place: tuple[str | int, ...], sign: str) -> None:
    good = payload(kind)
    wanted = "a" * (4 if place[-1] == "last4" else 7)
    assert kind.decode(json.dumps(replaced(good, place, wanted)).encode())
    hostile = replaced(good, place, f"a{sign}b"[:4] if place[-1] == "last4" else f"a{sign}b")
    for encoded in (json.dumps(hostile), json.dumps(hostile, ensure_ascii=False)):
        with pytest.raises(MalformedError):
            kind.decode(encoded.encode())


@pytest.mark.parametrize("sign", HOSTILE, ids=ascii)
def test_no_label_drives_a_terminal(sign: str) -> None:
    agent, structure = payload(Agent), payload(Structure)
    for label in ({f"a{sign}": "b"}, {"a": f"{sign}b"}):
        with pytest.raises(MalformedError):
            Agent.decode(json.dumps({**agent, "labels": label}).encode())
    for text in (f"a{sign}=b", f"a=b{sign}"):
        lockdown = {**structure["lockdowns"][0], "all": False, "groups": [], "agents": [], "labels": [text]}
        with pytest.raises(MalformedError):
            Structure.decode(json.dumps({**structure, "lockdowns": [lockdown]}).encode())
