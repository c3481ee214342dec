"""The progress bar of long writes: on a terminal only, and only once a command has taken a second."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Self

from stronghold_cli.output import settings

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SECONDS = 1.0


class ProgressBar:
    """Told how far a command is, by call; open it as a context around the work.

    Rich is imported when the bar is first drawn, so that what ends within a second does not pay for it.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._lock = threading.Lock()
        self._latest = ("Writing", 0, 0)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._ended = False
        self._timer = threading.Timer(seconds, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not settings().quiet:
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._ended = True
            if self._bar is not None:
                self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` is done of ``what``."""
        with self._lock:
            self._latest = (what, done, total)
            self._draw()

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

        with self._lock:
            if self._ended:
                return
            console = Console(stderr=True, no_color=not settings().colour)
            columns = (
                SpinnerColumn("line"), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
                TimeElapsedColumn(),
            )  # fmt: skip
            self._bar = Progress(*columns, console=console, transient=True)
            self._task = self._bar.add_task(self._latest[0])
            self._draw()
            self._bar.start()

    def _draw(self) -> None:
        if self._bar is not None and self._task is not None:
            what, done, total = self._latest
            self._bar.update(self._task, description=what, completed=done, total=total or None)
