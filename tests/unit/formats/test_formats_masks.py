"""Masks for GitHub's runner, decoded as the runner decodes its commands."""

from __future__ import annotations

import base64

from stronghold_cli.formats.masks import mask_commands


def masks(*values: bytes) -> list[bytes]:
    """What the runner takes from the lines: each begins with the command, and ``%`` is unescaped last."""
    found = []
    for line in mask_commands(values).split(b"\n")[:-1]:
        assert b"\r" not in line
        command, mask = line[: len(b"::add-mask::")], line[len(b"::add-mask::") :]
        assert command == b"::add-mask::"
        found.append(mask.replace(b"%0D", b"\r").replace(b"%0A", b"\n").replace(b"%25", b"%"))
    return found


def test_a_value_is_masked_with_its_base64() -> None:
    assert masks(b"hunter2!") == [b"hunter2!", b"aHVudGVyMiE"]


def test_the_url_safe_base64_is_masked_where_it_differs() -> None:
    assert masks("\u00ff>?".encode()) == ["\u00ff>?".encode(), b"w78+Pw", b"w78-Pw"]


def test_each_line_of_a_value_is_masked_with_its_base64_and_the_value_as_a_whole() -> None:
    value = b"-----BEGIN\r\nline one\rline two\n\n"
    expected = {value, value.strip(), b"-----BEGIN", b"line one", b"line two"}
    assert expected | {base64.b64encode(form).rstrip(b"=") for form in expected} <= set(masks(value))


def test_a_value_cannot_end_its_command_or_begin_another() -> None:
    value = b"a%0Ab\n::stop-commands::x\r\n%25"
    assert masks(value)[0] == value
    assert all(line.startswith(b"::add-mask::") for line in mask_commands([value]).splitlines())


def test_a_value_is_masked_without_the_blanks_around_it_too() -> None:
    assert {b"  padded\t", b"padded", b"cGFkZGVk"} <= set(masks(b"  padded\t"))


def test_empty_and_blank_values_and_lines_are_not_masked() -> None:
    assert mask_commands([b"", b" ", b"\n\t\n", "\u00a0\u2003".encode()]) == b""
    assert all(mask.strip() for mask in masks(b"a\n\n  \nb"))


def test_each_mask_stands_once() -> None:
    found = masks(b"same", b"same", b"same\nother")
    assert len(found) == len(set(found))


def test_bytes_that_are_no_text_are_masked_as_they_are() -> None:
    assert masks(b"\xff\xfe")[0] == b"\xff\xfe"
