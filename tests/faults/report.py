"""The tables of docs/reliability.md: ``python -m tests.faults.report FILE``, the file that ``FAULTS_REPORT`` named."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

PHASES = ("first start", "start after a kill", "serving")


def tables(rows: list[dict[str, Any]]) -> str:
    """The tables in Markdown."""
    lines = ["| phase | call that fails | calls met | what the server did |", "|---|---|---|---|"]
    for phase in PHASES:
        for row in (row for row in rows if row["test"] == phase):
            did = ", ".join(f"{outcome}: {times}" for outcome, times in sorted(row["outcomes"].items()))
            lines.append(f"| {phase} | `{row['fault'].replace('-', '`: ')} | {row['met']} | {did} |")
    kills = [row for row in rows if row["test"] == "kill"]
    if kills:
        total: Counter[str] = Counter()
        for row in kills:
            total.update({name: value for name, value in row.items() if isinstance(value, int)})
        lines += ["", "| kills under load | kills while starting | entries | answers compared | acknowledged commits |"]
        lines += ["|---|---|---|---|---|"]
        lines.append(
            "| " + " | ".join(str(total[name]) for name in ("kills", "starts", "entries", "answers", "commits")) + " |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(tables([json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]))
