"""The short way of pulls: it answers what the application would, through a real server's sockets too, or leaves it alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from stronghold_cli.crypto.keys import TokenSecret
from stronghold_cli.protocol.audit import DEPRECATED
from stronghold_cli.protocol.documents.agent import Limits as TokenLimits
from stronghold_cli.protocol.documents.agent import Rate
from stronghold_cli.protocol.errors import Refused
from stronghold_cli.protocol.messages_pull import decode_pull_answer
from stronghold_cli.protocol.requests import KeyId
from stronghold_server.app import create_app
from stronghold_server.guard import Limits, guarded
from stronghold_server.pull_group import PullGroups
from stronghold_server.quick import Answered
from tests.server.furnished import Furnished, furnish
from tests.server.support import AUTHORITY, Reply, TestOrg

LIMITS = Limits(
    max_header_bytes=8192,
    max_headers=50,
    max_body_bytes=2000,
    max_commit_bytes=200_000,
    max_part_bytes=50_000,
    max_memory_bytes=300_000,
    max_connections=40,
    receive_seconds=2,
    send_seconds=2,
    idle_seconds=2,
)
Lines = list[tuple[bytes, bytes]]


def target_of(full: Furnished) -> str:
    return f"/v1/pull?org={full.org.pin.hex()}"


def signed(full: Furnished, token: bytes | None = None, **options: Any) -> Lines:
    """The headers of a pull that nobody sent yet."""
    token = token or full.token
    key = TokenSecret(full.org.tokens[token].token.secret).auth
    return full.org.world.sign(key, KeyId(kind="t", raw=token), "GET", target_of(full), **options)


@pytest.fixture
def way() -> str:
    return "known"


def pull_together(full: Furnished, requests: list[Lines]) -> list[Reply]:
    """Put all requests to the server before the store turns to the first."""
    world = full.org.world

    async def all_at_once() -> list[Reply]:
        return await asyncio.gather(*(world.request("GET", target_of(full), b"", lines) for lines in requests))

    hold, held = threading.Event(), threading.Event()
    blocker = world.store.write(lambda _: held.set() or hold.wait(10))
    held.wait(10)
    world.loop.call_later(0.3, hold.set)
    replies = world.loop.run_until_complete(all_at_once())
    blocker.result()
    return replies


# --- groups -----------------------------------------------------------------------------------------------------------


def test_pulls_that_wait_together_are_one_work_with_an_entry_each(full: Furnished, monkeypatch: pytest.MonkeyPatch) -> None:
    world, works = full.org.world, []
    second = [full.org.get_as_token(full.second_token, "/v1/pull").status for _ in range(2)]
    assert second == [200, 200]
    before, write = len(world.log(full.org.org_id)), world.store.write
    monkeypatch.setattr(world.store, "write", lambda work: works.append(work) or write(work))
    requests = [signed(full, token) for token in (full.token, full.second_token) * 5]
    replies = pull_together(full, requests)
    entries = world.log(full.org.org_id)[before:]
    assert [reply.status for reply in replies] == [200] * 10
    assert len(works) == 2  # the one that held the store up, and the group
    assert sorted(entry.correlation_id.hex() for entry in entries) == sorted(
        reply.headers["stronghold-correlation-id"] for reply in replies
    )
    shares = {bytes(full.org.tokens[token].share) for token in (full.token, full.second_token)}
    assert len(shares) == 2
    assert {reply.body for reply in replies[::2]} != {reply.body for reply in replies[1::2]}
    with world.store.read() as reader:
        rows = [reader.token(token) for token in (full.token, full.second_token)]
    assert [row and row.uses for row in rows] == [7, 7]


def test_replay_among_others_is_refused_and_delays_nobody(full: Furnished) -> None:
    old, twice = signed(full), signed(full)
    world = full.org.world
    assert world.call("GET", target_of(full), headers=old).status == 200
    before = len(world.log(full.org.org_id))
    replies = pull_together(full, [signed(full), old, twice, signed(full), twice])
    assert sorted(reply.code for reply in replies) == ["", "", "", "REPLAYED", "REPLAYED"]
    assert replies[1].code == "REPLAYED"
    assert len(world.log(full.org.org_id)) == before + 3


def test_org_whose_head_moved_elsewhere_holds_no_other_up(full: Furnished) -> None:
    world = full.org.world
    other = furnish(TestOrg(world, "Other").create())
    for _ in range(2):
        assert other.org.get_as_token(other.token, "/v1/pull").status == 200
    draft = full.org.draft()
    full.org.put(draft, full.profile, "NEWER", b"x")
    commit = draft.finish()
    body, target = commit.encode(), f"{full.org.path}/commits"
    admin = full.org.admin
    lines = world.sign(admin.keyset.request, KeyId(kind="o", raw=admin.operator_id), "POST", target, body)
    replica = create_app(world.store, world.settings, world.log_key, clock=lambda: world.now)
    assert world.loop.run_until_complete(world.request("POST", target, body, lines, application=replica)).status == 200
    quick = world.quick_answers

    async def both() -> list[Reply]:
        of_other = TokenSecret(other.org.tokens[other.token].token.secret).auth
        key_id = KeyId(kind="t", raw=other.token)
        return await asyncio.gather(
            world.request("GET", target_of(full), b"", signed(full)),
            world.request("GET", target_of(other), b"", world.sign(of_other, key_id, "GET", target_of(other))),
        )

    mine, others = world.loop.run_until_complete(both())
    assert (mine.status, others.status) == (200, 200)
    assert decode_pull_answer(mine.body).head == commit.changes.heads[0]
    assert world.quick_answers == quick + 1


def test_group_that_fails_goes_to_the_application(full: Furnished, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise Refused("TOKEN_REVOKED", "the token has been revoked")

    monkeypatch.setattr(PullGroups, "enter", fail)
    world = full.org.world
    quick = world.quick_answers
    assert [reply.status for reply in pull_together(full, [signed(full) for _ in range(3)])] == [200] * 3
    assert world.quick_answers == quick


def test_store_that_takes_no_work_gives_no_secret(full: Furnished) -> None:
    world = full.org.world
    world.store.close()
    reply = world.call("GET", target_of(full), headers=signed(full))
    assert (reply.status, reply.code) == (503, "STORAGE_FAILED")


def test_pulls_that_come_while_a_group_is_taken_are_not_forgotten(full: Furnished) -> None:
    world = full.org.world

    async def stream() -> list[int]:
        async def one(number: int) -> int:
            await asyncio.sleep(number % 7 / 1000)
            return (await world.request("GET", target_of(full), b"", signed(full))).status

        return await asyncio.wait_for(asyncio.gather(*(one(number) for number in range(120))), 60)

    assert world.loop.run_until_complete(stream()) == [200] * 120


def begin(full: Furnished, lines: Lines, url: str | None = None) -> bool:
    """Whether the short way takes a request."""
    quick = full.org.world.app.quick

    async def run() -> bool:
        answered: asyncio.Future[Answered | None] = asyncio.get_running_loop().create_future()
        request = [(b"host", AUTHORITY.encode()), *lines]
        taken = quick.begin((url or target_of(full)).encode(), request, ("192.0.2.7", 1), answered.set_result)
        if taken:
            await answered
        return taken

    return full.org.world.loop.run_until_complete(run())


def test_short_way_takes_only_what_it_knows(full: Furnished, caplog: pytest.LogCaptureFixture) -> None:
    assert begin(full, signed(full))
    assert begin(full, signed(full, full.second_token))  # its first pull: its group's part is known
    assert not begin(full, [])
    assert not begin(full, signed(full, created=full.org.world.now - 61))
    wrong = [(name, value.replace(b"sh=:", b"sh=:A", 1)[: len(value)]) for name, value in signed(full)]
    assert not begin(full, wrong)
    with caplog.at_level(logging.DEBUG, logger="stronghold"):
        assert not begin(full, signed(full))  # the application writes the line
    full.org.world.restart()
    assert not begin(full, signed(full))


def test_a_fault_of_the_short_way_is_logged_and_left_to_the_application(
    full: Furnished, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a fault of our own")

    monkeypatch.setattr(full.org.world.app.quick, "_plan", fail)
    assert not begin(full, signed(full))
    (record,) = (each for each in caplog.records if each.exc_info)
    assert isinstance(record.exc_info and record.exc_info[1], RuntimeError)


@pytest.mark.parametrize("whose", ["known", "new"])
def test_signature_and_clock_are_looked_at_for_known_and_for_new_tokens(full: Furnished, whose: str) -> None:
    world = full.org.world
    token, other = (full.token, full.second_token) if whose == "known" else (full.second_token, full.token)
    stranger = TokenSecret(full.org.tokens[other].token.secret).auth
    before = len(world.log(full.org.org_id))
    forged = world.sign(stranger, KeyId(kind="t", raw=token), "GET", target_of(full))
    late = signed(full, token, created=world.now - 61)
    for lines, code in ((forged, "SIGNATURE_INVALID"), (late, "CLOCK_SKEW")):
        assert not begin(full, lines)
        assert world.call("GET", target_of(full), headers=lines).code == code
    assert len(world.log(full.org.org_id)) == before
    assert begin(full, signed(full, token))


def change_token(full: Furnished, **changes: object) -> None:
    draft = full.org.draft()
    full.org.change_token(draft, full.agent, full.token, **changes)
    full.org.apply(draft)
    full.org.get_as_token(full.second_token, "/v1/pull")  # the group's part of the new state


@pytest.mark.parametrize(
    "limits",
    [
        TokenLimits(addresses=("192.0.2.0/24",), rate=None, uses=None),
        TokenLimits(addresses=(), rate=Rate(requests=50, seconds=60), uses=None),
        TokenLimits(addresses=(), rate=None, uses=50),
    ],
)
def test_limited_tokens_go_to_the_application_where_that_is_counted(full: Furnished, limits: TokenLimits) -> None:
    change_token(full, limits=limits)
    assert begin(full, signed(full, full.second_token))
    for _ in range(2):
        assert not begin(full, signed(full))
        assert full.org.get_as_token(full.token, "/v1/pull").status == 200


def test_first_pull_of_a_token_is_as_whole_as_the_applications(full: Furnished) -> None:
    world = full.org.world
    change_token(full, state="deprecated")
    answers, ways = [], []
    for is_quick in (True, False):
        before = world.quick_answers
        world.is_quick = is_quick
        answers.append(full.org.get_as_token(full.token, "/v1/pull").body)
        ways.append(world.quick_answers - before)
    assert ways == [1, 0]
    assert answers[0] == answers[1] == decode_pull_answer(answers[0]).encode()
    assert [entry.code for entry in world.log(full.org.org_id)[-2:]] == [DEPRECATED] * 2


def test_token_that_may_not_pull_is_refused_by_the_application(full: Furnished) -> None:
    org, world = full.org, full.org.world
    change_token(full, not_after=world.now + 10)
    assert begin(full, signed(full))
    world.now += 10
    assert not begin(full, signed(full))
    assert not begin(full, signed(full, full.second_token), f"{target_of(full)}&profile=none")
    draft = org.draft()
    draft.agents[full.agent] = draft.agents[full.agent].replace(state="paused")
    org.apply(draft)
    assert not begin(full, signed(full, full.second_token))
    assert org.get_as_token(full.second_token, "/v1/pull").code == "AGENT_PAUSED"


@pytest.mark.parametrize(
    ("method", "url", "is_known"),
    [
        (b"GET", b"/v1/pull?org=ab", True),
        (b"GET", b"/base/v1/pull", True),
        (b"POST", b"/v1/pull", False),
        (b"GET", b"/v1/self", False),
        (b"GET", b"/v1/pull/", False),
        (b"GET", b"/v1/%70ull", False),
        (b"GET", b"http://secrets.test/v1/pull", False),
    ],
)
def test_short_way_knows_one_path_by_its_bytes(full: Furnished, method: bytes, url: bytes, is_known: bool) -> None:
    assert full.org.world.app.quick.knows(method, url) == is_known


# --- over sockets -----------------------------------------------------------------------------------------------------


class Served:
    """The world's application behind a real uvicorn with the guard."""

    def __init__(self, full: Furnished) -> None:
        self.full = full
        self.world = full.org.world
        self.to_application = 0
        application = self.world.app

        async def count(scope: Any, receive: Any, send: Any) -> None:
            self.to_application += 1
            await application(scope, receive, send)

        config = uvicorn.Config(
            count,
            http=guarded(LIMITS, application.quick),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
        self.server = uvicorn.Server(config)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.005)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.socket.getsockname(), timeout=5)

    def request(self, *more: str, version: str = "1.1", target: str = "", lines: Lines | None = None) -> bytes:
        """The bytes of a signed pull."""
        signed_lines = signed(self.full) if lines is None else lines
        head = [f"GET {target or target_of(self.full)} HTTP/{version}", f"Host: {AUTHORITY}", *more]
        head += [f"{name.decode()}: {value.decode()}" for name, value in signed_lines]
        return "\r\n".join([*head, "", ""]).encode()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.socket.close()


@pytest.fixture
def served(full: Furnished) -> Iterator[Served]:
    server = Served(full)
    yield server
    server.stop()


def receive(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One whole answer."""
    received = b""
    while b"\r\n\r\n" not in received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"):
        part = connection.recv(1 << 16)
        assert part, received
        received += part
    head, _, body = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    while len(body) < int(headers["content-length"]):
        body += connection.recv(1 << 16)
    assert len(body) == int(headers["content-length"])
    return int(status.split()[1]), headers, body


def test_both_ways_answer_the_same_bytes_but_for_date_and_correlation(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(served.request())
        quick = receive(connection)
        assert served.to_application == 0
        connection.sendall(served.request("Content-Length: 0"))
        other = receive(connection)
        assert served.to_application == 1
    changing = ("date", "stronghold-correlation-id")
    assert list(quick[1]) == list(other[1])
    assert re.fullmatch(r"[0-9a-f]{32}", quick[1]["stronghold-correlation-id"])
    for answer in (quick, other):
        for name in changing:
            del answer[1][name]
    assert quick == other


@pytest.mark.parametrize(
    "more", [["Content-Length: 0"], ["Transfer-Encoding: chunked"], ["Expect: 100-continue"], ["Content-Length: 3"]]
)
def test_requests_that_ask_more_of_http_go_to_the_application(served: Served, more: list[str]) -> None:
    with served.connect() as connection:
        rest = {"Transfer-Encoding: chunked": b"0\r\n\r\n", "Content-Length: 3": b"abc"}.get(more[0], b"")
        connection.sendall(served.request(*more) + rest)
        status, _, _ = receive(connection)
    assert status == (413 if more == ["Content-Length: 3"] else 200)
    assert served.to_application == 1


def test_old_http_goes_to_the_application(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(served.request(version="1.0"))
        assert receive(connection)[0] == 200
        assert connection.recv(1) == b""
    assert served.to_application == 1


def test_connection_closes_after_the_answer_where_the_client_asks_for_it(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(served.request("Connection: close"))
        status, headers, _ = receive(connection)
        assert (status, headers["connection"]) == (200, "close")
        assert connection.recv(1) == b""
    assert served.to_application == 0


def test_requests_in_one_piece_are_answered_in_their_order(served: Served) -> None:
    replayed = signed(served.full)
    requests = [
        served.request(lines=replayed),
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        served.request(),
        served.request(lines=replayed),
        served.request(),
    ]
    with served.connect() as connection:
        connection.sendall(b"".join(requests))
        reader = connection.makefile("rb")
        statuses = []
        for _ in requests:
            statuses.append(int(reader.readline().split()[1]))
            headers = dict(line.decode().rstrip().split(": ", 1) for line in iter(reader.readline, b"\r\n"))
            reader.read(int(headers["content-length"]))
    assert statuses == [200, 200, 200, 401, 200]


def test_request_that_is_given_back_is_answered_in_its_turn(served: Served) -> None:
    """A replay that the store finds out: the application refuses it, and the requests behind it wait for that."""
    replayed = signed(served.full)
    with served.connect() as connection:
        connection.sendall(served.request(lines=replayed))
        assert receive(connection)[0] == 200
        assert served.to_application == 0
        connection.sendall(served.request(lines=replayed) + served.request())
        reader = connection.makefile("rb")
        statuses = []
        for _ in range(2):
            statuses.append(int(reader.readline().split()[1]))
            headers = dict(line.decode().rstrip().split(": ", 1) for line in iter(reader.readline, b"\r\n"))
            reader.read(int(headers["content-length"]))
    assert statuses == [401, 200]
    assert served.world.last(served.full.org.org_id).outcome == "ok"


def test_client_that_goes_away_gets_nothing_and_the_next_one_is_served(served: Served) -> None:
    for _ in range(3):
        with served.connect() as connection:
            connection.sendall(served.request())
    with served.connect() as connection:
        connection.sendall(served.request())
        assert receive(connection)[0] == 200


def hold_store(served: Served) -> Callable[[], None]:
    """Keep the store's thread busy until the result is called."""
    hold, held = threading.Event(), threading.Event()
    served.world.store.write(lambda _: held.set() or hold.wait(10))
    assert held.wait(10)
    return hold.set


def test_server_that_ends_answers_what_it_has_begun(served: Served) -> None:
    let_go = hold_store(served)
    with served.connect() as connection:
        connection.sendall(served.request())
        time.sleep(0.2)
        served.server.should_exit = True
        time.sleep(0.3)
        let_go()
        assert receive(connection)[0] == 200
        assert connection.recv(1) == b""


def test_no_byte_of_an_answer_leaves_before_its_entry_is_durable(served: Served) -> None:
    let_go = hold_store(served)
    with served.connect() as connection:
        connection.sendall(served.request())
        connection.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            assert connection.recv(1) == b"nothing"
        let_go()
        connection.settimeout(5)
        assert receive(connection)[0] == 200


def test_client_that_reads_nothing_holds_one_answer(served: Served) -> None:
    """While answers are not taken, the next ones wait for that in the application."""
    draft = served.full.org.draft()
    served.full.org.put(draft, served.full.profile, "LARGE", os.urandom(400_000))
    served.full.org.apply(draft)
    for _ in range(2):
        assert served.full.org.get_as_token(served.full.token, "/v1/pull").status == 200
    org_id, log = served.full.org.org_id, served.world.log
    before, made, is_entered = len(log(org_id)), 0, True
    with served.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while is_entered and made < 40:
            connection.sendall(served.request())
            until = time.monotonic() + 1
            while len(log(org_id)) == before + made and time.monotonic() < until:
                time.sleep(0.01)
            is_entered = len(log(org_id)) > before + made
            made += is_entered
    assert 0 < made < 40
