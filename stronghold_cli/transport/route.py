"""How the server is reached: its URL, the proxy between, and the certificates that are believed.

Environment: ``STRONGHOLD_URL`` (replaces the address in a token or account), ``STRONGHOLD_ALLOW_HTTP`` (protocol section
4), ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY`` (each in lower case too, which then wins, as in curl), and
``STRONGHOLD_CA_FILE``, then ``SSL_CERT_FILE``. A loopback address never goes through a proxy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from stronghold_cli.protocol.errors import LocalFileError, UsageError
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.token import is_loopback, split_url

if TYPE_CHECKING:
    import ssl

_PROXY_PORT = 8080


class Proxy(Record):
    """A forward proxy, spoken to in plain http; ``authorization`` is the value of its header, or empty."""

    host: str
    port: int
    authorization: str

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"


class Route(Record):
    """Where a server is: ``authority`` is signed, ``base_path`` stands before each route."""

    plain_http: bool
    host: str
    port: int
    authority: str
    base_path: str
    proxy: Proxy | None

    @property
    def base_url(self) -> str:
        """Scheme, authority and base path."""
        return f"{'http' if self.plain_http else 'https'}://{self.authority}{self.base_path}"


def find_route(base_url: str, environ: Mapping[str, str], warn: Callable[[str], None]) -> Route:
    """The route to ``base_url``, or to ``STRONGHOLD_URL``; ``UsageError`` for plain http where that is not allowed."""
    plain_http, address = split_url(environ.get("STRONGHOLD_URL") or base_url)
    if plain_http and not is_loopback(address):
        if environ.get("STRONGHOLD_ALLOW_HTTP") != "1":
            raise UsageError(
                f"The server http://{address} is reached without TLS, and is not on this machine.",
                hint="Use its https address; on a network that you trust, set STRONGHOLD_ALLOW_HTTP=1.",
            )
        warn(f"http://{address} is reached without TLS: whoever is between sees names and times, not secrets")
    authority, slash, path = address.partition("/")
    host, port = _split_authority(authority, 80 if plain_http else 443)
    proxy = None if is_loopback(address) else _find_proxy(plain_http, host, port, environ)
    return Route(plain_http=plain_http, host=host, port=port, authority=authority, base_path=slash + path, proxy=proxy)


def tls_context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """What is believed of a server's certificate: the CA file that is named, else the system's, else certifi's."""
    import ssl  # not for plain http, which is most of what reaches a server on the same machine

    for variable in ("STRONGHOLD_CA_FILE", "SSL_CERT_FILE"):
        if path := environ.get(variable):
            return _context_of(variable, path)
    context = ssl.create_default_context()
    _add_certifi(context)
    return context


def _context_of(variable: str, path: str) -> ssl.SSLContext:
    import ssl

    try:
        context = ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one too
        raise LocalFileError(
            f"The CA file {path} cannot be used: {error.strerror or type(error).__name__}.",
            hint=f"{variable} names it; it has to hold certificates in PEM form.",
        ) from error
    # A named file may hold the one intermediate, or the server's own certificate, that is to be believed.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return context


def _add_certifi(context: ssl.SSLContext) -> None:
    """Interpreters that bring their own OpenSSL may find no certificates where it looks: certifi's are used then."""
    import ssl

    folder = ssl.get_default_verify_paths().capath
    if context.cert_store_stats()["x509_ca"] or (folder and os.path.isdir(folder)):
        return
    import certifi

    context.load_verify_locations(cafile=certifi.where())


def _split_authority(authority: str, default_port: int) -> tuple[str, int]:
    """Host (IPv6 without brackets) and port of an authority that ``split_url`` has accepted."""
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):  # no port, or the colon is one of an IPv6 address
        host, port = authority, ""
    return host.strip("[]"), int(port or default_port)


def _find_proxy(plain_http: bool, host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    names = ("http_proxy", "all_proxy") if plain_http else ("https_proxy", "all_proxy")
    found = ((name, value) for name in names if (value := environ.get(name) or environ.get(name.upper())))
    name, text = next(found, ("", ""))
    if not text or _is_exempt(host, port, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    from urllib.parse import unquote, urlsplit  # not without a proxy

    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        proxy_host, proxy_port = parts.hostname, parts.port or _PROXY_PORT
    except ValueError:
        parts, proxy_host, proxy_port = urlsplit(""), None, 0
    if parts.scheme != "http" or not proxy_host:
        raise UsageError(
            f"The proxy that {name.upper()} names cannot be used.",
            hint="Only proxies of the form http://HOST:PORT are known.",
        )
    authorization = ""
    if parts.username is not None:
        authorization = _basic(unquote(parts.username), unquote(parts.password or ""))
    return Proxy(host=proxy_host, port=proxy_port, authorization=authorization)


def _basic(user: str, password: str) -> str:
    from stronghold_cli.protocol.encoding import encode_base64

    return "Basic " + encode_base64(f"{user}:{password}".encode())


def _is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Whether ``NO_PROXY`` names the host: ``*``, a name, a domain (with or without a dot), an address or a network."""
    for entry in no_proxy.lower().split(","):
        pattern = entry.strip()
        if pattern == "*":
            return True
        # "name:port" and "[address]:port" count for that port alone; a bare IPv6 address has more than one colon.
        name, colon, digits = pattern.rpartition(":")
        if colon and digits.isdigit() and (":" not in name or name.endswith("]")):
            if int(digits) != port:
                continue
            pattern = name
        pattern = pattern.strip("[]").removeprefix("*").removeprefix(".")
        if pattern and (host == pattern or host.endswith(f".{pattern}")):
            return True
        if "/" in pattern and _in_network(host, pattern):
            return True
    return False


def _in_network(host: str, network: str) -> bool:
    from ipaddress import ip_address, ip_network

    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False
