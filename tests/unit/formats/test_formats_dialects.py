"""What the sub-dialects of ``dotenv`` and the formats for machines are written as, to the byte."""

from __future__ import annotations

import os
import re
from base64 import b64decode
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stronghold_cli.formats import (
    compose,
    csv_rows,
    docker,
    dotenv_go,
    dotenv_node,
    dotenv_python,
    dotenv_ruby,
    kubernetes,
    powershell,
    systemd,
    terraform,
)
from stronghold_cli.formats.options import Options
from stronghold_cli.formats.table import render


def line(format_name: str, value: bytes) -> bytes:
    return render(format_name, {"K": value}, random=os.urandom).content


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


@pytest.mark.parametrize("sign", "=+-@\t\r")
def test_csv_tells_the_keys_that_a_spreadsheet_would_compute(sign: str) -> None:
    formula = f"{sign}cmd|' /C calc'!A0".encode()
    rendered = render("csv", {"A": formula, "B": b"1" + formula, "C": formula, "D": b""}, random=os.urandom)
    (told,) = rendered.notes
    assert told.startswith("A, C: a spreadsheet would take the value for a formula")
    assert "calc" not in told
    assert csv_rows.read(rendered.content)["A"] == formula
    assert render("csv", {"B": b"1" + formula, "D": b""}, random=os.urandom).notes == ()


# --- powershell, tfvars -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (b"", b"$env:K = ''\n"),
        (b"it's ''$x `n\"\r\n", b"$env:K = 'it''s ''''$x `n\"\r\n'\n"),
        (
            "\u00d1;calc #".encode(),
            b"$env:K = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('w5E7Y2FsYyAj'))\n",
        ),
        ("'\u2019".encode(), b"$env:K = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('J+KAmQ=='))\n"),
    ],
)
def test_powershell_is_written_in_ascii(value: bytes, content: bytes) -> None:
    assert line("powershell", value) == content
    assert powershell.read(content) == {"K": value}


def code_pages(content: bytes) -> Iterator[str]:
    """A file as machines read it that have no byte order mark to go by; what Windows-1252 lacks is as in Latin-1."""
    yield content.decode("utf-8")
    yield "".join(bytes([byte]).decode("latin-1" if byte in b"\x81\x8d\x8f\x90\x9d" else "cp1252") for byte in content)
    for name in ("cp1250", "cp1251", "cp932", "cp936", "cp949"):
        yield content.decode(name, "replace")


QUOTE = "['\u2018-\u201b]"  # what PowerShell's tokenizer takes for a single quote
TEXT = re.compile(f"{QUOTE}((?:[^'\u2018-\u201b]|{QUOTE}{{2}})*+){QUOTE}")
AROUND = re.compile(
    r"\n?\$env:K\d+ = (?:\[Text\.Encoding]::UTF8\.GetString\(\[Convert]::FromBase64String\()?|\)\)(?=\n)|\n\Z"
)


def literals(script: str) -> list[str]:
    """The texts in single quotes of a script of such assignments; ``ValueError`` where anything else stands there."""
    texts, position = [], 0
    while position < len(script):
        if text := TEXT.match(script, position):
            texts.append(re.sub(f"({QUOTE}){QUOTE}", r"\1", text[1]))
        elif not (text := AROUND.match(script, position)):
            raise ValueError("something that is no text would be run")
        position = text.end()
    return texts


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=4))
@example(["\u00d1;calc #"])
@example(["\u2018\u2019\u201a\u201b", "\u2202", "it's"])
def test_powershell_is_taken_for_the_same_texts_in_every_code_page(values: list[str]) -> None:
    named = {f"K{number}": value.encode() for number, value in enumerate(values)}
    content = render("powershell", named, random=os.urandom).content
    for script in code_pages(content):
        read = literals(script)
        assert [
            text if value.isascii() else b64decode(text).decode() for text, value in zip(read, values, strict=True)
        ] == values


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
