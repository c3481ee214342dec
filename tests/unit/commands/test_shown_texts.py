"""Whatever a verb shows: no name, description, label or note drives the terminal or adds a line of its own.

Documents with such names do not decode (``test_texts`` of the protocol); here they stand in the state all the same, as if
that first line did not hold. Notes of secrets are any bytes, descriptions may have line ends: these come the normal way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from stronghold_cli import output
from stronghold_cli.commands import agent, audit, group, org, profile, secret, standing, token
from stronghold_cli.keystore.identities import Account, OperatorIdentity, TokenIdentity
from stronghold_cli.protocol.audit import AuditLeaf, DocumentReference
from stronghold_cli.protocol.messages import encode_audit, encode_token_uses
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.protocol.token import OperatorKit
from stronghold_cli.reader import client
from stronghold_cli.reader.client import Holding, Self
from stronghold_cli.vault import log, replica
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.lookup import shown_id
from stronghold_cli.vault.profiles import read_secrets, write_secrets
from tests.support.org import NOW, TestOrg, workshop
from tests.support.pull import Pull

D = TypeVar("D")
HOSTILE = "\x1b[2J\x9b1A\x1b]0;title\x07\u202e\u2066\r\n  forged: line\x7f\u2028"


@pytest.fixture(autouse=True)
def _default_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_current", output.OutputSettings())


def with_hostile_names(documents: Mapping[bytes, D], *members: str) -> dict[bytes, D]:
    return {
        id_: document.replace(**{name: getattr(document, name) + HOSTILE for name in members})  # type: ignore[attr-defined]
        for id_, document in documents.items()
    }


def hostile_state(state: OrgState) -> OrgState:
    """The state with the same documents under hostile names."""
    document = state.org.document
    agents = {
        id_: each.replace(labels={f"k{HOSTILE}": f"v{HOSTILE}"}, tokens=with_hostile_names(each.tokens, "name"))
        for id_, each in with_hostile_names(state.agents, "name", "description").items()
    }
    hostile_org = document.replace(name=document.name + HOSTILE, operators=with_hostile_names(document.operators, "name"))
    return state.replace(
        org=state.org.replace(document=hostile_org),
        agents=agents,
        groups=with_hostile_names(state.groups, "name"),
        profiles=with_hostile_names(state.profiles, "name", "description"),
    )


def log_of(test_org: TestOrg) -> bytes:
    (profile_id,) = (each.id for each in test_org.state.profiles.values() if each.name == "production")
    (token_id,) = (each for item in test_org.state.agents.values() for each in item.tokens)
    leaves = (
        AuditLeaf(
            index=index, kind="pull", server_time=NOW, signature_base="base", signature=bytes(64), key_id=key_id,
            outcome="ok", code="", head_seq=test_org.state.seq, correlation_id=bytes(16), side=bytes(32),
            document=DocumentReference(kind="contents", id=profile_id, version=1, sha256=bytes(32)),
        ).encode()
        for index, key_id in enumerate((KeyId(kind="o", raw=test_org.id("ada")), KeyId(kind="t", raw=token_id)))
    )  # fmt: skip
    return encode_audit(tuple(leaves), 2)


class Shelf:
    """An operator's vault in which every name is hostile."""

    def __init__(self) -> None:
        self.org = workshop()
        self.state = hostile_state(self.org.state)
        self.operator = SimpleNamespace(get=self._get)

    def _get(self, path: str) -> bytes:
        return encode_token_uses({}) if path == "/tokens" else log_of(self.org)

    def id(self, kind: str) -> str:
        return shown_id(kind, next(iter(self.state.documents(kind))))


def show_operator(shelf: Shelf) -> None:
    kit = OperatorKit(
        plain_http=False, pin=bytes(32), floor=1, org_id=shelf.org.state.org_id, operator_id=shelf.org.id("ada"),
        account_key=bytes(32), salt=bytes(16), memory_kib=65_536, time_cost=3, parallelism=4, address="vault.example.com",
    )  # fmt: skip
    account = Account(name=f"context{HOSTILE}", kit=kit)
    standing.show_operator(OperatorIdentity(account=account, source="elsewhere"))


def show_agent(shelf: Shelf) -> None:
    pull = Pull(shelf.org)
    found = pull.stand(pull.answer)
    (hostile,) = shelf.state.agents.values()
    found = found.replace(org=shelf.state.org.document, agent=hostile, token=hostile.tokens[found.token_id])
    profiles = tuple(shelf.state.profiles.values())
    holdings = {profile.id: Holding(version=1, secrets=2, is_exact=True) for profile in profiles}
    seen = Self(standing=found, groups=tuple(shelf.state.groups.values()), profiles=profiles, holdings=holdings, warnings=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "look_at_self", lambda *_: seen)
        standing.show_agent(TokenIdentity(token=pull.token, source="elsewhere"))


SHOWN: dict[str, Callable[[Shelf], None]] = {
    "agent list": lambda _: agent.list_agents(),
    "agent show": lambda shelf: agent.show(shelf.id("agent")),
    "profile list": lambda _: profile.list_profiles(),
    "profile show": lambda shelf: profile.show(shelf.id("profile")),
    "group list": lambda _: group.list_groups(),
    "group show": lambda shelf: group.show(shelf.id("group")),
    "token list": lambda _: token.list_tokens(),
    "org show": lambda _: org.show(),
    "audit list": lambda _: audit.list_entries(),
    "auth status of an operator": show_operator,
    "auth status of an agent": show_agent,
}


def is_plain(text: str, ours: str) -> bool:
    """Whether nothing but ``ours`` (line ends, and tabs between cells) is no printable character."""
    return not [each for each in text if not each.isprintable() and each not in ours]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("name", SHOWN)
def test_no_name_or_description_drives_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    shelf = Shelf()
    monkeypatch.setattr(log, "verify_entry", lambda *_: None)  # the entries of ``log_of`` are signed by nobody
    for module in (agent, audit, group, org, profile, token):
        monkeypatch.setattr(module, "open_vault", lambda *_: shelf)
    monkeypatch.setattr(replica, "local_state", lambda *_: shelf.state)
    SHOWN[name](shelf)
    shown = capfd.readouterr().out
    assert "forged: line" in shown
    assert not [line for line in shown.splitlines() if line.startswith("  forged")]
    assert is_plain(shown, "\n\t")
    output.configure(json=True)
    SHOWN[name](shelf)
    shown = capfd.readouterr().out
    assert is_plain(shown, "\n")
    assert is_in(json.loads(shown), HOSTILE)


def is_in(value: Any, text: str) -> bool:
    """Whether a text stands whole in some text of a JSON value."""
    if isinstance(value, str):
        return text in value
    items = [*value.keys(), *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return any(is_in(each, text) for each in items)


@pytest.mark.usefixtures("home")
def test_no_note_of_a_secret_drives_the_terminal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """An editor with a client of their own writes any bytes into a note."""
    test_org = workshop()
    vault = Vault(test_org.operator())
    production = test_org.profile("production")
    known = read_secrets(vault, production)
    note = {"API_KEY": HOSTILE.encode() + b"\xff\x9b"}
    vault.commit(lambda draft: write_secrets(draft, production, known, {"API_KEY": b"new"}, notes=note))
    monkeypatch.setattr(secret, "open_vault", lambda: vault)
    secret.list_secrets("production")
    shown = capfd.readouterr().out
    assert "forged: line" in shown
    assert len(shown.splitlines()) == 3
    assert is_plain(shown, "\n\t")
    output.configure(json=True)
    secret.list_secrets("production")
    shown = capfd.readouterr().out
    assert is_plain(shown, "\n")
    assert is_in(json.loads(shown), HOSTILE)
