"""Operators who are no admins, each on a machine of their own: what their role lets them do; the rest ends with 4."""

from __future__ import annotations

from typing import Any

import pytest

from stronghold_cli.vault.agents import Address, create_agent, mint
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import add_operator, create_group
from stronghold_cli.vault.profiles import create_profile, write_secrets
from tests.e2e.more_support import ids_in, reveals, with_token
from tests.e2e.people import add_people, unlocked
from tests.e2e.support import Machine, Org, Result

VALUES = {"DATABASE_URL": "postgres://one", "API_KEY": "two", "OLD": "three"}
TYPED = "a value that was typed"
ROLES = ("editor", "reader", "auditor")
WRITES, READS, READS_LOG, NOBODY = {"editor"}, {"editor", "reader"}, {"auditor"}, set[str]()

# What is typed, and who of the three may. Editor and reader stand in production's group; the editor may write production.
VERBS: dict[tuple[str, ...], set[str]] = {
    ("profile", "list"): {*ROLES},
    ("agent", "show", "CI"): {*ROLES},
    ("token", "list"): {*ROLES},
    ("audit", "list"): READS_LOG,
    ("env", "pull", "-p", "production"): READS,
    ("secret", "get", "API_KEY", "-p", "production"): READS,
    ("secret", "list", "-p", "production"): READS,
    ("run", "-p", "production", "--", "true"): READS,
    ("env", "pull", "-p", "staging"): NOBODY,
    ("secret", "set", "NEW", "--file", "value", "-p", "production"): WRITES,
    ("secret", "delete", "OLD", "-p", "production", "--yes"): WRITES,
    ("env", "push", "values.env", "-p", "production", "--yes"): WRITES,
    ("secret", "set", "NEW", "--file", "value", "-p", "staging"): NOBODY,
    ("secret", "set", "NEW", "--file", "value", "-p", "readable"): NOBODY,
    ("env", "push", "values.env", "-p", "brand-new", "--yes"): NOBODY,
    ("profile", "create", "made"): NOBODY,
    ("profile", "create", "made", "--no-group"): NOBODY,
    ("agent", "create", "made"): NOBODY,
    ("agent", "create", "made", "--profile", "production", "--no-token"): NOBODY,
    ("group", "create", "made"): NOBODY,
    ("group", "add", "production", "--agent", "idle"): NOBODY,
    ("group", "grant", "spare", "production"): NOBODY,
    ("token", "mint", "CI"): NOBODY,
    ("token", "mint", "idle"): NOBODY,
    ("token", "revoke", "CI/old", "--yes"): NOBODY,
}


class Office:
    """An org with an operator of each role beside its admin; everybody but the auditor may read production."""

    def __init__(self, org: Org, machines: dict[str, Machine]) -> None:
        self.org = org
        self.machines = {"admin": org.machine, **machines}
        self.token = org.make_agent("CI", {"production": VALUES})
        add_people(org, {f"the {role}": (role, machine) for role, machine in machines.items()})
        with unlocked(org) as vault:
            operators = {each.name: id_ for id_, each in vault.state.org.document.operators.items()}
            people = [operators["the editor"], operators["the reader"]]
            vault.commit(lambda draft: self._furnish(draft, people))
        for machine in machines.values():
            machine.file("value", TYPED)
            machine.file("values.env", "PUSHED=1\n")

    def _furnish(self, draft: Draft, people: list[bytes]) -> None:
        """Staging, which only the admin reads; readable, which has no editor; and what the verbs name."""
        for name in ("staging", "readable"):
            write_secrets(draft, create_profile(draft, name), {}, {"STAGED": b"four"})
        for group in list(draft.groups().values()):
            for operator_id in people if group.name != "staging" else ():
                add_operator(draft, draft.groups()[group.id], operator_id)
        (production,) = (each for each in draft.profiles().values() if each.name == "production")
        draft.put(production.replace(editors=(people[0],)))
        (agent,) = draft.agents().values()
        mint(draft, agent, "old", Address(address="vault.example.com", plain_http=False))
        create_agent(draft, "idle", [])
        create_group(draft, "spare")

    def run(self, who: str, *args: str, **options: Any) -> Result:
        """Run a command as the operator of a role."""
        return self.machines[who].run(*args, **options)


@pytest.fixture(scope="module")
def office(shared_org: Org, tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(shared_org, {role: Machine(tmp_path_factory.mktemp(role), user=role) for role in ROLES})


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_may_not_do_ends_with_4_and_changes_nothing(office: Office, role: str) -> None:
    before, words = ids_in(office.org), office.run("admin", "--json", "org", "show").ok().json()["head"]
    refused = {verb: office.run(role, *verb) for verb, roles in VERBS.items() if role not in roles}
    assert {" ".join(verb): result.code for verb, result in refused.items()} == {" ".join(verb): 4 for verb in refused}
    for result in refused.values():
        assert result.failed(4).out == ""
        assert not reveals(result, *VALUES.values(), TYPED, "shat_")
    assert ids_in(office.org) == before
    assert office.run("admin", "--json", "org", "show").ok().json()["head"] == words


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_may_do_is_done(office: Office, role: str) -> None:
    done = {verb: office.run(role, *verb) for verb, roles in VERBS.items() if role in roles}
    assert {" ".join(verb): (result.code, result.err[:80]) for verb, result in done.items() if result.code} == {}


def test_a_reader_pulls_the_values(office: Office) -> None:
    pulled = office.run("reader", "env", "pull", "-p", "production", "--only", "DATABASE_URL,API_KEY", "-f", "json").ok()
    assert pulled.json() == {name: VALUES[name] for name in ("API_KEY", "DATABASE_URL")}


def test_what_an_editor_writes_is_read_by_all_and_admin_and_auditor_see_who_did_it(office: Office) -> None:
    said = office.run("editor", "secret", "set", "EDITED", "--file", "value", "-p", "production").ok()
    assert "Set EDITED in 'production'" in said.err
    pull = ("env", "pull", "-p", "production", "--only", "EDITED", "-f", "json")
    assert office.run("reader", *pull).ok().json() == {"EDITED": TYPED}
    assert office.run("admin", *pull, env=with_token(office.token)).ok().json() == {"EDITED": TYPED}
    listed = office.run("admin", "--json", "secret", "list", "-p", "production").ok().json()
    assert [(each["author"], each["version"]) for each in listed if each["name"] == "EDITED"] == [("the editor", 1)]
    for role in ("admin", "auditor"):
        entries = office.run(role, "--json", "audit", "list", "-n", "500").ok().json()
        done = [(each["kind"], each["outcome"]) for each in entries if each["who"] == "the editor"]
        assert ("commit", "ok") in done


def test_what_the_server_refused_stands_in_the_log_under_who_asked(office: Office) -> None:
    office.run("reader", "audit", "list").failed(4)
    entries = office.run("auditor", "--json", "audit", "list", "-n", "50").ok().json()
    assert ("the reader", "audit", "FORBIDDEN") in [(each["who"], each["kind"], each["code"]) for each in entries]


def test_an_auditor_is_put_into_no_group(office: Office) -> None:
    refused = office.run("admin", "group", "add", "production", "--operator", "the auditor").failed(2)
    assert "auditors read no secrets" in refused.err


@pytest.mark.parametrize("role", ROLES)
def test_status_tells_the_role(office: Office, role: str) -> None:
    office.run(role, "org", "show").ok()
    shown = office.run(role, "--json", "auth", "status").ok().json()["operator"]
    assert (shown["name"], shown["role"]) == (f"the {role}", role)


def test_a_refusal_of_a_role_is_told_as_such(office: Office) -> None:
    refused = office.run("editor", "--json", "profile", "create", "made").failed(4)
    assert '"code": "FORBIDDEN"' in refused.err
    assert "Your role (editor)" in refused.err
    assert "readable" in office.run("editor", "secret", "set", "NEW", "--file", "value", "-p", "readable").failed(4).err
