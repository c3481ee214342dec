"""A server in this process for each test, and an org on it that has one of everything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stronghold_cli.protocol.documents.agent import Rate
from stronghold_server import service
from tests.server.furnished import Furnished, furnish
from tests.server.support import TestOrg, World


@pytest.fixture(autouse=True)
def many_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests make one key refuse far more often than a client does; ``test_access`` has the limit itself."""
    monkeypatch.setattr(service, "REFUSALS", Rate(requests=10_000, seconds=1))


@pytest.fixture
def way() -> str:
    """Where pulls are answered: ``quick`` where memory knows them, as in a process; modules add the other ``WAYS``."""
    return "quick"


@pytest.fixture
def world(tmp_path: Path, way: str) -> Iterator[World]:
    server = World(tmp_path, is_quick=way != "application")
    yield server
    server.close()


@pytest.fixture
def org(world: World) -> TestOrg:
    """An org with its first admin and nothing else."""
    return TestOrg(world).create()


@pytest.fixture
def full(org: TestOrg, way: str) -> Furnished:
    """The same org with a group, a profile of two secrets, and an agent with two tokens."""
    furnished = furnish(org)
    if way == "known":
        for rest in ("/v1/pull", "/v1/pull?profile=production"):
            assert org.get_as_token(furnished.token, rest).status == 200
    return furnished
