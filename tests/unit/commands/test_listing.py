"""Pages of listings: where they begin and end, on a terminal and elsewhere, and what is said of the rest."""

from __future__ import annotations

import sys

import pytest

from stronghold_cli.commands.listing import TERMINAL_ROWS, Page, page_of, place_after, place_of, rows_wanted
from stronghold_cli.protocol.errors import NotFound

NAMES = ["a", "b", "c d", "e"]
NAMED = [(name, f"ag_{number}") for number, name in enumerate(NAMES)]


def page(limit: int | None, start: int = 0) -> Page:
    return page_of(NAMES, "agents", limit=limit, start=start, cursor=str)


@pytest.mark.parametrize(
    ("limit", "start", "items", "told"),
    [
        (None, 0, NAMES, ""),
        (4, 0, NAMES, ""),
        (3, 0, NAMES[:3], "1 to 3 of 4 agents are shown. For the next, add: --after 'c d'\n"),
        (1, 1, ["b"], "2 to 2 of 4 agents are shown. For the next, add: --after b\n"),
        (9, 3, ["e"], ""),
        (9, 4, [], "No agents come after that; there are 4.\n"),
    ],
)
def test_a_page_says_what_it_leaves_out(
    capsys: pytest.CaptureFixture[str], limit: int | None, start: int, items: list[str], told: str
) -> None:
    found = page(limit, start)
    found.tell()
    assert (list(found.items), capsys.readouterr().err) == (items, told)


def test_an_empty_listing_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    page_of([], "agents", limit=1, cursor=str).tell()
    assert capsys.readouterr().err == ""


def test_a_listing_goes_on_after_a_name_or_id_also_of_what_went_meanwhile() -> None:
    for after, place in ((None, 0), ("a", 1), ("b", 2), ("c", 2), ("c d", 3), ("zz", 4), ("ag_0", 1), ("ag_3", 4)):
        assert place_after(NAMED, after, "agents", "ag_") == place
    assert place_after([("ag_x", "")], "ag_a", "secrets", "") == 0
    for find in (lambda: place_after(NAMED, "ag_9", "agents", "ag_"), lambda: place_of(["tk_1"], "tk_2", "tokens")):
        with pytest.raises(NotFound) as caught:
            find()
        assert "nothing comes after it" in caught.value.message


def test_only_a_terminal_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (rows_wanted(None), rows_wanted(7)) == (None, 7)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert (rows_wanted(None), rows_wanted(7)) == (TERMINAL_ROWS, 7)
