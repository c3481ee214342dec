"""``--format github``: the heredoc form of the files ``$GITHUB_ENV`` and ``$GITHUB_OUTPUT``.

``KEY<<delimiter``, the value, ``delimiter``; the delimiter holds 128 random bits and does not occur in the value, so that
no value can end its own block and add variables. Refused are the names that the runner keeps (``GITHUB_*``, ``RUNNER_*``)
or takes from nobody (``NODE_OPTIONS``), in any case of letters, since Windows runners do not tell them apart. Refused too
is a carriage return at the end of a value, which a Windows runner drops. The reference reader follows
``FileCommandManager`` of github.com/actions/runner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.text import text_refusal

_DELIMITER_PREFIX = "stronghold_"


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why the runner's files cannot carry this secret, empty if they can."""
    if name.upper().startswith(("GITHUB_", "RUNNER_")) or name.upper() == "NODE_OPTIONS":
        return "GitHub's runner keeps that name for itself"
    if value.endswith(b"\r"):
        return "its value ends in a carriage return, which a runner on Windows drops"
    return text_refusal(value)


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],
    options: Options = PLAIN,  # noqa: ARG001
) -> tuple[bytes, tuple[str, ...]]:
    """One heredoc for each value, each with a delimiter of its own; never a note."""
    blocks = []
    for name, value in values.items():
        delimiter = _delimiter(value, random)
        blocks.append(b"%s<<%s\n%s\n%s\n" % (name.encode(), delimiter, value, delimiter))
    return b"".join(blocks), ()


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:  # noqa: ARG001
    """The variables that the runner takes from the file; ``ValueError`` where the runner fails the step."""
    values: dict[str, bytes] = {}
    lines = iter(content.decode("utf-8").split("\n"))
    for line in lines:
        if not line:
            continue
        assignment, heredoc = line.find("="), line.find("<<")
        if assignment >= 0 and (heredoc < 0 or assignment < heredoc):
            name, _, value = line.partition("=")
        elif heredoc > 0 and line[heredoc + 2 :]:
            name, _, delimiter = line.partition("<<")
            value = "\n".join(_until(delimiter, lines))
        else:
            raise ValueError("not a variable of a runner's file")
        values[name] = value.encode()
    return values


def _until(delimiter: str, lines: Iterator[str]) -> list[str]:
    block: list[str] = []
    for line in lines:
        if line == delimiter:
            return block
        block.append(line)
    raise ValueError("a delimiter is missing")


def _delimiter(value: bytes, random: Callable[[int], bytes]) -> bytes:
    while (delimiter := (_DELIMITER_PREFIX + random(16).hex()).encode()) in value:
        pass
    return delimiter
