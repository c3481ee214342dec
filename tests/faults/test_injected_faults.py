"""Every n-th write, flush and read of the database fails in turn: no secret without its entry, and a clean end and start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.faults.client import Customer
from tests.faults.injecting import READS, STORAGE, WRITES, Fault, Injection, nth_calls, sentences
from tests.faults.serving import FULL, Serving
from tests.server.drafts import Draft


def use(customer: Customer) -> None:
    """A fixed piece of work: pulls, a commit, a token that is made, revoked and refused, which also empties the log file."""
    agent, made = customer.full.agent, []

    def mint(draft: Draft) -> None:
        made.append(customer.org.mint(draft, agent))

    def revoke(draft: Draft) -> None:
        customer.org.revoke(draft, agent, made[0])

    customer.pull()
    customer.commit()
    customer.pull()
    if customer.is_settled and customer.commit(mint).status == 200:
        customer.pull(made[0])
        if customer.commit(revoke).status == 200:
            assert customer.pull(made[0]).status != 200
    customer.pull()


@pytest.mark.parametrize("fault", [*WRITES, *READS], ids=str)
def test_fault_while_serving_is_told_and_leaves_what_was_told(
    serving: Serving, strace: str, report: Callable[..., None], fault: Fault
) -> None:
    serving.start()
    customer = Customer(serving, "Acme")
    outcomes: Counter[str] = Counter()
    for nth in nth_calls(fault):
        injection = Injection(strace, serving, fault, nth)
        with injection.attached():
            use(customer)
            if injection.has_struck:
                outcomes[how_it_ended(serving)] += 1
            else:
                assert FULL, f"the {nth}. call was not met: fewer calls are made than for durable writes"
        customer.compare() if serving.process is None else None
        if serving.process is None:
            serving.start()
        assert customer.commit().status == 200, "a commit without an answer must be accepted, or stand already"
        assert customer.pull().status == 200
        customer.compare()
        if not injection.has_struck:
            break
    serving.stop()
    report(test="serving", fault=str(fault), met=sum(outcomes.values()), outcomes=outcomes)
    assert outcomes
    assert fault in READS or not outcomes["goes on"], "after a failed write the server went on"


def how_it_ended(serving: Serving) -> str:
    """The end of a server that met a fault; one that met a fault of reading may go on."""
    assert serving.process is not None
    if not serving.ends_within(5):
        assert serving.ask("GET", "/readyz").status == 200
        return "goes on"
    code = serving.ended()
    if code == -9:
        return "killed"
    assert (code, sentences(serving.said())) == (1, [STORAGE]), serving.said()
    return "ends with 1"
