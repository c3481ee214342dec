"""What all listings share: ``--limit`` and ``--after``, and the line on stderr that says how many are not shown.

A listing is whole in a pipe, in a file and as JSON; on a terminal it ends after a hundred rows. The place to go on from is
the name or id of the row with which the page before ended, so rows that come or go meanwhile move nothing. What has numbers,
and whose newest are looked at first, goes back with ``--before`` a number: ``audit list`` and ``secret history``.
"""

from __future__ import annotations

import shlex
import sys
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import typer

from stronghold_cli.output import say, settings
from stronghold_cli.protocol.errors import NotFound
from stronghold_cli.protocol.names import nfc
from stronghold_cli.protocol.record import Record

T = TypeVar("T")

TERMINAL_ROWS = 100
MAX_ROWS = 1_000_000

LimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit", "-n", min=1, max=MAX_ROWS, help="At most so many rows. On a terminal 100 unless told; elsewhere all."
    ),
]
AfterOption = Annotated[
    str | None,
    typer.Option("--after", metavar="NAME", help="Go on after this one: the name or id that the page before ended with."),
]
AfterIdOption = Annotated[
    str | None, typer.Option("--after", metavar="ID", help="Go on after this one: the id that the page before ended with.")
]


class Page(Record):
    """The rows of a listing that are printed: ``items``, beginning with number ``first`` of ``total``."""

    items: Sequence[Any]
    noun: str
    first: int
    total: int
    cursor: str

    def tell(self) -> None:
        """Say what is not shown, and how to see it; after the table, where it is read."""
        end = self.first + len(self.items) - 1
        if not self.items:
            if self.first > 1:
                say(f"No {self.noun} come after that; there are {self.total}.")
        elif end < self.total:
            say(f"{self.first} to {end} of {self.total} {self.noun} are shown. For the next, add: --after {self.cursor}")


def page_of(items: Sequence[T], noun: str, *, limit: int | None, start: int = 0, cursor: Callable[[T], str]) -> Page:
    """The items from place ``start`` on, as many as are wanted; ``cursor`` gives what ``--after`` takes for one of them."""
    wanted = rows_wanted(limit)
    shown = items[start:] if wanted is None else items[start : start + wanted]
    return Page(
        items=shown,
        noun=noun,
        first=start + 1,
        total=len(items),
        cursor=shlex.quote(cursor(shown[-1])) if shown else "",
    )


def rows_wanted(limit: int | None) -> int | None:
    """How many rows are printed at most; ``None`` for all."""
    if limit is None and sys.stdout.isatty() and not settings().json:
        return TERMINAL_ROWS
    return limit


def place_after(named: Sequence[tuple[str, str]], after: str | None, noun: str, prefix: str) -> int:
    """Where a listing of (name, shown id), sorted by name, goes on after a name or id.

    A name need not stand there any more. ``NotFound`` for an id (it begins with ``prefix``) that does not.
    """
    if after is None:
        return 0
    if prefix and after.startswith(prefix):
        return place_of([shown for _, shown in named], after, noun) + 1
    return bisect_right([name for name, _ in named], nfc(after))


def place_of(ids: Sequence[str], after: str, noun: str) -> int:
    """Where an id stands in a listing; ``NotFound`` where it does not."""
    if after not in ids:
        raise NotFound(
            f"{after[:80]!r} is none of the {noun} listed, so nothing comes after it.",
            hint="Begin the listing again without --after.",
        )
    return ids.index(after)
