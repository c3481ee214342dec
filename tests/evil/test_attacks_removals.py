"""Attacks 31 and 32: a removal that is hidden or half done, and what the removed do with a later dump (rule R11)."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import cast

import pytest

from stronghold_cli.commands.acting import open_vault
from stronghold_cli.crypto.keys import GroupKey, ProfileKey
from stronghold_cli.protocol.errors import IntegrityError, Refused
from stronghold_cli.protocol.messages import encode_old_keys
from stronghold_cli.transport import Server
from stronghold_cli.vault import draft as client
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import create_group
from stronghold_cli.vault.removal import remove_from_group
from stronghold_server import commits as server
from tests.e2e.support import Machine, Org
from tests.evil.evil_server import EvilServer
from tests.evil.scene import PRODUCTION, Agent, Scene, files_below, home_of, init_on

VALUE = "value-of-production-one"


def second_device(org: Org, new_machine: Callable[[], Machine]) -> Machine:
    """Another machine of the same person, with everything that the first one remembers."""
    machine = new_machine()
    for source, target in ((org.machine.home, machine.home), (org.machine.runtime, machine.runtime)):
        shutil.copytree(source, target, dirs_exist_ok=True)
    return machine


def drop(draft: Draft) -> None:
    """Take every agent out of its groups, and its leaves, without new keys."""
    for agent in draft.agents().values():
        draft.put(agent.replace(groups=()))
        for group_id in agent.groups:
            for token_id in agent.tokens:
                draft.set_member(group_id, token_id, None)


@pytest.mark.parametrize("how", ["at once", "behind further commits"])
def test_attack_31_a_removal_without_new_keys_by_an_admin_and_the_server(
    evil: EvilServer, new_machine: Callable[[], Machine], how: str
) -> None:
    org = init_on(evil, new_machine())
    token = org.make_agent("deploy", {"production": {"API_KEY": VALUE}})
    other = second_device(org, new_machine)
    with other.here() as patch:
        patch.setattr(client, "check_step", lambda *_: None)
        patch.setattr(server, "check_step", lambda *_: None)
        vault = open_vault()
        with cast("Server", vault.operator.server):
            vault.commit(drop)
        if how == "behind further commits":
            patch.undo()
    if how == "behind further commits":
        other.run("group", "create", "harmless").ok()
        other.run("secret", "set", "HARMLESS", "-p", "production", stdin="harmless").ok()
    Agent(new_machine(), evil, token).run("env", "pull", "-p", "production").failed(4)
    kept = files_below(org.machine.data)
    for words in (
        ("group", "list"),
        ("secret", "set", "API_KEY", "-p", "production"),
        ("secret", "get", "API_KEY", "-p", "production"),
        ("env", "pull", "-p", "production"),
        ("group", "add", "production", "--agent", "deploy"),
    ):
        result = org.run(*words, stdin="value-of-production-two").failed(8)
        assert result.out_bytes == b""
        assert "signed by 'Ada', breaks a rule: a member goes without a new epoch of the group" in result.err
        assert "value-of-production" not in result.err
    assert files_below(org.machine.data) == kept


def test_attack_31_a_genuine_removal_passes_the_same_way(evil: EvilServer, new_machine: Callable[[], Machine]) -> None:
    """The control."""
    org = init_on(evil, new_machine())
    token = org.make_agent("deploy", {"production": {"API_KEY": VALUE}})
    other = second_device(org, new_machine)
    other.run("group", "remove", "production", "--agent", "deploy", "--yes").ok()
    other.run("group", "create", "harmless").ok()
    Agent(new_machine(), evil, token).run("env", "pull", "-p", "production").failed(4)
    assert org.run("secret", "get", "API_KEY", "-p", "production").ok().out.strip() == VALUE


def test_attack_31_the_state_before_a_removal_is_shown_to_who_has_seen_it(
    scene: Scene, new_machine: Callable[[], Machine]
) -> None:
    machine, then = new_machine(), scene.server.snapshot()
    vault = scene.vault(machine, scene.org.admin)
    with home_of(machine):
        vault.commit(lambda draft: remove_from_group(draft, draft.groups()[scene.group], draft.agents().values(), []))
    kept = files_below(machine.data)
    scene.server.restore(then)
    with pytest.raises(Refused) as caught:
        scene.vault(machine, scene.org.admin)
    assert caught.value.code == "ANCHOR_UNKNOWN"
    assert files_below(machine.data) == kept


def test_attack_31_a_ghost_left_in_by_the_server_alone_cannot_stand(
    scene: Scene, new_machine: Callable[[], Machine]
) -> None:
    """The server takes the removal, and shows the leaf that went as if it were still there."""
    machine, device = new_machine(), new_machine()
    scene.vault(device, scene.org.admin)
    vault = scene.vault(machine, scene.org.admin)
    with home_of(machine):
        vault.commit(lambda draft: remove_from_group(draft, draft.groups()[scene.group], draft.agents().values(), []))

    def hide(maps: list[dict[str, object]]) -> list[dict[str, object]]:
        members = next(each for each in maps if each["map"] == "members")
        members["leaves"] = [leaf for leaf in members["leaves"] if leaf[1] is not None]  # type: ignore[attr-defined, index]
        return maps

    with scene.server.lies_in_json("/steps", "steps.0.maps", hide), pytest.raises(IntegrityError):
        scene.vault(device, scene.org.admin)
    with home_of(device):
        assert scene.vault(device, scene.org.admin).state.agents[scene.agent_id].groups == ()


@pytest.mark.parametrize("why", ["removed", "expired"])
def test_attack_32_keys_of_a_former_member_open_nothing_in_a_later_dump(
    scene: Scene, agent: Agent, new_machine: Callable[[], Machine], why: str
) -> None:
    """Every blob of the dump is tried as every kind of box that the former member's keys could open."""
    agent.gets(PRODUCTION)
    group_key, profile_key = scene.org.group_keys[scene.group], scene.org.profile_keys[scene.production]
    secret_id, profile_id = scene.ids["API_KEY"], scene.production
    assert opened(scene, group_key, profile_key, profile_id, secret_id)  # the control
    if why == "expired":
        draft = scene.draft()
        scene.org.change_token(draft, scene.agent_id, scene.token_id, not_after=int(time.time()) + 1)
        scene.org.add_agent(draft, "other", scene.group)
        scene.org.apply(draft)
        time.sleep(1.5)
    machine = new_machine()
    vault = scene.vault(machine, scene.org.admin)
    leaver = "deploy" if why == "removed" else "other"
    with home_of(machine):
        vault.commit(
            lambda draft: remove_from_group(
                draft,
                draft.groups()[scene.group],
                [item for item in draft.agents().values() if item.name == leaver],
                [],
            )
        )
        vault.commit(lambda draft: create_group(draft, "later"))
    state = scene.vault(new_machine(), scene.org.admin).state
    assert scene.token_id not in state.leaves("members", scene.group)
    assert not opened(scene, group_key, profile_key, profile_id, secret_id)
    # Nor with the numbers of the new epochs, which the documents tell.
    group, profile = state.groups[scene.group], state.profiles[profile_id]
    later = (
        GroupKey(group_key.raw, scene.org.org_id, group.id, group.epoch),
        ProfileKey(profile_key.raw, scene.org.org_id, profile_id, profile.epoch),
    )
    assert not opened(scene, *later, profile_id, secret_id)


def opened(scene: Scene, group_key: GroupKey, profile_key: ProfileKey, profile_id: bytes, secret_id: bytes) -> int:
    """How many blobs of the database these keys open, as a profile's key, an older key or a version of the secret."""
    found = 0
    tries: list[Callable[[bytes], object]] = [
        lambda blob: group_key.unwrap(profile_id, profile_key.epoch, profile_key.kcv, blob),
        *(lambda blob, version=version: profile_key.open_secret(secret_id, version, blob) for version in (1, 2)),
        *(lambda blob, old=old: profile_key.unwrap_old(old, profile_key.kcv, blob) for old in (1, 2)),
    ]
    for (blob,) in scene.server.query("SELECT content FROM blobs"):
        for attempt in tries:
            try:
                attempt(bytes(blob))
            except IntegrityError:
                continue
            found += 1
    return found


def test_the_checks_of_the_server_stand_before_those_of_the_operators(scene: Scene) -> None:
    """An honest server refuses what the operators would notice (the second line, rule R20)."""
    draft = scene.draft()
    agent = draft.agents[scene.agent_id]
    draft.agents[scene.agent_id] = agent.replace(groups=())
    draft.leaves("members", scene.group).pop(scene.token_id)
    reply = scene.org.send(draft.finish())
    assert (reply.status, reply.code) == (422, "COMMIT_REFUSED")


def test_an_older_key_that_the_server_withholds_is_not_dropped_for_ever(
    evil: EvilServer, new_machine: Callable[[], Machine]
) -> None:
    """Without it every kept version of its epoch would be unreadable, by an admin's own and signed doing."""
    org = init_on(evil, new_machine())
    for name in ("one", "two", "three"):
        org.make_agent(name, {"production": {"API_KEY": VALUE}})
    org.run("secret", "set", "API_KEY", "-p", "production", stdin="value-of-production-two").ok()
    org.run("group", "remove", "production", "--agent", "one", "--yes").ok()
    before = org.run("--json", "org", "show").ok().json()["head"]
    with evil.lies("/old-keys", lambda *_: (200, encode_old_keys([]))):
        result = org.run("group", "remove", "production", "--agent", "two", "--yes").failed(8)
    assert "withholds an older key of the profile 'production'" in result.err
    assert (result.out, "value-of" in result.err) == ("", False)
    assert org.run("--json", "org", "show").ok().json()["head"] == before
    org.run("group", "remove", "production", "--agent", "two", "--yes").ok()
    shown = org.run("--json", "secret", "history", "API_KEY", "-p", "production", "--show-values").ok().json()
    assert [version["value"] for version in shown] == ["value-of-production-two", VALUE]
