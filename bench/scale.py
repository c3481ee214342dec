"""An org as large as they come: what a pull, a removal and an operator's sync cost in it (`bench/README.md`).

10,000 agents with a token each, in 100 groups, over 500 profiles of 100 secrets: one group of 1,000 agents with 20 profiles,
the other agents and profiles shared out among the other groups. Beside it, on the same server, an org of one agent with one
such profile. The orgs are made with the client's library; everything that is measured is the real program and a real server.

Usage: python bench/scale.py [--agents N] [--secrets N] [--rounds N] [--check] [--write]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import large
import page
import throughput

from stronghold_cli.protocol.token import parse_agent_token

GROUPS = 100
PROFILES = 500
CROWD_PROFILES = 20
PULL_RATIO = 1.2
REMOVAL_SECONDS = 5.0
SYNC_SECONDS = 30.0
SYNC_MIB = 100

# The first profile is the crowd's and the one that is pulled; prints the tokens of some agents of the crowd.
BUILD = """
import sys
from stronghold_cli.commands.acting import open_vault
from stronghold_cli.vault.agents import Address, create_agent, mint
from stronghold_cli.vault.groups import create_group, grant
from stronghold_cli.vault.profiles import create_profile, write_secrets

agents, groups, profiles, own, secrets, address = *map(int, sys.argv[1:6]), sys.argv[6]
vault = open_vault()
ids = vault.commit(lambda draft: [create_group(draft, f"group-{number}").id for number in range(groups)])

def found(start, end):
    def act(draft):
        for number in range(start, end):
            profile = create_profile(draft, f"profile-{number}", with_group=False)
            group = 0 if number < own or groups == 1 else 1 + number % (groups - 1)
            grant(draft, draft.groups()[ids[group]], profile)
            values = {f"SECRET_{each}": f"value {each} of {number}".encode() for each in range(secrets)}
            write_secrets(draft, draft.profiles()[profile.id], {}, values)
    return act

def hire(start, end):
    def act(draft):
        known = draft.groups()
        minted = []
        for number in range(start, end):
            group = 0 if number < agents / 10 or groups == 1 else 1 + number % (groups - 1)
            agent = create_agent(draft, f"agent {number:05}", [known[ids[group]]])
            minted.append(mint(draft, agent, "first", Address(address=address, plain_http=True)).token.text)
        return minted
    return act

for start in range(0, profiles, 50):
    vault.commit(found(start, min(start + 50, profiles)))
tokens = []
for start in range(0, agents, 250):
    tokens += vault.commit(hire(start, min(start + 250, agents)))
print("\\n".join(tokens[: max(1, agents // 10)]))
"""


def main() -> None:
    """Set up, measure, print; with --check a figure beyond its target ends with 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--secrets", type=int, default=100, help="of each profile")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="end with 1 where a figure is beyond its target")
    parser.add_argument("--write", action="store_true", help="write the table to docs/performance.md")
    arguments = parser.parse_args()
    lines, is_met = report(arguments.agents, arguments.secrets, arguments.rounds)
    print("\n".join(lines))
    if arguments.write:
        page.write_part("a large org", [*lines, "", f"{arguments.rounds} rounds. {page.load()}"])
    if arguments.check and not is_met:
        raise SystemExit(1)


def report(agents: int, secrets: int, rounds: int) -> tuple[list[str], bool]:
    """The table as lines of Markdown, and whether every target is met."""
    with tempfile.TemporaryDirectory(prefix="stronghold-scale-") as name, large.server(Path(name)) as (address, home, _):
        folder = Path(name)
        small_home = another_home(folder, home, "small")
        large.found(folder, address, small_home, "small-kits")
        small = build(small_home, (1, 1, 1, 1, secrets), address)
        large.found(folder, address, home)
        started = time.perf_counter()
        tokens = build(home, (agents, GROUPS, PROFILES, CROWD_PROFILES, secrets), address)
        built = time.perf_counter() - started
        pulls = compare_pulls(small, tokens, rounds)
        first, size, later = measure_syncs(folder, home, rounds)
        removal = statistics.median(remove(home, number) for number in range(rounds))
    rows = [
        (f"org of {agents} agents in {GROUPS} groups over {PROFILES} profiles of {secrets} secrets, made", built, "s", None),
        ("pull, one connection, time ÷ in an org of one agent", pulls[0], "", PULL_RATIO),
        ("pull, bytes ÷ in an org of one agent", pulls[1], "", PULL_RATIO),
        ("operator's first sync of it (`profile list`)", first, "s", SYNC_SECONDS),
        ("what that leaves on the disk", size, "MiB", SYNC_MIB),
        ("sync after one commit of another device", later, "s", None),
        (f"`group remove`, one of {agents // 10} agents, {CROWD_PROFILES} profiles", removal, "s", REMOVAL_SECONDS),
    ]
    return table(rows)


def table(rows: list[tuple[str, float, str, float | None]]) -> tuple[list[str], bool]:
    """Lines of Markdown, and whether every target is met."""
    lines = ["| what | measured | target | |", "|---|---:|---|---|"]
    is_met = True
    for what, figure, unit, target in rows:
        if target is None:
            lines.append(f"| {what} | {figure:.2f} {unit} | | |")
            continue
        is_met &= figure <= target
        lines.append(
            f"| {what} | {figure:.2f} {unit} | at most {target:g} {unit} | {'met' if figure <= target else 'missed'} |"
        )
    return lines, is_met


def another_home(folder: Path, home: dict[str, str], name: str) -> dict[str, str]:
    """The environment of another person, or another device, beside ``home``'s."""
    for part in ("home", "run"):
        (folder / f"{name}-{part}").mkdir(mode=0o700)
    return {**home, "HOME": str(folder / f"{name}-home"), "XDG_RUNTIME_DIR": str(folder / f"{name}-run")}


def build(environment: dict[str, str], numbers: tuple[int, ...], address: str) -> list[str]:
    """Make an org; the tokens of a tenth of its agents."""
    command = [sys.executable, "-c", BUILD, *map(str, numbers), address.partition("//")[2]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.split()


def compare_pulls(small: list[str], crowd: list[str], rounds: int) -> tuple[float, float]:
    """Time and bytes of pulls of one profile, by agents of the crowd in their turn, over those in the small org."""
    alone, among = ([parse_agent_token(text) for text in tokens] for tokens in (small, crowd))
    throughput.measure(among, 1, 1.0, "profile-0")  # the first pull after a commit makes what the next ones use
    throughput.measure(alone, 1, 1.0, "profile-0")
    ratios, size = [], 1.0
    for _ in range(rounds):
        one, many = (throughput.measure(tokens, 1, 3.0, "profile-0") for tokens in (alone, among))
        ratios.append(one.per_second / many.per_second)
        size = many.answer_bytes / one.answer_bytes
    return statistics.median(ratios), size


def measure_syncs(folder: Path, home: dict[str, str], rounds: int) -> tuple[float, float, float]:
    """Seconds of a first sync, the MiB that it leaves, and seconds of a sync after one commit of another device."""
    data = Path(home["HOME"]) / ".local/share/stronghold"
    first, later = [], []
    for turn in range(rounds):
        for kept in (data / "orgs").iterdir():
            kept.unlink()
        first.append(large.run(home, "profile", "list", "--json")[1])
        # What another device has done is what this one no longer knows: copy and mark as they were before.
        before = folder / f"before-{turn}"
        shutil.copytree(data, before)
        large.run(home, "profile", "create", f"another-{turn}")
        shutil.rmtree(data)
        shutil.copytree(before, data)
        later.append(large.run(home, "profile", "list", "--json")[1])
    size = sum(kept.stat().st_size for kept in (data / "orgs").iterdir()) / (1 << 20)
    return statistics.median(first), size, statistics.median(later)


def remove(home: dict[str, str], number: int) -> float:
    """Seconds of a removal from the crowd."""
    return large.run(home, "group", "remove", "group-0", "--agent", f"agent {number:05}", "--yes")[1]


if __name__ == "__main__":
    main()
