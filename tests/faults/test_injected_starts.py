"""Every n-th call on the database fails in turn while the server starts, on an empty folder and after a kill."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable

import pytest

from stronghold_server.setup import SETUP_CODE_FILE, setup_code_hash
from tests.faults.client import Customer
from tests.faults.injecting import NAMES, READS, WRITES, Fault, Injection, nth_calls
from tests.faults.serving import Serving
from tests.faults.test_kill import kill_under_load

ENDS = {0: "goes on", 1: "ends with 1", 9: "ends with 9", -9: "killed"}
# A first start that is killed between two files leaves these, which the next one does not need.
WRITTEN_APART = ".new"


def start_and_tell(serving: Serving, injection: Injection) -> str:
    """Start with the fault, and end the server if it listens; how it ended, without a traceback."""
    if injection.start():
        os.kill(serving.pid, signal.SIGTERM)
    code = serving.ended()
    said = serving.said()
    assert "Traceback" not in said, said
    assert code in ENDS, said
    assert bool(said) == (code in {1, 9}), "it ended without a word, or spoke without a reason"
    return ENDS[code]


@pytest.mark.parametrize("fault", [*NAMES, *WRITES, *READS], ids=str)
def test_fault_at_the_first_start_leaves_a_folder_that_starts(
    serving: Serving, strace: str, report: Callable[..., None], fault: Fault
) -> None:
    outcomes: Counter[str] = Counter()
    for nth in nth_calls(fault):
        shutil.rmtree(serving.folder, ignore_errors=True)
        serving.folder.mkdir(mode=0o700)
        injection = Injection(strace, serving, fault, nth)
        outcome = start_and_tell(serving, injection)
        if not injection.has_struck:
            break
        outcomes[outcome] += 1
        serving.start()
        code = (serving.folder / SETUP_CODE_FILE).read_text().strip()
        with serving.reader() as reader:
            assert reader.has_setup_code(setup_code_hash(code)), "the setup code in the file is not the server's"
        if fault.effect.startswith("error="):
            assert not list(serving.folder.glob(f"*{WRITTEN_APART}")), "half a secret file is left"
        assert not serving.stop()
    report(test="first start", fault=str(fault), met=sum(outcomes.values()), outcomes=outcomes)
    assert outcomes


@pytest.mark.parametrize("fault", [*NAMES, *WRITES, *READS], ids=str)
def test_fault_at_the_start_after_a_kill_loses_nothing(
    serving: Serving, strace: str, report: Callable[..., None], fault: Fault
) -> None:
    serving.start()
    customer = Customer(serving, "Acme")
    kill_under_load(serving, [customer], 0.2)
    killed = serving.folder.with_name("killed")
    serving.folder.rename(killed)
    assert (killed / "stronghold.db-wal").stat().st_size
    outcomes: Counter[str] = Counter()
    for nth in nth_calls(fault):
        shutil.rmtree(serving.folder, ignore_errors=True)
        shutil.copytree(killed, serving.folder)
        injection = Injection(strace, serving, fault, nth)
        outcome = start_and_tell(serving, injection)
        if not injection.has_struck:
            break
        outcomes[outcome] += 1
        serving.start()
        customer.compare()
        assert customer.pull().status == 200
        del serving.told[-1]  # of this copy of the folder alone
        assert not serving.stop()
    report(test="start after a kill", fault=str(fault), met=sum(outcomes.values()), outcomes=outcomes)
    assert outcomes
