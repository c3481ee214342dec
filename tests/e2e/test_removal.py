"""Removal that really removes: who is out reads nothing written later, who stays reads on, and the exposure is told."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable

import pytest

from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import add_operator
from tests.e2e.more_support import ids_in, push, with_token
from tests.e2e.people import add_people, unlocked
from tests.e2e.support import Machine, Org, Result, ServerProcess, end, make_org

PRODUCTION = {"API_KEY": "value-one", "DATABASE_URL": "value-two"}


def pull(org: Org, token: str, profile: str = "production") -> Result:
    return org.run("env", "pull", "--profile", profile, "--format", "json", env=with_token(token))


def epochs(org: Org) -> dict[str, int]:
    """Key epochs by noun and name."""
    groups = {f"group {item['name']}": item["key_epoch"] for item in org.run("--json", "group", "list").ok().json()}
    profiles = [item["name"] for item in org.run("--json", "profile", "list").ok().json()]
    return groups | {
        f"profile {name}": org.run("--json", "profile", "show", name).ok().json()["key_epoch"] for name in profiles
    }


def test_an_agent_that_is_removed_from_a_group_reads_nothing_and_the_others_read_on(org: Org) -> None:
    stays = org.make_agent("stays", {"production": PRODUCTION})
    leaves = org.make_agent("leaves", {"production": {}, "staging": {"STAGED": "three"}})
    removed = org.run("group", "remove", "production", "--agent", "leaves", "--yes").ok()
    assert "Removed 'leaves' from the group 'production'." in removed.err
    assert "1 group, 1 profile; 2 secrets encrypted anew" in removed.err
    assert removed.out == "production: API_KEY (version 1), DATABASE_URL (version 1)\n"
    assert "value-" not in removed.out + removed.err
    pull(org, leaves).failed(4)
    assert pull(org, leaves, "staging").ok().json() == {"STAGED": "three"}
    assert pull(org, stays).ok().json() == PRODUCTION
    push(org, "production", {**PRODUCTION, "API_KEY": "newer"}).ok()
    assert pull(org, stays).ok().json() == {**PRODUCTION, "API_KEY": "newer"}
    assert org.run("env", "pull", "-p", "production", "-f", "json").ok().json() == {**PRODUCTION, "API_KEY": "newer"}
    assert epochs(org) == {"group production": 2, "group staging": 1, "profile production": 2, "profile staging": 1}


def test_json_names_what_was_in_reach_and_what_is_read_on_through_other_groups(org: Org) -> None:
    org.make_agent("ci", {"production": PRODUCTION, "staging": {"STAGED": "three"}})
    org.run("group", "create", "both").ok()
    for profile in ("production", "staging"):
        org.run("group", "grant", "both", profile).ok()
    org.run("group", "add", "both", "--agent", "ci").ok()
    org.run("group", "remove", "staging", "--agent", "ci", "--yes").ok()
    first = org.run("--json", "group", "remove", "production", "--agent", "ci", "--yes").ok()
    assert first.json()["exposed"] == {}
    assert "Still read through other groups: 'production'." in first.err
    second = org.run("--json", "group", "remove", "both", "--agent", "ci", "--yes").ok().json()
    assert second["exposed"] == {"production": {"API_KEY": 1, "DATABASE_URL": 1}, "staging": {"STAGED": 1}}
    ids = ids_in(org)
    assert second["groups"] == [ids["group both"]]
    assert sorted(second["profiles"]) == sorted([ids["profile production"], ids["profile staging"]])


def test_ungranting_takes_the_profile_and_leaves_the_group_its_others(org: Org) -> None:
    token = org.make_agent("ci", {"production": PRODUCTION})
    push(org, "shared", {"B": "2"}).ok()
    org.run("group", "grant", "production", "shared").ok()
    assert pull(org, token, "shared").ok().json() == {"B": "2"}
    done = org.run("group", "ungrant", "production", "shared", "--yes").ok()
    assert done.out == "shared: B (version 1)\n"
    pull(org, token, "shared").failed(4)
    assert pull(org, token).ok().json() == PRODUCTION
    assert epochs(org)["group production"] == 1
    org.run("group", "ungrant", "production", "shared", "--yes").failed(5)


def test_the_only_group_of_a_profile_with_secrets_cannot_be_taken_away(org: Org) -> None:
    token = org.make_agent("ci", {"production": PRODUCTION})
    for words in (("ungrant", "production", "production"), ("delete", "production")):
        refused = org.run("group", *words, "--yes").failed(6)
        assert "lost to everybody" in refused.err
        assert "stronghold profile delete production" in refused.err
    assert pull(org, token).ok().json() == PRODUCTION


def test_a_deleted_group_leaves_agents_and_profiles_in_place(org: Org) -> None:
    token = org.make_agent("ci", {"production": PRODUCTION})
    org.run("group", "create", "other").ok()
    org.run("group", "grant", "other", "production").ok()
    done = org.run("group", "delete", "production", "--yes").ok()
    assert done.out.startswith("production: API_KEY (version 1)")
    pull(org, token).failed(4)
    assert org.run("env", "pull", "-p", "production", "-f", "json").ok().json() == PRODUCTION
    org.run("group", "show", "production").failed(5)
    assert org.run("--json", "agent", "show", "ci").ok().json()["groups"] == []
    org.run("group", "add", "other", "--agent", "ci").ok()
    assert pull(org, token).ok().json() == PRODUCTION
    org.run("group", "create", "production").ok()


def test_a_compromised_agent_is_cut_off_and_works_again_with_a_new_token(org: Org) -> None:
    other = org.make_agent("other", {"production": PRODUCTION})
    token = org.make_agent("ci", {"production": {}})
    done = org.run("agent", "compromised", "ci", "--yes").ok()
    assert done.out == "production: API_KEY (version 1), DATABASE_URL (version 1)\n"
    assert "stronghold token mint ci" in done.err
    assert "TOKEN_REVOKED" in org.run("--json", "env", "pull", "-p", "production", env=with_token(token)).failed(3).err
    assert pull(org, other).ok().json() == PRODUCTION
    minted = org.run("--quiet", "token", "mint", "ci").ok().out.strip()
    assert pull(org, minted).ok().json() == PRODUCTION
    assert epochs(org) == {"group production": 2, "profile production": 2}


def test_a_compromised_token_leaves_the_agent_s_other_tokens_alone(org: Org) -> None:
    first = org.make_agent("ci", {"production": PRODUCTION})
    second = org.run("--quiet", "token", "mint", "ci", "--name", "second").ok().out.strip()
    done = org.run("agent", "compromised", "ci", "--token", "first", "--yes").ok()
    assert "Ended the token 'first' of 'ci'." in done.err
    assert "token mint" not in done.err
    pull(org, first).failed(3)
    assert pull(org, second).ok().json() == PRODUCTION
    assert epochs(org) == {"group production": 2, "profile production": 2}
    org.make_agent("rest", {"staging": {}})
    for name in ("nonsense", "rest/first"):
        assert "'ci' has no live token" in org.run("agent", "compromised", "ci", "--token", name, "--yes").failed(5).err


def test_a_deleted_agent_is_gone(org: Org) -> None:
    other = org.make_agent("other", {"production": PRODUCTION})
    token = org.make_agent("ci", {"production": {}})
    done = org.run("agent", "delete", "ci", "--yes").ok()
    assert "Deleted the agent 'ci' with 1 token." in done.err
    assert done.out == "production: API_KEY (version 1), DATABASE_URL (version 1)\n"
    pull(org, token).failed(3)
    assert pull(org, other).ok().json() == PRODUCTION
    org.run("agent", "delete", "ci", "--yes").failed(5)
    org.run("agent", "create", "ci", "--no-token").ok()


def test_an_agent_that_reached_nothing_says_so(org: Org) -> None:
    org.make_agent("idle")
    org.run("group", "create", "empty").ok()
    org.run("group", "add", "empty", "--agent", "idle").ok()
    removed = org.run("group", "remove", "empty", "--agent", "idle", "--yes").ok()
    assert "No secret was in reach." in removed.err
    assert "no token" not in org.run("agent", "compromised", "idle", "--yes").ok().out
    assert org.run("agent", "delete", "idle", "--yes").ok().out == ""


def test_what_is_not_there_cannot_be_removed_and_the_nearest_is_named(shared_org: Org) -> None:
    shared_org.make_agent("deployer", {"removals": {"A": "1"}})
    shared_org.make_agent("outsider")
    before = shared_org.run("--json", "group", "show", "removals").ok().json()
    assert "Did you mean 'removals'?" in shared_org.run("group", "remove", "removal", "--agent", "x", "--yes").failed(5).err
    assert "'deployer'" in shared_org.run("group", "remove", "removals", "--agent", "deployr", "--yes").failed(5).err
    both = shared_org.run("group", "remove", "removals", "--agent", "deployer", "--agent", "outsider", "--yes").failed(5)
    assert "'outsider' is not in the group 'removals'" in both.err
    assert "admins are members" in shared_org.run("group", "remove", "removals", "--operator", "Ada", "--yes").failed(2).err
    assert "--agent" in shared_org.run("group", "remove", "removals", "--yes").failed(2).err
    for words in (("group", "delete"), ("agent", "delete"), ("agent", "compromised"), ("profile", "delete")):
        shared_org.run(*words, "nowhere", "--yes").failed(5)
        shared_org.run(*words).failed(2)
    shared_org.run("group", "ungrant", "removals", "nowhere", "--yes").failed(5)
    assert shared_org.run("--json", "group", "show", "removals").ok().json() == before


def test_without_a_terminal_a_removal_needs_a_yes_and_nothing_changes(org: Org) -> None:
    token = org.make_agent("ci", {"production": PRODUCTION})
    before = epochs(org)
    for words in (
        ("group", "remove", "production", "--agent", "ci"),
        ("group", "ungrant", "production", "production"),
        ("group", "delete", "production"),
        ("agent", "compromised", "ci"),
        ("agent", "delete", "ci"),
        ("profile", "delete", "production"),
    ):
        assert "--yes" in org.run(*words).failed(2).err
    assert epochs(org) == before
    assert pull(org, token).ok().json() == PRODUCTION


@pytest.mark.usefixtures("terminal_or_skip")
def test_on_a_terminal_a_removal_asks_and_says_what_is_lost(org: Org) -> None:
    org.make_agent("ci", {"production": PRODUCTION})
    for words, question in (
        (("group", "remove", "production", "--agent", "ci"), "Remove 'ci' from the group 'production'? [y/N]"),
        (("agent", "compromised", "ci"), "End the token 'first' of 'ci', and give new keys to 'production'? [y/N]"),
        (("agent", "delete", "ci"), "Delete the agent 'ci' with 1 token for ever"),
        (("profile", "delete", "production"), "only a backup of the server brings them back. 1 agent can no longer pull"),
    ):
        assert "Nothing was changed." in org.machine.type(*words, answers=[(question, "n")]).ok().out
    assert "Removed 'ci'" in org.machine.type(
        "group", "remove", "production", "--agent", "ci", answers=[("[y/N]", "y")]
    ).ok().out  # fmt: skip
    assert epochs(org)["group production"] == 2


def test_tokens_past_their_end_go_with_the_re_key(org: Org) -> None:
    org.make_agent("stays", {"production": PRODUCTION})
    org.make_agent("late", {"production": {}}, not_after=int(time.time()) + 2)
    org.make_agent("leaves", {"production": {}})
    time.sleep(3)
    removed = org.run("group", "remove", "production", "--agent", "leaves", "--yes").ok()
    assert "1 token past the end went, of 'late'." in removed.err
    assert org.run("--json", "agent", "show", "late").ok().json()["tokens"] == []


def test_re_keys_and_new_versions_follow_each_other(org: Org) -> None:
    """The server takes both, though versions are kept under keys of three epochs."""
    org.make_agent("ci", {"production": PRODUCTION})
    for value in ("newer", "newest"):
        org.run("group", "remove", "production", "--agent", "ci", "--yes").ok()
        org.run("secret", "set", "API_KEY", "-p", "production", stdin=value).ok()
        org.run("group", "add", "production", "--agent", "ci").ok()
    assert org.run("secret", "get", "API_KEY", "-p", "production").ok().out.strip() == "newest"
    assert org.run("doctor").ok()


def test_devices_that_remove_from_one_group_at_once_all_end_in_the_state(
    org: Org, new_machine: Callable[..., Machine]
) -> None:
    names = [f"agent {number}" for number in range(4)]
    stays = org.make_agent("stays", {"production": PRODUCTION})
    tokens = {name: org.make_agent(name, {"production": {}}) for name in names}
    machines = [org.machine, *(new_machine() for _ in names[1:])]
    for machine in machines[1:]:
        shutil.copytree(org.machine.home, machine.home, dirs_exist_ok=True)
        shutil.copytree(org.machine.runtime, machine.runtime, dirs_exist_ok=True)
    running = [
        machine.start("group", "remove", "production", "--agent", name, "--yes")
        for machine, name in zip(machines, names, strict=True)
    ]
    for process in running:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        end(process)
    assert org.run("--json", "group", "show", "production").ok().json()["agents"] == ["stays"]
    assert epochs(org) == {"group production": 5, "profile production": 5}
    for token in tokens.values():
        pull(org, token).failed(4)
    assert pull(org, stays).ok().json() == PRODUCTION


def test_agents_that_pull_during_re_keys_get_a_whole_set_each_time(org: Org) -> None:
    token = org.make_agent("stays", {"production": PRODUCTION})
    org.make_agent("other", {"production": {}})
    org.run("group", "create", "second").ok()
    org.run("group", "grant", "second", "production").ok()
    process = org.machine.start("group", "remove", "production", "--agent", "other", "--yes")
    pulls = []
    while process.poll() is None or len(pulls) < 3:
        pulls.append(pull(org, token))
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert all(each.ok().json() == PRODUCTION for each in pulls)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_removal_that_is_interrupted_leaves_the_old_or_the_new_state(org: Org, how: int) -> None:
    stays = org.make_agent("stays", {"production": {f"KEY_{number}": "v" * 200 for number in range(200)}})
    org.make_agent("leaves", {"production": {}})
    for delay in (0.3, 0.5, 0.7):
        process = org.machine.start("group", "remove", "production", "--agent", "leaves", "--yes")
        time.sleep(delay)
        process.send_signal(how)
        process.communicate(timeout=60)
        # 1 and -how: it came before the program had begun, and Python ended by itself.
        assert process.returncode in (0, 1, 130, -how)
        group = org.run("--json", "group", "show", "production").ok().json()
        is_new = group["agents"] == ["stays"]
        assert epochs(org) == {"group production": 1 + is_new, "profile production": 1 + is_new}
        assert len(pull(org, stays).ok().json()) == 200
        assert org.run("doctor").ok()
        if is_new:
            break


def test_a_server_that_goes_away_before_a_removal_leaves_the_old_state(
    machine: Machine, new_server: Callable[..., ServerProcess]
) -> None:
    server = new_server()
    org = make_org(machine, server)
    token = org.make_agent("ci", {"production": PRODUCTION})
    server.stop()
    org.run("group", "remove", "production", "--agent", "ci", "--yes").failed(7)
    server.start()
    assert pull(org, token).ok().json() == PRODUCTION


def test_what_was_encrypted_for_the_removed_leaves_the_server(
    machine: Machine, new_server: Callable[..., ServerProcess]
) -> None:
    """Attack 32: the dump after the removal holds no ciphertext, seal or wrap of the old epoch."""
    server = new_server()
    org = make_org(machine, server)
    org.make_agent("stays", {"production": PRODUCTION})
    org.make_agent("leaves", {"production": {}})
    database = next(server.data_dir.glob("*.db"))

    def blobs() -> set[bytes]:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            return {row[0] for row in connection.execute("SELECT content FROM blobs WHERE length(content) != 1216")}

    before = blobs()
    org.run("group", "remove", "production", "--agent", "leaves", "--yes").ok()
    after = blobs()
    assert not before & after
    # Root's, Ada's and the staying token's seal, one wrap, two secrets.
    assert len(after) == 6
    server.stop()
    files = b"".join(path.read_bytes() for path in server.data_dir.rglob("*") if path.is_file())
    assert not [blob for blob in before if blob in files]


def test_what_an_editor_spoilt_is_named_and_deleted_by_its_id_or_with_the_next_re_key(
    org: Org, new_machine: Callable[..., Machine]
) -> None:
    """An editor's own client can write what no agent takes: noise, an illegal name, and the name of another secret."""
    token, editor = org.make_agent("ci", {"production": PRODUCTION}), new_machine("editor")
    add_people(org, {"Eve": ("editor", editor)})
    with unlocked(org) as vault:
        (eve,) = (id_ for id_, each in vault.state.org.document.operators.items() if each.name == "Eve")
        (group,), (profile,) = vault.state.groups.values(), vault.state.profiles.values()
        vault.commit(lambda draft: (draft.put(profile.replace(editors=(eve,))), add_operator(draft, group, eve)))
    spoilt = {"noise": b"n" * 16, "not legal": b"i" * 16, "API_KEY": bytes(16)}

    def spoil(draft: Draft) -> None:
        key = draft.keys.profile(profile.id)
        for name, id_ in spoilt.items():
            secret = Secret(name=name, value=b"v", note=b"", author=bytes(16), time=0)
            blob = bytes(99) if name == "noise" else key.seal_secret(id_, 1, secret, draft.random)
            draft.write_entry(profile.id, id_, blob, epoch=profile.epoch)

    with unlocked(org, editor) as vault:
        vault.commit(spoil)
    shown = {name: f"se_{id_.hex()}" for name, id_ in spoilt.items()}
    pull(org, token).failed(8)
    for verb in (("secret", "list"), ("secret", "delete", "API_KEY", "--yes"), ("env", "pull")):
        said = org.run(*verb, "-p", "production").failed(8).err
        assert "stronghold secret delete se_… --profile production" in said
        assert all(f"{each} (by Eve)" in said for each in shown.values())
    gone = org.run("secret", "delete", shown["noise"], "-p", "production", "--yes").ok()
    assert gone.err == f"Deleted {shown['noise']} from 'production'.\n"
    org.run("secret", "delete", shown["noise"], "-p", "production", "--yes").failed(5)
    org.run("secret", "list", "-p", "production").failed(8)
    done = org.run("group", "remove", "production", "--operator", "Eve", "--yes", "--json").ok()
    assert sorted(done.json()["unreadable"]) == sorted([shown["not legal"], shown["API_KEY"]])
    for name in ("not legal", "API_KEY"):
        assert f"in 'production' the secret {shown[name]} was deleted" in done.err
    assert pull(org, token).ok().json() == PRODUCTION
    assert org.run("env", "pull", "-p", "production", "-f", "json").ok().json() == PRODUCTION


# An editor's own client: commits to one profile without a pause, and does not wait when it is told to.
_NEVER_STOPS = """
import sys
from stronghold_cli import transport
from stronghold_cli.commands.acting import open_vault
from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.protocol.errors import StrongholdError
transport.MAX_ATTEMPTS = 1
vault = open_vault()
(profile,) = (each for each in vault.state.profiles.values() if each.name == "shared")
secret_id = bytes(16)

def act(draft):
    key, version = draft.keys.profile(profile.id), draft.next_version(profile.id, secret_id)
    secret = Secret(name="NOISE", value=b"x", note=b"", author=draft.keyset.operator_id, time=draft.now)
    blob = key.seal_secret(secret_id, version, secret, draft.random)
    draft.write_entry(profile.id, secret_id, blob, epoch=draft.profiles()[profile.id].epoch)

while True:
    try:
        vault.commit(act)
        print("+", end="", flush=True)
    except StrongholdError as error:
        print(f"({error.code})", end="", flush=True)
        vault.refresh()
"""


def test_an_editor_who_commits_without_a_pause_cannot_keep_a_removal_from_taking_effect(
    org: Org, new_machine: Callable[..., Machine]
) -> None:
    values = {f"KEY_{number}": "x" * 200 for number in range(1500)}
    token, editor = org.make_agent("ci", {"production": values, "shared": {"A": "1"}}), new_machine("editor")
    add_people(org, {"Eve": ("editor", editor)})
    with unlocked(org) as vault:
        (eve,) = (id_ for id_, each in vault.state.org.document.operators.items() if each.name == "Eve")
        (group,) = (each for each in vault.state.groups.values() if each.name == "shared")
        (profile,) = (each for each in vault.state.profiles.values() if each.name == "shared")
        vault.commit(lambda draft: (draft.put(profile.replace(editors=(eve,))), add_operator(draft, group, eve)))
    start = org.run("--json", "org", "show").ok().json()["head"]["seq"]
    noise = editor.start(program=(sys.executable, "-c", _NEVER_STOPS))
    assert noise.stdout is not None
    try:
        assert noise.stdout.read(20) == b"+" * 20
        done = org.run("agent", "compromised", "ci", "--yes", "--json").ok().json()
        assert len(done["exposed"]["production"]) == 1500
        noise.stdout.read1(1 << 20)  # what it wrote until now
        held = time.monotonic()
        while b"+" not in noise.stdout.read1(1 << 20):
            assert time.monotonic() < held + 20, "the editor does not go on after the removal"
    finally:
        end(noise)
    assert org.run("--json", "org", "show").ok().json()["head"]["seq"] > start + 21
    pull(org, token).failed(3)
