"""Bodies, headers and targets that nobody honest sends: a 4xx with a stable code, never a 500, and nothing stored."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from stronghold_cli.crypto.keys import TokenSecret
from stronghold_cli.protocol.encoding import decode_json, encode_base64, encode_json
from stronghold_cli.protocol.requests import KeyId
from stronghold_server.refusals import STATUSES
from tests.server.furnished import Furnished, furnish
from tests.server.stored import stored
from tests.server.support import Reply, TestOrg, World


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    folder: Path = tmp_path_factory.mktemp("server")
    world = World(folder, max_body_bytes="65536", max_commit_bytes="131072")
    yield furnish(TestOrg(world).create())
    world.close()


def assert_turned_away(full: Furnished, reply: Reply, before: dict[str, list[tuple[object, ...]]]) -> None:
    assert 400 <= reply.status < 500, (reply.status, reply.body)
    assert STATUSES[reply.code] == reply.status
    assert stored(full.org.world) == before


def good_commit(full: Furnished) -> dict[str, object]:
    draft = full.org.draft()
    full.org.mint(draft, full.agent)
    full.org.put(draft, full.profile, "NEW", b"x")
    commit: dict[str, object] = decode_json(draft.finish().encode(), 1 << 20)
    return commit


BODIES = {
    "empty": b"",
    "no JSON": b"<xml/>",
    "null": b"null",
    "list": b"[]",
    "text": b'"commit"',
    "not UTF-8": b'{"changes":"\xff"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "trailing data": b"{} {}",
    "double members": b'{"changes":{},"changes":{},"blobs":[],"shares":{}}',
    "float": b'{"changes":1.5,"blobs":[],"shares":{}}',
    "huge number": b'{"changes":1' + b"0" * 5000 + b',"blobs":[],"shares":{}}',
    "NaN": b'{"changes":NaN,"blobs":[],"shares":{}}',
    "deep": b"[" * 50_000 + b"]" * 50_000,
    "lone surrogate": b'{"changes":"\\ud800","blobs":[],"shares":{}}',
    "zeros": bytes(1000),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("route", ["", "/commits"])
def test_body_that_is_no_strict_json(standing: Furnished, name: str, route: str) -> None:
    before = stored(standing.org.world)
    body = BODIES[name]
    reply = standing.org.post(standing.org.admin, route, body)
    assert_turned_away(standing, reply, before)
    assert reply.code == ("TOO_LARGE" if len(body) > 65_536 and route == "" else "MALFORMED")


@pytest.mark.parametrize("name", BODIES)
def test_genesis_body_that_is_no_strict_json(standing: Furnished, name: str) -> None:
    before = stored(standing.org.world)
    stranger = TestOrg(standing.org.world, "New")
    reply = stranger.post(stranger.admin, "", BODIES[name])
    assert_turned_away(standing, reply, before)
    assert reply.code in ("MALFORMED", "TOO_LARGE")


WRONG_VALUES: tuple[object, ...] = (None, True, -1, 2**53, "", "x", "AAAA", [], [[]], {}, {"x": 1}, "\u202e", "A" * 3000)


def places(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """The way to every value inside a JSON value."""
    if path:
        yield path
    if isinstance(value, dict):
        for name in value:
            yield from places(value[name], (*path, name))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from places(value[index], (*path, index))


def replaced(value: object, path: tuple[object, ...], new: object) -> object:
    """A copy with one value replaced."""
    if not path:
        return new
    first, *rest = path
    if isinstance(value, dict):
        return {name: replaced(item, tuple(rest), new) if name == first else item for name, item in value.items()}
    assert isinstance(value, list)
    return [replaced(item, tuple(rest), new) if index == first else item for index, item in enumerate(value)]


def test_commit_with_any_value_of_a_wrong_type(standing: Furnished) -> None:
    """Every value of a good commit in turn becomes something else; none is accepted, none is an error of the server."""
    org = standing.org
    commit = good_commit(standing)
    before = stored(org.world)
    draw = random.Random(7)
    ways = list(places(commit))
    assert len(ways) > 60
    for path in ways:
        for wrong in draw.sample(WRONG_VALUES, 2):
            body = encode_json(replaced(commit, path, wrong))  # type: ignore[arg-type]
            if body == encode_json(commit):  # type: ignore[arg-type]
                continue
            reply = org.post(org.admin, "/commits", body)
            assert 400 <= reply.status < 500, (path, wrong, reply.body)
            assert reply.code in ("MALFORMED", "COMMIT_REFUSED", "CONFLICT"), (path, wrong, reply.body)
    assert stored(org.world) == before
    assert org.post(org.admin, "/commits", encode_json(commit)).status == 200  # type: ignore[arg-type]
    _follow(org)


def _follow(org: TestOrg) -> None:
    from stronghold_cli.protocol.messages import decode_sync
    from stronghold_cli.protocol.state import advance

    reply = org.get(org.admin, f"/sync?since={org.state.seq}&org_seq={org.state.org.document.seq}")
    org.state = advance(org.state, decode_sync(reply.body))


def test_commit_with_a_member_more_or_less(standing: Furnished) -> None:
    org = standing.org
    commit = good_commit(standing)
    before = stored(org.world)
    objects = [path for path in [(), *places(commit)] if isinstance(_at(commit, path), dict)]
    assert len(objects) > 10
    for path in objects:
        value = _at(commit, path)
        assert isinstance(value, dict)
        more = {**value, "surprise": 1}
        less = dict(list(value.items())[1:])
        for wrong in (more, less):
            reply = org.post(org.admin, "/commits", encode_json(replaced(commit, path, wrong)))  # type: ignore[arg-type]
            assert_turned_away(standing, reply, before)


def _at(value: object, path: tuple[object, ...]) -> object:
    for step in path:
        value = value[step]  # type: ignore[index]
    return value


def test_hostile_leaves_are_refused(standing: Furnished) -> None:
    """Keys and values of leaves that no decoder takes."""
    org = standing.org
    before = stored(org.world)
    commit = good_commit(standing)
    keys = [b"", b"agent/short", b"other/" + bytes(16), bytes(16), os.urandom(100), b"agent/" + bytes(17)]
    values = [b"", bytes(4), b"\xff" * 40, (2**32 - 1).to_bytes(4, "big"), os.urandom(80)]
    for number in range(len(commit["changes"]["maps"])):  # type: ignore[index]
        for key in keys:
            for value in values:
                leaves = [[encode_base64(key), encode_base64(value)]]
                body = encode_json(replaced(commit, ("changes", "maps", number, "leaves"), leaves))  # type: ignore[arg-type]
                assert_turned_away(standing, org.post(org.admin, "/commits", body), before)


@pytest.mark.parametrize(("route", "limit"), [("/commits", 131_072), ("", 65_536)])
def test_body_over_the_limit_is_too_large(standing: Furnished, route: str, limit: int) -> None:
    before = stored(standing.org.world)
    entries = len(standing.org.world.log(standing.org.org_id))
    reply = standing.org.post(standing.org.admin, route, b"x" * (limit + 1))
    assert (reply.status, reply.code) == (413, "TOO_LARGE")
    assert_turned_away(standing, reply, before)
    assert len(standing.org.world.log(standing.org.org_id)) == entries
    assert standing.org.post(standing.org.admin, route, b"x" * limit).code == "MALFORMED"


def test_get_takes_no_body(standing: Furnished) -> None:
    secret = TokenSecret(standing.org.tokens[standing.token].token.secret)
    key_id = KeyId(kind="t", raw=standing.token)
    reply = standing.org.world.send(secret.auth, key_id, "GET", f"/v1/pull?org={standing.org.pin.hex()}", b"x")
    assert (reply.status, reply.code) == (413, "TOO_LARGE")


HOSTILE_VALUES = [
    b"", b" ", b"\x00", b"\xff\xfe", b"a" * 10_000, b"sh=", b"sh=()", b"sh=::", b"sha-256=::", b"{}", b"%s%n", b"\r\nX: y",
    b"sh=(\"@method\");created=1", "ﬀ".encode(),
]  # fmt: skip


@pytest.mark.parametrize("name", [b"content-digest", b"signature-input", b"signature"])
def test_hostile_signature_headers(standing: Furnished, name: bytes) -> None:
    world = standing.org.world
    before = stored(world)
    entries = len(world.log(standing.org.org_id))
    target = f"/v1/pull?org={standing.org.pin.hex()}"
    secret = TokenSecret(standing.org.tokens[standing.token].token.secret)
    for value in HOSTILE_VALUES:
        good = world.sign(secret.auth, KeyId(kind="t", raw=standing.token), "GET", target)
        headers = [(header, value if header == name else other) for header, other in good]
        reply = world.call("GET", target, headers=headers)
        assert_turned_away(standing, reply, before)
        assert reply.code == "MALFORMED"
    assert len(world.log(standing.org.org_id)) == entries


@pytest.mark.parametrize("host", ["", "\x00", "a" * 5000, "ÿ", "[::1", "secrets.test/..", "secrets.test@evil"])
def test_hostile_host(standing: Furnished, host: str) -> None:
    before = stored(standing.org.world)
    reply = standing.org.world.call("GET", "/v1/pull", host=host)
    assert_turned_away(standing, reply, before)


def test_hostile_user_agent_is_kept_apart_and_cut(standing: Furnished) -> None:
    world = standing.org.world
    target = f"/v1/pull?org={standing.org.pin.hex()}"
    secret = TokenSecret(standing.org.tokens[standing.token].token.secret)
    headers = world.sign(secret.auth, KeyId(kind="t", raw=standing.token), "GET", target)
    reply = world.call("GET", target, headers=[*headers, (b"user-agent", b"\xff\x00\n" + b"a" * 5000)])
    assert reply.status == 200
    with world.store.read() as reader:
        side = reader.log_side(standing.org.org_id, world.last(standing.org.org_id).index)
    assert side is not None
    assert len(side.user_agent) == 256


QUERIES = [
    "org=", "org=zz", f"org={'AB' * 32}", f"org={'ab' * 31}", "profile=x", "=", "&", "org",
    f"org={'ab' * 32}&org={'ab' * 32}",
    f"org={'ab' * 32}&profile_id=zz", f"org={'ab' * 32}&profile=%ff", f"org={'ab' * 32}&profile=a&profile_id={'00' * 16}",
    "a=1&" * 300, f"org={'ab' * 32};x=1", "%00=%00", f"org={'ab' * 32}&profile=%E2%80%AE",
]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES)
def test_hostile_query_of_a_pull(standing: Furnished, query: str) -> None:
    before = stored(standing.org.world)
    reply = standing.org.send_as_token(standing.token, "GET", f"/v1/pull?{query}")
    assert_turned_away(standing, reply, before)
    assert reply.code in ("MALFORMED", "PROFILE_FORBIDDEN")


@pytest.mark.parametrize(
    "query", ["since=-1", "since=01", "since=1e3", "since=+1", "since=", "since=99999999999999999999", "since=٣"]
)
def test_hostile_number(standing: Furnished, query: str) -> None:
    before = stored(standing.org.world)
    target = f"/sync?{query}".encode().decode("latin-1")
    if not target.isascii():
        reply = standing.org.world.call("GET", standing.org.path + target)
    else:
        reply = standing.org.get(standing.org.admin, target)
    assert_turned_away(standing, reply, before)
    assert reply.code == ("MALFORMED" if target.isascii() else reply.code)


@pytest.mark.parametrize("page", ["after=0&limit=1001", "limit=x", "after=9007199254740992", "after=1&after=2"])
def test_hostile_page_of_the_log(standing: Furnished, page: str) -> None:
    assert standing.org.get(standing.org.admin, f"/audit?{page}").code == "MALFORMED"


def test_page_of_the_log_beyond_its_end_is_empty(standing: Furnished) -> None:
    from stronghold_cli.protocol.messages import decode_audit

    leaves, size = decode_audit(standing.org.get(standing.org.admin, "/audit?after=9007199254740991").body)
    assert leaves == ()
    leaves, again = decode_audit(standing.org.get(standing.org.admin, f"/audit?after={size - 1}&limit=1").body)
    assert (len(leaves), again) == (1, size + 1)


def test_random_bytes_as_bodies_and_targets(standing: Furnished) -> None:
    world = standing.org.world
    before = stored(world)
    draw = random.Random(11)
    for _ in range(150):
        body = draw.randbytes(draw.randrange(200))
        assert_turned_away(standing, standing.org.post(standing.org.admin, "/commits", body), before)
        path = "/" + draw.randbytes(draw.randrange(30)).decode("latin-1").replace("?", "")
        reply = world.call(draw.choice(["GET", "POST"]), path + "?" + draw.randbytes(5).decode("latin-1"))
        assert 400 <= reply.status < 500, path
