"""The table of ratios: whole processes against a bare interpreter, and pulls per second, all taken in one run.

Everything is measured on this machine against a real server on a loopback port, in a temporary folder. Absolute times depend
on the machine; the ratios are what the targets are about (`bench/README.md`).

Usage: python bench/run.py [--rounds N] [--seconds S]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import selectors
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import page
import starts
from starts import SECRETS, STRONGHOLD

from stronghold_cli.crypto.keys import TokenSecret
from stronghold_cli.protocol.requests import KeyId, sign_request
from stronghold_cli.protocol.token import AgentToken, parse_agent_token
from tests.unit.wire_servers import Certificates

PULLS_PER_SECOND = 3000
MOST_PER_SECOND = 8000  # as many requests are prepared


def main() -> None:
    """Set up, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, help="whole processes of each kind, interleaved")
    parser.add_argument("--seconds", type=float, default=5.0, help="of pulls, for each number of connections")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stronghold-bench-") as name, server(Path(name)) as (address, environment):
        folder = Path(name)
        token = set_up(folder, address, environment)
        measure_starts(folder, agent_environment(folder, environment, token), arguments.rounds)
        for connections in (1, 16):
            print_pulls(connections, *measure_pulls(parse_agent_token(token), connections, arguments.seconds))


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


# --- pulls per second -------------------------------------------------------------------------------------------------


def measure_pulls(token: AgentToken, connections: int, seconds: float) -> tuple[float, list[float]]:
    """Pulls over kept connections, one in flight on each; returns the seconds that they took and each one's milliseconds.

    The requests are signed beforehand, so that this process takes little from the server's processor time.
    """
    sign = request_maker(token)
    requests = [sign() for _ in range(int(seconds * MOST_PER_SECOND))]
    host, port = token.address.split(":")
    selector = selectors.DefaultSelector()
    times: list[float] = []
    started: dict[socket.socket, float] = {}

    def send(connection: socket.socket) -> None:
        started[connection] = time.perf_counter()
        connection.sendall(requests.pop())

    for _ in range(connections):
        new = socket.create_connection((host, int(port)))
        new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(new, selectors.EVENT_READ, (new, bytearray()))
    begin = time.perf_counter()
    for key in selector.get_map().values():
        send(key.data[0])
    while len(requests) > connections and time.perf_counter() < begin + seconds:
        for key, _ in selector.select(timeout=1):
            connection, received = key.data
            received += connection.recv(1 << 18)
            if is_complete(received):
                received.clear()
                times.append((time.perf_counter() - started[connection]) * 1000)
                send(connection)
    took = time.perf_counter() - begin
    for connection in started:
        connection.close()
    return took, times


def request_maker(token: AgentToken) -> Callable[[], bytes]:
    """A function that makes the bytes of a new signed pull."""
    secret = TokenSecret(token.secret)
    key_id = KeyId(kind="t", raw=secret.token_id)
    target = f"/v1/pull?org={token.pin.hex()}&profile=bench"

    def sign() -> bytes:
        signed, _ = sign_request(
            secret.auth,
            key_id,
            method="GET",
            authority=token.address,
            target=target,
            body=b"",
            created=int(time.time()),
            nonce=os.urandom(16),
        )
        headers = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
        return f"GET {target} HTTP/1.1\r\nHost: {token.address}\r\n{headers}\r\n".encode("ascii")

    return sign


def is_complete(received: bytearray) -> bool:
    """Whether the whole of one answer is there; raises ``SystemExit`` for a refusal."""
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"the server refused a pull: {bytes(head[:40])!r} {bytes(body[:200])!r}")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return len(body) >= int(length.split(b":")[1])


def print_pulls(connections: int, took: float, times: list[float]) -> None:
    """Pulls per second with the median and the 99th percentile."""
    if connections == 1:
        print(f"\n{'pulls of 50 secrets':<24}{'per second':>10}{'p50 ms':>8}{'p99 ms':>8}")
    times.sort()
    p99 = times[int(len(times) * 0.99)]
    target = f"at least {PULLS_PER_SECOND}/s" if connections > 1 else "p50 at most 2 ms"
    name = f"over {connections} connection{'s' if connections > 1 else ''}"
    print(f"{name:<24}{len(times) / took:>10.0f}{statistics.median(times):>8.2f}{p99:>8.2f}  {target}")


if __name__ == "__main__":
    main()
