"""Keys of an operator: every blob is the one in the verified state, every key the one that a document commits to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.crypto.keys import Keyset
from stronghold_cli.protocol.errors import IntegrityError, MalformedError, Refused, UsageError
from stronghold_cli.protocol.messages import Keys, decode_keys, decode_sealing_keys, encode_sealing_keys
from stronghold_cli.vault.box_audit import audit_boxes
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.groups import add_agent
from stronghold_cli.vault.keyring import Keyring
from stronghold_cli.vault.profiles import create_profile
from tests.support.org import TestOrg, workshop

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def org() -> TestOrg:
    return workshop()


def ring(org: TestOrg, name: str = "ada") -> Keyring:
    return Keyring(org.operator(name), org.state)


def forge_keys(org: TestOrg, change: Callable[[Keys], Keys]) -> None:
    org.server.forge = lambda target, body: change(decode_keys(body)).encode() if target.endswith("/keys") else body


def test_keys_are_fetched_once_and_are_those_of_the_documents(org: TestOrg) -> None:
    keys, production = ring(org), org.profile("production")
    assert keys.profile(production.id).kcv == production.kcv
    assert keys.profile(org.profile("staging").id).kcv == org.profile("staging").kcv
    assert keys.group(org.group("production").id).kcv == org.group("production").kcv
    assert len(org.server.targets) == 1


def test_seals_and_wraps_of_others_are_refused(org: TestOrg) -> None:
    one, two = org.group("production").id, org.group("staging").id
    forge_keys(org, lambda keys: keys.replace(seals={one: keys.seals[two], two: keys.seals[one]}))
    with pytest.raises(IntegrityError, match="sealed key of the group 'production' is not the one"):
        ring(org).group(one)
    forge_keys(org, lambda keys: keys.replace(seals={}))
    with pytest.raises(IntegrityError, match="sealed key of the group"):
        ring(org).group(one)
    profile = org.profile("production").id
    forge_keys(org, lambda keys: keys.replace(wraps=dict.fromkeys(keys.wraps, b"box")))
    with pytest.raises(IntegrityError, match="boxed key of the profile 'production' is not the one"):
        ring(org).profile(profile)
    forge_keys(org, lambda keys: keys.replace(wraps={}))
    with pytest.raises(IntegrityError, match="boxed key of the profile"):
        ring(org).profile(profile)


def test_who_is_no_member_is_told_so(org: TestOrg) -> None:
    assert ring(org, "eve").profile(org.profile("production").id)
    with pytest.raises(Refused, match="not a member of the group 'staging'"):
        ring(org, "eve").group(org.group("staging").id)
    with pytest.raises(Refused, match="you are in none of its groups"):
        ring(org, "eve").profile(org.profile("staging").id)


def test_a_profile_that_is_granted_to_nobody_has_no_key(org: TestOrg) -> None:
    profile = org.commit(lambda draft: create_profile(draft, "lonely", with_group=False))
    with pytest.raises(UsageError, match="granted to no group"):
        ring(org).profile(profile.id)


def test_a_public_sealing_key_is_the_one_that_the_documents_name(org: TestOrg) -> None:
    """Attack 26: the server swaps a public key when an operator adds an agent."""
    (agent,) = org.state.agents.values()
    honest = ring(org).agent(agent.id)
    assert honest.keys() == {token.seal_sha256 for token in agent.tokens.values()}
    swapped = Keyset(b"s" * 32, org.state.org_id, bytes(16)).seal.public
    org.server.forge = lambda target, body: encode_sealing_keys([swapped]) if "sealing-keys" in target else body
    with pytest.raises(IntegrityError, match="was not delivered"):
        org.commit(lambda draft: add_agent(draft, org.group("staging"), agent))
    with pytest.raises(IntegrityError, match="was not delivered"):
        ring(org).people()


def test_a_sealing_key_of_low_order_is_refused(org: TestOrg) -> None:
    (agent,) = org.state.agents.values()
    org.server.forge = lambda _, body: encode_sealing_keys([*decode_sealing_keys(body), bytes(1216)])
    with pytest.raises(MalformedError, match="low order"):
        ring(org).agent(agent.id)


def test_an_agent_without_tokens_needs_no_keys(org: TestOrg) -> None:
    (agent,) = org.state.agents.values()
    state = org.state.replace(agents={agent.id: agent.replace(tokens={})})
    assert Keyring(org.operator(), state).agent(agent.id) == {}
    assert org.server.targets == []


@pytest.mark.parametrize("name", ["ada", "eve", "rob"])
def test_the_box_audit_opens_every_own_key(org: TestOrg, name: str) -> None:
    audit = audit_boxes(Vault(org.operator(name)))
    own = {"ada": 2, "eve": 1, "rob": 0}[name]
    assert (audit.signatures, audit.groups, audit.profiles) == (4, own, own)
    assert audit.seals == sum(len(org.state.leaves("members", group_id)) for group_id in org.state.groups)


def test_the_box_audit_misses_a_swapped_seal(org: TestOrg) -> None:
    vault = Vault(org.operator())
    forge_keys(org, lambda keys: keys.replace(seals=dict.fromkeys(keys.seals, b"x")))
    with pytest.raises(IntegrityError):
        audit_boxes(vault)


def test_the_box_audit_checks_invariants_and_signers_again(org: TestOrg) -> None:
    vault: Any = Vault(org.operator())
    genuine = vault.state
    (agent,) = genuine.agents.values()
    vault.state = genuine.replace(agents={agent.id: agent.replace(groups=())})
    with pytest.raises(IntegrityError):
        audit_boxes(vault)
    envelope = genuine.head.envelope.replace(signature=bytes(64))
    vault.state = genuine.replace(head=genuine.head.replace(envelope=envelope))
    with pytest.raises(IntegrityError):
        audit_boxes(vault)
