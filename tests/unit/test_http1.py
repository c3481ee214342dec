"""The direct way's reader of answers: one form is taken, what two readers could take differently is not."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.transport.http1 import MAX_HEADERS, MAX_LINE, Incoming, read_answer, request_head
from stronghold_cli.transport.wire import Deadline, WireAnswer

LIMIT = 1000
OK = "HTTP/1.1 200 X\r\n"
CHUNKED = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n"


def read(*pieces: bytes) -> WireAnswer:
    """The answer in ``pieces``, after which the connection ends."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"".join(pieces))
        theirs.shutdown(socket.SHUT_WR)
        return read_answer(Incoming(ours, Deadline(5)), LIMIT)


@pytest.mark.parametrize(
    ("received", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore", 200, b"ok"),
        (b"HTTP/1.1 200\nContent-Length: 2\n\nok", 200, b"ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
        (b"HTTP/1.1 204 X\r\nContent-Length: 9\r\n\r\n", 204, b""),
        (b"HTTP/1.1 100 X\r\n\r\nHTTP/1.1 103 X\r\nA: b\r\n\r\nHTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n", 200, b""),
        (CHUNKED + b"\r\n2;x=y\r\nab\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n", 200, b"ab0123456789"),
        (b"HTTP/1.1 200 X\r\nTransfer-Encoding: Chunked\r\nContent-Length: 1\r\n\r\n1\r\na\r\n0\r\n\r\n", 200, b"a"),
    ],
)  # fmt: skip
def test_answers_of_the_one_form_are_read(received: bytes, status: int, body: bytes) -> None:
    answer = read(received)
    assert (answer.status, answer.body) == (status, body)


def test_headers_are_in_lower_case_and_joined() -> None:
    answer = read(b"HTTP/1.1 200 X\r\nA-B:  one \r\na-b:two\r\nContent-Length: 0\r\n\r\n")
    assert answer.headers == {"a-b": "one, two", "content-length": "0"}


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/2 200 X", "HTTP/1.2 200 X", "http/1.1 200 X", "HTTP/1.1 20 X", "HTTP/1.1 2000 X", "HTTP/1.1 099 X",
        "ICY 200 OK",
        "HTTP/1.1  200 X", "HTTP/1.1 2٠0 X", "HTTP/1.1 101 X", OK + " folded: x", OK + "A: b\r\n folded",
        OK + "Content-Length : 2", OK + ": b", OK + "no colon",
        OK + "Content-Length: 2\r\nContent-Length: 3", OK + "Content-Length: +2",
        OK + "Content-Length: -2", OK + "Content-Length: 0x2", OK + "Content-Length:",
        OK + "Transfer-Encoding: gzip, chunked", OK + "Transfer-Encoding: identity",
        "HTTP/1.1 100 X\r\n\r\n" * 10 + "HTTP/1.1 200 X", OK + "a: b\r\n" * MAX_HEADERS + "a: b",
        "HTTP/1.1 200 " + "x" * MAX_LINE,
    ],
)  # fmt: skip
def test_any_other_head_is_refused(head: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read(head.encode(), b"\r\n\r\nok")


@pytest.mark.parametrize(
    "chunks",
    [b"\r\n", b"x\r\n", b"-1\r\n", b"0x1\r\na\r\n0\r\n\r\n", b"1_0\r\n", b"000000001\r\na\r\n", b"1\r\nab\r\n0\r\n\r\n"],
)
def test_any_other_chunk_is_refused(chunks: bytes) -> None:
    with pytest.raises(ValueError, match="chunk"):
        read(CHUNKED + b"\r\n", chunks)


@pytest.mark.parametrize(
    "received",
    [
        b"", b"HTTP/1.1 200", b"HTTP/1.1 200 X\r\n", b"HTTP/1.1 200 X\r\nA: b\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 3\r\n\r\nok",
        CHUNKED + b"\r\n3\r\nok",
        CHUNKED + b"\r\n2\r\nok\r\n",
        CHUNKED + b"\r\n2\r\nok\r\n0\r\n",
    ],
)  # fmt: skip
def test_an_answer_that_ends_too_early_is_none(received: bytes) -> None:
    with pytest.raises(ConnectionError):
        read(received)


@pytest.mark.parametrize(
    "received",
    [
        b"HTTP/1.1 200 X\r\n\r\n" + bytes(LIMIT + 1),
        b"HTTP/1.1 200 X\r\nContent-Length: 1001\r\n\r\n" + bytes(LIMIT + 1),
        CHUNKED + b"\r\nfFfFfFfF\r\n" + bytes(LIMIT + 1),
    ],
)
def test_a_body_over_the_limit_is_refused_in_every_form(received: bytes) -> None:
    with pytest.raises(IntegrityError):
        read(received)


@pytest.mark.parametrize(
    "make",
    [
        lambda: request_head("GET", "/a\r\nX: y", {}),
        lambda: request_head("GET", "/", {"A": "b\r\nX: y"}),
        lambda: request_head("GET", "/", {"A\n": "b"}),
        lambda: request_head("GET", "/", {"A": "\x00"}),
    ],
)
def test_no_control_character_gets_into_a_request(make: Callable[[], bytes]) -> None:
    with pytest.raises(ValueError, match="control character"):
        make()
