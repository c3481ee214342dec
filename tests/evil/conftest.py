"""Fixtures of the attacks: an evil server, an org on it, machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.support import Machine
from tests.evil.evil_server import EvilServer
from tests.evil.scene import Agent, Scene


@pytest.fixture
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EvilServer]:
    """A running evil server with an empty store."""
    server = EvilServer(tmp_path_factory.mktemp("evil") / "server")
    yield server
    server.close()


@pytest.fixture
def scene(evil: EvilServer) -> Scene:
    """An org on it."""
    return Scene(evil)


@pytest.fixture
def new_machine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Machine]:
    """A function that gives fresh machines."""
    return lambda: Machine(tmp_path_factory.mktemp("machine"))


@pytest.fixture
def agent(scene: Scene, new_machine: Callable[[], Machine]) -> Agent:
    """The org's agent with its first token, on a machine that remembers nothing yet."""
    return Agent(new_machine(), scene.server, scene.token())
