"""Operators who keep session keys in the keyring: with one that works, and with one that hangs."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.support import Org
from tests.unit.keystore.test_os_keyring import BACK_ENDS

# The program on a machine that is no container, whatever the tests run in.
NO_CONTAINER = (
    sys.executable,
    "-c",
    (
        "from stronghold_cli.keystore import os_keyring; os_keyring._CONTAINER_FILES = ()\n"
        "from stronghold_cli.__main__ import main; main()"
    ),
)


@pytest.fixture
def back_ends(org: Org) -> Path:
    pytest.importorskip("keyring")
    return org.machine.file("back ends/back_ends.py", BACK_ENDS).parent


def chosen(org: Org, folder: Path, back_end: str) -> dict[str, str | None]:
    org.machine.file(".config/stronghold/config.toml", "session_store = 'keyring'\n")
    path = os.pathsep.join([str(folder), org.machine.environment()["PYTHONPATH"]])
    return {"PYTHONPATH": path, "PYTHON_KEYRING_BACKEND": f"back_ends.{back_end}", "CI": None}


def test_an_operator_unlocks_acts_and_locks_with_the_keyring(org: Org, back_ends: Path) -> None:
    variables = chosen(org, back_ends, "Files")
    unlocked = org.run(
        "auth", "unlock", "--passphrase-file", str(org.passphrase_file), env=variables, program=NO_CONTAINER
    ).ok()
    assert "warning" not in unlocked.err
    assert not list(org.machine.runtime.rglob("*.key"))
    org.run("profile", "list", env=variables, program=NO_CONTAINER).ok()
    org.run("auth", "lock", env=variables, program=NO_CONTAINER).ok()
    assert (back_ends / "kept.json").read_text() == "{}"
    org.run("profile", "list", env=variables, program=NO_CONTAINER).failed(3)


def test_a_keyring_that_hangs_costs_three_seconds_and_one_sentence(org: Org, back_ends: Path) -> None:
    working, hanging = chosen(org, back_ends, "Files"), chosen(org, back_ends, "Hanging")
    unlock = ("auth", "unlock", "--passphrase-file", str(org.passphrase_file))
    org.run(*unlock, env=working, program=NO_CONTAINER).ok()
    started = time.monotonic()
    refused = org.run("profile", "list", env=hanging, program=NO_CONTAINER).failed(3)
    assert 3 <= time.monotonic() - started < 20
    assert "The keyring did not answer within 3 s." in refused.err
    unlocked = org.run(*unlock, env=hanging, program=NO_CONTAINER).ok()
    assert unlocked.err.count("warning:") == 1
    assert "warning: The keyring did not answer within 3 s. The session's key is kept without it." in unlocked.err
    started = time.monotonic()
    org.run("profile", "list", env=hanging, program=NO_CONTAINER).ok()
    assert (back_ends / "kept.json.asked").read_text().count("\n") >= 4
