"""The attacker's means work, and change nothing by themselves: without this, an attack could fail for the wrong reason."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from stronghold_cli.protocol.errors import IntegrityError, Refused
from tests.e2e.support import Machine
from tests.evil.evil_server import PULL, EvilServer
from tests.evil.scene import PRODUCTION, STAGING, Agent, Scene


def test_an_untouched_server_serves_library_and_program(agent: Agent) -> None:
    agent.gets(PRODUCTION, everywhere=True)
    agent.gets(STAGING, "staging", everywhere=True)


def test_every_way_of_changing_an_answer_leaves_an_unchanged_one_good(scene: Scene, agent: Agent) -> None:
    with scene.server.lies(PULL, lambda status, body: (status, body)) as lie:
        agent.gets(PRODUCTION, everywhere=True)
    assert lie.told == 4
    with scene.server.lies_to_pulls(lambda answer: answer):
        agent.gets(PRODUCTION)
    with scene.server.lies_in_json(PULL, "entries.0.2", lambda ciphertext: ciphertext):
        agent.gets(PRODUCTION)
    with scene.server.plays_back(PULL, scene.server.last_answer(PULL)):
        agent.gets(PRODUCTION)


def test_a_changed_answer_arrives_on_both_ways(scene: Scene, agent: Agent) -> None:
    with scene.server.refuses(PULL, 403, "ADDRESS_DENIED"):
        agent.is_refused(error=Refused, code=4, error_code="ADDRESS_DENIED")
    agent.gets(PRODUCTION)


def test_a_lie_that_nobody_is_told_fails_its_test(evil: EvilServer) -> None:
    with pytest.raises(AssertionError, match="nobody asked"), evil.refuses(PULL, 403, "ADDRESS_DENIED"):
        pass


def test_the_oracle_fails_where_values_come_out(agent: Agent) -> None:
    with pytest.raises(pytest.fail.Exception):
        agent.is_refused()


def test_the_oracle_fails_for_another_error_or_exit_code(scene: Scene, agent: Agent) -> None:
    with scene.server.refuses(PULL, 403, "ADDRESS_DENIED"), pytest.raises(Refused):
        agent.is_refused()
    with scene.server.refuses(PULL, 403, "ADDRESS_DENIED"), pytest.raises(AssertionError):
        agent.is_refused(error=Refused, code=3)


def test_a_restored_snapshot_and_a_fork_serve_what_was_then(scene: Scene, new_machine: Callable[[], Machine]) -> None:
    then = scene.server.snapshot()
    fork = scene.server.fork()
    scene.write("API_KEY", b"key-of-production-two")
    Agent(new_machine(), scene.server, scene.token()).gets({**PRODUCTION, "API_KEY": b"key-of-production-two"})
    Agent(new_machine(), fork, scene.token()).gets(PRODUCTION)
    fork.close()
    scene.server.restore(then)
    Agent(new_machine(), scene.server, scene.token()).gets(PRODUCTION)


def test_recorded_traffic_holds_requests_and_answers(scene: Scene, agent: Agent) -> None:
    agent.pull()
    exchange = scene.server.recorded[-1]
    assert (exchange.method, exchange.path, exchange.status) == ("GET", PULL, 200)
    assert exchange.is_signed
    assert json.loads(exchange.answer)["share"]


def test_an_operator_works_with_the_evil_server_as_with_any(scene: Scene, new_machine: Callable[[], Machine]) -> None:
    vault = scene.vault(new_machine(), scene.org.admin)
    assert vault.state.seq == scene.org.state.seq
    with pytest.raises(IntegrityError), scene.server.lies_in_json("/sync", "changes.heads.0.signatures.0.sig", _zeros):
        scene.vault(new_machine(), scene.org.admin)


def _zeros(_: str) -> str:
    return "A" * 86 + "=="
