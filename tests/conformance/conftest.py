"""Values on which readers of environment files have been seen to differ, by hand and from a fixed generator."""

from __future__ import annotations

import itertools
import random

import pytest

_TOKENS = (
    "'", '"', "`", "\\", "\\\\", "\\n", "\\'", '\\"', "\\$", "\n", "\n\n", "\r\n", "\r", "\t", " ", "  ", "#", " #", "=",
    ":", ";", "&", "|", "!", "~", "*", "?", "%", "%n", "$", "$$", "$HOME", "$1", "$x", "{", "}", "[", "]", "(", ")", "<<",
    "EOF", "export ", "A", "b0", "KEY=", "\nINJECTED=1\n", "`touch canary`", ";touch canary;", "\ntouch canary\n",
    "'\ntouch canary\n'", "\u00e9", "e\u0301", "\u2019", "\u00a0", "\u2028", "\u0085", "\u200b", "\ufeff", "\U0001f680",
    "\x01", "\x07", "\x1b[0m", "\x7f",
)  # fmt: skip
_BY_HAND = (
    "", " ", "  a  ", "\n", "\n\n", "a\n", "\na", "\r", "\r\n", "a\r\nb", "'", '"', "`", "''", '""', "'a'", '"a"', "`a`",
    "\\", "\\\\", "a\\", "a\\\\", "a\\\\b", "\\n", "\\\\n", "\\'", '\\"', "#", "#a", "a#b", "a #b", " # ", "=", "==",
    "=a", "a=b", "$", "$$", "pa$$word", "$x", "$HOME", "$(", "$(touch canary)", "${", "${HOME}", "${x:-touch canary}",
    "\\${HOME}", "\\$(x)", "`touch canary`", "~", "~root", "~/x:~/y", "*", "?", "[a]", "{a,b}", "!", "!!", "a!b", "a&b",
    "a;b", "a|b", "a>b", "<a", "(a)", "-", "--", "-n", "-e", "null", "true", "export A=b", "A=b", "a\nB=c", "'\nB=c\n'",
    '"\nB=c\n"', "it's", 'say "x"', "it's \"x\"", "it's `x`", '`x` "y"', "it's \"x\" `y` $z", "it's\\", '"\\', "\\`", "%",
    "%s", "%00", "\x00", "a\x00b", "\ufeff", "\ufeffa", "e\u0301", "\u00e9", "\u2028", "a\u0085b", "\u00a0a\u00a0",
    "\U0001f469\u200d\U0001f4bb", "\uffff", "EOF", "ghadelimiter_", "::add-mask::x", "\x01\x02", "\x7f", "\x1b",
    "x" * 65536, "a b" * 30000, '{"a":"b\\nc","d":[1,2]}', "{'a': 'b'}", "-----BEGIN KEY-----\nAAAA\n-----END KEY-----\n",
    "^\\d+$", "C:\\new\\table\\", "\\\\server\\share", "postgres://u:p#w&$x@h/d?a=b&c=d", "$2b$12$abc", "a\tb", "\t",
    "a  #  b", "a'b'c\"d\"e`f`g", "\n'\n\"\n`\n",
)  # fmt: skip


@pytest.fixture(scope="session")
def nasty_values() -> list[bytes]:
    """Some hundred values without repetition, among them every pair of quoting characters between letters."""
    source = random.Random(20260301)
    quoting = ("'", '"', "`", "\\", "$", "\n", "\r", "#", " ", "=")
    pairs = [f"a{one}b{other}c" for one, other in itertools.product(quoting, quoting)]
    edges = [one + other for one, other in itertools.product(quoting, quoting)]
    mixed = ["".join(source.choices(_TOKENS, k=source.randint(2, 8))) for _ in range(400)]
    return [value.encode() for value in dict.fromkeys([*_BY_HAND, *pairs, *edges, *mixed])]
