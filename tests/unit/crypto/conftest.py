"""Randomness that repeats itself, for tests that compare bytes."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import shake_256

import pytest


@pytest.fixture
def counting_random() -> Callable[[int], bytes]:
    """Bytes that differ with every call and are the same in every run."""
    calls = iter(range(1 << 32))
    return lambda size: shake_256(b"test randomness %d" % next(calls)).digest(size)
