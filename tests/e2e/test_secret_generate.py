"""``secret generate``: random values in the alphabet asked for, printed and kept nowhere."""

from __future__ import annotations

import re
import string
from base64 import b64decode

import pytest

from stronghold_cli.protocol.words import word_list
from tests.e2e.more_support import in_parallel
from tests.e2e.support import Machine


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        ((), r"[A-Za-z0-9]{32}"),
        (("--length", "40"), r"[A-Za-z0-9]{40}"),
        (("--length", "64", "--alphabet", "ab-\u00e9 "), "[ab\\-\u00e9 ]{64}"),
        (("--hex",), r"[0-9a-f]{32}"),
        (("--hex", "--length", "63"), r"[0-9a-f]{63}"),
        (("--base64", "--length", "44"), r"[A-Za-z0-9+/]{44}"),
        (("--words",), r"[a-z]+(-?[a-z]+)*"),
    ],
)
def test_a_value_has_the_length_and_the_characters_asked_for(machine: Machine, words: tuple[str, ...], pattern: str) -> None:
    said = machine.run("secret", "generate", *words).ok()
    assert re.fullmatch(pattern + r"\n", said.out)
    assert said.err == ""


def test_base64_decodes_and_words_are_of_the_list(machine: Machine) -> None:
    assert len(b64decode(machine.run("secret", "generate", "--base64", "--length", "64").ok().out)) == 48
    listed = set(word_list())
    drawn = machine.run("--json", "secret", "generate", "--words", "--length", "5").ok().json()["value"]
    # A few words of the list have a hyphen of their own.
    assert drawn.count("-") >= 4
    assert any(word in listed for word in drawn.split("-"))


def test_every_value_is_another_one_and_uses_the_whole_alphabet(machine: Machine) -> None:
    values = in_parallel([lambda: machine.run("secret", "generate", "--length", "400").ok().out] * 3)
    assert len(set(values)) == 3
    assert set("".join(values)) - {"\n"} == set(string.ascii_letters + string.digits)


def test_few_bits_are_warned_of(machine: Machine) -> None:
    assert "can be guessed" in machine.run("secret", "generate", "--length", "10").ok().err
    assert machine.run("secret", "generate", "--length", "11").ok().err == ""
    assert "can be guessed" in machine.run("secret", "generate", "--words", "--length", "4").ok().err


@pytest.mark.parametrize(
    "words",
    [
        ("--length", "0"),
        ("--length", "-1"),
        ("--length", "x"),
        ("--length", str((1 << 20) + 1)),
        ("--hex", "--words"),
        ("--hex", "--alphabet", "ab"),
        ("--alphabet", ""),
        ("--alphabet", "a"),
        ("--alphabet", "aab"),
        ("--alphabet", "a\nb"),
        ("--base64", "--length", "31"),
    ],
)
def test_what_makes_no_sense_is_refused(machine: Machine, words: tuple[str, ...]) -> None:
    assert machine.run("secret", "generate", *words).failed(2).out == ""
