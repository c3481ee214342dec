"""The server's settings: one frozen class, from ``STRONGHOLD_…`` variables and an optional TOML file.

A variable wins over the file. Nothing is taken by accident: a variable or member that is not known is an error, and so is a
value that cannot be meant; each error is a ``UsageError`` that names the variable and the remedy. The table in
``docs/server.md`` is ``settings_table()``.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Final

from stronghold_cli.protocol.errors import UsageError
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.token import address_fault, is_loopback

CONFIG_VARIABLE: Final = "STRONGHOLD_SERVER_CONFIG"
# What the client reads. The server ignores them; its own permission for plain http therefore has another name.
CLIENT_VARIABLES: Final = (
    "STRONGHOLD_ALLOW_HTTP",
    "STRONGHOLD_CA_FILE",
    "STRONGHOLD_PROFILE",
    "STRONGHOLD_REQUIRE_MARK",
    "STRONGHOLD_SESSION",
    "STRONGHOLD_SESSION_STORE",
    "STRONGHOLD_TOKEN",
    "STRONGHOLD_TOKEN_FILE",
    "STRONGHOLD_URL",
)
# What Kubernetes makes in every pod of a namespace with a service named stronghold or stronghold-….
_KUBERNETES: Final = re.compile(
    r"STRONGHOLD_(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)
_PREFIX: Final = "STRONGHOLD_"
_MAX_CONFIG: Final = 1 << 16
_MAX_SECRET: Final = 1 << 12
_LOG_LEVELS: Final = ("debug", "info", "warning", "error")
_MIB: Final = 1 << 20


class Settings(Record):
    """What the server was told. Sizes are bytes, times seconds."""

    data_dir: str
    listen_host: str
    listen_port: int
    authorities: tuple[str, ...]
    allow_http: bool
    tls_certificate: str
    tls_key: str
    setup_code: str
    max_header_bytes: int
    max_headers: int
    max_body_bytes: int
    max_commit_bytes: int
    max_part_bytes: int
    max_ahead_bytes: int
    max_memory_bytes: int
    max_connections: int
    receive_seconds: int
    send_seconds: int
    idle_seconds: int
    max_batch: int
    log_level: str

    @property
    def plain_http(self) -> bool:
        """Whether the server itself speaks http, without TLS."""
        return not self.tls_certificate

    def __repr__(self) -> str:
        return f"Settings(data_dir={self.data_dir!r}, listen={self.listen_host!r}:{self.listen_port})"


class _Fault(Exception):
    """Why a value is wrong: the end of a sentence that begins with the variable's name."""


class Field(Record):
    """One setting: its name in the class and in the file, its variable, how its text is read, and its documentation."""

    name: str
    variable: str
    read: Callable[[str], Any]
    default: str
    meaning: str
    file_variable: str = ""


def _text(text: str) -> str:
    if not text or not text.isprintable():
        raise _Fault("must be a printable text that is not empty")
    return text


def _path(text: str) -> str:
    return os.path.abspath(os.path.expanduser(_text(text)))


def _readable_file(text: str) -> str:
    path = _path(text)
    if not os.access(path, os.R_OK) or not os.path.isfile(path):
        raise _Fault(f"names the file {path}, which cannot be read: give a PEM file that the server's user may read")
    return path


def _boolean(text: str) -> bool:
    values = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in values:
        raise _Fault("must be 1 (yes) or 0 (no)")
    return values[text.lower()]


def _between(lowest: int, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) or not lowest <= (value := int(text)) <= highest:
            raise _Fault(f"must be a whole number from {lowest} to {highest}")
        return value

    return read


def _authorities(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(re.split(r"[\s,]+", text.strip(" ,")))) if text.strip(" ,") else ()


def _setup_code(text: str) -> str:
    if not re.fullmatch(r"[!-~]{20,200}", text):
        raise _Fault("must have 20 to 200 characters without blanks: take a random one")
    return text


def _log_level(text: str) -> str:
    if text.lower() not in _LOG_LEVELS:
        raise _Fault(f"must be one of {', '.join(_LOG_LEVELS)}")
    return text.lower()


def _field(
    name: str, variable: str, read: Callable[[str], Any], default: str, meaning: str, *, file_variable: str = ""
) -> Field:
    return Field(name=name, variable=variable, read=read, default=default, meaning=meaning, file_variable=file_variable)


FIELDS: Final = (
    _field(
        "data_dir",
        "STRONGHOLD_DATA_DIR",
        _path,
        "",
        "Folder of the database, the log key and the lock; made with mode 0700. "
        "Default: `stronghold-server` in the user's data folder; `/data` in the container",
    ),
    _field("listen_host", "STRONGHOLD_LISTEN_HOST", _text, "127.0.0.1", "Address to listen on"),
    _field("listen_port", "STRONGHOLD_LISTEN_PORT", _between(1, 65535), "8321", "Port to listen on"),
    _field(
        "authorities",
        "STRONGHOLD_AUTHORITIES",
        _authorities,
        "",
        "Every name under which clients reach the server, as "
        "`host[:port][/base/path]`, separated by commas; the first is the one for tokens. "
        "Default: the listen address, `localhost` and `127.0.0.1`, each with the port",
    ),
    _field(
        "allow_http",
        "STRONGHOLD_SERVER_ALLOW_HTTP",
        _boolean,
        "0",
        "Speak plain http on an address that is not loopback, for use behind a proxy that ends TLS",
    ),
    _field("tls_certificate", "STRONGHOLD_TLS_CERTIFICATE", _readable_file, "", "PEM file with the certificate chain"),
    _field("tls_key", "STRONGHOLD_TLS_KEY", _readable_file, "", "PEM file with the certificate's private key"),
    _field(
        "setup_code",
        "STRONGHOLD_SETUP_CODE",
        _setup_code,
        "",
        "Code that allows the first org, instead of a random one; good once",
        file_variable="STRONGHOLD_SETUP_CODE_FILE",
    ),
    _field(
        "max_header_bytes",
        "STRONGHOLD_MAX_HEADER_BYTES",
        _between(2048, _MIB),
        "16384",
        "Longest request line with all headers",
    ),
    _field("max_headers", "STRONGHOLD_MAX_HEADERS", _between(16, 1000), "64", "Most headers of a request"),
    _field("max_body_bytes", "STRONGHOLD_MAX_BODY_BYTES", _between(4096, 64 * _MIB), "262144", "Longest body of a request"),
    _field(
        "max_commit_bytes",
        "STRONGHOLD_MAX_COMMIT_BYTES",
        _between(65536, 1024 * _MIB),
        str(128 * _MIB),
        "Longest body of a commit",
    ),
    _field(
        "max_part_bytes",
        "STRONGHOLD_MAX_PART_BYTES",
        _between(4 * _MIB, 64 * _MIB),
        str(8 * _MIB),
        "Longest body of a request that sends blobs ahead of their commit; the client sends parts of 4 MiB",
    ),
    _field(
        "max_ahead_bytes",
        "STRONGHOLD_MAX_AHEAD_BYTES",
        _between(4096, 65536 * _MIB),
        str(256 * _MIB),
        "Most bytes that an operator may have sent ahead without a commit that names them; an org four times as many",
    ),
    _field(
        "max_memory_bytes",
        "STRONGHOLD_MAX_MEMORY_BYTES",
        _between(65536, 65536 * _MIB),
        str(256 * _MIB),
        "Most bytes of bodies that are held at one time, over all connections",
    ),
    _field("max_connections", "STRONGHOLD_MAX_CONNECTIONS", _between(1, 100_000), "1000", "Most connections at one time"),
    _field(
        "receive_seconds",
        "STRONGHOLD_RECEIVE_SECONDS",
        _between(1, 3600),
        "30",
        "Within this time a whole request has to arrive",
    ),
    _field(
        "send_seconds",
        "STRONGHOLD_SEND_SECONDS",
        _between(1, 3600),
        "30",
        "A client that takes nothing for so long is cut off",
    ),
    _field(
        "idle_seconds",
        "STRONGHOLD_IDLE_SECONDS",
        _between(1, 3600),
        "30",
        "A connection without a request is closed after this",
    ),
    _field("max_batch", "STRONGHOLD_MAX_BATCH", _between(1, 10_000), "256", "Most writes that share one disk flush"),
    _field(
        "log_level",
        "STRONGHOLD_LOG_LEVEL",
        _log_level,
        "info",
        "`debug` (every request), `info` (requests that write, are refused or fail), `warning` or `error`",
    ),
)


def load_settings(environment: Mapping[str, str]) -> Settings:
    """The settings of this environment; ``UsageError`` says which variable is wrong and what to do."""
    _refuse_unknown_variables(environment)
    members, origin = _config_file(environment)
    given = {field.name: _value(field, environment, members, origin) for field in FIELDS}
    return _complete(given)


def settings_table() -> str:
    """The table of all settings for the documentation."""
    rows = ["| variable | in the file | default | meaning |", "|---|---|---|---|"]
    for field in FIELDS:
        variable = f"`{field.variable}`" + (f", `{field.file_variable}`" if field.file_variable else "")
        default = f"`{field.default}`" if field.default else "–"
        rows.append(f"| {variable} | `{field.name}` | {default} | {field.meaning} |")
    return "\n".join(rows)


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    known = {CONFIG_VARIABLE, *CLIENT_VARIABLES}
    known.update(name for field in FIELDS for name in (field.variable, field.file_variable) if name)
    for name in sorted(environment):
        if name.startswith(_PREFIX) and name not in known and not _KUBERNETES.fullmatch(name):
            raise UsageError(
                f"{name} is not a setting of the server",
                hint="Take it out of the environment; docs/server.md lists all settings.",
            )


def _config_file(environment: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """The members of the TOML file, and its path; an unknown member is an error."""
    path = environment.get(CONFIG_VARIABLE, "")
    if not path:
        return {}, ""
    try:
        members = tomllib.loads(_read(path, _MAX_CONFIG))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the file {path} of {CONFIG_VARIABLE} is not TOML: {error}") from error
    except _Fault as fault:
        raise UsageError(f"{CONFIG_VARIABLE} {fault}") from fault
    unknown = members.keys() - {field.name for field in FIELDS}
    if unknown:
        raise UsageError(
            f"{min(unknown)} in the file {path} is not a setting of the server", hint="docs/server.md lists all settings."
        )
    return members, path


def _value(field: Field, environment: Mapping[str, str], members: dict[str, Any], origin: str) -> Any:
    """The value of one setting, or None where it is not given and has no default of its own."""
    source = field.variable
    try:
        text = environment.get(field.variable)
        if field.file_variable and field.file_variable in environment:
            if text is not None:
                raise _Fault(f"and {field.file_variable} are both given: keep one of them")
            source = field.file_variable
            text = _read(environment[source], _MAX_SECRET).strip()
        elif text is None and field.name in members:
            source = f"{field.name} in the file {origin}"
            text = _toml_text(members[field.name])
        if text is None:
            text = field.default or None
        return None if text is None else field.read(text)
    except _Fault as fault:
        raise UsageError(f"{source} {fault}") from fault


def _toml_text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    if isinstance(value, (str, int)):
        return str(value)
    raise _Fault("must be a text, a whole number, true or false, or a list of texts")


def _read(path: str, limit: int) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise _Fault(f"names the file {path}, which cannot be read: {error.strerror}") from error
    try:
        if len(content) > limit:
            raise _Fault(f"names the file {path}, which has more than {limit} bytes")
        return content.decode()
    except UnicodeDecodeError as error:
        raise _Fault(f"names the file {path}, which is not UTF-8") from error


def _complete(given: dict[str, Any]) -> Settings:
    """Fill in the defaults that depend on others, and check what belongs together."""
    if bool(given["tls_certificate"]) != bool(given["tls_key"]):
        raise UsageError("STRONGHOLD_TLS_CERTIFICATE and STRONGHOLD_TLS_KEY belong together", hint="Give both, or neither.")
    plain_http = not given["tls_certificate"]
    host, port = given["listen_host"], given["listen_port"]
    if plain_http and not given["allow_http"] and not _is_loopback_host(host):
        raise UsageError(
            f"STRONGHOLD_LISTEN_HOST is {host}, which others can reach, but there is no certificate",
            hint="Set STRONGHOLD_TLS_CERTIFICATE and STRONGHOLD_TLS_KEY; behind a proxy: STRONGHOLD_SERVER_ALLOW_HTTP=1.",
        )
    if given["max_commit_bytes"] > given["max_memory_bytes"]:
        raise UsageError("STRONGHOLD_MAX_COMMIT_BYTES is above STRONGHOLD_MAX_MEMORY_BYTES", hint="Raise the second.")
    given["authorities"] = given["authorities"] or _default_authorities(host, port, plain_http)
    for authority in given["authorities"]:
        # Behind a proxy that ends TLS, clients see https although the server speaks http: both default ports are left out.
        fault = address_fault(authority, plain_http) or address_fault(authority, plain_http=False)
        if fault:
            raise UsageError(
                f"STRONGHOLD_AUTHORITIES holds {authority!r}, which {fault}",
                hint="Write host[:port][/base/path] in lower case, as clients reach the server, without the default port.",
            )
    given["data_dir"] = given["data_dir"] or _default_folder()
    texts = {name: given[name] or "" for name in ("tls_certificate", "tls_key", "setup_code")}
    return Settings(**{**given, **texts})


def _is_loopback_host(host: str) -> bool:
    return is_loopback(f"[{host}]" if ":" in host else host)


def _default_authorities(host: str, port: int, plain_http: bool) -> tuple[str, ...]:
    """The listen address (unless it stands for all addresses), localhost and 127.0.0.1, without a default port."""
    suffix = "" if port == (80 if plain_http else 443) else f":{port}"
    hosts = ["localhost", "127.0.0.1"]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        hosts.insert(0, host.lower())
    else:
        if not address.is_unspecified:
            hosts.insert(0, f"[{address}]" if address.version == 6 else str(address))
    return tuple(dict.fromkeys(name + suffix for name in hosts))


def _default_folder() -> str:
    import platformdirs

    return platformdirs.user_data_dir("stronghold-server", appauthor=False)
