"""Acts: what each refuses, that names are found in verified state only, and that secrets come back as they were written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import Conflict, IntegrityError, NotFound, StrongholdError, UsageError
from stronghold_cli.protocol.messages import decode_ciphertexts
from stronghold_cli.vault import profiles as profiles_module
from stronghold_cli.vault.agents import create_agent, mint, revoke
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import add_agent, add_operator, create_group, grant
from stronghold_cli.vault.lookup import find_agent, find_group, find_operator, find_profile, find_token, shown_id
from stronghold_cli.vault.profiles import compare, create_profile, delete_secrets, read_secrets, write_secrets
from tests.support.org import ADDRESS, NOW, TestOrg, workshop

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def org() -> TestOrg:
    return workshop()


ACTS: dict[str, tuple[type[StrongholdError], Callable[[TestOrg, Draft], Any]]] = {
    "an agent's name is taken": (Conflict, lambda org, draft: create_agent(draft, "BOT", [])),
    "an agent's name is not legal": (UsageError, lambda org, draft: create_agent(draft, "ag_x", [])),
    "an agent's description is too long": (
        UsageError,
        lambda org, draft: create_agent(draft, "x", [], description="x" * 1001),
    ),
    "a token's name is taken": (Conflict, lambda org, draft: mint(draft, bot(org), "CI", ADDRESS)),
    "a token's name is not legal": (UsageError, lambda org, draft: mint(draft, bot(org), "", ADDRESS)),
    "a group's name is taken": (Conflict, lambda org, draft: create_group(draft, "Production")),
    "a group's name is not legal": (UsageError, lambda org, draft: create_group(draft, " x")),
    "an agent is in the group": (Conflict, lambda org, draft: add_agent(draft, org.group("production"), bot(org))),
    "an operator is in the group": (
        Conflict,
        lambda org, draft: add_operator(draft, org.group("production"), org.id("eve")),
    ),
    "an admin is in every group": (Conflict, lambda org, draft: add_operator(draft, org.group("staging"), org.id("ada"))),
    "an auditor reads nothing": (UsageError, lambda org, draft: add_operator(draft, org.group("staging"), org.id("una"))),
    "a group is granted": (Conflict, lambda org, draft: grant(draft, org.group("staging"), org.profile("staging"))),
    "a profile's name is taken": (Conflict, lambda org, draft: create_profile(draft, "STAGING")),
    "a profile's name is not legal": (UsageError, lambda org, draft: create_profile(draft, "a/b")),
    "a profile's description is too long": (UsageError, lambda org, draft: create_profile(draft, "x", "x" * 1001)),
    "a secret's name is not legal": (
        UsageError,
        lambda org, draft: write_secrets(draft, org.profile("staging"), {}, {"1A": b""}),
    ),
    "a value is too large": (
        UsageError,
        lambda org, draft: write_secrets(draft, org.profile("staging"), {}, {"A": bytes((1 << 20) + 1)}),
    ),
    "a secret is not there": (NotFound, lambda org, draft: delete_secrets(draft, org.profile("staging"), {}, ["A"])),
}


def bot(org: TestOrg) -> Any:
    return next(agent for agent in org.state.agents.values() if agent.name == "bot")


@pytest.mark.parametrize("name", ACTS)
def test_an_act_that_is_not_possible_is_told(org: TestOrg, name: str) -> None:
    error, act = ACTS[name]
    with pytest.raises(error) as caught:
        act(org, org.draft())
    assert type(caught.value) is error


def test_secrets_are_read_written_renamed_in_no_way_and_deleted(org: TestOrg) -> None:
    vault, profile = Vault(org.operator()), org.profile("production")
    known = read_secrets(vault, profile)
    assert {name: item.secret.value for name, item in known.items()} == {
        "API_KEY": b"first value",
        "DATABASE_URL": b"second value",
    }
    values = {"API_KEY": b"first value", "NEW": b"\xff\0"}
    difference = compare(known, values, prune=True)
    assert (difference.added, difference.changed, difference.unchanged, difference.removed) == (
        ("NEW",),
        (),
        ("API_KEY",),
        ("DATABASE_URL",),
    )
    vault.commit(lambda draft: write_secrets(draft, profile, known, values, prune=True))
    after = read_secrets(vault, profile)
    assert {name: (item.version, item.secret.value) for name, item in after.items()} == {
        "API_KEY": (1, b"first value"),
        "NEW": (1, b"\xff\0"),
    }
    vault.commit(lambda draft: write_secrets(draft, profile, after, {"API_KEY": b"first value"}, notes={"API_KEY": b"note"}))
    assert read_secrets(vault, profile)["API_KEY"].version == 2
    vault.commit(lambda draft: delete_secrets(draft, profile, after, ["NEW", "NEW"]))
    assert list(read_secrets(vault, profile)) == ["API_KEY"]
    assert not difference.is_empty
    assert compare(known, {}).is_empty


@pytest.mark.parametrize("how", ["dropped", "swapped", "changed"])
def test_secrets_delivered_to_an_operator_are_those_of_the_contents(org: TestOrg, how: str) -> None:
    vault, profile = Vault(org.operator()), org.profile("production")

    def forge(target: str, body: bytes) -> bytes:
        if not target.endswith("/contents"):
            return body
        found = decode_ciphertexts(body)
        (one, first), (two, second) = found.ciphertexts.items()
        forged = {
            "dropped": {one: first},
            "swapped": {one: second, two: first},
            "changed": {one: first, two: second + b"x"},
        }[how]
        return found.replace(ciphertexts=forged).encode()

    org.server.forge = forge
    with pytest.raises(IntegrityError):
        read_secrets(vault, profile)


def test_a_profile_is_bounded(org: TestOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    draft, profile = org.draft(), org.profile("staging")
    monkeypatch.setattr(profiles_module, "MAX_SECRETS", 1)
    with pytest.raises(UsageError, match="would hold 2 secrets"):
        write_secrets(draft, profile, {}, {"A": b"", "B": b""})
    monkeypatch.setattr(profiles_module, "MAX_CIPHERTEXT", 1)
    with pytest.raises(UsageError, match="when encrypted"):
        write_secrets(draft, profile, {}, {"A": b"12"})


def test_a_revoked_token_leaves_document_and_groups(org: TestOrg) -> None:
    agent = bot(org)
    (token_id,) = agent.tokens
    org.commit(lambda draft: revoke(draft, agent, token_id))
    assert not bot(org).tokens
    assert token_id not in org.state.leaves("members", org.group("production").id)


def test_a_profile_that_nobody_was_granted_gets_a_new_key_with_its_first_group(org: TestOrg) -> None:
    org.commit(lambda draft: create_profile(draft, "lonely", with_group=False))
    before = org.profile("lonely")
    org.commit(lambda draft: grant(draft, org.group("staging"), before))
    after = org.profile("lonely")
    assert (after.epoch, after.kcv == before.kcv) == (2, False)
    assert org.draft().keys.profile(after.id).kcv == after.kcv


def test_nothing_is_written_to_a_profile_that_nobody_was_granted(org: TestOrg) -> None:
    """Not in the commit that makes it either, when its key is at hand: nobody could ever open it."""
    draft = org.draft()
    with pytest.raises(UsageError, match="granted to no group"):
        write_secrets(draft, create_profile(draft, "lonely", with_group=False), {}, {"A": b"1"})


def test_names_and_ids_are_found(org: TestOrg) -> None:
    state, agent = org.state, bot(org)
    (token_id,) = agent.tokens
    assert find_agent(state.agents, "BOT") == find_agent(state.agents, shown_id("agent", agent.id)) == agent
    assert find_group(state.groups, "production").name == find_profile(state.profiles, "Production").name
    assert find_operator(state, "EVE") == org.id("eve")
    for text in (shown_id("token", token_id), f"shat_…{agent.tokens[token_id].last4}", "ci", "bot/ci"):
        assert find_token(state, text)[1] == token_id
    with pytest.raises(NotFound) as caught:
        find_profile(state.profiles, "productoin")
    assert caught.value.hint == "Did you mean 'production'?"
    with pytest.raises(NotFound):
        find_token(state, "ghost")
    other = org.commit(lambda draft: create_agent(draft, "other", []))
    org.commit(lambda draft: mint(draft, other, "ci", ADDRESS))
    with pytest.raises(UsageError, match="2 tokens are called"):
        find_token(org.state, "ci")


def test_a_minted_token_pins_the_org_document_and_the_head_that_adds_it(org: TestOrg) -> None:
    token = org.tokens["ci"].token
    assert (token.pin, token.floor) == (org.state.org.document.sha256, org.state.seq)
    stored = bot(org).tokens[org.tokens["ci"].token_id]
    assert (stored.last4, stored.created_by) == (token.last4, org.id("ada"))
    assert digest(org.server.blobs[stored.seal_sha256]) == stored.seal_sha256
    assert repr(org.tokens["ci"]) == f"NewToken({org.tokens['ci'].token_id.hex()})"


@pytest.mark.parametrize("end", ["the token's", "the agent's"])
def test_an_agent_brings_no_token_past_its_end_into_a_group(org: TestOrg, end: str) -> None:
    group = org.commit(lambda draft: create_group(draft, "other"))
    live = set(bot(org).tokens)
    old = org.commit(lambda draft: mint(draft, bot(org), "old", ADDRESS, not_after=NOW + 60))
    if end == "the agent's":
        org.commit(lambda draft: draft.put(bot(org).replace(not_after=NOW + 60)))
        live = set()
    org.now = NOW + 60
    gone = org.commit(lambda draft: add_agent(draft, group, draft.agents()[bot(org).id]))
    assert set(gone) == ({"old"} if live else {token.name for token in old.agent.tokens.values()})
    assert set(bot(org).tokens) == live
    for each in (group, org.group("production")):
        leaves = org.state.group_members(each.id).values()
        assert len([leaf for leaf in leaves if leaf.kind == "token"]) == len(live)
    assert group.id in bot(org).groups
