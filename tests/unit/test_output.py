"""Output: what goes where, what is never shown, and the exit codes."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys

import pytest

from stronghold_cli import output
from stronghold_cli.output import ExitCode, exit_code_for
from stronghold_cli.protocol import errors
from tests.unit.children import child_environment


@pytest.fixture(autouse=True)
def _default_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_current", output.OutputSettings())


def run_python(script: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, env=child_environment())


TYPE_CODES = [
    (errors.IntegrityError("x"), 8),
    (errors.MalformedError("x"), 8),
    (errors.RuleError("x"), 8),
    (errors.TokenMalformed("x"), 3),
    (errors.NotAuthenticated("x"), 3),
    (errors.UsageError("x"), 2),
    (errors.NotFound("x"), 5),
    (errors.Conflict("x"), 6),
    (errors.Unavailable("x"), 7),
    (errors.LocalFileError("x"), 9),
    (errors.Unwritable("x"), 10),
    (errors.Findings("x"), 11),
    (errors.ClientTooOld("x"), 1),
    (errors.StrongholdError("x"), 1),
    (RuntimeError("x"), 1),
    (KeyboardInterrupt(), 130),
]
REFUSAL_CODES = {
    3: ["TOKEN_MISSING", "TOKEN_MALFORMED", "TOKEN_INVALID", "TOKEN_REVOKED", "TOKEN_EXPIRED", "CLOCK_SKEW", "REPLAYED"],
    4: ["TOKEN_EXHAUSTED", "AGENT_PAUSED", "LOCKED_DOWN", "ADDRESS_DENIED", "PROFILE_FORBIDDEN", "FORBIDDEN"],
    5: ["NOT_FOUND"],
    6: ["CONFLICT"],
    7: ["RATE_LIMITED"],
    1: ["AUTHORITY_UNKNOWN", "CLIENT_TOO_OLD", "SOMETHING_NEW"],
    126: ["COMMAND_NOT_EXECUTABLE"],
    127: ["COMMAND_NOT_FOUND"],
}


@pytest.mark.parametrize(("error", "code"), TYPE_CODES, ids=lambda value: type(value).__name__)
def test_each_type_of_error_has_its_exit_code(error: BaseException, code: int) -> None:
    assert exit_code_for(error) == code


@pytest.mark.parametrize(("name", "code"), [(name, code) for code, names in REFUSAL_CODES.items() for name in names])
def test_each_code_of_the_server_has_its_exit_code(name: str, code: int) -> None:
    assert exit_code_for(errors.Refused(name, "x")) == code


def test_what_does_not_verify_is_8_whatever_code_it_carries() -> None:
    error = errors.IntegrityError("x")
    error.code = "CONFLICT"
    assert exit_code_for(error) == 8


def test_exit_codes_are_those_of_the_documentation() -> None:
    assert [int(code) for code in ExitCode] == [*range(12), 126, 127, 130]


def test_data_goes_to_stdout_and_words_to_stderr(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output.emit("Grüße")
    output.emit_bytes(b"\xff\n")
    output.emit_json({"a": ["ü"]})
    output.say("said")
    output.warn("warned")
    out, err = capfdbinary.readouterr()
    assert out == "Grüße\n".encode() + b"\xff\n" + '{\n  "a": [\n    "ü"\n  ]\n}\n'.encode()
    assert err == b"said\nwarning: warned\n"


def test_quiet_silences_words_but_not_errors(capfd: pytest.CaptureFixture[str]) -> None:
    output.configure(quiet=True)
    output.say("said")
    output.warn("warned")
    output.report(errors.UsageError("Wrong.", hint="Do it right."))
    assert capfd.readouterr().err == "error: Wrong.\n  Do it right.\n"


def test_an_error_as_json_is_one_object_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    output.configure(json=True)
    output.report(errors.Refused("TOKEN_REVOKED", "The token has been revoked.", hint="Mint."))
    out, err = capfd.readouterr()
    assert out == ""
    assert json.loads(err)["error"] == {
        "code": "TOKEN_REVOKED", "message": "The token has been revoked.", "hint": "Mint.", "exit_code": 3,
    }  # fmt: skip


def test_control_and_direction_characters_are_shown_escaped(capfd: pytest.CaptureFixture[str]) -> None:
    output.warn("a\x1b[2Jb\u202ec\nd")
    output.table([["x\ty", "z\n"]], ["A", "B"])
    out, err = capfd.readouterr()
    assert err == "warning: a\\x1b[2Jb\\u202ec\\nd\n"
    assert out == "A\tB\nx\\ty\tz\\n\n"


# C0, DEL, C1 (CSI and OSC in one byte), line ends, directions (embedding, isolate, mark), invisible, no character.
HOSTILE = (
    "\x00", "\x07", "\b", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", "\x9b", "\x9d", "\u2028", "\u2029",
    "\u061c", "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069", "\u200b", "\ufeff", "\ue000", "\ufffe",
)  # fmt: skip


def nothing_drives_the_terminal(text: str, line_ends: int) -> None:
    """Only characters that are shown as they are, and the line ends that are ours."""
    assert [each for each in text if not each.isprintable()] == ["\n"] * line_ends


@pytest.mark.parametrize("sign", HOSTILE, ids=ascii)
def test_no_text_from_elsewhere_drives_a_terminal(capfd: pytest.CaptureFixture[str], sign: str) -> None:
    text = f"a{sign}[2Jb"
    escaped = f"a{sign.encode('unicode_escape').decode()}[2Jb"
    output.table([[text]], ["A"])
    assert capfd.readouterr().out == f"A\n{escaped}\n"
    output.warn(text)
    output.report(errors.NotFound(text, hint=text))
    err = capfd.readouterr().err
    nothing_drives_the_terminal(err, 3)
    assert err.count(escaped) == 3
    if sign != "\n":  # whoever tells something writes its line ends
        output.say(text)
        assert capfd.readouterr().err == f"{escaped}\n"


@pytest.mark.parametrize("sign", HOSTILE, ids=ascii)
def test_json_holds_the_text_and_none_of_what_drives_a_terminal(capfd: pytest.CaptureFixture[str], sign: str) -> None:
    text = f"é{sign}[2Jb"
    output.emit_json({text: [text]})
    out = capfd.readouterr().out
    nothing_drives_the_terminal(out, 5)
    assert json.loads(out) == {text: [text]}
    output.configure(json=True)
    output.report(errors.NotFound(text, hint=text))
    err = capfd.readouterr().err
    nothing_drives_the_terminal(err, 1)
    assert (json.loads(err)["error"]["message"], json.loads(err)["error"]["hint"]) == (text, text)


def test_json_without_such_characters_is_readable(capfd: pytest.CaptureFixture[str]) -> None:
    output.emit_json("Grüße ☃ デプロイ")
    assert capfd.readouterr().out == '"Grüße ☃ デプロイ"\n'


@pytest.mark.parametrize("sign", HOSTILE, ids=ascii)
def test_causes_and_evidence_drive_no_terminal(capfd: pytest.CaptureFixture[str], sign: str) -> None:
    output.configure(debug=True)
    error = errors.IntegrityError("Outer.", evidence={"name": f"a{sign}[2J"})
    error.__cause__ = OSError(2, "No such file", f"/there{sign}")
    output.report(error)
    err = capfd.readouterr().err
    nothing_drives_the_terminal(err, 3)
    assert len(err.splitlines()) == 3


@pytest.mark.usefixtures("terminal_or_skip")
@pytest.mark.parametrize(
    "question",
    [
        "output.confirm({!r}, False)",
        "output.ask({!r}, option='--name')",
        "output.ask('Name', option='--name', default={!r})",
    ],
)
def test_questions_drive_no_terminal(question: str) -> None:
    hostile = "Of a\x1b]0;title\x07b\u202ec"
    shown = on_terminal(f"from stronghold_cli import output\nprint({question.format(hostile)})", b"y\n")
    assert "Of a\\x1b]0;title\\x07b\\u202ec" in shown
    assert not [each for each in shown if not each.isprintable() and each not in "\r\n"]


def test_the_question_for_a_passphrase_drives_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(output, "interactive", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda question: asked.append(question) or "typed")
    assert output.ask_passphrase("Of a\x1b]0;title\x07b\u202ec", option="--file", twice=True) == "typed"
    assert asked == ["Of a\\x1b]0;title\\x07b\\u202ec: ", "Of a\\x1b]0;title\\x07b\\u202ec, again: "]


@pytest.mark.usefixtures("terminal_or_skip")
def test_a_table_on_a_terminal_holds_no_character_that_drives_it() -> None:
    cells = [f"<{sign}>" for sign in HOSTILE]
    script = f"from stronghold_cli import output\noutput.configure()\noutput.table([[each] for each in {cells!r}], ['NAME'])"
    shown = on_terminal(script, environment={"NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"})
    assert not [each for each in shown if not each.isprintable() and each not in "\r\n"]
    assert shown.split() == ["NAME", *(f"<{sign.encode('unicode_escape').decode()}>" for sign in HOSTILE)]


def chained() -> BaseException:
    try:
        try:
            hidden = "hunter2"
            int(hidden)
        except ValueError as error:
            raise OSError(28, "No space left on device", "/there") from error
    except OSError as error:
        try:
            raise errors.IntegrityError("Outer.", evidence={"mark": b"\x01"}) from error
        except errors.IntegrityError as outer:
            return outer


def test_debug_shows_the_chain_of_causes_and_no_message_of_a_library(capfd: pytest.CaptureFixture[str]) -> None:
    output.configure(debug=True)
    output.report(chained())
    err = capfd.readouterr().err
    lines = err.splitlines()
    assert lines[0] == "error: Outer."
    assert "IntegrityError: Outer. [mark=01]" in lines[1]
    assert "OSError: No space left on device (/there)" in lines[2]
    assert "ValueError (in chained" in lines[3]
    assert "hunter2" not in err


def test_without_debug_there_is_no_chain(capfd: pytest.CaptureFixture[str]) -> None:
    output.report(chained())
    assert capfd.readouterr().err == "error: Outer.\n"


def test_an_unknown_error_shows_its_type_and_never_its_message(capfd: pytest.CaptureFixture[str]) -> None:
    output.report(ValueError("hunter2"))
    err = capfd.readouterr().err
    assert "ValueError" in err
    assert "hunter2" not in err


def test_guard_reports_and_returns_the_code(capfd: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise errors.NotFound("Gone.")

    def interrupted() -> None:
        raise KeyboardInterrupt

    assert output.guard(fails) == 5
    assert "error: Gone." in capfd.readouterr().err
    assert output.guard(interrupted) == 130
    assert "error: The command was interrupted." in capfd.readouterr().err
    assert output.guard(lambda: None) == 0
    assert output.guard(lambda: 11) == 11
    assert capfd.readouterr().err == ""


BIG = "import sys\nfrom stronghold_cli import output\nsys.exit(output.guard(lambda: output.emit('x' * 1000000)))"


@pytest.mark.parametrize("script", [BIG, BIG.replace("1000000", "1")], ids=["much", "little"])
def test_a_closed_stdout_ends_the_program_without_a_word(script: str) -> None:
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, "-c", script], stdout=write, stderr=subprocess.PIPE, check=False, env=child_environment()
    )
    os.close(write)
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="platform: no /dev/full here")
def test_a_full_stdout_is_a_local_file_error() -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [sys.executable, "-c", BIG], stdout=full, stderr=subprocess.PIPE, check=False, env=child_environment()
        )
    assert ended.returncode == 9
    assert ended.stderr.startswith(b"error: Standard output cannot be written: No space left on device.")


def test_rich_is_loaded_for_a_terminal_only() -> None:
    script = "import sys\nfrom stronghold_cli import output\noutput.table([['b']], ['A'])\nassert 'rich' not in sys.modules"
    ended = run_python(script)
    assert (ended.returncode, ended.stdout) == (0, b"A\nb\n")


def on_terminal(script: str, typed: bytes = b"", environment: dict[str, str] | None = None) -> str:
    """Run a script on a pseudo-terminal and return what stands on it."""
    main, side = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=side, stdout=side, stderr=side, env=child_environment(**(environment or {}))
    )
    os.close(side)
    os.write(main, typed)
    seen = io.BytesIO()
    try:
        while piece := os.read(main, 4096):
            seen.write(piece)
    except OSError:
        pass  # the other side has been closed
    os.close(main)
    assert child.wait(20) == 0
    return seen.getvalue().decode()


@pytest.mark.usefixtures("terminal_or_skip")
def test_a_table_on_a_terminal_has_columns_and_takes_no_markup_from_cells() -> None:
    script = (
        "from stronghold_cli import output\noutput.configure()\n"
        "output.table([['[red]x[/red]', 'y\\x1b']], ['LEFT', 'RIGHT'])"
    )
    shown = on_terminal(script)
    assert "[red]x[/red]" in shown
    assert "y\\x1b" in shown
    assert "LEFT" in shown


@pytest.mark.usefixtures("terminal_or_skip")
def test_no_color_ends_colours() -> None:
    script = "from stronghold_cli import output\noutput.configure()\noutput.warn('w')"
    plain_terminal = {"NO_COLOR": "1", "TERM": "xterm"}
    assert "\x1b[33m" in on_terminal(script, environment={"NO_COLOR": "", "TERM": "xterm"})
    assert "\x1b" not in on_terminal(script, environment=plain_terminal)
    assert "\x1b" not in on_terminal(script, environment={"NO_COLOR": "", "TERM": "dumb"})


@pytest.mark.usefixtures("terminal_or_skip")
@pytest.mark.parametrize(("typed", "agreed"), [(b"y\n", True), (b"YES\n", True), (b"\n", False), (b"no\n", False)])
def test_confirm_asks_on_a_terminal(typed: bytes, agreed: bool) -> None:
    shown = on_terminal("from stronghold_cli import output\nprint(output.confirm('Really?', False))", typed)
    assert "Really? [y/N]" in shown
    assert str(agreed) in shown


def test_confirm_and_ask_need_an_option_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert output.confirm("Really?", True)
    with pytest.raises(errors.UsageError) as caught:
        output.confirm("Really?", False)
    assert "--yes" in caught.value.hint
    for question in (output.ask, output.ask_passphrase):
        with pytest.raises(errors.UsageError) as asked:
            question("Name", option="--name")
        assert "--name" in asked.value.hint


@pytest.mark.usefixtures("terminal_or_skip")
def test_ask_takes_a_default_and_trims() -> None:
    script = "from stronghold_cli import output\nprint(repr(output.ask('Name', option='--name', default='ann')))"
    assert "'ann'" in on_terminal(script, b"\n")
    assert "'bob'" in on_terminal(script, b" bob \n")


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1795333449, "2026-11-22T07:44:09Z"),
        (None, "-"),
        (2**62, "4611686018427387904 s after 1970"),
    ],
)
def test_times_are_utc_with_z(moment: int | None, text: str) -> None:
    assert output.when(moment) == text


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (0, "now"),
        (59, "59 s ago"),
        (60, "1 min ago"),
        (3 * 3600 + 5, "3 h ago"),
        (2 * 86400, "2 d ago"),
        (800 * 86400, "2 y ago"),
        (-90 * 60, "in 1 h"),
    ],
)
def test_lists_say_how_long_ago(distance: int, text: str) -> None:
    assert output.ago(10**9 - distance, 10**9) == text
    assert output.ago(None, 10**9) == "-"
