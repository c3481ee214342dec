"""Lockdown of a large org through the real program: how long until every agent stands still (`bench/README.md`).

A server of its own on a loopback port, and an org of N agents (10,000 unless told) with a token each, in 100 groups that
are granted 50 profiles. Measured are ``lockdown --all``, ``lockdown --label`` and ``lockdown lift``, each as a whole
process; after each a sample of agents pulls, to see that they are refused, or work.

Usage: python bench/lockdown.py [--agents N] [--rounds N] [--check]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import large

GROUPS = 100
PROFILES = 50
SAMPLE = 4
SECONDS = 2.0

# Makes the org with the client's library, in commits of some hundred agents; prints the tokens of a few of them.
BUILD = """
import sys
from stronghold_cli.commands.acting import open_vault
from stronghold_cli.vault.agents import Address, create_agent, mint
from stronghold_cli.vault.groups import create_group, grant
from stronghold_cli.vault.profiles import create_profile, write_secrets

count, groups, profiles, sample, address = *map(int, sys.argv[1:5]), sys.argv[5]
vault = open_vault()

def found(draft):
    made = [create_group(draft, f"group-{number}") for number in range(groups)]
    for number in range(profiles):
        profile = create_profile(draft, f"profile-{number}", with_group=False)
        for group in made[number::profiles]:
            grant(draft, group, draft.profiles()[profile.id])
        write_secrets(draft, draft.profiles()[profile.id], {}, {f"SECRET_{each}": b"value" for each in range(10)})
    return [group.id for group in made]

ids = vault.commit(found)

def hire(start, end):
    def act(draft):
        known = draft.groups()
        minted = []
        for number in range(start, end):
            labels = {"env": "staging" if number % 2 else "production"}
            agent = create_agent(draft, f"agent {number:05}", [known[ids[number % groups]]], labels=labels)
            minted.append(mint(draft, agent, "first", Address(address=address, plain_http=True)).token.text)
        return minted
    return act

shown = []
for start in range(0, count, 250):
    tokens = vault.commit(hire(start, min(start + 250, count)))
    shown += tokens[:2] if len(shown) < sample else []
print("\\n".join(shown[:sample]))
"""


def main() -> None:
    """Set up, measure, print; with --check a lockdown that takes too long ends with 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--check", action="store_true", help=f"end with 1 where a lockdown takes over {SECONDS} s")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="stronghold-lockdown-") as name,
        large.server(Path(name)) as (address, environment, _),
    ):
        large.found(Path(name), address, environment)
        started = time.perf_counter()
        tokens = build(environment, arguments.agents, address)
        print(f"{arguments.agents} agents in {GROUPS} groups built in {time.perf_counter() - started:.0f} s")
        medians = measure(environment, tokens, arguments.rounds)
    for what, seconds in medians.items():
        print(f"{what:<28}{seconds:>9.3f} s")
    if arguments.check and max(medians["lockdown --all"], medians["lockdown --label"]) > SECONDS:
        raise SystemExit(1)


def build(environment: dict[str, str], count: int, address: str) -> list[str]:
    """The org; returns the tokens of a few agents, of both labels in turn."""
    words = [str(each) for each in (count, GROUPS, PROFILES, SAMPLE)]
    command = [sys.executable, "-c", BUILD, *words, address.partition("//")[2]]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().split()


def measure(environment: dict[str, str], tokens: list[str], rounds: int) -> dict[str, float]:
    """Medians in seconds."""
    times: dict[str, list[float]] = {"lockdown --all": [], "lockdown --label": [], "lockdown lift": []}
    for _ in range(rounds):
        for what, stopped in (("lockdown --all", {0, 1}), ("lockdown --label", {1})):
            whom = ("--all",) if what.endswith("all") else ("--label", "env=staging")
            out, took = large.run(environment, "--json", "lockdown", *whom, "--reason", "a measurement")
            times[what].append(took)
            check(environment, tokens, stopped)
            times["lockdown lift"].append(large.run(environment, "lockdown", "lift", json.loads(out)["id"])[1])
            check(environment, tokens, set())
    return {name: statistics.median(values) for name, values in times.items()}


def check(environment: dict[str, str], tokens: list[str], stopped: set[int]) -> None:
    """Every sampled agent is refused (exit code 4) where its label's remainder is among ``stopped``, and else works."""
    for number, token in enumerate(tokens):
        pulled = subprocess.run(
            [*large.CLI, "env", "pull"], env={**environment, "STRONGHOLD_TOKEN": token}, capture_output=True, check=False
        )
        if pulled.returncode != (4 if number % 2 in stopped else 0):
            raise SystemExit(f"agent {number}: {pulled.returncode} {pulled.stderr.decode()}")


if __name__ == "__main__":
    main()
