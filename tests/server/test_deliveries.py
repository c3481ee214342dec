"""Outcomes of the store's thread reach those who wait for them, each its own, and several in one call of the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from stronghold_server.deliveries import Deliveries


def resolve(*outcomes: tuple[Future[int], int | Exception]) -> None:
    """Resolve futures in another thread, as the store does."""

    def run() -> None:
        for future, outcome in outcomes:
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()  # the loop stands still meanwhile


def test_each_waiter_gets_its_own_outcome_in_one_call_of_the_loop() -> None:
    async def scenario() -> tuple[list[Any], int]:
        deliveries, futures = Deliveries(), [Future[int]() for _ in range(3)]
        tasks = [asyncio.create_task(deliveries.wait(future)) for future in futures]
        await asyncio.sleep(0)
        loop, calls = asyncio.get_running_loop(), []
        call: Callable[..., Any] = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *work: calls.append(work) or call(*work)  # type: ignore[method-assign]
        resolve((futures[0], 1), (futures[1], ValueError("a fault")), (futures[2], 3))
        return await asyncio.gather(*tasks, return_exceptions=True), len(calls)

    (first, second, third), calls = asyncio.run(scenario())
    assert (first, third, calls) == (1, 3, 1)
    assert isinstance(second, ValueError)


def test_outcomes_go_on_arriving_after_a_call() -> None:
    async def scenario() -> list[int]:
        deliveries, seen = Deliveries(), []
        for number in range(3):
            future: Future[int] = Future()
            task = asyncio.create_task(deliveries.wait(future))
            await asyncio.sleep(0)
            resolve((future, number))
            seen.append(await asyncio.wait_for(task, 5))
        return seen

    assert asyncio.run(scenario()) == [0, 1, 2]


def test_outcome_that_is_there_already_is_delivered() -> None:
    future: Future[int] = Future()
    future.set_result(7)

    async def scenario() -> int:
        return await asyncio.wait_for(Deliveries().wait(future), 5)

    assert asyncio.run(scenario()) == 7


def test_cancelled_waiter_takes_back_a_work_that_has_not_begun_and_holds_up_nobody() -> None:
    async def scenario() -> tuple[bool, int]:
        deliveries, waiting, other = Deliveries(), Future[int](), Future[int]()
        task, another = (asyncio.create_task(deliveries.wait(future)) for future in (waiting, other))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        resolve((other, 5))
        return waiting.cancelled(), await asyncio.wait_for(another, 5)

    assert asyncio.run(scenario()) == (True, 5)
