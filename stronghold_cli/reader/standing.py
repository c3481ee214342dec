"""Steps 2 to 5 of an agent's pull: where the org stands, and who this agent is in it (protocol section 5).

``verify_standing`` takes what every answer to an agent begins with and returns a ``Standing``; nothing of the answer is
used before. It does no I/O: clock, token and mark are passed in. It does not check what the server alone can enforce:
address ranges, rates and numbers of uses.
"""

from __future__ import annotations

from typing import TypeVar

from stronghold_cli.crypto.keys import TokenSecret
from stronghold_cli.keystore.marks import HeadMark, Mark, OrgMark, check_head, check_org, check_structure
from stronghold_cli.protocol.documents.agent import Agent, Token, is_locked_down
from stronghold_cli.protocol.documents.base import SIZE_LIMITS
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.leaves import DocumentLeaf, document_key
from stronghold_cli.protocol.documents.org import Org, version_number
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.documents.structure import Structure
from stronghold_cli.protocol.encoding import decode_hex, decode_json, digest
from stronghold_cli.protocol.envelope import ROOT, Envelope
from stronghold_cli.protocol.errors import ClientTooOld, IntegrityError, MalformedError, Refused
from stronghold_cli.protocol.freshness import check_head_time
from stronghold_cli.protocol.keys import VerifyKey
from stronghold_cli.protocol.messages_pull import Proven, PullAnswer, SelfAnswer
from stronghold_cli.protocol.org_chain import verify_chain
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.signed_map import verify_inclusion
from stronghold_cli.protocol.signers import verify_head_signer, verify_structure_signer
from stronghold_cli.protocol.token import AgentToken
from stronghold_cli.version import VERSION

P = TypeVar("P", Agent, Group, Profile)


class Standing(Record):
    """Verified: the org, its head and structure as of now, the agent's own document, and its token in it."""

    org: Org
    head: Head
    structure: Structure
    agent: Agent
    token_id: bytes
    token: Token
    now: int

    def mark(self) -> Mark:
        """The mark of this standing, without contents."""
        return Mark(
            org=OrgMark(seq=self.org.seq, sha256=self.org.sha256, root_sign=self.org.root.sign),
            head=HeadMark(seq=self.head.seq, sha256=self.head.sha256),
            structure_seq=self.structure.seq,
            contents={},
        )

    @property
    def not_after(self) -> int | None:
        """Unix seconds from which on the token is refused: the earlier of the token's and the agent's date."""
        return self.token.end_with(self.agent.not_after)

    def warnings(self) -> list[str]:
        """Sentences for the user: the token is deprecated, or it or its agent expires soon."""
        date = self.not_after
        left = "" if date is None else _duration(date - self.now)
        if self.token.state == "deprecated":
            ends = f"ends in {left}" if left else "will be ended"
            return [f"the token {self.token.name!r} is deprecated and {ends}; replace it by a new one"]
        if date is None or not self.token.ends_soon(date, self.now):
            return []
        if date == self.agent.not_after:
            return [f"the agent {self.agent.name!r} expires in {left}, and its tokens with it; ask for a later end"]
        return [f"the token {self.token.name!r} expires in {left}; ask for a new one"]


def anchor(token: AgentToken, mark: Mark | None) -> bytes:
    """The hash of the org document from which an answer must start: the mark's, or the token's pin."""
    return token.pin if mark is None else mark.org.sha256


def verify_standing(
    answer: PullAnswer | SelfAnswer, token: AgentToken, secret: TokenSecret, mark: Mark | None, now: int
) -> Standing:
    """Verify steps 2 to 5; raises ``IntegrityError``, ``ClientTooOld``, or ``Refused`` as the signed documents tell."""
    org = _verify_org(answer.org, token, mark)
    head = _verify_head(answer.head, org, token.floor, mark, now)
    structure = _verify_structure(answer.structure, org, head, token.floor, mark)
    agent = verify_document(Agent, answer.agent, structure)
    own = agent.tokens.get(secret.token_id)
    if own is None or own.auth_public_key != secret.auth.public:
        raise IntegrityError("The agent document received does not hold this token.", evidence={"agent": agent.id.hex()})
    standing = Standing(org=org, head=head, structure=structure, agent=agent, token_id=secret.token_id, token=own, now=now)
    _check_usable(standing)
    return standing


def verify_document(kind: type[P], proven: Proven, structure: Structure) -> P:
    """Decode an agent, group or profile and check that its own leaf stands in the structure's map, in the same org."""
    try:
        document = kind.decode(proven.payload)
    except ClientTooOld:
        _require_named(kind.KIND, proven, structure)
        raise
    leaf = DocumentLeaf(name=document.name, sha256=document.sha256)
    verify_inclusion(structure.documents, document_key(kind.KIND, document.id), leaf.encode(), proven.proof)
    if document.org_id != structure.org_id:
        raise IntegrityError(f"The {kind.KIND} received belongs to another org.")
    return document


def _require_named(kind: str, proven: Proven, structure: Structure) -> None:
    """Raise ``IntegrityError`` for a payload that no leaf names: nobody signed what it demands of the client (rule R1)."""
    value = decode_json(proven.payload, SIZE_LIMITS[kind])
    id_, name = (value.get("id"), value.get("name")) if isinstance(value, dict) else (None, None)
    if not isinstance(id_, str) or not isinstance(name, str):
        raise MalformedError(f"The {kind} received has no id or name.")
    leaf = DocumentLeaf(name=name, sha256=digest(proven.payload))
    verify_inclusion(structure.documents, document_key(kind, decode_hex(id_, 16)), leaf.encode(), proven.proof)


def _verify_org(links: tuple[Envelope, ...], token: AgentToken, mark: Mark | None) -> Org:
    """Step 2: the chain from the mark's document, or from the pin; links may be left out in between.

    A document signed by the root that the mark remembers may follow even where the server no longer has the mark's own.
    """
    start = anchor(token, mark)
    if mark is not None and links and links[0].sha256 != start and links[0].keyid == ROOT:
        links[0].verify("org", VerifyKey(mark.org.root_sign))
        # Root signed older documents too, genesis among them: from one of those a removed admin could go on.
        if Org.decode(links[0].payload).seq > mark.org.seq:
            start = links[0].sha256
    org = verify_chain(None, links, anchor=start, every_link=False)
    check_org(mark, org.seq, org.sha256)
    if version_number(org.policy.client_min) > version_number(VERSION):
        raise ClientTooOld(
            f"This org demands stronghold-cli {org.policy.client_min} or newer; this is {VERSION}.",
            hint="Install a newer stronghold-cli.",
        )
    return org


def _verify_head(envelope: Envelope, org: Org, floor: int, mark: Mark | None, now: int) -> Head:
    """Step 3: signer; mark and floor; its org hash is the chain's last; age."""
    verify_head_signer(envelope, org)
    head = Head.decode(envelope.payload)
    if head.org_id != org.org_id or head.org_sha256 != org.sha256:
        raise IntegrityError("The head received names another org document.")
    if head.seq < floor:
        raise IntegrityError("The head received is older than this token.", evidence={"floor": floor, "received": head.seq})
    check_head(mark, head.seq, head.sha256)
    check_head_time(head, org, now)
    return head


def _verify_structure(envelope: Envelope, org: Org, head: Head, floor: int, mark: Mark | None) -> Structure:
    """Step 4: hash in head, signer, max(floor, mark) ≤ seq ≤ head.seq."""
    verify_structure_signer(envelope, org)
    structure = Structure.decode(envelope.payload)
    if structure.sha256 != head.structure_sha256 or structure.org_id != org.org_id:
        raise IntegrityError("The structure received is not the one that the head names.")
    if not floor <= structure.seq <= head.seq:
        raise IntegrityError(
            "The structure received is older than this token, or newer than its head.",
            evidence={"floor": floor, "received": structure.seq, "head": head.seq},
        )
    check_structure(mark, structure.seq)
    return structure


def _check_usable(standing: Standing) -> None:
    """Step 5: state, expiry and lockdowns, told from signed documents and not from the server's word."""
    agent = standing.agent
    for lockdown in standing.structure.lockdowns:
        if is_locked_down(agent, lockdown):
            raise Refused("LOCKED_DOWN", f"The agent {agent.name!r} is locked down: {lockdown.reason}")
    if agent.state != "active":
        raise Refused("AGENT_PAUSED", f"The agent {agent.name!r} is paused.", hint="An operator can activate it again.")
    if standing.not_after is not None and standing.not_after <= standing.now:
        raise Refused(
            "TOKEN_EXPIRED", f"The token {standing.token.name!r} has expired.", hint="Ask an operator for a new token."
        )


def _duration(seconds: int) -> str:
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return "less than a minute"
