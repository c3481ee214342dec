"""Write the generated parts of docs/dotenv.md: the table of formats, and the matrix of what every reader makes of them.

Usage: python -m tests.conformance.make_matrix [--check] [--mixed N] [--formats]

``--formats`` is the table of formats alone, which takes no reader. ``--check`` writes nothing and ends with 1 where the
table of formats is another one. Without either the readers run, which takes some minutes; it ends with 1 where a value came
back different and nothing told so, where one is refused without need, or where a reader is missing.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stronghold_cli.formats.carried import carried
from tests.conformance.corpus import mixed, nasty
from tests.conformance.matrix import LIMITED, Cell, Column, measure, title
from tests.conformance.real import READERS

PAGE = Path(__file__).parents[2] / "docs" / "dotenv.md"


def formats_part() -> list[str]:
    """The table of ``env formats``."""
    lines = ["| format | for | carries | refuses |", "|---|---|---|---|"]
    for row in carried():
        name = f"`{row.format}`" if not row.reader else ""
        lines.append(f"| {name} | {_code(row.purpose)} | {row.carries} | {_code(', '.join(row.refuses))} |")
    return lines


def _code(text: str) -> str:
    """Text of the table in which what Markdown would take for its own stands as code."""
    return re.sub(r"\S*[$*_]\S*[^\s,.)]", lambda match: f"`{match[0]}`", text).replace("|", "\\|")


def matrix_part(columns: Sequence[Column], count: int) -> list[str]:
    """What was read the same, what was told, and why values were refused."""
    lines = [
        f"{count} values.",
        "",
        "| format | reader | version | the same | told | otherwise |",
        "|---|---|---|---|---|---|",
    ]
    for column in columns:
        lines += [_row(column, cell) for cell in column.cells]
        lines += [f"| {_name(column)} | {missing} | not installed | | | |" for missing in column.missing]
    lines += [
        "",
        "Each value counts twice: once alone, once among others.",
        "",
        "| format | carried | refused | why |",
        "|---|---|---|---|",
    ]
    for column in columns:
        reasons = column.refused.most_common() or [("", 0)]
        for place, (reason, number) in enumerate(reasons):
            first = (_name(column), str(column.carried)) if place == 0 else ("", "")
            lines.append(f"| {first[0]} | {first[1]} | {number} | {reason.replace('|', chr(92) + '|')} |")
    return lines


def _row(column: Column, cell: Cell) -> str:
    start = f"| {_name(column)} | {_reader(cell)} | {cell.reader.version} |"
    return f"{start} {cell.same:,} | {cell.told or ''} | {_rest(column, cell)} |"


def _name(column: Column) -> str:
    if column.dialect == "hcl":
        return "`tfvars` (HCL)"
    return f"`{column.format}`" if column.dialect is None else f"`--reader {column.dialect}`"


def _reader(cell: Cell) -> str:
    return f"{cell.reader.name} (our reference reader)" if cell.reader.own else cell.reader.name


def _rest(column: Column, cell: Cell) -> str:
    parts = []
    if cell.limited:
        parts.append(f"{cell.limited} differ: {LIMITED[column.format, column.dialect, title(cell.reader)]}")
    if cell.not_run:
        parts.append(f"{cell.not_run} files too large for an environment, not run")
    if cell.silent:
        parts.append(f"**{len(cell.silent)} differ**")
    return "; ".join(parts)


def replaced(text: str, part: str, lines: Sequence[str]) -> str:
    """The page with one generated part made anew."""
    pattern = re.compile(rf"(<!-- generated: {part} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"the page has no part {part}")
    return pattern.sub(lambda match: "\n".join([match[1], *lines, "", match[2]]), text)


def _measured(task: tuple[str, str | None, list[bytes]]) -> Column:
    format_name, dialect, values = task
    return measure(format_name, dialect, values)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--formats", action="store_true")
    parser.add_argument("--mixed", type=int, default=400, help="values made by the generator, beside those by hand")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    text = options.page.read_text(encoding="utf-8")
    wanted = replaced(text, "formats", formats_part())
    if options.check:
        return int(wanted != text)
    faults = []
    if not options.formats:
        values = [*nasty(), *mixed(options.mixed)]
        with ThreadPoolExecutor(3) as pool:
            columns = list(pool.map(_measured, [(*key, values) for key in READERS]))
        wanted = replaced(wanted, "matrix", matrix_part(columns, len(values)))
        faults = [fault for column in columns for fault in _faults(column)]
    options.page.write_text(wanted, encoding="utf-8")
    print("\n".join(faults), file=sys.stderr)
    return int(bool(faults))


def _faults(column: Column) -> list[str]:
    name = _name(column)
    found = [f"{name}: {reader} is missing" for reader in column.missing]
    found += [
        f"{name}: {len(cell.silent)} values differ in {_reader(cell)}, first {cell.silent[0][:60]!r}"
        for cell in column.cells
        if cell.silent
    ]
    return found + [f"{name}: refused without need: {value[:60]!r}" for value in column.needless[:5]]


if __name__ == "__main__":
    sys.exit(main())
