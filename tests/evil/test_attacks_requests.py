"""Attacks 39 and 41: on requests, and on what is left of an ended token (protocol section 10, "Requests")."""

from __future__ import annotations

import contextlib
import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import apsw
import pytest

from stronghold_cli.crypto.keys import TokenSecret
from stronghold_cli.crypto.tokens import unlock_master_key
from stronghold_cli.protocol.encoding import decode_json, encode_base64
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.token import AgentToken, parse_agent_token
from tests.e2e.support import Machine, Org, ServerProcess, make_org
from tests.evil.evil_server import PULL, EvilServer, Exchange, replay
from tests.evil.scene import Agent, init_on

VALUE = "value-of-production-one"
# Windows of this many bytes are looked for, so that a part of a page that was left behind is found too.
WINDOW = 16


@pytest.fixture
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A real server process of this test alone."""
    running = ServerProcess(tmp_path_factory.mktemp("real")).start()
    yield running
    running.stop()


def rows(database: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Rows of a copy of a database."""
    with contextlib.closing(apsw.Connection(str(database))) as connection:
        return list(connection.execute(statement, values))


def dump(server: ServerProcess, folder: Path) -> Path:
    """What a thief takes away: a copy of every file of the data folder, as it lies there while the server runs."""
    folder.mkdir()
    for path in server.data_dir.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def traces(secret: bytes, files: Mapping[str, bytes]) -> list[str]:
    """Where a window of ``secret`` stands, raw, in hex of either case, or in base64 of either alphabet."""
    found = []
    for start in range(0, max(1, len(secret) - WINDOW + 1), WINDOW):
        window = secret[start : start + WINDOW]
        # Base64 depends on the place in the three bytes of a group: the middle of each of the three is certain.
        texts = {encode_base64(bytes(shift) + window)[8 if shift else 0 : -8] for shift in range(3)}
        forms = {
            window,
            window.hex().encode(),
            window.hex().upper().encode(),
            *(text.encode() for text in texts),
            *(text.replace("+", "-").replace("/", "_").encode() for text in texts),
        }
        found += [name for name, content in files.items() if any(form in content for form in forms)]
    return sorted(set(found))


def opens_with(token: AgentToken, folder: Path) -> bool:
    """Whether the token opens its master key with any 32 bytes that a dump holds in a row of its own."""
    secret = TokenSecret(token.secret)
    database = folder / "stronghold.db"
    names = [str(name) for (name,) in rows(database, "SELECT name FROM sqlite_schema WHERE type = 'table'")]
    for name in names:
        for row in rows(database, f"SELECT * FROM {name}"):
            for value in row:
                if isinstance(value, bytes) and len(value) == 32:
                    with contextlib.suppress(IntegrityError):
                        unlock_master_key(token, secret, value)
                        return True
    return False


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_attack_39_revoked_token_and_a_later_dump(
    real: ServerProcess, tmp_path: Path, new_machine: Callable[[], Machine]
) -> None:
    org = make_org(new_machine(), real)
    text = org.make_agent("deploy", {"production": {"API_KEY": VALUE}})
    token = parse_agent_token(text)
    token_id = TokenSecret(token.secret).token_id
    pull = ("env", "pull", "--profile", "production", "--format", "json")
    job = new_machine()
    assert job.run(*pull, env={"STRONGHOLD_TOKEN": text}).ok().json() == {"API_KEY": VALUE}
    earlier = dump(real, tmp_path / "earlier")
    (share,) = (row[0] for row in rows(earlier / "stronghold.db", "SELECT share FROM shares WHERE token_id = ?", token_id))
    members = rows(earlier / "stronghold.db", "SELECT value FROM leaves WHERE key = ?", token_id)
    named = [bytes(value)[-32:] for (value,) in members if isinstance(value, bytes)]
    seals = [
        row[0] for sha in named for row in rows(earlier / "stronghold.db", "SELECT content FROM blobs WHERE sha256 = ?", sha)
    ]
    assert isinstance(share, bytes)
    assert len(seals) == 1
    ended = [share, *(seal for seal in seals if isinstance(seal, bytes))]
    # The controls: before the end the search finds them, and token and dump together open the master key.
    assert all("stronghold.db" in " ".join(traces(each, _files(earlier))) for each in ended)
    assert opens_with(token, earlier)

    org.run("token", "revoke", "first", "--force", "--yes").ok()
    result = job.run(*pull, env={"STRONGHOLD_TOKEN": text}).failed(3)
    assert (result.out_bytes, "revoked" in result.err) == (b"", True)
    for name in ("later", "after a restart"):
        later = dump(real, tmp_path / name)
        assert {"stronghold.db", "stronghold.db-wal", "stronghold.db-shm"} <= set(_files(later))
        for each in ended:
            assert traces(each, {**_files(later), "log": real.log.encode()}) == []
        assert not opens_with(token, later)
        real.restart(signal.SIGKILL)


def test_attack_39_the_search_finds_each_form_at_each_place() -> None:
    secret = bytes(range(7, 39))
    for shift in range(3):
        before = bytes(shift)
        for form in (before + secret, (before + secret).hex().encode(), encode_base64(before + secret + before).encode()):
            assert traces(secret, {"file": b"x" * 50 + form + b"y" * 50, "other": b"z"}) == ["file"]
    assert traces(secret, {"file": bytes(100)}) == []


def _effects(evil: EvilServer) -> dict[str, object]:
    """Everything by which a second effect would show."""
    return {
        "heads": evil.query("SELECT sha256 FROM signed_documents WHERE kind = 'head' ORDER BY seq"),
        "log": evil.query("SELECT size, root FROM log_heads"),
        "uses": evil.query("SELECT token_id, uses, last_used FROM tokens ORDER BY token_id"),
        "shares": evil.query("SELECT token_id, share FROM shares ORDER BY token_id"),
        "blobs": evil.query("SELECT sha256, named FROM blobs ORDER BY sha256"),
        "requests": evil.query("SELECT request FROM requests ORDER BY request"),
    }


def _recorded_day(evil: EvilServer, new_machine: Callable[[], Machine]) -> tuple[Org, Agent, list[Exchange]]:
    """An operator and an agent do everything that they can; what they sent is kept."""
    org = init_on(evil, new_machine())
    agent = Agent(new_machine(), evil, org.make_agent("deploy", {"production": {"API_KEY": VALUE}}))
    org.run("secret", "set", "API_KEY", "-p", "production", stdin=VALUE).ok()
    org.run("token", "mint", "deploy").ok()
    org.run("token", "revoke", "deploy/token 1", "--yes").ok()
    org.run("secret", "get", "API_KEY", "-p", "production").ok()
    org.run("token", "list").ok()
    org.run("audit", "list").ok()
    org.run("auth", "lock").ok()
    org.run("auth", "unlock", "--passphrase-file", str(org.passphrase_file)).ok()
    agent.run("env", "pull", "-p", "production").ok()
    agent.run("run", "-p", "production", "--", "true").ok()
    agent.run("auth", "status").ok()
    return org, agent, [each for each in evil.recorded if each.is_signed and each.status == 200]


def _refusals(kept: list[Exchange], port: int) -> Counter[str]:
    """Send all of it again; how often each code came back. Everything has to be refused."""
    codes: Counter[str] = Counter()
    for exchange in kept:
        status, body = replay(exchange, port)
        assert 400 <= status < 500, (exchange, status, body)
        codes[decode_json(body, 1 << 20)["error"]["code"]] += 1
    return codes


def test_attack_41_replay_across_restarts(evil: EvilServer, new_machine: Callable[[], Machine], tmp_path: Path) -> None:
    org, agent, kept = _recorded_day(evil, new_machine)
    kinds = {(each.method, each.path.rpartition("/")[2]) for each in kept}
    assert {("POST", "commits"), ("GET", "steps"), ("GET", "keys"), ("GET", "contents"), ("GET", "tokens")} <= kinds
    assert {("GET", "audit"), ("GET", "keyset"), ("GET", "pull"), ("GET", "self")} <= kinds
    assert any(json.loads(each.body).get("setup_code") for each in kept if each.body)

    # At once, and after all that is in memory is gone.
    before = _effects(evil)
    for _ in range(2):
        assert _refusals(kept, evil.port) == Counter({"REPLAYED": len(kept)})
        assert _effects(evil) == before
        evil.restart()
    # More than a minute later the time alone tells them.
    evil.ahead = 61
    assert _refusals(kept, evil.port) == Counter({"CLOCK_SKEW": len(kept)})
    assert _effects(evil) == before
    evil.ahead = 0

    # The same folder and port under the real program, ended gently and by a crash.
    evil.stop_listening()
    evil.store.close()
    process = ServerProcess(tmp_path / "real")
    process.data_dir, process.port = evil.folder, evil.port
    process.start()
    try:
        refused = _refusals(kept, process.port)
        assert set(refused) <= {"REPLAYED", "CLOCK_SKEW"}
        process.restart()
        counted = dict(evil.query("SELECT kind, count FROM counters"))
        assert (counted.get("replayed", 0), counted.get("clock_skew", 0)) == (refused["REPLAYED"], refused["CLOCK_SKEW"])
        process.restart(signal.SIGKILL)
        refused = _refusals(kept, process.port)
        assert set(refused) <= {"REPLAYED", "CLOCK_SKEW"}
        assert _effects(evil) == before
        # The control: who signs anew is served, by the same process on the same folder, and that does show.
        assert agent.run("env", "pull", "-p", "production", "--format", "json").ok().json() == {"API_KEY": VALUE}
        org.run("secret", "list", "-p", "production").ok()
        assert _effects(evil) != before
    finally:
        process.stop()


def test_attack_41_a_replayed_pull_holds_no_share(evil: EvilServer, new_machine: Callable[[], Machine]) -> None:
    org = init_on(evil, new_machine())
    agent = Agent(new_machine(), evil, org.make_agent("deploy", {"production": {"API_KEY": VALUE}}))
    agent.run("env", "pull", "-p", "production").ok()
    exchange = next(each for each in reversed(evil.recorded) if each.path == PULL)
    share = json.loads(exchange.answer)["share"].encode()
    status, body = replay(exchange, evil.port)
    assert (status, json.loads(body)["error"]["code"], share in body) == (401, "REPLAYED", False)
