"""``org edit --max-head-age`` and ``org refresh``: how old the newest head may be, and who signs it anew."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable

import pytest

from stronghold_cli.vault.draft import Draft
from tests.e2e.more_support import with_token
from tests.e2e.people import add_people, unlocked
from tests.e2e.support import Machine, Org

HOUR = 3600


def age_head(org: Org, seconds: int) -> None:
    """A commit whose head is dated so many seconds ago."""

    def act(draft: Draft) -> None:
        draft.now = int(time.time()) - seconds
        draft.renew_head()

    with unlocked(org) as vault:
        vault.commit(act)


def test_the_limit_is_set_shown_changed_and_taken_away(org: Org) -> None:
    assert "older than 7 d is refused" in org.run("org", "edit", "--max-head-age", "7d").ok().err
    assert "oldest head 7 d" in org.run("org", "show").ok().out
    assert org.run("--json", "org", "show").ok().json()["policy"]["max_head_age"] == 7 * 24 * HOUR
    before = org.run("--json", "org", "show").ok().json()["head"]["seq"]
    again = org.run("--json", "org", "edit", "--max-head-age", "1w").ok().json()
    assert again == {"changed": False, "max_head_age": 7 * 24 * HOUR, "head": before}
    assert "already" in org.run("org", "edit", "--max-head-age", "7d").ok().err
    assert org.run("--json", "org", "edit", "--max-head-age", "90m").ok().json()["changed"] is True
    assert "oldest head 90 min" in org.run("org", "show").ok().out
    assert "of any age" in org.run("org", "edit", "--max-head-age", "off").ok().err
    assert "oldest head any age" in org.run("org", "show").ok().out
    assert "oldest head 604800 s" in org.run("audit", "list").ok().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Nothing to change"),
        (("--max-head-age", "soon"), "not a duration"),
        (("--max-head-age", "59m"), "between an hour and ten years"),
        (("--max-head-age", "11y"), "between an hour and ten years"),
        (("--max-head-age", ""), "not a duration"),
    ],
)
def test_a_limit_that_is_none_is_refused(shared_org: Org, words: tuple[str, ...], told: str) -> None:
    assert told in shared_org.run("org", "edit", *words).failed(2).err
    assert shared_org.run("--json", "org", "show").ok().json()["policy"]["max_head_age"] == 0


def test_without_a_limit_there_is_nothing_to_sign_anew(shared_org: Org) -> None:
    head = shared_org.run("--json", "org", "show").ok().json()["head"]
    assert "no limit" in shared_org.run("org", "refresh").ok().err
    assert shared_org.run("--json", "org", "refresh").ok().json() == {
        "refreshed": False,
        "max_head_age": 0,
        "head": head["seq"],
    }
    assert shared_org.run("--json", "org", "show").ok().json()["head"] == head


def test_a_head_in_time_is_signed_anew_without_a_question(org: Org) -> None:
    org.run("org", "edit", "--max-head-age", "2h").ok()
    age_head(org, HOUR)
    before = org.run("--json", "org", "show").ok().json()["head"]
    done = org.run("--json", "org", "refresh").ok().json()
    assert done == {"refreshed": True, "max_head_age": 2 * HOUR, "head": before["seq"] + 1}
    after = org.run("--json", "org", "show").ok().json()["head"]
    assert (after["seq"], after["created"] > before["created"]) == (before["seq"] + 1, True)
    assert f"number {after['seq'] + 1}" in org.run("org", "refresh").ok().err


@pytest.mark.usefixtures("terminal_or_skip")
def test_past_the_limit_nobody_reads_or_writes_until_a_person_vouches_for_the_head(
    org: Org, new_machine: Callable[..., Machine]
) -> None:
    token = org.make_agent("ci", {"production": {"API_KEY": "a value of production"}})
    job, target = new_machine(), org.machine.file(".env", "OLD=kept\n")
    pull = ("env", "pull", "-p", "production", "--format", "json")
    org.run("org", "edit", "--max-head-age", "1h").ok()
    assert job.run(*pull, env=with_token(token)).ok().json() == {"API_KEY": "a value of production"}
    age_head(org, 2 * HOUR)
    for words in (
        pull,
        ("env", "pull", "-p", "production", "-o", ".env"),
        ("run", "-p", "production", "--", "env"),
        ("auth", "status"),
    ):
        refused = job.run(*words, env=with_token(token)).failed(8)
        assert (refused.out, "seconds old" in refused.err) == ("", True)
    assert not (job.home / ".env").exists()
    for words in (pull, ("env", "pull", "-p", "production", "-o", ".env"), ("secret", "set", "API_KEY", "-p", "production"),
                  ("org", "show"), ("org", "edit", "--max-head-age", "off")):  # fmt: skip
        refused = org.run(*words, stdin="another value").failed(8)
        assert (refused.out, "stronghold org refresh" in refused.err) == ("", True)
    assert target.read_text() == "OLD=kept\n"
    # Without a person's yes nothing is signed.
    assert "--yes" in org.run("org", "refresh").failed(2).err
    asked = org.machine.type("org", "refresh", answers=[("signed anew? [y/N]", "n")])
    assert "Nothing was changed" in asked.out + asked.err
    org.run("org", "show").failed(8)
    done = org.run("org", "refresh", "--yes").ok()
    assert "Its words, to compare" in done.err
    assert job.run(*pull, env=with_token(token)).ok().json() == {"API_KEY": "a value of production"}
    org.run("secret", "set", "API_KEY", "-p", "production", stdin="another value").ok()


def test_a_locked_operator_unlocks_past_the_limit_to_sign_the_head_anew(org: Org) -> None:
    org.run("org", "edit", "--max-head-age", "1h").ok()
    age_head(org, 2 * HOUR)
    org.run("auth", "lock").ok()
    org.run("org", "refresh", "--yes").failed(3)
    org.run("auth", "unlock", "--passphrase-file", str(org.passphrase_file)).ok()
    org.run("org", "refresh", "--yes").ok()
    org.run("org", "show").ok()


def test_a_device_without_a_mark_neither_logs_in_nor_signs_past_the_limit(
    org: Org, new_machine: Callable[..., Machine]
) -> None:
    org.run("org", "edit", "--max-head-age", "1h").ok()
    fresh = new_machine()
    shutil.copytree(org.machine.home, fresh.home, dirs_exist_ok=True)
    shutil.copytree(org.machine.runtime, fresh.runtime, dirs_exist_ok=True)
    shutil.rmtree(fresh.data / "marks")
    refused = fresh.run("org", "refresh", "--yes").failed(9)
    assert "remembers no state" in refused.err
    age_head(org, 2 * HOUR)
    assert fresh.run("org", "refresh", "--yes").failed(9).out == ""
    empty = new_machine()
    kit = empty.file("kit", next(line for line in (org.machine.home / "kits").read_text().splitlines() if "shok_" in line))
    refused = empty.run("auth", "login", "--kit-file", str(kit), "--passphrase-file", str(org.passphrase_file)).failed(8)
    assert "seconds old" in refused.err


def test_an_editor_signs_the_head_anew_and_other_roles_do_neither(org: Org, new_machine: Callable[..., Machine]) -> None:
    org.run("org", "edit", "--max-head-age", "1h").ok()
    people = {role: new_machine() for role in ("editor", "reader", "auditor")}
    add_people(org, {role: (role, machine) for role, machine in people.items()})
    for machine in people.values():
        machine.run("org", "show").ok()  # and so each has a mark
        assert "role" in machine.run("org", "edit", "--max-head-age", "off").failed(4).err
    for role in ("reader", "auditor"):
        assert "role" in people[role].run("org", "refresh").failed(4).err
    before = org.run("--json", "org", "show").ok().json()["head"]["seq"]
    people["editor"].run("org", "refresh").ok()
    assert org.run("--json", "org", "show").ok().json()["head"]["seq"] == before + 1


def test_without_server_or_org_both_say_so(org: Org, machine: Machine, new_machine: Callable[..., Machine]) -> None:
    for words in (("org", "refresh"), ("org", "edit", "--max-head-age", "7d")):
        new_machine().run(*words).failed(3)
        assert machine.run(*words, env={"STRONGHOLD_URL": "http://127.0.0.1:1"}).failed(7).out == ""
    assert json.loads(org.run("--json", "org", "show").ok().out)["policy"]["max_head_age"] == 0
