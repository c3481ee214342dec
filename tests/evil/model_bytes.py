"""Real documents, blobs, proofs and signatures for the values of ``model``; equal values become equal bytes, once."""

from __future__ import annotations

from functools import cache
from typing import Any

from stronghold_cli.crypto.box import make_box
from stronghold_cli.crypto.kdf import kcv
from stronghold_cli.crypto.keys import Keyset, MasterKey, RootKey, TokenSecret
from stronghold_cli.crypto.seal import seal
from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.crypto.tokens import MintedToken, mint_token
from stronghold_cli.keystore import marks
from stronghold_cli.protocol import messages_pull
from stronghold_cli.protocol.documents import agent, contents, group, head, org, profile, structure
from stronghold_cli.protocol.documents.base import ZERO_HASH, Document
from stronghold_cli.protocol.documents.leaves import DocumentLeaf, EntryLeaf, MemberLeaf, document_key
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.envelope import Envelope, sign_envelope
from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.signed_map import SignedMap, map_root
from tests.evil import model

BASE = 1_800_000_000
_ADDRESS = "secrets.test"
_KINDS = {model.Agent: "agent", model.Group: "group", model.Profile: "profile"}


@cache
def name32(*what: object) -> bytes:
    """32 bytes that belong to these words for ever."""
    return digest(repr(what).encode())


def name16(*what: object) -> bytes:
    return name32(*what)[:16]


@cache
def keyset(person: str) -> Keyset:
    return Keyset(name32("keyset", person), name32("org of people"), name16("person", person))


@cache
def root(name: str) -> RootKey:
    return RootKey(name32("root", name))


@cache
def minted(name: str, pin: bytes, floor: int, seal_key: str) -> MintedToken:
    """The token of a holder: S and share by its name, the master key by that of its sealing key."""
    given = iter((name32("S", name), name32("share", name), name32("MK", seal_key)))
    return mint_token(pin, floor, _ADDRESS, False, lambda _: next(given))


@cache
def token_secret(name: str) -> TokenSecret:
    return TokenSecret(name32("S", name))


@cache
def sealing_key(name: str) -> Any:
    return MasterKey(name32("MK", name), token_secret(name).token_id).seal


@cache
def blob(box: model.Box) -> bytes:
    of, *place = box.place
    org_id = name32("org", of)
    if box.kind == "seal":
        group_name, epoch, token = place
        context: tuple[Any, ...] = (org_id, name16("group", group_name), epoch, "token", token_secret(token).token_id)
        return seal(sealing_key(box.key).public, "group-key", context, name32("key", box.inside))
    nonce = name32("nonce", box)[:12]
    if box.kind == "wrap":
        profile_id, epoch, group_name, group_epoch = place
        context = (org_id, name16("profile", profile_id), epoch, name16("group", group_name), group_epoch)
        return make_box(name32("key", box.key), "profile-key", context, name32("key", box.inside), lambda _: nonce)
    profile_id, epoch, secret, version = place
    context = (org_id, name16("profile", profile_id), epoch, name16("secret", secret), version)
    name, value = box.inside
    plain = Secret(name=name, value=value.encode(), note=b"", author=bytes(16), time=1).encode()
    return make_box(name32("key", box.key), "secret", context, plain, lambda _: nonce)


def _extensions(crit: bool) -> dict[str, Any]:
    return {"ext": {"future": 1} if crit else {}, "crit": ("future",) if crit else ()}


@cache
def document(value: Any) -> Document:
    """The real document of a value."""
    return _BUILDERS[type(value)](value, {"org_id": name32("org", value.of), **_extensions(value.crit)})


def _org(value: model.Org, common: dict[str, Any]) -> Document:
    operators = {
        keyset(name).operator_id: org.Operator(
            name=name,
            sign=keyset(name).sign.public,
            request=keyset(name).request.public,
            seal_sha256=name32("seal of", name),
            role=role,
        )
        for name, role in value.people
    }
    return org.Org(
        name="Org",
        seq=value.seq,
        prev=ZERO_HASH if value.prev is None else document(value.prev).sha256,
        root=org.RootKeys(sign=root(value.root).sign.public, seal_sha256=name32("seal of", value.root)),
        operators=operators,
        policy=org.Policy(client_min=f"0.{value.client_min}.0", max_head_age=value.max_age),
        log_keys=(org.LogKey(id=bytes(16), public_key=SigningKey(b"l" * 32).public),),
        resume=org.Resume(head_sha256=name32("resume", value.resume), seq=value.resume) if value.resume else None,
        created=BASE,
        **common,
    )


def _agent(value: model.Agent, common: dict[str, Any]) -> Document:
    tokens = {
        token_secret(each.name).token_id: agent.Token(
            name=each.name,
            last4="abcd",
            auth_public_key=token_secret(each.auth_key).auth.public,
            seal_sha256=sealing_key(each.seal_key).public_sha256,
            state="active",
            created=BASE,
            created_by=bytes(16),
            not_after=BASE + each.not_after if each.not_after else None,
            limits=agent.NO_LIMITS,
        )
        for each in value.tokens
    }
    return agent.Agent(
        id=name16("agent", value.name),
        version=1,
        name=value.name,
        description="",
        labels={},
        state="active" if value.active else "paused",
        not_after=None,
        groups=tuple(sorted(name16("group", each) for each in value.groups)),
        tokens=tokens,
        **common,
    )


def _members(value: model.Group) -> SignedMap:
    return SignedMap({token_secret(each.token).token_id: member_leaf(each) for each in value.members})


def member_leaf(value: model.Member) -> bytes:
    return MemberLeaf(
        kind="token",
        owner=name16("agent", value.owner),
        seal_sha256=sealing_key(value.seal_key).public_sha256,
        sealed_sha256=digest(blob(value.seal)),
    ).encode()


def _group(value: model.Group, common: dict[str, Any]) -> Document:
    id_ = name16("group", value.name)
    return group.Group(
        id=id_,
        version=1,
        name=value.name,
        epoch=value.epoch,
        kcv=kcv(name32("key", value.key), "group", common["org_id"], id_, value.epoch),
        operators=(),
        member_map=_members(value).root,
        **common,
    )


def _profile(value: model.Profile, common: dict[str, Any]) -> Document:
    id_ = name16("profile", value.id)
    return profile.Profile(
        id=id_,
        version=1,
        name=value.name,
        description="",
        epoch=value.epoch,
        kcv=kcv(name32("key", value.key), "profile", common["org_id"], id_, value.epoch),
        old_keys=map_root({}),
        editors=tuple(sorted(keyset(name).operator_id for name in value.editors)),
        grants={
            name16("group", each.group): profile.Grant(epoch=each.epoch, wrap_sha256=digest(blob(each.wrap)))
            for each in value.grants
        },
        **common,
    )


def _key_of(value: Any) -> bytes:
    return document_key(_KINDS[type(value)], name16(_KINDS[type(value)], getattr(value, "id", value.name)))


@cache
def documents(value: model.Structure) -> SignedMap:
    leaves = {}
    for each in value.documents:
        leaves[_key_of(each)] = DocumentLeaf(name=each.name, sha256=document(each).sha256).encode()
    return SignedMap(leaves)


def _structure(value: model.Structure, common: dict[str, Any]) -> Document:
    lockdowns = tuple(
        structure.Lockdown(
            id=name16("lockdown", name),
            all=False,
            groups=(),
            agents=(name16("agent", name),),
            labels=(),
            reason="told",
            created=BASE,
        )
        for name in value.locked
    )
    return structure.Structure(
        seq=value.seq, prev=ZERO_HASH, documents=documents(value).root, lockdowns=lockdowns, created=BASE, **common
    )


def entry_leaf(value: model.Entry) -> bytes:
    sha256 = ZERO_HASH if value.box is None else digest(blob(value.box))
    return EntryLeaf(version=value.version, epoch=value.epoch, ciphertext_sha256=sha256, prev=ZERO_HASH, oldest=1).encode()


def _contents(value: model.Contents, common: dict[str, Any]) -> Document:
    return contents.Contents(
        profile_id=name16("profile", value.profile),
        seq=value.seq,
        version=value.version,
        prev=ZERO_HASH,
        profile_epoch=value.epoch,
        entries=map_root({name16("secret", each.secret): entry_leaf(each) for each in value.entries}),
        created=BASE,
        **common,
    )


@cache
def contents_map(value: frozenset[model.Contents]) -> SignedMap:
    return SignedMap({name16("profile", each.profile): document(each).sha256 for each in value})


def _head(value: model.Head, common: dict[str, Any]) -> Document:
    return head.Head(
        seq=value.seq,
        prev=ZERO_HASH,
        org_sha256=document(value.org).sha256,
        structure_sha256=document(value.structure).sha256,
        contents=contents_map(value.contents).root,
        created=BASE + value.created,
        **common,
    )


_BUILDERS: dict[type, Any] = {
    model.Org: _org,
    model.Agent: _agent,
    model.Group: _group,
    model.Profile: _profile,
    model.Structure: _structure,
    model.Contents: _contents,
    model.Head: _head,
}


@cache
def envelope(value: model.Signed) -> Envelope:
    """A root is claimed as such, and signs with the key of its name."""
    made = document(value.document)
    keyid = model.ROOT if value.claims == model.ROOT else keyset(value.claims).operator_id.hex()
    key = root(value.key).sign if value.key.startswith("root") else keyset(value.key).sign
    return sign_envelope(made.KIND, made.payload, keyid, key)


def answer(value: model.Answer, holder: model.Holder) -> messages_pull.PullAnswer:
    """The real answer to a pull of the holder's."""

    def proven(each: Any, proof: model.Structure) -> messages_pull.Proven:
        return messages_pull.Proven(payload=document(each).payload, proof=documents(proof).prove(_key_of(each)))

    return messages_pull.PullAnswer(
        org=tuple(map(envelope, value.org)),
        head=envelope(value.head),
        structure=envelope(value.structure),
        agent=proven(value.agent, value.proofs[0]),
        profile=proven(value.profile, value.proofs[1]),
        group=proven(value.group, value.proofs[2]),
        member=member_leaf(value.member),
        member_proof=_members(value.member_of).prove(token_secret(holder.name).token_id),
        share=name32("share", value.share),
        seal=blob(value.seal),
        wrap=blob(value.wrap),
        contents=envelope(value.contents),
        contents_proof=contents_map(value.contents_of.contents).prove(name16("profile", value.profile.id)),
        entries=tuple(
            messages_pull.Entry(
                secret_id=name16("secret", leaf.secret), leaf=entry_leaf(leaf), ciphertext=None if box is None else blob(box)
            )
            for leaf, box in value.entries
        ),
    )


def mark(value: model.Mark) -> marks.Mark:
    """The real mark."""
    newest = document(value.org)
    return marks.Mark(
        org=marks.OrgMark(seq=value.org.seq, sha256=newest.sha256, root_sign=root(value.org.root).sign.public),
        head=marks.HeadMark(seq=value.head.seq, sha256=document(value.head).sha256),
        structure_seq=value.structure_seq,
        contents={
            name16("profile", each.profile): marks.ContentsMark(version=each.version, sha256=document(each).sha256)
            for each in value.contents
        },
    )
