"""Random acts on agents and their tokens, and lockdowns, for ``test_life_cycle``."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from stronghold_cli.protocol.documents.agent import Agent, Limits
from stronghold_cli.protocol.errors import NotFound
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.vault import agents, lockdowns, removal, tokens
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.lookup import shown_id
from tests.properties.life_lines import LockdownLine, TokenLine
from tests.properties.life_machine import Ids, Life, Occasion, admins, find, in_turn, nothing, which
from tests.properties.life_model import Model
from tests.properties.life_org import ADDRESS

MOST_TOKENS = 4

labels = st.sampled_from((frozenset(), frozenset({"env=ci"}), frozenset({"env=prod"})))
# Seconds until an end: the clocks of the devices differ by up to 45 of them, and acts wait for 100 or 4,000 sometimes.
ends = st.sampled_from((None, None, 60, 5000))
allowances = st.sampled_from((None, None, 1, 3))


class AgentActs(Life):
    """The acts."""

    @rule(on=admins, name_of=which, chosen=st.sets(which, max_size=2))
    def create_agent(self, on: Occasion, name_of: int, chosen: set[int]) -> None:
        name = self.a_name(self.seen(on).agents, name_of)
        own = {in_turn(list(self.seen(on).groups), each) for each in chosen} if self.seen(on).groups else set()

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            agent = agents.create_agent(draft, name, [find(draft.groups(), id_) for id_ in own])
            token_id = self.mint(draft, agent)
            return lambda _: (agent.id, token_id)

        def expect(model: Model, ids: Ids) -> Model:
            now = self.now(on)
            return model.create_agent(ids[0], name, own).mint(ids[1], ids[0], TokenLine("active", now, None), now)

        self.act(on, do, expect)

    @precondition(lambda self: self.model.agents)
    @rule(on=admins, agent=which, name_of=which)
    def rename_agent(self, on: Occasion, agent: int, name_of: int) -> None:
        name = self.a_name(self.seen(on).agents, name_of)
        agent_id = self.an_agent(on, agent)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            agents.rename_agent(draft, find(draft.agents(), agent_id), name)
            return nothing

        self.act(on, do, lambda model, _: model.rename_agent(agent_id, name))

    @precondition(lambda self: self.model.agents)
    @rule(on=admins, agent=which)
    def delete_agent(self, on: Occasion, agent: int) -> None:
        agent_id = self.an_agent(on, agent)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            removal.delete_agent(draft, find(draft.agents(), agent_id))
            return nothing

        self.act(on, do, lambda model, _: model.delete_agent(agent_id, self.now(on)))

    @precondition(lambda self: self.model.agents)
    @rule(on=admins, agent=which, is_active=st.booleans())
    def pause_or_activate(self, on: Occasion, agent: int, is_active: bool) -> None:
        agent_id = self.an_agent(on, agent)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            change = agents.activate_agent if is_active else agents.pause_agent
            change(draft, find(draft.agents(), agent_id))
            return nothing

        self.act(on, do, lambda model, _: model.set_active(agent_id, is_active))

    @precondition(lambda self: self.model.agents)
    @rule(on=admins, agent=which, lives=ends)
    def end_agent(self, on: Occasion, agent: int, lives: int | None) -> None:
        agent_id = self.an_agent(on, agent)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            agents.end_agent(draft, find(draft.agents(), agent_id), None if lives is None else draft.now + lives)
            return nothing

        def expect(model: Model, _: Ids) -> Model:
            now = self.now(on)
            return model.end_agent(agent_id, None if lives is None else now + lives, now)

        self.act(on, do, expect)

    @precondition(lambda self: self.model.agents)
    @rule(on=admins, agent=which, worn=labels)
    def label(self, on: Occasion, agent: int, worn: frozenset[str]) -> None:
        agent_id = self.an_agent(on, agent)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            found = find(draft.agents(), agent_id)
            wanted = dict(label.split("=") for label in worn)
            agents.label_agent(draft, found, wanted, found.labels.keys() - wanted.keys())
            return nothing

        self.act(on, do, lambda model, _: model.label(agent_id, worn))

    # Tokens.

    @precondition(lambda self: self.model.agents)
    @rule(on=admins, agent=which, lives=ends, uses=allowances, is_elsewhere=st.sampled_from((False, False, False, True)))
    def mint_token(self, on: Occasion, agent: int, lives: int | None, uses: int | None, is_elsewhere: bool) -> None:
        known = self.seen(on).agents
        few = [id_ for id_, line in known.items() if len(line.tokens) < MOST_TOKENS]
        agent_id = in_turn(few or list(known) or [b""], agent)
        limits = Limits(addresses=("10.0.0.0/8",) if is_elsewhere else (), rate=None, uses=uses)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            not_after = None if lives is None else draft.now + lives
            token_id = self.mint(draft, find(draft.agents(), agent_id), not_after, limits)
            return lambda _: (token_id,)

        def expect(model: Model, ids: Ids) -> Model:
            now = self.now(on)
            line = TokenLine("active", now, None if lives is None else now + lives, uses, is_elsewhere)
            return model.mint(ids[0], agent_id, line, now)

        self.act(on, do, expect)

    @precondition(lambda self: self.has_tokens())
    @rule(on=admins, token=which)
    def revoke(self, on: Occasion, token: int) -> None:
        token_id = self.a_token(on, token)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            agents.revoke(draft, owner(draft, token_id), token_id)
            return nothing

        self.act(on, do, lambda model, _: model.revoke(token_id))

    @precondition(lambda self: self.has_tokens())
    @rule(on=admins, token=which, state=st.sampled_from(("active", "deprecated")))
    def deprecate_or_not(self, on: Occasion, token: int, state: str) -> None:
        token_id = self.a_token(on, token)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            change = tokens.deprecate if state == "deprecated" else tokens.undeprecate
            change(draft, owner(draft, token_id), token_id)
            return nothing

        self.act(on, do, lambda model, _: model.set_token_state(token_id, state, self.now(on)))

    @precondition(lambda self: self.has_tokens())
    @rule(on=admins, token=which, grace=st.sampled_from((0, 100, 5000)))
    def rotate(self, on: Occasion, token: int, grace: int) -> None:
        token_id = self.a_token(on, token)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            rotated = tokens.rotate(draft, owner(draft, token_id), token_id, ADDRESS, grace=grace)
            made = self.keep(rotated.new)
            return lambda _: (made,)

        self.act(on, do, lambda model, ids: model.rotate(ids[0], token_id, grace, self.now(on)))

    @precondition(lambda self: self.model.agents)
    @rule(on=admins, agent=which, only=st.none() | which)
    def compromised(self, on: Occasion, agent: int, only: int | None) -> None:
        agent_id = self.an_agent(on, agent)
        known = self.seen(on).agents.get(agent_id)
        chosen = None if only is None or known is None or not known.tokens else {in_turn(list(known.tokens), only)}

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            removal.compromised(draft, find(draft.agents(), agent_id), chosen)
            return nothing

        self.act(on, do, lambda model, _: model.compromised(agent_id, chosen, self.now(on)))

    # Lockdowns.

    @precondition(lambda self: self.model.agents and self.model.groups)
    @rule(on=admins, whom=st.sampled_from(("all", "group", "agent", "label")), one=which, worn=labels, lifts=st.booleans())
    def lock_down_or_lift(self, on: Occasion, whom: str, one: int, worn: frozenset[str], lifts: bool) -> None:
        if lifts and self.seen(on).lockdowns:
            self.lift(on, one)
        else:
            self.lock_down(on, whom, one, worn)

    def lock_down(self, on: Occasion, whom: str, one: int, worn: frozenset[str]) -> None:
        line = LockdownLine(
            all=whom == "all" or (whom == "label" and not worn),
            groups=frozenset({self.a_group(on, one)} if whom == "group" else ()),
            agents=frozenset({self.an_agent(on, one)} if whom == "agent" else ()),
            labels=worn if whom == "label" else frozenset(),
        )

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            wanted = lockdowns.Wanted(
                all=line.all,
                groups=tuple(shown_id("group", id_) for id_ in line.groups),
                agents=tuple(shown_id("agent", id_) for id_ in line.agents),
                labels=tuple(line.labels),
                reason="found in a log",
            )
            stopped = lockdowns.lock_down(draft, wanted)
            return lambda _: (stopped.lockdown.id,)

        self.act(on, do, lambda model, ids: model.lock_down(ids[0], line))

    def lift(self, on: Occasion, lockdown: int) -> None:
        lockdown_id = in_turn(list(self.seen(on).lockdowns), lockdown)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            lockdowns.lift(draft, [lockdown_id.hex()])
            return nothing

        self.act(on, do, lambda model, _: model.lift(lockdown_id))


def owner(draft: Draft, token_id: bytes) -> Agent:
    found = [agent for agent in draft.agents().values() if token_id in agent.tokens]
    if not found:
        raise NotFound("there is no such token")
    return found[0]
