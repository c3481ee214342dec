"""Creating an org (protocol sections 6 and 8)."""

from __future__ import annotations

import pytest

from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.org import Org
from stronghold_cli.protocol.envelope import sign_envelope
from stronghold_cli.protocol.messages import Commit, Genesis, decode_committed
from stronghold_cli.protocol.requests import KeyId
from stronghold_server import genesis as genesis_module
from tests.server.refusing import with_changes
from tests.server.support import Person, Reply, TestOrg, World


def found(org: TestOrg, genesis: Genesis) -> Reply:
    return org.post(org.admin, "", genesis.encode())


def assert_no_org(org: TestOrg) -> None:
    with org.world.store.read() as reader:
        assert reader.org(org.org_id) is None
        assert reader.head(org.org_id) is None


def test_setup_code_is_good_for_one_org(world: World) -> None:
    code = world.setup_code()
    first, second = TestOrg(world), TestOrg(world, "Second")
    assert found(first, first.genesis(code)).status == 200
    reply = found(second, second.genesis(code))
    assert (reply.status, reply.code) == (403, "SETUP_CODE_INVALID")
    assert_no_org(second)


def test_wrong_setup_code_makes_no_org(world: World) -> None:
    org = TestOrg(world)
    reply = found(org, org.genesis("guess"))
    assert (reply.status, reply.code) == (403, "SETUP_CODE_INVALID")
    assert_no_org(org)


@pytest.mark.parametrize("code", ["guess", "used"])
@pytest.mark.parametrize("case", ["login signed by another", "head signed by another", "two operators", "another key"])
def test_whoever_has_no_setup_code_has_nothing_of_a_genesis_checked(
    world: World, monkeypatch: pytest.MonkeyPatch, code: str, case: str
) -> None:
    if code == "used":
        code = world.setup_code()
        other = TestOrg(world, "Other")
        assert found(other, other.genesis(code)).status == 200
    monkeypatch.setattr(genesis_module, "_check", lambda *_: pytest.fail("a state was made for somebody without a code"))
    org = TestOrg(world)
    if case == "another key":
        stranger, body = Person(org.org_id, "Mallory", "admin"), org.genesis(code).encode()
        reply = world.send(stranger.keyset.request, KeyId(kind="o", raw=org.admin.operator_id), "POST", org.path, body)
    else:
        reply = found(org, forge_genesis(org, case).replace(setup_code=code))
    assert (reply.status, reply.code) == (403, "SETUP_CODE_INVALID")
    assert_no_org(org)


def test_setup_code_is_not_used_up_by_a_genesis_that_is_refused(world: World) -> None:
    code = world.setup_code()
    org = TestOrg(world)
    genesis = org.genesis(code)
    assert found(org, genesis.replace(keyset=b"another box")).code == "COMMIT_REFUSED"
    assert found(org, genesis).status == 200


def test_genesis_that_is_repeated_is_answered_as_done(world: World) -> None:
    org = TestOrg(world)
    genesis = org.genesis(world.setup_code())
    assert found(org, genesis).status == 200
    reply = found(org, genesis)
    assert decode_committed(reply.body).already
    assert [entry.kind for entry in world.log(org.org_id)] == ["genesis", "genesis"]


def test_org_that_exists_is_not_made_again(org: TestOrg) -> None:
    org.world.now += 1
    reply = found(org, org.genesis(org.world.setup_code()))
    assert (reply.status, reply.code) == (409, "CONFLICT")
    assert org.world.last(org.org_id).code == "CONFLICT"


def test_file_with_the_setup_code_goes_when_that_code_is_used(world: World) -> None:
    code = world.setup_code()
    path = world.folder / "setup-code"
    path.write_text(f"{code}\n")
    other = TestOrg(world, "Other").create()
    assert path.exists()
    assert other.state.seq == 1
    org = TestOrg(world)
    assert found(org, org.genesis(code)).status == 200
    assert not path.exists()


def forge_genesis(org: TestOrg, case: str) -> Genesis:
    genesis = org.genesis(org.world.setup_code())
    if case.startswith("login"):
        return forge_login(org, case, genesis)
    if case == "another log key":
        org.world.log_key.id, own = b"M" * 16, org.world.log_key.id
        genesis = org.genesis(org.world.setup_code())
        org.world.log_key.id = own
        return genesis
    if case == "dated ahead":
        org.world.now += 301
        genesis = org.genesis(org.world.setup_code())
        org.world.now -= 301
        return genesis
    return genesis.replace(commit=forge_first_commit(org, case, genesis.commit))


def forge_login(org: TestOrg, case: str, genesis: Genesis) -> Genesis:
    stranger = Person(org.org_id, "Mallory", "admin")
    if case == "login signed by another":
        login = sign_envelope("login", genesis.login.payload, org.admin.keyid, stranger.keyset.sign)
        return genesis.replace(login=login)
    if case == "login of another operator":
        return genesis.replace(login=org.login_record(stranger, genesis.keyset))
    return genesis.replace(keyset=genesis.keyset + b"x")


def forge_first_commit(org: TestOrg, case: str, commit: Commit) -> Commit:
    stranger = Person(org.org_id, "Mallory", "admin")
    match case:
        case "not signed by root":
            (link,) = commit.changes.org
            return with_changes(commit, org=(org.admin.sign("org", link.payload),))
        case "head signed by another":
            (head,) = commit.changes.heads
            forged = sign_envelope("head", head.payload, org.admin.keyid, stranger.keyset.sign)
            return with_changes(commit, heads=(forged,))
        case "two operators":
            (link,) = commit.changes.org
            genesis = Org.decode(link.payload)
            two = genesis.replace(operators={**genesis.operators, stranger.operator_id: stranger.as_operator()})
            renamed = Head.decode(commit.changes.heads[0].payload).replace(org_sha256=two.sha256)
            return with_changes(
                commit.replace(blobs=(*commit.blobs, stranger.keyset.seal.public)),
                org=(sign_envelope("org", two.payload, "root", org.root.sign),),
                heads=(org.admin.sign("head", renamed.payload),),
            )
        case "a key is missing":
            return commit.replace(blobs=commit.blobs[:1])
        case "spare share":
            return commit.replace(shares={b"t" * 16: b"s" * 32})
    raise AssertionError(case)


@pytest.mark.parametrize(
    "case",
    [
        "login signed by another",
        "login of another operator",
        "login of another box",
        "not signed by root",
        "head signed by another",
        "two operators",
        "a key is missing",
        "spare share",
        "another log key",
        "dated ahead",
    ],
)
def test_forged_genesis_makes_no_org(world: World, case: str) -> None:
    org = TestOrg(world)
    reply = found(org, forge_genesis(org, case))
    assert (reply.status, reply.code) == (422, "COMMIT_REFUSED"), reply.body
    assert_no_org(org)


def test_genesis_signed_by_another_key_than_the_one_it_carries_makes_no_org(world: World) -> None:
    org = TestOrg(world)
    body = org.genesis(world.setup_code()).encode()
    stranger = Person(org.org_id, "Mallory", "admin")
    reply = world.send(stranger.keyset.request, KeyId(kind="o", raw=org.admin.operator_id), "POST", org.path, body)
    assert (reply.status, reply.code) == (401, "SIGNATURE_INVALID")
    assert_no_org(org)


def test_genesis_of_another_org_than_the_route_makes_none(world: World) -> None:
    org = TestOrg(world)
    target = f"/v1/orgs/{'ab' * 32}"
    body = org.genesis(world.setup_code()).encode()
    reply = world.send(org.admin.keyset.request, KeyId(kind="o", raw=org.admin.operator_id), "POST", target, body)
    assert (reply.status, reply.code) == (422, "COMMIT_REFUSED")
    assert_no_org(org)
