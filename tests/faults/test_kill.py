"""``kill -9`` at random moments under load: what was acknowledged stands, and what was answered is entered."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest

from tests.faults.client import Customer
from tests.faults.serving import FULL, Serving

ROUNDS, KILLS = (20, 10) if FULL else (1, 6)
CUSTOMERS, PULLERS = 2, 2
LONGEST_LOAD, LONGEST_START = 0.8, 1.0


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_killed_server_has_lost_nothing_that_it_told(serving: Serving, report: Callable[..., None], round_: int) -> None:
    chance = random.Random(round_)
    serving.start()
    customers = [Customer(serving, name) for name in ("Acme", "Bolt")[:CUSTOMERS]]
    unsettled = starts = 0
    slowest = 0.0
    for number in range(KILLS):
        kill_under_load(serving, customers, chance.uniform(0.02, LONGEST_LOAD))
        unsettled += sum(not customer.is_settled for customer in customers)
        if number % 4 == 3:  # and once more while it starts again
            serving.spawn()
            time.sleep(chance.uniform(0, LONGEST_START))
            serving.kill()
            starts += 1
        before = time.monotonic()
        serving.start()
        slowest = max(slowest, time.monotonic() - before)
        assert serving.ask("GET", "/readyz").status == 200
        for customer in customers:
            customer.compare()
            assert customer.commit().status == 200, "a commit without an answer must be accepted, or stand already"
            assert customer.pull().status == 200
    agreements = [customer.compare() for customer in customers]
    assert not serving.stop()
    report(
        test="kill",
        kills=KILLS,
        starts=starts,
        unsettled=unsettled,
        entries=sum(each.entries for each in agreements),
        answers=sum(each.answers for each in agreements),
        commits=sum(each.heads for each in agreements),
        slowest_start=slowest,
    )
    assert sum(each.answers for each in agreements) > KILLS * 2 * CUSTOMERS, "there was no load"


def kill_under_load(serving: Serving, customers: list[Customer], seconds: float) -> None:
    """Let all clients work, and kill the server after that time."""
    stop = threading.Event()
    threads = [thread for customer in customers for thread in customer.load(stop, PULLERS)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    serving.kill()
    stop.set()
    for thread in threads:
        thread.join()
