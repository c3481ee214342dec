"""Sending the blobs of a large commit ahead of it, in parts (protocol section 5, "One write verb").

A part is one request; after a cut the client asks which of its blobs the server has, and sends the others alone. Shares
never go ahead. A blob that no commit names within 24 hours goes by itself, so an end halfway leaves nothing to clean up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import IntegrityError, Refused, Unavailable
from stronghold_cli.protocol.messages import Commit, decode_ahead, encode_ahead, encode_blobs
from stronghold_cli.vault.operator import Operator

# Told as (what is being done, done, of how many).
Progress: TypeAlias = Callable[[str, int, int], None]

# A body of a part, and the bytes of blobs from which on a commit is sent in parts; in base64, as they travel.
PART_BYTES = 4 << 20
PART_BLOBS = 10_000
# So long a silent server is waited for, since the last part that it took.
RESUME_SECONDS = 60.0
_FIRST_WAIT = 0.25
_LONGEST_WAIT = 5.0
_FORGOTTEN_AT_ONCE = 3_000  # 67 bytes each, in a body of at most 256 KiB
_QUOTES = 3  # around a blob, and the comma after it


def silent(_: str, __: int, ___: int) -> None:
    """Progress that nobody wants to see."""


def send_ahead(
    operator: Operator,
    commit: Commit,
    progress: Progress = silent,
    sleep: Callable[[float], None] = time.sleep,
    *,
    is_repeated: bool = False,
) -> Commit:
    """Send the blobs of a large commit ahead; what is left of it to send: all of a small one.

    ``is_repeated``: an earlier attempt may have sent some of them. Where the server has no more room for blobs that nothing
    names, those go that this commit does not name either; where that is not enough, the rest stays in the commit.
    """
    if sum(map(_travelling, commit.blobs)) <= PART_BYTES:
        return commit
    missing = {digest(blob): blob for blob in commit.blobs}
    _Sending(operator, missing, progress, sleep).send(is_repeated)
    return commit.replace(blobs=tuple(missing.values()))


class _Sending:
    """Empties ``missing`` as the server takes it."""

    def __init__(
        self, operator: Operator, missing: dict[bytes, bytes], progress: Progress, sleep: Callable[[float], None]
    ) -> None:
        self._operator = operator
        self._missing = missing
        self._progress = progress
        self._sleep = sleep
        self._total = sum(map(len, missing.values()))
        self._wanted = frozenset(missing)

    def send(self, is_repeated: bool) -> None:
        """Send part after part; after a cut, or where it ``is_repeated``, only what is not there."""
        waited, wait = 0.0, _FIRST_WAIT
        may_be_there, is_full = is_repeated, False
        while self._missing:
            left = len(self._missing)
            try:
                if may_be_there:
                    self._look(make_room=is_full)
                self._send_parts()
            except (Refused, Unavailable) as error:
                may_be_there = True
                if error.code == "AHEAD_FULL" and is_full:
                    return
                if error.code == "AHEAD_FULL":
                    is_full = True
                    continue
                # REPLAYED: something on the way sent the request twice, and the answer to the first one is lost.
                if isinstance(error, Refused) and error.code != "REPLAYED":
                    raise
                if len(self._missing) < left:
                    waited, wait = 0.0, _FIRST_WAIT
                if waited >= RESUME_SECONDS:
                    raise Unavailable(
                        "The connection broke off and the server did not come back, so nothing was changed.",
                        hint="Run the command again when the server is back.",
                    ) from error
                self._sleep(wait)
                waited, wait = waited + wait, min(2 * wait, _LONGEST_WAIT)

    def _look(self, *, make_room: bool) -> None:
        """Ask what is there; and let go what was sent ahead for other commits, which ended or will never come."""
        there = decode_ahead(self._operator.get("/blobs"))
        others = sorted(there - self._wanted) if make_room else []
        for start in range(0, len(others), _FORGOTTEN_AT_ONCE):
            self._operator.post("/blobs-forget", encode_ahead(others[start : start + _FORGOTTEN_AT_ONCE]))
        self._forget(there)

    def _send_parts(self) -> None:
        for part in list(_parts(self._missing)):
            there = decode_ahead(self._operator.post("/blobs", encode_blobs(part.values())))
            if not part.keys() <= there:
                raise IntegrityError("The server does not say that it has what was sent ahead.")
            self._forget(there)

    def _forget(self, there: frozenset[bytes]) -> None:
        for sha256 in there & self._missing.keys():
            del self._missing[sha256]
        self._progress("Sending", self._total - sum(map(len, self._missing.values())), self._total)


def _parts(blobs: dict[bytes, bytes]) -> Iterator[dict[bytes, bytes]]:
    part: dict[bytes, bytes] = {}
    size = 0
    for sha256, blob in blobs.items():
        if part and (size + _travelling(blob) > PART_BYTES or len(part) == PART_BLOBS):
            yield part
            part, size = {}, 0
        part[sha256] = blob
        size += _travelling(blob)
    if part:
        yield part


def _travelling(blob: bytes) -> int:
    """How many bytes of a body a blob takes."""
    return 4 * ((len(blob) + 2) // 3) + _QUOTES
