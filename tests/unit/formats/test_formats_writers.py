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
    dotenv_python,
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


# --- the sub-dialects of dotenv ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reader", "value", "content"),
    [
        ("python", b"it's \\", b"K='it\\'s \\\\'\n"),
        ("python", b'a\r"$(b)', b'K="a\\r\\"$(b)"\n'),
        ("python", b"${a", b"K='${a'\n"),
        ("node", b"pa$$ word", b"K='pa$$ word'\n"),
        ("node", b"it's", b"K=`it's`\n"),
        ("node", b"it's `x`", b'K="it\'s `x`"\n'),
        ("node", b"it's `x` \\n", b"K=it's `x` \\n\n"),
        ("node", b"C:\\dir\\", b"K=C:\\dir\\\n"),
        ("compose", b'$a "b" \\\r\n', b'K="\\$a \\"b\\" \\\\\\r\\n"\n'),
        ("go", b"pa$$ word", b"K='pa$$ word'\n"),
        ("go", b"it's $X", b'K="it\'s \\$X"\n'),
        ("go", b"C:\\dir\\", b"K=C:\\dir\\\n"),
        ("go", b"a\r\nb", b'K="a\\r\nb"\n'),
        ("ruby", b"pa$$ word", b"K='pa$$ word'\n"),
        ("ruby", b"it's $(x)", b'K="it\'s \\$(x)"\n'),
        ("ruby", b"a $dir\\", b"K=a \\$dir\\\n"),
    ],
)
def test_a_dialect_is_written_in_the_first_form_that_its_reader_reads(reader: str, value: bytes, content: bytes) -> None:
    rendered = render("dotenv", {"K": value}, random=os.urandom, reader=reader)
    assert (rendered.content, rendered.notes) == (content, ())


@pytest.mark.parametrize(
    ("module", "value"),
    [
        (dotenv_python, b"a${b}"),
        (dotenv_python, b"a${b:-c}"),
        (dotenv_node, b"a\rb"),
        (dotenv_node, b"'\n`\n\""),
        (dotenv_node, b"'\n\\"),
        (dotenv_go, b"'\n\\"),
        (dotenv_go, b"'\n\""),
        (dotenv_ruby, b"a\rb"),
        (dotenv_ruby, b"'\n\\"),
        (dotenv_ruby, b"'\n$(a) $("),
    ],
)
def test_a_dialect_refuses_what_no_form_holds(module: ModuleType, value: bytes) -> None:
    assert module.refusal("K", value)


# --- docker, compose, systemd -----------------------------------------------------------------------------------------


def test_docker_writes_a_value_as_it_is_up_to_the_longest_line() -> None:
    assert line("docker", b" '$x' # \"\\ \ra ") == b"K= '$x' # \"\\ \ra \n"
    assert not docker.refusal("K", b"x" * 65_533)
    assert docker.refusal("K", b"x" * 65_534)
    assert docker.refusal("K", b"a\nb")
    assert docker.refusal("K", b"a\r")


def test_the_reference_reader_of_docker_reads_as_the_client() -> None:
    assert docker.read(b"# c\n\n  A= b \r\nB=#\n") == {"A": b" b ", "B": b"#"}


def test_compose_is_always_quoted() -> None:
    assert line("compose", b"plain") == b'K="plain"\n'
    assert line("compose", b'a\n\r$"\\') == b'K="a\\n\\r\\$\\"\\\\"\n'
    assert compose.read(b"A=b # c\nB='it\\'s $x'\nC=\"$$x\"\n") == {"A": b"b", "B": b"it's $x", "C": b"$x"}


def test_systemd_is_always_quoted() -> None:
    assert line("systemd", b"plain") == b'K="plain"\n'
    assert line("systemd", b"a\n$`\"\\'") == b'K="a\n\\$\\`\\"\\\\\'"\n'
    assert systemd.read(b'A="a\\\nb\\c"\n') == {"A": b"ab\\c"}
    for code in (0xFDD0, 0xFDEF, 0xFFFE, 0x1FFFF, 0x10FFFF):
        assert systemd.refusal("K", chr(code).encode())


# --- yaml, toml, k8s, csv ----------------------------------------------------------------------------------------------


def test_yaml_escapes_as_yaml_does() -> None:
    value = 'a"\\\n\t\0\x7f\x85\u2028\ufeff\U0001f680\u00e9'.encode()
    assert line("yaml", value) == 'K: "a\\"\\\\\\n\\t\\0\\x7f\\x85\\u2028\\ufeff\\U0001f680\u00e9"\n'.encode()


@pytest.mark.parametrize("name", ["y", "No", "NULL", "true", "off"])
def test_yaml_quotes_a_key_that_is_a_truth(name: str) -> None:
    assert render("yaml", {name: b"1"}, random=os.urandom).content == f'"{name}": "1"\n'.encode()
    assert render("yaml", {f"{name}1": b"1"}, random=os.urandom).content == f'{name}1: "1"\n'.encode()


def test_toml_escapes_as_toml_does() -> None:
    assert line("toml", 'a"\\\n\x1b\x7f\u00e9'.encode()) == 'K = "a\\"\\\\\\n\\u001b\\u007f\u00e9"\n'.encode()


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("production", "production"),
        ("Pro_duction.EU", "pro-duction.eu"),
        ("-a.-.b-", "a.b"),
        ("\u00e9", "stronghold"),
        ("a" * 300, "a" * 253),
    ],
)
def test_a_secret_of_kubernetes_has_a_name_that_kubernetes_takes(title: str, name: str) -> None:
    content = render("k8s", {"no": b"\xff\0"}, random=os.urandom, options=Options(title=title)).content.decode()
    assert f'  name: "{name}"\n' in content
    assert content.endswith('data:\n  "no": "/wA="\n')


def test_a_secret_of_kubernetes_has_limits() -> None:
    assert kubernetes.refusal("A" * 254, b"")
    assert not kubernetes.refusal("A" * 253, b"")
    assert render("k8s", {"A": b"x" * (1 << 20)}, random=os.urandom).notes == ()
    (told,) = render("k8s", {"A": b"x" * (1 << 20), "B": b"1"}, random=os.urandom).notes
    assert "no Secret of more than 1048576" in told


def test_csv_has_a_header_and_quotes_every_value() -> None:
    assert line("csv", b'a"b,\n\r') == b'name,value\nK,"a""b,\n\r"\n'


# --- powershell, tfvars -------------------------------------------------------------------------------------------------


def test_powershell_doubles_each_of_its_quotes() -> None:
    value = "it's \u2018\u2019\u201a\u201b $x `n".encode()
    assert line("powershell", value) == "$env:K = 'it''s \u2018\u2018\u2019\u2019\u201a\u201a\u201b\u201b $x `n'\n".encode()
    assert powershell.read("$env:K = '\u2018''\u201a'\n".encode()) == {"K": "\u2018'".encode()}


def test_powershell_tells_that_older_ones_take_empty_variables_away() -> None:
    assert render("powershell", {"A": b"", "B": b"1", "C": b""}, random=os.urandom).notes[0].startswith("A, C: ")
    assert render("powershell", {"B": b"1"}, random=os.urandom).notes == ()


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (b"${a}", b"$${a}"),
        (b"%{a}", b"%%{a}"),
        (b"$${a}", b"$\\u0024{a}"),
        (b"$ { %", b"$ { %"),
        (b'a"\\\n\x01', b'a\\"\\\\\\n\\u0001'),
    ],
)
def test_hcl_escapes_what_would_be_a_template(value: bytes, content: bytes) -> None:
    hcl = Options(path="x.tfvars")
    assert render("tfvars", {"K": value}, random=os.urandom, options=hcl).content == b'K = "' + content + b'"\n'
    assert terraform.read(b'K = "' + content + b'"\n', hcl) == {"K": value}
    assert render("tfvars", {"K": value}, random=os.urandom).content.startswith(b'{\n  "K": ')


def test_terraform_is_given_no_text_that_it_would_change() -> None:
    assert terraform.refusal("K", "e\u0301".encode())
    assert not terraform.refusal("K", "\u00e9".encode())


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
