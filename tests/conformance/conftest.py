"""The values that the tests of readers share."""

from __future__ import annotations

import pytest

from tests.conformance.corpus import RAW, mixed, nasty


@pytest.fixture(scope="session")
def nasty_values() -> list[bytes]:
    """Some hundred values without repetition, all of them UTF-8 text, and none too large for an environment."""
    return [value for value in dict.fromkeys([*nasty(), *mixed(200)]) if value not in RAW and len(value) < 100_000]
