"""Fixtures of the end-to-end tests; each worker of a parallel run has a server of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.support import Machine, Org, ServerProcess, make_org


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One running server for all tests of this worker; whoever stops or changes a server starts one with ``new_server``."""
    running = ServerProcess(tmp_path_factory.mktemp("server")).start()
    yield running
    running.stop()


@pytest.fixture
def new_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ServerProcess]]:
    """A function that starts a server of one's own, with the settings (variables) and the data folder given."""
    started: list[ServerProcess] = []

    def start(settings: Mapping[str, str] | None = None, data_dir: Path | None = None) -> ServerProcess:
        fresh = ServerProcess(tmp_path_factory.mktemp("own-server"), settings)
        fresh.data_dir = data_dir or fresh.data_dir
        started.append(fresh)
        return fresh.start()

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def new_machine(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Machine]:
    """A function that gives further fresh machines."""
    return lambda user="person": Machine(tmp_path_factory.mktemp("machine"), user=user)


@pytest.fixture
def machine(new_machine: Callable[..., Machine]) -> Machine:
    """A fresh machine."""
    return new_machine()


@pytest.fixture
def org(machine: Machine, server: ServerProcess) -> Org:
    """A fresh machine whose user has just carried out ``init`` on the shared server, and is unlocked."""
    return make_org(machine, server)


@pytest.fixture(scope="module")
def shared_org(tmp_path_factory: pytest.TempPathFactory, server: ServerProcess) -> Org:
    """The same, one for all tests of a module: for tests that change nothing that another one looks at."""
    return make_org(Machine(tmp_path_factory.mktemp("shared-machine")), server)
