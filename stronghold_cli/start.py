"""From the words of a command line to the command: the quick way for the few hot commands, Typer for everything else.

``--quiet``, ``--json`` and ``--debug`` may stand anywhere before ``--``. A hot command whose line is perfectly plain is
called without Typer (docs/decisions/hot-commands.md).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module

from stronghold_cli.commands.declared import Command
from stronghold_cli.commands.plain_words import Value, find_command, read_options
from stronghold_cli.output import configure, guard
from stronghold_cli.process.hardening import forbid_core_dumps

GLOBAL_FLAGS = {"--quiet": "--quiet", "-q": "--quiet", "--json": "--json", "--debug": "--debug"}
# What a shell sets, by the name of the program, when it asks what can stand at the cursor.
COMPLETE_VARIABLES = ("_STRONGHOLD_COMPLETE", "_API_STRONGHOLD_CLI_COMPLETE")


def run(arguments: list[str]) -> int:
    """Carry out one command line and return the exit code of the process."""
    if any(variable in os.environ for variable in COMPLETE_VARIABLES):
        from stronghold_cli.main import complete

        return complete()
    arguments = with_global_flags_first(arguments)
    configure(quiet="--quiet" in arguments, json="--json" in arguments, debug="--debug" in arguments)
    forbid_core_dumps()
    return guard(lambda: _carry_out(arguments))


def with_global_flags_first(arguments: list[str]) -> list[str]:
    """Move the flags that every command takes to the front; what stands after ``--`` belongs to somebody else.

    The words of ``run CMD …`` are the child's from the first one on that is no option of ours, so nothing is moved there.
    """
    if _is_run(arguments):
        return arguments
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [GLOBAL_FLAGS[word] for word in arguments[:end] if word in GLOBAL_FLAGS]
    return [*dict.fromkeys(flags), *(word for word in arguments[:end] if word not in GLOBAL_FLAGS), *arguments[end:]]


def recognise(arguments: Sequence[str]) -> tuple[set[str], Command, dict[str, Value]] | None:
    """The global flags, the hot command and its keyword arguments, where the line is plain; global flags come first."""
    flags: set[str] = set()
    for number, word in enumerate(arguments):
        if word not in GLOBAL_FLAGS:
            command = find_command(arguments[number:])
            if command is None:
                return None
            values = read_options(command, arguments[number + len(command.words) :])
            return None if values is None else (flags, command, values)
        flags.add(GLOBAL_FLAGS[word])
    return None


def _carry_out(arguments: list[str]) -> int:
    found = recognise(arguments)
    if found is None:
        from stronghold_cli.main import invoke

        return invoke(arguments)
    flags, command, values = found
    configure(quiet="--quiet" in flags, json="--json" in flags, debug="--debug" in flags)
    getattr(import_module(f"stronghold_cli.commands.{command.module}"), command.function)(**values)
    return 0


def _is_run(arguments: list[str]) -> bool:
    words = [word for word in arguments if not word.startswith("-")]
    return words[:1] == ["run"] or words[:2] == ["env", "run"]
