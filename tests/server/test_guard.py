"""Slow, huge and half-open clients against a real uvicorn with the guard, through raw sockets; a good client beside them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from stronghold_server.guard import GuardedProtocol, Limits, guarded

LIMITS = Limits(
    max_header_bytes=4096,
    max_headers=20,
    max_body_bytes=2000,
    max_commit_bytes=200_000,
    max_part_bytes=50_000,
    max_memory_bytes=300_000,
    max_connections=12,
    receive_seconds=0.4,
    send_seconds=0.4,
    idle_seconds=0.4,
)
COMMIT = b"/base/v1/orgs/" + b"ab" * 32 + b"/commits"


class Served:
    """A running server: its address, what its app saw, and its protocol class."""

    def __init__(self, protocol: type[GuardedProtocol]) -> None:
        self.protocol = protocol
        self.seen: list[tuple[str, int]] = []
        self.disconnects = 0
        config = uvicorn.Config(
            self.app, http=protocol, ws="none", lifespan="off", interface="asgi3", log_config=None, access_log=False
        )
        self.server = uvicorn.Server(config)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = self.socket.getsockname()
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.005)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnects += 1
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.seen.append((scope["path"], len(body)))
        if scope["path"] == "/slow":
            await asyncio.sleep(0.7)
        answer = b"x" * {"/huge": 30_000_000, "/medium": 60_000}.get(scope["path"], 0) or b"served"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]})
        await send({"type": "http.response.body", "body": answer})

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=5)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.socket.close()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served(guarded(LIMITS))
    yield served
    served.stop()
    assert served.protocol.memory.held == 0


def read_all(client: socket.socket) -> bytes:
    """What the server says until it ends the connection; fails by time-out when it does not."""
    said = b""
    try:
        while chunk := client.recv(65536):
            said += chunk
    except ConnectionResetError:
        pass
    return said


def good_request(served: Served) -> bytes:
    with served.connect() as client:
        client.sendall(b"GET /good HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return read_all(client)


def drip(client: socket.socket, content: bytes, seconds: float) -> float:
    """Send one byte each 50 ms until the server ends the connection or ``seconds`` are over; how long it took."""
    begin = time.monotonic()
    client.settimeout(0.05)
    for byte in content:
        if time.monotonic() - begin > seconds:
            break
        try:
            client.sendall(bytes([byte]))
            client.recv(65536)  # an answer, or the end
            break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - begin


def assert_good_client_is_served(served: Served) -> None:
    begin = time.monotonic()
    assert good_request(served).endswith(b"\r\n\r\nserved")
    assert time.monotonic() - begin < 1


def test_slow_header_is_cut_off(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        assert drip(client, b"X-Slow: " + b"a" * 400, 3) < 1
        assert_good_client_is_served(served)
    assert served.seen == [("/good", 0)]


def test_good_client_is_served_beside_all_kinds_of_bad_ones_at_once(served: Served) -> None:
    """Slow, silent, half-open, endless and not reading, two of each, while they are at it."""
    ended = threading.Event()

    def send_without_end(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not ended.is_set():
                client.sendall(b"1000\r\n" + b"b" * 4096 + b"\r\n")

    with contextlib.ExitStack() as stack:
        stack.callback(ended.set)
        for _ in range(2):
            slow, silent, half_open, endless, deaf = (stack.enter_context(served.connect()) for _ in range(5))
            slow.sendall(b"GET / HTTP/1.1\r\nX-Slow: a")
            half_open.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
            half_open.shutdown(socket.SHUT_WR)
            silent.setblocking(False)
            deaf.sendall(b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n")
            endless.sendall(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
            threading.Thread(target=send_without_end, args=(endless,), daemon=True).start()
        for _ in range(5):
            assert_good_client_is_served(served)


def test_slow_header_after_a_first_request_is_cut_off(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert drip(client, b"GET / HTTP/1.1\r\nX-Slow: " + b"a" * 400, 3) < 1


def test_empty_lines_do_not_hold_a_connection(served: Served) -> None:
    with served.connect() as client:
        assert drip(client, b"\r\n" * 200, 3) < 1


def test_slow_body_is_cut_off_and_the_app_is_told(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        assert drip(client, b"b" * 400, 3) < 1
        assert_good_client_is_served(served)
    assert served.seen == [("/good", 0)]
    assert served.disconnects == 1


def test_part_of_a_request_in_one_piece_with_a_whole_one_has_a_deadline(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost")
        said = read_all(client)
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1 408 Request Timeout\r\n" in said


def test_slow_request_is_answered_with_its_code(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost")
        said = read_all(client)
    assert said.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"\r\nStronghold-Protocol: 1\r\n" in said
    assert said.endswith(b'{"error":{"code":"REQUEST_TIMEOUT","message":"The request did not arrive in time."}}')


def test_silent_and_half_open_connections_are_closed(served: Served) -> None:
    with served.connect() as silent, served.connect() as half_open:
        half_open.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        half_open.shutdown(socket.SHUT_WR)
        begin = time.monotonic()
        assert read_all(half_open) == b""
        assert time.monotonic() - begin < 0.3
        read_all(silent)
        assert time.monotonic() - begin < 1
    assert served.seen == []


def test_idle_connection_is_closed(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
        begin = time.monotonic()
        assert read_all(client).endswith(b"served")
        assert 0.3 < time.monotonic() - begin < 1.5


def test_connection_serves_many_requests_with_long_answers(served: Served) -> None:
    with served.connect() as client:
        for _ in range(3):  # each app takes longer than any deadline for receiving
            client.sendall(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
            assert client.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nX-Huge: " + b"a" * 1_000_000,
        b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-Some: " + b"a" * 4090 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 21 + b"\r\n",
    ],
    ids=["endless header", "long target", "long header", "many headers"],
)
def test_huge_head_is_refused(served: Served, head: bytes) -> None:
    with served.connect() as client:
        with contextlib.suppress(OSError):
            client.sendall(head)
        assert read_all(client).startswith(b"HTTP/1.1 431 ")
    assert served.seen == []
    assert_good_client_is_served(served)


def test_largest_head_is_served(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 19 + b"Connection: close\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [(b"/x", 2000, b"200"), (b"/x", 2001, b"413"), (COMMIT, 200_000, b"200"), (COMMIT, 200_001, b"413")],
)
def test_body_has_the_cap_of_its_route(served: Served, path: bytes, length: int, status: bytes) -> None:
    with served.connect() as client:
        client.sendall(b"POST %s HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (path, length))
        client.sendall(b"b" * length)
        assert read_all(client).startswith(b"HTTP/1.1 " + status)
    assert served.seen == ([(path.decode(), length)] if status == b"200" else [])


def test_large_body_needs_the_commit_route_itself(served: Served) -> None:
    for request in (b"GET " + COMMIT, b"POST " + COMMIT + b"/x", b"POST /x?" + COMMIT):
        with served.connect() as client:
            client.sendall(request + b" HTTP/1.1\r\nContent-Length: 2001\r\n\r\n")
            assert read_all(client).startswith(b"HTTP/1.1 413 ")


def test_announced_body_is_refused_before_it_comes(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 999999999999\r\nExpect: 100-continue\r\n\r\n")
        begin = time.monotonic()
        said = read_all(client)
        assert said.startswith(b"HTTP/1.1 413 ")
        assert b"100 Continue" not in said
        assert time.monotonic() - begin < 0.3


def test_endless_body_is_cut_off(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 50_000_000:
                sent += client.send(b"1000\r\n" + b"b" * 4096 + b"\r\n")
        except OSError:
            pass
        assert sent < 50_000_000
    assert_good_client_is_served(served)
    assert served.seen == [("/good", 0)]


def test_bodies_together_have_a_cap(served: Served) -> None:
    with served.connect() as first, served.connect() as second:
        for client in (first, second):
            client.sendall(b"POST %s HTTP/1.1\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n" % COMMIT)
        first.sendall(b"b" * 199_999)
        time.sleep(0.05)
        second.sendall(b"b" * 199_999)
        refused = read_all(second)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in refused
        first.sendall(b"b")
        assert read_all(first).startswith(b"HTTP/1.1 200")


def test_connections_have_a_cap(served: Served) -> None:
    clients = [served.connect() for _ in range(LIMITS.max_connections)]
    time.sleep(0.05)
    with served.connect() as client:
        assert read_all(client).startswith(b"HTTP/1.1 503 ")
    for each in clients:
        each.close()
    time.sleep(0.1)
    assert_good_client_is_served(served)


def test_client_that_does_not_read_is_cut_off(served: Served) -> None:
    with served.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n")
        end = time.monotonic() + 5
        time.sleep(0.2)
        assert served.server.server_state.connections
        while served.server.server_state.connections and time.monotonic() < end:
            time.sleep(0.02)
        assert not served.server.server_state.connections


def test_client_that_does_not_read_what_fits_a_buffer_is_cut_off(served: Served) -> None:
    served.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # connections take it over
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(served.address)
        client.sendall(b"GET /medium HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        time.sleep(0.2)
        assert served.server.server_state.connections
        time.sleep(2 * LIMITS.send_seconds)
        assert not served.server.server_state.connections


def test_slow_reader_that_goes_on_reading_gets_all(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"GET /huge HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got, begin = 0, time.monotonic()
        while chunk := client.recv(1 << 20):
            got += len(chunk)
            if time.monotonic() - begin < 1.5:
                time.sleep(0.05)
        assert got > 30_000_000
        assert time.monotonic() - begin > 2 * LIMITS.send_seconds


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",
    ],
)
def test_request_that_is_not_plain_http_is_refused(served: Served, request_: bytes) -> None:
    with served.connect() as client:
        client.sendall(request_)
        said = read_all(client)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"Content-Length: ") == 1
    assert b'"code":"REQUEST_MALFORMED"' in said
    assert served.seen == []


@pytest.mark.parametrize(
    "fault",
    [b"Content-Length: 99999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nfff\r\n" + b"b" * 4095],
    ids=["head", "body"],
)
def test_fault_behind_a_request_that_is_being_served_gets_no_answer_of_its_own(served: Served, fault: bytes) -> None:
    with served.connect() as client:
        client.sendall(b"GET /slow HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n" + fault)
        assert b"413" not in read_all(client)


def test_other_uvicorn_stops_the_server_at_import() -> None:
    script = "import uvicorn; uvicorn.__version__ = '0.55.0'; import stronghold_server.guard"
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "uvicorn 0.54" in run.stderr
