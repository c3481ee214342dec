"""``env diff`` and ``env validate``: what two profiles, or a profile and a list of names, do not have in common."""

from __future__ import annotations

from typing import Annotated

import typer

from stronghold_cli.commands.reading import ReadProfile, mask, read_profile
from stronghold_cli.commands.typed import ProfileOption, TokenFileOption, TokenOption
from stronghold_cli.output import emit, emit_json, emit_line, settings
from stronghold_cli.protocol.encoding import JsonValue
from stronghold_cli.protocol.errors import Findings, UsageError

_MAX_NAMED = 20
_MAX_REQUIREMENTS = 16 << 20


def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A profile's name or id.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The other profile's.")],
    show_values: Annotated[bool, typer.Option("--show-values", help="Show the values that differ, too.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 11 where there is a difference.")] = False,
    token: TokenOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Show which secrets only one of two profiles has (- only A, + only B), and which differ (~). Names alone.

    Example: stronghold env diff staging production
    """
    one = read_profile(token, token_file, first)
    other = read_profile(token, token_file, second)
    before, after = one.values(), other.values()
    marks = {
        name: "+" if name not in before else "-" if name not in after else "~" if before[name] != after[name] else ""
        for name in sorted({*before, *after})
    }
    different = {name: mark for name, mark in marks.items() if mark}
    if show_values:
        mask(side[name] for name in different for side in (before, after) if name in side)
    if settings().json:
        _emit_as_json(one, other, different, len(marks) - len(different), show_values)
    else:
        for name, mark in different.items():
            emit_line(f"{mark} {name}")
            for profile, side in ((one, before), (other, after)):
                if show_values and name in side:
                    emit_line(f"    {profile.profile_name}: {_shown(side[name])}")
    if different and exit_code:
        raise Findings(
            f"{one.profile_name!r} and {other.profile_name!r} differ in {_count(len(different))}.",
            hint=f"See them with: stronghold env diff {first} {second} --show-values",
        )


def validate(
    require_from: Annotated[
        str, typer.Option("--require-from", metavar="FILE", help="A .env.example: every name in it has to be there.")
    ],
    profile: ProfileOption = None,
    token: TokenOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Check that a profile has every name that a file lists; those that lack are printed, and the exit code is 11.

    Example: stronghold env validate --require-from .env.example --profile production
    """
    from stronghold_cli.formats.imports import names_in
    from stronghold_cli.keystore.files import read_given

    wanted = names_in(read_given(require_from, _MAX_REQUIREMENTS), require_from)
    if not wanted:
        raise UsageError(f"{require_from} lists no names.", hint="Write one KEY= line for each.")
    read = read_profile(token, token_file, profile)
    missing = [name for name in wanted if name not in read.secrets]
    if settings().json:
        emit_json({"profile": read.profile_name, "required": len(wanted), "missing": list(missing)})
    elif missing:
        emit("\n".join(missing))
    if missing:
        named = ", ".join(missing[:_MAX_NAMED]) + (", …" if len(missing) > _MAX_NAMED else "")
        raise Findings(
            f"The profile {read.profile_name!r} lacks {_count(len(missing))} that {require_from} requires: {named}.",
            hint=f"Add what lacks: stronghold secret set {missing[0]} --profile {read.profile_name}",
        )


def _emit_as_json(one: ReadProfile, other: ReadProfile, different: dict[str, str], same: int, show_values: bool) -> None:
    def listed(mark: str) -> list[JsonValue]:
        return [name for name, each in different.items() if each == mark]

    value: dict[str, JsonValue] = {
        "first": one.profile_name,
        "second": other.profile_name,
        "only_first": listed("-"),
        "only_second": listed("+"),
        "different": listed("~"),
        "same": same,
    }
    if show_values:
        sides = ((one.profile_name, one.values()), (other.profile_name, other.values()))
        value["values"] = {
            name: [None if name not in side else side[name].decode("utf-8", "backslashreplace") for _, side in sides]
            for name in different
        }
    emit_json(value)


def _shown(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _count(number: int) -> str:
    return "1 secret" if number == 1 else f"{number} secrets"
