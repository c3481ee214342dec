"""What a server has stored, apart from what every request leaves behind: the log, nonces and counters."""

from __future__ import annotations

from contextlib import closing

import apsw  # the server's own SQLite: a second one in this process would drop its locks

from tests.server.support import World

TOKEN_USES = ("last_used", "uses")
AHEAD_TABLES = frozenset({"blobs", "sent_ahead"})
LOG_TABLES = {"log_leaves", "log_heads", "log_sides", "requests", "counters"}


def stored(
    world: World, *, without: tuple[str, ...] = (), left_out: frozenset[str] = frozenset()
) -> dict[str, list[tuple[object, ...]]]:
    """Every row but those of the log, by table; without these columns (``TOKEN_USES`` are what a good pull changes).

    ``left_out`` are further tables: ``AHEAD_TABLES`` is where an operator's blobs lie until a commit names them.
    """
    with closing(apsw.Connection(str(world.path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            table: sorted(connection.execute(f'SELECT {columns(connection, table, without)} FROM "{table}"'), key=repr)
            for table in tables
            if table not in LOG_TABLES | left_out
        }


def columns(connection: apsw.Connection, table: str, without: tuple[str, ...]) -> str:
    """The columns of a table, for a query."""
    names = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
    return ", ".join(f'"{name}"' for name in names if name not in without)
