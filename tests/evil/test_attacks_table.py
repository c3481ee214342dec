"""docs/attacks.md is what the list of attacks and the names of the tests make of it."""

from __future__ import annotations

import pytest

from tests.evil import make_table

PROTOCOL = make_table.PROTOCOL.read_text("utf-8")


def test_the_page_is_up_to_date() -> None:
    assert make_table.main(["--check"]) == 0


def test_all_57_attacks_are_listed_with_rules_that_exist() -> None:
    listed = make_table.attacks(PROTOCOL)
    assert [number for _, number, _ in listed] == list(range(1, 58))
    assert make_table.RULES.keys() == set(range(1, 58))
    known = {f"R{number}" for number in range(1, 23)}
    assert all(set(rules.split()) <= known for rules in make_table.RULES.values())


def test_the_attacks_of_the_first_evil_server_are_carried_out() -> None:
    assert make_table.tests().keys() >= {*range(1, 10), 13, 25, 33, 37, 38, 39, 41}


def test_the_attacks_on_the_life_cycle_are_carried_out() -> None:
    assert make_table.tests().keys() >= {10, 22, 23, 31, 32, 40, 44}


def test_the_attacks_on_rights_keys_requests_and_passphrases_are_carried_out() -> None:
    numbers = {11, 12, *range(14, 22), 24, 26, 29, 30, *range(34, 37), 42, 43, *range(45, 51), 56}
    assert make_table.tests().keys() >= numbers


def test_what_cannot_be_carried_out_yet_says_so() -> None:
    assert not make_table.SUBJECTS.keys() & make_table.tests().keys()
    page = make_table.render(PROTOCOL)
    assert page.count("| comes with ") == len(make_table.SUBJECTS)


def test_remarks_stand_only_where_something_is_carried_out() -> None:
    assert make_table.REMARKS.keys() <= make_table.tests().keys()


def test_a_page_that_differs_is_noticed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(make_table, "REMARKS", {})
    assert make_table.main(["--check"]) == 1
    assert "not up to date" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("; 41 replay", "; 42 replay"),
        ("41 replay, across restarts and workers; ", ""),
        ("*Log*: 51 ", "*Log*: "),
    ],
)
def test_a_list_with_a_gap_is_refused(old: str, new: str) -> None:
    assert old in PROTOCOL
    with pytest.raises(ValueError, match="attack"):
        make_table.render(PROTOCOL.replace(old, new))
