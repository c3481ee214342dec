"""A removal that others overtake: what is unchanged is used again, what anybody may have learnt is not; it gets a turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.leaves import decode_entry_leaf
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import Conflict, Refused, StrongholdError, Unavailable
from stronghold_cli.protocol.messages import Commit, decode_commit
from stronghold_cli.vault.agents import create_agent, mint, revoke
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import add_agent, create_group, grant
from stronghold_cli.vault.keyring import Keyring
from stronghold_cli.vault.profiles import describe_profile, read_secrets, write_secrets
from stronghold_cli.vault.removal import remove_from_group
from tests.support.org import ADDRESS, NOW, VALUES, TestOrg, workshop

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def org() -> TestOrg:
    """The workshop with ``leaver`` and ``other`` in the group production, whose profile the group staging may read, too."""
    org = workshop()
    for name in ("leaver", "other"):
        made = org.commit(lambda draft, name=name: create_agent(draft, name, [org.group("production")]))
        org.tokens[name] = org.commit(
            lambda draft, made=made: mint(draft, org.state.agents[made.id], "first", ADDRESS, not_after=NOW + 100)
        )
    org.commit(lambda draft: grant(draft, org.group("staging"), org.profile("production")))
    return org


def agent(org: TestOrg, name: str) -> Agent:
    return next(item for item in org.state.agents.values() if item.name == name)


def attempts(org: TestOrg, meanwhile: Callable[[], Any]) -> list[Commit]:
    """The commits of a removal that somebody overtakes once, which succeeds all the same."""
    vault, sent = Vault(org.operator()), list[bytes]()
    passed_on = org.server._answer

    def overtake(path: str, query: Any, body: bytes, key_id: Any) -> bytes:
        if path.endswith("/commits"):
            sent.append(body)
            if len(sent) == 1:
                meanwhile()
        return passed_on(path, query, body, key_id)

    org.server._answer = overtake  # type: ignore[method-assign, assignment]
    group = org.group("production")
    vault.commit(lambda draft: remove_from_group(draft, draft.groups()[group.id], [agent(org, "leaver")], []))
    org.server._answer = passed_on  # type: ignore[method-assign]
    assert org.state.groups[group.id].epoch > group.epoch
    # Whoever reads through any of the groups reads on.
    keys = Keyring(org.operator(), org.state)
    profile = org.profile("production")
    for group_id, each in profile.grants.items():
        keys.group(group_id).unwrap(profile.id, profile.epoch, profile.kcv, org.server.blobs[each.wrap_sha256])
    return [decode_commit(body) for body in sent]


def values(org: TestOrg) -> dict[str, bytes]:
    found = read_secrets(Vault(org.operator()), org.profile("production"))
    return {name: item.secret.value for name, item in found.items()}


def test_only_what_changed_meanwhile_is_encrypted_anew(org: TestOrg) -> None:
    def write() -> None:
        known = read_secrets(Vault(org.operator("eve")), org.profile("production"))
        org.commit(lambda draft: write_secrets(draft, org.profile("production"), known, {"API_KEY": b"theirs"}), "eve")

    first, second = attempts(org, write)
    (api_key,) = (item.id for name, item in read_secrets(Vault(org.operator()), org.profile("production")).items()
                  if name == "API_KEY")  # fmt: skip
    entry = decode_entry_leaf(org.state.leaves("entries", org.profile("production").id)[api_key])
    assert [entry.ciphertext_sha256] == [sha for sha in hashes(second) if sha not in hashes(first)]
    assert len(first.blobs) == len(second.blobs)
    assert values(org) == {**VALUES, "API_KEY": b"theirs"}


def hashes(commit: Commit) -> list[bytes]:
    return [digest(blob) for blob in commit.blobs]


def _somebody_leaves_the_group(org: TestOrg) -> None:
    other = agent(org, "other")
    org.commit(lambda draft: remove_from_group(draft, org.group("production"), [other], []))


def _a_token_of_the_group_is_revoked(org: TestOrg) -> None:
    org.commit(lambda draft: revoke(draft, agent(org, "other"), org.tokens["other"].token_id))


def _somebody_joins_the_group(org: TestOrg) -> None:
    org.commit(lambda draft: create_agent(draft, "new", [org.group("production")]))
    org.commit(lambda draft: mint(draft, agent(org, "new"), "first", ADDRESS))


def _a_token_of_the_group_ends(org: TestOrg) -> None:
    """By the clock alone; the commit between only makes the conflict."""
    org.now = NOW + 100
    org.commit(lambda draft: create_group(draft, "more"))


def _the_group_is_renamed(org: TestOrg) -> None:
    """Every document in the ctx must be unchanged: section 5 makes no exceptions."""
    group = org.group("production")
    org.commit(lambda draft: draft.put(group.replace(name="renamed")))


@pytest.mark.parametrize(
    "how",
    [
        _somebody_leaves_the_group,
        _a_token_of_the_group_is_revoked,
        _somebody_joins_the_group,
        _a_token_of_the_group_ends,
        _the_group_is_renamed,
    ],
)
def test_no_key_is_used_again_where_the_members_are_others(org: TestOrg, how: Callable[[TestOrg], None]) -> None:
    """The server has what the first attempt sealed: whoever has gone since would hold the new keys."""
    first, second = attempts(org, lambda: how(org))
    assert not set(first.blobs) & set(second.blobs)
    assert values(org) == VALUES


def _another_group_gets_a_new_key(org: TestOrg) -> None:
    org.commit(lambda draft: remove_from_group(draft, org.group("staging"), [agent(org, "other")], []))


def _the_profile_is_described_anew(org: TestOrg) -> None:
    org.commit(lambda draft: describe_profile(draft, org.profile("production"), "described"))


@pytest.mark.parametrize("how", [_another_group_gets_a_new_key, _the_profile_is_described_anew])
def test_no_profile_key_is_used_again_where_the_profile_or_its_groups_are_others(
    org: TestOrg, how: Callable[[TestOrg], None]
) -> None:
    org.commit(lambda draft: add_agent(draft, org.group("staging"), agent(org, "other")))
    first, second = attempts(org, lambda: how(org))
    assert not set(first.blobs) & set(second.blobs) - {blob for blob in first.blobs if len(blob) == 1170}
    assert values(org) == VALUES


class Overtaking:
    """Somebody commits before every commit arrives; keeps what is asked of the server."""

    def __init__(self, org: TestOrg, turn: StrongholdError | None = None) -> None:
        self.asked = list[str]()
        passed_on = org.server._answer

        def answer(path: str, query: Any, body: bytes, key_id: Any) -> bytes:
            name = path.rsplit("/", 1)[-1]
            if name in {"commits", "turn"}:
                self.asked.append(name)
            if name == "turn" and turn is not None:
                raise turn
            if name == "commits" and (turn is not None or "turn" not in self.asked):
                org.commit(lambda draft: create_group(draft, f"more {len(self.asked)}"))
            return passed_on(path, query, body, key_id)

        org.server._answer = answer  # type: ignore[method-assign, assignment]


def test_an_admin_who_was_overtaken_asks_for_a_turn(org: TestOrg) -> None:
    vault, others = Vault(org.operator()), Overtaking(org)
    vault.commit(lambda draft: create_group(draft, "wanted"))
    assert others.asked == ["commits", "turn", "commits"]


@pytest.mark.parametrize("turn", [Refused("NOT_FOUND", "an older server"), Unavailable("The connection broke.")])
def test_without_a_turn_the_act_is_carried_out_again_all_the_same(org: TestOrg, turn: StrongholdError) -> None:
    vault, others = Vault(org.operator()), Overtaking(org, turn)
    with pytest.raises(Conflict, match="at every attempt"):
        vault.commit(lambda draft: create_group(draft, "wanted"))
    assert others.asked == ["commits", *["turn", "commits"] * 7]


def test_an_editor_asks_for_no_turn(org: TestOrg) -> None:
    vault, others = Vault(org.operator("eve")), Overtaking(org, Refused("FORBIDDEN", "no"))

    def act(draft: Draft) -> None:
        write_secrets(draft, draft.profiles()[org.profile("production").id], {}, {"NEW": b"value"})

    with pytest.raises(Conflict):
        vault.commit(act)
    assert others.asked == ["commits"] * 8


def test_a_change_that_is_too_large_says_what_can_be_done(org: TestOrg) -> None:
    vault = Vault(org.operator())

    def refuse(target: str, body: bytes) -> bytes:
        if target.endswith("/commits"):
            raise Refused("TOO_LARGE", "no")
        return body

    org.server.forge = refuse
    with pytest.raises(Refused) as caught:
        vault.commit(lambda draft: create_group(draft, "more"))
    assert (caught.value.code, "0 MiB stand in it" in caught.value.message) == ("TOO_LARGE", True)
    assert "STRONGHOLD_MAX_AHEAD_BYTES" in caught.value.hint
