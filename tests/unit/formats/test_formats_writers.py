"""What each writer writes to the byte, and what each reference reader takes and refuses."""

from __future__ import annotations

import os
from types import ModuleType

import pytest

from stronghold_cli.formats import (
    compose,
    csv_rows,
    docker,
    dotenv,
    dotenv_go,
    dotenv_node,
    dotenv_ruby,
    github,
    json_object,
    kubernetes,
    powershell,
    shell,
    systemd,
    terraform,
    toml_table,
    yaml_map,
)
from stronghold_cli.formats.options import Options
from stronghold_cli.formats.table import render


def line(format_name: str, value: bytes) -> bytes:
    return render(format_name, {"K": value}, random=os.urandom).content


def note(value: bytes) -> str:
    return " ".join(render("dotenv", {"K": value}, random=os.urandom).notes)


# --- dotenv ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (b"", b"K=\n"),
        (b"abc", b"K=abc\n"),
        (b"postgres://u:p@h/d", b"K=postgres://u:p@h/d\n"),
        (b"a=b", b"K=a=b\n"),
        (b"=a", b"K='=a'\n"),
        (b":a", b"K=':a'\n"),
        (b"x" * 59_999, b"K=" + b"x" * 59_999 + b"\n"),
        (b"x" * 60_000, b"K='" + b"x" * 60_000 + b"'\n"),
        (b" a ", b"K=' a '\n"),
        (b"a#b", b"K='a#b'\n"),
        (b"~", b"K='~'\n"),
        (b"a\nb\n", b"K='a\nb\n'\n"),
        (b'{"a":"b\\n"}', b'K=\'{"a":"b\\n"}\'\n'),
        (b"`a`", b"K='`a`'\n"),
        (b"it's", b'K="it\'s"\n'),
        ("e\u0301".encode(), "K='e\u0301'\n".encode()),
    ],
)
def test_dotenv_writes_the_portable_form_without_a_note(value: bytes, content: bytes) -> None:
    assert line("dotenv", value) == content
    assert note(value) == ""


@pytest.mark.parametrize(
    ("value", "content", "served", "named"),
    [
        # One form for sh, node and compose.
        (b"pa$$word", b"K='pa$$word'\n", ("shells", "node", "compose"), ("dotenv-expand", "docker --env-file")),
        # No form for all: the one that serves the most of them.
        (b'it\'s "x"', b'K="it\'s \\"x\\""\n', ("shells", "compose"), ("node",)),
        (b"a\\\\b", b'K="a\\\\\\\\b"\n', ("shells", "compose"), ("node",)),
        (b"C:\\", b'K="C:\\\\"\n', ("shells", "compose"), ("node",)),
        (b"it's $5", b'K="it\'s $5"\n', ("node (", "systemd"), ("shells", "compose")),
        (b"a\r\nb", b'K="a\\r\nb"\n', ("compose",), ("shells", "node")),
    ],
)
def test_dotenv_writes_what_is_not_portable_as_python_dotenv_reads_it(
    value: bytes, content: bytes, served: tuple[str, ...], named: tuple[str, ...]
) -> None:
    assert line("dotenv", value) == content
    assert note(value).startswith("K: ")
    assert all(reader in note(value) for reader in named)
    assert not any(reader in note(value) for reader in served)


def test_dotenv_tells_that_systemd_drops_what_is_no_character() -> None:
    assert line("dotenv", "a\uffff".encode()) == "K='a\uffff'\n".encode()
    assert note("a\uffff".encode()).endswith("may read it differently: systemd, docker --env-file.")
    assert note("a\ufffd".encode()) == ""


def test_dotenv_prefers_a_form_that_no_shell_runs() -> None:
    """In double quotes a shell would run the backticks; the other form is only misread."""
    assert line("dotenv", b"\\\\ `touch x`") == b"K='\\\\\\\\ `touch x`'\n"
    assert "would run" not in note(b"\\\\ `touch x`")


@pytest.mark.parametrize("held", ["$[A]", "${PATH:A}", "${", "${@P", "$A[B]", "$#[A]", "$^=~A[B]", "$$[A]", "$\u00e9[A]"])
def test_dotenv_refuses_what_a_shell_would_compute_in_double_quotes(held: str) -> None:
    """In bash and zsh that runs a command in the value of A (below, and tests/conformance with these shells)."""
    for value in (f"it's {held}", f"\r{held}"):
        assert "a shell that sources the file may run commands by it" in dotenv.refusal("B", value.encode())
        allowed = Options(allowed=frozenset({"B"}))
        rendered = render("dotenv", {"B": value.encode()}, random=os.urandom, options=allowed)
        assert "would run a part of the value" in rendered.notes[0]
    for value in (held, f'say "{held}"', f"\\\\{held}\\"):
        assert line("dotenv", value.encode()).startswith(b"K='")
        assert "would run" not in note(value.encode())


@pytest.mark.parametrize("value", [b"it's $5", b"it's $A [B]", b"it's a[0]", b"it's $ {A}", b"it's {A}$"])
def test_dotenv_carries_dollars_that_no_shell_computes(value: bytes) -> None:
    assert dotenv.refusal("K", value) == ""


def test_dotenv_says_where_every_form_lets_a_shell_run_a_part() -> None:
    assert "would run a part of the value" in note(b"it's `touch x`")
    assert "would run a part of the value" in note(b"\r`touch x`")


def test_keys_that_the_same_readers_misread_share_one_note() -> None:
    notes = render("dotenv", {"A": b"$a", "B": b"plain", "C": b"$c", "D": b"\\\\"}, random=os.urandom).notes
    assert [text.split(":")[0] for text in notes] == ["A, C", "D"]


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (b"", {}),
        (b"\n# c\n  # d\n", {}),
        (b"A=b # c\n", {"A": b"b"}),
        (b"A=b#c", {"A": b"b#c"}),
        (b"A= # c\nB=d", {"A": b"", "B": b"d"}),
        (b"export A = 'b' # c\n", {"A": b"b"}),
        (b"'A'=b\n", {"A": b"b"}),
        (b"A='b\\n\\'\\\\'\r\nB=2\r\n", {"A": b"b\\n'\\", "B": b"2"}),
        (b'A="\\a\\n\\$\\q\\"\\\\"\n', {"A": b'\a\n\\$\\q"\\'}),
        (b"A='x\r\ny'\n", {"A": b"x\ny"}),
        (b"A=1\nB='${A}${C:-3}${D}$A'\n", {"A": b"1", "B": b"13$A"}),
    ],
)
def test_the_reference_reader_of_dotenv_reads_as_python_dotenv(content: bytes, values: dict[str, bytes]) -> None:
    from io import StringIO

    from dotenv import dotenv_values

    assert dotenv.read(content) == values
    text = content.decode().replace("\r\n", "\n")
    assert dotenv_values(stream=StringIO(text)) == {name: value.decode() for name, value in values.items()}


@pytest.mark.parametrize("content", [b"A='b", b'A="b\\"\n', b"A='b' c\n", b"A\n", b"A B=c\n", b"=b\n"])
def test_the_reference_reader_of_dotenv_refuses_what_python_dotenv_skips(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        dotenv.read(content)


# --- json ------------------------------------------------------------------------------------------------------------


def test_json_is_utf8_and_readable() -> None:
    values = {"A": "\U0001f680 e\u0301".encode(), "B": b'a"\\\n\0'}
    content = render("json", values, random=os.urandom).content
    assert content.decode() == '{\n  "A": "\U0001f680 e\u0301",\n  "B": "a\\"\\\\\\n\\u0000"\n}\n'


# --- shell -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (b"", b"export K=''\n"),
        (b"a=b", b"export K=a=b\n"),
        (b"=a", b"export K='=a'\n"),
        (b"~", b"export K='~'\n"),
        (b"$(x) `y`", b"export K='$(x) `y`'\n"),
        (b"it's", b"export K='it'\"'\"'s'\n"),
        (b"\xff\n", b"export K='\xff\n'\n"),
    ],
)
def test_shell_quotes_all_that_a_shell_treats_specially(value: bytes, content: bytes) -> None:
    assert line("shell", value) == content


@pytest.mark.parametrize("name", ["UID", "_", "OPTIND", "RANDOM", "PPID"])
def test_shell_refuses_names_that_shells_own(name: str) -> None:
    assert shell.refusal(name, b"1")
    assert not shell.refusal(f"MY_{name}", b"1")


def test_shell_notes_a_value_that_no_linux_program_takes() -> None:
    longest = (128 << 10) - len("K=") - 1
    assert render("shell", {"K": b"x" * longest}, random=os.urandom).notes == ()
    (told,) = render("shell", {"K": b"x" * (longest + 1)}, random=os.urandom).notes
    assert told.startswith("K has ")


# --- github ----------------------------------------------------------------------------------------------------------


def test_github_writes_a_heredoc_with_a_fresh_delimiter_for_each_value() -> None:
    drawn = iter([b"\x01" * 16, b"\x02" * 16])
    content = render("github", {"A": b"x\ny", "B": b""}, random=lambda size: next(drawn)).content
    one, two = b"stronghold_" + b"01" * 16, b"stronghold_" + b"02" * 16
    assert content == b"A<<%s\nx\ny\n%s\nB<<%s\n\n%s\n" % (one, one, two, two)


def test_github_draws_again_where_the_value_holds_the_delimiter() -> None:
    drawn = iter([b"\x01" * 16, b"\x02" * 16])
    value = b"a\nstronghold_" + b"01" * 16 + b"\nINJECTED=1"
    content = render("github", {"A": value}, random=lambda size: next(drawn)).content
    assert content.startswith(b"A<<stronghold_" + b"02" * 16 + b"\n")


def test_github_asks_for_128_random_bits() -> None:
    asked: list[int] = []

    def random(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    render("github", {"A": b"1"}, random=random)
    assert asked == [16]


@pytest.mark.parametrize("name", ["GITHUB_TOKEN", "github_env", "RUNNER_TEMP", "NODE_OPTIONS", "node_options"])
def test_github_refuses_the_runner_s_names(name: str) -> None:
    assert github.refusal(name, b"1")
    assert not github.refusal(f"MY_{name}", b"1")


def test_the_reference_reader_of_github_reads_as_the_runner() -> None:
    content = b"A=b=<<c\n\nB<<E\nx=1\n\nE\nC<<E=\nE=\nD<<E\n\n\nE"
    assert github.read(content) == {"A": b"b=<<c", "B": b"x=1\n", "C": b"", "D": b"\n"}


# --- broken files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reader", "content"),
    [
        (json_object, b'{"A":"1","A":"2"}'),
        (json_object, b'{"A":1}'),
        (shell, b"A=1\n"),
        (shell, b"export A='1\n"),
        (shell, b"export A=1; B=2\n"),
        (github, b"A<<E\nx\n"),
        (github, b"A\n"),
        (github, b"<<E\nE\n"),
        (github, b"A<<\n\n"),
        (docker, b"A\n"),
        (docker, b"A B=1\n"),
        (docker, b"A=" + b"x" * 65_536),
        (compose, b"A='b\n"),
        (compose, b'A="b" c\n'),
        (compose, b'A="${x}"\n'),
        (compose, b"A=$x\n"),
        (systemd, b"A=1\n"),
        (yaml_map, b"A: 1\n"),
        (yaml_map, b'A: "1"\nA: "2"\n'),
        (yaml_map, b'A: "\\q"\n'),
        (toml_table, b"A = 1\n"),
        (toml_table, b'A = "1"\nA = "2"\n'),
        (kubernetes, b"A: 1\n"),
        (csv_rows, b"A,1\n"),
        (csv_rows, b"name,value\nA,1\n"),
        (powershell, b"$env:A = 'it's'\n"),
        (powershell, b"A = '1'\n"),
        (powershell, "$env:A = '\u00e9'\n".encode()),
        (powershell, b"$env:A = 'YQ=='))\n"),
        (powershell, b"$env:A = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('a b'))\n"),
        (dotenv_node, b"A='b' c\n"),
        (dotenv_go, b"A='b\n"),
        (dotenv_go, b"A='b\r\nc'\n"),
        (dotenv_ruby, b'A="$(x)"\n'),
    ],
)
def test_a_reference_reader_refuses_what_its_format_does_not_have(reader: ModuleType, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        reader.read(content)


def test_the_reader_of_hcl_refuses_a_template() -> None:
    with pytest.raises(ValueError, match="template"):
        terraform.read(b'A = "${b}"\n', Options(path="x.tfvars"))
