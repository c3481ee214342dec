"""Whatever the values are: each format reads back what it wrote, and the real readers agree with the reference readers."""

from __future__ import annotations

import json
import os
from io import StringIO

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from stronghold_cli.formats.imports import parse_env
from stronghold_cli.formats.masks import mask_commands
from stronghold_cli.formats.options import Options
from stronghold_cli.formats.table import FORMATS, READERS, load, render
from stronghold_cli.protocol.errors import Unwritable, UsageError

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from([*"'\"`\\$\n\r#= {}()<;&|!~\t", "${", "$(", "\\n", "A=1\n", "export "]), st.characters(codec="utf-8")
    ),
    max_size=14,
).map("".join)
STRICT = Options(strict=True)
TEXTS = st.one_of(HOSTILE, st.text(st.characters(codec="utf-8"), max_size=40))
VALUES = st.one_of(TEXTS.map(str.encode), st.binary(max_size=40))


def carried(format_name: str, values: dict[str, bytes], reader: str | None = None) -> dict[str, bytes]:
    """The values that the format does not refuse one by one."""
    return {name: value for name, value in values.items() if not load(format_name, reader).refusal(name, value)}


@pytest.mark.parametrize(
    ("format_name", "reader"), [*((name, None) for name in FORMATS), *(("dotenv", name) for name in READERS)]
)
@given(values=st.dictionaries(NAMES, VALUES, max_size=12))
def test_what_is_not_refused_reads_back_exactly(format_name: str, reader: str | None, values: dict[str, bytes]) -> None:
    kept = carried(format_name, values, reader)
    content = render(format_name, kept, random=os.urandom, reader=reader).content
    assert load(format_name, reader).read(content) == kept
    assert content == b"" or content.endswith(b"\n")
    if kept != values:
        with pytest.raises(Unwritable):
            render(format_name, values, random=os.urandom, reader=reader)


@given(values=st.dictionaries(NAMES, TEXTS.map(str.encode), max_size=12))
def test_strict_dotenv_is_read_alike_by_the_reference_readers_of_all_dialects(values: dict[str, bytes]) -> None:
    kept = {name: value for name, value in values.items() if not load("dotenv").refusal(name, value, STRICT)}
    content = render("dotenv", kept, random=os.urandom, options=STRICT).content
    for reader in READERS:
        assert load("dotenv", reader).read(content) == kept
    assert render("dotenv", kept, random=os.urandom).content == content


@given(values=st.dictionaries(NAMES, TEXTS.map(str.encode), max_size=12))
def test_hcl_reads_back_exactly(values: dict[str, bytes]) -> None:
    hcl = Options(path="secrets.tfvars")
    kept = carried("tfvars", values)
    assert load("tfvars").read(render("tfvars", kept, random=os.urandom, options=hcl).content, hcl) == kept


@given(values=st.dictionaries(NAMES, VALUES, max_size=12))
def test_python_dotenv_reads_what_dotenv_writes(values: dict[str, bytes]) -> None:
    kept = carried("dotenv", values)
    text = render("dotenv", kept, random=os.urandom).content.decode()
    # newline=None: universal line ends, as a file is opened
    assert dotenv_values(stream=StringIO(text, newline=None)) == {name: value.decode() for name, value in kept.items()}


@given(values=st.dictionaries(NAMES, VALUES, max_size=12))
def test_what_is_pulled_can_be_pushed_again(values: dict[str, bytes]) -> None:
    kept = carried("dotenv", values)
    assert parse_env(render("dotenv", kept, random=os.urandom).content, ".env") == kept
    without_nul = {name: value for name, value in carried("json", values).items() if b"\0" not in value}
    assert parse_env(render("json", without_nul, random=os.urandom).content, "pulled.json") == without_nul


@given(content=st.one_of(st.binary(max_size=80), HOSTILE.map(str.encode)), source=st.sampled_from([".env", "x.json"]))
def test_any_file_is_taken_or_refused_with_its_name(content: bytes, source: str) -> None:
    try:
        secrets = parse_env(content, source)
    except UsageError as error:
        told = error.message
    else:
        told = f"{source}: {len(secrets)} secrets"
    assert told.startswith(source)


@given(content=HOSTILE.map(lambda text: "A=" + text))
def test_the_reference_reader_of_dotenv_agrees_with_python_dotenv_on_any_file(content: str) -> None:
    """Where it reads a file at all: what python-dotenv skips, it refuses."""
    try:
        read = load("dotenv").read(content.encode())
    except ValueError:
        return
    expected = dotenv_values(stream=StringIO(content, newline=None))
    assert {name: value.decode() for name, value in read.items()} == expected


@given(values=st.dictionaries(NAMES, TEXTS, max_size=12))
def test_json_is_what_any_json_reader_reads(values: dict[str, str]) -> None:
    content = render("json", {name: value.encode() for name, value in values.items()}, random=os.urandom).content
    assert json.loads(content) == values


@given(values=st.lists(VALUES, max_size=6))
def test_masks_are_whole_lines_each_of_which_is_one_command(values: list[bytes]) -> None:
    lines = mask_commands(values).split(b"\n")
    assert lines.pop() == b""
    assert all(line.startswith(b"::add-mask::") and line[12:].strip() and b"\r" not in line for line in lines)
    found = {line[12:].replace(b"%0D", b"\r").replace(b"%0A", b"\n").replace(b"%25", b"%") for line in lines}
    assert {value for value in values if value.decode("utf-8", "replace").strip()} <= found
