"""``run``: the process replaces itself by a command that has the secrets in its environment.

The command gets exactly the words that were given, through no shell, and its exit code and signals are its own, since it
takes this process' place. It inherits the environment but for our own token variables; names that would change what it
runs are refused (rule R17).
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from stronghold_cli.process.dangerous import danger
from stronghold_cli.protocol.errors import LocalFileError, Unwritable, UsageError
from stronghold_cli.protocol.names import require_secret_name

OWN_VARIABLES = ("STRONGHOLD_TOKEN", "STRONGHOLD_TOKEN_FILE", "API_STRONGHOLD_TOKEN", "STRONGHOLD_SESSION")
COMMAND_NOT_FOUND = "COMMAND_NOT_FOUND"
COMMAND_NOT_EXECUTABLE = "COMMAND_NOT_EXECUTABLE"
_PAGES_PER_VARIABLE = 32  # MAX_ARG_STRLEN of Linux: "NAME=value" and its zero byte
_WAY_OUT = "Leave it out with --exclude, or have the program read it from a file."
_REASONS = {
    "loader": "it changes what is loaded into every program",
    "interpreter": "it can make a shell or an interpreter run something else",
    "command": "it can hold a command that a program runs",
    "trust": "it changes which certificates are believed",
    "own": "it belongs to this program",
}


def child_environment(
    secrets: Mapping[str, bytes], inherited: Mapping[bytes, bytes], allowed: Collection[str] = ()
) -> dict[bytes, bytes]:
    """The environment of a command: what is inherited without our own tokens, and the secrets over it.

    ``allowed`` are dangerous names that the person running has allowed. Raises ``UsageError`` for a name that is dangerous
    or no legal name, ``Unwritable`` for a value that an environment cannot carry. Nothing has been started then.
    """
    own = {name.encode() for name in OWN_VARIABLES}
    environment = {name: value for name, value in inherited.items() if name not in own}
    longest = _longest_variable()
    for name, value in secrets.items():
        require_safe_name(name, allowed)
        _check_value(name, value, longest)
        environment[name.encode("ascii")] = value
    return environment


def execute(
    argv: Sequence[str], environment: Mapping[bytes, bytes], *, before: Callable[[], None] | None = None
) -> NoReturn:
    """Replace this process by ``argv``, looked up in the ``PATH`` of ``environment``; returns only by an error.

    ``before`` runs last (limits that the child shall not inherit are put back there). Raises ``LocalFileError`` with the
    code ``COMMAND_NOT_FOUND`` (exit 127) or ``COMMAND_NOT_EXECUTABLE`` (126), ``Unwritable`` where all of it is too large.
    """
    if not argv or not argv[0]:
        raise UsageError("There is no command to run.", hint="Write it after two dashes: stronghold run -- COMMAND")
    sys.stdout.flush()
    sys.stderr.flush()
    if before is not None:
        before()
    ignored = _restore_signals()
    try:
        os.execvpe(argv[0], list(argv), dict(environment))  # noqa: S606  (what this function is for)
    except ValueError as error:
        raise UsageError("A word of the command holds a zero byte.", hint="Take it out.") from error
    except OSError as error:
        raise _exec_error(argv[0], error) from error
    finally:
        # Only reached where the command was not started.
        for each in ignored:
            signal.signal(each, signal.SIG_IGN)


def require_safe_name(name: str, allowed: Collection[str], *, any_case: bool = False) -> None:
    """Raise ``UsageError`` for a name that is not legal, or is dangerous to a process and not ``allowed`` (rule R17).

    ``any_case``: the process may run on Windows, as it does where this program does. Allowed is a name as it stands.
    """
    require_secret_name(name)
    kind = danger(name, any_case=any_case or sys.platform == "win32")
    if kind and name not in allowed:
        raise UsageError(
            f"The profile sets {name}, which is refused for a command: {_REASONS[kind]}.",
            hint=f"If you trust whoever writes the profile that far: --allow-name {name}",
        )


def _check_value(name: str, value: bytes, longest: int | None) -> None:
    if 0 in value:
        raise Unwritable(f"The value of {name} holds a zero byte, which no environment variable can.", hint=_WAY_OUT)
    size = len(name) + len(value) + 2
    if longest is not None and size > longest:
        raise Unwritable(
            f"The value of {name} has {len(value)} bytes: Linux takes no variable over {longest >> 10} KiB, name included.",
            hint=_WAY_OUT,
        )


def _longest_variable() -> int | None:
    """Bytes of ``NAME=value`` and its zero byte that the system takes; ``None`` where no single one is limited."""
    return _PAGES_PER_VARIABLE * os.sysconf("SC_PAGESIZE") if sys.platform.startswith("linux") else None


def _restore_signals() -> list[int]:
    """Python ignores signals that other programs expect to end them, and an ignored signal is inherited by a command."""
    names = ("SIGPIPE", "SIGXFSZ")
    ignored = [each for name in names if (each := getattr(signal, name, None)) and signal.getsignal(each) == signal.SIG_IGN]
    for each in ignored:
        with suppress(OSError, ValueError):
            signal.signal(each, signal.SIG_DFL)
    return ignored


def _exec_error(command: str, error: OSError) -> LocalFileError | Unwritable:
    if error.errno == errno.E2BIG:
        return Unwritable(
            "The command's environment and words are too large for this system, taken together.",
            hint="Give the command fewer secrets with --only or --exclude.",
        )
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        if os.path.sep in command and os.path.exists(command):
            sentence, hint = f"The interpreter of {command} does not exist.", "Correct the first line of that script."
        else:
            sentence, hint = f"The command {command} was not found.", "Check its spelling and PATH."
        return LocalFileError(sentence, hint=hint, code=COMMAND_NOT_FOUND)
    hint = "Begin the script with a line like #!/bin/sh." if error.errno == errno.ENOEXEC else "Check its permissions."
    return LocalFileError(f"The command {command} cannot be run: {error.strerror}.", hint=hint, code=COMMAND_NOT_EXECUTABLE)
