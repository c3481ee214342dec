"""What a commit did, in words: each act with its subject and its difference, and nothing where nothing was done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.protocol.documents.agent import NO_LIMITS
from stronghold_cli.vault.agents import create_agent, mint, revoke
from stronghold_cli.vault.differences import ACTS, acts_between
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import add_agent, add_operator, create_group, grant
from stronghold_cli.vault.lockdowns import Wanted, lift, lock_down
from stronghold_cli.vault.profiles import create_profile, delete_secrets, read_secrets, write_secrets
from tests.support.org import ADDRESS, TestOrg, renew_group, workshop

pytestmark = pytest.mark.usefixtures("home")


def bot(org: TestOrg) -> Any:
    return next(agent for agent in org.state.agents.values() if agent.name == "bot")


def edit_token(org: TestOrg, **members: Any) -> Any:
    agent = bot(org)
    ((token_id, token),) = agent.tokens.items()
    return agent.replace(tokens={token_id: token.replace(**members)})


def secret_of(org: TestOrg, name: str = "production") -> bytes:
    return min(org.state.entries(org.profile(name).id))


STOP = Wanted(all=False, groups=("staging",), agents=("bot",), labels=("env=ci",), reason="leak")
Commit = Callable[[TestOrg, Draft], Any]
CASES: dict[str, tuple[Commit, list[tuple[str, str, tuple[str, ...]]]]] = {
    "agent": (
        lambda org, draft: create_agent(draft, "new", [org.group("staging")]),
        [("agent-create", "new", ()), ("group-add", "staging", ("agent 'new'",))],
    ),
    "rename": (
        lambda org, draft: draft.put(bot(org).replace(name="robot")),
        [("agent-rename", "robot", ("'bot' → 'robot'",))],
    ),
    "pause": (lambda org, draft: draft.put(bot(org).replace(state="paused")), [("agent-pause", "bot", ())]),
    "label": (
        lambda org, draft: draft.put(bot(org).replace(labels={"env": "x", "zone": "1"})),
        [("agent-label", "bot", ("-env=ci", "+env=x", "+zone=1"))],
    ),
    "edit": (
        lambda org, draft: draft.put(bot(org).replace(description="d", not_after=2**40)),
        [("agent-edit", "bot", ("description", "expiry"))],
    ),
    "mint": (lambda org, draft: mint(draft, bot(org), "two", ADDRESS), [("token-mint", "bot/two", ("two shat_…",))]),
    "revoke": (
        lambda org, draft: revoke(draft, bot(org), next(iter(bot(org).tokens))),
        [("token-revoke", "bot/ci", ("ci shat_…",))],
    ),
    "deprecate": (
        lambda org, draft: draft.put(edit_token(org, state="deprecated", not_after=2**40)),
        [("token-deprecate", "bot/ci", ("ci shat_…",)), ("token-edit", "bot/ci", ("ci shat_…", "expiry"))],
    ),
    "limits": (
        lambda org, draft: draft.put(edit_token(org, limits=NO_LIMITS.replace(uses=5), name="c")),
        [("token-edit", "bot/c", ("c shat_…", "name", "limits"))],
    ),
    "group": (lambda org, draft: create_group(draft, "more"), [("group-create", "more", ())]),
    "group's name": (
        lambda org, draft: draft.put(org.group("staging").replace(name="stage")),
        [("group-rename", "stage", ("'staging' → 'stage'",))],
    ),
    "agent into group": (
        lambda org, draft: add_agent(draft, org.group("staging"), bot(org)),
        [("group-add", "staging", ("agent 'bot'",))],
    ),
    "operator into group": (
        lambda org, draft: add_operator(draft, org.group("staging"), org.id("rob")),
        [("group-add", "staging", ("operator 'rob'",))],
    ),
    "grant": (
        lambda org, draft: grant(draft, org.group("production"), org.profile("staging")),
        [("group-grant", "production", ("profile 'staging'",))],
    ),
    "re-key": (
        lambda org, draft: renew_group(draft, org.group("production"), frozenset([org.id("eve")])),
        [
            ("group-remove", "production", ("operator 'eve'",)),
            ("group-rekey", "production", ("epoch 2",)),
            ("profile-rekey", "production", ("epoch 2",)),
        ],
    ),
    "profile": (
        lambda org, draft: create_profile(draft, "new"),
        [("group-create", "new", ()), ("profile-create", "new", ()), ("group-grant", "new", ("profile 'new'",))],
    ),
    "profile's name": (
        lambda org, draft: draft.put(org.profile("staging").replace(name="stage", description="d")),
        [("profile-rename", "stage", ("'staging' → 'stage'",)), ("profile-edit", "stage", ("description",))],
    ),
    "editors": (
        lambda org, draft: draft.put(org.profile("production").replace(editors=())),
        [("profile-edit", "production", ("-editor 'eve'",))],
    ),
    "purge": (
        lambda org, draft: draft.raise_oldest(org.profile("production").id, secret_of(org), 2),
        [("secret-purge", "production", ("se_ID before version 2",))],
    ),
    "lockdown": (
        lambda org, draft: lock_down(draft, STOP),
        [("lockdown", "ld_ID", ("agent 'bot'", "group 'staging'", "label env=ci", "reason: leak"))],
    ),
    "lockdown of all": (
        lambda org, draft: lock_down(draft, STOP.replace(all=True, groups=(), agents=(), labels=())),
        [("lockdown", "ld_ID", ("all agents", "reason: leak"))],
    ),
}  # fmt: skip


def shown(text: str) -> str:
    """Without ids and the ends of tokens."""
    words = []
    for word in text.split(" "):
        if word.startswith(("se_", "ld_")):
            word = word[:3] + "ID"
        words.append("shat_…" if word.startswith("shat_…") else word)
    return " ".join(words)


def done(org: TestOrg, act: Commit) -> list[tuple[str, str, tuple[str, ...]]]:
    before = org.state
    org.commit(lambda draft: act(org, draft))
    acts = acts_between(before, org.state)
    assert {each.action for each in acts} <= set(ACTS)
    return [(each.action, shown(each.subject.name), tuple(map(shown, each.details))) for each in acts]


@pytest.mark.parametrize("name", CASES)
def test_an_act_is_told_with_subject_and_difference(name: str) -> None:
    act, expected = CASES[name]
    org = workshop()
    if name == "purge":
        values = dict.fromkeys(("API_KEY", "DATABASE_URL"), b"other")
        vault_known = _known(org)
        org.commit(lambda draft: write_secrets(draft, org.profile("production"), vault_known, values))
    assert done(org, act) == expected


def _known(org: TestOrg) -> Any:
    from stronghold_cli.vault.committing import Vault

    return read_secrets(Vault(org.operator()), org.profile("production"))


def test_what_is_undone_is_told_too() -> None:
    org = workshop()
    org.commit(lambda draft: draft.put(bot(org).replace(state="paused")))
    assert done(org, lambda org, draft: draft.put(bot(org).replace(state="active"))) == [("agent-activate", "bot", ())]
    line = org.commit(lambda draft: lock_down(draft, STOP)).lockdown
    (lifted,) = done(org, lambda org, draft: lift(draft, [line.id.hex()]))
    assert lifted[0] == "lockdown-lift"
    org.commit(lambda draft: draft.put(edit_token(org, state="deprecated")))
    assert done(org, lambda org, draft: draft.put(edit_token(org, state="active")))[0][0] == "token-undeprecate"


def test_secrets_are_told_by_their_ids() -> None:
    org = workshop()
    known = _known(org)
    ids = {name: f"se_{item.id.hex()}" for name, item in known.items()}
    before = org.state
    org.commit(lambda draft: write_secrets(draft, org.profile("production"), known, {"API_KEY": b"x", "DATABASE_URL": b"y"}))
    (act,) = acts_between(before, org.state)
    assert (act.action, set(act.details)) == ("secret-set", {f"{id_} version 2" for id_ in ids.values()})
    before, known = org.state, _known(org)
    org.commit(lambda draft: delete_secrets(draft, org.profile("production"), known, ["API_KEY"]))
    (act,) = acts_between(before, org.state)
    assert (act.action, act.details) == ("secret-delete", (f"{ids['API_KEY']} version 3",))
    assert "API_KEY" not in repr(act)


def test_people_and_the_org_itself_are_told() -> None:
    org = workshop()
    before = org.state
    org.add_person("zoe", "reader")
    assert [(act.action, act.subject.name, act.details) for act in acts_between(before, org.state)] == [
        ("member-add", "zoe", ("role reader",))
    ]
    before = org.state
    operators = dict(org.state.org.document.operators)
    operators[org.id("zoe")] = operators[org.id("zoe")].replace(role="auditor")
    del operators[org.id("rob")]
    org.change_org(operators=operators, name="renamed")
    assert {(act.action, act.subject.name) for act in acts_between(before, org.state)} == {
        ("org-edit", "renamed"),
        ("member-role", "zoe"),
        ("member-remove", "rob"),
    }
    assert acts_between(org.state, org.state) == []
    assert [act.action for act in acts_between(None, org.server.states[0])] == ["org-create"]
