"""The matrix with fewer values, and with the readers that are there; `make conformance` runs all of it."""

from __future__ import annotations

import pytest

from stronghold_cli.formats.table import FORMATS, READERS
from tests.conformance import matrix
from tests.conformance.corpus import RAW, mixed, nasty
from tests.conformance.make_matrix import PAGE, formats_part, main, replaced
from tests.conformance.matrix import LIMITED, measure, title
from tests.conformance.real import COMPOSE_1, DOCKER, DOTENVY, NODE, Reader
from tests.conformance.real import READERS as COLUMNS

# Readers that start a process for every file: they get fewer.
SLOW = (DOCKER, DOTENVY, COMPOSE_1)
NASTY = [value for value in nasty() if len(value) < 1000]
SAMPLE = [*NASTY[::5], *RAW, *mixed(40, seed=7)]


class Fake(Reader):
    """A reader that takes every value in lower case."""

    version = "1"

    def read(self, files, names):  # type: ignore[no-untyped-def]
        return [{name: value.lower() for name, value in as_python_dotenv(file).items()} for file in files]


def as_python_dotenv(content: bytes) -> dict[str, bytes]:
    from stronghold_cli.formats.dotenv_python import read

    return read(content)


def test_there_are_more_than_five_hundred_values_without_repetition() -> None:
    assert len(set(nasty())) == len(nasty()) > 500
    assert mixed(50) == mixed(50)


def test_every_format_and_dialect_has_readers() -> None:
    assert {name for name, _ in COLUMNS} == set(FORMATS)
    assert {dialect for name, dialect in COLUMNS if name == "dotenv" and dialect} == set(READERS)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda each: "-".join(filter(None, each)))
def test_no_installed_reader_differs_in_silence_and_nothing_is_refused_without_need(column: tuple[str, str | None]) -> None:
    quick = [reader for reader in COLUMNS[column] if reader not in SLOW]
    slow = [reader for reader in COLUMNS[column] if reader in SLOW and reader.version]
    found = measure(*column, SAMPLE, quick)
    assert {cell.reader.name: cell.silent for cell in found.cells if cell.silent} == {}
    limited = [(*column, title(reader)) in LIMITED for reader in quick]
    if not found.missing and not any(limited):
        assert found.needless == []
    few = measure(*column, SAMPLE[::12], slow, encodings=False)
    assert {cell.reader.name: cell.silent for cell in few.cells if cell.silent} == {}
    for cell in [*found.cells, *few.cells]:
        assert cell.same, cell.reader.name


def test_a_reader_that_differs_in_silence_is_found() -> None:
    found = measure("dotenv", "python", [b"lower", b"UPPER"], [Fake("fake")], encodings=False)
    assert found.cells[0].silent == [b"UPPER", b"UPPER"]
    assert found.cells[0].same == 2


def test_a_refusal_without_need_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    if not NODE[0].version:
        pytest.skip("node is not installed (.ci/run installs it)")
    from stronghold_cli.formats import dotenv_node

    monkeypatch.setattr(dotenv_node, "refusal", lambda name, value, options: "too long" if value == b"it's" else "")
    assert set(measure("dotenv", "node", [b"it's", b"a"], [NODE[0]]).needless) == {b"it's"}


def test_the_page_has_the_table_of_formats_that_the_writers_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["make_matrix", "--check", "--formats"])
    assert main() == 0, "run: python -m tests.conformance.make_matrix --formats"
    assert replaced(PAGE.read_text(encoding="utf-8"), "formats", formats_part()[:-1]) != PAGE.read_text(encoding="utf-8")


def test_readers_that_differ_are_named_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for why in LIMITED.values():
        assert why in text


def test_policies_are_reasons_that_formats_give() -> None:
    found = measure("github", None, [b"a\r"], [])
    assert all(matrix._is_policy(reason) for reason in found.refused)
