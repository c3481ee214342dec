"""Writes a generated part of docs/performance.md, between its two markers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"


def write_part(part: str, lines: Sequence[str]) -> None:
    """Replace what stands between ``<!-- measured: part -->`` and ``<!-- end: part -->``; both have to be there once."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- measured: {part} -->", f"<!-- end: {part} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise SystemExit(f"{PAGE} does not hold the markers of the part {part!r} once")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text("\n".join([f"{before}{begin}", "", *lines, "", f"{end}{after}"]), encoding="utf-8")


def load() -> str:
    """How busy the machine is, for beside a table."""
    return f"Load average of the last minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
