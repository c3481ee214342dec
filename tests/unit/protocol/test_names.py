"""Which names are legal, and when two are the same."""

from __future__ import annotations

import unicodedata

import pytest

from stronghold_cli.protocol.errors import UsageError
from stronghold_cli.protocol.names import (
    ID_PREFIXES,
    caseless,
    is_label,
    is_secret_name,
    name_fault,
    nfc,
    require_name,
    require_secret_name,
)


def test_normalisation_is_form_c_and_leaves_ascii_alone() -> None:
    assert nfc("e\u0301") == "\xe9"
    assert nfc("plain") == "plain"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Alice", "aLICE"),
        ("stra\xdfe", "STRASSE"),
        ("\xc9", "e\u0301"),
        ("\u03a3\u03c3", "\u03c3\u03c2"),
        ("\u1e9b\u0323", "\u1e61\u0323"),
    ],
)
def test_names_that_are_the_same_without_regard_to_case(one: str, two: str) -> None:
    assert caseless(one) == caseless(two)


def test_names_that_differ_stay_different() -> None:
    assert len({caseless(name) for name in ("a", "b", "\xe1", "\u0430", "a1")}) == 5


def test_the_caseless_key_is_itself_normalised() -> None:
    for code in (0x0345, 0x0390, 0x1FB3, 0x212B, 0xFB03, 0x1E9E):
        assert unicodedata.is_normalized("NFC", caseless(chr(code)))


@pytest.mark.parametrize(
    "name",
    ["a", "CI job 7", "\u30c7\u30d7\u30ed\u30a4", "\U0001f469\u200d\U0001f4bb", "x" * 100, "a/b", "agent", "ag-1", "\xe9"],
)
def test_legal_names(name: str) -> None:
    assert name_fault(name) == ""
    assert require_name("agent", name) == name


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "1 to 100"),
        ("x" * 101, "1 to 100"),
        ("e\u0301", "form C"),
        (" a", "blank"),
        ("a ", "blank"),
        ("a\xa0", "blank"),
        ("a\nb", "U+000A"),
        ("a\0b", "U+0000"),
        ("a\x7fb", "U+007F"),
        ("a\u202eb", "U+202E"),
        ("a\u2066b", "U+2066"),
        ("a\u200bb", "U+200B"),
        ("a\u2028b", "U+2028"),
        ("a\ufeffb", "U+FEFF"),
        ("a\ue000b", "U+E000"),
        ("a\ud800b", "U+D800"),
        *((prefix + "x", "begins like an id") for prefix in ID_PREFIXES.values()),
        ("AG_x", "begins like an id"),
    ],
    ids=ascii,
)
def test_illegal_names_say_why(name: str, fault: str) -> None:
    assert fault in name_fault(name)


@pytest.mark.parametrize("name", ["a/b", "a b", "a\u3000b"])
def test_profiles_hold_neither_slash_nor_blank(name: str) -> None:
    assert name_fault(name) == ""
    assert "slash or a blank" in name_fault(name, profile=True)
    with pytest.raises(UsageError, match="profile name"):
        require_name("profile", name)


def test_a_person_s_name_is_normalised_before_it_is_judged() -> None:
    assert require_name("group", "e\u0301") == "\xe9"
    with pytest.raises(UsageError) as caught:
        require_name("group", "")
    assert caught.value.hint


@pytest.mark.parametrize("name", ["A", "_", "a1", "DATABASE_URL", "x" * 255])
def test_legal_secret_names(name: str) -> None:
    assert is_secret_name(name)
    assert require_secret_name(name) == name


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A.B", "A B", "A\n", "A=", "\xc4", "\u0661", "x" * 256, "A\0"], ids=ascii)
def test_illegal_secret_names(name: str) -> None:
    assert not is_secret_name(name)
    with pytest.raises(UsageError) as caught:
        require_secret_name(name)
    assert caught.value.hint


def test_labels_have_no_blank_equals_or_comma() -> None:
    assert is_label("team", "payments")
    assert is_label("k" * 63, "v" * 63)
    for wrong in ("", "a b", "a=b", "a,b", "x" * 64, "a\n"):
        assert not is_label(wrong, "v")
        assert not is_label("k", wrong)
