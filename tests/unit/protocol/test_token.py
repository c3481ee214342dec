"""Tokens, invites and kits: their bytes, and that anything else is refused offline."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stronghold_cli.protocol.encoding import decode_base62, digest, encode_base62
from stronghold_cli.protocol.errors import TokenMalformed, UsageError
from stronghold_cli.protocol.token import (
    AgentToken,
    OperatorInvite,
    OperatorKit,
    RootKit,
    address_fault,
    agent_header,
    is_loopback,
    parse_agent_token,
    parse_invite,
    parse_operator_kit,
    parse_root_kit,
    parse_token,
    split_url,
)

PIN = bytes(range(32))
ADDRESS = "secrets.example.com:8443/base"
COMMON = {"plain_http": False, "pin": PIN, "floor": 7, "address": ADDRESS}
AGENT = AgentToken(**COMMON, secret=b"S" * 32, wrapped_master_key=b"W" * 48)
INVITE = OperatorInvite(**COMMON, org_id=b"O" * 32, invite_id=b"i" * 16, invite_key=b"I" * 32)
ROOT = RootKit(**COMMON, org_id=b"O" * 32, root_key=b"R" * 32)
KIT = OperatorKit(
    **COMMON,
    org_id=b"O" * 32,
    operator_id=b"o" * 16,
    account_key=b"A" * 32,
    salt=b"s" * 16,
    memory_kib=262144,
    time_cost=3,
    parallelism=4,
)
ALL = [AGENT, INVITE, ROOT, KIT]
PARSERS = {
    AgentToken: parse_agent_token,
    OperatorInvite: parse_invite,
    RootKit: parse_root_kit,
    OperatorKit: parse_operator_kit,
}
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _body(text: str) -> bytes:
    return decode_base62(text[5:])[:-4]


def _text(prefix: str, body: bytes) -> str:
    """A text with a right checksum, whatever the body is."""
    return prefix + encode_base62(body + digest(b"stronghold/v1/token-checksum" + body)[:4])


def _refused(text: str) -> TokenMalformed:
    with pytest.raises(TokenMalformed) as caught:
        parse_token(text)
    assert caught.value.code == "TOKEN_MALFORMED"
    return caught.value


def test_the_bytes_of_each_kind_are_those_of_the_protocol() -> None:
    def frame(kind: int, fields: bytes) -> bytes:
        return bytes([1, kind, 0]) + PIN + b"\0\0\0\x07" + fields + bytes([len(ADDRESS)]) + ADDRESS.encode()

    assert _body(AGENT.text) == frame(1, b"S" * 32 + b"W" * 48)
    assert _body(INVITE.text) == frame(2, b"O" * 32 + b"i" * 16 + b"I" * 32)
    assert _body(ROOT.text) == frame(3, b"O" * 32 + b"R" * 32)
    assert _body(KIT.text) == frame(4, b"O" * 32 + b"o" * 16 + b"A" * 32 + b"s" * 16 + b"\0\x04\0\0" + b"\x03" + b"\x04")
    assert [one.text[:5] for one in ALL] == ["shat_", "shoi_", "shrk_", "shok_"]
    assert decode_base62(AGENT.text[5:])[-4:] == digest(b"stronghold/v1/token-checksum" + _body(AGENT.text))[:4]


def test_the_header_is_the_text_without_secret_wrapped_key_and_checksum() -> None:
    expected = bytes([1, 1, 0]) + PIN + b"\0\0\0\x07" + bytes([len(ADDRESS)]) + ADDRESS.encode()
    assert AGENT.header == agent_header(False, PIN, 7, ADDRESS) == expected
    assert agent_header(True, PIN, 7, ADDRESS)[2] == 1


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.prefix)
def test_each_kind_reads_back_as_itself(one: AgentToken) -> None:
    assert parse_token(one.text) == PARSERS[type(one)](one.text) == one
    plain = one.replace(plain_http=True, address="localhost:8080")
    assert parse_token(plain.text) == plain
    assert (one.base_url, plain.base_url) == (f"https://{ADDRESS}", "http://localhost:8080")


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.prefix)
def test_a_kind_given_for_another_is_told_by_name(one: AgentToken) -> None:
    for kind, parse in PARSERS.items():
        if kind is not type(one):
            with pytest.raises(TokenMalformed, match=f"This is {one.title}, not {kind.title}."):
                parse(one.text)


@pytest.mark.parametrize(("one", "others"), [(AGENT, DIGITS), (INVITE, "0Aaz"), (ROOT, "0Aaz"), (KIT, "0Aaz")])
def test_every_single_character_change_is_refused(one: AgentToken, others: str) -> None:
    text = one.text
    for position, old in enumerate(text):
        for new in others + old.swapcase() + "-_ é":
            if new != old:
                _refused(text[:position] + new + text[position + 1 :])


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.prefix)
def test_every_cut_doubling_swap_and_insertion_is_refused(one: AgentToken) -> None:
    text = one.text
    for position in range(len(text)):
        _refused(text[:position])
        if position:
            _refused(text[position:])
        _refused(text[:position] + text[position + 1 :])
        _refused(text[:position] + text[position] + text[position:])
        _refused(text[:position] + "\n" + text[position:])
        swapped = text[:position] + text[position : position + 2][::-1] + text[position + 2 :]
        if swapped != text:
            _refused(swapped)
    _refused(text + text)
    _refused(text + text[5:])
    _refused(text + "\n")
    _refused(" " + text)
    _refused(text[:5] + "0" + text[5:])


def test_no_message_or_repr_shows_any_of_the_text() -> None:
    for one in ALL:
        assert repr(one) == f"{type(one).__name__}({one.prefix}…{one.text[-4:]})"
        assert one.last4 == one.text[-4:]
        error = _refused(one.text[:-1])
        windows = {one.text[start : start + 8] for start in range(5, len(one.text) - 8)}
        assert not any(window in f"{error} {error.hint} {error!r}" for window in windows)


@pytest.mark.parametrize("quote", ['"', "'", "`", "“", "‘", "«"])
def test_quotation_marks_are_refused_with_a_hint(quote: str) -> None:
    assert "quotation marks" in _refused(quote + AGENT.text + quote).hint


@pytest.mark.parametrize("text", ["", "shat", "shat_", "shat_0", "SHAT_" + AGENT.text[5:], "ghp_abcdefgh", "shxx_1", "\0"])
def test_texts_that_are_no_token_are_refused(text: str) -> None:
    _refused(text)


def test_an_overlong_text_is_refused_before_it_is_decoded() -> None:
    assert "too long" in _refused("shat_" + "1" * 540).message
    _refused("shat_" + "1" * 10_000_000)


def test_the_longest_texts_are_read() -> None:
    address = "/".join(["host", *["x" * 61] * 4, "yy"])
    assert len(address) == 255
    for one in ALL:
        longest = one.replace(address=address)
        assert parse_token(longest.text) == longest
        assert len(longest.text) <= 544


@pytest.mark.parametrize("prefix", ["shat_", "shoi_", "shrk_", "shok_"])
def test_with_a_right_checksum_every_layout_rule_still_holds(prefix: str) -> None:
    one = next(one for one in ALL if one.prefix == prefix)
    body = _body(one.text)
    assert parse_token(_text(prefix, body)) == one
    address = body[-len(ADDRESS) :]
    wrong = {
        "version": [bytes([version]) + body[1:] for version in (2, 3, 255)],
        "kind": [body[:1] + bytes([kind]) + body[2:] for kind in (0, 1, 2, 3, 4, 5, 255) if kind != one.kind],
        "flags": [body[:2] + bytes([flags]) + body[3:] for flags in (2, 3, 4, 128, 255)],
        "floor": [body[:35] + bytes(4) + body[39:]],
        "length": [body + b"x", body[:-1], body[: -len(address)], body[: -len(address) - 1], body[:39], body[:38], body[:1]],
        "address": [body[:-1] + b"/", body[:-1] + b"\xff", body[: -len(address)] + address.upper()],
        "no address": [body[: -len(address) - 1] + b"\0"],
    }
    for bodies in wrong.values():
        for changed in bodies:
            _refused(_text(prefix, changed))


def test_another_version_says_update() -> None:
    assert "Update" in _refused(_text("shat_", b"\x02" + _body(AGENT.text)[1:])).hint


@pytest.mark.parametrize(
    "change",
    [
        lambda: AGENT.replace(pin=bytes(31)),
        lambda: AGENT.replace(floor=0),
        lambda: AGENT.replace(floor=2**32),
        lambda: AGENT.replace(secret=bytes(31)),
        lambda: AGENT.replace(wrapped_master_key=bytes(49)),
        lambda: AGENT.replace(address="Example.com"),
        lambda: AGENT.replace(address=""),
        lambda: AGENT.replace(address="example.com:443"),
        lambda: KIT.replace(memory_kib=2**32),
        lambda: KIT.replace(time_cost=256),
        lambda: KIT.replace(parallelism=-1),
    ],
)
def test_no_text_is_made_that_could_not_be_read_back(change: Callable[[], AgentToken]) -> None:
    with pytest.raises(TokenMalformed):
        _ = change().text


@pytest.mark.parametrize(
    "address",
    [
        "localhost", "example.com", "a", "my_service:8080", "x-1.example:1", "host:65535", "127.0.0.1:80", "1.example",
        "[::1]", "[2001:db8::1]:8443/base", "h/Base/_path~1/a.b-c", "0x7f.example", "a.1a", "xn--mnchen-3ya.de",
    ],
)  # fmt: skip
def test_legal_addresses(address: str) -> None:
    assert address_fault(address, plain_http=False) == ""


@pytest.mark.parametrize(
    "address",
    [
        "", "Example.com", "exämple.com", "example.com/", "example.com//a", "/a", "example.com.", ".example.com", "a..b",
        "-a.b", "a-.b", "https://example.com", "user@example.com", "example.com?q", "example.com#f", "example.com:0",
        "example.com:080", "example.com:65536", "example.com:99999", "example.com:", "example.com:x", "example.com:443",
        "h/a/../b", "h/.", "h/a%20", "h/ä", "h a", "h\n", "127.1", "2130706433", "0x7f000001", "0x7f.0x1", "1.2.3.256",
        "01.2.3.4", "1.2.3.4.5", "::1", "[::1", "[:::1]", "[0:0:0:0:0:0:0:1]", "[::1%lo]", "[1.2.3.4]", "[]", "[::G]",
        "x" * 64 + ".example", "a/" + "x" * 254,
    ],
)  # fmt: skip
def test_illegal_addresses(address: str) -> None:
    assert address_fault(address, plain_http=False)


def test_only_the_scheme_s_own_port_is_left_out() -> None:
    assert address_fault("h:80", plain_http=True)
    assert not address_fault("h:443", plain_http=True)
    assert not address_fault("h:80", plain_http=False)


@pytest.mark.parametrize("address", ["localhost", "localhost:1/x", "127.0.0.1", "127.255.0.9:80", "[::1]", "[::1]:8080"])
def test_loopback_addresses(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address",
    [
        "localhost.example.com", "127.0.0.1.example.com", "127.example.com", "128.0.0.1", "[::2]", "[::ffff:127.0.0.1]", "",
        "127.1", "0.0.0.0", "example.com/localhost", "a.localhost", "localhost\n", "127.0.0.1?x",
    ],
)  # fmt: skip
def test_all_other_addresses_are_no_loopback(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Example.COM", (False, "example.com")),
        ("HTTPS://example.com:443/", (False, "example.com")),
        ("http://localhost:80/Base//", (True, "localhost/Base")),
        ("http://localhost:443", (True, "localhost:443")),
        ("https://[2001:DB8::1]:8443/x", (False, "[2001:db8::1]:8443/x")),
    ],
)
def test_urls_become_addresses(url: str, expected: tuple[bool, str]) -> None:
    assert split_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://h",
        "https://",
        "https://u:p@h",
        "https://h?q",
        "https://h#f",
        "https://h/a?b",
        "https://h/\n",
    ],
)
def test_urls_that_are_no_server_are_refused(url: str) -> None:
    with pytest.raises(UsageError):
        split_url(url)
