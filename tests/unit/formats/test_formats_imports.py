"""What ``env push`` takes from a file, and what it refuses with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stronghold_cli.formats.imports import names_in, parse_env
from stronghold_cli.protocol.errors import UsageError
from stronghold_cli.protocol.names import MAX_SECRETS, MAX_VALUE

CORPUS = Path(__file__).parents[2] / "data"


def fault(content: bytes, source: str = ".env") -> str:
    with pytest.raises(UsageError) as caught:
        parse_env(content, source)
    assert "s3cret" not in caught.value.message + caught.value.hint
    return caught.value.message


def test_the_corpus_of_fifty_is_read_to_the_values_written_down_beside_it() -> None:
    expected = json.loads((CORPUS / "fifty.json").read_text("utf-8"))
    assert len(expected) == 50
    assert parse_env((CORPUS / "fifty.env").read_bytes(), "fifty.env") == {
        name: value.encode() for name, value in expected.items()
    }


def test_the_corpus_is_read_alike_from_json() -> None:
    from_json = parse_env((CORPUS / "fifty.json").read_bytes(), "fifty.json")
    assert from_json == parse_env((CORPUS / "fifty.env").read_bytes(), "fifty.env")


def test_the_order_of_the_file_is_kept() -> None:
    assert list(parse_env(b"B=1\nA=2\n", ".env")) == ["B", "A"]


def test_nothing_is_expanded() -> None:
    assert parse_env(b"A=1\nB=${A}\nC=\"${A:-x}\"\nD='$A'", ".env")["B"] == b"${A}"
    assert parse_env(b'A=1\nC="${A:-x}"', ".env")["C"] == b"${A:-x}"


def test_values_are_not_normalised() -> None:
    assert parse_env("A=e\u0301\nB=\u00e9\nC=\ufb01".encode(), ".env") == {
        "A": "e\u0301".encode(),
        "B": "\u00e9".encode(),
        "C": "\ufb01".encode(),
    }


def test_windows_line_ends_are_read_as_python_dotenv_reads_files(tmp_path: Path) -> None:
    from dotenv import dotenv_values

    content = b"A=1\r\nB='x\r\ny'\r\nC=\"a\\r\\nb\"\r\n"
    (tmp_path / ".env").write_bytes(content)
    read = parse_env(content, ".env")
    assert read == {"A": b"1", "B": b"x\ny", "C": b"a\r\nb"}
    assert {name: value.decode() for name, value in read.items()} == dotenv_values(tmp_path / ".env")


def test_comments_export_and_blank_lines_are_nothing() -> None:
    assert parse_env(b"# c\n\nexport A=1 # d\n  # e\n", ".env") == {"A": b"1"}
    assert parse_env(b"", ".env") == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"A=1\n\n# c\n\nA=s3cret\n", ".env, line 5: A stands there twice, first in line 1."),
        (b"A=1\n\nB-C=s3cret\n", ".env, line 3: the name is not legal for a secret."),
        (b"1A=s3cret", ".env, line 1: the name is not legal for a secret."),
        (("A" * 256).encode() + b"=1", ".env, line 1: the name is not legal for a secret."),
        ("\u00c4=s3cret".encode(), ".env, line 1: the name is not legal for a secret."),
        (b"A=1\n\n\nB\nC=2\n", ".env, line 4: there is no = after the name."),
        (b"KEY=MIIEv\ns3cret\n", ".env, line 2: there is no = after the name."),
        (b"KEY=MIIEv\ns3cret+/==\n", ".env, line 2: the name is not legal for a secret."),
        (b"A=ENC[x]\nsops_mac=y\n", ".env, line 2: the file is still encrypted by sops."),
        (b"A=1\n\nB='s3cret\nC=2\n", ".env, line 3: a quote is not closed, or text follows the closing one."),
        (b'A=1\nB="s3cret" s3cret\n', ".env, line 2: a quote is not closed, or text follows the closing one."),
        (b"A=1\nB C=s3cret\n", ".env, line 2: this is not a KEY=value line."),
        (b"\xef\xbb\xbfA=s3cret", ".env, line 1: the file begins with a byte order mark."),
        ("A=s3cret".encode("utf-16"), ".env, line 1: the file begins with UTF-16."),
        (b"\xfe\xff" + "A=s3cret".encode("utf-16-be"), ".env, line 1: the file begins with UTF-16."),
        ("A=s3cret".encode("utf-16-le"), ".env, line 1: there is a NUL byte."),
        (b"A=1\r\nB=s3cret\0\n", ".env, line 2: there is a NUL byte."),
        (b"A=1\rB=2\nC=s3cret\xff\n", ".env, line 3: the text is not UTF-8."),
        (
            b"A=1\nB=" + b"x" * (MAX_VALUE + 1),
            f".env, line 2: the value of B has {MAX_VALUE + 1} bytes; at most {MAX_VALUE} are allowed.",
        ),
    ],
)
def test_what_is_doubtful_is_refused_with_its_line(content: bytes, message: str) -> None:
    assert fault(content) == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"A":"1",\n"B" "s3cret"}', "x.json, line 2: this is not JSON: Expecting ':' delimiter."),
        (b'{"A":"1","A":"s3cret"}', "x.json, line 1: A stands there twice, first in line 1."),
        (b'["A","s3cret"]', "x.json, line 1: the file is not one map of names to values."),
        (b'{"A":1}', "x.json, line 1: the value of 'A' is not a string."),
        (b'{"A":{"B":"s3cret"}}', "x.json, line 1: the value of 'A' is not a string."),
        (b'{"A":"1",\n\n"A":"s3cret"}', "x.json, line 3: A stands there twice, first in line 1."),
        (b'{"A":null}', "x.json, line 1: the value of 'A' is not a string."),
        (b'{"A-B":"s3cret"}', "x.json, line 1: the name is not legal for a secret."),
        (b'{"A":"s3cret\\u0000"}', "x.json, line 1: the value of A holds a NUL, which no environment variable can carry."),
        (b'{"A":"\\ud800"}', "x.json, line 1: the value of A holds half of a surrogate pair."),
        (b"[" * 100_000, "x.json: this is not JSON that can be read."),
        (b"1" * 5000, "x.json: this is not JSON that can be read."),
        (b"", "x.json, line 1: this is not JSON: Expecting value."),
    ],
)
def test_json_that_is_no_flat_object_of_strings_is_refused(content: bytes, message: str) -> None:
    assert fault(content, "x.json") == message


def test_a_secret_may_be_called_after_sops() -> None:
    assert parse_env(b"sops_age_key=1\nsops=2\n", ".env") == {"sops_age_key": b"1", "sops": b"2"}


def test_a_list_of_names_shows_nothing_that_is_none() -> None:
    with pytest.raises(UsageError) as caught:
        names_in(b"A\nMIIEv\ns3cret+/==\n", ".env.example")
    assert caught.value.message == ".env.example, line 3: the name is not legal for a secret."


def test_a_value_of_the_greatest_size_is_taken() -> None:
    assert len(parse_env(b"A=" + b"x" * MAX_VALUE, ".env")["A"]) == MAX_VALUE


def test_more_secrets_than_a_profile_holds_are_refused() -> None:
    lines = [f"K{number}=" for number in range(MAX_SECRETS + 1)]
    assert len(parse_env("\n".join(lines[:-1]).encode(), ".env")) == MAX_SECRETS
    assert (
        fault("\n".join(lines).encode()) == f".env, line {MAX_SECRETS + 1}: a profile holds at most {MAX_SECRETS} secrets."
    )
