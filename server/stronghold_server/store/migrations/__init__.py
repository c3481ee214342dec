"""Numbered migrations, with checksums, and the small runner that applies them.

A migration is a file ``NNNN_name.sql`` in the folder of its dialect; numbers begin at 1 and have no gaps. What was applied
is written down with the SHA-256 of its text: a file that was changed afterwards, or a database that a newer program made,
is refused before anything is read or written. The caller holds the lock of the data folder, so no two runners meet.
"""

from __future__ import annotations

import os
import re
from typing import Final

import apsw

from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import LocalFileError
from stronghold_cli.protocol.record import Record

_FILE_NAME: Final = re.compile(r"(?P<number>[0-9]{4})_(?P<name>[a-z0-9_]+)\.sql")

CREATE_LEDGER: Final = """
    CREATE TABLE IF NOT EXISTS migrations (
        number INTEGER NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        sha256 BLOB NOT NULL,
        applied INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
"""
APPLIED_MIGRATIONS: Final = "SELECT number, name, sha256 FROM migrations ORDER BY number"
RECORD_MIGRATION: Final = "INSERT INTO migrations (number, name, sha256, applied) VALUES (?, ?, ?, ?)"


class Migration(Record):
    """One step of the schema."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> bytes:
        """Checksum of the text."""
        return digest(self.sql.encode())


def sqlite_migrations(folder: str = os.path.join(os.path.dirname(__file__), "sqlite")) -> list[Migration]:
    """The migrations of SQLite that this program brings, in order; ``LocalFileError`` for gaps and strange names."""
    found: list[Migration] = []
    for file_name in sorted(os.listdir(folder)):
        match = _FILE_NAME.fullmatch(file_name)
        if match is None or match["number"] != f"{len(found) + 1:04}":
            raise LocalFileError(f"{file_name} is not migration number {len(found) + 1} of this program")
        with open(os.path.join(folder, file_name), encoding="utf-8", newline="") as file:
            found.append(Migration(number=len(found) + 1, name=match["name"], sql=file.read()))
    return found


def migrate(connection: apsw.Connection, migrations: list[Migration], now: int) -> None:
    """Bring a database to the newest schema: each missing migration in a transaction of its own, or none of it.

    ``LocalFileError`` where the database is newer than this program, or an applied migration is not the one known here.
    """
    connection.create_scalar_function("sha256", digest, 1, deterministic=True)  # type: ignore[arg-type] # of blobs alone
    connection.execute(CREATE_LEDGER)
    applied = list(connection.execute(APPLIED_MIGRATIONS))
    if len(applied) > len(migrations):
        raise LocalFileError(
            f"the database has schema {applied[-1][0]}, but this server knows only up to {len(migrations)}",
            hint="A newer server made it: install that version, or restore the backup made before it ran.",
        )
    for (number, name, sha256), known in zip(applied, migrations, strict=False):
        if (number, sha256) != (known.number, known.sha256):
            raise LocalFileError(
                f"step {number} ({name}) of the database's schema is not the one that this server knows",
                hint="The database was made by a changed program: start the server that made it.",
            )
    for migration in migrations[len(applied) :]:
        with connection:
            connection.execute(migration.sql)
            connection.execute(RECORD_MIGRATION, (migration.number, migration.name, migration.sha256, now))
