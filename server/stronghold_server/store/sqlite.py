"""The store on SQLite: one file, one writer thread with group commit, read-only connections for readers.

What must hold (protocol sections 3 and 7, rule R10):

- **Durable.** A future resolves after ``COMMIT`` with ``synchronous=FULL`` in WAL mode, so its rows survive kill -9 and a
  power cut. The writer takes all works that wait and pays one disk flush for all of them; when it is idle a single work
  goes at once. Where a work fails, all are undone and each is run again in a savepoint of its own.
- **Poisoned by a failing disk.** After a failed write or fsync nobody knows what the disk holds: every work of the batch
  fails, no later one is taken, ``status().ready`` turns false, and ``on_failure`` tells the process to end. A restart
  reads back what is really there.
- **A read that fails** is told as such and changes nothing: the connection is thrown away, the server goes on.
- **Physical deletion.** ``secure_delete`` overwrites what is deleted; older copies are in the write-ahead log until a
  checkpoint has emptied it. A work that erased something resolves after that. A reader with an old snapshot can hold the
  checkpoint up: other works go on meanwhile, and after ``ERASE_SECONDS`` the future resolves all the same, since the
  deletion took effect and is durable; ``status().unerased`` says that bytes may still lie in the file ``-wal``, and the
  checkpoint is tried again after every batch and every ``RETRY_SECONDS`` until it completes. Opening the store completes
  it too.

Releases of SQLite with the WAL-reset corruption fault are refused.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Final, TypeVar

import apsw

from stronghold_cli.protocol.errors import LocalFileError
from stronghold_server.folder import make_private, sync_folder
from stronghold_server.store.interface import Reader, StorageFailed, StoreStatus, Writer
from stronghold_server.store.migrations import migrate, sqlite_migrations
from stronghold_server.store.sqlite_reading import SqliteReader
from stronghold_server.store.sqlite_writing import SqliteWriter

T = TypeVar("T")

ERASE_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 0.05
_FIRST_SAFE_SQLITE: Final = (3, 51, 3)
_WITHDRAWN_SQLITE: Final = (3, 52, 0)
_APPLICATION_ID: Final = 0x53484C44  # "SHLD", in the header of the file
_BUSY_MILLISECONDS: Final = 5000
_ERASE_BUSY_MILLISECONDS: Final = 20
_MAX_IDLE_READERS: Final = 32
_STATEMENT_CACHE: Final = 200
UNREADABLE: Final = "the server's storage cannot be read"

OPEN_WRITER: Final = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 4000;
    PRAGMA fullfsync = ON;
    PRAGMA secure_delete = ON;
    PRAGMA foreign_keys = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;
"""
OPEN_READER: Final = "PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;"
READ_APPLICATION_ID: Final = "PRAGMA application_id"
WRITE_APPLICATION_ID: Final = f"PRAGMA application_id = {_APPLICATION_ID}"
COUNT_TABLES: Final = "SELECT count(*) FROM sqlite_schema"
BEGIN_READ: Final = "BEGIN"
END_READ: Final = "ROLLBACK"
BEGIN_BATCH: Final = "BEGIN IMMEDIATE"
COMMIT_BATCH: Final = "COMMIT"
UNDO_BATCH: Final = "ROLLBACK"
BEGIN_WORK: Final = "SAVEPOINT work"
KEEP_WORK: Final = "RELEASE work"
UNDO_WORK: Final = "ROLLBACK TO work"
EMPTY_WAL: Final = "PRAGMA wal_checkpoint(TRUNCATE)"

# What these say is about the disk or the file, not about the statement: the writer must not go on.
_FAULTS: Final = (
    apsw.IOError,
    apsw.FullError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.NoMemError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.InternalError,
)


class _Job:
    """A work that waits, then its outcome until that is durable."""

    __slots__ = ("erases", "error", "future", "result", "work")

    def __init__(self, work: Callable[[Writer], Any]) -> None:
        self.work = work
        self.future: Future[Any] = Future()
        self.result: Any = None
        self.error: BaseException | None = None
        self.erases = False

    def resolve(self) -> None:
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class _Snapshot:
    """``Store.read()``: a pooled connection in a read transaction."""

    __slots__ = ("_connection", "_pool")

    def __init__(self, pool: _ReaderPool) -> None:
        self._pool = pool

    def __enter__(self) -> Reader:
        try:
            self._connection = self._pool.take()
            self._connection.execute(BEGIN_READ)
        except _FAULTS as error:
            raise StorageFailed(UNREADABLE) from error
        return SqliteReader(self._connection)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, _FAULTS):  # what it has cached may be wrong too: the connection is not used again
            self._connection.close()
            raise StorageFailed(UNREADABLE) from error
        self._connection.execute(END_READ)
        self._pool.give_back(self._connection)


class _ReaderPool:
    """Read-only connections. As many are open as threads read at once; a few stay open when they are done."""

    def __init__(self, path: str, vfs: str | None) -> None:
        self._path = path
        self._vfs = vfs
        self._idle: deque[apsw.Connection] = deque()

    def take(self) -> apsw.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            connection = _connect(self._path, apsw.SQLITE_OPEN_READONLY, self._vfs)
            connection.execute(OPEN_READER).fetchall()
            return connection

    def give_back(self, connection: apsw.Connection) -> None:
        if len(self._idle) < _MAX_IDLE_READERS:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


class SqliteStore:
    """``interface.Store`` on one file. The caller holds the lock of its folder (``folder.DataFolder``)."""

    def __init__(
        self,
        path: str,
        *,
        now: int,
        max_batch: int = 256,
        on_failure: Callable[[StorageFailed], None] | None = None,
        vfs: str | None = None,
    ) -> None:
        """Open or make the database at ``path`` and bring its schema up to date.

        ``max_batch`` is how many works share one disk flush at most. ``on_failure`` is called once, in the writer thread,
        when the store is poisoned. ``vfs`` names another file layer of SQLite. ``LocalFileError`` where the SQLite release
        is refused, or the file is not ours, newer or not usable.
        """
        check_sqlite_release(apsw.sqlite_lib_version())
        self._on_failure = on_failure
        self._max_batch = max_batch
        self._writer = _open_writer(path, vfs, now)
        self._readers = _ReaderPool(path, vfs)
        self._failure: StorageFailed | None = None
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._door = threading.Lock()
        self._closed = False
        self._unerased: deque[tuple[float, _Job]] = deque()
        self._overdue = 0
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def read(self) -> _Snapshot:
        return _Snapshot(self._readers)

    def write(self, work: Callable[[Writer], T]) -> Future[T]:
        if threading.current_thread() is self._thread:
            raise RuntimeError("a work may not call write: it would wait for itself")
        job = _Job(work)
        with self._door:
            if self._failure is None and not self._closed:
                self._queue.put(job)
                return job.future
        job.future.set_exception(self._failure or StorageFailed("the server is shutting down"))
        return job.future

    def status(self) -> StoreStatus:
        return StoreStatus(ready=self._failure is None and not self._closed, unerased=len(self._unerased) + self._overdue)

    def close(self) -> None:
        with self._door:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        self._readers.close()
        self._writer.close()

    # The writer thread.

    def _run(self) -> None:
        open_for_work = True
        while open_for_work:
            batch, open_for_work = self._next_batch()
            if self._failure is not None:
                _fail(batch, self._failure)
                continue
            try:
                if batch:
                    self._commit(batch)
                if self._unerased or self._overdue:
                    self._erase()
            except _Poisoned as poison:
                self._poison(poison, batch)
        for _, job in self._unerased:
            job.resolve()

    def _next_batch(self) -> tuple[list[_Job], bool]:
        """Wait for a work and take all others that wait with it; false once the store is closing and all are taken."""
        batch: list[_Job] = []
        try:
            job = self._queue.get(timeout=RETRY_SECONDS if self._unerased or self._overdue else None)
            while job is not None:
                if job.future.set_running_or_notify_cancel():
                    batch.append(job)
                if len(batch) == self._max_batch:
                    break
                job = self._queue.get_nowait()
            return batch, job is not None
        except Empty:
            return batch, True

    def _commit(self, batch: list[_Job]) -> None:
        try:
            self._writer.execute(BEGIN_BATCH)
        except apsw.BusyError as error:  # somebody else's program writes to the file: nothing was begun, nothing is lost
            failure = StorageFailed("the database is locked by another program")
            failure.__cause__ = error
            _fail(batch, failure)
            return
        except apsw.Error as error:
            raise _Poisoned from error
        try:
            if not self._perform_together(batch):
                self._perform_apart(batch)
            self._writer.execute(COMMIT_BATCH)
        except apsw.Error as error:
            raise _Poisoned from error
        deadline = time.monotonic() + ERASE_SECONDS
        for job in batch:
            if job.erases:
                self._unerased.append((deadline, job))
            else:
                job.resolve()

    def _perform_together(self, batch: list[_Job]) -> bool:
        """Run all works without asking which of them fail; where one does, undo all of them and return false.

        Only a fault of the storage leaves this function, and the next.
        """
        self._writer.execute(BEGIN_WORK)
        writer = SqliteWriter(self._writer)
        try:
            for job in batch:
                writer.erases = False
                job.result = job.work(writer)
                job.erases = writer.erases
        except _FAULTS:
            raise
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the future
            self._writer.execute(UNDO_WORK)
            if len(batch) == 1:
                batch[0].error = error
            return len(batch) == 1
        writer.keep_log()
        return True

    def _perform_apart(self, batch: list[_Job]) -> None:
        """Run each work in a savepoint of its own: those that fail leave nothing."""
        for job in batch:
            self._writer.execute(BEGIN_WORK)
            writer = SqliteWriter(self._writer)
            try:
                job.result = job.work(writer)
                job.erases = writer.erases
                writer.keep_log()
            except _FAULTS:
                raise
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the future
                job.error = error
                job.erases = False
                self._writer.execute(UNDO_WORK)
            self._writer.execute(KEEP_WORK)

    def _erase(self) -> None:
        """Empty the write-ahead log; resolve the works that wait for it, and those that waited long enough."""
        try:
            self._writer.set_busy_timeout(_ERASE_BUSY_MILLISECONDS)
            busy = next(self._writer.execute(EMPTY_WAL))[0]
            self._writer.set_busy_timeout(_BUSY_MILLISECONDS)
        except apsw.Error as error:
            raise _Poisoned from error
        if not busy:
            self._overdue = 0
        now = time.monotonic()
        while self._unerased and (not busy or self._unerased[0][0] <= now):
            self._overdue += busy
            self._unerased.popleft()[1].resolve()

    def _poison(self, poison: _Poisoned, batch: list[_Job]) -> None:
        failure = StorageFailed(
            "the server's storage failed: nothing more is written",
            hint="Look at the disk (space, errors) and start the server again; it reads back what is really there.",
        )
        failure.__cause__ = poison.__cause__
        with self._door:
            self._failure = failure
        try:
            if self._writer.in_transaction:
                self._writer.execute(UNDO_BATCH)
        except apsw.Error:
            pass  # the connection is not used again
        _fail([*batch, *(job for _, job in self._unerased)], failure)
        self._unerased.clear()
        if self._on_failure is not None:
            self._on_failure(failure)


class _Poisoned(Exception):
    """The storage failed, see ``__cause__``."""


def check_sqlite_release(version: str) -> None:
    """Raise ``LocalFileError`` for releases that corrupt databases: before 3.51.3, and 3.52.0."""
    parts = tuple(int(part) for part in version.split(".")[:3])
    if parts < _FIRST_SAFE_SQLITE or parts == _WITHDRAWN_SQLITE:
        raise LocalFileError(
            f"SQLite {version} can corrupt databases",
            hint="Install an apsw that brings SQLite 3.51.3 or newer (and not 3.52.0).",
        )


def _fail(jobs: list[_Job], failure: StorageFailed) -> None:
    for job in jobs:
        if not job.future.done():
            job.future.set_exception(failure)


def _connect(path: str, flags: int, vfs: str | None) -> apsw.Connection:
    connection = apsw.Connection(path, flags=flags, vfs=vfs, statementcachesize=_STATEMENT_CACHE)
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    return connection


def _open_writer(path: str, vfs: str | None, now: int) -> apsw.Connection:
    """Open the database for writing, check that it is ours, migrate it, and empty what a killed process left."""
    try:
        _make_file(path)
        connection = _connect(path, apsw.SQLITE_OPEN_READWRITE, vfs)
        application_id = next(connection.execute(READ_APPLICATION_ID))[0]
        if application_id != _APPLICATION_ID and next(connection.execute(COUNT_TABLES))[0]:
            raise LocalFileError(f"the file {path} is a database of another program")
        connection.execute(OPEN_WRITER).fetchall()
        connection.execute(WRITE_APPLICATION_ID)
        migrate(connection, sqlite_migrations(), now)
        connection.execute(EMPTY_WAL).fetchall()
        sync_folder(os.path.dirname(os.path.abspath(path)))  # SQLite does so too, but pays no heed where that fails
    except apsw.Error as error:
        raise LocalFileError(
            f"the database {path} cannot be used: {error}",
            hint="Look at the disk and the rights of the file, or restore a backup.",
        ) from error
    except OSError as error:
        raise LocalFileError(f"the database {path} cannot be used: {error.strerror}") from error
    return connection


def _make_file(path: str) -> None:
    """Make the file with mode 0600 before SQLite does: its companions -wal and -shm take the mode of this one."""
    if not os.path.lexists(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        sync_folder(os.path.dirname(os.path.abspath(path)))
    for name in (path, f"{path}-wal", f"{path}-shm"):
        if os.path.exists(name):
            make_private(name, 0o600)
