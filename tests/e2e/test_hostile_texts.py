"""Texts of a server, or of whoever answers in its place: none of them drives the terminal of an agent."""

from __future__ import annotations

import pytest

from tests.e2e.more_support import misbehaving_server, with_token
from tests.e2e.support import Org

ESCAPES = "\\u001b[2J\\u009b1A\\u001b]0;title\\u0007\\u202e\\u007f"
RAW = b"\x1b[2J\x1b]0;title\x07\x9b1A\x7f"


def raw_answer(status: bytes, headers: bytes = b"Stronghold-Protocol: 1\r\n", body: str = "") -> bytes:
    content = body.encode()
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, len(content), content)


# What a server, or whoever answers in its place, may write where; and the exit code.
HOSTILE_ANSWERS: dict[str, tuple[bytes, int]] = {
    "message": (raw_answer(b"403 No", body=f'{{"error":{{"code":"TOKEN_REVOKED","message":"{ESCAPES}"}}}}'), 3),
    "code": (raw_answer(b"403 No", body=f'{{"error":{{"code":"X{ESCAPES}","message":""}}}}'), 1),
    "reason": (raw_answer(b"403 " + RAW), 1),
    "protocol": (raw_answer(b"200 OK", b"Stronghold-Protocol: 1" + RAW + b"\r\n"), 1),
    "other protocol": (raw_answer(b"200 OK", b"Stronghold-Protocol: " + RAW + b"2\r\n"), 1),
    "place": (raw_answer(b"302 Found", b"Stronghold-Protocol: 1\r\nLocation: http://" + RAW + b"\r\n"), 1),
    "body": (raw_answer(b"200 OK", body=f'{{"{ESCAPES}":1}}'), 8),
    "plain body": (raw_answer(b"200 OK") + RAW, 8),
    "fault": (raw_answer(b"500 " + RAW, body=f'{{"error":{{"code":"X{ESCAPES}","message":"{ESCAPES}"}}}}'), 7),
    "no HTTP": (RAW, 7),
}


@pytest.fixture(scope="module")
def token(shared_org: Org) -> str:
    return shared_org.make_agent("CI", {"production": {"KEY": "value"}})


@pytest.mark.parametrize("where", HOSTILE_ANSWERS)
def test_no_text_of_a_server_drives_the_terminal(shared_org: Org, token: str, where: str) -> None:
    answer, code = HOSTILE_ANSWERS[where]
    with misbehaving_server(answer) as (address, _):
        env = with_token(token, STRONGHOLD_URL=f"http://{address}")
        for options in ((), ("--debug",), ("--json", "--debug")):
            refused = shared_org.run(*options, "env", "pull", "-p", "production", env=env).failed(code)
            assert refused.out == ""
            assert not [each for each in refused.err if not each.isprintable() and each != "\n"]
            assert "title" not in refused.err or where == "no HTTP"
