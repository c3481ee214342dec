"""Which profile is meant, and the few settings of a folder (design: "Who is acting, and with what").

``--profile``, then ``STRONGHOLD_PROFILE``, then ``.stronghold.toml`` in the folder or above, then the user's
``config.toml``.
Of both files only ``profile``, ``format``, ``context`` and ``only`` are read, no address and no command: the folder may be
somebody else's. Other keys are named in ``ignored``, so that the caller can warn.
Only the user's own file says where session keys are kept (``session_store``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from stronghold_cli.keystore.files import read_given
from stronghold_cli.keystore.paths import config_dir
from stronghold_cli.protocol.errors import LocalFileError, UsageError
from stronghold_cli.protocol.record import Record

FOLDER_FILE = ".stronghold.toml"
PROFILE_VARIABLE = "STRONGHOLD_PROFILE"
MAX_SETTINGS = 64 << 10


class Settings(Record):
    """What a settings file says; ``path`` is empty where there is none. ``ignored``: the keys that are not read."""

    path: str = ""
    profile: str | None = None
    format: str | None = None
    context: str | None = None
    only: tuple[str, ...] = ()
    session_store: str | None = None
    ignored: tuple[str, ...] = ()


class ProfileChoice(Record):
    """The profile that is asked for (``None``: the only one that can be read), and what named it."""

    name: str | None
    source: str


def choose_profile(
    option: str | None, folder: Settings, user: Settings, environ: Mapping[str, str] = os.environ
) -> ProfileChoice:
    """The first of the four that names a profile. A ``STRONGHOLD_PROFILE`` that is empty is a ``UsageError``."""
    if option is not None:
        return ProfileChoice(name=option, source="--profile")
    if (variable := environ.get(PROFILE_VARIABLE)) is not None:
        if not variable.strip():
            raise UsageError(f"{PROFILE_VARIABLE} is set, but empty.", hint="Give it a profile's name, or unset it.")
        return ProfileChoice(name=variable.strip(), source=PROFILE_VARIABLE)
    for settings in (folder, user):
        if settings.profile is not None:
            return ProfileChoice(name=settings.profile, source=settings.path)
    return ProfileChoice(name=None, source="nothing")


def folder_settings(start: str | None = None) -> Settings:
    """The settings of the nearest ``.stronghold.toml``, in the folder ``start`` (default: the current one) or above."""
    try:
        folder = os.path.abspath(start if start is not None else os.getcwd())
    except OSError:
        return Settings()  # the current folder is gone
    while True:
        path = os.path.join(folder, FOLDER_FILE)
        if os.path.isfile(path):
            return read_settings(path)
        above = os.path.dirname(folder)
        if above == folder:
            return Settings()
        folder = above


def user_settings() -> Settings:
    """The settings of the user's ``config.toml``."""
    path = os.path.join(config_dir(), "config.toml")
    return read_settings(path, own=True) if os.path.isfile(path) else Settings()


def read_settings(path: str, *, own: bool = False) -> Settings:
    """Read a settings file; ``LocalFileError`` that names it for anything but the known keys in their types.

    ``own``: it is the user's, so it may say where session keys are kept, too.
    """
    import tomllib

    try:
        whole = tomllib.loads(read_given(path, MAX_SETTINGS).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LocalFileError(
            f"{path} is not a TOML file.", hint="Correct it, for example: profile = 'production'"
        ) from error
    return Settings(
        path=path,
        profile=_text(whole, "profile", path),
        format=_text(whole, "format", path),
        context=_text(whole, "context", path),
        only=_texts(whole, "only", path),
        session_store=_text(whole, "session_store", path) if own else None,
        ignored=tuple(sorted(whole.keys() - {"profile", "format", "context", "only", *(["session_store"] if own else [])})),
    )


def _text(whole: Mapping[str, object], key: str, path: str) -> str | None:
    value = whole.get(key)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise LocalFileError(f"In {path}, {key} is not a text.", hint=f"Write it as {key} = 'NAME'.")


def _texts(whole: Mapping[str, object], key: str, path: str) -> tuple[str, ...]:
    value = whole.get(key, [])
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise LocalFileError(f"In {path}, {key} is not a list of names.", hint=f"Write it as {key} = ['A', 'B'].")
