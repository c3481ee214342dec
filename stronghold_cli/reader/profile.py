"""Steps 6 to 11 of an agent's pull: the profile asked for, its keys, and its entries (protocol section 5).

``verify_profile`` ends in a ``VerifiedProfile``, the only thing that ``open_profile`` accepts; both do no I/O.
"""

from __future__ import annotations

from stronghold_cli.crypto.keys import GroupKey, ProfileKey, TokenSecret, open_group_key
from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.crypto.tokens import unlock_master_key
from stronghold_cli.keystore.marks import ContentsMark, Mark, check_contents, check_default_profile
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.leaves import EntryLeaf, MemberLeaf, decode_entry_leaf, decode_member_leaf
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.messages_pull import Entry, PullAnswer
from stronghold_cli.protocol.names import caseless, is_secret_name
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.signed_map import map_root, verify_inclusion
from stronghold_cli.protocol.signers import verify_contents_signer
from stronghold_cli.protocol.token import AgentToken
from stronghold_cli.reader.standing import Standing, verify_document


class Asked(Record):
    """Which profile a person or pipeline named: by name, by id, or (both ``None``) not at all."""

    name: str | None
    id: bytes | None


class LiveEntry(Record):
    """A verified entry whose ciphertext is the one that the contents name."""

    secret_id: bytes
    version: int
    ciphertext: bytes

    def __repr__(self) -> str:
        return f"LiveEntry({self.secret_id.hex()}, version {self.version})"


class VerifiedProfile(Record):
    """Verified up to the ciphertexts: what was asked for, complete, current, and with the one key that opens it."""

    standing: Standing
    profile: Profile
    contents: Contents
    key: ProfileKey
    entries: tuple[LiveEntry, ...]
    asked: Asked

    def mark(self) -> Mark:
        """The mark to keep: the standing's, and these contents; the profile itself where none was named."""
        contents = ContentsMark(version=self.contents.version, sha256=self.contents.sha256)
        unnamed = self.asked.name is None and self.asked.id is None
        return self.standing.mark().replace(
            contents={self.profile.id: contents}, default_profile=self.profile.id if unnamed else None
        )


def verify_profile(
    answer: PullAnswer, standing: Standing, asked: Asked, token: AgentToken, secret: TokenSecret, mark: Mark | None
) -> VerifiedProfile:
    """Verify steps 6 to 10 (all but the opening of entries); raises ``IntegrityError``."""
    profile = verify_document(Profile, answer.profile, standing.structure)
    _check_asked(profile, asked, mark)
    group = verify_document(Group, answer.group, standing.structure)
    member = _verify_member(answer, standing, profile, group)
    key = _open_keys(answer, standing, profile, group, member, token, secret)
    contents = _verify_contents(answer, standing, profile, mark)
    return VerifiedProfile(
        standing=standing,
        profile=profile,
        contents=contents,
        key=key,
        entries=_verify_entries(answer.entries, contents, profile),
        asked=asked,
    )


def open_profile(verified: VerifiedProfile) -> dict[str, Secret]:
    """Steps 10 and 11: open every entry; names are legal and stand once. Returns secrets by name, sorted."""
    secrets: dict[str, Secret] = {}
    for entry in verified.entries:
        secret = verified.key.open_secret(entry.secret_id, entry.version, entry.ciphertext)
        if not is_secret_name(secret.name):
            raise IntegrityError("A secret has a name that is not legal.", evidence={"secret": entry.secret_id.hex()})
        if secret.name in secrets:
            raise IntegrityError("Two secrets have the same name.", evidence={"secret": entry.secret_id.hex()})
        secrets[secret.name] = secret
    return dict(sorted(secrets.items()))


def _check_asked(profile: Profile, asked: Asked, mark: Mark | None) -> None:
    """Step 6: its name or id is the one that was asked for; where none was named, the one in the mark."""
    if asked.id is not None:
        same = profile.id == asked.id
    elif asked.name is not None:
        same = caseless(profile.name) == caseless(asked.name)
    else:
        check_default_profile(mark, profile.id)
        return
    if not same:
        raise IntegrityError(
            "The server answered with another profile than the one asked for.", evidence={"offered": profile.id.hex()}
        )


def _verify_member(answer: PullAnswer, standing: Standing, profile: Profile, group: Group) -> MemberLeaf:
    """Step 7: own leaf proven, the grant names the group's epoch, and the agent lists the group."""
    grant = profile.grants.get(group.id)
    if group.id not in standing.agent.groups or grant is None or grant.epoch != group.epoch:
        raise IntegrityError("The group received does not give this agent the profile.", evidence={"group": group.id.hex()})
    verify_inclusion(group.member_map, standing.token_id, answer.member, answer.member_proof)
    member = decode_member_leaf(answer.member)
    if (member.kind, member.owner, member.seal_sha256) != ("token", standing.agent.id, standing.token.seal_sha256):
        raise IntegrityError("The member leaf received is not this token's.", evidence={"group": group.id.hex()})
    return member


def _open_keys(
    answer: PullAnswer,
    standing: Standing,
    profile: Profile,
    group: Group,
    member: MemberLeaf,
    token: AgentToken,
    secret: TokenSecret,
) -> ProfileKey:
    """Step 8: KEK from S and share → MK → my sealing key → seal → kcv → wrap → kcv."""
    master = unlock_master_key(token, secret, answer.share)
    if master.seal.public_sha256 != member.seal_sha256:
        raise IntegrityError("The sealing key in the signed documents is not this token's.")
    if digest(answer.seal) != member.sealed_sha256:
        raise IntegrityError("The sealed group key received is not the one in the group's member map.")
    group_key: GroupKey = open_group_key(
        master.seal, standing.org.org_id, group.id, group.epoch, "token", standing.token_id, group.kcv, answer.seal
    )
    if digest(answer.wrap) != profile.grants[group.id].wrap_sha256:
        raise IntegrityError("The boxed profile key received is not the one that the grant names.")
    return group_key.unwrap(profile.id, profile.epoch, profile.kcv, answer.wrap)


def _verify_contents(answer: PullAnswer, standing: Standing, profile: Profile, mark: Mark | None) -> Contents:
    """Step 9: hash in head, signer, profile id and epoch equal, mark."""
    verify_contents_signer(answer.contents, standing.org, profile)
    contents = Contents.decode(answer.contents.payload)
    verify_inclusion(standing.head.contents, profile.id, contents.sha256, answer.contents_proof)
    if contents.org_id != standing.org.org_id or contents.profile_id != profile.id:
        raise IntegrityError("The contents received belong to another profile.")
    if contents.profile_epoch != profile.epoch or contents.seq > standing.head.seq:
        raise IntegrityError("The contents received do not carry the profile's epoch.")
    check_contents(mark, profile.id, contents.version, contents.sha256)
    return contents


def _verify_entries(entries: tuple[Entry, ...], contents: Contents, profile: Profile) -> tuple[LiveEntry, ...]:
    """Step 10: the exact set; live entries carry the profile's epoch, and their ciphertext has the hash in the leaf."""
    leaves = {entry.secret_id: entry.leaf for entry in entries}
    if len(leaves) != len(entries) or map_root(leaves) != contents.entries:
        raise IntegrityError("The entries received are not exactly those of the profile's contents.")
    live = []
    for entry in entries:
        leaf: EntryLeaf = decode_entry_leaf(entry.leaf)
        if not leaf.is_live:
            continue
        if leaf.epoch != profile.epoch or entry.ciphertext is None or digest(entry.ciphertext) != leaf.ciphertext_sha256:
            raise IntegrityError(
                "A secret received is not the one in the profile's contents.", evidence={"secret": entry.secret_id.hex()}
            )
        live.append(LiveEntry(secret_id=entry.secret_id, version=leaf.version, ciphertext=entry.ciphertext))
    return tuple(live)
