"""Both ways of reading a hot command's words give the same: Typer's, and the strict one that needs no Typer."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stronghold_cli import main, output
from stronghold_cli.commands.declared import (
    API_USER,
    ENV_RUN,
    FLAG,
    HOT_COMMANDS,
    MANY,
    PULL,
    RUN,
    TEXT,
    WORDS,
    Command,
    Option,
)
from stronghold_cli.output import OutputSettings, configure, settings
from stronghold_cli.protocol.errors import StrongholdError
from stronghold_cli.start import recognise, with_global_flags_first

Called = tuple[Command, dict[str, Any], OutputSettings]

GLOBAL_WORDS = ("--quiet", "-q", "--json", "--debug")
# Words that either way of reading could trip over.
AWKWARD = ("", "-", "--", "---", "-x", "--help", "-h", "--tok", "--token", "--token=", "--force=1", "-pX", "-p=X", "-qp",
           "a=b", "run", "env", "pull", "auth", "--version", "ä", "--ö", " --force", "\udcff", "--profile\n")  # fmt: skip


@contextmanager
def recorded() -> Iterator[list[Called]]:
    """Every hot command notes what it is called with, and how the program would print, instead of doing anything."""
    calls: list[Called] = []
    with pytest.MonkeyPatch.context() as patch:
        for command in HOT_COMMANDS:
            module = import_module(f"stronghold_cli.commands.{command.module}")

            def note(_command: Command = command, **values: Any) -> None:
                calls.append((_command.replace(words=()), values, settings()))

            patch.setattr(module, command.function, note)
        patch.setattr(output, "_current", OutputSettings())
        yield calls


def by_typer(line: list[str]) -> Called | None:
    """What Typer makes of a line; ``None`` where it carries out no hot command."""
    with recorded() as calls:
        try:
            main.invoke(line)
        except StrongholdError:
            return None
    return calls[0] if calls else None


def by_plain_words(line: list[str]) -> Called | None:
    with recorded():
        found = recognise(line)
        if found is None:
            return None
        flags, command, values = found
        return (
            command.replace(words=()),
            values,
            configure(quiet="--quiet" in flags, json="--json" in flags, debug="--debug" in flags),
        )


def agree(words: list[str]) -> bool:
    """Compare the two ways; whether the quick one was taken at all."""
    line = with_global_flags_first(words)
    quick = by_plain_words(line)
    if quick is None:
        return False
    typer = by_typer(line)
    assert typer is not None, f"Typer refuses {line}"
    assert (quick[0], quick[2]) == (typer[0], typer[2])
    assert {name: value or None for name, value in quick[1].items() if value != ""} == {
        name: value or None for name, value in typer[1].items() if value != ""
    }
    assert {name for name, value in quick[1].items() if value == ""} == {
        name for name, value in typer[1].items() if value == ""
    }
    return True


def spellings(option: Option) -> list[list[str]]:
    """Every plain way to write an option, and leaving it out."""
    if option.kind == FLAG:
        return [[], *([name] for name in option.names)]
    written = [[], *([name, "a,b"] for name in option.names), [option.names[0], "-"], [option.names[0], ""]]
    written += [[f"{name}=v=w"] for name in option.names if name.startswith("--")]
    if option.kind == MANY:
        written.append([option.names[0], "A", option.names[0], "B"])
    return written


def lines(command: Command) -> Iterator[list[str]]:
    """Each pair of options in each pair of spellings and both orders, with the others left out."""
    options = [option for option in command.options if option.kind != WORDS]
    tails = [["--", "true", "-x", "--quiet"], ["true", "--", "-p"]] if command.takes_words else [[]]
    for (first, second), tail in itertools.product(itertools.permutations(options, 2), tails):
        for one, other in itertools.product(spellings(first), spellings(second)):
            yield [*command.words, *one, *other, *tail]


@pytest.mark.parametrize("command", HOT_COMMANDS, ids=lambda command: " ".join(command.words))
def test_each_pair_of_options_is_read_alike_and_quickly(command: Command) -> None:
    with_typer = main.typer.main.get_command(main.build_app(command.words[0]))
    with pytest.MonkeyPatch.context() as patch:  # the app is the same for every line: made once
        patch.setattr(main, "build_app", lambda _, **__: None)
        patch.setattr(main.typer.main, "get_command", lambda _: with_typer)
        tried = [agree(line) for line in lines(command)]
    assert len(tried) > 20
    assert all(tried)


@pytest.mark.parametrize("flags", [each for size in range(4) for each in itertools.permutations(GLOBAL_WORDS, size)])
@pytest.mark.parametrize(
    "line", [["env", "pull", "-p", "x"], ["run", "-p", "x", "--", "true", "--json"], ["auth", "api-user", "--offline"]]
)
def test_global_flags_are_read_alike_before_and_after_the_command(flags: tuple[str, ...], line: list[str]) -> None:
    assert agree([*flags, *line])
    agree([*line, *flags])
    agree([line[0], *flags, *line[1:]])


WORD = st.one_of(
    st.sampled_from(
        [*AWKWARD, *GLOBAL_WORDS, *(name for each in HOT_COMMANDS for option in each.options for name in option.names)]
    ),
    st.text(max_size=5),
)


@given(
    before=st.lists(st.sampled_from(GLOBAL_WORDS), max_size=2),
    command=st.sampled_from([each.words for each in HOT_COMMANDS]),
    after=st.lists(WORD, max_size=6),
)
def test_whatever_is_read_quickly_is_read_alike_by_typer(
    before: list[str], command: tuple[str, ...], after: list[str]
) -> None:
    agree([*before, *command, *after])


@pytest.mark.parametrize(
    "line",
    [
        "", "--help", "--version", "env", "env --help", "env pull --help", "env pull -h", "env push x", "env pull stray",
        "env pull --", "env pull --unknown", "env pull --profil x", "env pull --profile", "env pull --profile --force",
        "env pull -px", "env pull -p=x", "env pull -p a -p b", "env pull --force=1", "env --force pull", "run", "run --",
        "run --profile", "run --help", "run --json -- true", "run -x true", "run -qp x -- true", "auth agent",
        "auth api-user x", "auth status", "--version env pull", "whoami",
    ],
)  # fmt: skip
def test_what_is_not_perfectly_plain_is_left_to_typer(line: str) -> None:
    assert recognise(with_global_flags_first(line.split())) is None


def test_words_of_the_child_stay_as_they_are() -> None:
    for words in (["--", "a", "--", "--quiet", ""], ["a", "--", "--quiet", ""]):
        found = recognise(["run", "-p", "x", *words])
        assert found is not None
        assert found[2]["command"] == words[1 if words[0] == "--" else 0 :]


@pytest.mark.parametrize("command", [PULL, RUN, ENV_RUN, API_USER], ids=lambda command: " ".join(command.words))
def test_functions_take_what_is_declared(command: Command) -> None:
    types = {TEXT: "str | None", FLAG: "bool", MANY: "Sequence[str] | None", WORDS: "Sequence[str]"}
    function = getattr(import_module(f"stronghold_cli.commands.{command.module}"), command.function)
    taken = {name: parameter.annotation for name, parameter in inspect.signature(function).parameters.items()}
    assert taken == {option.keyword: types[option.kind] for option in command.options}
