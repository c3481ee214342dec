"""The folders of this machine that are ours (design: "Who is acting, and with what"; XDG base directories).

The rules are platformdirs', whose import costs a pull more than all of its crypto; on Linux they are written out here,
and a test compares the two under every setting of the variables. Other systems ask platformdirs itself.

    config    config.toml: what the person wrote
    data      accounts/, tokens/, marks/, current.json: what must not be lost
    state     sessions/, files/: what may be lost
    run-time  keys of sessions, on a tmpfs, gone at shutdown
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping

from stronghold_cli.protocol.errors import LocalFileError

NAME = "stronghold"
SHARED_MEMORY = "/dev/shm"  # noqa: S108  (a tmpfs; the folder made in it is checked)
_XDG = {"config": ("XDG_CONFIG_HOME", ".config"), "data": ("XDG_DATA_HOME", ".local/share")}
_XDG["state"] = ("XDG_STATE_HOME", ".local/state")


def config_dir() -> str:
    """Where ``config.toml`` lies."""
    return _folder("config")


def data_dir() -> str:
    """Where accounts, tokens and marks lie."""
    return _folder("data")


def state_dir() -> str:
    """Where sessions and what we know of written files lie."""
    return _folder("state")


def runtime_dir(
    environ: Mapping[str, str] = os.environ, *, shared_memory: str = SHARED_MEMORY, create: bool = True
) -> str | None:
    """A private folder in memory, or ``None`` where this machine has none.

    ``$XDG_RUNTIME_DIR/stronghold`` where that variable names a private folder of this user, else
    ``/dev/shm/stronghold-<uid>``. Each is a real folder (no symlink) of this user with mode 0700: one that somebody else
    has put in its place is not used.
    """
    if os.name != "posix":
        return None
    base = environ.get("XDG_RUNTIME_DIR", "")
    places = []
    if os.path.isabs(base) and _is_private_folder(base):
        places.append(os.path.join(base, NAME))
    if os.path.isdir(shared_memory):
        places.append(os.path.join(shared_memory, f"{NAME}-{os.geteuid()}"))
    for place in places:
        if create:
            _make_private_folder(place)
        if _is_private_folder(place):
            return place
    return None


def _folder(kind: str) -> str:
    if not sys.platform.startswith("linux"):
        return _ask_platformdirs(kind)
    variable, default = _XDG[kind]
    base = os.environ.get(variable, "")
    if not base.startswith("/"):
        base = os.path.join(_home(), default)
    return os.path.join(base, NAME)


def _home() -> str:
    """The home folder; a ``HOME`` that is not absolute counts as not set."""
    home = os.environ.get("HOME", "")
    if not home.startswith("/"):
        import pwd

        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            home = ""
    if not home.startswith("/"):
        raise LocalFileError("The home folder of this user is not known.", hint="Set HOME to an absolute path.")
    # As os.path.expanduser does.
    return home.rstrip("/") or "/"


def _ask_platformdirs(kind: str) -> str:
    from platformdirs import PlatformDirs

    folders = PlatformDirs(NAME, appauthor=False)
    try:
        return {"config": folders.user_config_dir, "data": folders.user_data_dir, "state": folders.user_state_dir}[kind]
    except RuntimeError as error:
        raise LocalFileError("The home folder of this user is not known.", hint="Set HOME to an absolute path.") from error


def _make_private_folder(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except OSError:
        return  # it is there, or cannot be made: the check that follows tells


def _is_private_folder(path: str) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and status.st_mode & 0o077 == 0
