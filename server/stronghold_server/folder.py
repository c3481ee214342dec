"""The data folder: mode 0700, files 0600, one server process at a time, and the server's log key.

Implements the storage side of protocol section 7 (log keys). The log key lies beside the database and not in it, so that a
stolen database cannot sign; a backup of the database does not hold it either.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from typing import Final

from stronghold_cli.protocol.encoding import decode_hex
from stronghold_cli.protocol.errors import LocalFileError, MalformedError
from stronghold_cli.protocol.keys import SigningKey

DATABASE_FILE: Final = "stronghold.db"
LOCK_FILE: Final = "server.lock"
LOG_KEY_FILE: Final = "log.key"
_LOG_KEY_TITLE: Final = "stronghold server log key 1"
_LOG_KEY_LIMIT: Final = 1024


class LogKey:
    """The key that signs checkpoints: a random 16-byte id, by which org documents name it, and an Ed25519 key."""

    __slots__ = ("id", "sign")

    def __init__(self, key_id: bytes, seed: bytes) -> None:
        self.id = key_id
        self.sign = SigningKey(seed)

    def __repr__(self) -> str:
        return f"LogKey({self.id.hex()})"


class DataFolder:
    """The open, locked data folder of one server process."""

    def __init__(self, path: str) -> None:
        """Make the folder where it is missing, make it private, and lock it; ``LocalFileError`` where that fails."""
        self.path = os.path.abspath(path)
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            make_private(self.path, 0o700)
            self._lock = os.open(self.file(LOCK_FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise LocalFileError(
                f"the server's data folder {self.path} cannot be used: {error.strerror}",
                hint="Give a folder that the server's user may write, with STRONGHOLD_DATA_DIR.",
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise LocalFileError(
                f"another server uses the data folder {self.path}",
                hint="Stop that one, or give this one a folder of its own with STRONGHOLD_DATA_DIR.",
            ) from error

    def file(self, name: str) -> str:
        """The path of a file in the folder."""
        return os.path.join(self.path, name)

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._lock)

    def log_key(self, random: Callable[[int], bytes]) -> LogKey:
        """The server's log key; made at the first start."""
        path = self.file(LOG_KEY_FILE)
        if not os.path.lexists(path):
            text = f"{_LOG_KEY_TITLE}\n{random(16).hex()}\n{random(32).hex()}\n"
            write_private(path, text.encode())
        lines = read_private(path, _LOG_KEY_LIMIT).decode("ascii", "replace").split("\n")
        try:
            if len(lines) != 4 or lines[0] != _LOG_KEY_TITLE or lines[3]:
                raise MalformedError("the log key file does not have its three lines")
            return LogKey(decode_hex(lines[1], 16), decode_hex(lines[2], 32))
        except MalformedError as error:
            raise LocalFileError(
                f"the log key {path} is damaged",
                hint="Restore this file from your backup: the audit logs of this server's orgs are signed with it.",
            ) from error


def make_private(path: str, mode: int) -> None:
    """Take all rights but the owner's away. Volumes with a group for all files (Kubernetes' fsGroup) give them again."""
    if os.stat(path).st_mode & 0o777 != mode:
        os.chmod(path, mode)


def write_private(path: str, content: bytes) -> None:
    """Write a new 0600 file, whole or not at all, and durable; ``LocalFileError`` where that fails."""
    temporary = f"{path}.{os.getpid()}.new"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
        sync_folder(os.path.dirname(path))
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise LocalFileError(f"the file {path} cannot be written: {error.strerror}") from error


def read_private(path: str, limit: int) -> bytes:
    """Read at most ``limit`` bytes of a private file, after taking all rights but the owner's away."""
    try:
        make_private(path, 0o600)
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
            return file.read(limit)
    except OSError as error:
        raise LocalFileError(f"the file {path} cannot be read: {error.strerror}") from error


def sync_folder(path: str) -> None:
    """Make new names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
