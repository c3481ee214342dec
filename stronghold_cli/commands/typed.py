"""Typer's view of what ``declared`` declares: options for signatures, and whole commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer

from stronghold_cli.commands.declared import FLAG, MANY, PROFILE, TEXT, TOKEN, TOKEN_FILE, WORDS, Command, Option

_TYPES: dict[str, Any] = {TEXT: str | None, FLAG: bool, MANY: list[str] | None, WORDS: list[str]}


def option(declared: Option) -> Any:
    """What Typer is told about an option, or about the words that are left."""
    if declared.kind == WORDS:
        return typer.Argument(metavar=declared.metavar, help=declared.help)
    return typer.Option(*declared.names, metavar=declared.metavar, help=declared.help)


TokenOption = Annotated[str | None, option(TOKEN)]
TokenFileOption = Annotated[str | None, option(TOKEN_FILE)]
ProfileOption = Annotated[str | None, option(PROFILE)]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Agree to what would be asked.")]
PassphraseFileOption = Annotated[
    str | None, typer.Option("--passphrase-file", metavar="FILE", help="A file that holds the passphrase, on one line.")
]


def typed(command: Command) -> Callable[..., None]:
    """A function with the signature that Typer reads, made from the declaration; it calls the command's own function."""
    module = import_module(f"stronghold_cli.commands.{command.module}")

    def call(**values: Any) -> None:
        getattr(module, command.function)(**values)

    parameters = [_parameter(declared) for declared in command.options]
    call.__name__ = command.function
    call.__doc__ = getattr(module, command.function).__doc__
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what inspect.signature then gives
    return call


def add_hot_command(app: typer.Typer, command: Command, **settings: Any) -> None:
    """Register a declared command under the last of its words."""
    context_settings = {"allow_interspersed_args": False} if command.takes_words else None
    app.command(command.words[-1], context_settings=context_settings, **settings)(typed(command))


def _parameter(declared: Option) -> inspect.Parameter:
    annotated: Any = Annotated  # made from values here, which no type checker can follow
    defaults: dict[str, Any] = {FLAG: False, WORDS: inspect.Parameter.empty}
    return inspect.Parameter(
        declared.keyword,
        inspect.Parameter.KEYWORD_ONLY,
        default=defaults.get(declared.kind),
        annotation=annotated[_TYPES[declared.kind], option(declared)],
    )
