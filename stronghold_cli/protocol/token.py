"""The text of tokens, invites and kits (protocol section 4): parse and format. Opens nothing.

A text is a prefix that names the role (``shat_``, ``shoi_``, ``shrk_``, ``shok_``) and base62 of::

    version 1 ‖ kind 1 ‖ flags 1 ‖ pin 32 ‖ floor 4 ‖ fields of the kind ‖ length 1 ‖ address ‖ checksum 4

The ``header`` is all of it without the fields of the kind and the checksum. Whatever is damaged raises ``TokenMalformed``,
offline and without repeating any of the text. Blanks and line ends around a text are the caller's to strip.
"""

from __future__ import annotations

import re
from hmac import compare_digest
from typing import Any, ClassVar, Self, TypeVar

from stronghold_cli.protocol.encoding import decode_base62, digest, encode_base62
from stronghold_cli.protocol.errors import MalformedError, TokenMalformed, UsageError
from stronghold_cli.protocol.record import Record

VERSION = 1
PIN_BYTES = 32
MAX_FLOOR = 2**32 - 1
MAX_ADDRESS = 255
# The longest kind, an operator kit with a full address, has 401 bytes: 539 digits after the prefix.
MAX_TEXT = 544
PREFIX_LENGTH = 5

_CHECKSUM_LABEL = b"stronghold/v1/token-checksum"
_CHECKSUM_BYTES = 4
_COMMON_BYTES = 3 + PIN_BYTES + 4
_PLAIN_HTTP = 1
_QUOTES = tuple("\"'`‘’“”«»")

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_ADDRESS = re.compile(
    rf"(?P<host>{_LABEL}(?:\.{_LABEL})*|\[(?P<ipv6>[0-9a-f:.]{{2,45}})\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~-]+)*)"
)
# A last label that begins with a digit and is numeric to a resolver ("127.1", "0x7f000001") is an IPv4 address.
_NUMERIC_LABEL = r"[0-9]+|0x[0-9a-f]*"


class _Common(Record):
    """What all four kinds hold. ``floor`` is the seq of a head, ``pin`` the 32-byte hash of the org document it names."""

    kind: ClassVar[int]
    prefix: ClassVar[str]
    title: ClassVar[str]
    # The fields that the kind has between floor and address, with their lengths; integers are big-endian.
    fields: ClassVar[tuple[tuple[str, int], ...]]
    integers: ClassVar[frozenset[str]] = frozenset()

    plain_http: bool
    pin: bytes
    floor: int
    address: str

    @property
    def text(self) -> str:
        """The whole text, which is the credential itself; raises ``TokenMalformed`` where a field cannot be written."""
        header = _header(self.kind, self.plain_http, self.pin, self.floor, self.address)
        body = header[:_COMMON_BYTES] + b"".join(self._field_bytes()) + header[_COMMON_BYTES:]
        return self.prefix + encode_base62(body + _checksum(body))

    @property
    def last4(self) -> str:
        """The last four characters of the text, which may be shown."""
        return self.text[-4:]

    @property
    def base_url(self) -> str:
        """Where the server is: scheme, authority and base path, without a slash at the end."""
        return f"{'http' if self.plain_http else 'https'}://{self.address}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.prefix}…{self.last4})"

    def _field_bytes(self) -> list[bytes]:
        parts = []
        for name, length in self.fields:
            value: Any = getattr(self, name)
            if name in self.integers:
                if not 0 <= value < 1 << 8 * length:
                    raise TokenMalformed(f"The {name} of {self.title} does not fit.")
                value = value.to_bytes(length, "big")
            if len(value) != length:
                raise TokenMalformed(f"The {name} of {self.title} is not {length} bytes long.")
            parts.append(value)
        return parts

    @classmethod
    def from_bytes(cls, body: bytes) -> Self:
        """Read the bytes before the checksum, whose version and kind the caller has checked."""
        values: dict[str, Any] = {}
        position = _COMMON_BYTES
        for name, length in cls.fields:
            part = body[position : position + length]
            values[name] = int.from_bytes(part, "big") if name in cls.integers else part
            position += length
        address = body[position + 1 :]
        if body[2] & ~_PLAIN_HTTP or position >= len(body) or body[position] != len(address) or not address.isascii():
            raise TokenMalformed(f"This is {cls.title}, but its layout is wrong.", hint=_COPY_HINT)
        return cls(
            plain_http=bool(body[2]),
            pin=body[3 : 3 + PIN_BYTES],
            floor=int.from_bytes(body[3 + PIN_BYTES : _COMMON_BYTES], "big"),
            address=address.decode("ascii"),
            **values,
        )


class AgentToken(_Common):
    """One credential of an agent: ``secret`` is S, ``wrapped_master_key`` 48 bytes that S and the server's share open."""

    kind = 1
    prefix = "shat_"
    title = "an agent token"
    fields = (("secret", 32), ("wrapped_master_key", 48))

    secret: bytes
    wrapped_master_key: bytes

    @property
    def header(self) -> bytes:
        """The bytes that the KEK and the encryption of the master key authenticate."""
        return agent_header(self.plain_http, self.pin, self.floor, self.address)


class OperatorInvite(_Common):
    """An invite for a new operator: ``invite_key`` is I."""

    kind = 2
    prefix = "shoi_"
    title = "an operator invite"
    fields = (("org_id", 32), ("invite_id", 16), ("invite_key", 32))

    org_id: bytes
    invite_id: bytes
    invite_key: bytes


class RootKit(_Common):
    """An org's last resort: ``root_key`` is RK."""

    kind = 3
    prefix = "shrk_"
    title = "a root kit"
    fields = (("org_id", 32), ("root_key", 32))

    org_id: bytes
    root_key: bytes


class OperatorKit(_Common):
    """What an operator needs beside the passphrase on a new device: ``account_key`` is ASK; the rest is for Argon2id."""

    kind = 4
    prefix = "shok_"
    title = "an operator kit"
    fields = (
        ("org_id", 32), ("operator_id", 16), ("account_key", 32), ("salt", 16),
        ("memory_kib", 4), ("time_cost", 1), ("parallelism", 1),
    )  # fmt: skip
    integers = frozenset({"memory_kib", "time_cost", "parallelism"})

    org_id: bytes
    operator_id: bytes
    account_key: bytes
    salt: bytes
    memory_kib: int
    time_cost: int
    parallelism: int


Credential = AgentToken | OperatorInvite | RootKit | OperatorKit
_KINDS: dict[str, type[Credential]] = {kind.prefix: kind for kind in (AgentToken, OperatorInvite, RootKit, OperatorKit)}
_Kind = TypeVar("_Kind", AgentToken, OperatorInvite, RootKit, OperatorKit)
_COPY_HINT = "Copy it again, whole and unchanged."


def agent_header(plain_http: bool, pin: bytes, floor: int, address: str) -> bytes:
    """``version ‖ kind ‖ flags ‖ pin ‖ floor ‖ length ‖ address`` of an agent token."""
    return _header(AgentToken.kind, plain_http, pin, floor, address)


def parse_token(text: str) -> Credential:
    """Read any of the four; raises ``TokenMalformed`` unless ``text`` is exactly what ``.text`` of the result gives."""
    if text.startswith(_QUOTES):
        raise TokenMalformed("The token begins with a quotation mark.", hint="Give it without quotation marks around it.")
    kind = _KINDS.get(text[:PREFIX_LENGTH])
    if kind is None:
        raise TokenMalformed("This is not a Stronghold token.", hint="An agent token begins with shat_.")
    if len(text) > MAX_TEXT:
        raise TokenMalformed(f"This is {kind.title}, but too long.", hint=_COPY_HINT)
    try:
        data = decode_base62(text[PREFIX_LENGTH:])
    except MalformedError as error:
        raise TokenMalformed(
            f"This is {kind.title}, but with a character that does not belong there.", hint=_COPY_HINT
        ) from error
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if len(body) <= _COMMON_BYTES or not compare_digest(checksum, _checksum(body)):
        raise TokenMalformed(f"This is {kind.title}, but damaged or cut off.", hint=_COPY_HINT)
    if body[0] != VERSION:
        raise TokenMalformed(
            f"This is {kind.title}, but of a version that this program does not know.", hint="Update the program."
        )
    if body[1] != kind.kind:
        raise TokenMalformed(f"This begins like {kind.title}, but holds something else.", hint=_COPY_HINT)
    credential = kind.from_bytes(body)
    _check_common(credential.plain_http, credential.pin, credential.floor, credential.address)
    return credential


def parse_agent_token(text: str) -> AgentToken:
    """Read an agent token; for a kit or an invite, ``TokenMalformed`` says which it is."""
    return _parse_as(AgentToken, text)


def parse_invite(text: str) -> OperatorInvite:
    """Read an operator invite."""
    return _parse_as(OperatorInvite, text)


def parse_root_kit(text: str) -> RootKit:
    """Read a root kit."""
    return _parse_as(RootKit, text)


def parse_operator_kit(text: str) -> OperatorKit:
    """Read an operator kit. The Argon2id parameters are not judged here, but before anything is derived."""
    return _parse_as(OperatorKit, text)


def address_fault(address: str, plain_http: bool) -> str:
    """Say why ``address`` is not the one way to write a server's address; empty if it is.

    ``host[:port][/base/path]``: lower-case ASCII host, IPv4 or bracketed IPv6; no port that the scheme implies; base path
    of letters, digits and ``._~-`` without a slash at the end; 1 to 255 characters in all.
    """
    match = _parts(address) if len(address) <= MAX_ADDRESS else None
    if not match:
        return "is not host[:port][/base/path] in lower case"
    if match["port"] == ("80" if plain_http else "443"):
        return "names the port that is meant without one"
    if {".", ".."} & set(match["path"].split("/")):
        return "has a base path with . or .. in it"
    if match["ipv6"] is not None:
        return "" if _ipv6(match["ipv6"]) else "has an IPv6 address that is none, or is not in its shortest form"
    if re.fullmatch(_NUMERIC_LABEL, match["host"].rpartition(".")[2]) and not _is_ipv4(match["host"]):
        return "has an IPv4 address that is none"
    return ""


def split_url(url: str) -> tuple[bool, str]:
    """The (plain_http, address) of a server's URL as a person writes it; raises ``UsageError`` for what cannot be one.

    The host is put in lower case; a port that the scheme implies and slashes at the end are left out.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in {"https", "http"}:
        raise UsageError(
            "The server's URL does not begin with https:// or http://.", hint="Write it as https://HOST[:PORT]."
        )
    plain_http = scheme.lower() == "http"
    authority, slash, path = rest.partition("/")
    authority = authority.lower().removesuffix(":80" if plain_http else ":443")
    address = authority + (slash + path).rstrip("/")
    fault = address_fault(address, plain_http)
    if fault:
        raise UsageError(
            f"The server's address {fault}.",
            hint="Write it as https://HOST[:PORT][/BASE/PATH], without user, query or fragment.",
        )
    return plain_http, address


def is_loopback(address: str) -> bool:
    """Whether a legal address is this machine by its text alone: ``localhost``, 127.0.0.0/8 or ``[::1]``."""
    match = _parts(address)
    if not match:
        return False
    if match["ipv6"] is not None:
        return _ipv6(match["ipv6"]) == bytes(15) + b"\x01"
    return match["host"] == "localhost" or (match["host"].startswith("127.") and _is_ipv4(match["host"]))


def _parse_as(wanted: type[_Kind], text: str) -> _Kind:
    found = parse_token(text)
    if not isinstance(found, wanted):
        raise TokenMalformed(
            f"This is {found.title}, not {wanted.title}.",
            hint=f"Give the text that begins with {wanted.prefix}.",
        )
    return found


def _header(kind: int, plain_http: bool, pin: bytes, floor: int, address: str) -> bytes:
    _check_common(plain_http, pin, floor, address)
    text = address.encode("ascii")
    return bytes((VERSION, kind, plain_http)) + pin + floor.to_bytes(4, "big") + bytes((len(text),)) + text


def _check_common(plain_http: bool, pin: bytes, floor: int, address: str) -> None:
    fault = address_fault(address, plain_http)
    if fault:
        raise TokenMalformed(f"The server's address in the token {fault}.")
    if len(pin) != PIN_BYTES or not 1 <= floor <= MAX_FLOOR:
        raise TokenMalformed("The pin or the floor of the token is out of range.")


def _checksum(body: bytes) -> bytes:
    return digest(_CHECKSUM_LABEL + body)[:_CHECKSUM_BYTES]


def _parts(address: str) -> re.Match[str] | None:
    match = _ADDRESS.fullmatch(address)
    return match if match and _is_at_most(match["port"] or "", "65535") else None


def _is_ipv4(host: str) -> bool:
    octets = host.split(".")
    return len(octets) == 4 and all(
        each.isdigit() and (each == "0" or each[0] != "0") and _is_at_most(each, "255") for each in octets
    )


def _is_at_most(digits: str, greatest: str) -> bool:
    """Compare two numbers without leading zeros by their digits."""
    return (len(digits), digits) <= (len(greatest), greatest)


def _ipv6(text: str) -> bytes | None:
    """The 16 bytes of an IPv6 address in its shortest form."""
    import socket  # not on the way of ordinary tokens

    try:
        packed = socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        return None
    return packed if socket.inet_ntop(socket.AF_INET6, packed) == text else None
