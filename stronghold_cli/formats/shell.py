"""``--format shell``: ``export KEY=value`` lines that a POSIX shell sources (``. ./file``, ``eval "$(…)"``).

A value is bare where it holds nothing that any shell treats specially, else in single quotes, where all bytes but ``'``
stand for themselves (POSIX.1-2024, Shell Command Language 2.2.2); each ``'`` is written ``'"'"'``. So every byte is
carried but NUL. A leading ``=`` is quoted: zsh would expand it. Refused are names that shells keep for themselves,
because assigning them fails or does not last. The reference reader knows only the words that POSIX needs for such lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.text import NUL_REASON

# bash: read-only (an assignment ends a POSIX-mode shell), or computed anew by the shell at each use.
# dash: OPTIND takes numbers only.
# fmt: off
_SHELL_OWNED = frozenset({
    "_", "BASHOPTS", "BASHPID", "BASH_ALIASES", "BASH_ARGC", "BASH_ARGV", "BASH_ARGV0", "BASH_CMDS", "BASH_COMMAND",
    "BASH_LINENO", "BASH_SOURCE", "BASH_SUBSHELL", "BASH_VERSINFO", "COMP_WORDBREAKS", "DIRSTACK", "EPOCHREALTIME",
    "EPOCHSECONDS", "EUID", "FUNCNAME", "GROUPS", "HISTCMD", "LINENO", "OPTIND", "PIPESTATUS", "PPID", "RANDOM",
    "SECONDS", "SHELLOPTS", "SRANDOM", "UID",
})
# fmt: on
# Linux, MAX_ARG_STRLEN: "KEY=value" and the NUL after it.
_MAX_VARIABLE = 128 << 10
_BARE = re.compile(rb"[A-Za-z0-9_@%+:,./-][A-Za-z0-9_@%+=:,./-]*")
_LINE = re.compile(rb"export ([A-Za-z_][A-Za-z0-9_]*)=((?:[A-Za-z0-9_@%+=:,./-]++|'[^']*'|\"[^\"$`\\]*\")*+)\n")
_WORD = re.compile(rb"([A-Za-z0-9_@%+=:,./-]+)|'([^']*)'|\"([^\"$`\\]*)\"")


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why a shell cannot carry this secret, empty if it can."""
    if name in _SHELL_OWNED:
        return "shells keep a variable of that name for themselves"
    return NUL_REASON if b"\0" in value else ""


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],  # noqa: ARG001
    options: Options = PLAIN,  # noqa: ARG001
) -> tuple[bytes, tuple[str, ...]]:
    """One ``export`` line for each value, and a note for each that is too long for the environment of a Linux program."""
    content = b"".join(b"export %s=%s\n" % (name.encode(), _quote(value)) for name, value in values.items())
    notes = tuple(
        f"{name} has {len(value)} bytes, and Linux starts no program while one variable has more than 128 KiB."
        for name, value in values.items()
        if len(name) + len(value) + 2 > _MAX_VARIABLE
    )
    return content, notes


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:  # noqa: ARG001
    """The variables that the lines set; ``ValueError`` for anything but lines of that form."""
    values = {}
    position = 0
    while position < len(content):
        line = _LINE.match(content, position)
        if line is None:
            raise ValueError("not an export line of ours")
        values[line[1].decode()] = b"".join(bare or single or double for bare, single, double in _WORD.findall(line[2]))
        position = line.end()
    return values


def _quote(value: bytes) -> bytes:
    if _BARE.fullmatch(value):
        return value
    return b"'" + value.replace(b"'", b"'\"'\"'") + b"'"
