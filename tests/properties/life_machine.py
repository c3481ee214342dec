"""What is done with every act of ``test_life_cycle``, and compared after it. The acts stand in modules of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from stronghold_cli.protocol.documents.agent import NO_LIMITS, Agent, Limits
from stronghold_cli.protocol.errors import Conflict, NotFound, Refused, UsageError
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.protocol.token import AgentToken
from stronghold_cli.vault import agents, profiles, removal
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from tests.properties.life_comparison import history_of, of_model, of_state
from tests.properties.life_keyholder import Keyholders
from tests.properties.life_lines import AgentLine, By, GroupLine, ProfileLine, SecretLine, Told
from tests.properties.life_model import Model
from tests.properties.life_org import ADDRESS, EDITOR, READER, LifeOrg
from tests.server.support import World

T = TypeVar("T")
Ids = Sequence[bytes]
Do = Callable[[Vault, Draft], Callable[[OrgState], Ids]]
Expect = Callable[[Model, Ids], Model]

PLACEHOLDERS = tuple(b"made %d" % number for number in range(12))
ADMINS = tuple(range(EDITOR))
NAMES = ("one", "two", "three", "four", "five")
LOST = ("request is lost", "answer is lost")
OVERTAKEN = tuple(
    f"{act} before {route}" for act in ("new keys", "a removal") for route in ("/commits", "/contents", "/keys", "/history")
)


class Occasion(NamedTuple):
    """On which device somebody acts, what they know, how long after the last act, and what befalls the act."""

    device: int
    manner: str  # "looks" at the newest state before, as every command does; "is behind" others; "starts" the program anew
    waits: int
    mishap: str


def occasions(*devices: int) -> st.SearchStrategy[Occasion]:
    return st.builds(
        Occasion,
        device=st.sampled_from(devices),
        manner=st.sampled_from(("looks",) * 7 + ("is behind",) * 4 + ("starts",)),
        waits=st.sampled_from((1, 1, 1, 1, 1, 1, 100, 4000)),
        mishap=st.sampled_from(("nothing",) * 24 + LOST * 2 + OVERTAKEN),
    )


# For what only admins may do, the editor tries it sometimes; secrets the editor may write, where they are listed.
admins = occasions(*ADMINS * 4, EDITOR)
writers = occasions(*ADMINS, EDITOR)
which = st.integers(0, 11)


def nothing(_: OrgState) -> Ids:
    """What an act makes that makes nothing with an id."""
    return ()


class Life(RuleBasedStateMachine):
    """An org, and the model of it. ``happened`` counts what came of each act."""

    def __init__(self, world: World, folder: Path, happened: Counter[tuple[str, str]]) -> None:
        super().__init__()
        self.org = LifeOrg(world, folder)
        self.happened = happened
        self.model = Model()
        self.newest = self.org.head()
        self.models = {self.newest[1]: self.model}  # what each head ever means
        self.occasion: Occasion | None = None
        self.tokens: dict[bytes, tuple[AgentToken, bytes]] = {}  # all that took effect, with their agents' ids
        self.minted: dict[bytes, tuple[AgentToken, bytes]] = {}  # by one act, in all its attempts
        self.used: Counter[bytes] = Counter()
        self.keyholders = Keyholders(self.org.org_id)
        for device in (EDITOR, READER):
            self.keyholders.keep_operator(self.org.owner(device).keyset)
        self.last_known: dict[tuple[bytes, bytes], int] = {}
        self.steps = 0
        self.is_sound = True
        self.has_news = True

    def teardown(self) -> None:
        try:
            if self.is_sound:
                self.everybody_reads()
        finally:
            self.org.close()

    # An act, and what has to come of it.

    def act(self, on: Occasion, do: Do, expect: Expect, *, is_for_editors: bool = False) -> None:
        """Carry out an act on a device, and hold what came of it against the model."""
        self.is_sound = False
        self.minted.clear()
        known, vault, wire = self.seen(on), self.org.vault(on.device), self.org.wires[on.device]
        models, is_allowed = [known, self.model], is_for_editors or self.org.by(on.device).is_admin
        is_behind = known is not self.model
        if on.mishap in OVERTAKEN:
            wire.meanwhile_at = on.mishap.split()[-1]
            wire.meanwhile = partial(self.somebody_else_acts, on, models)
        wire.lose = on.mishap if on.mishap in LOST else ""
        error, made = None, nothing
        try:
            made = vault.commit(partial(do, vault))
        except (Conflict, NotFound, UsageError, Refused) as caught:
            error = type(caught)
        mishap = on.mishap if (not wire.lose if on.mishap in LOST else len(models) > 2) else "nothing"
        wire.lose, wire.meanwhile = "", None
        # A device that is behind may be told by what it knows, or by what it learns when it sends.
        outcomes = {outcome(model, expect, is_allowed=is_allowed) for model in models}
        seq, head = self.org.head()
        result = error.__name__ if error else "unchanged" if seq == self.newest[0] else "took effect"
        if seq == self.newest[0]:
            assert result in outcomes, f"{result}, but the model says {outcomes}"
        else:
            assert seq == self.newest[0] + 1, "one act made several commits"
            assert error is None, f"the person was told {error}, but the act took effect"
            assert is_allowed, "an act took effect that only an admin may do"
            assert vault.state.head.document.sha256 == head
            self.take(expect(self.model, made(vault.state)), vault.state)
        # The name of the rule whose part ``do`` is.
        self.happened[do.__qualname__.split(".")[1], result] += 1
        self.happened[f"on an occasion: {mishap}", result] += 1
        self.happened[f"on an occasion: {'is behind' if is_behind else 'knows the newest'}", result] += 1
        self.is_sound = True

    def take(self, model: Model, state: OrgState) -> None:
        """A commit took effect: the model's next state, and what can be made of a dump."""
        self.model, self.newest = model, (state.seq, state.head.document.sha256)
        self.models[self.newest[1]] = model
        self.has_news = True
        assert of_state(state) == of_model(model)
        blobs, shares = self.org.dump()
        minted = {id_ for agent in model.agents.values() for id_ in agent.tokens}
        assert shares.keys() == minted
        self.tokens.update({id_: line for id_, line in self.minted.items() if id_ in minted})
        for token_id in self.minted.keys() & minted:
            self.keyholders.keep(self.minted[token_id][0], shares[token_id])
        assert self.keyholders.dump(blobs, state) == {
            (profile_id, secret_id, number)
            for profile_id, profile in model.profiles.items()
            for secret_id, secret in profile.secrets.items()
            for number, value in secret.kept().items()
            if value is not None
        }
        self.compare_keys(state)

    def compare_keys(self, state: OrgState) -> None:
        """Nobody opens what was written after they lost their reading; who may know a key opens all under it."""
        for profile_id, profile in self.model.profiles.items():
            for member_id in profile.knowers:
                self.last_known[member_id, profile_id] = self.keyholders.step
            live = {entry.ciphertext_sha256 for entry in state.entries(profile_id).values() if entry.is_live}
            for member_id in profile.knowers:
                assert self.keyholders.opens(member_id, live)
        for member_id in self.keyholders.members():
            for profile_id, newest in self.keyholders.newest_opened(member_id).items():
                assert newest <= self.last_known.get((member_id, profile_id), 0), "old keys open what was written later"

    def somebody_else_acts(self, on: Occasion, models: list[Model]) -> None:
        """While an act is on its way, an admin elsewhere gives new keys to an agent's groups, or removes it from one."""
        with_group = [id_ for id_, agent in self.model.agents.items() if agent.groups]
        if not with_group:
            return
        agent_id = in_turn(with_group, self.steps)
        group_id = min(self.model.agents[agent_id].groups)
        other = Occasion(in_turn([device for device in ADMINS if device != on.device], self.steps), "looks", 0, "nothing")

        def give_new_keys(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            removal.compromised(draft, draft.agents()[agent_id], ())
            return nothing

        def remove(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            removal.remove_from_group(draft, draft.groups()[group_id], [draft.agents()[agent_id]], ())
            return nothing

        if on.mishap.startswith("new keys"):
            self.act(other, give_new_keys, lambda model, _: model.compromised(agent_id, (), self.now(other)))
        else:
            self.act(other, remove, lambda model, _: model.remove_agents(group_id, [agent_id], self.now(other)))
        models.append(self.model)
        self.occasion, self.is_sound = on, False

    def now(self, on: Occasion) -> int:
        """By the clock of the device."""
        return self.org.wires[on.device].now

    def by(self, on: Occasion) -> By:
        return self.org.by(on.device)

    def seen(self, on: Occasion) -> Model:
        """What somebody knows who is about to act; the first time, their occasion comes."""
        if on is not self.occasion:
            self.occasion = on
            self.org.world.now += on.waits
            self.has_news |= on.waits > 1
            if on.manner == "starts":
                self.org.restart(on.device)
            elif on.manner == "looks" and self.org.vault(on.device).state.head.document.sha256 != self.newest[1]:
                self.org.vault(on.device).refresh()
        return self.models[self.org.vault(on.device).state.head.document.sha256]

    def mint(self, draft: Draft, agent: Agent, not_after: int | None = None, limits: Limits = NO_LIMITS) -> bytes:
        name = f"token {len(self.tokens)} {len(self.minted)}"
        return self.keep(agents.mint(draft, agent, name, ADDRESS, not_after=not_after, limits=limits))

    def keep(self, new: agents.NewToken) -> bytes:
        """Hand a new token to its agent; one of an attempt that was overtaken is never used."""
        self.minted[new.token_id] = (new.token, new.agent.id)
        return new.token_id

    # Who reads.

    @invariant()
    def every_agent_reads(self) -> None:
        """Each agent pulls what it may with one of its tokens, else what it may not; former agents and people read in turn.

        After an act that changed nothing they would get what they got before, and do not ask again.
        """
        if not self.has_news or not self.model.profiles:
            return
        self.has_news, self.is_sound = False, False
        self.steps += 1
        may, may_not = dict[bytes, list[tuple[bytes, bytes]]](), dict[str, list[tuple[bytes, bytes]]]()
        turned_away = dict[bytes, list[tuple[bytes, bytes]]]()
        for token_id, (_, agent_id) in self.tokens.items():
            for profile_id in self.model.profiles:
                pair, refusals = (token_id, profile_id), self.refusals(token_id, profile_id)
                if not refusals:
                    may.setdefault(agent_id, []).append(pair)
                    continue
                may_not.setdefault(min(refusals), []).append(pair)
                if agent_id in self.model.agents and token_id in self.model.agents[agent_id].tokens:
                    turned_away.setdefault(agent_id, []).append(pair)
        for pairs in {**turned_away, **may}.values():
            self.read(*in_turn(pairs, self.steps))
        # And for one of the reasons why somebody may not, whoever it holds for, former agents too.
        if may_not and self.steps % 3 == 0:
            pairs = may_not[in_turn(sorted(may_not), self.steps // 3)]
            self.read(*in_turn(pairs, self.steps // 7))
        if self.steps % 6 == 1:
            person = in_turn((EDITOR, READER), self.steps // 6)
            self.org.vault(person).refresh()
            self.somebody_reads(person, in_turn(list(self.model.profiles), self.steps // 12))
        self.is_sound = True

    def everybody_reads(self) -> None:
        """At the end: every token all that it may; people on their devices, with the history of every secret."""
        for token_id in self.tokens:
            for profile_id in self.model.profiles:
                if not self.refusals(token_id, profile_id):
                    self.read(token_id, profile_id)
        reader = in_turn((EDITOR, READER), self.steps)
        for device in (*ADMINS, reader):
            self.org.vault(device).refresh()
            assert of_state(self.org.vault(device).state) == of_model(self.model)
        for profile_id, line in self.model.profiles.items():
            for device in (in_turn(ADMINS, self.steps), reader):
                self.somebody_reads(device, profile_id)
            for secret_id, secret in line.secrets.items():
                if any(value is not None for value in secret.kept().values()):
                    assert history_of(self.org.vault(ADMINS[0]), profile_id, secret_id) == secret.kept()

    def refusals(self, token_id: bytes, profile_id: bytes) -> set[str]:
        agent_id = self.tokens[token_id][1]
        return self.model.refusals(token_id, agent_id, profile_id, self.used[token_id], self.org.now)

    def read(self, token_id: bytes, profile_id: bytes) -> None:
        """An agent pulls a profile."""
        token, profile = self.tokens[token_id][0], self.model.profiles[profile_id]
        refusals = self.refusals(token_id, profile_id)
        if refusals:
            with pytest.raises(Refused) as caught:
                self.org.pull(token, profile.name)
            assert caught.value.code in refusals
            self.happened["a pull", caught.value.code] += 1
        else:
            assert self.org.pull(token, profile.name) == profile.live()
            self.used[token_id] += 1
            self.happened["a pull", "answered"] += 1

    def somebody_reads(self, device: int, profile_id: bytes) -> None:
        """A person reads a profile on a device that knows the newest state."""
        vault, line = self.org.vault(device), self.model.profiles[profile_id]
        may = not line.live() or self.model.is_read_by(line, self.org.by(device))
        if may:
            found = profiles.read_secrets(vault, vault.state.profiles[profile_id])
            assert {name: each.secret.value for name, each in found.items()} == line.live()
        else:
            with pytest.raises(Refused):
                profiles.read_secrets(vault, vault.state.profiles[profile_id])
        self.happened["a person's reading", "answered" if may else "Refused"] += 1

    # Whom and what an act is about: what the person at the device knows of.

    def an_agent(self, on: Occasion, one: int) -> bytes:
        return in_turn(list(self.seen(on).agents) or [bytes(16)], one)

    def a_group(self, on: Occasion, one: int) -> bytes:
        return in_turn(list(self.seen(on).groups) or [bytes(16)], one)

    def a_profile(self, on: Occasion, one: int) -> bytes:
        return in_turn(list(self.seen(on).profiles) or [bytes(16)], one)

    def a_token(self, on: Occasion, one: int) -> bytes:
        known = [id_ for agent in self.seen(on).agents.values() for id_ in agent.tokens]
        return in_turn(known or [bytes(16)], one)

    def a_secret(self, on: Occasion, one: int, fits: Callable[[SecretLine], bool]) -> tuple[bytes, bytes]:
        """One that fits, if there is any: its profile's id and its own."""
        known = {
            (profile_id, secret_id): secret
            for profile_id, profile in self.seen(on).profiles.items()
            for secret_id, secret in profile.secrets.items()
        }
        fitting = [ids for ids, secret in known.items() if fits(secret)]
        return in_turn(fitting or list(known) or [(bytes(16), bytes(16))], one)

    def a_name(self, lines: Mapping[bytes, AgentLine | GroupLine | ProfileLine], one: int) -> str:
        """Mostly one that is free, where any is; sometimes one that is taken, or differs from it by case alone."""
        taken = {line.name.casefold() for line in lines.values()}
        free = [name for name in NAMES if name not in taken]
        if free and one < 9:
            return in_turn(free, one)
        return in_turn([*NAMES, *(name.upper() for name in NAMES)], one)

    def has_tokens(self) -> bool:
        return any(agent.tokens for agent in self.model.agents.values())

    def has_secrets(self) -> bool:
        return any(profile.secrets for profile in self.model.profiles.values())


def in_turn(items: Sequence[T], number: int) -> T:
    return items[number % len(items)]


def find(documents: Mapping[bytes, T], id_: bytes) -> T:
    """What a command finds by its name or id."""
    if id_ not in documents:
        raise NotFound("there is none")
    return documents[id_]


def outcome(model: Model, expect: Expect, *, is_allowed: bool) -> str:
    """What has to come of an act on this state: the name of an error, or whether it changes something."""
    try:
        changed = expect(model, PLACEHOLDERS) != model
    except Told as told:
        return told.error.__name__
    return "unchanged" if not changed else "took effect" if is_allowed else Refused.__name__
