"""The log as people read it: who asked is told by signatures and documents of the time, and a forged entry is noticed."""

from __future__ import annotations

from typing import Any

import pytest

from stronghold_cli.protocol.audit import AuditLeaf, DocumentReference
from stronghold_cli.protocol.encoding import decode_base64
from stronghold_cli.protocol.errors import IntegrityError, NotFound
from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.messages import encode_audit
from stronghold_cli.protocol.request_kinds import REQUEST_KINDS, RequestKind
from stronghold_cli.protocol.requests import KeyId, sign_request
from stronghold_cli.vault.agents import revoke
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.exposure import expose
from stronghold_cli.vault.groups import create_group
from stronghold_cli.vault.log import Filter, Reading, read_entry, read_log, require_filter
from tests.support.org import NOW, TestOrg, secret_of, workshop

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def org() -> TestOrg:
    return workshop()


def leaf(
    org: TestOrg,
    *,
    by: str = "ci",
    seq: int | None = None,
    query: str = "org=00",
    method: str = "",
    target: str = "",
    created: int | None = None,
    **members: Any,
) -> AuditLeaf:
    """A genuine entry of a pull by a token, or of a commit by an operator."""
    if by in org.tokens:
        secret = secret_of(org.tokens[by])
        key, key_id, kind, default = secret.auth, KeyId(kind="t", raw=secret.token_id), "pull", f"/v1/pull?{query}"
    else:
        key, key_id, kind = org.keysets[by].request, KeyId(kind="o", raw=org.id(by)), "commit"
        default = f"/v1/orgs/{org.state.org_id.hex()}/commits"
    nonce = members.get("index", 0).to_bytes(16, "big")
    headers, base = sign_request(
        key, key_id, method=method or ("GET" if kind == "pull" else "POST"), authority="vault.example.com",
        target=target or default, body=b"", created=NOW if created is None else created, nonce=nonce,
    )  # fmt: skip
    signature = decode_base64(headers.signature.split(":")[1])
    values = {
        "index": 0, "kind": kind, "server_time": NOW, "signature_base": base, "signature": signature, "key_id": key_id,
        "outcome": "ok", "code": "", "head_seq": org.state.seq if seq is None else seq, "document": None,
        "correlation_id": bytes(16), "side": bytes(32),
    }  # fmt: skip
    return AuditLeaf(**{**values, **members})


def commit_leaf(org: TestOrg, **members: Any) -> AuditLeaf:
    head = org.state.head.document
    reference = DocumentReference(kind="head", id=org.state.org_id, version=head.seq, sha256=head.sha256)
    return leaf(org, by="ada", document=reference, **members)


def test_who_asked_is_told_by_the_documents_of_the_time(org: TestOrg) -> None:
    entry = Reading(Vault(org.operator())).explain(leaf(org))
    assert entry.agent is not None
    assert entry.token is not None
    assert (entry.agent.name, entry.token.name, entry.had_ended) == ("bot", "bot/ci", False)
    seq = org.state.seq
    agent = org.state.agents[entry.agent.id]
    org.commit(lambda draft: draft.put(agent.replace(name="renamed")))
    entry = Reading(Vault(org.operator())).explain(leaf(org, seq=seq))
    assert entry.agent is not None
    assert entry.agent.name == "bot"


def test_a_token_that_had_ended_is_told_as_such(org: TestOrg) -> None:
    (agent,) = org.state.agents.values()
    (token_id,) = agent.tokens
    org.commit(lambda draft: revoke(draft, agent, token_id))
    org.commit(lambda draft: create_group(draft, "later"))
    entry = Reading(Vault(org.operator())).explain(leaf(org, outcome="refused", code="TOKEN_REVOKED"))
    assert entry.token is not None
    assert (entry.token.name, entry.had_ended) == ("bot/ci", True)


@pytest.mark.parametrize("by", ["ci", "ada"])
def test_an_entry_that_its_key_did_not_sign_is_noticed(org: TestOrg, by: str) -> None:
    """Attack 51: a forged action of an agent, and of an operator."""
    honest = leaf(org, by=by)
    Reading(Vault(org.operator())).explain(honest)
    other = SigningKey(b"m" * 32)
    headers, base = sign_request(
        other, honest.key_id, method="GET", authority="vault.example.com", target="/v1/pull", body=b"", created=NOW,
        nonce=bytes(16),
    )  # fmt: skip
    forged = decode_base64(headers.signature.split(":")[1])
    for lie in (
        honest.replace(signature=bytes(64)),
        honest.replace(signature_base=honest.signature_base.replace('"@method": ', '"@method": X')),
        honest.replace(signature_base=base, signature=forged),
    ):
        with pytest.raises(IntegrityError, match="is not signed by"):
            Reading(Vault(org.operator())).explain(lie)


def test_an_entry_put_under_another_operator_is_noticed(org: TestOrg) -> None:
    lie = leaf(org, by="eve").replace(key_id=KeyId(kind="o", raw=org.id("ada")))
    with pytest.raises(IntegrityError):
        Reading(Vault(org.operator())).explain(lie)


def test_an_entry_that_names_another_key_than_its_request_is_noticed(org: TestOrg) -> None:
    key = org.keysets["ada"].request
    claimed = KeyId(kind="o", raw=org.id("eve"))
    headers, base = sign_request(
        key, claimed, method="GET", authority="vault.example.com", target="/v1/x", body=b"", created=NOW, nonce=bytes(16)
    )
    signature = decode_base64(headers.signature.split(":")[1])
    lie = leaf(org, by="ada").replace(signature_base=base, signature=signature)
    with pytest.raises(IntegrityError, match="another key"):
        Reading(Vault(org.operator())).explain(lie)


def test_a_commit_says_what_it_changed_only_under_its_own_head(org: TestOrg) -> None:
    org.commit(lambda draft: create_group(draft, "new"))
    honest = commit_leaf(org)
    (act,) = Reading(Vault(org.operator())).explain(honest).acts
    assert (act.action, act.subject.name) == ("group-create", "new")
    org.commit(lambda draft: create_group(draft, "later"))
    again = honest.replace(head_seq=org.state.seq)
    assert Reading(Vault(org.operator())).explain(again).acts == ()
    assert Reading(Vault(org.operator())).explain(honest.replace(outcome="refused", code="CONFLICT")).acts == ()


def test_a_key_that_stands_nowhere_is_nobodys(org: TestOrg) -> None:
    entry = Reading(Vault(org.operator())).explain(leaf(org).replace(key_id=KeyId(kind="t", raw=b"x" * 16)))
    assert (entry.agent, entry.token, entry.operator) == (None, None, None)


def test_a_refused_read_names_the_profile_that_was_asked_for(org: TestOrg) -> None:
    def asked(query: str) -> str | None:
        refused = leaf(org, query=query, outcome="refused", code="PROFILE_FORBIDDEN")
        profile = Reading(Vault(org.operator())).explain(refused).profile
        return None if profile is None else profile.name

    assert asked("org=00&profile=STAGING") == "staging"
    assert asked("org=00&profile=nothing") == "nothing"
    assert asked(f"org=00&profile_id={org.profile('production').id.hex()}") == "production"
    assert asked("org=00") is None


def serve(org: TestOrg, leaves: list[AuditLeaf]) -> None:
    """The log that the server delivers."""
    passed_on = org.server._answer

    def answer(path: str, query: Any, body: bytes, key_id: Any) -> bytes:
        if not path.endswith("/audit"):
            return passed_on(path, query, body, key_id)
        start = int(query["after"])
        page = leaves[start : start + int(query["limit"])]
        return encode_audit(tuple(each.encode() for each in page), len(leaves))

    org.server._answer = answer  # type: ignore[method-assign, assignment]


def test_the_newest_that_match_are_given_in_their_order(org: TestOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stronghold_cli.vault.log._PAGE", 3)
    serve(org, [leaf(org, index=number, server_time=NOW + number) for number in range(10)])
    vault = Vault(org.operator())
    assert [entry.leaf.index for entry in read_log(vault, Filter(), 4)] == [6, 7, 8, 9]
    assert [entry.leaf.index for entry in read_log(vault, Filter(since=NOW + 2, until=NOW + 4), 9)] == [2, 3, 4]
    assert [entry.leaf.index for entry in read_log(vault, Filter(agent="bot", token="ci"), 99)] == list(range(10))
    assert read_entry(vault, 3).leaf.index == 3
    with pytest.raises(NotFound):
        read_entry(vault, 10)
    with pytest.raises(NotFound):
        read_log(vault, Filter(agent="nobody"), 1)


def test_an_entry_under_another_number_or_left_out_is_noticed(org: TestOrg) -> None:
    leaves = [leaf(org, index=number) for number in range(4)]
    serve(org, [leaves[0], leaves[2], leaves[1], leaves[3]])
    with pytest.raises(IntegrityError, match="another number"):
        read_log(Vault(org.operator()), Filter(), 9)
    with pytest.raises(IntegrityError, match="another number"):
        read_entry(Vault(org.operator()), 1)


@pytest.mark.parametrize("kept", [0, 2])
def test_a_page_that_is_too_short_is_noticed(org: TestOrg, kept: int) -> None:
    leaves = [leaf(org, index=number) for number in range(4)]
    serve(org, leaves)
    org.server.forge = lambda target, body: (
        encode_audit(tuple(each.encode() for each in leaves[:kept]), 4) if "/audit?" in target else body
    )
    with pytest.raises(IntegrityError, match="does not deliver"):
        read_log(Vault(org.operator()), Filter(), 9)


def is_verified(org: TestOrg, entry: AuditLeaf) -> bool:
    return Reading(Vault(org.operator())).explain(entry).is_verified


def test_an_entry_of_what_was_asked_is_verified(org: TestOrg) -> None:
    assert is_verified(org, leaf(org))
    assert is_verified(org, leaf(org, target="/base/v1/%70ull?org=00"))
    org.commit(lambda draft: create_group(draft, "new"))
    assert is_verified(org, commit_leaf(org))
    path = f"/v1/orgs/{org.state.org_id.hex()}"
    profile = org.profile("production")
    contents = DocumentReference(kind="contents", id=profile.id, version=1, sha256=bytes(32))
    of_profile = f"{path}/profiles/{profile.id.hex()}/contents"
    assert is_verified(org, leaf(org, by="ada", kind="contents", method="GET", target=of_profile, document=contents))
    assert is_verified(org, leaf(org, by="ada", kind="sync", method="GET", target=f"{path}/sync?since=1"))


KINDS = [kind for kind in REQUEST_KINDS.values() if kind.key_kind in {"o", "t"}]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_of_request_is_verified_by_its_own_method_and_path_alone(org: TestOrg, kind: RequestKind) -> None:
    ids = {"org": org.state.org_id.hex(), "profile": org.profile("production").id.hex()}
    by = {"o": "ada", "t": "ci"}[kind.key_kind]
    for other in KINDS:
        if other.key_kind == kind.key_kind:
            entry = leaf(org, by=by, kind=kind.name, method=other.method, target=other.path.format(**ids))
            assert is_verified(org, entry) is (other is kind)
    require_filter(Filter(action=kind.name))


def test_a_key_on_a_route_of_another_kind_is_verified_where_it_was_refused_alone(org: TestOrg) -> None:
    target = f"/v1/orgs/{org.state.org_id.hex()}/sync?since=0"
    refused = leaf(org, kind="sync", target=target, outcome="refused", code="FORBIDDEN")
    assert is_verified(org, refused)
    assert not is_verified(org, refused.replace(outcome="ok", code=""))


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/v1/orgs/{org}/sync?since=1"),
        ("GET", "/v1/orgs/{org}/commits"),
        ("POST", "/v1/orgs/{org}/blobs"),
        ("POST", "/v1/orgs/{other}/commits"),
        ("POST", "/v1/orgs/{org}"),
        ("POST", "/v1/elsewhere"),
        ("GET", "/v1/pull"),
    ],
)
def test_a_commit_that_nobody_asked_for_is_not_shown_as_verified(org: TestOrg, method: str, target: str) -> None:
    """Attack 51: the operator signed some other request, and the server says that it was this commit."""
    org.commit(lambda draft: create_group(draft, "new"))
    place = target.format(org=org.state.org_id.hex(), other="0" * 64)
    assert not is_verified(org, commit_leaf(org, method=method, target=place))


def test_a_pull_that_was_another_request_or_of_another_profile_is_not_verified(org: TestOrg) -> None:
    production, staging = (
        DocumentReference(kind="contents", id=org.profile(name).id, version=1, sha256=bytes(32))
        for name in ("production", "staging")
    )
    assert not is_verified(org, leaf(org, target="/v1/self?org=00"))
    for query in ("org=00&profile=production", f"org=00&profile_id={production.id.hex()}"):
        assert is_verified(org, leaf(org, query=query, document=production))
        assert not is_verified(org, leaf(org, query=query, document=staging))
    path = f"/v1/orgs/{org.state.org_id.hex()}/profiles/{production.id.hex()}/contents"
    assert not is_verified(org, leaf(org, by="ada", kind="contents", method="GET", target=path, document=staging))


@pytest.mark.parametrize(("late", "verified"), [(-61, False), (-60, True), (120, True), (121, False)])
def test_a_request_of_another_time_is_not_verified(org: TestOrg, late: int, verified: bool) -> None:
    """The clock may be 60 s off the request, and 60 s behind the entry before, whose time the entry then has."""
    assert is_verified(org, leaf(org, server_time=NOW + late)) is verified


def test_a_commit_whose_head_another_operator_signed_is_not_verified(org: TestOrg) -> None:
    org.commit(lambda draft: create_group(draft, "new"))
    head = org.state.head.document
    reference = DocumentReference(kind="head", id=org.state.org_id, version=head.seq, sha256=head.sha256)
    entry = Reading(Vault(org.operator())).explain(leaf(org, by="eve", document=reference))
    assert (entry.is_verified, [act.action for act in entry.acts]) == (False, ["group-create"])


def test_a_login_and_an_unknown_key_are_not_verified(org: TestOrg) -> None:
    path = f"/v1/orgs/{org.state.org_id.hex()}/keyset?org=00"
    login = leaf(org, by="ada", kind="login", method="GET", target=path, key_id=KeyId(kind="l", raw=org.id("ada")))
    entry = Reading(Vault(org.operator())).explain(login)
    assert entry.operator is not None
    assert (entry.operator.name, entry.is_verified) == ("ada", False)
    assert not is_verified(org, leaf(org).replace(key_id=KeyId(kind="t", raw=b"x" * 16)))


def test_a_request_that_stands_twice_is_noticed(org: TestOrg) -> None:
    serve(org, [leaf(org), leaf(org, index=1), leaf(org).replace(index=2)])
    with pytest.raises(IntegrityError, match="hold the same request"):
        read_log(Vault(org.operator()), Filter(), 9)


def test_the_ledger_counts_no_pull_that_was_not_asked_for(org: TestOrg) -> None:
    version = org.state.contents[org.profile("production").id].document.version
    read = DocumentReference(kind="contents", id=org.profile("production").id, version=version, sha256=bytes(32))
    serve(org, [leaf(org, document=read)])
    assert any(item.fetched for item in expose(Vault(org.operator()), "bot").secrets)
    serve(org, [leaf(org, document=read, target="/v1/self?org=00")])
    with pytest.raises(IntegrityError, match="not asked for"):
        expose(Vault(org.operator()), "bot")
