"""A large profile through the real program: pushed, pulled, as times, ratios and peak memory (`bench/README.md`).

A server of its own on a loopback port, a profile of N secrets (10,000 unless told) with values of 30 to 60 characters,
pushed by ``env push`` and pulled by ``env pull``, which stands beside a bare interpreter and a pull of 50 secrets,
interleaved.

Usage: python bench/large.py [--secrets N] [--rounds N] [--check]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CLI = (sys.executable, "-m", "stronghold_cli")
FEW = 50
MANY = 10_000
# What a pull of 10,000 secrets may take: the target, and what is accepted with its reason.
SECONDS = (0.6, 2.0)
PEAK_MIB = (150, 200)
_LISTENING = re.compile(r"listening on (https?://\S+)")


def main() -> None:
    """Set up, measure, print; with --check an excess of what is accepted ends with 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--secrets", type=int, default=MANY)
    parser.add_argument("--rounds", type=int, default=9, help="pulls of each kind, interleaved")
    parser.add_argument("--check", action="store_true", help="end with 1 where more than the accepted is needed")
    arguments = parser.parse_args()
    lines, is_accepted = report(arguments.secrets, arguments.rounds)
    print("\n".join(lines))
    if arguments.check and not is_accepted:
        raise SystemExit(1)


def report(count: int, rounds: int) -> tuple[list[str], bool]:
    """The table as lines of Markdown, and whether a pull of that many needs no more than is accepted."""
    with tempfile.TemporaryDirectory(prefix="stronghold-large-") as name, server(Path(name)) as (address, environment, peak):
        folder = Path(name)
        found(folder, address, environment)
        push(folder, environment, "few", FEW)
        pushed = push(folder, environment, "large", count)
        agent = {**environment, "STRONGHOLD_TOKEN": make_agent(environment)}
        medians, peaks = measure(agent, count, rounds)
        peaks["server"] = peak()
    return table(count, pushed, medians, peaks)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[tuple[str, dict[str, str], Callable[[], int]]]:
    """A real server; yields its base URL, a clean environment for whoever uses it, and what tells its peak memory in MiB."""
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(folder / "home"),
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "PYTHONPATH": os.pathsep.join(path for path in map(os.path.abspath, filter(None, sys.path))),
    }
    for name in ("home", "run"):
        (folder / name).mkdir(mode=0o700)
    log = folder / "server.log"
    command = [sys.executable, "-m", "stronghold_server", "--data-dir", str(folder / "data"), "--port", "0"]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
    try:
        for _ in range(600):
            if match := _LISTENING.search(log.read_text()):
                break
            time.sleep(0.05)
        else:
            raise SystemExit(f"the server does not start:\n{log.read_text()}")
        status = Path(f"/proc/{process.pid}/status")
        address = match[1].replace("0.0.0.0", "127.0.0.1").rstrip('",')
        yield address, environment, lambda: int(status.read_text().split("VmHWM:")[1].split()[0]) >> 10
    finally:
        process.terminate()
        process.wait(10)


def run(environment: dict[str, str], *words: str) -> tuple[bytes, float]:
    """Stdout and seconds of a command that must succeed."""
    start = time.perf_counter()
    process = subprocess.Popen([*CLI, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate()
    took = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"stronghold {' '.join(words)}: {err.decode()}")
    return out, took


def peak_of(environment: dict[str, str], *words: str) -> int:
    """The peak memory of a command, in MiB: its own process forks and waits for it alone."""
    script = (
        "import os, resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", script, *CLI, *words], env=environment, capture_output=True, check=True)
    return int(done.stdout) >> 10


def found(folder: Path, address: str, environment: dict[str, str], kits: str = "kits") -> None:
    """An org whose operator is unlocked; ``kits`` is the name of the file with its kits."""
    passphrase = folder / "passphrase"
    passphrase.write_text(secrets.token_urlsafe(24) + "\n")
    passphrase.chmod(0o600)
    code = run(environment, "server", "setup-code", "--data-dir", str(folder / "data"))[0].decode().strip()
    run(
        environment, "init", "--server", address, "--setup-code", code, "--org", "Bench", "--name", "bench",
        "--passphrase-file", str(passphrase), "--kit-file", str(folder / kits),
    )  # fmt: skip


def push(folder: Path, environment: dict[str, str], profile: str, count: int) -> float:
    """Push ``count`` secrets into a new profile; the seconds that took."""
    values = {f"SECRET_{number:05}": secrets.token_urlsafe(24 + number % 24) for number in range(count)}
    path = folder / f"{profile}.json"
    path.write_text(json.dumps(values))
    return run(environment, "env", "push", str(path), "--profile", profile, "--yes")[1]


def make_agent(environment: dict[str, str]) -> str:
    """An agent that may read both profiles; returns its token."""
    words = ("agent", "create", "bench", "--profile", "few", "--profile", "large", "--json")
    token: str = json.loads(run(environment, *words)[0])["token"]
    return token


def measure(environment: dict[str, str], count: int, rounds: int) -> tuple[dict[str, float], dict[str, int]]:
    """Medians in seconds of interleaved runs, and the peaks in MiB."""
    words = {name: ("env", "pull", "--profile", name, "--format", "dotenv") for name in ("few", "large")}
    times: dict[str, list[float]] = {"bare": [], "few": [], "large": []}
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], env=environment, check=True)
        times["bare"].append(time.perf_counter() - start)
        for name, command in words.items():
            out, took = run(environment, *command)
            times[name].append(took)
            expected = FEW if name == "few" else count
            if out.count(b"SECRET_") != expected:
                raise SystemExit(f"a pull gave something else than {expected} secrets")
    return (
        {name: statistics.median(values) for name, values in times.items()},
        {name: peak_of(environment, *command) for name, command in words.items()},
    )


def table(count: int, pushed: float, medians: dict[str, float], peaks: dict[str, int]) -> tuple[list[str], bool]:
    """The figures beside their targets, and whether what was measured is accepted."""
    bare, many = medians["bare"], medians["large"]
    is_met = many <= SECONDS[0] and peaks["large"] <= PEAK_MIB[0]
    is_accepted = many <= SECONDS[1] and peaks["large"] <= PEAK_MIB[1]
    outcome = "met" if is_met else "accepted" if is_accepted else "missed"
    target = f"at most {SECONDS[0]} s and {PEAK_MIB[0]} MiB (accepted: {SECONDS[1]:.0f} s and {PEAK_MIB[1]} MiB)"
    lines = [
        "| whole process | median s | ÷ bare interpreter | peak MiB | target | |",
        "|---|---:|---:|---:|---|---|",
        f"| bare interpreter | {bare:.3f} | 1.00 | | | |",
        f"| `env push`, {count} secrets, once | {pushed:.3f} | {pushed / bare:.1f} | | | |",
        f"| `env pull`, {FEW} secrets | {medians['few']:.3f} | {medians['few'] / bare:.1f} | {peaks['few']} | | |",
        f"| `env pull`, {count} secrets | {many:.3f} | {many / bare:.1f} | {peaks['large']} | {target} | {outcome} |",
        f"| the server, after all of these | | | {peaks['server']} | | |",
    ]
    return lines, is_accepted


if __name__ == "__main__":
    main()
