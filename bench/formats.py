"""How long a profile of 10,000 secrets takes in each format, and a template of 10 MiB.

Writing and reading back together, in this process, after one round that loads what is needed; medians of the rounds, beside
what reading the same values from JSON takes here. The values are those of a real profile: words, addresses, keys of several
lines, JSON, and a tenth that no portable ``.env`` form holds.

Usage: python bench/formats.py [--secrets N] [--rounds N] [--check]      --check ends with 1 where a row takes over a second
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable

import page

from stronghold_cli.formats import template
from stronghold_cli.formats.options import Options
from stronghold_cli.formats.table import FORMATS, READERS, load, render

LIMIT = 1.0
TEMPLATE_BYTES = 10 << 20


def profile(count: int) -> dict[str, bytes]:
    """Values of the kinds that profiles hold; the same ones in every run."""
    source = random.Random(1)
    kinds: tuple[Callable[[], str], ...] = (
        lambda: f"{source.getrandbits(128):032x}",
        lambda: f"postgres://user:{source.getrandbits(64):x}@db{source.randint(1, 99)}.internal:5432/app?sslmode=require",
        lambda: "two words and a # sign",
        lambda: json.dumps({"id": source.getrandbits(32), "list": [1, 2, 3], "text": "a\nb"}),
        lambda: (
            "-----BEGIN KEY-----\n" + "\n".join(f"{source.getrandbits(384):096x}" for _ in range(8)) + "\n-----END KEY-----"
        ),
        lambda: str(source.randint(1, 65535)),
        lambda: "caf\u00e9 \U0001f680",
        lambda: "",
        lambda: f"it's {source.getrandbits(64):x}",
        lambda: f"pa$${source.getrandbits(64):x} \"'\\",
    )
    return {f"KEY_{number:05}": kinds[number % len(kinds)]().encode() for number in range(count)}


def seconds(action: Callable[[], object], rounds: int) -> float:
    """The median of ``rounds``, after one that is not counted."""
    taken = []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        action()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])


def measure(count: int, rounds: int) -> dict[str, float]:
    """Seconds by row."""
    values = profile(count)
    rows: dict[str, float] = {}
    columns = [(name, None) for name in FORMATS] + [("dotenv", name) for name in READERS]
    for format_name, reader in columns:
        options = Options()
        module = load(format_name, reader)
        kept = {name: value for name, value in values.items() if not module.refusal(name, value, options)}
        title = f"`{format_name}`" if reader is None else f"`dotenv --reader {reader}`"
        rows[title] = seconds(lambda: render(format_name, kept, random=os.urandom, reader=reader, options=options), rounds)  # noqa: B023
    piece = b"text around it that stays as it is\n" * 29 + b"{{ stronghold://KEY_00001 }}\n"
    text = piece * (TEMPLATE_BYTES // len(piece) + 1)
    rows["`env render`, 10 MiB"] = seconds(
        lambda: template.render(text, template.references(text, "t"), {None: values}, "t"), rounds
    )
    plain = json.dumps({name: value.decode() for name, value in values.items()})
    rows["json.loads of the same"] = seconds(lambda: json.loads(plain), rounds)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--secrets", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    rows = measure(arguments.secrets, arguments.rounds)
    floor = rows["json.loads of the same"]
    lines = [f"| {arguments.secrets:,} secrets | seconds | json.loads |", "|---|---|---|"]
    lines += [f"| {title} | {taken:.3f} | {taken / floor:.1f} × |" for title, taken in rows.items()]
    print("\n".join(lines))
    page.write_part("formats", [*lines, "", page.load()])
    slow = [title for title, taken in rows.items() if taken > LIMIT]
    if slow:
        print(f"over {LIMIT} s: {', '.join(slow)}", file=sys.stderr)
    return int(arguments.check and bool(slow))


if __name__ == "__main__":
    sys.exit(main())
