"""``env diff`` and ``env validate``: names, values only on request, and exit code 11 where something was found."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.e2e.more_support import masks_in, push, with_token
from tests.e2e.support import Machine, Org


@pytest.fixture(scope="module")
def shop(shared_org: Org) -> Org:
    push(shared_org, "staging", {"SAME": "1", "CHANGED": "hunter2", "ONLY_STAGING": "hunter3"}).ok()
    push(shared_org, "production", {"SAME": "1", "CHANGED": "hunter4\nx", "ONLY_PRODUCTION": "hunter5"}).ok()
    return shared_org


def test_a_difference_is_names_alone(shop: Org) -> None:
    shown = shop.run("env", "diff", "staging", "production").ok()
    assert shown.out == "~ CHANGED\n+ ONLY_PRODUCTION\n- ONLY_STAGING\n"
    assert shop.run("env", "diff", "staging", "staging").ok().out == ""
    assert shop.run("--json", "env", "diff", "staging", "production").ok().json() == {
        "first": "staging",
        "second": "production",
        "only_first": ["ONLY_STAGING"],
        "only_second": ["ONLY_PRODUCTION"],
        "different": ["CHANGED"],
        "same": 1,
    }


def test_values_are_shown_on_request_and_masked_for_a_runner(shop: Org) -> None:
    runner = {"GITHUB_ACTIONS": "true"}
    shown = shop.run("env", "diff", "staging", "production", "--show-values", env=runner).ok()
    assert shown.out == (
        "~ CHANGED\n    staging: hunter2\n    production: hunter4\\nx\n+ ONLY_PRODUCTION\n    production: hunter5\n"
        "- ONLY_STAGING\n    staging: hunter3\n"
    )
    assert {b"hunter2", b"hunter3", b"hunter4", b"hunter5"} <= masks_in(shown.err_bytes)
    values = shop.run("--json", "env", "diff", "staging", "production", "--show-values").ok().json()["values"]
    assert values == {
        "CHANGED": ["hunter2", "hunter4\nx"],
        "ONLY_PRODUCTION": [None, "hunter5"],
        "ONLY_STAGING": ["hunter3", None],
    }


def test_an_exit_code_tells_of_a_difference(shop: Org) -> None:
    found = shop.run("env", "diff", "staging", "production", "--exit-code").failed(11)
    assert "differ in 3 secrets" in found.err
    assert "hunter" not in found.err + found.out
    shop.run("env", "diff", "staging", "staging", "--exit-code").ok()


def test_an_agent_compares_what_it_may_read(shop: Org, new_machine: Callable[..., Machine]) -> None:
    environment = with_token(shop.make_agent("comparer", {"staging": {}, "production": {}}))
    assert "~ CHANGED" in new_machine().run("env", "diff", "staging", "production", env=environment).ok().out
    shop.run("profile", "create", "closed").ok()
    new_machine().run("env", "diff", "staging", "closed", env=environment).failed(4)


def test_profiles_that_do_not_exist_are_told(shop: Org) -> None:
    shop.run("env", "diff", "staging", "nowhere").failed(5)
    shop.run("env", "diff", "staging").failed(2)


def test_what_a_list_requires_and_the_profile_lacks_is_named(shop: Org) -> None:
    shop.machine.file(".env.example", "# needed\nSAME=\nCHANGED=example\nexport LACKING=\nALSO_LACKING\nSAME=\n")
    words = ("env", "validate", "--require-from", ".env.example", "--profile", "staging")
    found = shop.run(*words).failed(11)
    assert found.out == "LACKING\nALSO_LACKING\n"
    assert "lacks 2 secrets that .env.example requires: LACKING, ALSO_LACKING." in found.err
    assert "hunter" not in found.err
    as_json = shop.run("--json", *words)
    assert as_json.code == 11
    assert json.loads(as_json.out) == {"profile": "staging", "required": 4, "missing": ["LACKING", "ALSO_LACKING"]}
    shop.machine.file(".env.example", "SAME=\nCHANGED=\n")
    complete = shop.run(*words).ok()
    assert complete.out == complete.err == ""


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [("", 2, "lists no names"), ("A=1\nB-C=\n", 2, "line 2"), ("A='\n", 2, "line 1"), ("\ufeffA=\n", 2, "byte order mark")],
)
def test_a_list_that_is_none_is_told(shop: Org, content: str, code: int, said: str) -> None:
    shop.machine.file("wrong.example", content)
    assert said in shop.run("env", "validate", "--require-from", "wrong.example", "-p", "staging").failed(code).err


def test_a_list_that_is_not_there_is_told(shop: Org) -> None:
    shop.run("env", "validate", "--require-from", "nowhere", "-p", "staging").failed(9)
    shop.run("env", "validate", "-p", "staging").failed(2)
