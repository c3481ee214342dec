"""``secret generate``: a random value, printed and kept nowhere."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from stronghold_cli.output import emit, emit_json, settings, warn
from stronghold_cli.protocol.errors import UsageError

_LETTERS_AND_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_HEX = "0123456789abcdef"
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_DEFAULT_LENGTH = 32
_DEFAULT_WORDS = 8
_MAX_LENGTH = 1 << 20
_GUESSABLE_BITS = 64


def generate(
    length: Annotated[
        int | None, typer.Option("--length", metavar="N", help="How many characters, or with --words how many words.")
    ] = None,
    alphabet: Annotated[
        str | None,
        typer.Option("--alphabet", metavar="S", help="The characters to choose from; default: letters and digits."),
    ] = None,
    hexadecimal: Annotated[bool, typer.Option("--hex", help="Digits 0-9 and a-f.")] = False,
    base64: Annotated[bool, typer.Option("--base64", help="Base64 of random bytes; N has to be a multiple of 4.")] = False,
    words: Annotated[bool, typer.Option("--words", help="Words of the EFF's long list, with - between.")] = False,
) -> None:
    """Print a random value: 32 letters and digits, unless told otherwise. It is not stored.

    Example: stronghold secret generate --length 40 | stronghold secret set SESSION_KEY --profile production
    """
    kinds = [
        name
        for name, given in (
            ("--alphabet", alphabet is not None),
            ("--hex", hexadecimal),
            ("--base64", base64),
            ("--words", words),
        )
        if given
    ]
    if len(kinds) > 1:
        raise UsageError(f"{' and '.join(kinds)} were given.", hint="Give one of them.")
    choices, between = _choices(alphabet, hexadecimal=hexadecimal, base64=base64, words=words)
    count = length if length is not None else _DEFAULT_WORDS if words else _DEFAULT_LENGTH
    if not 1 <= count <= _MAX_LENGTH:
        raise UsageError(f"The length {count} is not from 1 to {_MAX_LENGTH}.", hint="Give another --length.")
    if base64 and count % 4:
        raise UsageError("Base64 comes in groups of four characters.", hint=f"Give --length {count + 4 - count % 4}.")
    if count * math.log2(len(choices)) < _GUESSABLE_BITS:
        warn(f"fewer than {_GUESSABLE_BITS} bits are random: such a value can be guessed")
    value = between.join(_draw(choices, count))
    if settings().json:
        emit_json({"value": value})
    else:
        emit(value)


def _choices(alphabet: str | None, *, hexadecimal: bool, base64: bool, words: bool) -> tuple[list[str], str]:
    """What is drawn from, each as likely as the others, and what stands between."""
    if words:
        from stronghold_cli.protocol.words import word_list

        return word_list(), "-"
    if alphabet is None:
        return list(_HEX if hexadecimal else _BASE64 if base64 else _LETTERS_AND_DIGITS), ""
    if len(set(alphabet)) < 2 or len(set(alphabet)) != len(alphabet):
        raise UsageError(
            "The alphabet has fewer than two characters, or one of them twice.",
            hint="Give each character once: all of them are equally likely.",
        )
    if not alphabet.isprintable():
        raise UsageError("The alphabet holds a control character.", hint="Give characters that can be printed.")
    return list(alphabet), ""


def _draw(choices: list[str], count: int) -> list[str]:
    from secrets import choice

    return [choice(choices) for _ in range(count)]
