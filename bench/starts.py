"""How long whole commands take, as ratios to a bare interpreter, and how much memory a pull needs.

Everything is interleaved in one run: bare interpreter, our commands, then the same again, so that a busy moment hits all
rows alike. Medians are taken; the ratios are what the targets are about.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STRONGHOLD = str(Path(sys.executable).with_name("stronghold"))
SECRETS = 50
BARE, PULL, PULL_TLS, RUN = "python -c pass", "env pull, plain", "env pull, TLS", "run -- true"
# What a row may cost at most, in bare interpreters: the target, and what is accepted with a reason.
TARGETS = {"stronghold --version": 1.8, "stronghold --help": 6.0, PULL: 6.0, PULL_TLS: 6.0}
ACCEPTED_PULL = 9.0
RUN_OVER_PULL = 1.15
PEAK_MIB = 40
DOTENVX = "dotenvx get"
DOTENVX_OVER_PULL = 10
_WARM_UP = 2  # rounds that fill the caches of the file system and write byte code
# A process that is forked from a large one counts that one's memory as its own: a small one stands between.
_PEAK = (
    "import os, resource, sys\n"
    "code = os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)[1])\n"
    "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
)
Command = tuple[Sequence[str], Mapping[str, str]]


def commands(plain: Mapping[str, str], tls: Mapping[str, str]) -> dict[str, Command]:
    """The rows of the table, each with its environment."""
    return {
        BARE: ([sys.executable, "-c", "pass"], plain),
        "stronghold --version": ([STRONGHOLD, "--version"], plain),
        "stronghold --help": ([STRONGHOLD, "--help"], plain),
        PULL: ([STRONGHOLD, "env", "pull", "--profile", "bench"], plain),
        PULL_TLS: ([STRONGHOLD, "env", "pull", "--profile", "bench"], tls),
        RUN: ([STRONGHOLD, "run", "--profile", "bench", "--", "true"], plain),
    }


def measure(rows: Mapping[str, Command], rounds: int) -> dict[str, float]:
    """The median wall time of each row in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in rows}
    for number in range(rounds + _WARM_UP):
        for name, (command, environment) in rows.items():
            start = time.perf_counter()
            done = subprocess.run(command, env=environment, capture_output=True, check=False)
            elapsed = (time.perf_counter() - start) * 1000
            if done.returncode:
                raise SystemExit(f"{name}: {done.stderr.decode()}")
            if name in {PULL, PULL_TLS, DOTENVX} and done.stdout.count(b"SECRET_") != SECRETS:
                raise SystemExit(f"{name} printed something else than {SECRETS} secrets")
            if number >= _WARM_UP:
                times[name].append(elapsed)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_mib(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """The greatest resident memory of a command in MiB."""
    wrapped = [sys.executable, "-I", "-S", "-c", _PEAK, *command]
    done = subprocess.run(wrapped, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    code, kib = done.stderr.decode().split()[-2:]
    if code != "0":
        raise SystemExit(f"{command} ended with {code}")
    return int(kib) / 1024


def dotenvx(folder: Path, values: str) -> Command | None:
    """dotenvx from npm with the same values, encrypted; ``None``, said aloud, where it cannot be had."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if not npm or not node:
        print("skipped: dotenvx, since node and npm are not both there", file=sys.stderr)
        return None
    place = folder / "dotenvx"
    place.mkdir()
    (place / ".env").write_text(values)
    program = place / "node_modules" / ".bin" / "dotenvx"
    environment = {**os.environ, "HOME": str(place), "DOTENVX_NO_OPS": "true"}
    try:
        for step in ([npm, "install", "--silent", "--no-audit", "--no-fund", "@dotenvx/dotenvx"], [str(program), "encrypt"]):
            subprocess.run(step, cwd=place, env=environment, capture_output=True, check=True, timeout=180)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"skipped: dotenvx, which cannot be installed from npm ({type(error).__name__})", file=sys.stderr)
        return None
    return [str(program), "get", "-f", str(place / ".env"), "-fk", str(place / ".env.keys")], environment


def table(medians: Mapping[str, float], peak: float) -> list[str]:
    """The figures beside their targets, as a Markdown table."""
    bare, pull = medians[BARE], medians[PULL]
    lines = ["| whole process | median ms | ÷ bare interpreter | target | |", "|---|---:|---:|---|---|"]
    for name, median in medians.items():
        target, met = _target(name, median, bare, pull)
        lines.append(f"| {name} | {median:.1f} | {median / bare:.2f} | {target} | {met} |")
    met = "met" if peak <= PEAK_MIB else "missed"
    lines.append(f"| peak memory of a pull | {peak:.1f} MiB | | at most {PEAK_MIB} MiB | {met} |")
    return lines


def _target(name: str, median: float, bare: float, pull: float) -> tuple[str, str]:
    if name == RUN:
        return (
            f"at most {RUN_OVER_PULL} env pull: {median / pull:.2f}",
            "met" if median <= RUN_OVER_PULL * pull else "missed",
        )
    if name == DOTENVX:
        target = f"at least {DOTENVX_OVER_PULL} env pull: {median / pull:.1f}"
        return target, "met" if median >= DOTENVX_OVER_PULL * pull else "missed"
    if name not in TARGETS:
        return "", ""
    if median <= TARGETS[name] * bare:
        met = "met"
    else:
        met = "accepted" if name in {PULL, PULL_TLS} and median <= ACCEPTED_PULL * bare else "missed"
    return f"at most {TARGETS[name]}", met
