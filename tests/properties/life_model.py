"""A simple model of an org: who may read what, and who holds which keys, act by act.

It knows nothing of documents, epochs or ciphertexts. An act is a function from one ``Model`` to the next, or raises ``Told``
with the error that a person must get instead. *Knowers* are the tokens and operators whose holder can have the key of a
group or profile as it is now: whoever was a member since the key was made (admins, who always are, apart). Nothing but new
keys takes anybody out of them, so whatever is written to a profile may be opened by its knowers of that time or later, and
by nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from stronghold_cli.protocol.errors import Conflict, NotFound, Refused, UsageError
from tests.properties.life_lines import (
    AgentLine,
    By,
    GroupLine,
    LockdownLine,
    ProfileLine,
    SecretLine,
    TokenLine,
    Told,
    is_past,
    require_free,
    there,
    without,
    without_ended,
)

NEW = b"made by this act"
LONG_EXPIRED = 3600


@dataclass(frozen=True)
class Model:
    agents: Mapping[bytes, AgentLine] = field(default_factory=dict)
    groups: Mapping[bytes, GroupLine] = field(default_factory=dict)
    profiles: Mapping[bytes, ProfileLine] = field(default_factory=dict)
    lockdowns: Mapping[bytes, LockdownLine] = field(default_factory=dict)

    # Who may read what.

    def refusals(self, token_id: bytes, agent_id: bytes, profile_id: bytes, used: int, now: int) -> set[str]:
        """The codes with which a pull may be refused; none where it must be answered. ``used`` is how often it was."""
        agent = self.agents.get(agent_id)
        if agent is not None and self.stopping(agent_id, agent):
            return {"LOCKED_DOWN"}
        if agent is None or token_id not in agent.tokens:
            return {"TOKEN_REVOKED", "TOKEN_EXPIRED"}
        line = agent.tokens[token_id]
        if agent.token_has_ended(line, now):
            return {"TOKEN_EXPIRED"}
        if not agent.is_active:
            return {"AGENT_PAUSED"}
        if line.is_elsewhere:
            return {"ADDRESS_DENIED"}
        if line.uses is not None and used >= line.uses:
            return {"TOKEN_EXHAUSTED"}
        return set() if agent.groups & self.profiles[profile_id].grants else {"PROFILE_FORBIDDEN"}

    def is_read_by(self, profile: ProfileLine, by: By) -> bool:
        return by.is_admin or any(by.operator_id in self.groups[group_id].operators for group_id in profile.grants)

    def stopping(self, agent_id: bytes, agent: AgentLine) -> set[bytes]:
        return {id_ for id_, lockdown in self.lockdowns.items() if lockdown.stops(agent_id, agent)}

    # Agents and tokens.

    def create_agent(self, made: bytes, name: str, groups: Iterable[bytes]) -> Model:
        groups = frozenset(groups)
        for group_id in groups:
            there(self.groups, group_id)
        require_free(self.agents, name)
        return self._put_agent(made, AgentLine(name=name, groups=groups))

    def rename_agent(self, agent_id: bytes, name: str) -> Model:
        agent = there(self.agents, agent_id)
        require_free(without(self.agents, agent_id), name)
        return self._put_agent(agent_id, replace(agent, name=name))

    def delete_agent(self, agent_id: bytes, now: int) -> Model:
        agent = there(self.agents, agent_id)
        return replace(self, agents=without(self.agents, agent_id))._new_keys(agent.groups, (), now)

    def set_active(self, agent_id: bytes, is_active: bool) -> Model:
        return self._put_agent(agent_id, replace(there(self.agents, agent_id), is_active=is_active))

    def end_agent(self, agent_id: bytes, not_after: int | None, now: int) -> Model:
        agent = there(self.agents, agent_id)
        # What has ended stays so: another end wakes none of its tokens.
        tokens = {} if agent.has_ended(now) and agent.not_after != not_after else agent.tokens
        return self._put_agent(agent_id, replace(agent, not_after=not_after, tokens=tokens))

    def label(self, agent_id: bytes, labels: frozenset[str]) -> Model:
        agent = there(self.agents, agent_id)
        after = replace(agent, labels=labels)
        if self.stopping(agent_id, agent) - self.stopping(agent_id, after):
            raise Told(Conflict)
        return self._put_agent(agent_id, after)

    def mint(self, made: bytes, agent_id: bytes, line: TokenLine, now: int) -> Model:
        agent = there(self.agents, agent_id)
        if agent.has_ended(now):
            raise Told(UsageError)
        gone = [id_ for id_, each in agent.tokens.items() if is_past(each.not_after, now - LONG_EXPIRED)]
        agent = replace(agent, tokens={**without(agent.tokens, *gone), made: line})
        return self._put_agent(agent_id, agent)._learn(agent.groups, {made})

    def revoke(self, token_id: bytes) -> Model:
        agent_id, agent, _ = self._token(token_id)
        return self._put_agent(agent_id, replace(agent, tokens=without(agent.tokens, token_id)))

    def set_token_state(self, token_id: bytes, state: str, now: int) -> Model:
        agent_id, agent, line = self._token(token_id)
        if agent.token_has_ended(line, now):
            raise Told(UsageError)
        return self._put_agent(agent_id, replace(agent, tokens={**agent.tokens, token_id: replace(line, state=state)}))

    def rotate(self, made: bytes, token_id: bytes, grace: int, now: int) -> Model:
        agent_id, agent, line = self._token(token_id)
        if agent.token_has_ended(line, now):
            raise Told(UsageError)
        if line.state == "deprecated":
            raise Told(Conflict)
        end = now + grace if line.not_after is None else min(now + grace, line.not_after)
        old = replace(line, state="deprecated", not_after=end)
        not_after = None if line.not_after is None else now + max(1, line.not_after - line.created)
        model = self._put_agent(agent_id, replace(agent, tokens={**agent.tokens, token_id: old}))
        return model.mint(made, agent_id, replace(line, created=now, not_after=not_after), now)

    def compromised(self, agent_id: bytes, tokens: Iterable[bytes] | None, now: int) -> Model:
        agent = there(self.agents, agent_id)
        gone = agent.tokens.keys() if tokens is None else set(tokens)
        agent = replace(agent, tokens=without(agent.tokens, *gone))
        return self._put_agent(agent_id, agent)._new_keys(agent.groups, (), now)

    # Groups and grants.

    def create_group(self, made: bytes, name: str) -> Model:
        require_free(self.groups, name)
        return replace(self, groups={**self.groups, made: GroupLine(name=name)})

    def rename_group(self, group_id: bytes, name: str) -> Model:
        group = there(self.groups, group_id)
        require_free(without(self.groups, group_id), name)
        return self._put_group(group_id, replace(group, name=name))

    def add_agent(self, group_id: bytes, agent_id: bytes, now: int) -> Model:
        there(self.groups, group_id)
        agent = there(self.agents, agent_id)
        if group_id in agent.groups:
            raise Told(Conflict)
        agent = replace(without_ended(agent, now), groups=agent.groups | {group_id})
        return self._put_agent(agent_id, agent)._learn({group_id}, agent.tokens)

    def add_operator(self, group_id: bytes, operator: By) -> Model:
        group = there(self.groups, group_id)
        if operator.is_admin or operator.operator_id in group.operators:
            raise Told(Conflict)
        model = self._put_group(group_id, replace(group, operators=group.operators | {operator.operator_id}))
        return model._learn({group_id}, {operator.operator_id})

    def remove_agents(self, group_id: bytes, agents: Iterable[bytes], now: int) -> Model:
        there(self.groups, group_id)
        model = self
        for agent_id in [id_ for id_ in agents if there(self.agents, id_)]:
            if group_id not in self.agents[agent_id].groups:
                raise Told(NotFound)
            model = model._leave(agent_id, group_id)
        return model._new_keys({group_id}, (), now)

    def remove_operator(self, group_id: bytes, operator: By, now: int) -> Model:
        group = there(self.groups, group_id)
        if operator.is_admin:
            raise Told(UsageError)
        if operator.operator_id not in group.operators:
            raise Told(NotFound)
        model = self._put_group(group_id, replace(group, operators=group.operators - {operator.operator_id}))
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
        require_free(self.profiles, name)
        if group_made is None:
            return self._put_profile(made, ProfileLine(name=name))
        model = self.create_group(group_made, name)
        return model._put_profile(made, ProfileLine(name=name, grants=frozenset({group_made})))

    def copy_profile(self, made: tuple[bytes, ...], profile_id: bytes, name: str, group_id: bytes | None, by: By) -> Model:
        """``made``: the copy, its group where that is new too, and its secrets in the order of their names."""
        source = there(self.profiles, profile_id)
        if source.live():
            self._require_reader(source, by)
        if group_id is None:
            copy, group_made, *secrets = made
            model = self.create_profile(copy, name, group_made)
        else:
            there(self.groups, group_id)
            copy, *secrets = made
            model = self.create_profile(copy, name, None).grant(group_id, copy)
        for secret_id, (secret, value) in zip(secrets, sorted(source.live().items()), strict=False):
            model = model.write(secret_id, copy, secret, value, by)
        return model

    def list_editor(self, profile_id: bytes, by: By) -> Model:
        profile = self.profiles[profile_id]
        return self._put_profile(profile_id, replace(profile, editors=profile.editors | {by.operator_id}))

    def rename_profile(self, profile_id: bytes, name: str) -> Model:
        profile = there(self.profiles, profile_id)
        require_free(without(self.profiles, profile_id), name)
        return self._put_profile(profile_id, replace(profile, name=name))

    def delete_profile(self, profile_id: bytes) -> Model:
        there(self.profiles, profile_id)
        return replace(self, profiles=without(self.profiles, profile_id))

    def write(self, made: bytes, profile_id: bytes, name: str, value: bytes, by: By) -> Model:
        profile = there(self.profiles, profile_id)
        if not profile.grants:
            raise Told(UsageError)
        self._require_reader(profile, by)
        secret_id = next(
            (id_ for id_, each in profile.secrets.items() if each.name == name and each.value is not None), made
        )
        secret = profile.secrets.get(secret_id)
        if secret is not None and secret.value == value:
            return self
        versions = () if secret is None else secret.versions
        line = SecretLine(name, (*versions, value), 1 if secret is None else secret.oldest)
        return self._edit(profile_id, secret_id, line, by)

    def delete_secret(self, profile_id: bytes, name: str, by: By) -> Model:
        profile = there(self.profiles, profile_id)
        if profile.live():
            self._require_reader(profile, by)
        found = [id_ for id_, secret in profile.secrets.items() if secret.name == name and secret.value is not None]
        if not found:
            raise Told(NotFound)
        secret = profile.secrets[found[0]]
        return self._edit(profile_id, found[0], replace(secret, versions=(*secret.versions, None)), by)

    def roll_back(self, profile_id: bytes, secret_id: bytes, number: int | None, by: By) -> Model:
        profile = there(self.profiles, profile_id)
        secret = there(profile.secrets, secret_id)
        if secret.value is None:
            raise Told(NotFound)
        self._require_reader(profile, by)
        kept = secret.kept()
        older = [each for each in sorted(kept) if kept[each] is not None and each < len(secret.versions)]
        number = number if number is not None else older[-1] if older else 0
        value = kept.get(number)
        if value is None:
            raise Told(NotFound)
        return self.write(NEW, profile_id, secret.name, value, by)

    def restore(self, profile_id: bytes, secret_id: bytes, by: By) -> Model:
        profile = there(self.profiles, profile_id)
        secret = there(profile.secrets, secret_id)
        if profile.live() or any(each.value is None and len(each.kept()) > 1 for each in profile.secrets.values()):
            self._require_reader(profile, by)
        values = [value for value in secret.kept().values() if value is not None]
        if secret.value is not None or not values:
            raise Told(NotFound)
        if secret.name in profile.live():
            raise Told(Conflict)
        return self._edit(profile_id, secret_id, replace(secret, versions=(*secret.versions, values[-1])), by)

    def purge(self, profile_id: bytes, secret_id: bytes, keep: int, by: By) -> Model:
        secret = there(there(self.profiles, profile_id).secrets, secret_id)
        if not by.is_admin:
            raise Told(Refused)
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
        for agent_id, agent in self.agents.items():
            if token_id in agent.tokens:
                return agent_id, agent, agent.tokens[token_id]
        raise Told(NotFound)

    def _put_agent(self, agent_id: bytes, agent: AgentLine) -> Model:
        return replace(self, agents={**self.agents, agent_id: agent})

    def _put_group(self, group_id: bytes, group: GroupLine) -> Model:
        return replace(self, groups={**self.groups, group_id: group})

    def _put_profile(self, profile_id: bytes, profile: ProfileLine) -> Model:
        return replace(self, profiles={**self.profiles, profile_id: profile})

    def _put_secret(self, profile_id: bytes, secret_id: bytes, secret: SecretLine) -> Model:
        profile = self.profiles[profile_id]
        return self._put_profile(profile_id, replace(profile, secrets={**profile.secrets, secret_id: secret}))

    def _edit(self, profile_id: bytes, secret_id: bytes, secret: SecretLine, by: By) -> Model:
        if not by.is_admin and by.operator_id not in self.profiles[profile_id].editors:
            raise Told(Refused)
        return self._put_secret(profile_id, secret_id, secret)

    def _require_reader(self, profile: ProfileLine, by: By) -> None:
        if not self.is_read_by(profile, by):
            raise Told(Refused)

    def _leave(self, agent_id: bytes, group_id: bytes) -> Model:
        agent = self.agents[agent_id]
        after = replace(agent, groups=agent.groups - {group_id})
        if after.groups and self.stopping(agent_id, agent) and not self.stopping(agent_id, after):
            raise Told(Conflict)
        return self._put_agent(agent_id, after)

    def _would_be_lost(self, profile_id: bytes, group_id: bytes) -> bool:
        profile = self.profiles[profile_id]
        return profile.grants == {group_id} and bool(profile.secrets)

    def _learn(self, groups: Iterable[bytes], members: Iterable[bytes]) -> Model:
        """These members get the keys of the groups, and with them those of every profile that the groups are granted."""
        groups, members = frozenset(groups), frozenset(members)
        model = self
        for id_ in groups:
            model = model._put_group(id_, replace(self.groups[id_], knowers=self.groups[id_].knowers | members))
        for id_, profile in self.profiles.items():
            if groups & profile.grants:
                model = model._put_profile(id_, replace(profile, knowers=profile.knowers | members))
        return model

    def _new_keys(self, groups: Iterable[bytes], profiles: Iterable[bytes], now: int) -> Model:
        """New keys of these groups and profiles, and of every profile granted to one of the groups, for who is there now."""
        model, raised = self, frozenset(groups)
        for agent_id, agent in self.agents.items():
            if raised & agent.groups:
                model = model._put_agent(agent_id, without_ended(agent, now))
        for id_ in raised:
            tokens = frozenset(token for agent in model.agents.values() if id_ in agent.groups for token in agent.tokens)
            group = model.groups[id_]
            model = model._put_group(id_, replace(group, knowers=group.operators | tokens))
        for profile_id, profile in model.profiles.items():
            if raised & profile.grants or profile_id in profiles:
                knowers = frozenset().union(*(model.groups[group_id].knowers for group_id in profile.grants))
                model = model._put_profile(profile_id, replace(profile, knowers=knowers))
        return model
