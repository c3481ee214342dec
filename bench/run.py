"""Every figure beside its target: whole processes, pulls per second, large profiles, all taken in one run.

Everything is measured on this machine against a real server on a loopback port, in a temporary folder. Absolute times depend
on the machine; the ratios are what the targets are about (`bench/README.md`).

The tables are printed, and written to docs/performance.md.

Usage: python bench/run.py [--rounds N] [--seconds S] [--agents N]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import large
import page
import starts
import throughput
from starts import SECRETS, STRONGHOLD

from tests.unit.wire_servers import Certificates


def main() -> None:
    """Set up, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, help="whole processes of each kind, interleaved")
    parser.add_argument("--seconds", type=float, default=5.0, help="of pulls, for each number of connections and turn")
    parser.add_argument("--agents", type=int, default=10_000, help="in the large org; 0 leaves it out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stronghold-bench-") as name, server(Path(name)) as (address, environment):
        folder = Path(name)
        token = set_up(folder, address, environment)
        measure_starts(folder, agent_environment(folder, environment, token), arguments.rounds)
    print_and_write("pulls per second", throughput.report(arguments.seconds, 3, arguments.agents))
    print_and_write("large profiles", large.report(large.MANY, 9)[0])


def print_and_write(part: str, lines: Sequence[str]) -> None:
    """The lines on stdout, and in docs/performance.md with how busy the machine is."""
    print("\n".join(["", *lines]), flush=True)
    page.write_part(part, [*lines, "", page.load()])


def measure_starts(folder: Path, plain: dict[str, str], rounds: int) -> None:
    """Whole commands over plain http and TLS; prints the table and writes it to docs/performance.md."""
    before = page.load()
    certificates = Certificates(folder)
    settings = {"STRONGHOLD_TLS_CERTIFICATE": certificates.own_file, "STRONGHOLD_TLS_KEY": certificates.key_file}
    with server(folder / "tls", settings) as (address, environment):
        environment["STRONGHOLD_CA_FILE"] = certificates.ca_file
        tls = agent_environment(folder / "tls", environment, set_up(folder / "tls", address, environment))
        rows = starts.commands(plain, tls)
        peer = starts.dotenvx(folder, (folder / "bench.env").read_text())
        if peer is not None:
            rows[starts.DOTENVX] = peer
        lines = starts.table(starts.measure(rows, rounds), starts.peak_mib(*rows[starts.PULL]))
    print("\n".join(lines))
    page.write_part("start of a command", [*lines, "", f"{rounds} rounds. {before}"])


# --- set-up -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def server(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[tuple[str, dict[str, str]]]:
    """A real server on a free port; yields its base URL and a clean environment for its operator."""
    folder.mkdir(exist_ok=True)
    scheme = "https" if settings else "http"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(folder / "home"),
        "XDG_RUNTIME_DIR": str(folder / "run"),
    }
    (folder / "home").mkdir()
    (folder / "run").mkdir(mode=0o700)
    log = (folder / "server.log").open("w")
    command = [STRONGHOLD, "server", "start", "--data-dir", str(folder / "data"), "--port", str(port)]
    process = subprocess.Popen(command, env={**environment, **(settings or {})}, stdout=log, stderr=log)
    try:
        wait_until_open(port, process, folder / "server.log")
        yield f"{scheme}://127.0.0.1:{port}", environment
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def wait_until_open(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the port takes connections; raises ``SystemExit`` with the server's last words."""
    for _ in range(200):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f"the server does not start:\n{log.read_text()}")


def agent_environment(folder: Path, environment: dict[str, str], token: str) -> dict[str, str]:
    """What an agent of its own home finds."""
    (folder / "agent").mkdir()
    return {**environment, "STRONGHOLD_TOKEN": token, "HOME": str(folder / "agent")}


def set_up(folder: Path, address: str, environment: dict[str, str]) -> str:
    """An org with one profile of fifty secrets and one agent; returns the agent's token."""
    passphrase = folder / "passphrase"
    passphrase.write_text(secrets.token_urlsafe(24) + "\n")
    passphrase.chmod(0o600)
    values = folder / "bench.env"
    values.write_text("".join(f"SECRET_{number:02}={secrets.token_urlsafe(48)}\n" for number in range(SECRETS)))

    def operator(*words: str) -> str:
        done = subprocess.run([STRONGHOLD, *words], env=environment, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"stronghold {' '.join(words)}: {done.stderr}")
        return done.stdout

    setup_code = operator("server", "setup-code", "--data-dir", str(folder / "data")).strip()
    operator(
        *("init", "--server", address, "--setup-code", setup_code, "--org", "Bench", "--name", "bench"),
        *("--passphrase-file", str(passphrase), "--kit-file", str(folder / "kits")),
    )
    operator("env", "push", str(values), "--profile", "bench", "--yes")
    created: dict[str, str] = json.loads(operator("agent", "create", "bench", "--profile", "bench", "--json"))
    return created["token"]


if __name__ == "__main__":
    main()
