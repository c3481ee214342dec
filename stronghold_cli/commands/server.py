"""``server``: becomes the server process. The client never imports the server: it starts ``python -m stronghold_server``."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from stronghold_cli.protocol.errors import StrongholdError

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

INSTALL = "pip install 'stronghold-cli[server]'"
# What the extra brings, by the names under which it is imported; the server itself lies in the same distribution.
_NEEDED = ("stronghold_server", "apsw", "httptools", "starlette", "uvicorn")

DataDirOption = Annotated[
    str | None, typer.Option("--data-dir", metavar="FOLDER", help="The server's folder; default: in your data folder.")
]
ConfigOption = Annotated[str | None, typer.Option("--config", metavar="FILE", help="A TOML file with settings.")]


@app.command()
def start(
    data_dir: DataDirOption = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on; default 127.0.0.1.")] = None,
    port: Annotated[str | None, typer.Option("--port", help="Port to listen on; default 8321; 0 takes a free one.")] = None,
    config: ConfigOption = None,
) -> None:
    """Run a server in one folder, until Ctrl-C. Its first start prints a setup code, which init finds by itself.

    Example: stronghold server start
    """
    become_server("serve", {"--data-dir": data_dir, "--host": host, "--port": port, "--config": config})


@app.command("setup-code")
def setup_code(data_dir: DataDirOption = None, config: ConfigOption = None) -> None:
    """Make a setup code, good for one further org; the server may be running.

    Example: stronghold server setup-code
    """
    become_server("setup-code", {"--data-dir": data_dir, "--config": config})


def server_command(action: str) -> list[str]:
    """The words that start the server; ``StrongholdError`` with the install line where it is not installed.

    ``-P``: a folder that somebody else filled, and in which the command was typed, is not searched for modules.
    """
    from importlib.util import find_spec

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise StrongholdError(f"The server is not installed here ({', '.join(missing)}).", hint=f"Run: {INSTALL}")
    return [sys.executable, "-P", "-m", "stronghold_server", action]


def become_server(action: str, options: dict[str, str | None]) -> None:
    """Take this process's place with the server's."""
    words = server_command(action)
    for name, value in options.items():
        if value is not None:
            words += [f"{name}={value}"]
    sys.stdout.flush()
    os.execv(words[0], words)  # noqa: S606  (no shell: the words are ours)
