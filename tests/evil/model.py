"""The rules of an agent's pull on a page: documents, signers and links as plain data, and what is accepted as predicates.

It is written from section 5 of docs/protocol.md alone and imports nothing of the program: no bytes, hashes, proofs or
signatures, no dates but small numbers. Two documents have one hash exactly where they are equal; a signature is the name of
whose key made it; a blob is what is in it and where it belongs. ``model_bytes`` makes real answers of these values, and
``test_model`` holds the real reader against ``judge``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")

ROOT = "root"
VERSION = 1  # of this client; ``client_min`` is compared with it


@dataclass_transform(frozen_default=True)
def value(kind: type[T]) -> type[T]:
    """A frozen dataclass that computes its hash once: a head holds everything below it."""
    made = dataclass(frozen=True)(kind)
    compute = made.__hash__

    def remembered(self: Any) -> int:
        known = self.__dict__.get("_hash")
        if known is None:
            known = self.__dict__["_hash"] = compute(self)
        return int(known)

    made.__hash__ = remembered  # type: ignore[method-assign]
    return made


@value
class Org:
    """``root`` is the name of the root key; ``people`` are (name, role)."""

    of: str
    seq: int
    prev: Org | None
    root: str
    people: tuple[tuple[str, str], ...]
    client_min: int = 1
    max_age: int = 0
    resume: int = 0
    crit: bool = False

    def role(self, name: str) -> str | None:
        return dict(self.people).get(name)


@value
class Box:
    """Something sealed or boxed: under which key, for which place (the ctx), and what is in it."""

    kind: str
    key: str
    place: tuple[Any, ...]
    inside: Any


@value
class Member:
    """A token's leaf in a group."""

    token: str
    owner: str
    seal_key: str
    seal: Box


@value
class Token:
    name: str
    auth_key: str
    seal_key: str
    not_after: int = 0


@value
class Agent:
    of: str
    name: str
    groups: tuple[str, ...]
    tokens: tuple[Token, ...]
    active: bool = True
    crit: bool = False


@value
class Group:
    of: str
    name: str
    epoch: int
    key: str
    members: tuple[Member, ...]
    crit: bool = False


@value
class Grant:
    group: str
    epoch: int
    wrap: Box


@value
class Profile:
    of: str
    id: str
    name: str
    epoch: int
    key: str
    editors: tuple[str, ...]
    grants: tuple[Grant, ...]
    crit: bool = False


@value
class Structure:
    of: str
    seq: int
    documents: frozenset[Agent | Group | Profile]
    locked: tuple[str, ...] = ()
    crit: bool = False


@value
class Entry:
    """A leaf; ``box`` is ``None`` where the secret was deleted."""

    secret: str
    version: int
    epoch: int
    box: Box | None


@value
class Contents:
    of: str
    profile: str
    seq: int
    version: int
    epoch: int
    entries: frozenset[Entry]
    crit: bool = False


@value
class Head:
    of: str
    seq: int
    org: Org
    structure: Structure
    contents: frozenset[Contents]
    created: int
    crit: bool = False


@value
class Signed:
    """``claims`` is the key id in the envelope, ``key`` whose key really signed."""

    document: Any
    claims: str
    key: str


@value
class Answer:
    """``proofs`` are the structures in whose map agent, profile and group were proven; ``member_of``, the group's."""

    org: tuple[Signed, ...]
    head: Signed
    structure: Signed
    agent: Agent
    profile: Profile
    group: Group
    proofs: tuple[Structure, Structure, Structure]
    member: Member
    member_of: Group
    share: str
    seal: Box
    wrap: Box
    contents: Signed
    contents_of: Head
    entries: tuple[tuple[Entry, Box | None], ...]


@value
class Mark:
    org: Org
    head: Head
    structure_seq: int
    contents: tuple[Contents, ...]


@value
class Holder:
    """A token as its agent holds it: the pin is an org document, the share the one that opens its master key."""

    name: str
    pin: Org
    floor: int
    seal_key: str


class RefusedError(Exception):
    """The number of the step of the pull, and the rule in a few words."""


def require(step: int, rule: str, holds: bool) -> None:
    if not holds:
        raise RefusedError(step, rule)


def judge(answer: Answer, holder: Holder, mark: Mark | None, asked: str, now: int) -> Mapping[str, str]:
    """Values by name, as the agent releases them, or ``RefusedError``."""
    org = chain(answer.org, holder, mark)
    head: Head = answer.head.document
    structure: Structure = answer.structure.document
    require(3, "signer", counts(answer.head, org, ("admin", "editor")) and not head.crit)
    require(3, "its org document is the chain's last", (head.of, head.org) == (org.of, org))
    require(3, "floor", head.seq >= holder.floor)
    require(3, "mark", mark is None or above(head, mark.head))
    require(3, "age", head.created <= now + 300 and (not org.max_age or now - head.created <= org.max_age))
    require(4, "signer", counts(answer.structure, org, ("admin",)) and not structure.crit)
    require(4, "hash in head", structure == head.structure and structure.of == org.of)
    least = max(holder.floor, 0 if mark is None else mark.structure_seq)
    require(4, "floor and mark", least <= structure.seq <= head.seq)
    agent, profile, group = answer.agent, answer.profile, answer.group
    for document, proof in zip((agent, profile, group), answer.proofs, strict=True):
        require(5, "leaf", proven(document, proof.documents, structure.documents))
        require(5, "of this org", document.of == org.of and not document.crit)
    own = next((token for token in agent.tokens if token.name == holder.name), None)
    require(5, "auth key is mine", own is not None and own.auth_key == holder.name)
    require(5, "state", agent.active and agent.name not in structure.locked)
    require(5, "expiry", own is not None and (not own.not_after or own.not_after > now))
    require(6, "the one that was asked for", profile.name == asked)
    grant = next((each for each in profile.grants if each.group == group.name), None)
    require(7, "the grant names its epoch", group.name in agent.groups and grant is not None and grant.epoch == group.epoch)
    member = answer.member
    require(7, "own leaf", proven(member, frozenset(answer.member_of.members), frozenset(group.members)))
    require(7, "own leaf is mine", own is not None and member == Member(holder.name, agent.name, own.seal_key, member.seal))
    require(8, "share", answer.share == holder.name)
    require(8, "seal_sha256 is my key", member.seal_key == holder.seal_key)
    require(8, "seal equals sealed_sha256", answer.seal == member.seal)
    opened = opens(answer.seal, "seal", member.seal_key, (org.of, group.name, group.epoch, holder.name))
    require(8, "kcv of the group", opened == group.key)
    require(8, "wrap hash", grant is not None and answer.wrap == grant.wrap)
    place = (org.of, profile.id, profile.epoch, group.name, group.epoch)
    require(8, "kcv of the profile", opens(answer.wrap, "wrap", group.key, place) == profile.key)
    contents: Contents = answer.contents.document
    require(9, "signer", may_write(answer.contents, org, profile) and not contents.crit)
    require(9, "hash in head", proven(contents, answer.contents_of.contents, head.contents))
    require(9, "profile and epoch", (contents.of, contents.profile, contents.epoch) == (org.of, profile.id, profile.epoch))
    require(9, "seq", contents.seq <= head.seq)
    known = None if mark is None else next((each for each in mark.contents if each.profile == profile.id), None)
    require(9, "mark", known is None or contents == known or contents.version > known.version)
    return released(answer.entries, contents, profile)


def proven(leaf: Any, others: frozenset[Any], whole: frozenset[Any]) -> bool:
    """Whether a proof that was made for this place in the map ``others`` shows the leaf in the map ``whole``.

    It tells of all other places, and so it does where these are the same in both.
    """
    return frozenset(each for each in others if place_of(each) != place_of(leaf)) | {leaf} == whole


def place_of(leaf: Any) -> tuple[str, str]:
    """Kind and id: what can stand only once in a map."""
    name = {Profile: "id", Member: "token", Contents: "profile"}.get(type(leaf), "name")
    return type(leaf).__name__, getattr(leaf, name)


def chain(links: tuple[Signed, ...], holder: Holder, mark: Mark | None) -> Org:
    """Step 2."""
    require(2, "there is a link", bool(links))
    start = holder.pin if mark is None else mark.org
    first: Org = links[0].document
    from_root = mark is not None and links[0].claims == ROOT and links[0].key == mark.org.root and first.seq > mark.org.seq
    require(2, "it starts at mark or pin", first == start or from_root)
    require(2, "crit", not first.crit)
    for before, link in pairwise(links):
        require(2, "link", follows(before.document, link))
    last: Org = links[-1].document
    require(2, "mark", mark is None or last == mark.org or last.seq > mark.org.seq)
    require(2, "client_min", last.client_min <= VERSION)
    return last


def follows(before: Org, link: Signed) -> bool:
    """Which org document may follow which; links may be left out in between."""
    after: Org = link.document
    by_root = link.claims == ROOT and link.key == before.root
    by_admin = link.claims != ROOT and before.role(link.claims) == "admin" and link.key == link.claims
    unchanged = after.root == before.root and after.resume in (0, before.resume) and after.client_min >= before.client_min
    adjacent = after.seq == before.seq + 1 and after.prev == before
    return (
        after.of == before.of
        and not after.crit
        and (adjacent or after.seq > before.seq + 1)
        and (by_root or (by_admin and unchanged))
    )


def counts(signed: Signed, org: Org, roles: tuple[str, ...]) -> bool:
    """Whose signature counts now: that of who stands with that key and right in the current org document."""
    return org.role(signed.claims) in roles and signed.key == signed.claims


def may_write(signed: Signed, org: Org, profile: Profile) -> bool:
    return counts(signed, org, ("admin", "editor") if signed.claims in profile.editors else ("admin",))


def above(head: Head, known: Head) -> bool:
    return head == known or head.seq > known.seq


def opens(box: Box, kind: str, key: str, place: tuple[Any, ...]) -> Any:
    """What a box holds for who has its key and knows its place; ``None`` for everybody else."""
    return box.inside if (box.kind, box.key, box.place) == (kind, key, place) else None


def released(delivered: tuple[tuple[Entry, Box | None], ...], contents: Contents, profile: Profile) -> Mapping[str, str]:
    """Steps 10 to 12."""
    leaves = [entry for entry, _ in delivered]
    require(10, "exact set", len({entry.secret for entry in leaves}) == len(leaves) and set(leaves) == contents.entries)
    values: dict[str, str] = {}
    for entry, box in delivered:
        if entry.box is None:
            continue
        require(10, "epoch and hash", entry.epoch == profile.epoch and box == entry.box)
        place = (profile.of, profile.id, profile.epoch, entry.secret, entry.version)
        inside = opens(entry.box, "secret", profile.key, place)
        require(10, "opens", inside is not None)
        name, value = inside
        require(11, "legal and unique names", name.isidentifier() and name not in values)
        values[name] = value
    return values
