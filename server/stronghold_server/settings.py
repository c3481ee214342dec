"""The server's settings: one frozen class, from ``STRONGHOLD_…`` variables and an optional TOML file.

A variable wins over the file. Nothing is taken by accident: a variable or member that is not known is an error, and so is a
value that cannot be meant; each error is a ``UsageError`` that names the variable and the remedy. The table in
``docs/server.md`` is ``settings_table()``.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from stronghold_cli.protocol.errors import UsageError
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.token import address_fault, is_loopback
from stronghold_server.settings_fields import FIELDS, Fault, Field

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
    max_page_bytes: int
    max_kept_bytes: int
    max_kept_versions: int
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
    except Fault as fault:
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
                raise Fault(f"and {field.file_variable} are both given: keep one of them")
            source = field.file_variable
            text = _read(environment[source], _MAX_SECRET).strip()
        elif text is None and field.name in members:
            source = f"{field.name} in the file {origin}"
            text = _toml_text(members[field.name])
        if text is None:
            text = field.default or None
        return None if text is None else field.read(text)
    except Fault as fault:
        raise UsageError(f"{source} {fault}") from fault


def _toml_text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    if isinstance(value, (str, int)):
        return str(value)
    raise Fault("must be a text, a whole number, true or false, or a list of texts")


def _read(path: str, limit: int) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise Fault(f"names the file {path}, which cannot be read: {error.strerror}") from error
    try:
        if len(content) > limit:
            raise Fault(f"names the file {path}, which has more than {limit} bytes")
        return content.decode()
    except UnicodeDecodeError as error:
        raise Fault(f"names the file {path}, which is not UTF-8") from error


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
