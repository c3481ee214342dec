"""The keyring of the operating system as the place of session keys (design: "keyring": by setting, never probed).

Only ``STRONGHOLD_SESSION_STORE=keyring``, or ``session_store = 'keyring'`` in the user's ``config.toml``, leads here. A
keyring can hang for minutes where no session bus answers, and its libraries load what they find: so a process of its own
asks, is ended with all that it started after three seconds, and gets and gives keys through pipes alone. In continuous
integration and in containers there is no person who could unlock a keyring: there it is not asked at all.

The library is ``keyring``, which the extra of that name installs; which back end it uses is its own configuration's matter.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from stronghold_cli.keystore.profile_choice import user_settings
from stronghold_cli.protocol.encoding import decode_hex
from stronghold_cli.protocol.errors import MalformedError, NotAuthenticated, UsageError

if TYPE_CHECKING:
    import subprocess

STORE_VARIABLE = "STRONGHOLD_SESSION_STORE"
SERVICE = "stronghold"
SECONDS = 3.0
INSTALL = "pip install 'stronghold-cli[keyring]'"
STORES = ("runtime", "keyring")
_HINT = f"Unlock it; or run stronghold auth unlock, which then goes without it; or set {STORE_VARIABLE}=runtime."
_CONTAINER_FILES = ("/.dockerenv", "/run/.containerenv")
_CONTAINER_VARIABLES = ("container", "KUBERNETES_SERVICE_HOST")

_ABSENT, _NOT_INSTALLED, _FAILED = 3, 4, 5
# What is set is read back, since there is a back end that takes everything and keeps nothing. Nothing that a back end says
# is passed on: it can hold what it was given.
_SCRIPT = f"""
import os, sys
action, service, name = sys.argv[1:]
sys.stderr = open(os.devnull, "w")
try:
    import keyring
    import keyring.errors
except ImportError:
    os._exit({_NOT_INSTALLED})
try:
    if action == "set":
        key = sys.stdin.read()
        keyring.set_password(service, name, key)
        code = 0 if keyring.get_password(service, name) == key else {_FAILED}
    elif action == "delete":
        try:
            keyring.delete_password(service, name)
        except keyring.errors.PasswordDeleteError:
            pass
        code = 0
    else:
        key = keyring.get_password(service, name)
        code = {_ABSENT} if key is None else 0
        sys.stdout.write(key or "")
        sys.stdout.flush()
except BaseException:
    code = {_FAILED}
os._exit(code)
"""


def is_chosen(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this person keeps session keys in the keyring; ``UsageError`` for a place that does not exist."""
    if (variable := environ.get(STORE_VARIABLE)) is not None:
        chosen, source = variable.strip(), STORE_VARIABLE
    else:
        settings = user_settings()
        chosen, source = settings.session_store or STORES[0], f"session_store in {settings.path}"
    if chosen not in STORES:
        raise UsageError(
            f"{source} is {chosen[:40]!r}, which is no place for keys.", hint=f"Set it to {' or '.join(STORES)}."
        )
    return chosen == "keyring"


def why_not_asked(environ: Mapping[str, str] = os.environ) -> str | None:
    """The reason for which the keyring is not asked in this environment, though it was chosen; ``None``: it is."""
    if environ.get("CI", "").lower() in {"true", "1"}:
        return "The keyring is not asked in continuous integration."
    if any(environ.get(name) for name in _CONTAINER_VARIABLES) or any(os.path.exists(path) for path in _CONTAINER_FILES):
        return "The keyring is not asked in a container."
    return None


def store(name: str, key: bytes, environ: Mapping[str, str] = os.environ) -> None:
    """Put a session key, named by its org's id in hex, into the keyring; ``NotAuthenticated`` where it is not kept."""
    _ask("set", name, environ, key.hex())


def find(name: str, environ: Mapping[str, str] = os.environ) -> bytes | None:
    """The session key of an org, or ``None`` where the keyring has none; ``NotAuthenticated`` where it does not answer."""
    text = _ask("get", name, environ)
    if text is None:
        return None
    try:
        return decode_hex(text, 32)
    except MalformedError:
        return None  # somebody else's entry under our name: as good as none


def forget(name: str, environ: Mapping[str, str] = os.environ) -> None:
    """Take the session key of an org out of the keyring; ``NotAuthenticated`` where it does not answer."""
    _ask("delete", name, environ)


def _ask(action: str, name: str, environ: Mapping[str, str], given: str = "") -> str | None:
    import subprocess

    # -P: a folder that somebody else filled, and in which the command was typed, is not searched for modules.
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _SCRIPT, action, SERVICE, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in environ.items() if not name.startswith(("STRONGHOLD_", "API_STRONGHOLD_"))},
        encoding="ascii",
        errors="replace",
        start_new_session=True,
    )
    try:
        answer, _ = process.communicate(given, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise NotAuthenticated(f"The keyring did not answer within {SECONDS:g} s.", hint=_HINT) from error
    finally:
        _end(process)
    if process.returncode == _ABSENT:
        return None
    if process.returncode == _NOT_INSTALLED:
        raise NotAuthenticated(
            "The keyring was chosen for session keys, but its library is missing.", hint=f"Run: {INSTALL}"
        )
    if process.returncode != 0:
        raise NotAuthenticated("The keyring failed, or is locked.", hint=_HINT)
    return answer


def _end(process: subprocess.Popen[str]) -> None:
    """End the process with all that it started, which may hold its pipes open, and close the pipes."""
    if process.returncode is None:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
