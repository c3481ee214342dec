"""Starts the server: ``python -m stronghold_server [serve|setup-code] [--data-dir D] [--host H] [--port N] [--config F]``.

``serve`` (the default) opens the data folder, prints the setup code of a first start and the address for tokens, and serves
until it is told to stop (SIGTERM, Ctrl-C), when it ends the requests that it has begun. ``--port 0`` takes a free port.
``setup-code`` makes a code for one further org, also while the server runs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator, Sequence
from typing import Final, TextIO

import uvicorn

from stronghold_cli.protocol.errors import LocalFileError, StrongholdError, UsageError
from stronghold_server.app import create_app
from stronghold_server.folder import DATABASE_FILE, DataFolder
from stronghold_server.guard import Limits, guarded
from stronghold_server.logging_format import configure_logging
from stronghold_server.settings import CONFIG_VARIABLE, Settings, load_settings
from stronghold_server.setup import first_setup_code, new_setup_code
from stronghold_server.store.interface import StorageFailed
from stronghold_server.store.sqlite import SqliteStore

_BACKLOG: Final = 2048
_GRACE_SECONDS: Final = 10
_LOGGER: Final = logging.getLogger("stronghold")
_OPTIONS: Final = {
    "data_dir": "STRONGHOLD_DATA_DIR",
    "host": "STRONGHOLD_LISTEN_HOST",
    "port": "STRONGHOLD_LISTEN_PORT",
    "config": CONFIG_VARIABLE,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one action; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.action == "setup-code":
            return _make_setup_code(options)
        return _serve(options)
    except StrongholdError as error:
        _say("\n".join(filter(None, (f"{error.message[:1].upper()}{error.message[1:]}", error.hint))), sys.stderr)
        return 9 if isinstance(error, LocalFileError) else 2 if isinstance(error, UsageError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stronghold_server", description="The Stronghold server.")
    parser.add_argument("action", nargs="?", choices=("serve", "setup-code"), default="serve")
    parser.add_argument("--data-dir", help="folder of the database and the keys of the server")
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", help="port to listen on (8321); 0 takes a free one")
    parser.add_argument("--config", help="TOML file with settings")
    return parser


def _settings(options: argparse.Namespace, listener_port: int | None) -> Settings:
    """The settings of the environment, with what the command line says on top."""
    environment = dict(os.environ)
    for name, variable in _OPTIONS.items():
        value = getattr(options, name)
        if value is not None:
            environment[variable] = value
    if listener_port is not None:
        environment["STRONGHOLD_LISTEN_PORT"] = str(listener_port)
    return load_settings(environment)


def _make_setup_code(options: argparse.Namespace) -> int:
    settings = _settings(options, None if options.port != "0" else 8321)
    os.makedirs(settings.data_dir, mode=0o700, exist_ok=True)
    store = SqliteStore(os.path.join(settings.data_dir, DATABASE_FILE), now=int(time.time()))
    try:
        _say(new_setup_code(store, os.urandom, int(time.time())))
    finally:
        store.close()
    return 0


def _serve(options: argparse.Namespace) -> int:
    free = _free_listener(options) if options.port == "0" else None
    settings = _settings(options, None if free is None else free.getsockname()[1])
    configure_logging(settings.log_level)
    folder = DataFolder(settings.data_dir)
    try:
        return _Process(settings, folder, free or _listener(settings.listen_host, settings.listen_port)).run()
    finally:
        folder.close()


class _Process:
    """One server process on an open, locked folder."""

    def __init__(self, settings: Settings, folder: DataFolder, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._failed = False
        self._server: uvicorn.Server | None = None
        self._store = SqliteStore(
            folder.file(DATABASE_FILE), now=int(time.time()), on_failure=self._on_failure, max_batch=settings.max_batch
        )
        self._application = create_app(self._store, settings, folder.log_key(os.urandom))

    def run(self) -> int:
        """Serve until told to stop; 0, or 1 where the storage failed."""
        settings = self._settings
        try:
            code = first_setup_code(self._store, settings.data_dir, settings.setup_code, os.urandom, int(time.time()))
            self._server = _Announcing(self._config(), lambda: self._announce(code))
            # The loop is for whoever runs the server to make: uvicorn's ``serve`` takes the one that runs.
            with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
                runner.run(self._server.serve(sockets=[self._listener]))
        finally:
            self._store.close()
        return 1 if self._failed else 0

    def _config(self) -> uvicorn.Config:
        settings = self._settings
        return uvicorn.Config(
            self._application,
            http=guarded(_limits(settings), self._application.quick),
            ws="none",
            loop="auto",  # uvloop, where the system has it
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=True,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            backlog=_BACKLOG,
            ssl_certfile=settings.tls_certificate or None,
            ssl_keyfile=settings.tls_key or None,
        )

    def _announce(self, code: str | None) -> None:
        settings = self._settings
        if code is not None:
            _say(f"setup code for the first org: {code}")
        scheme = "http" if settings.plain_http else "https"
        _say(f"address for tokens: {settings.authorities[0]}")
        host = f"[{settings.listen_host}]" if ":" in settings.listen_host else settings.listen_host
        _say(f"listening on {scheme}://{host}:{self._listener.getsockname()[1]}")

    def _on_failure(self, failure: StorageFailed) -> None:
        """The storage can no longer be trusted: end, so that a restart reads back what is really there."""
        self._failed = True
        _LOGGER.critical(
            "the storage failed: nothing more is written, and the server ends; look at the disk and start it again",
            exc_info=failure.__cause__,
            extra={"event": "storage"},
        )
        if self._server is not None:
            self._server.should_exit = True


class _Announcing(uvicorn.Server):
    """Says where it listens once it does."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """End gracefully on SIGTERM and SIGINT, and with exit code 0: uvicorn's own would raise the signal again."""
        former = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._announce()


def _limits(settings: Settings) -> Limits:
    return Limits(**{name: getattr(settings, name) for name in Limits.members})


def _say(line: str, stream: TextIO | None = None) -> None:
    (stream or sys.stdout).write(f"{line}\n")
    (stream or sys.stdout).flush()


def _free_listener(options: argparse.Namespace) -> socket.socket:
    return _listener(options.host or os.environ.get(_OPTIONS["host"]) or "127.0.0.1", 0)


def _listener(host: str, port: int) -> socket.socket:
    """A listening socket; ``LocalFileError`` where the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.set_inheritable(True)
    except OSError as error:
        raise LocalFileError(
            f"the address {host}:{port} cannot be listened on: {error.strerror or error}",
            hint="Choose another one with --host and --port, or stop the program that has it.",
        ) from error
    return listener


if __name__ == "__main__":
    sys.exit(main())
