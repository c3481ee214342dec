"""Which requests make a line in the server's log: those that write, are refused or fail; all of them when debugging."""

from __future__ import annotations

import logging

import pytest

from tests.server.furnished import Furnished


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int]]:
    return [(record.event, record.status) for record in caplog.records if record.msg == "request"]  # type: ignore[attr-defined]


def test_refused_requests_and_commits_make_a_line_and_pulls_do_not(
    full: Furnished, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stronghold")
    assert full.org.get_as_token(full.token, "/v1/pull").status == 200
    assert full.org.get_as_token(full.token, "/v1/pull?profile=none").status == 403
    draft = full.org.draft()
    full.org.put(draft, full.profile, "NEW", b"value")
    full.org.apply(draft)
    assert lines(caplog) == [("pull", 403), ("commit", 200)]


def test_every_request_makes_a_line_when_debugging(full: Furnished, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "stronghold")
    assert full.org.get_as_token(full.token, "/v1/pull").status == 200
    assert lines(caplog) == [("pull", 200)]
