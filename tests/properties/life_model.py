"""A simple model of an org: who may read what, and who holds which keys, act by act.

It knows nothing of documents, epochs or ciphertexts. An act is a function from one ``Model`` to the next, or raises ``Told``
with the error that a person must get instead. *Knowers* are the tokens whose holder can have the key of a group or profile
as it is now: whoever was a member since the key was made. Nothing but new keys takes anybody out of them, so whatever is
written to a profile may be opened by its knowers of that time or later, and by nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from stronghold_cli.protocol.errors import Conflict, NotFound, StrongholdError, UsageError

T = TypeVar("T")
NEW = b"made by this act"
LONG_EXPIRED = 3600


class Told(Exception):
    """The act is refused, and the person told so by an error of this class."""

    def __init__(self, error: type[StrongholdError]) -> None:
        super().__init__(error.__name__)
        self.error = error


@dataclass(frozen=True)
class TokenLine:
    """A token in its agent's document."""

    state: str
    created: int
    not_after: int | None

    def has_ended(self, now: int) -> bool:
        return self.not_after is not None and self.not_after <= now


@dataclass(frozen=True)
class AgentLine:
    name: str
    groups: frozenset[bytes]
    is_active: bool = True
    labels: frozenset[str] = frozenset()
    tokens: Mapping[bytes, TokenLine] = field(default_factory=dict)


@dataclass(frozen=True)
class GroupLine:
    name: str
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


@dataclass(frozen=True)
class Model:
    agents: Mapping[bytes, AgentLine] = field(default_factory=dict)
    groups: Mapping[bytes, GroupLine] = field(default_factory=dict)
    profiles: Mapping[bytes, ProfileLine] = field(default_factory=dict)
    lockdowns: Mapping[bytes, LockdownLine] = field(default_factory=dict)

    # Who may read what.

    def owner(self, token_id: bytes) -> bytes | None:
        return next((id_ for id_, agent in self.agents.items() if token_id in agent.tokens), None)

    def refusals(self, token_id: bytes, agent_id: bytes, profile_id: bytes, now: int) -> set[str]:
        """The codes with which a pull may be refused; none where it must be answered."""
        agent = self.agents.get(agent_id)
        if agent is not None and self.stopping(agent_id, agent):
            return {"LOCKED_DOWN"}
        if agent is None or token_id not in agent.tokens:
            return {"TOKEN_REVOKED", "TOKEN_EXPIRED"}
        if agent.tokens[token_id].has_ended(now):
            return {"TOKEN_EXPIRED"}
        if not agent.is_active:
            return {"AGENT_PAUSED"}
        return set() if agent.groups & self.profiles[profile_id].grants else {"PROFILE_FORBIDDEN"}

    def stopping(self, agent_id: bytes, agent: AgentLine) -> set[bytes]:
        return {id_ for id_, lockdown in self.lockdowns.items() if lockdown.stops(agent_id, agent)}

    # Agents and tokens.

    def create_agent(self, made: bytes, name: str, groups: Iterable[bytes]) -> Model:
        groups = frozenset(groups)
        for group_id in groups:
            there(self.groups, group_id)
        self._require_free(self.agents, name)
        return replace(self, agents={**self.agents, made: AgentLine(name=name, groups=groups)})

    def delete_agent(self, agent_id: bytes, now: int) -> Model:
        agent = there(self.agents, agent_id)
        return replace(self, agents=without(self.agents, agent_id))._new_keys(agent.groups, (), now)

    def set_active(self, agent_id: bytes, is_active: bool) -> Model:
        return self._put_agent(agent_id, replace(there(self.agents, agent_id), is_active=is_active))

    def label(self, agent_id: bytes, labels: frozenset[str]) -> Model:
        agent = there(self.agents, agent_id)
        after = replace(agent, labels=labels)
        if self.stopping(agent_id, agent) - self.stopping(agent_id, after):
            raise Told(Conflict)
        return self._put_agent(agent_id, after)

    def mint(self, made: bytes, agent_id: bytes, not_after: int | None, now: int) -> Model:
        agent = there(self.agents, agent_id)
        gone = [
            id_ for id_, line in agent.tokens.items() if line.not_after is not None and line.not_after + LONG_EXPIRED <= now
        ]
        agent = replace(agent, tokens={**without(agent.tokens, *gone), made: TokenLine("active", now, not_after)})
        return self._put_agent(agent_id, agent)._learn(agent.groups, {made})

    def revoke(self, token_id: bytes) -> Model:
        agent_id, agent, _ = self._token(token_id)
        return self._put_agent(agent_id, replace(agent, tokens=without(agent.tokens, token_id)))

    def set_token_state(self, token_id: bytes, state: str, now: int) -> Model:
        agent_id, agent, line = self._token(token_id)
        if line.has_ended(now):
            raise Told(UsageError)
        return self._put_agent(agent_id, replace(agent, tokens={**agent.tokens, token_id: replace(line, state=state)}))

    def rotate(self, made: bytes, token_id: bytes, grace: int, now: int) -> Model:
        agent_id, agent, line = self._token(token_id)
        if line.has_ended(now):
            raise Told(UsageError)
        if line.state == "deprecated":
            raise Told(Conflict)
        end = now + grace if line.not_after is None else min(now + grace, line.not_after)
        old = replace(line, state="deprecated", not_after=end)
        not_after = None if line.not_after is None else now + max(1, line.not_after - line.created)
        model = self._put_agent(agent_id, replace(agent, tokens={**agent.tokens, token_id: old}))
        return model.mint(made, agent_id, not_after, now)

    def compromised(self, agent_id: bytes, tokens: Iterable[bytes] | None, now: int) -> Model:
        agent = there(self.agents, agent_id)
        gone = agent.tokens.keys() if tokens is None else set(tokens)
        agent = replace(agent, tokens=without(agent.tokens, *gone))
        return self._put_agent(agent_id, agent)._new_keys(agent.groups, (), now)

    # Groups and grants.

    def create_group(self, made: bytes, name: str) -> Model:
        self._require_free(self.groups, name)
        return replace(self, groups={**self.groups, made: GroupLine(name=name)})

    def add_agent(self, group_id: bytes, agent_id: bytes) -> Model:
        there(self.groups, group_id)
        agent = there(self.agents, agent_id)
        if group_id in agent.groups:
            raise Told(Conflict)
        model = self._put_agent(agent_id, replace(agent, groups=agent.groups | {group_id}))
        return model._learn({group_id}, agent.tokens)

    def remove_agents(self, group_id: bytes, agents: Iterable[bytes], now: int) -> Model:
        there(self.groups, group_id)
        model = self
        for agent_id in [id_ for id_ in agents if there(self.agents, id_)]:
            if group_id not in self.agents[agent_id].groups:
                raise Told(NotFound)
            model = model._leave(agent_id, group_id)
        return model._new_keys({group_id}, (), now)

    def delete_group(self, group_id: bytes, now: int) -> Model:
        there(self.groups, group_id)
        profiles = [id_ for id_, profile in self.profiles.items() if group_id in profile.grants]
        if any(self._would_be_lost(id_, group_id) for id_ in profiles):
            raise Told(Conflict)
        model = self
        for agent_id, agent in self.agents.items():
            if group_id in agent.groups:
                model = model._leave(agent_id, group_id)
        for profile_id in profiles:
            profile = model.profiles[profile_id]
            model = model._put_profile(profile_id, replace(profile, grants=profile.grants - {group_id}))
        return replace(model, groups=without(model.groups, group_id))._new_keys((), profiles, now)

    def grant(self, group_id: bytes, profile_id: bytes) -> Model:
        group, profile = there(self.groups, group_id), there(self.profiles, profile_id)
        if group_id in profile.grants:
            raise Told(Conflict)
        # A profile that nobody is granted gets a new key.
        known = profile.knowers if profile.grants else frozenset()
        grants = profile.grants | {group_id}
        return self._put_profile(profile_id, replace(profile, grants=grants, knowers=known | group.knowers))

    def ungrant(self, group_id: bytes, profile_id: bytes, now: int) -> Model:
        there(self.groups, group_id)
        profile = there(self.profiles, profile_id)
        if group_id not in profile.grants:
            raise Told(NotFound)
        if self._would_be_lost(profile_id, group_id):
            raise Told(Conflict)
        model = self._put_profile(profile_id, replace(profile, grants=profile.grants - {group_id}))
        return model._new_keys((), [profile_id], now)

    # Profiles and secrets.

    def create_profile(self, made: bytes, name: str, group_made: bytes | None) -> Model:
        self._require_free(self.profiles, name)
        if group_made is None:
            return self._put_profile(made, ProfileLine(name=name))
        model = self.create_group(group_made, name)
        return model._put_profile(made, ProfileLine(name=name, grants=frozenset({group_made})))

    def delete_profile(self, profile_id: bytes) -> Model:
        there(self.profiles, profile_id)
        return replace(self, profiles=without(self.profiles, profile_id))

    def write(self, made: bytes, profile_id: bytes, name: str, value: bytes) -> Model:
        profile = there(self.profiles, profile_id)
        secret_id = next(
            (id_ for id_, each in profile.secrets.items() if each.name == name and each.value is not None), made
        )
        if not profile.grants:
            raise Told(UsageError)
        secret = profile.secrets.get(secret_id)
        if secret is not None and secret.value == value:
            return self
        versions = () if secret is None else secret.versions
        line = SecretLine(name, (*versions, value), 1 if secret is None else secret.oldest)
        return self._put_secret(profile_id, secret_id, line)

    def delete_secret(self, profile_id: bytes, name: str) -> Model:
        profile = there(self.profiles, profile_id)
        found = [id_ for id_, secret in profile.secrets.items() if secret.name == name and secret.value is not None]
        if not found:
            raise Told(NotFound)
        secret = profile.secrets[found[0]]
        return self._put_secret(profile_id, found[0], replace(secret, versions=(*secret.versions, None)))

    def roll_back(self, profile_id: bytes, secret_id: bytes, number: int | None) -> Model:
        secret = there(there(self.profiles, profile_id).secrets, secret_id)
        if secret.value is None:
            raise Told(NotFound)
        kept = secret.kept()
        older = [each for each in sorted(kept) if kept[each] is not None and each < len(secret.versions)]
        number = number if number is not None else older[-1] if older else 0
        value = kept.get(number)
        if value is None:
            raise Told(NotFound)
        return self.write(NEW, profile_id, secret.name, value)

    def restore(self, profile_id: bytes, secret_id: bytes) -> Model:
        profile = there(self.profiles, profile_id)
        secret = there(profile.secrets, secret_id)
        values = [value for value in secret.kept().values() if value is not None]
        if secret.value is not None or not values:
            raise Told(NotFound)
        if secret.name in profile.live():
            raise Told(Conflict)
        return self._put_secret(profile_id, secret_id, replace(secret, versions=(*secret.versions, values[-1])))

    def purge(self, profile_id: bytes, secret_id: bytes, keep: int) -> Model:
        secret = there(there(self.profiles, profile_id).secrets, secret_id)
        oldest = max(len(secret.versions) - keep + 1, secret.oldest)
        return self._put_secret(profile_id, secret_id, replace(secret, oldest=oldest))

    # Lockdowns.

    def lock_down(self, made: bytes, line: LockdownLine) -> Model:
        if not line.labels <= frozenset().union(*(agent.labels for agent in self.agents.values())):
            raise Told(NotFound)
        for group_id in line.groups:
            there(self.groups, group_id)
        for agent_id in line.agents:
            there(self.agents, agent_id)
        return replace(self, lockdowns={**self.lockdowns, made: line})

    def lift(self, lockdown_id: bytes) -> Model:
        there(self.lockdowns, lockdown_id)
        return replace(self, lockdowns=without(self.lockdowns, lockdown_id))

    # Parts of acts.

    def _token(self, token_id: bytes) -> tuple[bytes, AgentLine, TokenLine]:
        agent_id = self.owner(token_id)
        if agent_id is None:
            raise Told(NotFound)
        agent = self.agents[agent_id]
        return agent_id, agent, agent.tokens[token_id]

    def _put_agent(self, agent_id: bytes, agent: AgentLine) -> Model:
        return replace(self, agents={**self.agents, agent_id: agent})

    def _put_profile(self, profile_id: bytes, profile: ProfileLine) -> Model:
        return replace(self, profiles={**self.profiles, profile_id: profile})

    def _put_secret(self, profile_id: bytes, secret_id: bytes, secret: SecretLine) -> Model:
        profile = self.profiles[profile_id]
        return self._put_profile(profile_id, replace(profile, secrets={**profile.secrets, secret_id: secret}))

    def _leave(self, agent_id: bytes, group_id: bytes) -> Model:
        agent = self.agents[agent_id]
        after = replace(agent, groups=agent.groups - {group_id})
        if after.groups and self.stopping(agent_id, agent) and not self.stopping(agent_id, after):
            raise Told(Conflict)
        return self._put_agent(agent_id, after)

    def _would_be_lost(self, profile_id: bytes, group_id: bytes) -> bool:
        profile = self.profiles[profile_id]
        return profile.grants == {group_id} and bool(profile.secrets)

    def _learn(self, groups: Iterable[bytes], tokens: Iterable[bytes]) -> Model:
        """The tokens get the keys of the groups, and with them those of every profile that the groups are granted."""
        groups, tokens = frozenset(groups), frozenset(tokens)
        return replace(
            self,
            groups={
                id_: replace(group, knowers=group.knowers | tokens) if id_ in groups else group
                for id_, group in self.groups.items()
            },
            profiles={
                id_: replace(profile, knowers=profile.knowers | tokens) if groups & profile.grants else profile
                for id_, profile in self.profiles.items()
            },
        )

    def _new_keys(self, groups: Iterable[bytes], profiles: Iterable[bytes], now: int) -> Model:
        """New keys of these groups and profiles, and of every profile granted to one of the groups, for who is there now."""
        model, raised = self, frozenset(groups)
        if raised:
            model = model._without_ended(raised, now)
        members = {
            id_: frozenset(token for agent in model.agents.values() if id_ in agent.groups for token in agent.tokens)
            for id_ in raised
        }
        model = replace(
            model,
            groups={
                id_: replace(group, knowers=members[id_]) if id_ in raised else group for id_, group in model.groups.items()
            },
        )
        for profile_id, profile in model.profiles.items():
            if raised & profile.grants or profile_id in profiles:
                knowers = frozenset().union(*(model.groups[group_id].knowers for group_id in profile.grants))
                model = model._put_profile(profile_id, replace(profile, knowers=knowers))
        return model

    def _without_ended(self, groups: frozenset[bytes], now: int) -> Model:
        """Tokens past their end leave every agent that is in one of the groups."""
        model = self
        for agent_id, agent in self.agents.items():
            if groups & agent.groups:
                kept = {id_: line for id_, line in agent.tokens.items() if not line.has_ended(now)}
                model = model._put_agent(agent_id, replace(agent, tokens=kept))
        return model

    def _require_free(self, lines: Mapping[bytes, AgentLine | GroupLine | ProfileLine], name: str) -> None:
        if any(line.name == name for line in lines.values()):
            raise Told(Conflict)


Act = Callable[[Model, bytes], Model]


def there(lines: Mapping[bytes, T], id_: bytes) -> T:
    """The line with that id; told that there is none."""
    if id_ not in lines:
        raise Told(NotFound)
    return lines[id_]


def without(lines: Mapping[bytes, T], *ids: bytes) -> dict[bytes, T]:
    return {id_: line for id_, line in lines.items() if id_ not in ids}
