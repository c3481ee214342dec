"""Values on which readers of environment files differ: by hand, from fixed rules, and from a fixed generator."""

from __future__ import annotations

import itertools
import random

QUOTING = ("'", '"', "`", "\\", "$", "\n", "\r", "#", " ", "=")
_TOKENS = (
    "'", '"', "`", "\\", "\\\\", "\\n", "\\'", '\\"', "\\$", "\n", "\n\n", "\r\n", "\r", "\t", " ", "  ", "#", " #", "=",
    ":", ";", "&", "|", "!", "~", "*", "?", "%", "%n", "$", "$$", "$HOME", "$1", "$x", "{", "}", "[", "]", "(", ")", "<<",
    "EOF", "export ", "A", "b0", "KEY=", "\nINJECTED=1\n", "`touch canary`", ";touch canary;", "\ntouch canary\n",
    "'\ntouch canary\n'", "\u00e9", "e\u0301", "\u2019", "\u00a0", "\u2028", "\u0085", "\u200b", "\ufeff", "\U0001f680",
    "\x01", "\x07", "\x1b[0m", "\x7f", "${", "$(", "%{",
)  # fmt: skip
_BY_HAND = (
    "", " ", "  a  ", "\n", "\n\n", "a\n", "\na", "\r", "\r\n", "a\r\nb", "'", '"', "`", "''", '""', "'a'", '"a"', "`a`",
    "\\", "\\\\", "a\\", "a\\\\", "a\\\\b", "\\n", "\\\\n", "\\'", '\\"', "#", "#a", "a#b", "a #b", " # ", "=", "==",
    "=a", "a=b", "$", "$$", "pa$$word", "$x", "$HOME", "$(", "$(touch canary)", "${", "${HOME}", "${x:-touch canary}",
    "${A:-b}", "${A:+b}", "${A-b}", "\\${HOME}", "\\$(x)", "`touch canary`", "~", "~root", "~/x:~/y", "*", "?", "[a]",
    "{a,b}", "!", "!!", "a!b", "a&b", "a;b", "a|b", "a>b", "<a", "(a)", "-", "--", "-n", "-e", "null", "true", "~null",
    "export A=b", "A=b", "a\nB=c", "'\nB=c\n'", '"\nB=c\n"', "it's", 'say "x"', "it's \"x\"", "it's `x`", '`x` "y"',
    "it's \"x\" `y` $z", "it's\\", '"\\', "\\`", "%", "%s", "%00", "%{x}", "%%{", "$${x}", "$$${x}", "$$$${", "%%%{x}",
    "\x00", "a\x00b", "\ufeff", "\ufeffa", "e\u0301", "\u00e9", "\u2028", "a\u0085b", "\u00a0a\u00a0",
    "\U0001f469\u200d\U0001f4bb", "\U0010fffd", "\u202eabc\u202c", "\u05e9\u05dc\u05d5\u05dd",
    "\u0645\u0631\u062d\u0628\u0627",
    "\uffff", "\ufdd0", "\U0001ffff", "\ue000", "\ufffd", "EOF", "ghadelimiter_", "::add-mask::x", "\x01\x02", "\x7f",
    "\x1b", "x" * 59_999, "x" * 60_000, "x" * 65_535, "x" * 65_536, "a b" * 30_000, "x" * (1 << 20), "a\n" * (1 << 16),
    "'\"" * (1 << 15), '{"a":"b\\nc","d":[1,2]}', "{'a': 'b'}", "-----BEGIN KEY-----\nAAAA\n-----END KEY-----\n",
    "^\\d+$", "C:\\new\\table\\", "\\\\server\\share", "postgres://u:p#w&$x@h/d?a=b&c=d", "$2b$12$abc", "a\tb", "\t",
    "a  #  b", "a'b'c\"d\"e`f`g", "\n'\n\"\n`\n", "\u2018a\u2019", "\u201aa\u201b", "\u201ca\u201d", "=1+1", "@x", "+1",
    "1e3", "0x1f", "1_000", "2026-01-01", "yes", "- a", "? a", ": a", "a: b", "&a", "*a", "!a", "%a", "|", ">", "a,b",
    "a\vb", "a\fb", "\x1ca", "a\x1d", "\x85", "\u3000a\u3000", "\u180ea", "'a", "a'", '"a', 'a"', "`a", "a`", "a' #b",
)  # fmt: skip

# Bytes that are no text: a few formats carry them, all others have to refuse them.
RAW = (bytes(range(1, 256)), b"\xff", b"\xe9'\xe9", b"\xc3", b"\x80\n\x80", b"\xed\xa0\x80", b"\xc0\x80", b"a\0\xff")


def nasty() -> list[bytes]:
    """Every value once, the same in every run: over a thousand that are written down or follow from a rule."""
    controls = [template.format(chr(code)) for code in (*range(32), 127) for template in ("{}", "a{}b", "a{}", "'{}\"")]
    # Every quoting character at every position of a short word, and every pair of them.
    single = [
        word[:place] + sign + word[place:] for sign in QUOTING for word in ("ab", "a b") for place in range(len(word) + 1)
    ]
    pairs = [f"a{one}b{other}c" for one, other in itertools.product(QUOTING, QUOTING)]
    edges = [one + other for one, other in itertools.product(QUOTING, QUOTING)]
    wrapped = [f"{one}a{other}{one}" for one, other in itertools.product(("'", '"', "`"), QUOTING)]
    values = [*_BY_HAND, *controls, *single, *pairs, *edges, *wrapped]
    return [*(value.encode() for value in dict.fromkeys(values)), *RAW]


def mixed(count: int, seed: int = 20260301) -> list[bytes]:
    """Values put together from what readers trip over; the same ones for the same seed."""
    source = random.Random(seed)
    return list(dict.fromkeys("".join(source.choices(_TOKENS, k=source.randint(2, 9))).encode() for _ in range(count)))
