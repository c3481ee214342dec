"""Logs let through what is listed, and nothing else (rule R22)."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from stronghold_server.logging_format import AllowListFormatter, configure_logging

SECRET = "hunter2-hunter2"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    configure_logging("info", stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    logging.getLogger("uvicorn.access").propagate = True


def test_line_is_json_with_the_members_allowed(stream: io.StringIO) -> None:
    extra = {"method": "GET", "path": f"/v1/pull?profile={SECRET}", "status": 200, "duration_ms": 1.23456, "body": SECRET}
    logging.getLogger("stronghold").info("request", extra=extra)
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "stronghold",
        "message": "request",
        "method": "GET",
        "path": "/v1/pull",
        "status": 200,
        "duration_ms": "1.235",
    }


def test_arguments_and_texts_of_exceptions_stay_out(stream: io.StringIO) -> None:
    logger = logging.getLogger("some.library")
    logger.warning("value is %s", SECRET)
    try:
        raise ValueError(SECRET)
    except ValueError:
        logger.exception("it failed")
    logger.error("said", extra={"headers": {"Signature": SECRET}, "code": ["x"]})
    text = stream.getvalue()
    assert SECRET not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[0]["message"] == "value is %s"
    assert lines[1]["error"] == "ValueError"
    assert lines[1]["places"][-1].endswith("test_arguments_and_texts_of_exceptions_stay_out")
    assert "code" not in lines[2]


def test_access_log_of_the_library_is_silent(stream: io.StringIO) -> None:
    logging.getLogger("uvicorn.access").info("GET /v1/pull?x=%s", SECRET)
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("stronghold").debug("below the level")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["started"]


def test_line_ends_and_length_cannot_be_forged() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "a\n" + "b" * 1000 + "\ud800", None, None)
    line = AllowListFormatter().format(record)
    assert "\n" not in line
    assert len(line) < 600
