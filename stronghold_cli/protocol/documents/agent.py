"""The ``agent`` document: one non-human actor with its tokens (protocol section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from stronghold_cli.protocol.documents.base import MAX_SEQ, Document, Members, extensions, hex_ids
from stronghold_cli.protocol.documents.structure import Lockdown
from stronghold_cli.protocol.encoding import decode_hex, encode_base64
from stronghold_cli.protocol.errors import MalformedError
from stronghold_cli.protocol.names import MAX_DESCRIPTION, is_label
from stronghold_cli.protocol.record import Record

MAX_TOKENS = 100
MAX_LABELS = 64
_WEEK = 7 * 86_400


class Rate(Record):
    """At most ``requests`` in any ``seconds``."""

    requests: int
    seconds: int


class Limits(Record):
    """The second line, enforced by the server: CIDR ranges (none = everywhere), rate, number of uses."""

    addresses: tuple[str, ...]
    rate: Rate | None
    uses: int | None


NO_LIMITS = Limits(addresses=(), rate=None, uses=None)


class Token(Record):
    """One credential: public keys, state (``active`` or ``deprecated``), the operator who made it, expiry and limits."""

    name: str
    last4: str
    auth_public_key: bytes
    seal_sha256: bytes
    state: str
    created: int
    created_by: bytes
    not_after: int | None
    limits: Limits

    def end_with(self, agent_end: int | None) -> int | None:
        """Unix seconds from which on the token is refused: the earlier of its own date and its agent's; ``None``: never."""
        dates = [date for date in (self.not_after, agent_end) if date is not None]
        return min(dates) if dates else None

    def ends_soon(self, end: int, now: int) -> bool:
        """Whether it is time to warn of ``end``: 7 days before, or a tenth of the token's life."""
        return end - now <= min(_WEEK, (end - self.created) // 10)


class Agent(Document):
    """``groups`` is where membership stands; ``not_after`` and ``state`` hold for all tokens."""

    KIND: ClassVar[str] = "agent"

    org_id: bytes
    id: bytes
    version: int
    name: str
    description: str
    labels: Mapping[str, str]
    state: str
    not_after: int | None
    groups: tuple[bytes, ...]
    tokens: Mapping[bytes, Token]

    @classmethod
    def _json_names(cls) -> tuple[str, ...]:
        return ("kind", *super()._json_names())

    @classmethod
    def _from_members(cls, members: Members) -> Agent:
        members.one_of("kind", ("agent",))
        return cls(
            org_id=members.hash("org_id"),
            id=members.id("id"),
            version=members.count("version", 1, MAX_SEQ),
            name=members.name("name"),
            description=members.plain_text("description", MAX_DESCRIPTION),
            labels=_labels(members.object("labels", MAX_LABELS)),
            state=members.one_of("state", ("active", "paused")),
            not_after=members.optional("not_after", members.count),
            groups=members.ids("groups"),
            tokens={decode_hex(id_, 16): _token(value) for id_, value in members.object("tokens", MAX_TOKENS).items()},
            **extensions(members),
        )

    def _to_members(self) -> dict[str, Any]:
        return {
            "kind": "agent",
            "org_id": self.org_id.hex(),
            "id": self.id.hex(),
            "version": self.version,
            "name": self.name,
            "description": self.description,
            "labels": dict(sorted(self.labels.items())),
            "state": self.state,
            "not_after": self.not_after,
            "groups": hex_ids(self.groups),
            "tokens": {id_.hex(): _token_to_json(token) for id_, token in sorted(self.tokens.items())},
        }


def is_locked_down(agent: Agent, lockdown: Lockdown) -> bool:
    """Whether the lockdown stops this agent."""
    labels = {f"{key}={value}" for key, value in agent.labels.items()}
    return (
        lockdown.all
        or agent.id in lockdown.agents
        or not labels.isdisjoint(lockdown.labels)
        or not set(agent.groups).isdisjoint(lockdown.groups)
    )


def _labels(value: dict[str, Any]) -> dict[str, str]:
    for key, text in value.items():
        if not isinstance(text, str) or not is_label(key, text):
            raise MalformedError("agent: a label is not legal")
    return value


def _token(value: object) -> Token:
    members = Members(value, "agent.tokens", Token.members)
    last4 = members.text("last4", 4)
    if len(last4) != 4 or not last4.isascii() or not last4.isalnum():
        raise MalformedError("agent.tokens: last4 is not four base62 digits")
    return Token(
        name=members.name("name"),
        last4=last4,
        auth_public_key=members.verify_key("auth_public_key"),
        seal_sha256=members.hash("seal_sha256"),
        state=members.one_of("state", ("active", "deprecated")),
        created=members.count("created"),
        created_by=members.id("created_by"),
        not_after=members.optional("not_after", members.count),
        limits=_limits(members.raw("limits")),
    )


def _limits(value: object) -> Limits:
    members = Members(value, "agent.tokens.limits", Limits.members)
    addresses = members.items("addresses", 64)
    for address in addresses:
        if not isinstance(address, str) or not _is_network(address):
            raise MalformedError("agent.tokens.limits: an address range is not in CIDR notation")
    return Limits(
        addresses=tuple(addresses),
        rate=members.optional("rate", lambda name: _rate(members.raw(name))),
        uses=members.optional("uses", lambda name: members.count(name, 1)),
    )


def _is_network(text: str) -> bool:
    import ipaddress  # only where a token has address ranges: a pull rarely needs it

    try:
        return str(ipaddress.ip_network(text)) == text
    except ValueError:
        return False


def _rate(value: object) -> Rate:
    members = Members(value, "agent.tokens.limits.rate", Rate.members)
    return Rate(requests=members.count("requests", 1, 10**6), seconds=members.count("seconds", 1, 86_400))


def _token_to_json(token: Token) -> dict[str, Any]:
    limits = token.limits
    return {
        "name": token.name,
        "last4": token.last4,
        "auth_public_key": encode_base64(token.auth_public_key),
        "seal_sha256": token.seal_sha256.hex(),
        "state": token.state,
        "created": token.created,
        "created_by": token.created_by.hex(),
        "not_after": token.not_after,
        "limits": {
            "addresses": list(limits.addresses),
            "rate": limits.rate and {"requests": limits.rate.requests, "seconds": limits.rate.seconds},
            "uses": limits.uses,
        },
    }
