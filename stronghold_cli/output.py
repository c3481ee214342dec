"""All that the program prints, and its exit codes (design: output habits, exit codes).

Data goes to stdout (``emit…``, ``table``), everything else to stderr (``say``, ``warn``, ``report``). Nothing else in the
client prints. Control characters in texts for people are shown escaped, so that a name from elsewhere cannot drive the
terminal; what ``emit`` and ``emit_bytes`` write is data and stays as it is.

``--debug`` adds the chain of causes. Of our own errors and those of the operating system it shows type and message, of any
other only type and place: a library's message can hold the very value that it choked on.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any

from stronghold_cli.protocol.encoding import JsonValue
from stronghold_cli.protocol.errors import (
    Conflict,
    Findings,
    IntegrityError,
    LocalFileError,
    MalformedError,
    NotAuthenticated,
    NotFound,
    StrongholdError,
    TokenMalformed,
    Unavailable,
    Unwritable,
    UsageError,
)
from stronghold_cli.protocol.record import Record


class ExitCode(IntEnum):
    """The exit codes of the program. ``run`` passes on the child's own code."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_AUTHENTICATED = 3
    NOT_ALLOWED = 4
    NOT_FOUND = 5
    CONFLICT = 6
    UNAVAILABLE = 7
    INTEGRITY = 8
    LOCAL_FILE = 9
    UNWRITABLE = 10
    FINDINGS = 11
    COMMAND_NOT_EXECUTABLE = 126
    COMMAND_NOT_FOUND = 127
    INTERRUPTED = 130


# Codes decide before types: a refusal by the server is one type with many codes.
CODES: dict[str, ExitCode] = {
    "TOKEN_MISSING": ExitCode.NOT_AUTHENTICATED,
    "TOKEN_MALFORMED": ExitCode.NOT_AUTHENTICATED,
    "TOKEN_INVALID": ExitCode.NOT_AUTHENTICATED,
    "TOKEN_REVOKED": ExitCode.NOT_AUTHENTICATED,
    "TOKEN_EXPIRED": ExitCode.NOT_AUTHENTICATED,
    "CLOCK_SKEW": ExitCode.NOT_AUTHENTICATED,
    "REPLAYED": ExitCode.NOT_AUTHENTICATED,
    "OPERATOR_REMOVED": ExitCode.NOT_AUTHENTICATED,
    "OPERATOR_UNKNOWN": ExitCode.NOT_AUTHENTICATED,
    "SIGNATURE_INVALID": ExitCode.NOT_AUTHENTICATED,
    "TOKEN_EXHAUSTED": ExitCode.NOT_ALLOWED,
    "AGENT_PAUSED": ExitCode.NOT_ALLOWED,
    "LOCKED_DOWN": ExitCode.NOT_ALLOWED,
    "ADDRESS_DENIED": ExitCode.NOT_ALLOWED,
    "PROFILE_FORBIDDEN": ExitCode.NOT_ALLOWED,
    "PROFILE_REQUIRED": ExitCode.USAGE,
    "FORBIDDEN": ExitCode.NOT_ALLOWED,
    "NOT_FOUND": ExitCode.NOT_FOUND,
    "CONFLICT": ExitCode.CONFLICT,
    "RATE_LIMITED": ExitCode.UNAVAILABLE,
    "COMMAND_NOT_EXECUTABLE": ExitCode.COMMAND_NOT_EXECUTABLE,
    "COMMAND_NOT_FOUND": ExitCode.COMMAND_NOT_FOUND,
}
_TYPES: tuple[tuple[type[StrongholdError], ExitCode], ...] = (
    (IntegrityError, ExitCode.INTEGRITY),
    (TokenMalformed, ExitCode.NOT_AUTHENTICATED),
    (NotAuthenticated, ExitCode.NOT_AUTHENTICATED),
    (UsageError, ExitCode.USAGE),
    (NotFound, ExitCode.NOT_FOUND),
    (Conflict, ExitCode.CONFLICT),
    (Unavailable, ExitCode.UNAVAILABLE),
    (LocalFileError, ExitCode.LOCAL_FILE),
    (Unwritable, ExitCode.UNWRITABLE),
    (Findings, ExitCode.FINDINGS),
)


class OutputSettings(Record):
    """How the program prints: ``--quiet``, ``--json``, ``--debug``; ``colour`` is off where ``NO_COLOR`` is set."""

    quiet: bool = False
    json: bool = False
    debug: bool = False
    colour: bool = True


class StdoutClosed(Exception):
    """Whoever read stdout has closed it: the program ends, without a word."""


_current = OutputSettings()


def configure(*, quiet: bool = False, json: bool = False, debug: bool = False) -> OutputSettings:
    """Set how the rest of the process prints; ``NO_COLOR`` (any text that is not empty) and ``TERM=dumb`` end colours."""
    global _current  # noqa: PLW0603  (one process prints in one way)
    colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    _current = OutputSettings(quiet=quiet, json=json, debug=debug, colour=colour)
    return _current


def settings() -> OutputSettings:
    """How the process prints at present."""
    return _current


def exit_code_for(error: BaseException) -> ExitCode:
    """The exit code of the documented table for ``error``; 1 for what is not in it, 130 for Ctrl-C."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if not isinstance(error, StrongholdError):
        return ExitCode.FAILED
    # What does not verify is 8 whatever code it carries.
    if error.code in CODES and not isinstance(error, IntegrityError):
        return CODES[error.code]
    return next((code for kind, code in _TYPES if isinstance(error, kind)), ExitCode.FAILED)


def guard(action: Callable[[], int | None]) -> int:
    """Run a whole command: errors are reported, stdout is flushed; returns the exit code of the process."""
    try:
        code = action() or ExitCode.DONE
        _write(b"")
    except StdoutClosed:
        _abandon_stdout()
        return ExitCode.FAILED
    except KeyboardInterrupt as error:
        _err("\n" if sys.stderr.isatty() else "")
        report(error)
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001  (the one place where every error ends)
        report(error)
        _drop_unwritable()
        return exit_code_for(error)
    return code


def emit(text: str) -> None:
    """Write one piece of data and a line end to stdout, as UTF-8."""
    emit_bytes(text.encode("utf-8", "surrogateescape") + b"\n")


def emit_line(text: str) -> None:
    """Write one line for people to stdout, with names from elsewhere in it: shown as ``plain`` does."""
    emit(plain(text))


def emit_bytes(content: bytes) -> None:
    """Write exact bytes to stdout. Raises ``StdoutClosed`` where nobody reads, ``LocalFileError`` where it is full."""
    _write(content)


def emit_json(value: JsonValue) -> None:
    """Write a value as JSON, two blanks deep, to stdout."""
    emit(_json_text(value, indent=2))


def table(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> None:
    """Write a listing to stdout: a table on a terminal, else lines of cells with tabs between, the headers first."""
    cells = [[plain(str(cell)) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        lines = ["\t".join(each) for each in [list(headers), *cells]]
        emit("\n".join(lines))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, show_edge=False, header_style="bold" if _current.colour else "")
    for header in headers:
        grid.add_column(header, overflow="fold")
    for each in cells:
        grid.add_row(*(Text(cell) for cell in each))
    console = Console(file=sys.stdout, no_color=not _current.colour, highlight=False)
    with console.capture() as capture:
        console.print(grid)
    _write(capture.get().encode("utf-8", "replace"))


def say(text: str) -> None:
    """Tell a person something, on stderr; nothing with ``--quiet``. Line ends in ``text`` stay."""
    if not _current.quiet:
        _err("\n".join(plain(line) for line in text.split("\n")) + "\n")


def warn(text: str) -> None:
    """Warn a person, in one line on stderr; nothing with ``--quiet``."""
    if not _current.quiet:
        _err(f"{_paint('warning:', '33')} {plain(text)}\n")


def report(error: BaseException) -> None:
    """Print an error on stderr: one sentence and its hint, with ``--json`` one JSON object, with ``--debug`` the causes."""
    code, message, hint = _words_of(error)
    if _current.json:
        body: JsonValue = {"error": {"code": code, "message": message, "hint": hint, "exit_code": int(exit_code_for(error))}}
        _err(_json_text(body) + "\n")
    else:
        _err(f"{_paint('error:', '31')} {plain(message)}\n" + (f"  {plain(hint)}\n" if hint else ""))
    if _current.debug:
        _err("".join(f"  {plain(line)}\n" for line in _causes(error)))


def confirm(question: str, yes: bool) -> bool:
    """Whether a person agrees: ``yes`` is that of ``--yes``; without it a terminal is asked, elsewhere ``UsageError``."""
    if yes:
        return True
    if not interactive():
        raise UsageError(f"{question} There is no terminal to answer on.", hint="Give --yes to agree.")
    _err(f"{plain(question)} [y/N] ")
    return sys.stdin.readline().strip().casefold() in {"y", "yes"}


def ask(question: str, *, option: str, default: str = "") -> str:
    """A line typed by a person, without blanks around it; ``option`` is what gives it where there is no terminal."""
    if not interactive():
        raise UsageError(f"{question}: there is no terminal to ask on.", hint=f"Give it with {option}.")
    while True:
        _err(f"{plain(question)}{f' [{plain(default)}]' if default else ''}: ")
        line = sys.stdin.readline()
        if not line:
            raise UsageError(f"{question}: no answer was given.", hint=f"Give it with {option}.")
        if answer := line.strip() or default:
            return answer


def ask_passphrase(question: str, *, option: str, twice: bool = False) -> str:
    """A passphrase typed by a person, not shown; ``twice`` where a new one is chosen. ``UsageError`` without a terminal."""
    if not interactive():
        raise UsageError(f"{question}: there is no terminal to ask on.", hint=f"Give it with {option}.")
    from getpass import getpass

    shown = plain(question)
    for _ in range(3):
        try:
            answer = getpass(f"{shown}: ")
            if not twice or getpass(f"{shown}, again: ") == answer:
                return answer
        except EOFError:
            break
        _err("The two are not the same.\n")
    raise UsageError(f"{question}: no answer was given.", hint=f"Give it with {option}.")


def interactive() -> bool:
    """Whether a person can be asked: stdin and stderr are both a terminal."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def when(moment: int | None) -> str:
    """Unix seconds as ISO 8601 UTC with ``Z``; ``-`` for none."""
    if moment is None:
        return "-"
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
    except (OverflowError, ValueError, OSError):
        return f"{moment} s after 1970"


def ago(moment: int | None, now: int) -> str:
    """How long ago, or how far ahead, in lists: ``3 h ago``, ``in 2 d``, ``now``; ``-`` for none."""
    if moment is None:
        return "-"
    distance = abs(now - moment)
    if distance < 1:
        return "now"
    size, unit = next(((size, unit) for size, unit in _UNITS if distance >= size))
    length = f"{distance // size} {unit}"
    return f"{length} ago" if moment < now else f"in {length}"


_UNITS = ((365 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def plain(text: str) -> str:
    """``text`` in one line, with control and direction characters shown as escapes."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


_ASK_SERVER = "Update this program or the server; if that does not help, ask whoever runs the server."


def _words_of(error: BaseException) -> tuple[str, str, str]:
    if isinstance(error, MalformedError) and not error.message.endswith("."):
        # Decoders name the member and what is wrong with it, as the end of a sentence.
        return error.code, f"What was received does not have its legal form: {error.message}.", error.hint or _ASK_SERVER
    if isinstance(error, StrongholdError):
        return error.code, error.message, error.hint
    if isinstance(error, OSError):
        return "LOCAL_FILE", _system_words(error), ""
    if isinstance(error, KeyboardInterrupt):
        return "INTERRUPTED", " ".join(("The command was interrupted.", *map(str, error.args))), ""
    sentence = f"The program failed in a way that it does not know ({type(error).__name__})."
    return "INTERNAL", sentence, "Run it again with --debug and report what it says: this is a fault of the program."


def _system_words(error: OSError) -> str:
    name = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, (str, bytes)) else ""
    return f"{error.strerror or type(error).__name__}{name}"


def _json_text(value: JsonValue, indent: int | None = None) -> str:
    """JSON in which control and direction characters are escaped too, so that no text from elsewhere drives a terminal."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    if all(each.isprintable() or each == "\n" for each in text):
        return text
    return json.dumps(value, indent=indent, allow_nan=False)


def _causes(error: BaseException) -> Iterator[str]:
    """One line for each error of the chain, the outermost first."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        kind = f"{type(cause).__module__}.{type(cause).__qualname__}"
        if isinstance(cause, StrongholdError):
            words = f": {cause.message}{_evidence(cause)}"
        else:
            words = f": {_system_words(cause)}" if isinstance(cause, OSError) else ""
        yield f"{kind}{words}{_place(cause)}"
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _evidence(error: StrongholdError) -> str:
    evidence: Mapping[str, Any] = error.evidence if isinstance(error, IntegrityError) else {}
    words = (f"{name}={value.hex() if isinstance(value, bytes) else value}" for name, value in evidence.items())
    return f" [{', '.join(words)}]" if evidence else ""


def _place(error: BaseException) -> str:
    """File and line that raised ``error``: names of our code and of libraries, never their variables."""
    step = error.__traceback__
    if step is None:
        return ""
    while step.tb_next is not None:
        step = step.tb_next
    code = step.tb_frame.f_code
    return f" (in {code.co_name}, {os.path.basename(code.co_filename)}:{step.tb_lineno})"


def _paint(word: str, colour: str) -> str:
    return f"\x1b[{colour}m{word}\x1b[0m" if _current.colour and sys.stderr.isatty() else word


def _err(text: str) -> None:
    """Write to stderr; where nobody reads it, there is nobody to tell."""
    try:
        sys.stderr.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def _write(content: bytes) -> None:
    """Write bytes to stdout and flush, so that a full disk is told by the command that met it."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        raise StdoutClosed from error
    except OSError as error:
        _abandon_stdout()
        raise LocalFileError(
            f"Standard output cannot be written: {error.strerror}.", hint="Nothing else was changed."
        ) from error


def _drop_unwritable() -> None:
    """Give up what stdout still holds and cannot take: Typer writes its help there by itself."""
    try:
        sys.stdout.flush()
    except OSError:
        _abandon_stdout()


def _abandon_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's own flush at exit has nothing to complain about."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
