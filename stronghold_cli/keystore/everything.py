"""All that this program keeps on this machine: listed for ``doctor``, removed by ``auth logout --all``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from stronghold_cli.keystore.files import remove
from stronghold_cli.keystore.paths import config_dir, data_dir, runtime_dir, state_dir
from stronghold_cli.keystore.sessions import lock_all
from stronghold_cli.protocol.errors import LocalFileError


def our_folders(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What each folder is for, and its path; the run-time folder only where there is one."""
    folders = {"config": config_dir(), "data": data_dir(), "state": state_dir()}
    runtime = runtime_dir(environ, create=False)
    return {**folders, "run-time": runtime} if runtime else folders


def stored_paths(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Every file that this program keeps, sorted; the user's own ``config.toml`` and a server's data are not among them."""
    return sorted(path for _, path in _kept(environ))


def logout_all(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Remove every file of ``stored_paths``, marks too, and the folders that are empty then; returns the paths."""
    kept = list(_kept(environ))
    lock_all(environ=environ)  # what lies in a keyring is no file
    for _, path in kept:
        remove(path)
    for folder in {folder for folder, _ in kept}:
        _remove_empty(folder)
    return sorted(path for _, path in kept)


def _kept(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Our folder, and the path of a file in it that is ours to remove."""
    folders = our_folders(environ)
    for kind, names in _KEPT.items():
        folder = folders.get(kind, "")
        for path in _files_below(folder) if folder else ():
            if not names or os.path.relpath(path, folder).partition(os.sep)[0].startswith(names):
                yield folder, path


# The folders and files of each kind that are ours to remove; an empty tuple stands for all.
_KEPT: dict[str, tuple[str, ...]] = {
    "run-time": (),
    "state": ("sessions", "files"),
    "data": ("accounts", "tokens", "marks", "orgs", "current.json", ".current.json"),
}


def _files_below(folder: str) -> Iterator[str]:
    """Files and symlinks below a folder; symlinks are not followed."""
    if os.path.islink(folder):
        return
    for place, names, files in os.walk(folder):
        yield from (os.path.join(place, name) for name in files)
        yield from (os.path.join(place, name) for name in names if os.path.islink(os.path.join(place, name)))


def _remove_empty(folder: str) -> None:
    for place, _, _ in os.walk(folder, topdown=False):
        try:
            if not os.listdir(place):
                os.rmdir(place)
        except OSError as error:
            raise LocalFileError(f"{place} cannot be removed: {error.strerror}.", hint="Remove it by hand.") from error
