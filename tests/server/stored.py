"""What a server has stored, apart from what every request leaves behind: the log, nonces and counters."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.server.support import World

TOKEN_USES = ("last_used", "uses")
LOG_TABLES = {"log_leaves", "log_nodes", "log_heads", "log_sides", "nonces", "counters"}


def stored(world: World, *, without: tuple[str, ...] = ()) -> dict[str, list[tuple[object, ...]]]:
    """Every row but those of the log, by table; without these columns (``TOKEN_USES`` are what a good pull changes)."""
    with closing(sqlite3.connect(f"file:{world.path}?mode=ro", uri=True)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            table: sorted(connection.execute(f'SELECT {columns(connection, table, without)} FROM "{table}"'), key=repr)
            for table in tables
            if table not in LOG_TABLES
        }


def columns(connection: sqlite3.Connection, table: str, without: tuple[str, ...]) -> str:
    """The columns of a table, for a query."""
    names = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
    return ", ".join(f'"{name}"' for name in names if name not in without)
