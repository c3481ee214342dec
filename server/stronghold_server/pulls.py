"""What agents get: ``pull``, one profile in one answer, and ``self`` (protocol section 5, "An agent's pull").

The server only gathers: everything it sends is signed, sealed or proven, but for the share. The share, the end of the token
and its uses are read inside the transaction of the audit entry, so a revoked token gets nothing from an answer that was
prepared a moment earlier.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from stronghold_cli.protocol.audit import DocumentReference
from stronghold_cli.protocol.documents.agent import NO_LIMITS, Limits
from stronghold_cli.protocol.documents.leaves import decode_entry_leaf, decode_member_leaf, document_key
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.encoding import encode_base64
from stronghold_cli.protocol.envelope import Envelope, decode_envelope
from stronghold_cli.protocol.errors import MalformedError, Refused, Unavailable
from stronghold_cli.protocol.messages_pull import (
    Entry,
    OwnContents,
    Proven,
    PullAnswer,
    SelfAnswer,
    encode_own_members,
)
from stronghold_cli.protocol.names import caseless, nfc
from stronghold_server.service import Effect, NotQuick, Plan, Request, Tools
from stronghold_server.states import KnownPull, LoadedState
from stronghold_server.store.interface import Reader, TokenRow, UsedToken, Writer
from stronghold_server.token_limits import LiveToken, RateLimits, require_live, require_not_ended, require_uses_left

MAX_LINKS: Final = 1_000_000
# Gathering more entries than this takes milliseconds: not in the event loop.
MAX_QUICK: Final = 200
# An agent that looks at itself gets no more entries than this, of all its profiles together: some 20 MB.
MAX_OWN_ENTRIES: Final = 100_000
# Where an encoded answer is cut: between these, what is the token's own and what all agents of its group get alternate.
_AGENT: Final = b',"agent":'
_PROFILE: Final = b',"profile":'
_MEMBER: Final = b',"member":'
_SHARE: Final = b',"share":"'
_SEAL: Final = b'","seal":'
_WRAP: Final = b',"wrap":'
Parts: TypeAlias = tuple[bytes, bytes, bytes]
KnownParts: TypeAlias = tuple[KnownPull, Parts, Parts]


class Pulls:
    """The two routes of agents."""

    def __init__(self) -> None:
        self._rates = RateLimits()

    def plan_pull(self, _: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
        """GET /v1/pull?org=SHA256&profile=NAME, or &profile_id=ID, or neither."""
        live, anchor = self._begin(request, loaded, "profile", "profile_id")
        profile = _choose_profile(request, loaded, live)
        group_id = _group_of(live, profile)
        shared = loaded.shared.get((profile.id, group_id, anchor))
        if shared is None:
            if request.is_quick and loaded.state.contents[profile.id].document.entries.size > MAX_QUICK:
                raise NotQuick
            shared, own = _cut(_gather(reader, loaded, live, profile, anchor))
            loaded.shared.keep((profile.id, group_id, anchor), shared)
            loaded.answers.keep((live.token_id, profile.id), own)
        else:
            own = _own_parts(reader, loaded, live, profile, group_id)
        return _deliver(request, loaded, _keep_known(request, loaded, live, profile, anchor), (shared, own))

    def plan_self(self, _: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
        """GET /v1/self?org=SHA256: the agent's own document, its groups, and the profiles granted to them.

        The entries of the profiles go with it, without their ciphertexts: by them the agent can count what it may read.
        """
        live, anchor = self._begin(request, loaded)
        state = loaded.state
        profiles = _readable(loaded, live)
        count = sum(state.contents[profile.id].document.entries.size for profile in profiles)
        if request.is_quick and count > MAX_QUICK:
            raise NotQuick
        answer = SelfAnswer(
            org=org_links(reader, request.org_id, anchor),
            head=state.head.envelope,
            structure=state.structure.envelope,
            agent=_prove(loaded, "agent", live.agent.id),
            groups=tuple(_prove(loaded, "group", group_id) for group_id in live.agent.groups),
            profiles=tuple(_prove(loaded, "profile", profile.id) for profile in profiles),
            contents=tuple(_own_contents(loaded, profile.id, with_entries=count <= MAX_OWN_ENTRIES) for profile in profiles),
        )
        body = answer.encode()
        agent = live.agent
        document = DocumentReference(kind="agent", id=agent.id, version=agent.version, sha256=agent.sha256)

        def apply(writer: Writer) -> Effect:
            _require_still_live(writer, live)
            return Effect(body=body, head_seq=state.seq, document=document, code=live.code)

        return Plan(head_sha256=loaded.head_sha256, apply=apply, settle=None)

    def _begin(self, request: Request, loaded: LoadedState, *parameters: str) -> tuple[LiveToken, bytes]:
        """The live token, and the hash of the org document from which the client starts."""
        live = require_live(loaded.state, _token_of(request), request.received.address, request.now)
        if request.is_first_attempt:
            self._rates.count(live.token_id, live.token.limits.rate, request.now)
        return live, _anchor_of(request, *parameters)


def known_parts(loaded: LoadedState, token_id: bytes, query: str) -> KnownParts | None:
    """What a pull in these words gets from memory alone: it was made before, in this state, by a token without limits.

    All that can have changed since is the time, and what the transaction of its entry looks at (``require_share``).
    """
    known = loaded.pulls.get((token_id, query))
    if known is None:
        return None
    shared = loaded.shared.get((known.document.id, known.group_id, known.anchor))
    own = loaded.answers.get((token_id, known.document.id))
    return None if shared is None or own is None else (known, shared, own)


def plan_parts(request: Request, reader: Reader, loaded: LoadedState) -> KnownParts | None:
    """The same for a pull of an unlimited token that was not made yet, where its group's part is in memory.

    ``Refused`` as for every pull.
    """
    live = require_live(loaded.state, _token_of(request), request.received.address, request.now)
    anchor = _anchor_of(request, "profile", "profile_id")
    profile = _choose_profile(request, loaded, live)
    group_id = _group_of(live, profile)
    shared = loaded.shared.get((profile.id, group_id, anchor))
    if shared is None:
        return None
    own = _own_parts(reader, loaded, live, profile, group_id)
    return _keep_known(request, loaded, live, profile, anchor), shared, own


def require_share(used: UsedToken, limits: Limits) -> bytes:
    """The token's share, where it has not ended and this use was still its; else ``Refused``."""
    require_not_ended(used.token)
    require_uses_left(used.token, limits, counted=1)
    if used.share is None:
        raise Refused("TOKEN_REVOKED", "the token has been revoked")
    return used.share


def _deliver(request: Request, loaded: LoadedState, known: KnownPull, parts: tuple[Parts, Parts]) -> Plan:
    """The plan that puts the share into an answer, if the token still is what it was."""
    live = known.live

    def apply(writer: Writer) -> Effect:
        share = require_share(writer.use_token(request.org_id, live.token_id, request.now), live.token.limits)
        return Effect(body=join(*parts, share), head_seq=loaded.state.seq, document=known.document, code=live.code)

    return Plan(head_sha256=loaded.head_sha256, apply=apply, settle=None)


def _keep_known(request: Request, loaded: LoadedState, live: LiveToken, profile: Profile, anchor: bytes) -> KnownPull:
    """What the same words get from now on; kept where nothing has to be counted."""
    document, group_id = _contents_of(loaded, profile), _group_of(live, profile)
    known = KnownPull(live=live, document=document, group_id=group_id, anchor=anchor)
    if live.token.limits == NO_LIMITS:
        loaded.pulls.keep((live.token_id, request.received.query), known)
    return known


def _own_parts(reader: Reader, loaded: LoadedState, live: LiveToken, profile: Profile, group_id: bytes) -> Parts:
    """What is the token's own in its answer, kept or made now: a point read, two proofs and their encoding."""
    own = loaded.answers.get((live.token_id, profile.id))
    if own is None:
        members = loaded.tree("members", group_id)
        member = members[live.token_id]
        seal_sha256 = decode_member_leaf(member).sealed_sha256
        seal = require_blobs(reader, loaded.state.org_id, {seal_sha256})[seal_sha256]
        own = encode_own_members(_prove(loaded, "agent", live.agent.id), member, members.prove(live.token_id), seal)
        loaded.answers.keep((live.token_id, profile.id), own)
    return own


def _contents_of(loaded: LoadedState, profile: Profile) -> DocumentReference:
    contents = loaded.state.contents[profile.id].document
    return DocumentReference(kind="contents", id=profile.id, version=contents.version, sha256=contents.sha256)


def org_links(reader: Reader, org_id: bytes, anchor: bytes) -> tuple[Envelope, ...]:
    """The org document with the hash ``anchor`` and every later link; ``ANCHOR_UNKNOWN`` where there is none."""
    start = reader.document_by_hash(org_id, "org", anchor)
    if start is None:
        raise Refused("ANCHOR_UNKNOWN", "the org has no document with the hash from which the client starts")
    rows = reader.document_chain(org_id, "org", after=start.seq - 1, limit=MAX_LINKS)
    return tuple(decode_envelope(row.envelope) for row in rows)


def _anchor_of(request: Request, *parameters: str) -> bytes:
    anchor = request.query("org", *parameters).hexadecimal("org", 32)
    if anchor is None:
        raise MalformedError("the query parameter org is missing")
    return anchor


def _token_of(request: Request) -> TokenRow:
    if request.caller.token is None:
        raise Refused("FORBIDDEN", "this route is for agents")
    return request.caller.token


def _require_still_live(writer: Writer, live: LiveToken) -> None:
    """Look again, inside the transaction, at what is not fixed by the head."""
    row = writer.token(live.token_id)
    if row is None:
        raise Refused("TOKEN_REVOKED", "the token has been revoked")
    require_not_ended(row)
    require_uses_left(row, live.token.limits)


def _readable(loaded: LoadedState, live: LiveToken) -> list[Profile]:
    groups = set(live.agent.groups)
    profiles = (profile for profile in loaded.state.profiles.values() if not groups.isdisjoint(profile.grants))
    return sorted(profiles, key=lambda profile: profile.id)


def _choose_profile(request: Request, loaded: LoadedState, live: LiveToken) -> Profile:
    """The profile asked for; where none is named, the only one that the agent may read."""
    query = request.query("org", "profile", "profile_id")
    name, profile_id = query.text("profile"), query.hexadecimal("profile_id", 16)
    if name is not None and profile_id is not None:
        raise MalformedError("a profile is named twice")
    readable = _readable(loaded, live)
    if name is not None:
        readable = [profile for profile in readable if caseless(profile.name) == caseless(nfc(name))]
    if profile_id is not None:
        readable = [profile for profile in readable if profile.id == profile_id]
    if not readable:
        raise Refused("PROFILE_FORBIDDEN", "the agent may not read that profile, or there is none")
    if len(readable) > 1:
        raise Refused("PROFILE_REQUIRED", "the agent may read several profiles: name one")
    return readable[0]


def _group_of(live: LiveToken, profile: Profile) -> bytes:
    """The group by which the agent gets the profile's key."""
    return min(profile.grants.keys() & live.agent.groups)


def _gather(reader: Reader, loaded: LoadedState, live: LiveToken, profile: Profile, anchor: bytes) -> bytes:
    """The whole answer with an empty share."""
    state = loaded.state
    group_id = _group_of(live, profile)
    members = loaded.tree("members", group_id)
    member = members[live.token_id]
    seal_sha256 = decode_member_leaf(member).sealed_sha256
    wrap_sha256 = profile.grants[group_id].wrap_sha256
    leaves: Mapping[bytes, bytes] = loaded.tree("entries", profile.id)
    hashes = {key: leaf.ciphertext_sha256 for key in leaves if (leaf := decode_entry_leaf(leaves[key])).is_live}
    blobs = require_blobs(reader, state.org_id, {seal_sha256, wrap_sha256, *hashes.values()})
    return PullAnswer(
        org=org_links(reader, state.org_id, anchor),
        head=state.head.envelope,
        structure=state.structure.envelope,
        agent=_prove(loaded, "agent", live.agent.id),
        profile=_prove(loaded, "profile", profile.id),
        group=_prove(loaded, "group", group_id),
        member=member,
        member_proof=members.prove(live.token_id),
        share=b"",
        seal=blobs[seal_sha256],
        wrap=blobs[wrap_sha256],
        contents=state.contents[profile.id].envelope,
        contents_proof=loaded.tree("contents").prove(profile.id),
        entries=tuple(
            Entry(secret_id=key, leaf=leaves[key], ciphertext=blobs[hashes[key]] if key in hashes else None)
            for key in leaves
        ),
    ).encode()


def _cut(body: bytes) -> tuple[Parts, Parts]:
    """An encoded answer with an empty share: what all agents of the group get, and the three members of the token's own.

    All texts in an answer are base64 or hex, so none of them holds a member's name in quotation marks.
    """
    before, _, rest = body.partition(_AGENT)
    agent, _, rest = rest.partition(_PROFILE)
    documents, _, rest = rest.partition(_MEMBER)
    member, _, rest = rest.partition(_SHARE + _SEAL)
    seal, _, after = rest.partition(_WRAP)
    return (before, documents, after), (agent, member, seal)


def join(shared: Parts, own: Parts, share: bytes) -> bytes:
    """The body of which these are the parts."""
    before, documents, after = shared
    agent, member, seal = own
    text = encode_base64(share).encode("ascii")
    return b"".join((before, _AGENT, agent, _PROFILE, documents, _MEMBER, member, _SHARE, text, _SEAL, seal, _WRAP, after))


def require_blobs(reader: Reader, org_id: bytes, hashes: set[bytes]) -> dict[bytes, bytes]:
    """The blobs, all of them: one that is missing means that the storage lost it."""
    blobs = reader.blobs(org_id, hashes)
    if len(blobs) != len(hashes):
        raise Unavailable("the storage lacks a blob that a current document names", code="STORAGE_FAILED")
    return blobs


def _prove(loaded: LoadedState, kind: str, id_: bytes) -> Proven:
    document = loaded.state.documents(kind)[id_]
    return Proven(payload=document.payload, proof=loaded.tree("documents").prove(document_key(kind, id_)))


def _own_contents(loaded: LoadedState, profile_id: bytes, *, with_entries: bool) -> OwnContents:
    return OwnContents(
        contents=loaded.state.contents[profile_id].envelope,
        proof=loaded.tree("contents").prove(profile_id),
        entries=dict(loaded.state.leaves("entries", profile_id)) if with_entries else None,
    )
