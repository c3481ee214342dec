"""How outcomes come back from the store's thread to the event loop's: all of one disk flush in one call.

``asyncio.wrap_future`` wakes the loop once for every future, through a socket; under load that costs more than the work
itself. Here the store's thread only puts outcomes into a queue, and wakes the loop where it has not been woken already.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

T = TypeVar("T")


class Deliveries:
    """Outcomes on their way to the event loop that waits for them. One loop at a time uses it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._is_woken = False

    async def wait(self, future: Future[T]) -> T:
        """The outcome of ``future``, or its exception. Where the waiting is cancelled, so is a work not yet begun."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._arrived, self._is_woken = loop, deque(), False
        waiter: asyncio.Future[T] = loop.create_future()
        future.add_done_callback(lambda done: self._arrive(loop, waiter, done))
        try:
            return await waiter
        except asyncio.CancelledError:
            future.cancel()
            raise

    def _arrive(self, loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[Any], done: Future[Any]) -> None:
        """Called in the store's thread."""
        self._arrived.append((waiter, done))
        if not self._is_woken:
            self._is_woken = True
            loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # First the mark, then the queue: what arrives after the queue was found empty wakes the loop again.
        self._is_woken = False
        while self._arrived:
            waiter, done = self._arrived.popleft()
            if waiter.done():
                continue  # whoever waited was cancelled
            try:
                error = done.exception()
            except CancelledError:
                waiter.cancel()
                continue
            if error is None:
                waiter.set_result(done.result())
            else:
                waiter.set_exception(error)
