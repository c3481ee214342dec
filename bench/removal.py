"""Removal from a large group through the real program: how long the re-key takes (`bench/README.md`).

A server of its own on a loopback port, and an org of one group of N agents (1,000 unless told) with a token each, which is
granted 20 profiles of 100 secrets. Measured is ``group remove`` of one agent, as a whole process; after each the one who
was removed is refused, and one who stays pulls all values.

Usage: python bench/removal.py [--agents N] [--profiles N] [--secrets N] [--rounds N] [--check]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import large

SECONDS = 5.0

# Makes the org with the client's library; prints the tokens of the first agents.
BUILD = """
import sys
from stronghold_cli.commands.acting import open_vault
from stronghold_cli.vault.agents import Address, create_agent, mint
from stronghold_cli.vault.groups import create_group, grant
from stronghold_cli.vault.profiles import create_profile, write_secrets

count, profiles, secrets, shown, address = *map(int, sys.argv[1:5]), sys.argv[5]
vault = open_vault()

def found(draft):
    group = create_group(draft, "crowd")
    for number in range(profiles):
        profile = create_profile(draft, f"profile-{number}", with_group=False)
        grant(draft, group, profile)
        values = {f"SECRET_{each}": f"value {each} of {number}".encode() for each in range(secrets)}
        write_secrets(draft, draft.profiles()[profile.id], {}, values)
    return group.id

group_id = vault.commit(found)

def hire(start, end):
    def act(draft):
        group = draft.groups()[group_id]
        made = [create_agent(draft, f"agent {number:05}", [group]) for number in range(start, end)]
        return [mint(draft, agent, "first", Address(address=address, plain_http=True)).token.text for agent in made]
    return act

tokens = []
for start in range(0, count, 250):
    tokens += vault.commit(hire(start, min(start + 250, count)))
print("\\n".join(tokens[:shown]))
"""


def main() -> None:
    """Set up, measure, print; with --check a removal that takes too long ends with 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--profiles", type=int, default=20)
    parser.add_argument("--secrets", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true", help=f"end with 1 where a removal takes over {SECONDS:.0f} s")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="stronghold-removal-") as name,
        large.server(Path(name)) as (address, environment, _),
    ):
        large.found(Path(name), address, environment)
        times = measure(environment, build(environment, arguments, address), arguments)
    median = statistics.median(times)
    print(f"{arguments.agents} agents, {arguments.profiles} profiles of {arguments.secrets} secrets")
    print(f"{'group remove, one agent':<28}{median:>9.3f} s  target: at most {SECONDS:.0f} s")
    print(f"{'slowest of ' + str(len(times)):<28}{max(times):>9.3f} s")
    if arguments.check and median > SECONDS:
        raise SystemExit(1)


def build(environment: dict[str, str], arguments: argparse.Namespace, address: str) -> list[str]:
    """Make the org; returns the tokens of as many agents as will be removed, and of one more, which comes last."""
    numbers = (arguments.agents, arguments.profiles, arguments.secrets, arguments.rounds + 1)
    words = [sys.executable, "-c", BUILD, *map(str, numbers), address.partition("://")[2]]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.split()


def measure(environment: dict[str, str], tokens: list[str], arguments: argparse.Namespace) -> list[float]:
    """Seconds of each removal; who is removed is refused, who stays reads on."""
    times = []
    pull = ("env", "pull", "--profile", "profile-0", "--format", "json")
    expected = {f"SECRET_{each}": f"value {each} of 0" for each in range(arguments.secrets)}
    for number, token in enumerate(tokens[:-1]):
        _, took = large.run(environment, "group", "remove", "crowd", "--agent", f"agent {number:05}", "--yes")
        times.append(took)
        if json.loads(large.run({**environment, "STRONGHOLD_TOKEN": tokens[-1]}, *pull)[0]) != expected:
            raise SystemExit("an agent that stays does not get its values")
        refused = subprocess.run(
            [*large.CLI, *pull], env={**environment, "STRONGHOLD_TOKEN": token}, capture_output=True, check=False
        )
        if refused.returncode != 4:
            raise SystemExit("an agent that was removed is not refused")
    return times


if __name__ == "__main__":
    main()
