"""Ten words for a hash: mod 7776^10, most significant first, line 1 of the list = 0."""

from __future__ import annotations

from importlib.resources import files

from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.words import words

LIST = (files("stronghold_cli.protocol") / "eff_large_wordlist.txt").read_text("ascii").split()


def test_the_list_is_the_effs() -> None:
    assert len(LIST) == len(set(LIST)) == 7776
    assert (LIST[0], LIST[1], LIST[7775]) == ("abacus", "abdomen", "zoom")


def test_words_are_the_digits_most_significant_first() -> None:
    assert words(bytes(32)) == " ".join(["abacus"] * 10)
    assert words((1).to_bytes(32, "big")) == " ".join([*["abacus"] * 9, "abdomen"])
    assert words((7776).to_bytes(32, "big")) == " ".join([*["abacus"] * 8, "abdomen", "abacus"])
    assert words((7776**10 - 1).to_bytes(32, "big")) == " ".join(["zoom"] * 10)
    assert words((7776**10).to_bytes(32, "big")) == words(bytes(32))


def test_other_hashes_have_other_words() -> None:
    said = {words(digest(bytes([number]))) for number in range(50)}
    assert len(said) == 50
    assert all(len(text.split()) == 10 for text in said)
