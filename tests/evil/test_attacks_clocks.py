"""Attack 44: a wrong clock forced on the client, or on the server (protocol section 10, "Requests")."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager

import pytest

from stronghold_cli.protocol.encoding import decode_json
from stronghold_cli.protocol.errors import Refused, Unavailable
from stronghold_server import app
from stronghold_server.housekeeping import Housekeeping
from tests.e2e.support import Machine, Result
from tests.evil.evil_server import PULL, EvilServer, replay
from tests.evil.scene import OLD_FILE, PRODUCTION, TWO, Agent, Scene

# The real program on a machine whose clock is off by so many seconds.
PROGRAM = "import time; real = time.time; time.time = lambda: real() + {}; from stronghold_cli.__main__ import main; main()"
HOUR = 3600


@contextmanager
def clock_of_client(server: EvilServer, seconds: int) -> Iterator[None]:
    """This process, and so the client's library in it, goes by a wrong clock; the server's stays as it is."""
    real = time.time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + seconds)
        server.ahead -= seconds
        try:
            yield
        finally:
            server.ahead += seconds


def run_off(agent: Agent, seconds: int, *words: str) -> Result:
    return agent.run(*words, program=(sys.executable, "-c", PROGRAM.format(seconds)))


@pytest.fixture
def keepers(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> list[Housekeeping]:
    """The housekeeping of the server, which has just been started again."""
    made: list[Housekeeping] = []

    class Kept(Housekeeping):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(app, "Housekeeping", Kept)
    scene.server.restart()
    return made


def carry_out(server: EvilServer, work: Coroutine[object, object, None]) -> None:
    asyncio.run_coroutine_threadsafe(work, server.loop).result(30)


def shares(server: EvilServer) -> set[bytes]:
    return {bytes(token_id) for (token_id,) in server.query("SELECT token_id FROM shares")}


# The client's clock.


@pytest.mark.parametrize("seconds", [-90, 90, -400 * 24 * HOUR, 400 * 24 * HOUR])
def test_attack_44_client_s_clock_is_wrong_and_the_server_honest(scene: Scene, agent: Agent, seconds: int) -> None:
    """A clear error and no adjusting: neither by the server's time in its answers, nor for the next request."""
    agent.gets(PRODUCTION)
    with clock_of_client(scene.server, seconds):
        agent.is_refused(error=Refused, code=3, error_code="CLOCK_SKEW", everywhere=False)
    target = agent.machine.home / ".env"
    target.write_bytes(OLD_FILE)
    for words in (("env", "pull", "-p", "production", "-o", ".env"), ("env", "pull", "-p", "production")):
        result = run_off(agent, seconds, *words).failed(3)
        assert result.out_bytes == b""
        assert "clock" in result.err
    assert target.read_bytes() == OLD_FILE
    agent.gets(PRODUCTION)
    with clock_of_client(scene.server, 50 if seconds > 0 else -50):
        agent.gets(PRODUCTION)  # the control: within a minute


def test_attack_44_client_s_clock_set_back_to_when_an_older_state_was_new(
    scene: Scene, agent: Agent, new_machine: Callable[[], Machine]
) -> None:
    """Time orders nothing: to whoever has seen the newer state the older one stays older, and what is ahead is refused."""
    agent.gets(PRODUCTION)
    then = scene.server.snapshot()
    with clock_of_client(scene.server, HOUR):
        scene.server.ahead = 0  # both go by the later time
        scene.write("API_KEY", TWO)
        agent.gets({**PRODUCTION, "API_KEY": TWO})
    newest = scene.server.last_answer(PULL)
    # Back at the former time, with a server that helps: the newest head is dated ahead.
    scene.server.ahead = 0
    with scene.server.plays_back(PULL, newest):
        agent.is_refused()
    scene.server.restore(then)
    agent.is_refused()
    # The control: of this the mark knows, and nothing else; who has none cannot tell (the bound of attack 8).
    Agent(new_machine(), scene.server, scene.token()).gets(PRODUCTION)


@pytest.mark.parametrize(("seconds", "is_told"), [(299, False), (310, True), (HOUR, True)])
def test_attack_44_newest_head_is_dated_ahead_of_the_client(scene: Scene, agent: Agent, seconds: int, is_told: bool) -> None:
    """Both clocks are forced back, so that no request is refused: the signed dates still tell it."""
    draft = scene.draft(scene.editor)
    scene.org.put(draft, scene.production, "API_KEY", TWO, scene.ids["API_KEY"])
    scene.org.apply(draft)
    answered = {**PRODUCTION, "API_KEY": TWO}
    agent.gets(answered)
    answer = scene.server.last_answer(PULL)
    with clock_of_client(scene.server, -seconds), scene.server.plays_back(PULL, answer):
        if is_told:
            agent.is_refused(everywhere=False)
        else:
            agent.gets(answered)


@pytest.mark.parametrize("what", ["token", "agent"])
def test_attack_44_server_s_clock_is_set_back_for_an_expired_token(scene: Scene, agent: Agent, what: str) -> None:
    """The end stands in signed documents: a server whose clock was forced back, or that lies, cannot prolong it."""
    end = int(time.time()) + HOUR
    draft = scene.draft()
    if what == "token":
        scene.org.change_token(draft, scene.agent_id, scene.token_id, not_after=end)
    else:
        draft.agents[scene.agent_id] = draft.agents[scene.agent_id].replace(not_after=end)
    scene.org.apply(draft)
    agent.gets(PRODUCTION)
    answer = scene.server.last_answer(PULL)
    with clock_of_client(scene.server, HOUR + 1), scene.server.plays_back(PULL, answer):
        agent.is_refused(error=Refused, code=3, error_code="TOKEN_EXPIRED", everywhere=False)
    with clock_of_client(scene.server, HOUR - 30), scene.server.plays_back(PULL, answer):
        agent.gets(PRODUCTION)  # the control: a moment before


def test_attack_44_wrong_clock_of_an_operator(scene: Scene, new_machine: Callable[[], Machine]) -> None:
    """What it signs would be dated ahead, and keep everybody else out: it signs nothing that the server takes."""
    machine = new_machine()
    heads = "SELECT count(*) FROM signed_documents WHERE kind = 'head'"
    before = scene.server.query(heads)
    for seconds in (-HOUR, HOUR):
        with clock_of_client(scene.server, seconds), pytest.raises(Refused) as caught:
            scene.vault(machine, scene.org.admin)
        assert caught.value.code == "CLOCK_SKEW"
    draft = scene.draft()
    draft.created = scene.server.now + 301
    scene.org.put(draft, scene.production, "API_KEY", TWO, scene.ids["API_KEY"])
    assert scene.org.send(draft.finish()).code == "COMMIT_REFUSED"
    assert scene.server.query(heads) == before
    scene.vault(machine, scene.org.admin)


# The server's clock.


@pytest.mark.parametrize("seconds", [-90, 90, HOUR])
def test_attack_44_server_s_clock_is_wrong(scene: Scene, agent: Agent, seconds: int) -> None:
    agent.gets(PRODUCTION)
    scene.server.ahead = seconds
    agent.is_refused(error=Refused, code=3, error_code="CLOCK_SKEW")
    scene.server.ahead = 0
    agent.gets(PRODUCTION, everywhere=True)


def test_attack_44_server_s_clock_jumps_ahead_and_back_to_make_room_for_replays(
    scene: Scene, agent: Agent, keepers: list[Housekeeping]
) -> None:
    """Requests are remembered for ten minutes; a clock that jumped for a moment must not make the server forget them."""
    agent.run("env", "pull", "-p", "production").ok()
    recorded = next(each for each in reversed(scene.server.recorded) if each.path == PULL)
    nonces = scene.server.query("SELECT count(*) FROM requests")[0][0]
    scene.server.ahead = HOUR
    carry_out(scene.server, keepers[-1].purge())
    scene.server.ahead = 0
    assert scene.server.query("SELECT count(*) FROM requests")[0][0] == nonces
    status, body = replay(recorded, scene.server.port)
    assert (status, decode_json(body, 1 << 20)["error"]["code"]) == (401, "REPLAYED")
    # The control: with the nonces gone it would be served. And they go once that much time has really passed.
    rows = scene.server.query("SELECT request, used_at FROM requests")
    scene.server.query("DELETE FROM requests")
    assert replay(recorded, scene.server.port)[0] == 200
    scene.server.query("DELETE FROM requests")
    for row in rows:
        scene.server.query("INSERT INTO requests (request, used_at) VALUES (?, ?)", *row)
    with clock_of_client(scene.server, HOUR):
        scene.server.ahead = 0
        agent.gets(PRODUCTION)
        carry_out(scene.server, keepers[-1].purge())
    assert scene.server.query("SELECT count(*) FROM requests")[0][0] < nonces


def test_attack_44_server_s_clock_jumps_ahead_and_back_to_delete_shares(
    scene: Scene, agent: Agent, keepers: list[Housekeeping]
) -> None:
    draft = scene.draft()
    scene.org.change_token(draft, scene.agent_id, scene.token_id, not_after=int(time.time()) + HOUR)
    scene.org.apply(draft)
    agent.gets(PRODUCTION)
    scene.server.ahead = 2 * HOUR
    carry_out(scene.server, keepers[-1].expire_tokens())
    agent.is_refused(error=Refused, code=3, everywhere=False)
    scene.server.ahead = 0
    assert scene.token_id in shares(scene.server)
    agent.gets(PRODUCTION)
    # The control: once a verified request says so too, the share goes.
    other = scene.mint()
    with clock_of_client(scene.server, 2 * HOUR):
        scene.server.ahead = 0
        Agent(agent.machine, scene.server, scene.token(other)).gets(PRODUCTION)
        carry_out(scene.server, keepers[-1].expire_tokens())
    assert shares(scene.server) == {other}


def test_attack_44_server_s_clock_falls_behind_its_log(scene: Scene, agent: Agent) -> None:
    """Entries that are older than the last one would be undatable: nothing is served until the clock is right."""
    agent.gets(PRODUCTION)
    entries = scene.server.query("SELECT size, root FROM log_heads")
    with clock_of_client(scene.server, -90):
        scene.server.ahead = 0  # both clocks were set back, so that the request itself is in time
        with pytest.raises(Unavailable):
            agent.pull()
    assert scene.server.query("SELECT size, root FROM log_heads") == entries
    scene.server.ahead = 0
    agent.gets(PRODUCTION)
