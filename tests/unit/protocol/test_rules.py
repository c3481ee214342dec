"""``rules.check_state``: each invariant of a state, broken alone in an otherwise genuine org."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.protocol import rules
from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.base import NO_EXTENSIONS
from stronghold_cli.protocol.documents.invite import Invite
from stronghold_cli.protocol.documents.leaves import ROOT_MEMBER, OldKeyLeaf, decode_entry_leaf
from stronghold_cli.protocol.documents.profile import Grant
from stronghold_cli.protocol.errors import RuleError
from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.rules import check_state
from stronghold_cli.protocol.state import OrgState, Signed
from stronghold_cli.vault.agents import create_agent, mint
from stronghold_cli.vault.groups import add_operator
from tests.support.org import ADDRESS, NOW, TestOrg, renew_group, workshop
from tests.support.states import fitting


def invite(org: TestOrg, id_: bytes = b"i" * 16, key: bytes | None = None) -> Invite:
    return Invite(
        org_id=org.state.org_id,
        id=id_,
        public_key=key or SigningKey(b"i" * 32).public,
        role="reader",
        name="guest",
        created=NOW,
        not_after=NOW + 1,
        **NO_EXTENSIONS,
    )


def with_group(org: TestOrg, **members: object) -> OrgState:
    group = org.group("production").replace(**members)
    return org.state.replace(groups={**org.state.groups, group.id: group})


def with_profile(org: TestOrg, **members: object) -> OrgState:
    profile = org.profile("production").replace(**members)
    return org.state.replace(profiles={**org.state.profiles, profile.id: profile})


def with_agent(org: TestOrg, **members: object) -> OrgState:
    (agent,) = org.state.agents.values()
    return org.state.replace(agents={agent.id: agent.replace(**members)})


def with_token(org: TestOrg, token_id: bytes | None = None, **members: object) -> OrgState:
    (agent,) = org.state.agents.values()
    ((known, token),) = agent.tokens.items()
    return with_agent(org, tokens={token_id or known: token.replace(**members)})


def with_leaf(org: TestOrg, kind: str, key: bytes, value: bytes | None) -> OrgState:
    owner = org.group("production") if kind == "members" else org.profile("production")
    leaves = {id_: leaf for id_, leaf in org.state.leaves(kind, owner.id).items() if id_ != key}
    if value is not None:
        leaves[key] = value
    return org.state.replace(maps={**org.state.maps, (kind, owner.id): leaves})


def with_member(org: TestOrg, member_id: bytes, **members: object) -> OrgState:
    leaf = org.state.group_members(org.group("production").id)[member_id]
    return with_leaf(org, "members", member_id, leaf.replace(**members).encode())


def with_entry(org: TestOrg, **members: object) -> OrgState:
    leaves = org.state.leaves("entries", org.profile("production").id)
    return with_leaf(org, "entries", min(leaves), decode_entry_leaf(leaves[min(leaves)]).replace(**members).encode())


def with_operator(org: TestOrg, id_: bytes, **members: object) -> OrgState:
    document = org.state.org.document
    known = document.operators.get(id_, document.operators[org.id("rob")])
    document = document.replace(operators={**document.operators, id_: known.replace(**members)})
    return org.state.replace(org=Signed(document=document, envelope=org.state.org.envelope))


def with_contents_epoch(org: TestOrg, epoch: int) -> OrgState:
    profile_id = org.profile("production").id
    item = org.state.contents[profile_id]
    changed = item.replace(document=item.document.replace(profile_epoch=epoch))
    return org.state.replace(contents={**org.state.contents, profile_id: changed})


def token_key(org: TestOrg) -> bytes:
    (agent,) = org.state.agents.values()
    (token,) = agent.tokens.values()
    return token.auth_public_key


def token_id(org: TestOrg) -> bytes:
    (agent,) = org.state.agents.values()
    return next(iter(agent.tokens))


def two_agents(org: TestOrg) -> OrgState:
    other = org.commit(lambda draft: create_agent(draft, "other", []))
    return org.state.replace(agents={**org.state.agents, other.id: other.replace(name="BOT")})


NO_GROUP = Grant(epoch=1, wrap_sha256=bytes(32))
OLD = OldKeyLeaf(kcv=bytes(32), box_sha256=bytes(32)).encode()
MEMBERS = "members are not exactly those"
BROKEN: dict[str, tuple[Callable[[TestOrg], OrgState], str]] = {
    "two groups of a name": (lambda org: with_group(org, name="STAGING"), "two groups have the same name"),
    "two profiles of a name": (lambda org: with_profile(org, name="Staging"), "two profiles have the same name"),
    "two agents of a name": (two_agents, "two agents have the same name"),
    "two invites of a name": (
        lambda org: org.state.replace(
            invites={
                bytes(16): invite(org, bytes(16)),
                b"j" * 16: invite(org, b"j" * 16, SigningKey(b"j" * 32).public).replace(name="GUEST"),
            }
        ),
        "two invites have the same name",
    ),
    "an operator's key is a token's": (
        lambda org: with_token(org, auth_public_key=org.keysets["rob"].sign.public),
        "signing key stands in the org twice",
    ),
    "an operator's request key is a token's": (
        lambda org: with_token(org, auth_public_key=org.keysets["rob"].request.public),
        "signing key stands in the org twice",
    ),
    "root's key is a token's": (
        lambda org: with_token(org, auth_public_key=org.root.sign.public),
        "signing key stands in the org twice",
    ),
    "an invite's key is a token's": (
        lambda org: org.state.replace(invites={b"i" * 16: invite(org, key=token_key(org))}),
        "signing key stands in the org twice",
    ),
    "root's sealing key is a token's": (
        lambda org: with_token(org, seal_sha256=org.root.seal.public_sha256),
        "sealing key stands in the org twice",
    ),
    "an operator's sealing key is a token's": (
        lambda org: with_token(org, seal_sha256=org.keysets["rob"].seal.public_sha256),
        "sealing key stands in the org twice",
    ),
    "a token has an operator's id": (lambda org: with_token(org, org.id("ada")), "member id stands in the org twice"),
    "an operator has root's id": (
        lambda org: with_operator(
            org, ROOT_MEMBER, name="zero", seal_sha256=b"z" * 32, sign=token_keys(1), request=token_keys(2)
        ),
        "member id stands in the org twice",
    ),
    "an agent lists no group that exists": (
        lambda org: with_agent(org, groups=(b"g" * 16,)),
        "agent lists a group that does not exist",
    ),
    "an auditor in a group": (lambda org: with_group(org, operators=(org.id("una"),)), "group lists an auditor"),
    "a stranger in a group": (lambda org: with_group(org, operators=(b"o" * 16,)), "operator who does not exist"),
    "an operator without a leaf": (lambda org: with_group(org, operators=(org.id("rob"), org.id("eve"))), MEMBERS),
    "a leaf without an operator": (lambda org: with_group(org, operators=()), MEMBERS),
    "root without a leaf": (lambda org: with_leaf(org, "members", ROOT_MEMBER, None), MEMBERS),
    "an admin without a leaf": (lambda org: with_leaf(org, "members", org.id("ada"), None), MEMBERS),
    "a token without a leaf": (lambda org: with_leaf(org, "members", token_id(org), None), MEMBERS),
    "a leaf without a token": (lambda org: with_agent(org, tokens={}), MEMBERS),
    "a token's leaf in a group that its agent left": (lambda org: with_agent(org, groups=()), MEMBERS),
    "a ghost": (
        lambda org: with_leaf(
            org, "members", b"g" * 16, org.state.leaves("members", org.group("production").id)[org.id("ada")]
        ),
        MEMBERS,
    ),
    "a leaf of another kind": (lambda org: with_member(org, org.id("ada"), kind="root"), MEMBERS),
    "a leaf of another owner": (lambda org: with_member(org, token_id(org), owner=bytes(16)), MEMBERS),
    "a leaf of another sealing key": (lambda org: with_member(org, org.id("ada"), seal_sha256=bytes(32)), MEMBERS),
    "root's leaf of another sealing key": (lambda org: with_member(org, ROOT_MEMBER, seal_sha256=bytes(32)), MEMBERS),
    "a token's leaf of another sealing key": (lambda org: with_member(org, token_id(org), seal_sha256=bytes(32)), MEMBERS),
    "a reader among the editors": (lambda org: with_profile(org, editors=(org.id("rob"),)), "not all editors of the org"),
    "an admin among the editors": (lambda org: with_profile(org, editors=(org.id("ada"),)), "not all editors of the org"),
    "a stranger among the editors": (lambda org: with_profile(org, editors=(b"o" * 16,)), "not all editors of the org"),
    "a grant to no group": (lambda org: with_profile(org, grants={b"g" * 16: NO_GROUP}), "grant names no group"),
    "a grant of another epoch": (lambda org: with_group(org, epoch=2), "not its current epoch"),
    "contents of another epoch": (lambda org: with_contents_epoch(org, 2), "contents does not carry its profile's epoch"),
    "a live entry of another epoch": (lambda org: with_entry(org, epoch=2), "live entry does not carry"),
    "an old key of the current epoch": (
        lambda org: with_leaf(org, "old_keys", (1).to_bytes(8, "big"), OLD),
        "old key is not older",
    ),
    "an invite of an operator": (
        lambda org: org.state.replace(invites={org.id("rob"): invite(org, org.id("rob"))}),
        "invite is still open",
    ),
}


def token_keys(number: int) -> bytes:
    return SigningKey(bytes([number]) * 32).public


@pytest.mark.parametrize("name", BROKEN)
def test_each_broken_invariant_is_told(name: str) -> None:
    change, message = BROKEN[name]
    with pytest.raises(RuleError, match=message):
        check_state(change(workshop()))


def test_genuine_states_keep_every_invariant() -> None:
    org = workshop()
    org.commit(lambda draft: renew_group(draft, org.group("production"), frozenset([org.id("eve")])))
    for state in org.server.states:
        check_state(state)
    check_state(org.state.replace(invites={b"i" * 16: invite(org)}))


def test_an_admin_who_is_also_listed_has_one_leaf() -> None:
    org = workshop()
    org.commit(lambda draft: add_operator(draft, org.group("staging"), org.id("rob")))
    group = org.group("staging").replace(operators=tuple(sorted((org.id("rob"), org.id("ada")))))
    check_state(org.state.replace(groups={**org.state.groups, group.id: group}))


def test_a_deleted_entry_may_keep_an_older_epoch() -> None:
    check_state(with_entry(workshop(), epoch=7, ciphertext_sha256=bytes(32)))


def test_a_profile_holds_a_bounded_number_of_live_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    org = workshop()
    monkeypatch.setattr(rules, "MAX_SECRETS", 2)
    check_state(org.state)
    monkeypatch.setattr(rules, "MAX_SECRETS", 1)
    with pytest.raises(RuleError, match="more than 1 secrets"):
        check_state(org.state)
    check_state(with_entry(org, ciphertext_sha256=bytes(32)))


@pytest.mark.parametrize("name", BROKEN)
def test_after_a_known_state_each_broken_invariant_is_told_alike(name: str) -> None:
    org = workshop()
    change, message = BROKEN[name]
    broken = fitting(change(org))
    check_state(org.state, known=org.state)
    with pytest.raises(RuleError, match=message):
        check_state(broken, known=org.state)


def agent_of(org: TestOrg, name: str) -> Agent:
    return next(agent for agent in org.state.agents.values() if agent.name == name)


def crowd() -> TestOrg:
    """Beside ``bot`` of the group ``production``: ``crawler`` of both groups, with a token, and ``loner`` of none."""
    org = workshop()
    groups = [org.group("production"), org.group("staging")]
    crawler = org.commit(lambda draft: create_agent(draft, "crawler", groups))
    org.commit(lambda draft: mint(draft, draft.agents()[crawler.id], "first", ADDRESS))
    org.commit(lambda draft: create_agent(draft, "loner", []))
    return org


def changed(org: TestOrg, who: str, **members: Any) -> OrgState:
    agent = agent_of(org, who)
    return fitting(org.state.replace(agents={**org.state.agents, agent.id: agent.replace(**members)}))


def without(org: TestOrg, name: str) -> OrgState:
    gone = agent_of(org, name).id
    return fitting(org.state.replace(agents={id_: item for id_, item in org.state.agents.items() if id_ != gone}))


def without_group(org: TestOrg, name: str) -> OrgState:
    gone = org.group(name).id
    return fitting(org.state.replace(groups={id_: item for id_, item in org.state.groups.items() if id_ != gone}))


def moved_token(org: TestOrg) -> OrgState:
    """The crawler's token stands in another agent too, which lists no group."""
    return changed(org, "loner", tokens=dict(agent_of(org, "crawler").tokens))


def same_key(org: TestOrg) -> OrgState:
    (token,) = agent_of(org, "crawler").tokens.values()
    return changed(org, "loner", tokens={b"t" * 16: token})


STEPS: dict[str, tuple[Callable[[TestOrg], OrgState], str]] = {
    "an agent joins a group without a leaf": (
        lambda org: changed(org, "bot", groups=tuple(sorted(org.state.groups))), MEMBERS),
    "an agent leaves a group and its leaf stays": (lambda org: changed(org, "crawler", groups=()), MEMBERS),
    "an agent goes and its leaf stays": (lambda org: without(org, "crawler"), MEMBERS),
    "a token goes and its leaf stays": (lambda org: changed(org, "crawler", tokens={}), MEMBERS),
    "a token comes without a leaf": (
        lambda org: changed(
            org, "crawler",
            tokens={
                **agent_of(org, "crawler").tokens,
                b"t" * 16: next(iter(agent_of(org, "crawler").tokens.values())).replace(
                    auth_public_key=token_keys(5), seal_sha256=b"5" * 32),
            }),
        MEMBERS),
    "a group goes that an agent lists": (lambda org: without_group(org, "staging"), "lists a group that does not exist"),
    "a token stands in two agents": (moved_token, "stands in the org twice"),
    "a key stands in two agents": (same_key, "signing key stands in the org twice"),
    "an agent takes another's name": (lambda org: changed(org, "loner", name="CRAWLER"), "two agents have the same name"),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_what_a_change_of_one_agent_breaks_is_told_with_and_without_a_known_state(name: str) -> None:
    org = crowd()
    change, message = STEPS[name]
    for known in (None, org.state):
        with pytest.raises(RuleError, match=message):
            check_state(change(org), known=known)


def test_a_change_of_one_agent_costs_nothing_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    org = crowd()
    looked: list[str] = []
    agents = org.state.agents

    class Watched(dict[bytes, Agent]):
        def __getitem__(self, id_: bytes) -> Agent:
            looked.append(agents[id_].name)
            return agents[id_]

    state = changed(org, "loner", description="changed")
    check_state(state.replace(agents=Watched(state.agents)), known=org.state.replace(agents=Watched(org.state.agents)))
    assert set(looked) == {"loner"}
    monkeypatch.setattr(rules, "_check_keys_once", lambda _: pytest.fail("looked at again"))
    check_state(state, known=org.state)


def test_a_lockdown_leaves_nothing_to_look_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    org = workshop()
    before = org.state
    structure = before.structure.document.replace(seq=before.seq + 1, lockdowns=())
    after = before.replace(structure=before.structure.replace(document=structure))
    for name in ("_check_names", "_check_keys_once", "_check_agent", "_check_group", "_check_profile"):
        monkeypatch.setattr(rules, name, lambda *_: pytest.fail("looked at again"))
    check_state(after, known=before)
    with pytest.raises(pytest.fail.Exception):
        check_state(fitting(with_group(org, name="renamed")), known=before)
