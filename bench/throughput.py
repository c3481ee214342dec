"""Pulls per second, their latency, and what a pull costs in a large org: one server process, asked from beside it.

A real server on a loopback port and a temporary folder answers pulls of a profile of fifty secrets, each after its audit
entry is durable. The requests are signed beforehand, so that this process takes little of the server's processor time. Two
orgs are made with the client's library: one with a single agent, and one with many, all of them in the group that may read
the profile; their pulls are measured in turns, so that a busy moment hits both alike.

Usage: python bench/throughput.py [--seconds S] [--rounds N] [--agents N]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import secrets
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from stronghold_cli.crypto.keys import TokenSecret
from stronghold_cli.crypto.passphrase import FLOOR
from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.base import NO_EXTENSIONS
from stronghold_cli.protocol.keys import SigningKey, VerifyKey
from stronghold_cli.protocol.messages import decode_committed, decode_setup
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.requests import KeyId, sign_request
from stronghold_cli.protocol.token import AgentToken, split_url
from stronghold_cli.transport import Server
from stronghold_cli.vault import creation
from stronghold_cli.vault.agents import Address, mint
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.keyring import Keyring
from stronghold_cli.vault.operator import Operator
from stronghold_cli.vault.profiles import create_profile, write_secrets

SECRETS = 50
CONNECTIONS = (1, 16)
PROFILE = "production"
# What the tables say beside the figures.
PULLS_PER_SECOND = 3000
AIM_PER_SECOND = 4600
P50_MILLISECONDS = 2.0
LARGE_OVER_SMALL = 1.2
REST_MIB = 80
MIB_PER_10_000 = 40
REFERENCE_VERIFY_MICROS = 67
_AGENTS_PER_COMMIT = 1000
_LISTENING = re.compile(r"listening on (http://\S+)")
_SETUP_CODE = re.compile(r"setup code for the first org: (\S+)")


class Org(Record):
    """An org on the server, as the measurements need it: the tokens of its agents."""

    tokens: tuple[AgentToken, ...]


class Pulls(Record):
    """A run of pulls: how long it took, each pull's milliseconds, and the bytes of the last answer with its head.

    ``processor_seconds`` is what the server's process took of both processors meanwhile.
    """

    seconds: float
    milliseconds: tuple[float, ...]
    answer_bytes: int
    processor_seconds: float

    @property
    def per_second(self) -> float:
        """Pulls per second."""
        return len(self.milliseconds) / self.seconds

    @property
    def processor_micros(self) -> float:
        """Microseconds of processor time that a pull costs the server."""
        return self.processor_seconds / len(self.milliseconds) * 1e6

    def percentile(self, share: float) -> float:
        """Milliseconds that this share of the pulls needed at most."""
        return sorted(self.milliseconds)[int(len(self.milliseconds) * share)]


def main() -> None:
    """Set up, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of pulls, for each number of connections and round")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each measurement; the median one is printed")
    parser.add_argument("--agents", type=int, default=10_000, help="in the large org; 0 leaves it out")
    arguments = parser.parse_args()
    print("\n".join(report(arguments.seconds, arguments.rounds, arguments.agents)))


def report(seconds: float, rounds: int, agents: int) -> list[str]:
    """The tables as lines of Markdown; without ``agents`` only the first."""
    with tempfile.TemporaryDirectory(prefix="stronghold-bench-") as folder, ServerProcess(Path(folder)) as server:
        small = make_org(server, "Small", 1)
        rest = server.resident_mib()
        lines = [
            "| pulls of 50 secrets | per second | p50 ms | p99 ms | processor µs per pull | target | |",
            "|---|---:|---:|---:|---:|---|---|",
        ]
        for connections in CONNECTIONS:
            runs = [measure(small.tokens, connections, seconds, server=server) for _ in range(rounds)]
            lines.append(pulls_line(connections, sorted(runs, key=lambda run: run.per_second)[len(runs) // 2]))
        lines += ["", f"{speed_line()}"]
        if agents:
            before = server.resident_mib()
            large = make_org(server, "Large", agents)
            lines += ["", *compare(server, small, large, seconds / 2, rounds)]
            lines += ["", *memory_lines(rest, before, server.resident_mib(), agents)]
        return lines


# --- the server -------------------------------------------------------------------------------------------------------


class ServerProcess:
    """``python -m stronghold_server`` with a data folder of its own, for the length of a ``with``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = ""

    def __enter__(self) -> Self:
        self._log = (self._folder / "server.log").open("w", encoding="utf-8")
        command = [sys.executable, "-m", "stronghold_server", "--data-dir", str(self._folder / "data"), "--port", "0"]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=self._log, text=True)
        said = ""
        for line in self._process.stdout or ():
            said += line
            if found := _LISTENING.search(said):
                self.url, self._first_code = found[1], (_SETUP_CODE.search(said) or ["", ""])[1]
                return self
        raise SystemExit(f"the server does not start:\n{(self._folder / 'server.log').read_text()}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()

    def setup_code(self) -> str:
        """A code for one more org."""
        command = [sys.executable, "-m", "stronghold_server", "setup-code", "--data-dir", str(self._folder / "data")]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    def processor_seconds(self) -> float:
        """Processor time of the process until now, in its own code and in the system's."""
        counted = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(counted[11]) + int(counted[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """Memory that the process holds now, in MiB; 0 where the system does not tell."""
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
            return int(status.partition("VmRSS:")[2].split()[0]) / 1024
        return 0.0


# --- the orgs ---------------------------------------------------------------------------------------------------------


def make_org(server: ServerProcess, name: str, agents: int) -> Org:
    """An org with one profile of fifty secrets and ``agents`` agents that may read it, each with one token.

    The agents are put into the drafts themselves: ``create_agent`` looks for the name among all agents each time, which is
    right for a person's command and slow for ten thousand of them.
    """
    plain_http, address = split_url(server.url)
    # The passphrase is never used again: it costs the least that is allowed.
    creation.DEFAULT = FLOOR  # type: ignore[misc]
    with Server(server.url, warn=lambda _: None) as connection:
        log_keys = decode_setup(connection.get_open("/v1/setup", 1 << 16))
        new = creation.create_org(
            connection,
            creation.Place(address=address, plain_http=plain_http, log_keys=log_keys),
            name=name,
            operator_name="Ada",
            passphrase=secrets.token_urlsafe(24),
            setup_code=server.setup_code(),
            now=int(time.time()),
            random=os.urandom,
        )
        operator = Operator(
            server=connection,
            keyset=new.keyset,
            anchor=new.operator_kit.pin,
            floor=1,
            clock=time.time,
            random=os.urandom,
        )
        state = new.state
        keys = Keyring(operator, state)
        values = {f"SECRET_{number:02}": secrets.token_urlsafe(48).encode() for number in range(SECRETS)}
        tokens: list[AgentToken] = []
        for start in range(0, agents, _AGENTS_PER_COMMIT):
            draft = Draft(state, operator.keyset, keys, operator.now, os.urandom)
            if start == 0:
                profile = create_profile(draft, PROFILE)
                write_secrets(draft, profile, {}, values)
            for number in range(start, min(start + _AGENTS_PER_COMMIT, agents)):
                agent = as_agent(state.org_id, f"agent {number:05}", tuple(profile.grants))
                tokens.append(mint(draft, agent, "first", Address(address=address, plain_http=plain_http)).token)
            commit, state = draft.finish()
            decode_committed(operator.post("/commits", commit.encode()))
    return Org(tokens=tuple(tokens))


def as_agent(org_id: bytes, name: str, groups: tuple[bytes, ...]) -> Agent:
    """The document of a new agent without a token."""
    return Agent(
        org_id=org_id,
        id=os.urandom(16),
        version=1,
        name=name,
        description="",
        labels={},
        state="active",
        not_after=None,
        groups=groups,
        tokens={},
        **NO_EXTENSIONS,
    )


# --- pulls ------------------------------------------------------------------------------------------------------------


def measure(
    tokens: Sequence[AgentToken],
    connections: int,
    seconds: float,
    profile: str = PROFILE,
    *,
    server: ServerProcess | None = None,
) -> Pulls:
    """Pulls over kept connections, one in flight on each, for about ``seconds``; each next one by the next token.

    Answers are read into one buffer and their bytes counted: what this process costs, the server's lacks.
    """
    count = int(seconds * (2500 if connections == 1 else 8000))  # as many requests are signed beforehand
    requests = list(itertools.islice(signed_pulls(tokens, profile), count))
    host, port = tokens[0].address.split(":")
    selector = selectors.DefaultSelector()
    buffer = bytearray(1 << 18)
    times: list[float] = []
    size = 0
    for _ in range(connections):
        new = socket.create_connection((host, int(port)))
        new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(new, selectors.EVENT_READ, _InFlight(new))
    flights: list[_InFlight] = [key.data for key in selector.get_map().values()]
    used = server.processor_seconds if server is not None else lambda: 0.0
    processor, begin = used(), time.perf_counter()
    for flight in flights:
        flight.send(requests.pop())
    while len(requests) > connections and time.perf_counter() < begin + seconds:
        for key, _ in selector.select(timeout=1):
            flight = key.data
            if flight.receive(buffer):
                size = flight.size
                times.append((time.perf_counter() - flight.started) * 1000)
                flight.send(requests.pop())
    took, processor = time.perf_counter() - begin, used() - processor
    for flight in flights:
        flight.connection.close()
    return Pulls(seconds=took, milliseconds=tuple(times), answer_bytes=size, processor_seconds=processor)


class _InFlight:
    """A connection with one request on its way."""

    __slots__ = ("connection", "received", "size", "started")

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.received = self.size = 0
        self.started = 0.0

    def send(self, request: bytes) -> None:
        self.received, self.started = 0, time.perf_counter()
        self.connection.sendall(request)

    def receive(self, buffer: bytearray) -> bool:
        """Whether the whole answer is there now; raises ``SystemExit`` for a refusal."""
        count = self.connection.recv_into(buffer)
        if self.received == 0:
            head, found, _ = bytes(buffer[: min(count, 4096)]).partition(b"\r\n\r\n")
            if not found or not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"the server refused a pull: {head[:400]!r}")
            length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
            self.size = len(head) + 4 + length
        self.received += count
        return self.received >= self.size


def signed_pulls(tokens: Sequence[AgentToken], profile: str) -> Iterator[bytes]:
    """New signed pulls without end, by one token after the other."""
    makers: list[Callable[[], bytes]] = [_maker(token, profile) for token in tokens[:20_000]]
    for make in itertools.cycle(makers):
        yield make()


def _maker(token: AgentToken, profile: str) -> Callable[[], bytes]:
    secret = TokenSecret(token.secret)
    key_id = KeyId(kind="t", raw=secret.token_id)
    target = f"/v1/pull?org={token.pin.hex()}&profile={profile}"

    def make() -> bytes:
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

    return make


# --- the tables -------------------------------------------------------------------------------------------------------


def pulls_line(connections: int, run: Pulls) -> str:
    """Pulls per second with the median and the 99th percentile, beside the target."""
    p50, p99 = run.percentile(0.5), run.percentile(0.99)
    name = f"over {connections} connection{'s' if connections > 1 else ''}"
    if connections == 1:
        target, is_met = f"p50 at most {P50_MILLISECONDS:g} ms", p50 <= P50_MILLISECONDS
    else:
        target = f"at least {PULLS_PER_SECOND}/s, aim {AIM_PER_SECOND}/s"
        is_met = run.per_second >= PULLS_PER_SECOND
    figures = f"{run.per_second:.0f} | {p50:.2f} | {p99:.2f} | {run.processor_micros:.0f}"
    return f"| {name} | {figures} | {target} | {'met' if is_met else 'missed'} |"


def speed_line() -> str:
    """How fast this machine is at the one thing that each pull needs and nobody can save."""
    key = SigningKey(os.urandom(32))
    message = os.urandom(300)
    signature, verify = key.sign(message), VerifyKey(key.public)
    times = []
    for _ in range(2000):
        started = time.perf_counter()
        verify.verify(signature, message)
        times.append(time.perf_counter() - started)
    micros = statistics.median(times) * 1e6
    return (
        f"This machine verifies one Ed25519 signature in {micros:.0f} µs; the one on which the targets were set took"
        f" {REFERENCE_VERIFY_MICROS} µs and is {micros / REFERENCE_VERIFY_MICROS:.1f} times as fast."
    )


def compare(server: ServerProcess, small: Org, large: Org, seconds: float, rounds: int) -> list[str]:
    """The large org against the small one, in turns: one agent that pulls again and again, and each agent in its turn."""
    lines = [
        f"| org of {len(large.tokens)} agents ÷ org of one | time | processor time | bytes | target | |",
        "|---|---:|---:|---:|---|---|",
    ]
    cases = {"one agent, again and again": large.tokens[:1], "every agent in its turn": large.tokens}
    for connections, (name, tokens) in itertools.product(CONNECTIONS, cases.items()):
        measure(tokens, connections, 0.2)  # the first pull after a commit makes what the next ones use
        ratios, processor = [], []
        for _ in range(max(rounds, 1)):
            alone = measure(small.tokens, connections, seconds, server=server)
            among = measure(tokens, connections, seconds, server=server)
            ratios.append(alone.per_second / among.per_second)
            processor.append(among.processor_micros / alone.processor_micros)
        ratio, size = statistics.median(ratios), among.answer_bytes / alone.answer_bytes
        outcome = "met" if max(ratio, size) <= LARGE_OVER_SMALL else "missed"
        target = f"at most {LARGE_OVER_SMALL}"
        figures = f"{ratio:.2f} | {statistics.median(processor):.2f} | {size:.2f}"
        lines.append(f"| {name}, {connections} connections | {figures} | {target} | {outcome} |")
    return lines


def memory_lines(rest: float, before: float, after: float, agents: int) -> list[str]:
    """What the server's process holds."""
    more = after - before
    allowed = MIB_PER_10_000 * agents / 10_000
    outcome = "met" if more <= allowed else "missed"
    return [
        "| resident memory of the server | MiB | target | |",
        "|---|---:|---|---|",
        f"| at rest, one small org | {rest:.0f} | at most {REST_MIB} | {'met' if rest <= REST_MIB else 'missed'} |",
        f"| after pulls | {before:.0f} | | |",
        f"| with {agents} agents more, after pulls | {after:.0f} | at most {allowed:.0f} more: {more:+.0f} | {outcome} |",
    ]


if __name__ == "__main__":
    main()
