"""What systemd reads from an ``EnvironmentFile``: by its own parser, which lies in its shared library."""

from __future__ import annotations

import ctypes
import re
import tempfile
from functools import cache
from pathlib import Path

_FOLDERS = ("/usr/lib/x86_64-linux-gnu/systemd", "/usr/lib/aarch64-linux-gnu/systemd", "/usr/lib/systemd", "/lib/systemd")


@cache
def _library() -> Path | None:
    found = [file for folder in _FOLDERS for file in Path(folder).glob("libsystemd-shared-*.so")]
    return found[0] if found else None


def version() -> str:
    """The version of the library; empty where there is none."""
    library = _library()
    found = re.search(r"shared-(\d+)", library.name) if library else None
    return found[1] if found else ""


@cache
def _loaded() -> ctypes.CDLL:
    library = ctypes.CDLL(str(_library()))
    library.log_set_max_level(0)  # what it refuses is told by its answer
    return library


def read(content: bytes) -> dict[str, bytes] | None:
    """The variables that a unit gets from such a file; ``None`` where systemd refuses it."""
    library = _loaded()
    variables = ctypes.POINTER(ctypes.c_char_p)()
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        if library.load_env_file(None, file.name.encode(), ctypes.byref(variables)) < 0:
            return None
    library.strv_env_clean_with_callback.restype = ctypes.POINTER(ctypes.c_char_p)
    kept = library.strv_env_clean_with_callback(variables, None, None) if variables else variables
    values = {}
    for each in kept or ():
        if each is None:
            break
        name, _, value = each.partition(b"=")
        values[name.decode()] = value
    return values
