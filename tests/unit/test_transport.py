"""Signed HTTP: every behaviour of the wire, over both ways of sending."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from stronghold_cli.protocol.errors import (
    ClientTooOld,
    IntegrityError,
    LocalFileError,
    Refused,
    StrongholdError,
    Unavailable,
    UsageError,
)
from stronghold_cli.protocol.keys import SigningKey, VerifyKey
from stronghold_cli.protocol.requests import KeyId, parse_request
from stronghold_cli.transport import MAX_ATTEMPTS, Server
from stronghold_cli.transport.refusals import SENTENCES
from stronghold_cli.transport.route import find_route
from tests.unit.children import child_environment
from tests.unit.wire_servers import Certificates, Listener, answer, forward_proxy, refusal

KEY = SigningKey(b"k" * 32)
KEY_ID = KeyId(kind="t", raw=b"t" * 16)
NOW = 1795333449
LIMIT = 1000

Open = Callable[..., Server]


@pytest.fixture(params=[False, True], ids=["direct", "pooled"])
def open_server(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens a ``Server`` in one of the two ways; waits between attempts are noted in ``waits`` and not made."""
    opened: list[Server] = []

    def make(base_url: str, environ: Mapping[str, str] | None = None, **options: object) -> Server:
        waits: list[float] = []
        server = Server(
            base_url,
            **{  # type: ignore[arg-type]
                "pooled": request.param,
                "warn": warned.append,
                "environ": environ or {},
                "now": lambda: NOW,
                "sleep": waits.append,
                "timeout": 5,
                **options,
            },
        )
        server.waits = waits  # type: ignore[attr-defined]
        server.warned = warned  # type: ignore[attr-defined]
        opened.append(server)
        return server

    warned: list[str] = []
    yield make
    for server in opened:
        server.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def get(server: Server, target: str = "/v1/self", limit: int = LIMIT) -> bytes:
    return server.request("GET", target, b"", KEY, KEY_ID, limit)


def post(server: Server, body: bytes = b'{"a":1}') -> bytes:
    return server.request("POST", "/v1/orgs/x/commits", body, KEY, KEY_ID, LIMIT)


def headers_of(request: bytes) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for line in request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        headers.setdefault(name.lower(), []).append(value)
    return headers


def refused(server: Server, method: Callable[[Server], bytes] = get) -> StrongholdError:
    with pytest.raises(StrongholdError) as caught:
        method(server)
    return caught.value


# --- what goes out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/v1/pull?profile=a%20b&org=%C3%A4~'(x)", "/v1/self", "/v1/a%2Fb/c"])
@pytest.mark.parametrize("base_path", ["", "/base/path"])
def test_what_is_sent_is_what_was_signed(open_server: Open, target: str, base_path: str) -> None:
    with Listener(answer()) as listener:
        server = open_server(f"http://{listener.authority}{base_path}")
        got = server.exchange("GET", target, b"", KEY, KEY_ID, LIMIT)
        [request] = listener.requests
    method, sent_target, version = request.partition(b"\r\n")[0].decode().split(" ")
    headers = headers_of(request)
    assert (method, sent_target, version) == ("GET", base_path + target, "HTTP/1.1")
    signature = parse_request(
        method=method, authority=listener.authority, target=sent_target, body=b"",
        content_digest=headers["content-digest"], signature_input=headers["signature-input"], signature=headers["signature"],
    )  # fmt: skip
    signature.verify(VerifyKey(KEY.public))
    assert (signature.created, signature.key_id) == (NOW, KEY_ID)
    assert got.signature_base == signature.base
    assert got.body == b"ok"


def test_headers_are_few_and_fixed(open_server: Open) -> None:
    with Listener(answer()) as listener:
        get(open_server(f"http://{listener.authority}"))
        headers = headers_of(listener.requests[0])
    assert headers["host"] == [listener.authority]
    assert headers["user-agent"] == ["stronghold/0.1.0"]
    assert headers["accept-encoding"] == ["identity"]
    assert all(len(values) == 1 for values in headers.values())
    assert headers.keys() <= {
        "host", "user-agent", "accept", "accept-encoding", "connection", "content-digest", "signature-input", "signature",
    }  # fmt: skip


def test_a_body_is_sent_whole(open_server: Open) -> None:
    body = os.urandom(300_000)
    with Listener(answer()) as listener:
        post(open_server(f"http://{listener.authority}"), body)
        request = listener.requests[0]
    assert request.partition(b"\r\n\r\n")[2] == body
    assert headers_of(request)["content-length"] == ["300000"]


def test_cookies_are_not_kept(open_server: Open) -> None:
    with Listener(answer(200, b"ok", "Set-Cookie: a=b; Path=/")) as listener:
        server = open_server(f"http://{listener.authority}")
        get(server)
        get(server)
        assert "cookie" not in headers_of(listener.requests[1])


def test_an_open_route_is_asked_without_a_signature(open_server: Open) -> None:
    with Listener(answer()) as listener:
        assert open_server(f"http://{listener.authority}/b").get_open("/healthz", LIMIT) == b"ok"
        assert listener.requests[0].startswith(b"GET /b/healthz HTTP/1.1\r\n")
        assert "signature" not in headers_of(listener.requests[0])


# --- what comes back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(SENTENCES))
def test_a_refusal_has_our_sentence_and_never_the_servers_words(open_server: Open, code: str) -> None:
    with Listener(refusal(403, code)) as listener:
        error = refused(open_server(f"http://{listener.authority}"))
    assert type(error) is Refused
    assert (error.code, error.message, error.hint) == (code, *SENTENCES[code])
    assert error.message.endswith(".")


def test_a_refusal_for_the_rate_says_how_long_to_wait(open_server: Open) -> None:
    with Listener(refusal(429, "RATE_LIMITED", "Retry-After: 3599")) as listener:
        assert "Try again in 3599 s" in refused(open_server(f"http://{listener.authority}")).hint


def test_an_unknown_code_is_kept_and_its_words_are_not(open_server: Open) -> None:
    with Listener(refusal(400, "NEW_CODE")) as listener:
        error = refused(open_server(f"http://{listener.authority}"))
    assert error.code == "NEW_CODE"
    assert "NEW_CODE" in error.message
    assert "EVIL" not in error.message + error.hint


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"error":{"code":7}}', b'{"error":{"code":"evil words"}}', b'{"error":7}']
)
def test_a_refusal_without_a_code_is_no_stronghold_server(open_server: Open, body: bytes) -> None:
    with Listener(answer(404, body)) as listener:
        error = refused(open_server(f"http://{listener.authority}"))
    assert (type(error), error.code) == (StrongholdError, "NOT_STRONGHOLD")
    assert "404" in error.message


def test_a_clock_that_is_off_is_told_with_its_time(open_server: Open) -> None:
    with Listener(refusal(401, "CLOCK_SKEW", "Date: Mon, 01 Jan 2001 00:00:00 GMT")) as listener:
        server = open_server(f"http://{listener.authority}")
        error = refused(server)
        assert error.code == "CLOCK_SKEW"
        assert "2026-11-22T07:44:09Z" in error.message
        refused(server)
        assert f"created={NOW};" in headers_of(listener.requests[1])["signature-input"][0]


@pytest.mark.parametrize(("body", "code"), [(b"", "SERVER_UNAVAILABLE"), (b'{"error":{"code":"LOG_FAILED"}}', "LOG_FAILED")])
def test_a_5xx_is_no_answer_whatever_it_says(open_server: Open, body: bytes, code: str) -> None:
    with Listener(answer(500, body, protocol=None)) as listener:
        error = refused(open_server(f"http://{listener.authority}"))
    assert (type(error), error.code) == (Unavailable, code)
    assert "500" in error.message


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(open_server: Open, status: int) -> None:
    with (
        Listener(answer()) as other,
        Listener(answer(status, b"", f"Location: http://{other.authority}/v1/self")) as listener,
    ):
        error = refused(open_server(f"http://{listener.authority}"))
        assert error.code == "REDIRECTED"
        assert str(status) in error.message
        assert other.requests == []


@pytest.mark.parametrize(("spoken", "shown"), [("2", "protocol 2"), ("0", "protocol 0"), ("evil words", "unreadable")])
@pytest.mark.parametrize("status", [200, 400, 500])
def test_another_protocol_version_names_both(open_server: Open, spoken: str, shown: str, status: int) -> None:
    with Listener(answer(status, b"{}", protocol=spoken)) as listener:
        error = refused(open_server(f"http://{listener.authority}"))
    assert (type(error), error.code) == (ClientTooOld, "CLIENT_TOO_OLD")
    assert shown in error.message
    assert "speaks 1" in error.message
    assert ("server" if spoken == "0" else "program") in error.hint


def test_a_page_of_something_else_is_no_answer_of_ours(open_server: Open) -> None:
    with Listener(answer(200, b"<html>", protocol=None)) as listener:
        assert refused(open_server(f"http://{listener.authority}")).code == "NOT_STRONGHOLD"


# --- limits -----------------------------------------------------------------------------------------------------------


def endless(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 X\r\nStronghold-Protocol: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")


@pytest.mark.parametrize(
    "script", [answer(200, b"x" * 1001), answer(200, b"", length=10**12), answer(200, b"", length=10**18), endless],
    ids=["little", "announced", "huge", "endless"],
)  # fmt: skip
def test_an_answer_over_the_limit_is_refused_while_it_is_read(open_server: Open, script: object) -> None:
    with Listener(script) as listener:  # type: ignore[arg-type]
        error = refused(open_server(f"http://{listener.authority}"))
    assert type(error) is IntegrityError
    assert "larger" in error.message


def test_an_answer_of_exactly_the_limit_is_taken(open_server: Open) -> None:
    with Listener(answer(200, b"x" * 70_000)) as listener:
        assert len(get(open_server(f"http://{listener.authority}"), limit=70_000)) == 70_000


def test_a_refusal_is_read_where_the_limit_is_small(open_server: Open) -> None:
    with Listener(refusal(403, "AGENT_PAUSED")) as listener:
        server = open_server(f"http://{listener.authority}")
        assert refused(server, lambda each: get(each, limit=1)).code == "AGENT_PAUSED"


def test_a_compressed_answer_is_refused(open_server: Open) -> None:
    with Listener(answer(200, b"\x1f\x8b", "Content-Encoding: gzip")) as listener:
        assert isinstance(refused(open_server(f"http://{listener.authority}")), IntegrityError)


def trickle_headers(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 X\r\nX: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def trickle_body(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 X\r\nStronghold-Protocol: 1\r\nContent-Length: 900\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def silence(connection: socket.socket, _: bytes) -> None:
    connection.recv(1)


@pytest.mark.parametrize("script", [trickle_headers, trickle_body, silence])
def test_time_is_limited_as_a_whole_however_slowly_bytes_come(open_server: Open, script: object) -> None:
    with Listener(answer(), script) as listener:  # type: ignore[arg-type]
        server = open_server(f"http://{listener.authority}", timeout=0.6)
        get(server)  # so that a kept connection is used where there is one
        started = time.monotonic()
        error = refused(server)
        assert 0.4 < time.monotonic() - started < 3
    assert (type(error), error.code) == (Unavailable, "SERVER_UNAVAILABLE")
    assert "did not answer within" in error.message


def cut(connection: socket.socket, _: bytes) -> None:
    connection.sendall(answer(200, b"half", length=8))


@pytest.mark.parametrize(
    "script",
    [cut, lambda *_: None, lambda connection, _: connection.sendall(b"SSH-2.0-x\r\n")],
    ids=["cut", "closed", "ssh"],
)
def test_an_answer_that_breaks_off_is_no_answer(open_server: Open, script: object) -> None:
    with Listener(script) as listener:  # type: ignore[arg-type]
        server = open_server(f"http://{listener.authority}")
        assert type(refused(server)) is Unavailable
        assert "may have been made" in refused(server, post).message
        assert len(listener.requests) == 2


def test_a_refusal_that_comes_before_the_body_was_read_is_read(open_server: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse_early() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(refusal(413, "TOO_LARGE", "Connection: close"))

        thread = threading.Thread(target=refuse_early)
        thread.start()
        server = open_server(f"http://127.0.0.1:{listening.getsockname()[1]}")
        error = refused(server, lambda each: post(each, bytes(20_000_000)))
        thread.join()
    assert error.code == "TOO_LARGE"


# --- again, or not ----------------------------------------------------------------------------------------------------


def nonces(listener: Listener) -> set[str]:
    return {headers_of(each)["signature-input"][0].partition('nonce="')[2][:32] for each in listener.requests}


@pytest.mark.parametrize("status", [429, 503])
def test_a_get_is_sent_again_with_a_new_nonce(open_server: Open, status: int) -> None:
    with Listener(refusal(status, "RATE_LIMITED"), refusal(status, "RATE_LIMITED"), answer()) as listener:
        server = open_server(f"http://{listener.authority}")
        assert get(server) == b"ok"
        assert len(nonces(listener)) == 3
    first, second = server.waits  # type: ignore[attr-defined]
    assert 0.2 <= first < 0.4 <= second < 0.8


def test_a_post_is_sent_again_after_429_and_never_after_503(open_server: Open) -> None:
    with Listener(refusal(429, "RATE_LIMITED"), answer()) as listener:
        assert post(open_server(f"http://{listener.authority}")) == b"ok"
    with Listener(refusal(503, "BUSY"), answer()) as listener:
        assert type(refused(open_server(f"http://{listener.authority}"), post)) is Unavailable
        assert len(listener.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 409, 500, 502])
def test_nothing_else_is_sent_again(open_server: Open, status: int) -> None:
    with Listener(refusal(status, "CONFLICT"), answer()) as listener:
        refused(open_server(f"http://{listener.authority}"))
        assert len(listener.requests) == 1


def test_attempts_end(open_server: Open) -> None:
    with Listener(refusal(429, "RATE_LIMITED")) as listener:
        error = refused(open_server(f"http://{listener.authority}"))
        assert isinstance(error, Refused)
        assert error.code == "RATE_LIMITED"
        assert len(listener.requests) == MAX_ATTEMPTS


def test_retry_after_is_kept_to_and_bounded(open_server: Open) -> None:
    with Listener(refusal(429, "RATE_LIMITED", "Retry-After: 2"), answer()) as listener:
        server = open_server(f"http://{listener.authority}")
        get(server)
        assert 2 <= server.waits[0] < 2.2  # type: ignore[attr-defined]
    with Listener(refusal(429, "RATE_LIMITED", "Retry-After: 86400"), answer()) as listener:
        server = open_server(f"http://{listener.authority}", timeout=100)
        get(server)
        assert 30 <= server.waits[0] < 30.2  # type: ignore[attr-defined]


def test_a_wait_longer_than_the_time_left_is_not_begun(open_server: Open) -> None:
    with Listener(refusal(429, "RATE_LIMITED", "Retry-After: 6")) as listener:
        server = open_server(f"http://{listener.authority}")
        error = refused(server)
        assert isinstance(error, Refused)
        assert error.retry_after == 6
        assert server.waits == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["", "-1", "1.5", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", "9" * 40])
def test_a_retry_after_that_is_no_number_is_not_believed(open_server: Open, text: str) -> None:
    with Listener(refusal(429, "RATE_LIMITED", f"Retry-After: {text}"), answer()) as listener:
        server = open_server(f"http://{listener.authority}")
        get(server)
        assert server.waits[0] < 0.4  # type: ignore[attr-defined]


def test_a_server_that_is_away_is_told_after_a_few_attempts(open_server: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    server = open_server(f"http://127.0.0.1:{port}")
    for method in (get, post):
        error = refused(server, method)
        assert isinstance(error, Unavailable)
        assert f"127.0.0.1:{port}" in error.message
        assert "refused" in error.message
        assert "may have been made" not in error.message
    assert len(server.waits) == 2 * (MAX_ATTEMPTS - 1)  # type: ignore[attr-defined]


def test_an_unknown_host_is_told(open_server: Open) -> None:
    error = refused(open_server("https://no-such-host.invalid", {"STRONGHOLD_CA_FILE": ""}))
    assert isinstance(error, Unavailable)
    assert "no-such-host.invalid" in error.message


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["STRONGHOLD_CA_FILE", "SSL_CERT_FILE"])
def test_a_ca_of_ones_own_is_believed_when_named(open_server: Open, certificates: Certificates, variable: str) -> None:
    with Listener(answer(), tls=certificates.context()) as listener:
        assert get(open_server(f"https://{listener.authority}", {variable: certificates.ca_file})) == b"ok"


def test_the_servers_own_certificate_can_be_pinned(open_server: Open, certificates: Certificates) -> None:
    with Listener(answer(), tls=certificates.context()) as listener:
        assert get(open_server(f"https://{listener.authority}", {"STRONGHOLD_CA_FILE": certificates.own_file})) == b"ok"


def test_our_ca_variable_goes_before_the_common_one(open_server: Open, certificates: Certificates) -> None:
    both = {"STRONGHOLD_CA_FILE": certificates.ca_file, "SSL_CERT_FILE": "/nowhere"}
    with Listener(answer(), tls=certificates.context()) as listener:
        assert get(open_server(f"https://{listener.authority}", both)) == b"ok"


def test_an_unknown_ca_is_refused_and_the_variable_named(open_server: Open, certificates: Certificates) -> None:
    with Listener(answer(), tls=certificates.context()) as listener:
        server = open_server(f"https://{listener.authority}")
        error = refused(server)
        assert (error.code, listener.requests) == ("TLS_FAILED", [])
    assert isinstance(error, Unavailable)
    assert "STRONGHOLD_CA_FILE" in error.hint
    assert server.waits == []  # type: ignore[attr-defined]


def test_a_certificate_for_another_name_is_refused(open_server: Open, certificates: Certificates) -> None:
    # The proxy reaches every name here, so one can be asked for that the certificate does not hold.
    with Listener(answer(), tls=certificates.context()) as listener, Listener(forward_proxy) as proxy:
        environ = {"STRONGHOLD_CA_FILE": certificates.ca_file, "HTTPS_PROXY": f"http://{proxy.authority}"}
        error = refused(open_server(f"https://other.test:{listener.port}", environ))
        assert listener.requests == []
    assert error.code == "TLS_FAILED"
    assert "STRONGHOLD_CA_FILE names" in error.hint


def test_a_ca_file_that_is_missing_or_none_is_a_local_error(open_server: Open, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no certificate")
    for path in (str(tmp_path / "missing"), str(tmp_path / "text")):
        error = refused(open_server("https://localhost:9", {"STRONGHOLD_CA_FILE": path}))
        assert isinstance(error, LocalFileError)
        assert path in error.message
        assert "STRONGHOLD_CA_FILE" in error.hint


def test_plain_http_on_a_tls_address_is_told(open_server: Open, certificates: Certificates) -> None:
    def plain(connection: socket.socket, _: bytes) -> None:
        connection.sendall(answer(400))

    with Listener(plain) as listener:
        error = refused(
            open_server(f"https://{listener.authority}", {"STRONGHOLD_CA_FILE": certificates.ca_file}, timeout=2)
        )
    assert isinstance(error, Unavailable)


# --- addresses and proxies --------------------------------------------------------------------------------------------


def test_plain_http_to_another_machine_needs_a_word_and_warns(open_server: Open) -> None:
    with pytest.raises(UsageError) as caught:
        open_server("http://server.test")
    assert "STRONGHOLD_ALLOW_HTTP=1" in caught.value.hint
    with pytest.raises(UsageError):
        open_server("http://server.test", {"STRONGHOLD_ALLOW_HTTP": "yes"})
    server = open_server("http://server.test", {"STRONGHOLD_ALLOW_HTTP": "1"})
    assert "http://server.test" in server.warned[0]  # type: ignore[attr-defined]


def test_plain_http_on_this_machine_says_nothing(open_server: Open) -> None:
    for host in ("localhost", "127.0.0.1:8321", "[::1]:8321"):
        assert open_server(f"http://{host}").warned == []  # type: ignore[attr-defined]


def test_stronghold_url_replaces_the_address(open_server: Open) -> None:
    with Listener(answer()) as listener:
        server = open_server("https://elsewhere.test/x", {"STRONGHOLD_URL": f"http://{listener.authority}/base/"})
        get(server)
        assert server.route.base_url == f"http://{listener.authority}/base"
        assert listener.requests[0].startswith(b"GET /base/v1/self ")
    with pytest.raises(UsageError):
        open_server("http://server.test", {"STRONGHOLD_URL": "server.test"})


def test_https_goes_through_the_proxy_as_a_tunnel(open_server: Open, certificates: Certificates) -> None:
    with Listener(answer(), tls=certificates.context()) as listener, Listener(forward_proxy) as proxy:
        environ = {"HTTPS_PROXY": f"http://ann:p%40ss@{proxy.authority}", "STRONGHOLD_CA_FILE": certificates.ca_file}
        assert get(open_server(f"https://stronghold.test:{listener.port}", environ)) == b"ok"
        [request] = proxy.requests
        assert request.startswith(f"CONNECT stronghold.test:{listener.port} HTTP/1.1\r\n".encode())
        assert headers_of(request)["proxy-authorization"] == ["Basic YW5uOnBAc3M="]
        assert "proxy-authorization" not in headers_of(listener.requests[0])


def test_http_goes_through_the_proxy_with_the_whole_address(open_server: Open) -> None:
    with Listener(answer()) as listener, Listener(forward_proxy) as proxy:
        environ = {"http_proxy": f"ann:x@{proxy.authority}", "STRONGHOLD_ALLOW_HTTP": "1"}
        assert get(open_server(f"http://stronghold.test:{listener.port}", environ), "/v1/pull?a=b%20c") == b"ok"
        assert proxy.requests[0].startswith(f"GET http://stronghold.test:{listener.port}/v1/pull?a=b%20c HTTP/1.1".encode())
        assert headers_of(proxy.requests[0])["host"] == [f"stronghold.test:{listener.port}"]
        assert headers_of(proxy.requests[0])["proxy-authorization"] == ["Basic YW5uOng="]


def test_a_proxy_that_refuses_is_named_without_its_password(open_server: Open) -> None:
    with Listener(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n") as proxy:
        error = refused(open_server("https://stronghold.test", {"HTTPS_PROXY": f"http://ann:hunter2@{proxy.authority}"}))
    assert isinstance(error, Unavailable)
    assert proxy.authority in error.message
    assert "407" in error.message
    assert "hunter2" not in error.message + error.hint + repr(error.__cause__)


def test_a_proxy_that_is_away_is_named(open_server: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    error = refused(open_server("https://stronghold.test", {"HTTPS_PROXY": f"http://127.0.0.1:{port}"}))
    assert f"127.0.0.1:{port} (the proxy)" in error.message


def proxy_of(url: str, environ: Mapping[str, str]) -> str | None:
    proxy = find_route(url, {"STRONGHOLD_ALLOW_HTTP": "1", **environ}, lambda _: None).proxy
    return None if proxy is None else f"{proxy.host}:{proxy.port}"


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("https://a.test", {"HTTPS_PROXY": "http://p:1"}, "p:1"),
        ("https://a.test", {"HTTPS_PROXY": "http://p:1", "https_proxy": "q"}, "q:8080"),
        ("https://a.test", {"HTTP_PROXY": "http://p:1"}, None),
        ("http://a.test", {"HTTP_PROXY": "http://p:1"}, "p:1"),
        ("http://a.test", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://a.test", {"ALL_PROXY": "http://p:1"}, "p:1"),
        ("https://a.test", {"HTTPS_PROXY": ""}, None),
        ("https://localhost:1", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://127.0.0.9:1", {"HTTPS_PROXY": "http://p:1"}, None),
    ],
)
def test_which_proxy_is_used(url: str, environ: dict[str, str], proxy: str | None) -> None:
    assert proxy_of(url, environ) == proxy


@pytest.mark.parametrize(
    ("host", "no_proxy", "exempt"),
    [
        ("a.test", "*", True),
        ("a.test", "b.test, A.test", True),
        ("x.a.test", "a.test", True),
        ("x.a.test", ".a.test", True),
        ("x.a.test", "*.a.test", True),
        ("xa.test", "a.test", False),
        ("a.test", "x.a.test", False),
        ("a.test:8443", "a.test:8443", True),
        ("a.test:8443", "a.test:443", False),
        ("a.test", "a.test:443", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("a.test", "10.0.0.0/8", False),
        ("[2001:db8::1]", "2001:db8::1", True),
        ("[2001:db8::1]:8443", "[2001:db8::1]:8443", True),
        ("[2001:db8::1]", "2001:db8::/32", True),
        ("a.test", ",,", False),
    ],
)
def test_no_proxy_exempts_names_domains_and_networks(host: str, no_proxy: str, exempt: bool) -> None:
    used = proxy_of(f"https://{host}", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": no_proxy})
    assert used == (None if exempt else "p:1")


@pytest.mark.parametrize("proxy", ["https://p:1", "socks5://p:1", "http://", "http://p:x", "http://[::1"])
def test_a_proxy_of_another_kind_is_refused_by_name(proxy: str) -> None:
    with pytest.raises(UsageError, match="HTTPS_PROXY"):
        proxy_of("https://a.test", {"HTTPS_PROXY": proxy})


def test_nothing_of_the_environment_is_read_behind_our_back(
    open_server: Open, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Listener(answer(), tls=certificates.context()) as listener:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
        assert get(open_server(f"https://{listener.authority}", {"STRONGHOLD_CA_FILE": certificates.ca_file})) == b"ok"


def test_the_agents_way_loads_no_http_library() -> None:
    script = (
        "import sys\nfrom stronghold_cli.transport import Server\nServer('http://localhost:9', warn=print)\n"
        "print({'httpx', 'rich', 'asyncio', 'urllib.request', 'logging', 'tempfile'} & set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, check=True, env=child_environment()
        ).stdout.strip()
        == b"set()"
    )
