"""The life of a token: limits, deprecation, rotation with a grace, and its traces in list and log."""

from __future__ import annotations

import re
import stat
import time
from functools import partial
from typing import Any

from stronghold_cli.crypto.keys import TokenSecret
from stronghold_cli.protocol.token import parse_agent_token
from stronghold_server.folder import DATABASE_FILE
from stronghold_server.store.sqlite import SqliteStore
from tests.e2e.more_support import in_parallel, with_token
from tests.e2e.support import Machine, Org, Result, ServerProcess, make_org

PULL = ("env", "pull", "--profile", "production")


def pull(org: Org, token: str) -> Result:
    return org.run(*PULL, env=with_token(token))


def tokens(org: Org) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in org.run("--json", "token", "list").ok().json()}


def told(result: Result, exit_code: int, code: str) -> None:
    assert f'"{code}"' in result.failed(exit_code).err, result.err


def as_json(org: Org, token: str) -> Result:
    return org.run("--json", *PULL, env=with_token(token))


def test_limits_are_shown_and_hold(org: Org) -> None:
    org.make_agent("ci", {"production": {"KEY": "value"}})
    minted = org.run(
        *("token", "mint", "ci", "--name", "limited", "--cidr", "127.0.0.1", "--cidr", "2001:DB8::/32"),
        *("--rate", "1000/min", "--uses", "2"),
    ).ok()
    assert "from 127.0.0.1/32, 2001:db8::/32; at most 1000 in a minute; 2 uses in all" in minted.err
    token = minted.out.strip()
    status = org.run("--json", "auth", "status", env=with_token(token)).ok().json()
    limits = {"addresses": ["127.0.0.1/32", "2001:db8::/32"], "rate": {"requests": 1000, "seconds": 60}, "uses": 2}
    assert status["token"]["limits"] == tokens(org)["limited"]["limits"] == limits
    for _ in range(2):
        assert pull(org, token).ok().out == "KEY=value\n"
    told(as_json(org, token), 4, "TOKEN_EXHAUSTED")
    rows = [line.split("\t") for line in org.run("token", "list").ok().out.splitlines()]
    assert next(row[6] for row in rows if row[1] == "limited") == "2 of 2"
    elsewhere = org.run("--json", "token", "mint", "ci", "--cidr", "10.0.0.0/8", "--cidr", "192.0.2.7").ok().json()
    assert elsewhere["limits"]["addresses"] == ["10.0.0.0/8", "192.0.2.7/32"]
    told(as_json(org, elsewhere["token"]), 4, "ADDRESS_DENIED")
    told(org.run("--json", "auth", "status", env=with_token(elsewhere["token"])), 4, "ADDRESS_DENIED")
    seldom = org.run("token", "mint", "ci", "--rate", "2/h", "--quiet").ok().out.strip()
    for _ in range(2):
        pull(org, seldom).ok()
    began = time.monotonic()
    refused = as_json(org, seldom)
    told(refused, 7, "RATE_LIMITED")
    assert "Try again in 3" in refused.err
    assert time.monotonic() - began < 20, "an hour is not worth waiting for"
    assert pull(org, org.run("token", "mint", "ci", "--quiet").ok().out.strip()).ok()


def test_uses_are_counted_exactly_also_when_all_come_at_once(org: Org) -> None:
    org.make_agent("ci", {"production": {"KEY": "value"}})
    token = org.run("token", "mint", "ci", "--uses", "3", "--quiet").ok().out.strip()
    results = in_parallel([partial(pull, org, token) for _ in range(8)], 8)
    assert sorted(result.code for result in results) == [0] * 3 + [4] * 5


def test_a_deprecated_token_works_warns_and_is_marked_in_the_log(org: Org) -> None:
    token = org.make_agent("ci", {"production": {"KEY": "value"}})
    assert "Deprecated the token 'first'" in org.run("token", "deprecate", "ci/first").ok().err
    for command in (
        PULL,
        ("secret", "get", "KEY", "-p", "production"),
        ("auth", "status"),
        ("run", "-p", "production", "--", "true"),
    ):
        used = org.run(*command, env=with_token(token)).ok()
        assert "warning: the token 'first' is deprecated" in used.err, command
    assert pull(org, token).ok().out == "KEY=value\n"
    assert org.run(*PULL, "--quiet", env=with_token(token)).ok().err == ""
    entries = org.run("--json", "audit", "list").ok().json()
    marked = [each for each in entries if each["who"] == "ci / first"]
    assert {(each["kind"], each["outcome"], each["code"]) for each in marked} == {
        ("pull", "ok", "TOKEN_DEPRECATED"),
        ("self", "ok", "TOKEN_DEPRECATED"),
    }
    assert tokens(org)["first"]["state"] == "deprecated"
    assert "already" in org.run("token", "deprecate", "first").ok().err
    assert "active again" in org.run("token", "undeprecate", "first").ok().err
    assert pull(org, token).ok().err == ""
    assert "already" in org.run("token", "undeprecate", "first").ok().err
    assert org.run("--json", "token", "deprecate", "first").ok().json()["state"] == "deprecated"


def test_a_rotated_token_works_for_the_grace_beside_the_new_one(org: Org) -> None:
    org.make_agent("ci", {"production": {"KEY": "value"}})
    old = org.run("token", "mint", "ci", "--name", "deploy", "--expires-in", "90d", "--rate", "50/s", "-q").ok().out.strip()
    head = org.run("--json", "org", "show").ok().json()["head"]["seq"]
    rotated = org.run("token", "rotate", "ci/deploy", "--output", "new-token").ok()
    assert org.run("--json", "org", "show").ok().json()["head"]["seq"] == head + 1
    file = org.machine.home / "new-token"
    new = file.read_text().strip()
    assert (stat.S_IMODE(file.stat().st_mode), rotated.out) == (0o600, "")
    assert "'deploy' is deprecated and ends" in rotated.err
    told = pull(org, old).ok().err
    assert re.search(r"'deploy' is deprecated and ends in (1 day|23 hours);", told), told
    assert pull(org, new).ok().err == ""
    known = tokens(org)
    assert (known["deploy"]["state"], known["deploy 2"]["state"]) == ("deprecated", "active")
    assert known["deploy 2"]["limits"] == known["deploy"]["limits"]
    end = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 90 * 86_400))
    assert known["deploy 2"]["expires"][:10] in {
        end,
        time.strftime("%Y-%m-%d", time.gmtime(time.time() + 90 * 86_400 - 120)),
    }
    assert "mint" in org.run("token", "rotate", "ci/deploy").failed(6).err
    for wrong in (("--grace", "0"), ("--grace", "soon"), ("--grace", "2y"), ("--rate", "often"), ("--name", "first")):
        org.run("token", "rotate", "ci/deploy 2", *wrong).failed(6 if "first" in wrong else 2)
    assert tokens(org).keys() == {"first", "deploy", "deploy 2"}
    described = org.run("--json", "token", "rotate", "ci/deploy 2", "--uses", "5", "--expires-in", "1d").ok().json()
    assert (described["name"], described["limits"]["uses"], described["limits"]["rate"]) == ("deploy 3", 5, None)


def test_a_rotated_token_ends_with_its_grace_and_the_new_one_goes_on(org: Org) -> None:
    old = org.make_agent("ci", {"production": {"KEY": "value"}})
    new = org.run("token", "rotate", "ci/first", "--grace", "1s", "--quiet").ok().out.strip()
    time.sleep(1.1)
    assert "expired" in pull(org, old).failed(3).err
    assert pull(org, new).ok().out == "KEY=value\n"
    assert "for ever" in org.run("token", "undeprecate", "ci/first").failed(2).err


def test_what_cannot_be_is_told_and_mints_nothing(shared_org: Org) -> None:
    shared_org.make_agent("ci", {"production": {}})
    for wrong, hint in (
        (("--cidr", "10.0.0.1/8"), "10.0.0.0/8"),
        (("--cidr", "10.0.0.0/33"), "10.0.0.0/8"),
        (("--cidr", "everywhere"), "10.0.0.0/8"),
        (("--cidr", ""), "10.0.0.0/8"),
        (("--cidr", "::ffff:10.0.0.0/104"), "IPv4"),
        (("--cidr", "fe80::1%eth0"), "zone"),
        (("--rate", "60"), "60/min"),
        (("--rate", "0/min"), "60/min"),
        (("--rate", "1000001/s"), "60/min"),
        (("--rate", "5/2d"), "60/min"),
        (("--uses", "0"), "from 1"),
        (("--uses", "-1"), ""),
        (("--uses", "many"), ""),
        (("--expires-in", "999999999y"), "shorter"),
        (("--expires-at", "2001-01-01"), "still to come"),
        (tuple(each for n in range(65) for each in ("--cidr", f"10.0.{n}.0/24")), ""),
    ):
        assert hint in shared_org.run("token", "mint", "ci", *wrong).failed(2).err, wrong
    for verb in ("deprecate", "undeprecate", "rotate"):
        assert "'ci/first'" in shared_org.run("token", verb, "ci/frist").failed(5).err
        shared_org.run("token", verb, "tk_" + "0" * 32).failed(5)
        shared_org.run("token", verb).failed(2)
    assert tokens(shared_org).keys() == {"first"}


def test_a_revoked_token_comes_back_in_no_way(org: Org) -> None:
    token = org.make_agent("ci", {"production": {"KEY": "value"}})
    org.run("token", "mint", "ci", "--name", "second").ok()
    org.run("token", "deprecate", "ci/first").ok()
    org.run("token", "revoke", "ci/first", "--yes").ok()
    for verb in ("undeprecate", "deprecate", "rotate"):
        org.run("token", verb, "ci/first").failed(5)
    told(as_json(org, token), 3, "TOKEN_REVOKED")
    org.run("token", "mint", "ci", "--name", "first").ok()
    told(as_json(org, token), 3, "TOKEN_REVOKED")


def test_the_share_of_an_expired_token_is_gone_within_the_hour(machine: Machine, new_server: Any) -> None:
    """At once, where the server has just begun to keep house; and after a restart, without another request."""
    server: ServerProcess = new_server()
    org = make_org(machine, server)
    kept = org.make_agent("kept", {"production": {"KEY": "value"}})
    ended = [org.make_agent(f"agent {number}", {"production": {}}, not_after=int(time.time()) + 2) for number in range(2)]
    time.sleep(2.2)
    assert pull(org, kept).ok()  # a verified request past their end
    server.restart()
    deadline = time.monotonic() + 40
    while any(has_share(server, token) for token in ended):
        assert time.monotonic() < deadline, "the shares are still there"
        time.sleep(0.5)
    assert has_share(server, kept)
    for token in ended:
        told(as_json(org, token), 3, "TOKEN_EXPIRED")
    assert pull(org, kept).ok()


def has_share(server: ServerProcess, token: str) -> bool:
    token_id = TokenSecret(parse_agent_token(token).secret).token_id
    store = SqliteStore(str(server.data_dir / DATABASE_FILE), now=int(time.time()))
    try:
        with store.read() as reader:
            return any(reader.share(org_id, token_id) is not None for org_id in reader.org_ids())
    finally:
        store.close()
