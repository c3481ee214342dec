"""Templates: what is a reference, what is left alone, and what is refused with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stronghold_cli.formats.template import references, render
from stronghold_cli.protocol.errors import LocalFileError, NotFound, UsageError

VALUES = {None: {"A": b"one", "B": b"\xff{{ stronghold://A }}\n"}, "prod": {"A": b"two"}, "a/b": {"A": b"three"}}


def rendered(template: bytes) -> bytes:
    return render(template, references(template, "t"), VALUES, "t")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (b"", b""),
        (b"x={{ stronghold://A }};", b"x=one;"),
        (b"{{stronghold://A}}{{\tstronghold://prod/A\t }}", b"onetwo"),
        (b"{{ stronghold://B }}|{{ stronghold://A }}", b"\xff{{ stronghold://A }}\n|one"),
        (b"{{{ stronghold://A }}}", b"{one}"),
    ],
)
def test_references_are_replaced_once_and_exactly(template: bytes, expected: bytes) -> None:
    assert rendered(template) == expected


@pytest.mark.parametrize(
    "template",
    [
        b"{{ A }} {{ .Values.a }} {% if x %} ${A} $(A) $A %A% {{{{ }} }}",
        b"stronghold://A",
        b"{ stronghold://A }",
        b"{{ stronghold:A }}",
        b"{{ Stronghold://A }}",
        b"{{\nstronghold://A }}",
        b"{{ x stronghold://A }}",
        "caf\u00e9 \u2028 \U0001f680\r\n\r\t\x01".encode(),
    ],
)
def test_nothing_else_is_interpreted(template: bytes) -> None:
    assert references(template, "t") == ()
    assert rendered(template) == template


@given(template=st.text(st.characters(codec="utf-8", exclude_characters="\0{")).map(str.encode))
def test_text_without_braces_stays(template: bytes) -> None:
    assert rendered(template) == template


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (b"a\n\n{{ stronghold://A-B }}", "t, line 3: {{ stronghold://A-B }} names no secret."),
        (b"{{ stronghold:// }}", "t, line 1: {{ stronghold:// }} names no secret."),
        (b"{{ stronghold:///A }}", "t, line 1: {{ stronghold:///A }} names no secret."),
        (b"{{ stronghold://prod/ }}", "t, line 1: {{ stronghold://prod/ }} names no secret."),
        (b"\n{{ stronghold://A B }}", "t, line 2: {{ stronghold://A B }} names no secret."),
        (
            b"{{ stronghold://A {{ stronghold://B }}",
            "t, line 1: {{ stronghold://A {{ stronghold://B }} is not ended by }} in its line.",
        ),
        (b"\n{{ stronghold://A }\n}", "t, line 2: {{ stronghold://A } is not ended by }} in its line."),
        (b"{{stronghold://A\r\n}}", "t, line 1: {{stronghold://A is not ended by }} in its line."),
        (b"{{ stronghold://A }}\n{{\tstronghold://", "t, line 2: {{\tstronghold:// is not ended by }} in its line."),
        (b"{{ stronghold://A}B }}", "t, line 1: {{ stronghold://A}B }} is not ended by }} in its line."),
    ],
)
def test_a_reference_that_names_nothing_is_told_with_its_line(template: bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        references(template, "t")
    assert caught.value.message == message


def test_a_name_that_does_not_exist_is_told_with_line_and_reference() -> None:
    with pytest.raises(NotFound) as caught:
        rendered(b"{{ stronghold://A }}\n{{ stronghold://prod/B }}\n{{ stronghold://C }}")
    assert caught.value.message == "t, line 2: there is no secret for {{ stronghold://prod/B }}. 1 more lack as well."


@pytest.mark.parametrize(("template", "word"), [(b"\x7fELF\0{{ stronghold://A }}", "binary"), (b"\xff", "not UTF-8")])
def test_a_binary_template_is_refused(template: bytes, word: str) -> None:
    with pytest.raises(LocalFileError, match=word):
        references(template, "t")
