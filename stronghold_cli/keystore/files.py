"""Private files: atomic writes, bounded reads that refuse what others could have put there, locks with a time limit.

A reader never sees half a file: what is written goes to a new file beside the target (mode 0600, never through a
symlink), is flushed to the disk and then renamed over it. Everything that fails is a ``LocalFileError`` naming the path.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from stronghold_cli.protocol.errors import LocalFileError

LOCK_SECONDS = 10.0
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


def make_private_dir(path: str) -> None:
    """Make a folder and those above it, mode 0700 each; one that is there stays as it is."""
    try:
        _make_dirs(path)
    except OSError as error:
        raise file_error("made", path, error) from error


def write_private(path: str, content: bytes, *, mode: int = 0o600) -> None:
    """Replace the file at ``path`` by ``content``, in one step that survives a crash; makes its folder.

    Until all of it is there the new file is 0600; it has ``mode`` when it takes its place.
    """
    folder = os.path.dirname(os.path.abspath(path))
    make_private_dir(folder)
    fresh = os.path.join(folder, f".{os.path.basename(path)}.{os.urandom(8).hex()}.new")
    try:
        _write_new(fresh, content, mode)
        try:
            os.replace(fresh, path)
        except OSError:
            os.unlink(fresh)
            raise
        _flush_folder(folder)
    except OSError as error:
        raise file_error("written", path, error) from error


def read_private(path: str, limit: int, *, secret: bool = True) -> bytes | None:
    """The bytes of one of our own files, or ``None`` where there is none.

    Refused with ``LocalFileError``: a symlink, anything but a plain file, a file of another user (root's is taken), more
    than ``limit`` bytes, a file that others may write and, where it is ``secret``, one that others may read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW | _NO_WAIT)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise file_error("read", path, error) from error
    try:
        _check_owner(path, os.fstat(descriptor), 0o077 if secret else 0o022)
        return _read_bounded(descriptor, path, limit)
    except OSError as error:
        raise file_error("read", path, error) from error
    finally:
        os.close(descriptor)


def read_given(path: str, limit: int) -> bytes:
    """The bytes of a file that a person or a platform named: symlinks, pipes and any owner are theirs to choose.

    Container platforms hand secrets over as symlinks to files that all may read, shells as pipes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise file_error("read", path, error) from error
    try:
        return _read_bounded(descriptor, path, limit)
    except OSError as error:
        raise file_error("read", path, error) from error
    finally:
        os.close(descriptor)


def remove(path: str) -> bool:
    """Remove a file; whether there was one."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise file_error("removed", path, error) from error
    return True


def list_dir(path: str) -> list[str]:
    """The names in a folder, sorted; none where there is no folder."""
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise file_error("read", path, error) from error


@contextmanager
def locked(path: str, seconds: float = LOCK_SECONDS, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[None]:
    """Hold the lock of the file at ``path`` (its lock file is ``path`` + ``.lock`` and stays); ends with the process.

    Raises ``LocalFileError`` where another process holds it for longer than ``seconds``, or it cannot be made.
    """
    make_private_dir(os.path.dirname(path))
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | _NO_FOLLOW, 0o600)
    except OSError as error:
        raise file_error("locked", path, error) from error
    try:
        _wait_for_lock(descriptor, path, seconds, sleep)
        yield
    finally:
        os.close(descriptor)


def file_error(action: str, path: str, error: OSError) -> LocalFileError:
    """The error for a path that could not be ``action`` (read, written, …)."""
    reason = error.strerror or type(error).__name__
    return LocalFileError(f"{path} cannot be {action}: {reason}.", hint="Check the folder, its permissions and free space.")


def _make_dirs(path: str) -> None:
    """Like ``os.makedirs``, which would give the folders above the last one the mode that the umask leaves."""
    if not path or os.path.isdir(path):
        return
    _make_dirs(os.path.dirname(path))
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)


def _write_new(path: str, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o600)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if mode != 0o600:
            _set_mode(descriptor, path, mode)
        os.fsync(descriptor)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def _set_mode(descriptor: int, path: str, mode: int) -> None:
    """By the open file: in a folder that others may write, its name may already mean a link to something else."""
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, mode)
    else:  # Windows, before Python 3.13
        os.chmod(path, mode)


def _flush_folder(folder: str) -> None:
    """Make the rename durable, where the system lets a folder be opened."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_owner(path: str, status: os.stat_result, forbidden: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise LocalFileError(f"{path} is not a plain file.", hint="Move it away.")
    if sys.platform == "win32":
        return
    if status.st_uid not in {0, os.geteuid()}:
        raise LocalFileError(
            f"{path} belongs to another user (uid {status.st_uid}).", hint="Move it away, or act as the user whose it is."
        )
    if status.st_mode & forbidden:
        verb = "read" if forbidden & 0o044 else "change"
        raise LocalFileError(f"{path} is open to other users, who may {verb} it.", hint=f"Run: chmod 600 '{path}'")


def _read_bounded(descriptor: int, path: str, limit: int) -> bytes:
    content = bytearray()
    while piece := os.read(descriptor, limit + 1 - len(content)):
        content += piece
        if len(content) > limit:
            raise LocalFileError(
                f"{path} is larger than the {limit} bytes allowed.", hint="It is not the file that was meant."
            )
    return bytes(content)


def _wait_for_lock(descriptor: int, path: str, seconds: float, sleep: Callable[[float], None]) -> None:
    pause, waited = 0.01, 0.0
    while not _try_lock(descriptor, path):
        if waited >= seconds:
            raise LocalFileError(
                f"{path} is in use by another stronghold process.", hint="Wait for that process, or end it if it hangs."
            )
        sleep(pause)
        waited += pause
        pause = min(pause * 2, 0.2)


def _try_lock(descriptor: int, path: str) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:  # a file system without locks, such as some network mounts
        raise file_error("locked", path, error) from error
    return True
