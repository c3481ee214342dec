"""The app: which command lives in which module, and the options that every command takes.

A command's module is imported only when that command is called, and completes or shows its own help; the top-level help
comes from the table here. ``start`` comes before: it moves the options that every command takes to the front.

Shells complete by calling the program with ``_<PROGRAM>_COMPLETE`` and the words so far in the environment; the scripts that
do so, and the protocol, are Typer's.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from typing import Annotated

import typer

from stronghold_cli.output import ExitCode, configure, emit, say
from stronghold_cli.protocol.errors import UsageError
from stronghold_cli.version import PROTOCOL_VERSION, VERSION

# Name of the command or group → (module, attribute, summary). An attribute `app` is a group, anything else one command.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "init": ("setup", "init", "Set up an org: keys, own name and passphrase; both kits are shown once."),
    "auth": ("auth", "app", "Log in, unlock, lock; store an agent's token."),
    "context": ("context", "app", "The orgs known on this machine."),
    "org": ("org", "app", "Create and show orgs."),
    "profile": ("profile", "app", "Named sets of secrets."),
    "secret": ("secret", "app", "Single secrets of a profile."),
    "env": ("env", "app", "Pull, push, compare and run with all secrets of a profile."),
    "run": ("env", "run", "Run a command with a profile's secrets in its environment."),
    "group": ("group", "app", "Who may read which profiles."),
    "agent": ("agent", "app", "Non-human actors: CI jobs, scripts, bots."),
    "access": ("access", "app", "Who reaches what, and why."),
    "token": ("token", "app", "The credentials of agents."),
    "lockdown": ("lockdown", "app", "Stop agents at once, and wake them again."),
    "audit": ("audit", "app", "The log of everything that was asked."),
    "doctor": ("doctor", "doctor", "Check this machine, the server, and every sealed key."),
    "server": ("server", "app", "Run a server."),
    "demo": ("demo", "demo", "Show the main job on a server of its own."),
    "whoami": ("auth", "status", "Who is acting, and from where (the same as: auth status)."),
}
PROGRAMS = ("stronghold", "api-stronghold-cli")
SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
COMPLETION_FLAGS = ("--install-completion", "--show-completion")
FIRST_STEPS = """\
stronghold keeps secrets in profiles; agents pull them with a token. First steps:
  stronghold server start                              run a server (one folder, nothing else to set up)
  stronghold init                                      in another terminal: make an org
  stronghold env push .env --profile production        put a .env into a profile
  stronghold agent create "CI" --profile production    make an agent and its token
  STRONGHOLD_TOKEN=shat_… stronghold env pull -o .env  pull, anywhere (all commands: stronghold --help)"""


def complete() -> int:
    """Print what can stand at the cursor, for a shell; on any trouble nothing: the person is in the middle of a line."""
    words = os.environ.get("COMP_WORDS", "") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    wanted = next((word for word in words.split() if word in COMMANDS), "")
    sys.modules["rich"] = None  # type: ignore[assignment]  # Typer would load it, to strip markup that our texts do not have
    with suppress(Exception):
        typer.main.get_command(build_app(wanted, completion=True)).main([], prog_name=_program())
    return ExitCode.FAILED


def build_app(wanted: str | None, *, completion: bool = False) -> typer.Typer:
    """The app with the module of the command ``wanted`` loaded; ``None`` loads every command.

    ``completion`` adds the options that install and show the completion of shells.
    """
    app = typer.Typer(
        name="stronghold",
        help="A zero-knowledge secrets manager: operators keep secrets in profiles, agents pull them with a token.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=completion,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback(invoke_without_command=True)(_root)
    for name, (module, attribute, summary) in COMMANDS.items():
        if wanted in (None, name):
            _add_loaded(app, name, module, attribute, summary)
        elif attribute == "app":
            app.add_typer(typer.Typer(rich_markup_mode=None), name=name, help=summary)
        else:
            app.command(name, help=summary)(_nothing)
    return app


def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print program and protocol version.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print data and errors only.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print listings, and errors, as JSON.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="With an error, print the chain of its causes.")] = False,
) -> None:
    configure(quiet=quiet, json=json, debug=debug)
    if version:
        emit(f"stronghold {VERSION} (protocol {PROTOCOL_VERSION})")
        raise typer.Exit
    if context.invoked_subcommand is None:
        say(FIRST_STEPS)


def _nothing() -> None:
    """Stands in the top-level help for a command whose module is not loaded."""


def _add_loaded(app: typer.Typer, name: str, module: str, attribute: str, summary: str) -> None:
    loaded = getattr(import_module(f"stronghold_cli.commands.{module}"), attribute)
    if attribute == "app":
        app.add_typer(loaded, name=name, help=summary)
    else:
        settings = {"allow_interspersed_args": False} if name == "run" else None
        app.command(name, context_settings=settings)(loaded)


def invoke(arguments: list[str]) -> int:
    """Have Typer read one command line, global flags first, and carry it out; returns the exit code."""
    wanted = next((word for word in arguments if word in COMMANDS), "")
    _name_shell(arguments)
    try:
        # Not by Typer's own `main`, which takes a KeyboardInterrupt for an exit code and so leaves nothing to tell.
        command = typer.main.get_command(build_app(wanted, completion=not wanted))
        with command.make_context(_program(), list(arguments)) as context:
            result = command.invoke(context)
    except typer.Exit as end:
        return int(end.exit_code)
    except typer.Abort as error:
        raise KeyboardInterrupt(*getattr(error.__cause__, "args", ())) from error
    except typer.exceptions.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # a group without a command: its message is the whole help
            say(str(error))
            return ExitCode.USAGE
        raise _usage_error(error) from error
    return result if isinstance(result, int) else 0


def _program() -> str:
    """The name that was called; ``python -m stronghold_cli`` counts as the first."""
    name = os.path.basename(sys.argv[0])
    return name if name in PROGRAMS else PROGRAMS[0]


def _name_shell(arguments: list[str]) -> None:
    """Let a shell's name follow ``--install-completion`` and ``--show-completion``; without one Typer looks which it is.

    Typer knows one form at a time, and chooses by this variable.
    """
    for flag, word in pairwise(arguments):
        if flag in COMPLETION_FLAGS and word in SHELLS:
            os.environ["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"


def _usage_error(error: Exception) -> UsageError:
    """Typer's complaint about the words of a command, as one of our own errors."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "stronghold"
    message = getattr(error, "format_message", lambda: str(error))()
    return UsageError(str(message), hint=f"See: {path} --help")
