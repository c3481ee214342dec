"""What other tools export, in the shapes of their documentation (tests/data/exports), and what is no such export."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from stronghold_cli.formats.exports import SHAPES
from stronghold_cli.formats.imports import parse_env
from stronghold_cli.protocol.errors import UsageError

SAMPLES = Path(__file__).parents[2] / "data" / "exports"
# The same two secrets are in every sample.
EXPECTED = {"SES_KEY": b"0.982492bc-7f37-4475-9e60", "MULTI_LINE": b'it\'s "two"\nlines $x'}


def shape_of(sample: Path) -> str:
    return sample.stem.split("-")[0]


def fault(content: str, source: str, shape: str | None) -> str:
    with pytest.raises(UsageError) as caught:
        parse_env(content.encode(), source, shape)
    assert "s3cret" not in caught.value.message + caught.value.hint
    return caught.value.message


def test_there_is_a_sample_of_every_tool() -> None:
    assert {shape_of(sample) for sample in SAMPLES.iterdir()} == SHAPES.keys()


@pytest.mark.parametrize("sample", sorted(SAMPLES.iterdir()), ids=lambda sample: sample.name)
def test_an_export_is_read_to_its_secrets_and_nothing_else(sample: Path) -> None:
    assert parse_env(sample.read_bytes(), sample.name, shape_of(sample)) == EXPECTED


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.json")), ids=lambda sample: sample.name)
def test_an_export_in_json_is_known_on_stdin_too(sample: Path) -> None:
    assert parse_env(sample.read_bytes(), "stdin", shape_of(sample)) == EXPECTED


def test_many_items_of_1password_are_taken_together() -> None:
    first = '{"fields":[{"label":"A","value":"1"}]}'
    assert parse_env(f'[{first},{{"fields":[{{"label":"B","value":"2"}}]}}]'.encode(), "x.json", "1password") == {
        "A": b"1",
        "B": b"2",
    }
    assert fault(f"[{first},\n{first}]", "x.json", "1password") == "x.json, line 2: A stands there twice, first in line 1."


def test_one_secret_of_bws_is_taken() -> None:
    assert parse_env(b'{"id":"1","key":"A","value":"1"}', "x.json", "bws") == {"A": b"1"}


@pytest.mark.parametrize(
    ("content", "source", "shape", "message"),
    [
        ('{"A":\n"s3cret"}', "x.json", "bws", "x.json, line 1: this is not what that tool writes."),
        ('[\n{"key":"A"}]', "x.json", "bws", "x.json, line 2: this is not what that tool writes."),
        ('[\n{"key":"A-B","value":"s3cret"}]', "x.json", "bws", "x.json, line 2: the name is not legal for a secret."),
        ('["s3cret"]', "x.json", "doppler", "x.json, line 1: this is not what that tool writes."),
        ('{"A":{"raw":"s3cret"}}', "x.json", "doppler", "x.json, line 1: the value of 'A' is not a string."),
        ('["s3cret"]', "x.json", "infisical", "x.json, line 1: this is not what that tool writes."),
        ("A='it's s3cret'", "x.env", "infisical", "x.env, line 1: a quote is not closed, or text follows the closing one."),
        ('{"fields":5}', "x.json", "1password", "x.json, line 1: this is not what that tool writes."),
        ('{"fields":[\n{"value":"s3cret"}]}', "x.json", "1password", "x.json, line 2: a field has no label."),
        ('{"fields":["s3cret"]}', "x.json", "1password", "x.json, line 1: this is not what that tool writes."),
        ('{"A":"s3cret"}', "x.json", "vault", "x.json, line 1: this is not what that tool writes."),
        (
            '{"data":{"data":null,"metadata":{}}}',
            "x.json",
            "vault",
            "x.json, line 1: that version of the secret was deleted.",
        ),
        ('{"data":{"A":5}}', "x.json", "vault", "x.json, line 1: the value of 'A' is not a string."),
        ("A: ENC[s3cret]\nsops:\n  mac: x\n", "x.yaml", "sops", "x.yaml, line 2: the file is still encrypted by sops."),
        ('{"A":"ENC[s3cret]",\n"sops":{}}', "x.json", "sops", "x.json, line 2: the file is still encrypted by sops."),
        ("A=ENC[s3cret]\nsops_mac=x\n", "x.env", "sops", "x.env, line 2: the file is still encrypted by sops."),
        ("A:\n  B: s3cret\n", "x.yaml", "sops", "x.yaml, line 1: the value of 'A' is not a string."),
        ("A=s3cret\n", "x.env", "vault", "x.env: this is not the JSON that vault writes."),
    ],
)
def test_what_is_no_such_export_is_refused_with_its_line(content: str, source: str, shape: str, message: str) -> None:
    assert fault(content, source, shape) == message


def test_an_export_in_the_form_of_a_env_is_read_as_one() -> None:
    for shape in ("doppler", "infisical", "sops"):
        assert parse_env(b"A='1'\nexport B=2\n", "x.env", shape) == {"A": b"1", "B": b"2"}
    assert parse_env(b'DOPPLER_PROJECT="x"\nA="1"\n', "x.env", "doppler") == {"A": b"1"}


# --- YAML --------------------------------------------------------------------------------------------------------------


def test_yaml_is_read_as_it_is_written() -> None:
    content = "A: text\nB: 'it''s'\nC: \"a\\n\\U0001F680\"\nD: |\n  two\n  lines\nE: >-\n  folded\n  text\n"
    content += "F: 0123\nG: 1_0\nH: yes\n"
    assert parse_env(content.encode(), "x.yml") == {
        "A": b"text", "B": b"it's", "C": "a\n\U0001f680".encode(), "D": b"two\nlines\n", "E": b"folded text", "F": b"0123",
        "G": b"1_0", "H": b"yes",
    }  # fmt: skip
    assert parse_env(b"", "x.yaml") == parse_env(b"{}\n", "x.yaml") == parse_env(b"---\n# c\n", "x.yaml") == {}
    assert parse_env(b"A: &x text\nB: *x\n", "x.yaml") == {"A": b"text", "B": b"text"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("A: 1\nB: 2\nA: s3cret\n", "x.yaml, line 3: A stands there twice, first in line 1."),
        ("A: 1\nB-C: s3cret\n", "x.yaml, line 2: the name is not legal for a secret."),
        ("A: 's3cret\nB: 2\n", "x.yaml, line 3: this is not YAML that can be read."),
        ("A: 1\n\tB: s3cret\n", "x.yaml, line 2: this is not YAML that can be read."),
        ("A: 1\ns3cret+/: [x]\n", "x.yaml, line 2: a value is not a string."),
        ("A:\nB: 1\n", "x.yaml, line 1: the value of 'A' is not a string."),
        ("A: ~\n", "x.yaml, line 1: the value of 'A' is not a string."),
        ("- s3cret\n", "x.yaml, line 1: the file is not one map of names to values."),
        ("s3cret\n", "x.yaml, line 1: the file is not one map of names to values."),
        ("A: 1\nB: [s3cret]\n", "x.yaml, line 2: the value of 'B' is not a string."),
        ("A: !!binary czNjcmV0\n", "x.yaml, line 1: there is a tag, and nothing but text is read."),
        ("A: !x s3cret\n", "x.yaml, line 1: there is a tag, and nothing but text is read."),
        ("A: 1\n---\nB: s3cret\n", "x.yaml, line 2: this is not YAML that can be read."),
        ("? [a]\n: s3cret\n", "x.yaml, line 1: this name is not a text."),
        ("A: \x01s3cret\n", "x.yaml, line 1: there is a character that YAML does not allow."),
        ("a: &a [x]\nb: *a\n", "x.yaml, line 1: this is nested too deep, or repeated by an alias."),
    ],
)
def test_yaml_that_is_no_flat_map_of_strings_is_refused_with_its_line(content: str, message: str) -> None:
    assert fault(content, "x.yaml", None) == message


def test_a_few_lines_of_yaml_do_not_become_millions() -> None:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for above, name in pairwise("abcdefghi"):
        lines.append(f"{name}: &{name} [{','.join(['*' + above] * 9)}]")
    assert "repeated by an alias" in fault("\n".join(lines), "x.yaml", None)
    assert "nested too deep" in fault("A: " + "[" * 40 + "]" * 40, "x.yaml", None)
    assert "nested too deep" in fault('{"A":' + "[" * 40 + "]" * 40 + "}", "x.json", None)


def test_a_repr_of_what_was_parsed_shows_no_value() -> None:
    from stronghold_cli.formats.trees import parse_json

    assert "s3cret" not in repr(parse_json('{"A":"s3cret"}', "x"))
