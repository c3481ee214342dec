"""Attacks 42, 45 and 56: altered requests, keys on others' routes, and no log (protocol section 10, "Requests", "Log")."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from stronghold_cli.crypto.keys import TokenSecret
from stronghold_cli.protocol.encoding import digest, encode_base64
from stronghold_cli.protocol.errors import Refused, StrongholdError, Unavailable
from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.vault.groups import create_group
from stronghold_server.routes import ROUTES
from tests.evil.evil_server import COMMITS, PULL
from tests.evil.scene import PRODUCTION, Agent, Scene
from tests.evil.signing import Request, commit_of, effects, pull_of

REQUESTS: dict[str, Callable[[Scene], Request]] = {"pull": pull_of, "commit": commit_of}


def _in_input(old: str, new: str) -> Callable[[Request], None]:
    return lambda request: request.header("Signature-Input", lambda value: value.replace(old, new))


def _method(request: Request) -> None:
    request.method = "PUT" if request.method == "POST" else "POST"


def _query(request: Request) -> None:
    request.target = request.target.replace("=production", "=staging") if "?" in request.target else request.target + "?x=1"


def _path(request: Request) -> None:
    request.target = request.target.replace("/pull", "/self") if "/pull" in request.target else request.target[:-7] + "blobs"


def _body(request: Request) -> None:
    request.body += b" "


def _body_and_digest(request: Request) -> None:
    request.body += b" "
    request.header("Content-Digest", lambda _: f"sha-256=:{encode_base64(digest(request.body))}:")


def _host(request: Request) -> None:
    request.host = "127.0.0.1:1"


def _signed_for_another_host(request: Request) -> None:
    request.sign(authority="elsewhere.test")


def _other_signature(request: Request) -> None:
    request.header("Signature", lambda _: f"sh=:{encode_base64(os.urandom(64))}:")


def _flip(request: Request) -> None:
    request.header("Signature", lambda value: value[:10] + ("A" if value[10] != "A" else "B") + value[11:])


def _other_key(request: Request) -> None:
    request.key = SigningKey(os.urandom(32))
    request.sign()


def _without(name: str) -> Callable[[Request], None]:
    def drop(request: Request) -> None:
        request.lines = [line for line in request.lines if line[0] != name]

    return drop


ALTERATIONS: dict[str, Callable[[Request], None]] = {
    "@method": _method,
    "@path": _path,
    "@query": _query,
    "@authority by the Host header": _host,
    "@authority signed": _signed_for_another_host,
    "body": _body,
    "body and digest": _body_and_digest,
    "created, a second later": lambda request: request.header(
        "Signature-Input", lambda value: value.replace("created=1", "created=2", 1)
    ),
    "nonce": lambda request: request.header(
        "Signature-Input",
        lambda value: value.partition('nonce="')[0] + f'nonce="{"0" * 32}"' + value.partition('nonce="')[2][33:],
    ),
    "keyid, of another": lambda request: request.header(
        "Signature-Input", lambda value: value.replace(request.key_id.text, f"{request.key_id.kind}:{'0' * 32}")
    ),
    "keyid, of another kind": lambda request: request.header(
        "Signature-Input", lambda value: value.replace(request.key_id.text, f"l{request.key_id.text[1:]}")
    ),
    "alg": _in_input("ed25519", "hmac-sha256"),
    "tag": _in_input("stronghold-v1", "stronghold-v2"),
    "order": _in_input('"@method" "@authority"', '"@authority" "@method"'),
    "a component left out": _in_input(' "content-digest"', ""),
    "label": lambda request: request.header("Signature", lambda value: value.replace("sh=", "sig1=")),
    "signature": _other_signature,
    "one character of the signature": _flip,
    "key": _other_key,
    "no Content-Digest": _without("Content-Digest"),
    "no Signature-Input": _without("Signature-Input"),
    "no Signature": _without("Signature"),
}


def test_attack_42_a_route_of_two_methods_tells_them_apart_by_the_signature(scene: Scene) -> None:
    """Where path, key and body are the same, nothing but the signed method is between a question and a change."""
    admin = scene.org.admin
    key_id = KeyId(kind="o", raw=admin.operator_id)
    request = Request(admin.keyset.request, key_id, "GET", f"{scene.org.path}/blobs")
    request.method = "POST"
    assert request.send(scene).code == "SIGNATURE_INVALID"
    request.method = "GET"
    assert request.send(scene).status == 200


@pytest.mark.parametrize("what", REQUESTS)
def test_attack_42_every_component_altered(scene: Scene, what: str) -> None:
    for name, alter in ALTERATIONS.items():
        request = REQUESTS[what](scene)
        alter(request)
        before = effects(scene)
        reply = request.send(scene)
        assert reply.status in (400, 401, 403, 404, 405, 413, 421), (name, reply.status, reply.body)
        assert b"share" not in reply.body, name
        assert effects(scene) == before, name
    # The control: unaltered, and with headers that are not signed and so change nothing.
    request = REQUESTS[what](scene)
    request.lines += [("X-Forwarded-Host", "elsewhere.test"), ("X-HTTP-Method-Override", "DELETE"), ("Accept-Language", "x")]
    assert request.send(scene).status == 200


def test_attack_45_key_of_one_kind_on_the_routes_of_another(scene: Scene) -> None:
    """Each key of each holder, under the key id of each kind, on each route that is not its own."""
    admin, token = scene.org.admin, TokenSecret(scene.org.tokens[scene.token_id].token.secret)
    keys = {
        "t": (token.auth, scene.token_id),
        "o": (admin.keyset.request, admin.operator_id),
        "l": (admin.login.login, admin.operator_id),
        "documents": (admin.keyset.sign, admin.operator_id),
        "root": (scene.org.root.sign, admin.operator_id),
    }
    cells = 0
    for route in ROUTES:
        if not route.key_kind:
            continue
        wanted = {"org": scene.org.pin.hex(), "since": "1", "org_seq": "1"}
        query = "&".join(f"{each.name}={wanted[each.name]}" for each in route.parameters if each.is_required)
        target = route.path.format(org=scene.org.org_id.hex(), profile=scene.production.hex())
        target = f"{target}?{query}".rstrip("?")
        body = commit_of(scene).body if route.kind in ("commit", "genesis") else b""
        before = effects(scene)[2:]
        for holder, (key, own_id) in keys.items():
            for kind in ("t", "o", "l", "i", "r"):
                if holder == kind == route.key_kind:
                    continue
                raw = scene.org.org_id if kind == "r" else own_id
                reply = Request(key, KeyId(kind=kind, raw=raw), route.method, target, body).send(scene)
                assert reply.status in (400, 401, 403), (route.kind, holder, kind, reply.status, reply.body)
                cells += 1
        assert effects(scene)[2:] == before, route.kind
    assert cells > 300


def test_attack_45_own_keys_on_own_routes_are_served(scene: Scene) -> None:
    """The control."""
    assert pull_of(scene).send(scene).status == 200
    assert commit_of(scene).send(scene).status == 200
    admin = scene.org.admin
    for key, kind, rest in (
        (admin.keyset.request, "o", "/keys"),
        (admin.login.login, "l", f"/keyset?org={scene.org.pin.hex()}"),
    ):
        request = Request(key, KeyId(kind=kind, raw=admin.operator_id), "GET", scene.org.path + rest)
        assert request.send(scene).status == 200


@pytest.mark.parametrize("table", ["log_leaves", "log_heads", "log_sides", "requests"])
def test_attack_56_log_not_writable_no_secret(scene: Scene, agent: Agent, table: str) -> None:
    """Whichever part of the entry cannot be written: no secret, no commit; and both go on once it can be."""
    agent.gets(PRODUCTION)
    scene.server.query(
        f"CREATE TRIGGER full_{table} BEFORE {'UPDATE' if table == 'log_heads' else 'INSERT'} ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    scene.server.restart()
    before = effects(scene)
    agent.is_refused(error=Unavailable, code=7, everywhere=table == "log_leaves")
    answers = [each.answer for each in scene.server.recorded if each.path == PULL and each.status != 200]
    assert answers
    assert not any(b"share" in answer or b"entries" in answer for answer in answers)
    with pytest.raises(StrongholdError) as caught:
        scene.act(lambda draft: create_group(draft, "unlogged"))
    assert isinstance(caught.value, (Refused, Unavailable))
    assert effects(scene) == before
    scene.server.query(f"DROP TRIGGER full_{table}")
    scene.server.restart()
    agent.gets(PRODUCTION)
    scene.act(lambda draft: create_group(draft, "logged"))
    assert any(group.name == "logged" for group in scene.org.state.groups.values())
    assert any(each.path.endswith(COMMITS) for each in scene.server.recorded)
