"""What a real pull loads: no module that it does not need, over the whole way to the server and back."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.e2e.support import Machine, Org
from tests.unit.test_imports import HEAVY, of_families

# The program, which then says on stderr what it has loaded beyond what the interpreter starts with.
_TELLING = """
import sys
before = set(sys.modules)
import stronghold_cli.__main__
try:
    stronghold_cli.__main__.main()
finally:
    print("loaded:", *sorted(set(sys.modules) - before), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [("env", "pull", "--profile", "production"), ("env", "pull", "-p", "production", "-f", "json"), ("auth", "api-user")],
)
def test_a_hot_command_loads_nothing_heavy(org: Org, new_machine: type[Machine], words: tuple[str, ...]) -> None:
    token = org.make_agent("CI", {"production": {"KEY": "value"}})
    machine = new_machine()
    environment = {**machine.environment(), "STRONGHOLD_TOKEN": token}
    command = [sys.executable, "-c", _TELLING, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.rpartition("loaded:")[2].split())
    assert "stronghold_cli.transport.direct" in loaded
    assert of_families(loaded, HEAVY) == set()
