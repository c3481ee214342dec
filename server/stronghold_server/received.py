"""A received request as typed values: what is signed, and what the audit entry keeps of where it came from.

Implements the server's first steps of protocol section 6: ``@authority`` is one of the server's configured names and never
simply the Host header; ``@path`` is the raw path with the configured base path.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from stronghold_cli.protocol.errors import MalformedError
from stronghold_cli.protocol.record import Record
from stronghold_server.refusals import Unlogged

CORRELATION_BYTES: Final = 16
MAX_USER_AGENT: Final = 256
_READ: Final = (b"host", b"user-agent", b"content-digest", b"signature-input", b"signature")


class Name(Record):
    """One name under which the server is reached: authority (lower case) and base path ("" or "/…")."""

    authority: str
    base_path: str


class Received(Record):
    """A request before its signature is looked at. ``target`` is what the client signed: base path, raw path, query.

    The three lists hold every header line of that name.
    """

    method: str
    authority: str
    target: str
    query: str
    content_digest: list[str]
    signature_input: list[str]
    signature: list[str]
    body: bytes
    address: str
    user_agent: str
    correlation_id: bytes

    def __repr__(self) -> str:
        return f"Received({self.method}, {self.correlation_id.hex()})"


def split_name(name: str) -> Name:
    """An entry of the setting ``authorities``, e.g. ``secrets.example.com:8443/base``."""
    authority, slash, path = name.partition("/")
    return Name(authority=authority.lower(), base_path=slash + path)


def find_name(names: Iterable[Name], host: str, path: str) -> Name:
    """The configured name that the Host header selects; of several base paths the longest that the path begins with."""
    authority = host.lower()
    same_host = [name for name in names if name.authority == authority]
    if not same_host:
        raise Unlogged(
            "AUTHORITY_UNKNOWN", "the server does not know itself under this address", counted="authority_unknown"
        )
    if len(same_host) == 1:
        return same_host[0]
    fitting = [name for name in same_host if name.base_path and path.startswith(f"{name.base_path}/")]
    return max(fitting or same_host, key=lambda name: len(name.base_path) if name in fitting else -len(name.base_path))


def route_path(names: Iterable[Name], path: str) -> str:
    """The path below the base path, for a proxy that leaves the base path in."""
    fitting = [name.base_path for name in names if name.base_path and path.startswith(f"{name.base_path}/")]
    return path[len(max(fitting, key=len)) :] if fitting else path


def read_request(scope: Any, body: bytes, names: Iterable[Name], correlation_id: bytes) -> Received:
    """The request of an ASGI scope; raises ``Unlogged`` where the server is not meant."""
    lines: dict[bytes, list[str]] = {header: [] for header in _READ}
    for header, value in scope["headers"]:
        if header in lines:
            lines[header].append(value.decode("latin-1"))
    hosts = lines[b"host"]
    if len(hosts) != 1:
        raise Unlogged("MALFORMED", "a request has not exactly one Host header", counted="malformed")
    path, query = raw_target(scope)
    name = find_name(names, hosts[0], path)
    if not path.startswith(f"{name.base_path}/"):
        path = name.base_path + path
    client = scope.get("client")
    return Received(
        method=scope["method"],
        authority=name.authority,
        target=f"{path}?{query}" if query else path,
        query=query,
        content_digest=lines[b"content-digest"],
        signature_input=lines[b"signature-input"],
        signature=lines[b"signature"],
        body=body,
        address=client[0] if client else "",
        user_agent=" ".join(lines[b"user-agent"])[:MAX_USER_AGENT],
        correlation_id=correlation_id,
    )


def raw_target(scope: Any) -> tuple[str, str]:
    """Path and query as they stood on the request line."""
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    try:
        return raw_path.partition(b"?")[0].decode("ascii"), query.decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedError("the target of a request is not ASCII") from error
