"""The table of the server's settings: names, variables, how each text is read, and what each is for.

``settings`` makes the ``Settings`` of an environment from it, and ``docs/server.md`` its table.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, Final

from stronghold_cli.protocol.record import Record

_MIB: Final = 1 << 20
_LOG_LEVELS: Final = ("debug", "info", "warning", "error")


class Fault(Exception):
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
        raise Fault("must be a printable text that is not empty")
    return text


def _path(text: str) -> str:
    return os.path.abspath(os.path.expanduser(_text(text)))


def _readable_file(text: str) -> str:
    path = _path(text)
    if not os.access(path, os.R_OK) or not os.path.isfile(path):
        raise Fault(f"names the file {path}, which cannot be read: give a PEM file that the server's user may read")
    return path


def _boolean(text: str) -> bool:
    values = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in values:
        raise Fault("must be 1 (yes) or 0 (no)")
    return values[text.lower()]


def _between(lowest: int, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) or not lowest <= (value := int(text)) <= highest:
            raise Fault(f"must be a whole number from {lowest} to {highest}")
        return value

    return read


def _authorities(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(re.split(r"[\s,]+", text.strip(" ,")))) if text.strip(" ,") else ()


def _setup_code(text: str) -> str:
    if not re.fullmatch(r"[!-~]{20,200}", text):
        raise Fault("must have 20 to 200 characters without blanks: take a random one")
    return text


def _log_level(text: str) -> str:
    if text.lower() not in _LOG_LEVELS:
        raise Fault(f"must be one of {', '.join(_LOG_LEVELS)}")
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
    _field(
        "max_page_bytes",
        "STRONGHOLD_MAX_PAGE_BYTES",
        _between(65536, 16 * _MIB),
        str(4 * _MIB),
        "An answer that lists the past (of the org, of secrets) ends after the entry with which it holds so many bytes; the "
        "client asks for the next page",
    ),
    _field(
        "max_kept_bytes",
        "STRONGHOLD_MAX_KEPT_BYTES",
        _between(_MIB, 65536 * _MIB),
        str(1024 * _MIB),
        "Most bytes of ciphertext that a profile may keep, all versions of its secrets together",
    ),
    _field(
        "max_kept_versions",
        "STRONGHOLD_MAX_KEPT_VERSIONS",
        _between(100, 10_000_000),
        "200000",
        "Most versions of secrets that a profile may keep",
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
