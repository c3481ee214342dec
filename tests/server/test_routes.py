"""Every route × every kind of caller, each cell run: an agent reads its profiles and can do nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stronghold_cli.crypto.keys import TokenSecret
from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.messages import encode_ahead, encode_blobs
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.request_kinds import REQUEST_KINDS
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.vault.evidence import is_as_signed
from stronghold_server.routes import PAGES, ROUTES, Route
from tests.server.furnished import Furnished, furnish
from tests.server.support import Person, Reply, TestOrg, World

ALL_ROUTES = (*ROUTES, *PAGES)
CALLERS = (
    "nobody", "live agent", "paused agent", "revoked token", "reader", "auditor", "editor", "admin", "admin of another org",
)  # fmt: skip

# What each caller gets on each route, in the order of CALLERS. "ok" is 200; a code in brackets leaves no audit entry.
# "sync", "keys", … are asked about the org of the callers; on "self" and "pull" the org is that of the token.
_NOT_SIGNED = "(TOKEN_MISSING)"
_NOT_FOR_OPERATORS = "(FORBIDDEN)"
_STRANGER = "(OPERATOR_UNKNOWN)"
_OPEN = ("(ok)",) * 9
_AGENTS = ("FORBIDDEN", "FORBIDDEN", "FORBIDDEN")
TABLE = {
    "healthz": _OPEN,
    "readyz": _OPEN,
    "openapi": _OPEN,
    "setup": _OPEN,
    # The org exists: what is left of this route is that its first operator may repeat the very same request.
    "genesis": (_NOT_SIGNED, *_AGENTS, "CONFLICT", "CONFLICT", "CONFLICT", "CONFLICT", _STRANGER),
    "commit": (_NOT_SIGNED, *_AGENTS, "FORBIDDEN", "FORBIDDEN", "COMMIT_REFUSED", "ok", _STRANGER),
    "blobs": (_NOT_SIGNED, *_AGENTS, "FORBIDDEN", "FORBIDDEN", "ok", "ok", _STRANGER),
    "blobs-ahead": (_NOT_SIGNED, *_AGENTS, "FORBIDDEN", "FORBIDDEN", "ok", "ok", _STRANGER),
    "blobs-forget": (_NOT_SIGNED, *_AGENTS, "FORBIDDEN", "FORBIDDEN", "ok", "ok", _STRANGER),
    "turn": (_NOT_SIGNED, *_AGENTS, "FORBIDDEN", "FORBIDDEN", "FORBIDDEN", "ok", _STRANGER),
    "sync": (_NOT_SIGNED, *_AGENTS, "ok", "ok", "ok", "ok", _STRANGER),
    "steps": (_NOT_SIGNED, *_AGENTS, "ok", "ok", "ok", "ok", _STRANGER),
    "keys": (_NOT_SIGNED, *_AGENTS, "ok", "FORBIDDEN", "ok", "ok", _STRANGER),
    "sealing-keys": (_NOT_SIGNED, *_AGENTS, "ok", "FORBIDDEN", "ok", "ok", _STRANGER),
    "contents": (_NOT_SIGNED, *_AGENTS, "PROFILE_FORBIDDEN", "FORBIDDEN", "ok", "ok", _STRANGER),
    "old-keys": (_NOT_SIGNED, *_AGENTS, "PROFILE_FORBIDDEN", "FORBIDDEN", "ok", "ok", _STRANGER),
    "history": (_NOT_SIGNED, *_AGENTS, "PROFILE_FORBIDDEN", "FORBIDDEN", "ok", "ok", _STRANGER),
    "past": (_NOT_SIGNED, *_AGENTS, "ok", "ok", "ok", "ok", _STRANGER),
    "tokens": (_NOT_SIGNED, *_AGENTS, "FORBIDDEN", "ok", "FORBIDDEN", "ok", _STRANGER),
    "audit": (_NOT_SIGNED, *_AGENTS, "FORBIDDEN", "ok", "FORBIDDEN", "ok", _STRANGER),
    # Operators come here with their login key.
    "login": (
        _NOT_SIGNED, *_AGENTS, "(OPERATOR_UNKNOWN)", "(OPERATOR_UNKNOWN)", "(OPERATOR_UNKNOWN)", "ok", _STRANGER,
    ),
    "pull": (_NOT_SIGNED, "ok", "AGENT_PAUSED", "TOKEN_REVOKED", *[_NOT_FOR_OPERATORS] * 5),
    "self": (_NOT_SIGNED, "ok", "AGENT_PAUSED", "TOKEN_REVOKED", *[_NOT_FOR_OPERATORS] * 5),
    "docs": _OPEN,
    "redoc": _OPEN,
    "asset": _OPEN,
}  # fmt: skip


class Cast(Record):
    """All callers, and the org they are asked about."""

    full: Furnished
    tokens: dict[str, bytes]
    people: dict[str, Person]
    other: TestOrg


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    folder: Path = tmp_path_factory.mktemp("server")
    world = World(folder)
    org = TestOrg(world).create()
    full = furnish(org)
    draft = org.draft()
    people = {role: org.add_person(draft, role.title(), role) for role in ("reader", "auditor", "editor")}
    org.apply(draft)
    draft = org.draft()
    group = draft.groups[full.group]
    draft.groups[full.group] = group.replace(operators=(people["editor"].operator_id,))
    org._seal_operator(draft, full.group, people["editor"])
    paused = org.add_agent(draft, "Paused", full.group)
    tokens = {"live agent": full.token, "paused agent": org.mint(draft, paused), "revoked token": full.second_token}
    draft.agents[paused] = draft.agents[paused].replace(state="paused")
    org.revoke(draft, full.agent, full.second_token)
    org.apply(draft)
    other = TestOrg(world, "Other").create()
    people |= {"admin": org.admin, "admin of another org": other.admin}
    yield Cast(full=full, tokens=tokens, people=people, other=other)
    world.close()


def body_for(cast: Cast, kind: str, caller: str) -> bytes:
    """A body that is right in itself, signed by the caller where they can sign documents."""
    org = cast.full.org
    if kind == "genesis":
        org.world.now += 1  # so that it is another genesis of the same org
        return org.genesis(org.world.setup_code()).encode()
    if kind == "commit":
        draft = org.draft(cast.people.get(caller, org.admin))
        org.put(draft, cast.full.profile, f"SECRET_{os.urandom(4).hex()}", b"x")
        return draft.finish().encode()
    if kind == "blobs-forget":
        return encode_ahead([os.urandom(32)])
    return encode_blobs([os.urandom(64)]) if kind == "blobs" else b""


def signer(cast: Cast, kind: str, caller: str) -> tuple[SigningKey, KeyId] | None:
    if caller in cast.tokens:
        token_id = cast.tokens[caller]
        return TokenSecret(cast.full.org.tokens[token_id].token.secret).auth, KeyId(kind="t", raw=token_id)
    person = cast.people.get(caller)
    if person is None:
        return None
    if kind == "login":
        return person.login.login, KeyId(kind="l", raw=person.operator_id)
    return person.keyset.request, KeyId(kind="o", raw=person.operator_id)


def an_asset(world: World) -> str:
    """The name of an asset, as a page has it."""
    return world.call("GET", "/docs").body.decode().partition('"assets/')[2].partition('"')[0]


def required_query(org: TestOrg, route: Route) -> str:
    """The parameters without which a route does not answer."""
    given = {"org": org.pin.hex(), "since": "1", "org_seq": "1"}
    return "&".join(f"{item.name}={given[item.name]}" for item in route.parameters if item.is_required)


def run_cell(cast: Cast, kind: str, caller: str) -> Reply:
    org = cast.full.org
    route = next(route for route in ALL_ROUTES if route.kind == kind)
    target = route.path.format(org=org.org_id.hex(), profile=cast.full.profile.hex(), file=an_asset(org.world))
    target = f"{target}?{required_query(org, route)}".rstrip("?")
    body = body_for(cast, kind, caller)
    who = signer(cast, kind, caller)
    if who is None or not route.key_kind:
        return org.world.call(route.method, target, body=body)
    return org.world.send(*who, route.method, target, body)


def test_table_has_every_route_and_every_caller() -> None:
    assert list(TABLE) == [route.kind for route in ALL_ROUTES]
    assert {len(row) for row in TABLE.values()} == {len(CALLERS)}


def test_every_signed_route_is_a_kind_that_clients_know_in_the_log() -> None:
    assert [route.kind for route in ROUTES if route.key_kind] == list(REQUEST_KINDS)


CELLS = [(kind, caller, expected) for kind, row in TABLE.items() for caller, expected in zip(CALLERS, row, strict=True)]


@pytest.mark.parametrize(("kind", "caller", "expected"), CELLS, ids=[f"{kind}: {caller}" for kind, caller, _ in CELLS])
def test_cell(cast: Cast, kind: str, caller: str, expected: str) -> None:
    org = cast.full.org
    log, other_log = org.world.log(org.org_id), org.world.log(cast.other.org_id)
    reply = run_cell(cast, kind, caller)
    code = expected.strip("()")
    assert (reply.code or "ok") == code, reply.body
    assert (reply.status == 200) == (code == "ok")
    new = org.world.log(org.org_id)[len(log) :]
    if expected.startswith("("):
        assert new == []
    else:
        assert [(entry.kind, entry.outcome, entry.code or "ok") for entry in new] == [
            (kind, "ok" if code == "ok" else "refused", code)
        ]
    assert org.world.log(cast.other.org_id) == other_log
    if code != "ok":
        assert_nothing_leaks(cast, reply)
    elif kind == "commit":
        follow(org)
    for entry in new:
        assert is_as_signed(entry, org.state), "who reads the log must find the request of its kind"


def assert_nothing_leaks(cast: Cast, reply: Reply) -> None:
    assert set(reply.headers) >= {"stronghold-protocol", "stronghold-correlation-id"}
    assert len(reply.body) < 500
    for token_id in cast.tokens.values():
        assert cast.full.org.tokens[token_id].share not in reply.body


def follow(org: TestOrg) -> None:
    """Learn the state that a commit of this test has made."""
    from stronghold_cli.protocol.messages import decode_sync
    from stronghold_cli.protocol.state import advance

    reply = org.get(org.admin, f"/sync?since={org.state.seq}&org_seq={org.state.org.document.seq}")
    org.state = advance(org.state, decode_sync(reply.body))


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
OTHER_METHODS = [
    (route.path, method)
    for route in ALL_ROUTES
    for method in METHODS
    if not any(other.path == route.path and other.method == method for other in ALL_ROUTES)
]


@pytest.mark.parametrize(("path", "method"), OTHER_METHODS)
def test_other_methods_are_not_served(cast: Cast, path: str, method: str) -> None:
    target = path.format(org=cast.full.org.org_id.hex(), profile=cast.full.profile.hex(), file=an_asset(cast.full.org.world))
    key, key_id = signer(cast, "", "admin") or (SigningKey(bytes(32)), KeyId(kind="o", raw=bytes(16)))
    reply = cast.full.org.world.send(key, key_id, method, target)
    assert (reply.status, reply.code) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/pull/",
        "/v1/pulls",
        "/V1/pull",
        "/v1/orgs",
        "/v1/orgs/",
        "/v1/orgs/zz/sync",
        "/v1/orgs/../setup",
        "/metrics",
        "/docs/",
        "/assets",
        "/assets/",
    ],
)
def test_unknown_paths_are_not_found(cast: Cast, path: str) -> None:
    reply = cast.full.org.world.call("GET", path)
    assert (reply.status, reply.code) in ((404, "NOT_FOUND"), (405, "METHOD_NOT_ALLOWED"))
    assert reply.headers["stronghold-protocol"] == "1"


@pytest.mark.parametrize("route", [route for route in ROUTES if route.key_kind], ids=lambda route: route.kind)
def test_parameter_that_is_not_known_is_refused(cast: Cast, route: object) -> None:
    asks: Callable[[str], Reply] = lambda query: _ask(cast, route.kind, query)  # type: ignore[attr-defined]  # noqa: E731
    reply = asks("surprise=1")
    assert (reply.status, reply.code) == (400, "MALFORMED")
    assert cast.full.org.world.last(cast.full.org.org_id).code == "MALFORMED"


def _ask(cast: Cast, kind: str, query: str) -> Reply:
    org = cast.full.org
    route = next(route for route in ROUTES if route.kind == kind)
    target = route.path.format(org=org.org_id.hex(), profile=cast.full.profile.hex())
    caller = "live agent" if route.key_kind == "t" else "admin"
    who = signer(cast, kind, caller)
    assert who is not None
    return org.world.send(
        *who, route.method, f"{target}?{required_query(org, route)}&{query}".replace("?&", "?"), body_for(cast, kind, caller)
    )
