"""Random sequences of acts on agents, tokens, groups, profiles and secrets, against a simple model of who may read what.

Two admins, one of them on two devices, and an editor act through the client's library on a real server in this process; a
reader reads. Their clocks differ. A device that has not looked for a while knows an older state: its act is carried out on
the newest one, or the person is told. Requests and answers of commits get lost, and somebody else gives new keys, or removes
an agent, between two requests of one act. After each act

- the verified state is the model's, and one act made one commit, or none;
- every agent pulls for real, and gets the model's values, or the model's refusal; people read, or are refused;
- whoever kept all keys that a token, or an operator's seals, ever led to, and has all dumps of the database, opens nothing
  that was written after they lost their reading, and everything that they may read: so the attack itself is sound;
- the dump holds the versions and shares that the model keeps, and no other.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import initialize, run_state_machine_as_test

from stronghold_cli.protocol.documents.agent import Rate
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.vault import agents, groups, profiles
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_server import service
from tests.properties.life_agents import AgentActs
from tests.properties.life_groups import GroupActs
from tests.properties.life_lines import TokenLine
from tests.properties.life_machine import LOST, Ids, Occasion, nothing
from tests.properties.life_model import Model
from tests.properties.life_org import EDITOR, READER
from tests.properties.life_profiles import ProfileActs
from tests.server.support import World

IS_LONG = settings().max_examples >= 5000
SEQUENCES, PARTS = (5000, 20) if IS_LONG else (200, 4)
ACTS = 30
EVERY_ACT = (
    "create_agent", "rename_agent", "delete_agent", "pause_or_activate", "end_agent", "label",
    "mint_token", "revoke", "deprecate_or_not", "rotate", "compromised", "lock_down", "lift",
    "create_group", "rename_group", "delete_group", "add_agent", "add_operator", "remove_agents", "remove_operator",
    "grant", "ungrant",
    "create_profile", "copy_profile", "rename_profile", "delete_profile",
    "set_secret", "delete_secret", "roll_back", "restore", "purge",
)  # fmt: skip
OCCASIONS = (*LOST, "new keys", "a removal", "is behind", "knows the newest")
REFUSALS = (
    "LOCKED_DOWN", "TOKEN_REVOKED", "TOKEN_EXPIRED", "TOKEN_EXHAUSTED", "AGENT_PAUSED", "ADDRESS_DENIED",
    "PROFILE_FORBIDDEN",
)  # fmt: skip
FIRST = Occasion(device=0, manner="looks", waits=1, mishap="nothing")


class LifeCycle(AgentActs, GroupActs, ProfileActs):
    """The acts, and the beginning: two profiles, each with a group and a history, and three agents with a token each."""

    @initialize()
    def begin(self) -> None:
        self.furnish()
        self.write_anew()

    def furnish(self) -> None:
        editor, reader = self.org.by(EDITOR), self.org.by(READER)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            made, own = [], []
            for name, person in (("one", editor), ("two", reader)):
                profile = profiles.create_profile(draft, name)
                profiles.write_secrets(draft, profile, {}, {"ALPHA": b"first"})
                draft.put(draft.profiles()[profile.id].replace(editors=(editor.operator_id,)))
                (group_id,) = profile.grants
                groups.add_operator(draft, draft.groups()[group_id], person.operator_id)
                made += [profile.id, group_id]
                own.append(draft.groups()[group_id])
            for name, members in (("one", own), ("two", own[:1]), ("three", own[1:])):
                agent = agents.create_agent(draft, name, members)
                made += [agent.id, self.mint(draft, agent)]
            groups.grant(draft, own[1], draft.profiles()[made[0]])
            return lambda state: [*made, *(next(iter(state.entries(id_))) for id_ in made[:4:2])]

        def expect(model: Model, ids: Ids) -> Model:
            now, by = self.org.wires[0].now, self.org.by(0)
            for name, place, person in (("one", 0, editor), ("two", 1, reader)):
                profile_id, group_id = ids[2 * place : 2 * place + 2]
                model = model.create_profile(profile_id, name, group_id).list_editor(profile_id, editor)
                model = model.write(ids[10 + place], profile_id, "ALPHA", b"first", by).add_operator(group_id, person)
            members = {"one": (ids[1], ids[3]), "two": (ids[1],), "three": (ids[3],)}
            for position, (name, own) in enumerate(members.items()):
                agent_id, token_id = ids[4 + 2 * position : 6 + 2 * position]
                model = model.create_agent(agent_id, name, own)
                model = model.mint(token_id, agent_id, TokenLine("active", now, None), now)
            return model.grant(ids[3], ids[0])

        self.act(FIRST, do, expect)

    def write_anew(self) -> None:
        def do(vault: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            for profile in draft.profiles().values():
                profiles.write_secrets(draft, profile, profiles.read_secrets(vault, profile), {"ALPHA": b"second"})
            return nothing

        def expect(model: Model, _: Ids) -> Model:
            for profile_id in model.profiles:
                model = model.write(b"", profile_id, "ALPHA", b"second", self.org.by(0))
            return model

        self.act(FIRST, do, expect)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, where there is one: each act waits for the disk several times."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="stronghold-test-", dir=memory) as path:
        yield Path(path)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_random_lives_of_an_org_agree_with_the_model(folder: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    """In parts, for as many processes: the same sequences in every run, and other ones in each part; new ones in soak."""
    monkeypatch.setattr(service, "REFUSALS", Rate(requests=10_000, seconds=1))
    server = folder / "server"
    server.mkdir()
    world = World(server)
    happened: Counter[tuple[str, str]] = Counter()

    def begin() -> LifeCycle:
        return LifeCycle(world, folder, happened)

    try:
        run_state_machine_as_test(
            begin if IS_LONG else seed(part)(begin),
            settings=settings(
                max_examples=SEQUENCES // PARTS,
                stateful_step_count=ACTS + 1,
                suppress_health_check=list(HealthCheck),
                # A failing sequence is made smaller in the long form alone, since that takes minutes.
                phases=[Phase.generate, Phase.shrink] if IS_LONG else [Phase.generate],
            ),
            _min_steps=ACTS,
        )
    finally:
        world.close()
    print(table(happened))
    missing = [act for act in EVERY_ACT if not happened[act, "took effect"]]
    met = [what for what, result in happened if result == "took effect"]
    missing += [each for each in OCCASIONS if not any(what.startswith(f"on an occasion: {each}") for what in met)]
    missing += [code for code in ("answered", *REFUSALS) if not happened["a pull", code]]
    missing += [result for result in ("answered", "Refused") if not happened["a person's reading", result]]
    assert not missing or not IS_LONG, f"never happened: {', '.join(missing)}"


def table(happened: Counter[tuple[str, str]]) -> str:
    """How often each act came to what: shown with ``pytest -rP``."""
    rows: dict[str, list[str]] = {}
    for (what, result), count in sorted(happened.items()):
        rows.setdefault(what, []).append(f"{result} {count}")
    return "\n".join(f"{what}: {', '.join(results)}" for what, results in rows.items())
