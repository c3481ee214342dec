"""The answers that an agent gets: ``PullAnswer`` (secrets) and ``SelfAnswer`` (who am I, what may I read).

Apart from ``messages`` so that the hot commands import no more than a pull needs. Nothing in them is believed for standing
there: ``stronghold_cli.reader`` verifies each part, in the order of protocol section 5.
"""

from __future__ import annotations

from typing import Any

from stronghold_cli.protocol.documents.base import HASH_BYTES, Members
from stronghold_cli.protocol.encoding import decode_base64, decode_hex, decode_json, encode_base64, encode_json
from stronghold_cli.protocol.envelope import Envelope, envelope_from_json
from stronghold_cli.protocol.errors import MalformedError
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.signed_map import Inclusion

MAX_PULL = 128 << 20
_MANY = 100_000
# An entry has three values and its list; the rest of an answer has few.
_MAX_VALUES = 5 * _MANY


class Proven(Record):
    """A plain payload with the proof of its leaf in the structure's documents map."""

    payload: bytes
    proof: Inclusion


class Entry(Record):
    """An entry of a profile: secret id, raw leaf, and the ciphertext of a live one."""

    secret_id: bytes
    leaf: bytes
    ciphertext: bytes | None

    def __repr__(self) -> str:
        return f"Entry({self.secret_id.hex()})"


class PullAnswer(Record):
    """Everything that an agent needs to verify and open one profile, in one answer.

    ``org`` begins with the document that the agent named; ``member`` is the agent's own leaf in the group, ``share`` the
    server's half of the token's key, ``seal`` the group key sealed to the token, ``wrap`` the profile key under the group
    key. ``entries`` are all leaves of the contents.
    """

    org: tuple[Envelope, ...]
    head: Envelope
    structure: Envelope
    agent: Proven
    profile: Proven
    group: Proven
    member: bytes
    member_proof: Inclusion
    share: bytes
    seal: bytes
    wrap: bytes
    contents: Envelope
    contents_proof: Inclusion
    entries: tuple[Entry, ...]

    def __repr__(self) -> str:
        return f"PullAnswer({len(self.entries)} entries)"

    def encode(self) -> bytes:
        """The body of the answer."""
        return encode_json(
            {
                "org": [envelope.to_json() for envelope in self.org],
                "head": self.head.to_json(),
                "structure": self.structure.to_json(),
                "agent": _proven_to_json(self.agent),
                "profile": _proven_to_json(self.profile),
                "group": _proven_to_json(self.group),
                "member": encode_base64(self.member),
                "member_proof": _inclusion_to_json(self.member_proof),
                "share": encode_base64(self.share),
                "seal": encode_base64(self.seal),
                "wrap": encode_base64(self.wrap),
                "contents": self.contents.to_json(),
                "contents_proof": _inclusion_to_json(self.contents_proof),
                "entries": [
                    [
                        entry.secret_id.hex(),
                        encode_base64(entry.leaf),
                        None if entry.ciphertext is None else encode_base64(entry.ciphertext),
                    ]
                    for entry in self.entries
                ],
                "receipt": None,
            }
        )


def encode_own_members(agent: Proven, member: bytes, member_proof: Inclusion, seal: bytes) -> tuple[bytes, bytes, bytes]:
    """What is a token's own, as ``PullAnswer.encode`` writes it: ``agent``, ``member`` with its proof, ``seal``."""
    own_leaf = encode_json(encode_base64(member)) + b',"member_proof":' + encode_json(_inclusion_to_json(member_proof))
    return encode_json(_proven_to_json(agent)), own_leaf, encode_json(encode_base64(seal))


class OwnContents(Record):
    """The contents of a profile without its ciphertexts: envelope, proof of its leaf in the head's map, and raw leaves.

    ``entries`` are by secret id; ``None`` where there are so many that the server leaves them out.
    """

    contents: Envelope
    proof: Inclusion
    entries: dict[bytes, bytes] | None

    def __repr__(self) -> str:
        return f"OwnContents({self.contents!r})"

    def to_json(self) -> dict[str, Any]:
        """Its members in JSON."""
        entries = self.entries
        return {
            "contents": self.contents.to_json(),
            "proof": _inclusion_to_json(self.proof),
            "entries": None if entries is None else {key.hex(): encode_base64(leaf) for key, leaf in entries.items()},
        }


class SelfAnswer(Record):
    """What an agent may know of itself: its own document, those of its groups, and of the profiles granted to them.

    ``contents`` are those of the profiles, in their order.
    """

    org: tuple[Envelope, ...]
    head: Envelope
    structure: Envelope
    agent: Proven
    groups: tuple[Proven, ...]
    profiles: tuple[Proven, ...]
    contents: tuple[OwnContents, ...]

    def encode(self) -> bytes:
        """The body of the answer."""
        return encode_json(
            {
                "org": [envelope.to_json() for envelope in self.org],
                "head": self.head.to_json(),
                "structure": self.structure.to_json(),
                "agent": _proven_to_json(self.agent),
                "groups": [_proven_to_json(group) for group in self.groups],
                "profiles": [_proven_to_json(profile) for profile in self.profiles],
                "contents": [each.to_json() for each in self.contents],
                "receipt": None,
            }
        )


def decode_pull_answer(body: bytes) -> PullAnswer:
    """Parse the answer to a pull; raises ``MalformedError``."""
    members = Members(decode_json(body, MAX_PULL, _MAX_VALUES), "pull", (*PullAnswer.members, "receipt"))
    return PullAnswer(
        org=_envelopes(members, "org"),
        head=envelope_from_json(members.raw("head")),
        structure=envelope_from_json(members.raw("structure")),
        agent=_proven(members.raw("agent")),
        profile=_proven(members.raw("profile")),
        group=_proven(members.raw("group")),
        member=_blob(members.raw("member")),
        member_proof=_inclusion(members.raw("member_proof")),
        share=_blob(members.raw("share")),
        seal=_blob(members.raw("seal")),
        wrap=_blob(members.raw("wrap")),
        contents=envelope_from_json(members.raw("contents")),
        contents_proof=_inclusion(members.raw("contents_proof")),
        entries=tuple(_entry(value) for value in members.items("entries", _MANY)),
    )


def decode_self_answer(body: bytes) -> SelfAnswer:
    """Parse an agent's self-information; raises ``MalformedError``."""
    members = Members(decode_json(body, MAX_PULL, _MAX_VALUES), "self", (*SelfAnswer.members, "receipt"))
    return SelfAnswer(
        org=_envelopes(members, "org"),
        head=envelope_from_json(members.raw("head")),
        structure=envelope_from_json(members.raw("structure")),
        agent=_proven(members.raw("agent")),
        groups=tuple(_proven(value) for value in members.items("groups", _MANY)),
        profiles=tuple(_proven(value) for value in members.items("profiles", _MANY)),
        contents=tuple(_own_contents(value) for value in members.items("contents", _MANY)),
    )


def _envelopes(members: Members, name: str) -> tuple[Envelope, ...]:
    return tuple(envelope_from_json(value) for value in members.items(name, _MANY))


def _entry(value: object) -> Entry:
    if not isinstance(value, list) or len(value) != 3 or not isinstance(value[0], str):
        raise MalformedError("pull: an entry is not [id, leaf, ciphertext]")
    ciphertext = None if value[2] is None else _blob(value[2])
    return Entry(secret_id=decode_hex(value[0], 16), leaf=_blob(value[1]), ciphertext=ciphertext)


def _own_contents(value: object) -> OwnContents:
    members = Members(value, "self.contents", OwnContents.members)
    entries = members.optional("entries", lambda name: members.object(name, _MANY))
    return OwnContents(
        contents=envelope_from_json(members.raw("contents")),
        proof=_inclusion(members.raw("proof")),
        entries=None if entries is None else {decode_hex(key, 16): _blob(leaf) for key, leaf in entries.items()},
    )


def _proven_to_json(proven: Proven) -> dict[str, Any]:
    return {"payload": encode_base64(proven.payload), "proof": _inclusion_to_json(proven.proof)}


def _proven(value: object) -> Proven:
    members = Members(value, "proven document", Proven.members)
    return Proven(payload=_blob(members.raw("payload")), proof=_inclusion(members.raw("proof")))


def _inclusion_to_json(proof: Inclusion) -> dict[str, Any]:
    return {"index": proof.index, "path": [encode_base64(node) for node in proof.path]}


def _inclusion(value: object) -> Inclusion:
    members = Members(value, "proof", Inclusion.members)
    path = []
    for node in members.items("path", 64):
        if not isinstance(node, str):
            raise MalformedError("proof: a node is not a text")
        path.append(decode_base64(node, length=HASH_BYTES))
    return Inclusion(index=members.count("index"), path=tuple(path))


def _blob(value: object) -> bytes:
    if not isinstance(value, str):
        raise MalformedError("a member is not a text")
    return decode_base64(value)
