"""Hashes as ten words, for people to compare by voice (protocol section 2, ``words``).

The list is the EFF's long word list (https://www.eff.org/dice), by the Electronic Frontier Foundation, CC BY 3.0 US.
"""

from __future__ import annotations

_WORDS = 7776
_DIGITS = 10


def word_list() -> list[str]:
    """The 7776 words, in the order of the list."""
    from importlib.resources import files  # loads much, and only a person who compares hashes needs it

    return (files("stronghold_cli.protocol") / "eff_large_wordlist.txt").read_text("ascii").split()


def words(sha256: bytes) -> str:
    """``sha256`` as a big-endian integer mod 7776^10, ten digits, most significant first, each a word of the list."""
    listed = word_list()
    value = int.from_bytes(sha256, "big") % _WORDS**_DIGITS
    digits = []
    for _ in range(_DIGITS):
        value, digit = divmod(value, _WORDS)
        digits.append(listed[digit])
    return " ".join(reversed(digits))
