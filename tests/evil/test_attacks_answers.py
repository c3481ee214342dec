"""Attacks 12, 35, 36 and 46: hostile names, JSON, sizes and variables (protocol section 10; rules R1, R17 and R18)."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stronghold_cli.protocol.documents.agent import Agent as AgentDocument
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.errors import IntegrityError, MalformedError
from stronghold_cli.protocol.messages_pull import PullAnswer
from tests.e2e.support import CLI, Machine, Result
from tests.evil.evil_server import PULL, EvilServer
from tests.evil.forging import forged_pull
from tests.evil.scene import OLD_FILE, PRODUCTION, Agent, Scene, answer_for, files_below, init_on

Machines = Callable[[], Machine]
VALUE = "value-of-production-one"


@pytest.mark.parametrize("how", ["profiles swapped", "profile renamed", "agent renamed", "leaf renamed by an editor"])
def test_attack_12_names_changed_in_what_the_server_tells(
    scene: Scene, agent: Agent, new_machine: Machines, how: str
) -> None:
    agent.gets(PRODUCTION)
    answer, editor = answer_for(scene, new_machine()), scene.editor
    staging = answer_for(scene, new_machine(), "staging")

    def renamed(part: str, old: bytes, new: bytes) -> PullAnswer:
        proven = getattr(answer, part)
        assert old in proven.payload
        return answer.replace(**{part: proven.replace(payload=proven.payload.replace(old, new))})

    if how == "profiles swapped":
        payload = staging.profile.payload.replace(b'"staging"', b'"production"')
        forged = staging.replace(profile=staging.profile.replace(payload=payload))
    elif how == "profile renamed":
        forged = renamed("profile", b'"production"', b'"Production"')
    elif how == "agent renamed":
        forged = renamed("agent", b'"deploy"', b'"Deploy"')
    else:
        profile = Profile.decode(staging.profile.payload).replace(name="production")
        signers = (editor, editor, editor)
        forged = forged_pull(staging, scene.org.state, scene.token_id, signers, profile=profile)
    with scene.server.plays_back(PULL, forged.encode()):
        agent.is_refused(everywhere=how == "profiles swapped")
    agent.gets(PRODUCTION)


def test_attack_12_the_servers_text_columns_renamed(evil: EvilServer, new_machine: Machines) -> None:
    """The real program: whatever stands as text in the tables, names come out of signed documents alone."""
    org = init_on(evil, new_machine())
    agent = Agent(new_machine(), evil, org.make_agent("deploy", {"production": {"API_KEY": VALUE}}))
    columns = [
        (table, column)
        for (table,) in evil.query("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        for _, column, kind, *_ in evil.query(f"PRAGMA table_info({table})")
        if kind == "TEXT"
    ]
    assert ("orgs", "name") in columns
    before = org.run("--json", "org", "show").ok().json()
    # Of these the server needs its own words to find anything: `kind`, key ids, and why a token ended.
    for table, column in columns:
        if (table, column) not in {("signed_documents", "kind"), ("tokens", "ended")} and "migration" not in table:
            evil.query(f"UPDATE OR IGNORE {table} SET {column} = 'Evil ' || {column}")
    evil.restart()
    after = org.run("--json", "org", "show").ok().json()
    assert {**after, "head": None} == {**before, "head": None}
    assert org.run("--json", "agent", "list").ok().json()[0]["name"] == "deploy"
    shown = agent.run("auth", "status").ok().out
    assert "Evil" not in shown
    assert org.name in shown
    assert agent.run("env", "pull", "-p", "production", "--format", "json").ok().json() == {"API_KEY": VALUE}


def _text(value: object) -> bytes:
    return json.dumps(value).encode()


def _hostile(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The honest answer, spoilt in each way that some decoder of JSON somewhere lets pass."""
    whole = json.loads(body)
    first = next(iter(whole))
    text = _text(whole)
    yield "empty", b""
    yield "blank", b"   "
    yield "null", b"null"
    yield "a list", b"[" + text + b"]"
    yield "a string", _text(text.decode())
    yield "trailing data", text + b"{}"
    yield "trailing nul", text + b"\0"
    yield "byte order mark", b"\xef\xbb\xbf" + text
    yield "utf-16", text.decode().encode("utf-16")
    yield "invalid utf-8", text[:-1] + b',"x":"\xff"}'
    yield "lone surrogate", text[:-1] + b',"x":"\\ud800"}'
    yield "duplicate member", b'{"%s":null,' % first.encode() + text[1:]
    yield "duplicate by escape", b'{"\\u%04x%s":null,' % (ord(first[0]), first[1:].encode()) + text[1:]
    yield "unknown member", text[:-1] + b',"x":1}'
    yield "missing member", _text({key: value for key, value in whole.items() if key != first})
    yield "NaN", text[:-1] + b',"x":NaN}'
    yield "infinity", text[:-1] + b',"x":-Infinity}'
    yield "a float", text[:-1] + b',"x":1.0}'
    yield "an exponent", text[:-1] + b',"x":1e1}'
    yield "a huge number", text[:-1] + b',"x":' + b"9" * 5000 + b"}"
    yield "over 2**53", text[:-1] + b',"x":9007199254740993}'
    yield "depth", b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    yield "comment", b"/* */" + text
    yield "single quotes", text.replace(b'"', b"'")
    yield "trailing comma", text[:-1] + b",}"
    yield "control character", text[:-1] + b',"x":"\n"}'
    yield "cut", text[: len(text) // 2]
    for key, value in whole.items():
        if key == "receipt":
            continue  # what stands there is not read: older clients meet servers that give receipts
        for other in (None, True, 0, "", [], {}, [[]], "AAA"):
            if other != value and type(other) is not type(value):
                yield f"{key} is {other!r}", _text({**whole, key: other})


def test_attack_35_hostile_json_to_an_agent(scene: Scene, agent: Agent) -> None:
    agent.gets(PRODUCTION)
    cases = list(_hostile(scene.server.last_answer(PULL)))
    assert len(cases) > 100
    for name, body in cases:
        with scene.server.plays_back(PULL, body):
            try:
                agent.is_refused(everywhere=name in ("duplicate member", "depth", "cut"))
            except pytest.fail.Exception as error:
                raise AssertionError(f"an answer with {name} was believed") from error
    agent.gets(PRODUCTION)


@pytest.mark.parametrize("route", ["/sync", "/keys", "/sealing-keys", "/contents", "/steps"])
def test_attack_35_hostile_json_to_an_operator(scene: Scene, new_machine: Machines, route: str) -> None:
    machine = new_machine()

    def ask() -> None:
        vault = scene.vault(machine, scene.org.admin)
        if route == "/keys":
            vault.keys.group(scene.group)
        elif route == "/sealing-keys":
            vault.keys.people()
        elif route == "/contents":
            vault.keys.ciphertexts(scene.production)

    if route != "/sync":
        scene.vault(machine, scene.org.admin)
    ask()
    body = scene.server.last_answer(route)
    kept = files_below(machine.data)
    if route == "/sync":
        machine = new_machine()
        kept = {}
    for name, hostile in _hostile(body):
        with scene.server.plays_back(route, hostile):
            try:
                ask()
            except IntegrityError:
                continue
        pytest.fail(f"an answer with {name} was believed")
    assert {name: content for name, content in files_below(machine.data).items() if name.endswith(".json")} == {
        name: content for name, content in kept.items() if name.endswith(".json")
    }


def test_attack_35_hostile_json_inside_a_signed_document(scene: Scene, agent: Agent, new_machine: Machines) -> None:
    """A colluding admin signs the very bytes: the document is refused before anything in it is used."""
    agent.gets(PRODUCTION)
    answer, admin = answer_for(scene, new_machine()), scene.org.admin
    for kind in ("head", "structure", "contents"):
        payload = getattr(answer, kind).payload
        for name, hostile in _hostile(payload):
            if name.startswith(("ext is", "lockdowns is")) and "[]" in name:
                continue
            forged = answer.replace(**{kind: admin.sign(kind, hostile)})
            with scene.server.plays_back(PULL, forged.encode()), pytest.raises(IntegrityError):
                agent.pull()
            assert name
    with pytest.raises(MalformedError):
        AgentDocument.decode(b"{}")
    agent.gets(PRODUCTION)


class Firehose:
    """A listener that answers each request with what never ends."""

    def __init__(self, begin: bytes, more: bytes, pause: float = 0) -> None:
        self.begin, self.more, self.pause = begin, more, pause
        self.sent = 0
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join(20)
        self._listener.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(5)
                try:
                    connection.recv(1 << 16)
                    connection.sendall(self.begin)
                    while not self._over.is_set():
                        connection.sendall(self.more)
                        self.sent += len(self.more)
                        time.sleep(self.pause)
                except OSError:
                    continue


@contextmanager
def firehose(begin: bytes, more: bytes, pause: float = 0) -> Iterator[Firehose]:
    running = Firehose(begin, more, pause)
    try:
        yield running
    finally:
        running.close()


_OK = b"HTTP/1.1 200 OK\r\nStronghold-Protocol: 1\r\nContent-Type: application/json\r\n"
ENDLESS: dict[str, tuple[bytes, bytes, int]] = {
    # What is told to be too long is not read at all; what is not told is read up to the limit of a pull.
    "a length without end": (_OK + b"Content-Length: 99999999999999\r\n\r\n", b"x" * 65_536, 1 << 22),
    "chunks without end": (_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"[" * 65_536 + b"\r\n", 140 << 20),
    "no length at all": (_OK + b"\r\n", b" " * 65_536, 140 << 20),
    "headers without end": (b"HTTP/1.1 200 OK\r\n", b"X-More: y\r\n" * 1000, 1 << 22),
    "a header line without end": (b"HTTP/1.1 200 OK\r\nX-More: ", b"y" * 65_536, 1 << 22),
    "a chunk's size without end": (_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 65_536, 1 << 22),
    "a status line without end": (b"HTTP/1.1 200 ", b"O" * 65_536, 1 << 22),
    "early answers without end": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000, 1 << 22),
}


# The largest answer that is allowed, a copy of it, and the program itself.
_IN_LITTLE_MEMORY = ("sh", "-c", 'ulimit -v 640000; exec "$@"', "sh")


@pytest.mark.parametrize("name", ENDLESS)
def test_attack_36_endless_data(agent: Agent, name: str) -> None:
    """The real program, in little memory: it ends by itself, soon, with an error that is documented and no value."""
    begin, more, limit = ENDLESS[name]
    target = agent.machine.home / ".env"
    target.write_bytes(OLD_FILE)
    with firehose(begin, more) as running:
        environment = {**agent.environment, "STRONGHOLD_URL": f"http://127.0.0.1:{running.port}"}
        started = time.monotonic()
        words = ("env", "pull", "-p", "production", "-o", ".env")
        result: Result = agent.machine.run(*words, env=environment, program=(*_IN_LITTLE_MEMORY, *CLI))
        took = time.monotonic() - started
    assert result.code in (7, 8), result.err
    assert result.out_bytes == b""
    assert "Traceback" not in result.err
    assert target.read_bytes() == OLD_FILE
    assert running.sent < limit + (16 << 20)  # what lies in the sockets' buffers, and one retry
    assert took < 40


_NAMES = (
    "LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT DYLD_INSERT_LIBRARIES PATH NODE_OPTIONS BASH_ENV ENV SHELLOPTS PS4 PYTHONPATH "
    "PYTHONSTARTUP PERL5OPT RUBYOPT JAVA_TOOL_OPTIONS GIT_SSH_COMMAND IFS PROMPT_COMMAND"
)
DANGEROUS = _NAMES.split()


def test_attack_46_dangerous_variable_names(scene: Scene, agent: Agent, tmp_path: Path) -> None:
    """A colluding editor writes them as secrets, all genuine; nothing starts, and no file is written that would set them."""
    draft = scene.draft(scene.editor)
    bait = tmp_path / "bait"
    profile = scene.org.state.profiles[scene.staging]
    for name in DANGEROUS:
        scene.org.put(draft, profile.id, name, str(bait).encode())
    scene.org.apply(draft)
    marker = agent.machine.home / "started"
    start = ("run", "-p", "staging")
    assert agent.run(*start, "--", "touch", "started").failed(2).out_bytes == b""
    # One by one: who allows all the others still does not get this one.
    runner = agent.machine.file("github-env", "")
    for name in ("LD_PRELOAD", "PATH", "BASH_ENV", "NODE_OPTIONS", "PYTHONSTARTUP"):
        others = [word for other in DANGEROUS if other != name for word in ("--allow-name", other)]
        for words in ((*start, *others, "--", "touch", "started"), ("env", "pull", "-p", "staging", *others)):
            result = (
                agent.machine.run(*words, env={**agent.environment, "GITHUB_ENV": str(runner)})
                if words[0] == "run"
                else (agent.machine.run(*words, "--format", "github", env={**agent.environment, "GITHUB_ENV": str(runner)}))
            )
            assert name in result.failed(2).err
            assert result.out_bytes == b""
    assert runner.read_text() == ""
    assert not marker.exists()
    # The control: the profile that has none of them runs, and a person may say otherwise, here.
    agent.run("run", "-p", "production", "--", "touch", "started").ok()
    assert marker.exists()
    allowed = [word for name in DANGEROUS for word in ("--allow-name", name)]
    shown = agent.run(*start, *allowed, "--", sys.executable, "-I", "-c", "import os; print(os.environ['PS4'])")
    assert shown.code == 0, shown.err
    assert str(bait) in shown.out
