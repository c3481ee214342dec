"""The file that a pull writes: what may be replaced, by whom it was written, and whether git would take it in.

Product, behaviour 1. Nobody is asked here: the command does that, from what ``prepare_target`` found. A file counts as ours
while its path, inode, size and time of change are as we left them; they are kept in the state folder, for the newest
1,000 targets. Loss of that list, or a state folder that cannot be written, makes nobody's file ours and fails no pull.
"""

from __future__ import annotations

import os
import stat

from stronghold_cli.protocol.errors import LocalFileError
from stronghold_cli.protocol.record import Record

MAX_OWNED = 1000
_MAX_OWNED_BYTES = 16 << 20
_GIT_SECONDS = 2
_LOCK_SECONDS = 1.0
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class TargetState(Record):
    """What stands at a target. ``ours``: it is as we left it. ``in_git_unignored``: git would take it into a commit."""

    exists: bool
    ours: bool
    in_git_unignored: bool


def prepare_target(path: str) -> TargetState:
    """Look at a target before it is written. ``LocalFileError`` if it, or its folder, is nothing that can be written to."""
    place = _place(path)
    found = _look(place, path)
    ours = found is not None and _fingerprint(place, found) in _load_owned()
    return TargetState(exists=found is not None, ours=ours, in_git_unignored=_in_git_unignored(place))


def write_target(path: str, content: bytes, *, mode: int = 0o600) -> None:
    """Replace the target with ``content`` as a whole, mode 0600 unless told, and remember it as ours.

    ``LocalFileError`` if that fails; then the old file stands as it was and no other file is left.
    """
    from stronghold_cli.keystore.files import write_private

    place = _place(path)
    _look(place, path)
    write_private(place, content, mode=mode)
    _remember(_fingerprint(place, os.lstat(place)))


def _place(path: str) -> str:
    """The target's one absolute path: links in its folder resolved, its own name as given."""
    folder, name = os.path.split(path)
    if name in {"", ".", ".."} or "\0" in path:
        raise LocalFileError(f"{path!r} names no file to write to.", hint="Give the path of a file.")
    return os.path.join(os.path.realpath(folder or os.curdir), name)


def _look(place: str, path: str) -> os.stat_result | None:
    """The target's state, ``None`` if it is not there; ``LocalFileError`` for all but a plain file that may be written."""
    folder = os.path.dirname(place)
    try:
        if not stat.S_ISDIR(os.stat(folder).st_mode):
            raise LocalFileError(f"{path} cannot be written: {os.path.dirname(path)} is not a folder.")
    except FileNotFoundError:
        raise LocalFileError(
            f"{path} cannot be written: the folder {os.path.dirname(path) or folder} does not exist.",
            hint="Make the folder first.",
        ) from None
    except OSError as error:
        raise LocalFileError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        found = os.lstat(place)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LocalFileError(f"{path} cannot be written: {error.strerror}.") from error
    for is_kind, kind in _KINDS:
        if is_kind(found.st_mode):
            raise LocalFileError(f"{path} is {kind}, which is not replaced.", hint="Give the path of a plain file.")
    # A rename would replace it all the same. Root may write everything, so the mode decides for root, too.
    if not found.st_mode & stat.S_IWUSR or not os.access(place, os.W_OK):
        raise LocalFileError(
            f"{path} is read-only, and is not replaced.", hint=f"Give another path, or allow it: chmod u+w '{path}'"
        )
    return found


# --- whose file it is ------------------------------------------------------------------------------------------------


def _fingerprint(place: str, found: os.stat_result) -> tuple[str, int, int, int]:
    return place, found.st_ino, found.st_size, found.st_mtime_ns


def _owned_path() -> str:
    from stronghold_cli.keystore.paths import state_dir

    return os.path.join(state_dir(), "files", "targets.json")


def _load_owned() -> list[tuple[str, int, int, int]]:
    """The files that we wrote, oldest first; an unreadable list is an empty one, and makes us ask once more."""
    import json

    from stronghold_cli.keystore.files import read_private

    try:
        rows = json.loads(read_private(_owned_path(), _MAX_OWNED_BYTES) or "[]")
        return [(str(place), int(inode), int(size), int(time)) for place, inode, size, time in rows]
    except (LocalFileError, OSError, ValueError, TypeError):
        return []


def _remember(fingerprint: tuple[str, int, int, int]) -> None:
    import json

    from stronghold_cli.keystore.files import locked, write_private

    try:
        path = _owned_path()
        with locked(path, _LOCK_SECONDS):
            rows = [row for row in _load_owned() if row[0] != fingerprint[0]]
            write_private(path, json.dumps([*rows, fingerprint][-MAX_OWNED:]).encode())
    except (LocalFileError, OSError):
        return  # a home that cannot be written, as in many containers: the file then counts as somebody else's


# --- git -------------------------------------------------------------------------------------------------------------


def _in_git_unignored(place: str) -> bool:
    """Whether ``place`` lies in a git work tree and git does not ignore it; where git cannot tell, no."""
    folder = os.path.dirname(place)
    while not os.path.lexists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return False
        folder = parent
    return _git_takes(folder, place)


def _git_takes(work_tree: str, place: str) -> bool:
    import subprocess

    # Only what git needs to find its settings: our own token, and a GIT_DIR that means another tree, are not handed on.
    # A hook named in the settings of a foreign work tree is not run.
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CONFIG_HOME") if name in os.environ}
    command = ["git", "-c", "core.fsmonitor=false", "-C", work_tree, "check-ignore", "--quiet", "--", place]
    try:
        outcome = subprocess.run(
            command,
            env=kept,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return outcome.returncode == 1
