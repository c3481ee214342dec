"""An unlocked operator: the keyset of one org, for 8 hours, in every shell of this machine.

The keyset lies in a box (kind ``session``, ctx org_id, operator_id) in the state folder; the random key of that box lies
elsewhere, in memory: ``<run-time folder>/<org>.key``. A thief of the disk has the box, a shutdown takes the key. Where there
is no run-time folder the key is handed to the caller, who prints it as ``export STRONGHOLD_SESSION=…``; a session that finds
this variable uses it and no other key. Who chose it by setting has the key in the keyring of the operating system instead
(``os_keyring``); where that does not answer, a new session goes the ordinary way.

Plaintext: TLV(start u64, end u64, keyset 32). A session is over at its end, and also when the clock stands before its
start: whoever sets a clock back wins no time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress

from stronghold_cli.crypto.box import make_box, open_box
from stronghold_cli.crypto.keys import Keyset
from stronghold_cli.keystore import os_keyring
from stronghold_cli.keystore.files import list_dir, read_private, remove, write_private
from stronghold_cli.keystore.paths import runtime_dir, state_dir
from stronghold_cli.protocol.encoding import decode_base64, decode_u64, encode_base64, split_tlv, tlv
from stronghold_cli.protocol.errors import IntegrityError, MalformedError, NotAuthenticated, StrongholdError
from stronghold_cli.protocol.record import Record

SESSION_SECONDS = 8 * 3600
SESSION_VARIABLE = "STRONGHOLD_SESSION"
KIND = "session"
KEY_BYTES = 32
_BOX_LIMIT = 1024


class Session(Record):
    """An unlocked operator; ``end`` in Unix seconds."""

    keyset: Keyset
    end: int


def unlock(
    keyset: Keyset,
    *,
    now: int,
    random: Callable[[int], bytes],
    seconds: int = SESSION_SECONDS,
    environ: Mapping[str, str] = os.environ,
    warn: Callable[[str], None] = lambda _: None,
) -> str | None:
    """Keep the keyset unlocked for ``seconds``; ``warn`` is told where the keyring was chosen and cannot be used.

    Returns ``None``, or the text for ``STRONGHOLD_SESSION`` where this machine has no run-time folder: without it in the
    environment the session cannot be opened.
    """
    in_keyring = os_keyring.is_chosen(environ)
    key = random(KEY_BYTES)
    plaintext = tlv(now, now + seconds, keyset.raw)
    box = make_box(key, KIND, (keyset.org_id, keyset.operator_id), plaintext, random)
    write_private(_box_path(keyset.org_id), box)
    if in_keyring and _put_into_keyring(keyset.org_id, key, environ, warn):
        _remove_key_file(keyset.org_id, environ)  # an older session's, which would be found first
        return None
    folder = runtime_dir(environ)
    if folder is None:
        return encode_base64(key).translate(_TO_URL).rstrip("=")
    write_private(os.path.join(folder, _key_name(keyset.org_id)), key)
    return None


def find_session(org_id: bytes, operator_id: bytes, *, now: int, environ: Mapping[str, str] = os.environ) -> Session | None:
    """The unlocked operator, or ``None``: never unlocked, over, locked, or the key went with a shutdown.

    A session that is over is removed. Raises ``NotAuthenticated`` for a ``STRONGHOLD_SESSION`` that is no key, and for a
    keyring that was chosen and does not answer.
    """
    box = read_private(_box_path(org_id), _BOX_LIMIT)
    key = _find_key(org_id, environ, has_box=box is not None)
    if box is None or key is None:
        return None
    try:
        start, end, raw = split_tlv(open_box(key, KIND, (org_id, operator_id), box), 3)
    except IntegrityError:
        return None  # another operator's, or an older key: as good as locked
    if not decode_u64(start) <= now < decode_u64(end):
        lock(org_id, environ=environ)
        return None
    return Session(keyset=Keyset(raw, org_id, operator_id), end=decode_u64(end))


def lock(org_id: bytes, *, environ: Mapping[str, str] = os.environ) -> bool:
    """End the session of an org; whether there was one. A key in ``STRONGHOLD_SESSION`` opens nothing any more."""
    had_key = _remove_key_file(org_id, environ)
    had_box = remove(_box_path(org_id))
    if had_box:
        _forget_in_keyring(org_id.hex(), environ)
    return had_box or had_key


def lock_all(*, environ: Mapping[str, str] = os.environ) -> None:
    """End every session of this user on this machine."""
    boxes = [name.removesuffix(".session") for name in list_dir(sessions_dir()) if name.endswith(".session")]
    for folder in filter(None, (sessions_dir(), runtime_dir(environ, create=False))):
        for name in list_dir(folder):
            if name.endswith((".session", ".key")):
                remove(os.path.join(folder, name))
    for name in boxes:
        _forget_in_keyring(name, environ)


def sessions_dir() -> str:
    """Where the boxes lie."""
    return os.path.join(state_dir(), "sessions")


_TO_URL = str.maketrans("+/", "-_")
_FROM_URL = str.maketrans("-_", "+/")


def _find_key(org_id: bytes, environ: Mapping[str, str], *, has_box: bool) -> bytes | None:
    if text := environ.get(SESSION_VARIABLE, "").strip():
        try:
            return decode_base64(text.translate(_FROM_URL) + "=", length=KEY_BYTES)
        except MalformedError as error:
            raise NotAuthenticated(
                f"{SESSION_VARIABLE} does not hold a session key.", hint="Unset it, or run: stronghold auth unlock"
            ) from error
    folder = runtime_dir(environ, create=False)
    key = read_private(os.path.join(folder, _key_name(org_id)), KEY_BYTES) if folder else None
    if key is None and has_box and os_keyring.is_chosen(environ) and os_keyring.why_not_asked(environ) is None:
        key = os_keyring.find(org_id.hex(), environ)
    return key if key is not None and len(key) == KEY_BYTES else None


def _put_into_keyring(org_id: bytes, key: bytes, environ: Mapping[str, str], warn: Callable[[str], None]) -> bool:
    """Whether the keyring holds the key now; ``warn`` is told why not."""
    reason = os_keyring.why_not_asked(environ)
    if reason is None:
        try:
            os_keyring.store(org_id.hex(), key, environ)
            return True
        except NotAuthenticated as error:
            reason = error.message
    warn(f"{reason} The session's key is kept without it.")
    return False


def _forget_in_keyring(name: str, environ: Mapping[str, str]) -> None:
    """Take the key out of the keyring too; where that fails, it opens nothing any more, since its box is gone."""
    with suppress(StrongholdError):
        if os_keyring.is_chosen(environ) and os_keyring.why_not_asked(environ) is None:
            os_keyring.forget(name, environ)


def _remove_key_file(org_id: bytes, environ: Mapping[str, str]) -> bool:
    folder = runtime_dir(environ, create=False)
    return remove(os.path.join(folder, _key_name(org_id))) if folder else False


def _box_path(org_id: bytes) -> str:
    return os.path.join(sessions_dir(), f"{org_id.hex()}.session")


def _key_name(org_id: bytes) -> str:
    return f"{org_id.hex()}.key"
