"""Reads the plain command lines of the hot commands, strictly, into the keyword arguments that Typer would find.

Whatever is not perfectly plain (an option that is not declared, is repeated or lacks its value, short options in one word,
a request for help, a stray word) is nobody's business here: the answer is ``None``, and Typer reads the line, with its own
words for what is wrong. tests/unit/test_hot_commands.py holds the two ways against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from stronghold_cli.commands.declared import FLAG, HOT_COMMANDS, MANY, TEXT, WORDS, Command

Value: TypeAlias = str | bool | list[str] | None


def find_command(words: Sequence[str]) -> Command | None:
    """The hot command that ``words`` begin with."""
    return next((command for command in HOT_COMMANDS if tuple(words[: len(command.words)]) == command.words), None)


def read_options(command: Command, words: Sequence[str]) -> dict[str, Value] | None:
    """The keyword arguments of ``command`` for the ``words`` after its name, or ``None`` where they are not plain."""
    by_name = {name: option for option in command.options for name in option.names}
    values: dict[str, Value] = {option.keyword: False if option.kind == FLAG else None for option in command.options}
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "--":
        name, equals, value = rest.pop(0).partition("=")
        option = by_name.get(name)
        if option is None or (equals and not name.startswith("--")):
            return None
        if option.kind == FLAG:
            if equals:
                return None
            values[option.keyword] = True
            continue
        if not equals:
            if not rest or (rest[0].startswith("-") and rest[0] != "-"):
                return None
            value = rest.pop(0)
        known = values[option.keyword]
        if option.kind == TEXT and known is None:
            values[option.keyword] = value
        elif option.kind == MANY:
            values[option.keyword] = [*known, value] if isinstance(known, list) else [value]
        else:
            return None
    if not command.takes_words:
        return None if rest else values
    if rest[:1] == ["--"]:
        del rest[0]
    if not rest:
        return None
    values[next(option.keyword for option in command.options if option.kind == WORDS)] = rest
    return values
