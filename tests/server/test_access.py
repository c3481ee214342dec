"""Who signed a request (protocol section 6): form, clock, key, signature, replay, authority; and what is left of each."""

from __future__ import annotations

import os

import pytest

from stronghold_cli.crypto.keys import TokenSecret
from stronghold_cli.protocol.audit import side_hash
from stronghold_cli.protocol.documents.agent import Rate
from stronghold_cli.protocol.documents.org import LogKey
from stronghold_cli.protocol.keys import SigningKey, VerifyKey
from stronghold_cli.protocol.messages import decode_login_answer, decode_setup
from stronghold_cli.protocol.org_chain import verify_chain
from stronghold_cli.protocol.requests import KeyId, parse_signature_base
from stronghold_server import service
from tests.server.furnished import Furnished
from tests.server.in_process import WAYS
from tests.server.support import AUTHORITY, Person, Reply, TestOrg

STRANGER = SigningKey(b"x" * 32)
Headers = list[tuple[bytes, bytes]]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def signed(full: Furnished, *, target: str | None = None, authority: str = AUTHORITY, **options: object) -> Headers:
    """The headers of a pull by the full org's token."""
    key = TokenSecret(full.org.tokens[full.token].token.secret).auth
    target = target or pull_target(full)
    return full.org.world.sign(
        key,
        KeyId(kind="t", raw=full.token),
        "GET",
        target,
        authority=authority,
        **options,  # type: ignore[arg-type]
    )


def pull_target(full: Furnished) -> str:
    return f"/v1/pull?org={full.org.pin.hex()}"


def assert_unlogged(full: Furnished, reply: Reply, status: int, code: str, entries: int) -> None:
    assert (reply.status, reply.code) == (status, code)
    assert len(full.org.world.log(full.org.org_id)) == entries


def entries_of(full: Furnished) -> int:
    return len(full.org.world.log(full.org.org_id))


def test_entry_holds_what_the_client_signed_and_where_it_came_from(full: Furnished) -> None:
    world = full.org.world
    nonce = os.urandom(16)
    headers = [*signed(full, nonce=nonce), (b"user-agent", b"stronghold/1")]
    reply = world.call("GET", pull_target(full), headers=headers, address="198.51.100.9")
    entry = world.last(full.org.org_id)
    base = parse_signature_base(entry.signature_base)
    assert (base.method, base.authority, base.path, base.nonce) == ("GET", AUTHORITY, "/v1/pull", nonce)
    secret = TokenSecret(full.org.tokens[full.token].token.secret)
    VerifyKey(secret.auth.public).verify(entry.signature, entry.signature_base.encode())
    assert reply.headers["stronghold-correlation-id"] == entry.correlation_id.hex()
    with world.store.read() as reader:
        side = reader.log_side(full.org.org_id, entry.index)
    assert side is not None
    assert (side.address, side.user_agent) == ("198.51.100.9", "stronghold/1")
    assert entry.side == side_hash(side.salt, side.address, side.user_agent)


def test_request_without_a_signature_is_told_so(full: Furnished) -> None:
    entries = entries_of(full)
    assert_unlogged(full, full.org.world.call("GET", pull_target(full)), 401, "TOKEN_MISSING", entries)


@pytest.mark.parametrize("missing", [b"content-digest", b"signature-input", b"signature"])
def test_request_that_lacks_one_of_its_headers_is_malformed(full: Furnished, missing: bytes) -> None:
    entries = entries_of(full)
    headers = [item for item in signed(full) if item[0] != missing]
    assert_unlogged(full, full.org.world.call("GET", pull_target(full), headers=headers), 400, "MALFORMED", entries)


@pytest.mark.parametrize("doubled", [b"content-digest", b"signature-input", b"signature", b"host"])
def test_header_that_stands_twice_is_malformed(full: Furnished, doubled: bytes) -> None:
    entries = entries_of(full)
    headers = [(b"host", AUTHORITY.encode()), *signed(full)] if doubled == b"host" else signed(full)
    headers += [item for item in headers if item[0] == doubled and doubled != b"host"]
    assert_unlogged(full, full.org.world.call("GET", pull_target(full), headers=headers), 400, "MALFORMED", entries)


def test_replay_is_refused_without_an_entry_and_across_a_restart(full: Furnished) -> None:
    world = full.org.world
    headers = signed(full)
    assert world.call("GET", pull_target(full), headers=headers).status == 200
    entries = entries_of(full)
    assert_unlogged(full, world.call("GET", pull_target(full), headers=headers), 401, "REPLAYED", entries)
    world.restart()
    assert_unlogged(full, world.call("GET", pull_target(full), headers=headers), 401, "REPLAYED", entries)


def test_request_that_was_refused_cannot_be_replayed_either(full: Furnished) -> None:
    world = full.org.world
    target = f"{pull_target(full)}&profile=nothing"
    headers = signed(full, target=target)
    assert world.call("GET", target, headers=headers).code == "PROFILE_FORBIDDEN"
    entries = entries_of(full)
    assert_unlogged(full, world.call("GET", target, headers=headers), 401, "REPLAYED", entries)


@pytest.mark.parametrize("skew", [-61, 61])
def test_request_more_than_a_minute_away_is_refused(full: Furnished, skew: int) -> None:
    world = full.org.world
    entries = entries_of(full)
    reply = world.call("GET", pull_target(full), headers=signed(full, created=world.now + skew))
    assert_unlogged(full, reply, 401, "CLOCK_SKEW", entries)
    near = world.now + (60 if skew > 0 else -60)
    assert world.call("GET", pull_target(full), headers=signed(full, created=near)).status == 200


def test_unknown_token_is_invalid(full: Furnished) -> None:
    entries = entries_of(full)
    reply = full.org.world.send(STRANGER, KeyId(kind="t", raw=b"u" * 16), "GET", pull_target(full))
    assert_unlogged(full, reply, 401, "TOKEN_INVALID", entries)


def test_known_key_id_with_another_key_is_refused(full: Furnished) -> None:
    entries = entries_of(full)
    for key_id, target in (
        (KeyId(kind="t", raw=full.token), pull_target(full)),
        (KeyId(kind="o", raw=full.org.admin.operator_id), f"{full.org.path}/keys"),
        (KeyId(kind="l", raw=full.org.admin.operator_id), f"{full.org.path}/keyset?org={full.org.pin.hex()}"),
    ):
        reply = full.org.world.send(STRANGER, key_id, "GET", target)
        assert_unlogged(full, reply, 401, "SIGNATURE_INVALID", entries)


def test_everything_that_is_signed_is_bound(full: Furnished) -> None:
    """Attack 42: method, authority, path, query and body of a good signature cannot be exchanged."""
    world, org = full.org.world, full.org
    entries = entries_of(full)
    headers = signed(full)
    calls = [
        world.call("GET", f"{pull_target(full)}&profile=production", headers=headers),
        world.call("GET", f"/v1/self?org={org.pin.hex()}", headers=headers),
        world.call("GET", f"/base{pull_target(full)}", headers=headers, host="proxy.test:8443"),
    ]
    for reply in calls:
        assert_unlogged(full, reply, 401, "SIGNATURE_INVALID", entries)
    body = b"{}"
    admin = KeyId(kind="o", raw=org.admin.operator_id)
    headers = world.sign(org.admin.keyset.request, admin, "POST", f"{org.path}/commits", body)
    reply = world.call("POST", f"{org.path}/commits", body=b"{ }", headers=headers)
    assert_unlogged(full, reply, 400, "MALFORMED", entries)


def test_host_that_is_no_name_of_the_server_is_unknown(full: Furnished) -> None:
    entries = entries_of(full)
    for host in ("evil.test", "secrets.test:8321", "", "secrets.test.evil.test"):
        reply = full.org.world.call("GET", pull_target(full), headers=signed(full), host=host)
        assert_unlogged(full, reply, 421, "AUTHORITY_UNKNOWN", entries)
    assert full.org.world.call("GET", pull_target(full), headers=signed(full), host="SECRETS.test").status == 200


@pytest.mark.parametrize("proxy_strips", [False, True])
def test_base_path_is_signed_whether_the_proxy_takes_it_off_or_not(full: Furnished, proxy_strips: bool) -> None:
    target = f"/base{pull_target(full)}"
    headers = signed(full, target=target, authority="proxy.test:8443")
    reply = full.org.world.call(
        "GET", pull_target(full) if proxy_strips else target, headers=headers, host="proxy.test:8443"
    )
    assert reply.status == 200
    assert parse_signature_base(full.org.world.last(full.org.org_id).signature_base).path == "/base/v1/pull"


def test_signature_for_another_org_of_the_same_server_is_good_for_nothing(full: Furnished) -> None:
    """Operators' keys are looked up inside the org of the route; tokens of other orgs too."""
    other = TestOrg(full.org.world, "Other").create()
    entries = entries_of(full)
    key_id = KeyId(kind="o", raw=other.admin.operator_id)
    reply = full.org.world.send(other.admin.keyset.request, key_id, "GET", f"{full.org.path}/sync?since=0")
    assert_unlogged(full, reply, 401, "OPERATOR_UNKNOWN", entries)
    reply = full.org.send_as_token(full.token, "GET", f"{other.path}/sync?since=0")
    assert_unlogged(full, reply, 401, "TOKEN_INVALID", entries)


def test_key_of_another_kind_that_the_org_knows_is_refused_with_an_entry(full: Furnished) -> None:
    """Attack 45."""
    org = full.org
    reply = org.send_as_token(full.token, "GET", f"{org.path}/sync?since=0")
    assert (reply.status, reply.code) == (403, "FORBIDDEN")
    assert (org.world.last(org.org_id).kind, org.world.last(org.org_id).code) == ("sync", "FORBIDDEN")
    login = KeyId(kind="l", raw=org.admin.operator_id)
    reply = org.world.send(org.admin.login.login, login, "GET", f"{org.path}/sync?since=0")
    assert (reply.status, reply.code) == (403, "FORBIDDEN")
    assert org.world.last(org.org_id).key_id == login
    keyset_target = f"{org.path}/keyset?org={org.pin.hex()}"
    reply = org.world.send(org.admin.keyset.request, KeyId(kind="o", raw=org.admin.operator_id), "GET", keyset_target)
    assert (reply.status, reply.code) == (403, "FORBIDDEN")


@pytest.mark.parametrize("kind", ["i", "r", "o", "l"])
def test_key_of_a_kind_that_cannot_be_looked_up_is_forbidden(full: Furnished, kind: str) -> None:
    entries = entries_of(full)
    key_id = KeyId(kind=kind, raw=full.org.org_id if kind == "r" else full.org.admin.operator_id)
    target = pull_target(full) if kind in ("o", "l") else f"{full.org.path}/sync?since=0"
    reply = full.org.world.send(full.org.admin.keyset.request, key_id, "GET", target)
    assert_unlogged(full, reply, 403, "FORBIDDEN", entries)


def test_login_key_fetches_the_own_keyset(full: Furnished) -> None:
    org = full.org
    login = KeyId(kind="l", raw=org.admin.operator_id)
    reply = org.world.send(org.admin.login.login, login, "GET", f"{org.path}/keyset?org={org.pin.hex()}")
    answer = decode_login_answer(reply.body)
    assert org.admin.login.open_keyset(answer.keyset).raw == org.admin.keyset.raw
    assert verify_chain(None, answer.org, anchor=org.pin).sha256 == org.pin
    assert answer.head == org.state.head.envelope
    reply = org.world.send(org.admin.login.login, login, "GET", f"{org.path}/keyset?org={'00' * 32}")
    assert (reply.status, reply.code) == (409, "ANCHOR_UNKNOWN")


def test_operator_without_a_login_record_cannot_log_in(full: Furnished) -> None:
    """Whose record is missing has no login key, and the place of that key is filled with one that nobody can have."""
    org = full.org
    draft = org.draft()
    other = org.add_person(draft, "Otto", "reader")
    org.apply(draft)
    login = KeyId(kind="l", raw=other.operator_id)
    reply = org.world.send(other.login.login, login, "GET", f"{org.path}/keyset?org={org.pin.hex()}")
    assert (reply.status, reply.code) == (401, "OPERATOR_UNKNOWN")


def test_counters_tell_what_left_no_entry(full: Furnished) -> None:
    world = full.org.world
    world.call("GET", pull_target(full), headers=signed(full), host="evil.test")
    world.call("GET", pull_target(full), headers=signed(full, created=world.now - 100))
    world.send(STRANGER, KeyId(kind="t", raw=b"u" * 16), "GET", pull_target(full))
    headers = signed(full)
    for _ in range(3):
        world.call("GET", pull_target(full), headers=headers)

    async def one_life() -> None:
        """Housekeeping writes the counts when the server ends."""
        messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive() -> dict[str, str]:
            return messages.pop(0)

        async def send(_: object) -> None:
            return None

        await world.app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)

    world.loop.run_until_complete(one_life())
    with world.store.read() as reader:
        counters = reader.counters()
    assert counters == {"authority_unknown": 1, "clock_skew": 1, "unknown_key": 1, "replayed": 2}


def test_open_routes_need_no_signature_and_no_name(full: Furnished) -> None:
    world = full.org.world
    for path in ("/healthz", "/readyz", "/openapi.json", "/v1/setup"):
        reply = world.call("GET", path, host="10.0.0.1")
        assert (reply.status, reply.headers["stronghold-protocol"]) == (200, "1")
    key = world.log_key
    assert decode_setup(world.call("GET", "/v1/setup").body) == (LogKey(id=key.id, public_key=key.sign.public),)


def test_server_whose_storage_is_closed_is_not_ready(full: Furnished) -> None:
    full.org.world.store.close()
    reply = full.org.world.call("GET", "/readyz")
    assert (reply.status, reply.code) == (503, "STORAGE_FAILED")
    full.org.world.restart()


def test_operators_read_what_their_role_and_groups_allow(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    inside, outside = org.add_person(draft, "Ines", "reader"), org.add_person(draft, "Olaf", "reader")
    org.apply(draft)
    draft = org.draft()
    group = draft.groups[full.group]
    draft.groups[full.group] = group.replace(operators=(inside.operator_id,))
    org._seal_operator(draft, full.group, inside)
    org.apply(draft)
    contents = f"/profiles/{full.profile.hex()}/contents"
    assert org.get(inside, contents).status == 200
    assert org.get(outside, contents).code == "PROFILE_FORBIDDEN"
    assert org.get(org.admin, f"/profiles/{'00' * 16}/contents").code == "NOT_FOUND"
    assert keys_of(org, org.admin) == (1, 1)
    assert keys_of(org, inside) == (1, 1)
    assert keys_of(org, outside) == (0, 0)


def keys_of(org: TestOrg, person: Person) -> tuple[int, int]:
    from stronghold_cli.protocol.messages import decode_keys

    keys = decode_keys(org.get(person, "/keys").body)
    return len(keys.seals), len(keys.wraps)


def test_refusals_of_one_key_fill_the_log_only_slowly(full: Furnished, monkeypatch: pytest.MonkeyPatch) -> None:
    """The finder of a revoked token could otherwise grow the log until the disk is full."""
    monkeypatch.setattr(service, "REFUSALS", Rate(requests=3, seconds=60))
    org = full.org
    draft = org.draft()
    org.revoke(draft, full.agent, full.token)
    org.apply(draft)
    before = len(org.world.log(org.org_id))
    codes = [org.get_as_token(full.token, "/v1/pull").code for _ in range(5)]
    assert codes == ["TOKEN_REVOKED"] * 3 + ["RATE_LIMITED"] * 2
    assert len(org.world.log(org.org_id)) == before + 3
    assert org.get_as_token(full.second_token, "/v1/pull").status == 200
