"""Attack 11: one ciphertext that opens under two keys, in the history too (protocol section 10; rule R4).

AES-GCM binds no key: whoever knows two of them makes a box that opens under both, which is done here. What refuses it are
the commitments (kcv) in the signed documents.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from stronghold_cli.crypto.box import SUITE, open_box
from stronghold_cli.crypto.kdf import kdf
from stronghold_cli.crypto.keys import ProfileKey
from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.protocol.documents.leaves import OldKeyLeaf, decode_entry_leaf
from stronghold_cli.protocol.documents.profile import Grant
from stronghold_cli.protocol.encoding import digest, encode_base64, tlv
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.vault.keyring import Keyring
from stronghold_cli.vault.rekeying import rekey
from tests.e2e.support import Machine
from tests.evil.evil_server import PULL
from tests.evil.forging import forged_pull
from tests.evil.scene import TWO, Agent, Scene, answer_for, entry_of, home_of

Machines = Callable[[], Machine]

# GHASH of AES-GCM (NIST SP 800-38D, sections 6.3 and 6.4), just enough to solve for one block of ciphertext.

_R = 0xE1 << 120


def _times(one: int, other: int) -> int:
    product = 0
    for bit in range(127, -1, -1):
        if one >> bit & 1:
            product ^= other
        other = other >> 1 ^ (_R if other & 1 else 0)
    return product


def _inverse(value: int) -> int:
    result, power = 1 << 127, value  # the bit on the left is the neutral element
    for _ in range(127):
        power = _times(power, power)
        result = _times(result, power)
    return result


def _blocks(data: bytes) -> list[int]:
    return [int.from_bytes(data[start : start + 16].ljust(16, b"\0"), "big") for start in range(0, len(data), 16)]


class _Gcm:
    """What one key makes of a nonce and additional data."""

    def __init__(self, key: bytes, nonce: bytes, data: bytes) -> None:
        encryptor = Cipher(AES(key), ECB()).encryptor()
        self.h = int.from_bytes(encryptor.update(bytes(16)), "big")
        self.mask = int.from_bytes(encryptor.update(nonce + b"\0\0\0\1"), "big")
        self.data = data

    def tag(self, ciphertext: bytes) -> int:
        lengths = (8 * len(self.data)) << 64 | 8 * len(ciphertext)
        value = 0
        for block in (*_blocks(self.data), *_blocks(ciphertext), lengths):
            value = _times(value ^ block, self.h)
        return value ^ self.mask


def two_faced_box(one: tuple[bytes, tuple[Any, ...]], other: tuple[bytes, tuple[Any, ...]], kind: str) -> bytes:
    """A box of 32 bytes of plaintext that opens under two keys, each with its own ctx, to two plaintexts."""
    nonce = os.urandom(12)
    contexts = [tlv("stronghold/v1/box/" + kind, *ctx) for _, ctx in (one, other)]
    keys = [kdf(key, "box/" + kind, *ctx) for key, ctx in (one, other)]
    gcm = [_Gcm(key, nonce, SUITE + context) for key, context in zip(keys, contexts, strict=True)]
    first = os.urandom(16)
    # The second block stands two multiplications from the end: the difference of the tags is linear in it.
    difference = gcm[0].tag(first + bytes(16)) ^ gcm[1].tag(first + bytes(16))
    squares = _times(gcm[0].h, gcm[0].h) ^ _times(gcm[1].h, gcm[1].h)
    ciphertext = first + _times(difference, _inverse(squares)).to_bytes(16, "big")
    tag = gcm[0].tag(ciphertext)
    assert tag == gcm[1].tag(ciphertext)
    return SUITE + nonce + ciphertext + tag.to_bytes(16, "big")


def test_attack_11_two_keys_for_one_ciphertext(scene: Scene, new_machine: Machines) -> None:
    """A colluding admin boxes a profile's key so that two groups open the one box to two keys, each with its own values."""
    org, admin = scene.org, scene.org.admin
    draft = scene.draft()
    second = org.add_group(draft, "second")
    org.grant(draft, scene.production, second)
    other_agent = org.add_agent(draft, "other", second)
    org.apply(draft)
    draft = scene.draft()
    other_token = org.mint(draft, other_agent)
    org.apply(draft)
    answers = {
        group_id: answer_for(scene, new_machine(), token_id=token_id)
        for group_id, token_id in ((scene.group, scene.token_id), (second, other_token))
    }
    keys = {group_id: org.group_keys[group_id] for group_id in answers}
    ctx = {group_id: (org.org_id, scene.production, 1, group_id, 1) for group_id in answers}
    box = two_faced_box((keys[scene.group].raw, ctx[scene.group]), (keys[second].raw, ctx[second]), "profile-key")
    # The control: without a commitment it opens for both, to different keys.
    raw = {group_id: open_box(keys[group_id].raw, "profile-key", ctx[group_id], box) for group_id in answers}
    assert raw[scene.group] != raw[second]
    opened = {group_id: ProfileKey(raw[group_id], org.org_id, scene.production, 1) for group_id in answers}
    profile = org.state.profiles[scene.production].replace(
        kcv=opened[scene.group].kcv,
        grants={group_id: Grant(epoch=1, wrap_sha256=digest(box)) for group_id in sorted(answers)},
    )
    for group_id, token_id in ((scene.group, scene.token_id), (second, other_token)):
        answer = answers[group_id]
        secret = Secret(name="API_KEY", value=b"for %s" % group_id.hex().encode(), note=b"", author=bytes(16), time=1)
        # What the attacker wants the second group to see; its entries are the ones that the first group's key opens.
        entry = entry_of(answer, scene.ids["API_KEY"])
        ciphertext = opened[scene.group].seal_secret(entry.secret_id, 1, secret, os.urandom)
        leaf = decode_entry_leaf(entry.leaf).replace(ciphertext_sha256=digest(ciphertext)).encode()
        forged = forged_pull(
            answer,
            org.state,
            token_id,
            (admin, admin, admin),
            profile=profile,
            entries=(entry.replace(leaf=leaf, ciphertext=ciphertext),),
        ).replace(wrap=box)
        party = Agent(new_machine(), scene.server, scene.token(token_id))
        with scene.server.plays_back(PULL, forged.encode()):
            if group_id == scene.group:
                party.gets({"API_KEY": secret.value})
            else:
                party.is_refused()


def test_attack_11_two_keys_for_one_ciphertext_in_the_history(scene: Scene, new_machine: Machines) -> None:
    """The box of an older key opens under the newest key to another one than the profile had."""
    scene.write("API_KEY", TWO)
    first = scene.org.profile_keys[scene.production]
    scene.act(lambda draft: rekey(draft, groups=[scene.group]))
    newest, own = scene.org.profile_keys[scene.production], ProfileKey(os.urandom(32), scene.org.org_id, scene.production, 1)
    ctx = (scene.org.org_id, scene.production, 1, 2)
    two_faced = two_faced_box((newest.raw, ctx), (own.raw, ctx), "profile-key-old")
    assert open_box(newest.raw, "profile-key-old", ctx, two_faced) != open_box(own.raw, "profile-key-old", ctx, two_faced)
    for box in (two_faced, newest.wrap_old(own, os.urandom)):
        with pytest.raises(IntegrityError, match="commits to"):
            newest.unwrap_old(1, first.kcv, box)
    machine = new_machine()
    with home_of(machine):
        vault = scene.vault(machine, scene.org.admin)
        assert vault.keys.older_profile_keys(scene.production)[1].raw == first.raw
    # An admin whose signed leaf names that box, and the commitment of the true key, is believed in neither.
    state = scene.org.state
    leaf = OldKeyLeaf(kcv=first.kcv, box_sha256=digest(two_faced)).encode()
    forged = state.replace(maps={**state.maps, ("old_keys", scene.production): {(1).to_bytes(8, "big"): leaf}})
    with (
        home_of(machine),
        scene.server.lies_in_json("/old-keys", "boxes", lambda _: [encode_base64(two_faced)]),
        pytest.raises(IntegrityError, match="commits to"),
    ):
        Keyring(vault.operator, forged).older_profile_keys(scene.production)
