"""Random bytes for what every request needs: ids of requests and salts of entries, never keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_DRAWN: Final = 4096


class RandomPool:
    """Draws random bytes in larger pieces: one call of the system for many requests. For one thread alone."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._pool = b""
        self._used = 0

    def __call__(self, count: int) -> bytes:
        """``count`` bytes, at most 4096, that were never given before."""
        start = self._used
        if start + count > len(self._pool):
            self._pool, start = self._random(_DRAWN), 0
        self._used = start + count
        return self._pool[start : self._used]
