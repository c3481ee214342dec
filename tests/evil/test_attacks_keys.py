"""Attacks 25, 33, 37 and 38: on keys, seals and shares (protocol section 10, "Keys")."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import pairwise

import pytest

from stronghold_cli.crypto.keys import GroupKey, ProfileKey
from stronghold_cli.crypto.seal import seal
from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.leaves import decode_member_leaf
from stronghold_cli.protocol.documents.org import Operator, Org
from stronghold_cli.protocol.documents.profile import Grant, Profile
from stronghold_cli.protocol.encoding import digest, encode_base64
from stronghold_cli.protocol.envelope import Envelope, pre_authentication_encoding
from stronghold_cli.protocol.errors import IntegrityError, MalformedError
from stronghold_cli.protocol.keys import SigningKey, VerifyKey, sealing_key_hash
from stronghold_cli.protocol.messages import Commit, decode_commit
from stronghold_cli.protocol.messages_pull import PullAnswer
from stronghold_cli.protocol.signed_map import SignedMap
from stronghold_cli.vault.profiles import read_secrets
from tests.e2e.support import PASSPHRASE, Machine
from tests.evil.evil_server import COMMITS, KEYS, SETUP, EvilServer, Exchange
from tests.evil.scene import PRODUCTION, Agent, Scene, files_below, home_of, init_on

_P = 2**255 - 19
_ORDER_8 = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
_ORDER_8_TOO = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"


def _encoded(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


# The points of small order in each of their encodings, and further encodings that are not canonical (y >= p).
BAD_SIGNING_KEYS = {
    "neutral": _encoded(1),
    "neutral, sign set": _encoded(1, 1),
    "order 2": _encoded(_P - 1),
    "order 2, sign set": _encoded(_P - 1, 1),
    "order 4": _encoded(0),
    "order 4, sign set": _encoded(0, 1),
    "order 8, a": bytes.fromhex(_ORDER_8),
    "order 8, b": bytes.fromhex(_ORDER_8[:-2] + "fa"),
    "order 8, c": bytes.fromhex(_ORDER_8_TOO),
    "order 8, d": bytes.fromhex(_ORDER_8_TOO[:-2] + "85"),
    "p": _encoded(_P),
    "p + 1": _encoded(_P + 1),
    "p + 1, sign set": _encoded(_P + 1, 1),
    "p + 2": _encoded(_P + 2),
    "p + 3, sign set": _encoded(_P + 3, 1),
    "2**255 - 1": _encoded(2**255 - 1),
}
LOW_ORDER_X25519 = {
    "0": 0,
    "1": 1,
    "p - 1": _P - 1,
    "p": _P,
    "p + 1": _P + 1,
    "order 8, a": int.from_bytes(
        bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"), "little"
    ),
    "order 8, b": int.from_bytes(
        bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"), "little"
    ),
    "0, top bit": 1 << 255,
}


def own_keys(scene: Scene, answer: PullAnswer) -> tuple[GroupKey, ProfileKey]:
    """Keys of the server's making, for the group and profile of an answer."""
    group, profile = Group.decode(answer.group.payload), Profile.decode(answer.profile.payload)
    group_key = GroupKey(os.urandom(32), scene.org.org_id, group.id, group.epoch)
    return group_key, ProfileKey(os.urandom(32), scene.org.org_id, profile.id, profile.epoch)


@pytest.mark.parametrize("how", ["seal", "seal and member leaf", "seal, leaf and group", "everything down to the values"])
def test_attack_25_server_seals_its_own_group_key(scene: Scene, agent: Agent, how: str) -> None:
    agent.gets(PRODUCTION)
    public = scene.org.tokens[scene.token_id].seal_public

    def bend(answer: PullAnswer) -> PullAnswer:
        group_key, profile_key = own_keys(scene, answer)
        sealed = group_key.seal_to(public, "token", scene.token_id)
        answer = answer.replace(seal=sealed)
        if how == "seal":
            return answer
        leaf = decode_member_leaf(answer.member).replace(sealed_sha256=digest(sealed)).encode()
        members = SignedMap({**scene.org.state.leaves("members", scene.group), scene.token_id: leaf})
        answer = answer.replace(member=leaf, member_proof=members.prove(scene.token_id))
        if how == "seal and member leaf":
            return answer
        group = Group.decode(answer.group.payload).replace(kcv=group_key.kcv, member_map=members.root)
        answer = answer.replace(group=answer.group.replace(payload=group.payload))
        if how == "seal, leaf and group":
            return answer
        wrap = group_key.wrap(profile_key, os.urandom)
        profile = Profile.decode(answer.profile.payload)
        grants = {group.id: Grant(epoch=group.epoch, wrap_sha256=digest(wrap))}
        payload = profile.replace(kcv=profile_key.kcv, grants=grants).payload
        secret = Secret(name="API_KEY", value=b"of-the-server", note=b"", author=scene.editor.operator_id, time=1)
        entries = tuple(
            each.replace(ciphertext=profile_key.seal_secret(each.secret_id, 1, secret, os.urandom))
            for each in answer.entries
        )
        return answer.replace(wrap=wrap, profile=answer.profile.replace(payload=payload), entries=entries)

    with scene.server.lies_to_pulls(bend):
        agent.is_refused(everywhere=how in ("seal", "everything down to the values"))
    agent.gets(PRODUCTION)


@pytest.mark.parametrize("what", ["seal", "wrap"])
def test_attack_25_server_seals_its_own_group_key_to_an_operator(
    scene: Scene, new_machine: Callable[[], Machine], what: str
) -> None:
    machine, admin = new_machine(), scene.org.admin
    profile = scene.org.state.profiles[scene.production]
    with home_of(machine):
        assert read_secrets(scene.vault(machine, admin), profile)["API_KEY"].secret.value == PRODUCTION["API_KEY"]
    group_key = GroupKey(os.urandom(32), scene.org.org_id, scene.group, 1)
    profile_key = ProfileKey(os.urandom(32), scene.org.org_id, scene.production, 1)
    seal_of_server = group_key.seal_to(admin.keyset.seal.public, "operator", admin.operator_id)
    # The second kind knows the true group key (an agent gave it away) and boxes a profile key of its own under it.
    wrap_of_server = scene.org.group_keys[scene.group].wrap(profile_key, os.urandom)

    def bend(status: int, body: bytes) -> tuple[int, bytes]:
        keys = json.loads(body)
        if what == "seal":
            keys["seals"][scene.group.hex()] = encode_base64(seal_of_server)
        else:
            keys["wraps"] = [[*each[:2], encode_base64(wrap_of_server)] for each in keys["wraps"]]
        return status, json.dumps(keys).encode()

    with scene.server.lies(KEYS, bend), home_of(machine):
        vault = scene.vault(machine, admin)
        with pytest.raises(IntegrityError):
            read_secrets(vault, profile)


@pytest.mark.parametrize("key", BAD_SIGNING_KEYS.values(), ids=BAD_SIGNING_KEYS.keys())
def test_attack_33_small_order_and_non_canonical_signing_keys(
    scene: Scene, agent: Agent, new_machine: Callable[[], Machine], key: bytes
) -> None:
    """An org document that a colluding admin really signed makes such a key an admin's; anybody could then sign with it."""
    with pytest.raises(MalformedError):
        VerifyKey(key)
    agent.gets(PRODUCTION)
    known = scene.org.state.org.document
    ghost_id = bytes(range(16))

    def admit(sign: bytes) -> tuple[Envelope, Org]:
        ghost = Operator(name="Ghost", sign=sign, request=SigningKey(b"r" * 32).public, seal_sha256=b"s" * 32, role="admin")
        document = known.replace(seq=known.seq + 1, prev=known.sha256, operators={**known.operators, ghost_id: ghost})
        return scene.org.admin.sign("org", document.payload), document

    def show(org: tuple[Envelope, Org], forge: Callable[[bytes], bytes]) -> Callable[[PullAnswer], PullAnswer]:
        def bend(answer: PullAnswer) -> PullAnswer:
            head = Head.decode(answer.head.payload)
            payload = head.replace(seq=head.seq + 1, prev=head.sha256, org_sha256=org[1].sha256).payload
            message = pre_authentication_encoding(answer.head.payload_type, payload)
            forged = answer.head.replace(payload=payload, keyid=ghost_id.hex(), signature=forge(message))
            return answer.replace(org=(*answer.org, org[0]), head=forged)

        return bend

    # With the neutral point as key, R = the neutral point and S = 0 is a signature of every message.
    universal = _encoded(1) + bytes(32)
    with scene.server.lies_to_pulls(show(admit(key), lambda _: universal)):
        agent.is_refused(error=IntegrityError, everywhere=key == _encoded(1))
    # The control: a proper key in the same place, and its signature, are believed (a colluding admin may do that).
    own = SigningKey(os.urandom(32))
    friend = Agent(new_machine(), scene.server, scene.token())
    with scene.server.lies_to_pulls(show(admit(own.public), own.sign)):
        friend.gets(PRODUCTION)


def test_attack_33_small_order_log_key_offered_at_the_creation_of_an_org(
    evil: EvilServer, new_machine: Callable[[], Machine]
) -> None:
    machine = new_machine()
    passphrase, code = machine.file("passphrase", PASSPHRASE), machine.file("code", evil.setup_code())
    before = files_below(machine.home)
    with evil.lies_in_json(SETUP, "log_keys.0.public_key", lambda _: encode_base64(_encoded(1))):
        result = machine.run(
            *("init", "--server", evil.url, "--setup-code-file", str(code), "--org", "Acme", "--name", "Ada"),
            *("--passphrase-file", str(passphrase), "--kit-file", str(machine.home / "kits")),
        ).failed(8)
    assert result.out_bytes == b""
    assert files_below(machine.home) == before
    assert not any(each.method == "POST" for each in evil.recorded)


@pytest.mark.parametrize("u", LOW_ORDER_X25519.values(), ids=LOW_ORDER_X25519.keys())
def test_attack_33_low_order_sealing_keys(scene: Scene, new_machine: Callable[[], Machine], u: int) -> None:
    """Offered for root's key to an operator who makes a group, even where its hash were the signed one."""
    public = scene.org.root.seal.public[:1184] + (u % 2**256).to_bytes(32, "little")
    with pytest.raises(MalformedError):
        sealing_key_hash(public)
    with pytest.raises(IntegrityError):
        seal(public, "group-key", (scene.org.org_id, bytes(16), 1, "root", bytes(16)), bytes(32))
    machine = new_machine()
    with home_of(machine):
        vault = scene.vault(machine, scene.org.admin)
        with (
            scene.server.lies_in_json("/sealing-keys", "keys", lambda keys: [encode_base64(public), *keys]),
            pytest.raises(IntegrityError),
        ):
            vault.keys.people()
        assert scene.org.root.seal.public_sha256 in vault.keys.people()


@pytest.mark.parametrize(
    "how",
    [
        "chosen",
        "zeros",
        "padded with a zero",
        "padded to 64",
        "hashed",
        "cut",
        "empty",
        "of another token",
        "in the database",
    ],
)
def test_attack_37_share_chosen_padded_or_swapped(scene: Scene, agent: Agent, how: str) -> None:
    """HMAC pads short keys with zeros and hashes long ones: without the check of 32 bytes several shares would do."""
    agent.gets(PRODUCTION)
    other_id = scene.mint()
    own, other = (scene.org.tokens[each].share for each in (scene.token_id, other_id))
    shares = {
        "chosen": os.urandom(32),
        "zeros": bytes(32),
        "padded with a zero": own + bytes(1),
        "padded to 64": own + bytes(32),
        "hashed": digest(own),
        "cut": own[:31],
        "empty": b"",
        "of another token": other,
    }
    if how == "in the database":
        for token_id, share in ((scene.token_id, other), (other_id, own)):
            scene.server.query("UPDATE shares SET share = ? WHERE token_id = ?", share, token_id)
        agent.is_refused(everywhere=False)
        return
    with scene.server.lies_to_pulls(lambda answer: answer.replace(share=shares[how])):
        agent.is_refused(everywhere=how in ("padded to 64", "of another token"))
    with scene.server.lies_to_pulls(lambda answer: answer.replace(share=own)):
        agent.gets(PRODUCTION)


def _secret_parts(commit: Commit) -> set[bytes]:
    """What a minting commit carries that must never be used twice: token ids, shares, public keys, seals."""
    return {*commit.shares, *commit.shares.values(), *commit.blobs}


@pytest.mark.parametrize("conflicts", [1, 3])
def test_attack_38_a_mint_that_is_retried_reuses_nothing(
    evil: EvilServer, new_machine: Callable[[], Machine], conflicts: int
) -> None:
    org = init_on(evil, new_machine())
    org.make_agent("deploy", {"production": {"API_KEY": "value-of-production"}})
    already = len(_commits(evil))
    with evil.refuses(COMMITS, 409, "CONFLICT", limit=conflicts, ask=False) as lie:
        token = org.run("-q", "token", "mint", "deploy").ok().out.strip()
    assert lie.told == conflicts
    attempts = [decode_commit(each.body) for each in _commits(evil)[already:]]
    assert len(attempts) == conflicts + 1
    for one, other in pairwise(attempts):
        assert len(one.shares) == len(other.shares) == 1
        assert not _secret_parts(one) & _secret_parts(other)
    assert len(set().union(*map(_secret_parts, attempts))) == sum(len(_secret_parts(each)) for each in attempts)
    pulled = Agent(new_machine(), evil, token).run("env", "pull", "--profile", "production", "--format", "json").ok().json()
    assert pulled == {"API_KEY": "value-of-production"}


@pytest.mark.parametrize(("status", "code"), [(409, "CONFLICT"), (401, "REPLAYED"), (503, "BUSY")])
def test_attack_38_a_mint_that_took_effect_is_not_done_twice(
    evil: EvilServer, new_machine: Callable[[], Machine], status: int, code: str
) -> None:
    """The server carries the commit out and says that it did not: the client finds its own head, and shows that token."""
    org = init_on(evil, new_machine())
    org.make_agent("deploy", {"production": {"API_KEY": "value-of-production"}})
    already = len(_commits(evil))
    with evil.refuses(COMMITS, status, code, limit=1):
        token = org.run("-q", "token", "mint", "deploy").ok().out.strip()
    assert len(_commits(evil)) == already + 1
    assert len(org.run("--json", "token", "list").ok().json()) == 2
    pulled = Agent(new_machine(), evil, token).run("env", "pull", "--profile", "production", "--format", "json").ok().json()
    assert pulled == {"API_KEY": "value-of-production"}


def _commits(evil: EvilServer) -> list[Exchange]:
    return [each for each in evil.recorded if each.path.endswith(COMMITS)]
