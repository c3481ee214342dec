"""What the attempts at one act made, for the next attempt to use again.

A re-key of large profiles makes many keys, seals and ciphertexts. Where somebody else's commit came first the act is carried
out again; what is made anew then has to be sent anew, too. Protocol section 5: work is used again only where every document
in its ctx is unchanged, and never for a token. So each piece is kept under all that it depends on: what differs in any of
that is another piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Work:
    """Pieces of work by what they are and depend on. It lives as long as one act, and in memory alone."""

    def __init__(self) -> None:
        self._pieces: dict[tuple[object, ...], Any] = {}

    def once(self, make: Callable[[], T], *what: object) -> T:
        """The piece that was made for exactly this; made now where there is none."""
        if what not in self._pieces:
            self._pieces[what] = make()
        piece: T = self._pieces[what]
        return piece
