"""What a simple model of an org is made of: agents, tokens, groups, profiles, secrets and lockdowns, as plain lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from stronghold_cli.protocol.errors import Conflict, NotFound, StrongholdError

T = TypeVar("T")


class By(NamedTuple):
    """The operator who carries out an act."""

    operator_id: bytes
    is_admin: bool


class Told(Exception):
    """The act is refused, and the person told so by an error of this class."""

    def __init__(self, error: type[StrongholdError]) -> None:
        super().__init__(error.__name__)
        self.error = error


@dataclass(frozen=True)
class TokenLine:
    """A token in its agent's document. ``is_elsewhere``: it may be used from addresses alone that no agent here has."""

    state: str
    created: int
    not_after: int | None
    uses: int | None = None
    is_elsewhere: bool = False


@dataclass(frozen=True)
class AgentLine:
    name: str
    groups: frozenset[bytes]
    is_active: bool = True
    not_after: int | None = None
    labels: frozenset[str] = frozenset()
    tokens: Mapping[bytes, TokenLine] = field(default_factory=dict)

    def has_ended(self, now: int) -> bool:
        return is_past(self.not_after, now)

    def token_has_ended(self, line: TokenLine, now: int) -> bool:
        return is_past(line.not_after, now) or self.has_ended(now)


@dataclass(frozen=True)
class GroupLine:
    """``operators`` are those who are in it by name; admins are in every group."""

    name: str
    operators: frozenset[bytes] = frozenset()
    knowers: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class SecretLine:
    """All versions ever, from number 1 on; ``None`` is a deletion. Those below ``oldest`` were purged."""

    name: str
    versions: tuple[bytes | None, ...]
    oldest: int = 1

    @property
    def value(self) -> bytes | None:
        return self.versions[-1]

    def kept(self) -> dict[int, bytes | None]:
        return {number: value for number, value in enumerate(self.versions, 1) if number >= self.oldest}


@dataclass(frozen=True)
class ProfileLine:
    name: str
    grants: frozenset[bytes] = frozenset()
    knowers: frozenset[bytes] = frozenset()
    editors: frozenset[bytes] = frozenset()
    secrets: Mapping[bytes, SecretLine] = field(default_factory=dict)

    def live(self) -> dict[str, bytes]:
        return {secret.name: secret.value for secret in self.secrets.values() if secret.value is not None}


@dataclass(frozen=True)
class LockdownLine:
    all: bool
    groups: frozenset[bytes]
    agents: frozenset[bytes]
    labels: frozenset[str]

    def stops(self, agent_id: bytes, agent: AgentLine) -> bool:
        return self.all or agent_id in self.agents or bool(self.labels & agent.labels) or bool(self.groups & agent.groups)


def is_past(not_after: int | None, now: int) -> bool:
    return not_after is not None and not_after <= now


def there(lines: Mapping[bytes, T], id_: bytes) -> T:
    """The line with that id; told that there is none."""
    if id_ not in lines:
        raise Told(NotFound)
    return lines[id_]


def without(lines: Mapping[bytes, T], *ids: bytes) -> dict[bytes, T]:
    return {id_: line for id_, line in lines.items() if id_ not in ids}


def without_ended(agent: AgentLine, now: int) -> AgentLine:
    """Without the tokens that are past their end: no key is given to these."""
    return replace(agent, tokens={id_: line for id_, line in agent.tokens.items() if not agent.token_has_ended(line, now)})


def require_free(lines: Mapping[bytes, AgentLine | GroupLine | ProfileLine], name: str) -> None:
    if any(line.name.casefold() == name.casefold() for line in lines.values()):
        raise Told(Conflict)
