"""Attacks 34 and 50: each blob in each opener, each envelope in each verifier, and every version and suite byte."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stronghold_cli.crypto.box import SUITE, make_box, open_box
from stronghold_cli.crypto.keys import TokenSecret, open_group_key
from stronghold_cli.crypto.tokens import unlock_master_key
from stronghold_cli.keystore.marks import agent_mark
from stronghold_cli.protocol.documents.agent import Agent as AgentDocument
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.leaves import decode_entry_leaf, decode_member_leaf
from stronghold_cli.protocol.documents.login import Login
from stronghold_cli.protocol.documents.org import Org
from stronghold_cli.protocol.documents.profile import Grant, Profile
from stronghold_cli.protocol.documents.structure import Structure
from stronghold_cli.protocol.encoding import decode_base62, digest, encode_base62
from stronghold_cli.protocol.envelope import decode_envelope
from stronghold_cli.protocol.errors import IntegrityError, MalformedError, TokenMalformed
from stronghold_cli.protocol.keys import VerifyKey
from stronghold_cli.protocol.messages_pull import PullAnswer
from stronghold_cli.protocol.token import parse_agent_token
from stronghold_cli.vault.people import remove_operator
from tests.e2e.support import Machine
from tests.evil.evil_server import PULL
from tests.evil.forging import forged_pull
from tests.evil.scene import PRODUCTION, TWO, Agent, Scene, answer_for, entry_of, home_of

Machines = Callable[[], Machine]


class Furnished:
    """Every kind of blob and envelope that is stored anywhere, with what opens and verifies it."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        scene.mint()
        second = scene.add_person("Zoe", "admin")
        # Older versions in both profiles, so that the boxes of their older keys are kept.
        scene.write("API_KEY", TWO, scene.editor)
        draft = scene.draft()
        scene.org.put(draft, scene.staging, "API_KEY", TWO, scene.staging_ids["API_KEY"])
        scene.org.apply(draft)
        old = self._blobs()
        scene.act(lambda draft: remove_operator(draft, second.operator_id))
        self.blobs = {**old, **self._blobs()}
        self.keyset_box = scene.org.admin.login.wrap_keyset(scene.org.admin.keyset, os.urandom)
        self.blobs[digest(self.keyset_box)] = self.keyset_box
        session = make_box(b"s" * 32, "session", (scene.org.org_id, scene.org.admin.operator_id), bytes(60), os.urandom)
        self.session_box = session
        self.blobs[digest(session)] = session

    def _blobs(self) -> dict[bytes, bytes]:
        return {
            bytes(sha256): bytes(content) for sha256, content in self.scene.server.query("SELECT sha256, content FROM blobs")
        }

    def openers(self) -> Iterator[tuple[str, bytes, Callable[[bytes], object]]]:
        """Name, the hash of the one blob that it opens, and the opener, with the keys and ctx of one place."""
        org, state = self.scene.org, self.scene.org.state
        yield "keyset", digest(self.keyset_box), org.admin.login.open_keyset
        session_ctx = (org.org_id, org.admin.operator_id)
        yield "session", digest(self.session_box), lambda blob: open_box(b"s" * 32, "session", session_ctx, blob)
        seals = {org.admin.operator_id: org.admin.keyset.seal, self.scene.editor.operator_id: self.scene.editor.keyset.seal,
                 bytes(16): org.root.seal}  # fmt: skip
        for token_id, minted in org.tokens.items():
            seals[token_id] = unlock_master_key(minted.token, TokenSecret(minted.token.secret), minted.share).seal
        for group_id, group in state.groups.items():
            for member_id, leaf in state.group_members(group_id).items():
                yield (
                    f"seal of {member_id.hex()}",
                    leaf.sealed_sha256,
                    lambda blob, key=seals[member_id], group=group, kind=leaf.kind, id_=member_id: open_group_key(
                        key, org.org_id, group.id, group.epoch, kind, id_, group.kcv, blob
                    ),
                )
        for profile in state.profiles.values():
            key = org.profile_keys[profile.id]
            for group_id, grant in profile.grants.items():
                yield (
                    f"wrap of {profile.name}",
                    grant.wrap_sha256,
                    lambda blob, group=org.group_keys[group_id], profile=profile: group.unwrap(
                        profile.id, profile.epoch, profile.kcv, blob
                    ),
                )
            for epoch, old in state.old_keys(profile.id).items():
                yield (
                    f"old key of {profile.name}",
                    old.box_sha256,
                    lambda blob, key=key, epoch=epoch, old=old: key.unwrap_old(epoch, old.kcv, blob),
                )
            for secret_id, entry in state.entries(profile.id).items():
                yield (
                    f"secret of {profile.name}",
                    entry.ciphertext_sha256,
                    lambda blob, key=key, id_=secret_id, version=entry.version: key.open_secret(id_, version, blob),
                )


def test_attack_34_every_blob_in_every_opener(scene: Scene) -> None:
    furnished = Furnished(scene)
    openers = list(furnished.openers())
    assert len(openers) >= 14
    assert len(furnished.blobs) >= 20
    for name, own, opener in openers:
        opened = set()
        for sha256, blob in furnished.blobs.items():
            try:
                opener(blob)
            except IntegrityError:
                continue
            opened.add(sha256)
        assert opened == {own}, name


def test_attack_34_every_envelope_in_every_verifier(scene: Scene) -> None:
    """The bytes are those of one document; only the kind that is asked for differs."""
    state, admin = scene.org.state, scene.org.admin
    keyset = admin.login.wrap_keyset(admin.keyset, os.urandom)
    envelopes = {
        "org": admin.sign("org", state.org.document.payload),
        "structure": state.structure.envelope,
        "contents": state.contents[scene.production].envelope,
        "head": state.head.envelope,
        "login": scene.org.login_record(admin, keyset),
    }
    # The plain payloads, as if somebody had signed them.
    for kind, documents in (("agent", state.agents), ("group", state.groups), ("profile", state.profiles)):
        envelopes[kind] = admin.sign(kind, next(iter(documents.values())).payload)
    decoders: dict[str, Any] = {
        "org": Org, "structure": Structure, "contents": Contents, "head": Head, "login": Login,
        "agent": AgentDocument, "group": Group, "profile": Profile,
    }  # fmt: skip
    signer = VerifyKey(admin.keyset.sign.public)
    for kind, envelope in envelopes.items():
        again = decode_envelope(envelope.encode())
        for asked, decoder in decoders.items():
            if asked == kind:
                again.verify(asked, signer)
                assert decoder.decode(again.payload).sha256 == again.sha256
                continue
            with pytest.raises(IntegrityError):
                again.verify(asked, signer)
            # A relabelled envelope is another signed message, and its payload no such document.
            with pytest.raises(IntegrityError):
                again.replace(payload_type=envelopes[asked].payload_type).verify(asked, signer)
            with pytest.raises(MalformedError):
                decoder.decode(again.payload)


@pytest.mark.parametrize("part", ["head", "structure", "contents", "org"])
def test_attack_34_envelopes_in_each_others_places(scene: Scene, agent: Agent, new_machine: Machines, part: str) -> None:
    agent.gets(PRODUCTION)
    answer = answer_for(scene, new_machine())
    others = {"head": answer.head, "structure": answer.structure, "contents": answer.contents, "org": answer.org[-1]}
    for name, envelope in others.items():
        if name == part:
            continue
        forged = answer.replace(**{part: (envelope,) if part == "org" else envelope})
        with scene.server.plays_back(PULL, forged.encode()):
            agent.is_refused(everywhere=False)
    agent.gets(PRODUCTION)


@pytest.mark.parametrize("what", ["seal", "wrap", "secret"])
def test_attack_34_blobs_in_each_others_places(scene: Scene, agent: Agent, new_machine: Machines, what: str) -> None:
    """Signed leaves and grants name the wrong blob, so that every hash fits: a colluding admin signs."""
    answer, admin = answer_for(scene, new_machine()), scene.org.admin
    entry = entry_of(answer, scene.ids["API_KEY"])
    assert entry.ciphertext is not None
    for blob in {answer.seal, answer.wrap, entry.ciphertext} - {
        {"seal": answer.seal, "wrap": answer.wrap, "secret": entry.ciphertext}[what]
    }:
        forged = _with_blob(scene, answer, what, blob)
        with scene.server.plays_back(PULL, forged.encode()):
            agent.is_refused(everywhere=what == "secret" and blob == answer.wrap)
    assert admin.role == "admin"


def _with_blob(scene: Scene, answer: PullAnswer, what: str, blob: bytes) -> PullAnswer:
    """An answer in which all hashes name ``blob`` in the place of the seal, the wrap or a secret."""
    admin, state = scene.org.admin, scene.org.state
    signers = (admin, admin, admin)
    if what == "seal":
        leaf = decode_member_leaf(answer.member).replace(sealed_sha256=digest(blob)).encode()
        members = {**state.leaves("members", scene.group), scene.token_id: leaf}
        return forged_pull(answer, state, scene.token_id, signers, members=members).replace(seal=blob)
    if what == "wrap":
        profile = Profile.decode(answer.profile.payload)
        profile = profile.replace(grants={scene.group: Grant(epoch=1, wrap_sha256=digest(blob))})
        return forged_pull(answer, state, scene.token_id, signers, profile=profile).replace(wrap=blob)
    entry = entry_of(answer, scene.ids["API_KEY"])
    leaf = decode_entry_leaf(entry.leaf).replace(ciphertext_sha256=digest(blob)).encode()
    entries = tuple(each.replace(leaf=leaf, ciphertext=blob) if each is entry else each for each in answer.entries)
    return forged_pull(answer, state, scene.token_id, signers, entries=entries)


@pytest.mark.parametrize("what", ["seal", "wrap", "secret"])
def test_attack_50_every_version_and_suite_byte_of_what_a_pull_opens(
    scene: Scene, agent: Agent, new_machine: Machines, what: str
) -> None:
    """All hashes and signatures fit, as a colluding admin makes them: only version and suite tell."""
    answer = answer_for(scene, new_machine())
    entry = entry_of(answer, scene.ids["API_KEY"])
    blob = {"seal": answer.seal, "wrap": answer.wrap, "secret": entry.ciphertext or b""}[what]
    assert blob[:2] == SUITE
    for place in (0, 1):
        for value in (0, 2, 255):
            altered = bytearray(blob)
            altered[place] = value
            with scene.server.plays_back(PULL, _with_blob(scene, answer, what, bytes(altered)).encode()):
                agent.is_refused(everywhere=(what, place, value) == ("secret", 1, 2))
    with scene.server.plays_back(PULL, _with_blob(scene, answer, what, blob).encode()):
        Agent(new_machine(), scene.server, scene.token()).gets(PRODUCTION)


def test_attack_50_every_version_and_suite_byte_of_every_box_and_seal(scene: Scene) -> None:
    furnished = Furnished(scene)
    kinds: dict[str, tuple[bytes, Callable[[bytes], object]]] = {}
    for name, own, opener in furnished.openers():
        kinds.setdefault(name.partition(" of")[0], (furnished.blobs[own], opener))
    assert set(kinds) == {"keyset", "session", "seal", "wrap", "old key", "secret"}
    for blob, opener in kinds.values():
        opener(blob)
        for place in (0, 1):
            for value in range(256):
                if value == blob[place]:
                    continue
                altered = bytearray(blob)
                altered[place] = value
                with pytest.raises(MalformedError):
                    opener(bytes(altered))


def test_attack_50_every_version_and_kind_byte_of_a_token(scene: Scene, agent: Agent) -> None:
    """Each with the checksum that belongs to it, as whoever changes one would write it."""
    raw = decode_base62(scene.token().removeprefix("shat_"))

    def altered(place: int, value: int) -> str:
        body = raw[:place] + bytes((value,)) + raw[place + 1 : -4]
        return "shat_" + encode_base62(body + digest(b"stronghold/v1/token-checksum" + body)[:4])

    assert altered(0, raw[0]) == scene.token()
    for place in (0, 1):
        for value in range(256):
            if value != raw[place]:
                with pytest.raises(TokenMalformed):
                    parse_agent_token(altered(place, value))
    for flags in range(2, 256):
        with pytest.raises(TokenMalformed):
            parse_agent_token(altered(2, flags))
    # The one flag that there is stands in what the master key is encrypted with.
    assert parse_agent_token(altered(2, 1)).plain_http is True
    for value in (0, 2, 255):
        agent.token = altered(0, value)
        agent.run("env", "pull", "-p", "production").failed(3)
    agent.token = altered(2, 1)
    agent.is_refused(everywhere=False)


def test_attack_50_versions_of_envelopes_and_marks(scene: Scene, agent: Agent, new_machine: Machines) -> None:
    agent.gets(PRODUCTION)
    answer = answer_for(scene, new_machine())
    for part in ("head", "structure", "contents"):
        envelope = getattr(answer, part)
        document = envelope.payload_type
        for payload_type in (document.replace("v1", "v2"), document.replace("v1", "v0"), document.upper(), ""):
            forged = answer.replace(**{part: envelope.replace(payload_type=payload_type)})
            with scene.server.plays_back(PULL, forged.encode()):
                agent.is_refused(everywhere=(part, payload_type[-7:]) == ("head", "v2+json"))
    with home_of(agent.machine):
        path = agent_mark(scene.token_id).path
    with open(path, "rb+") as mark:
        content = mark.read()
        for version in (b"0", b"2", b"null", b'"1"'):
            changed = content.replace(b'"v":1', b'"v":' + version)
            assert changed != content
            mark.seek(0)
            mark.truncate()
            mark.write(changed)
            mark.flush()
            agent.is_refused(everywhere=version == b"2")
        mark.seek(0)
        mark.truncate()
        mark.write(content)
    agent.gets(PRODUCTION)
