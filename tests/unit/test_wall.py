"""The server cannot decrypt: what a running server process has loaded holds no function that could (rule R16).

import-linter and ruff read the source; this reads ``sys.modules`` of a process that has imported every module of the server.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Our own packages that touch keys, and the parts of the library that decrypt, derive or unwrap.
FORBIDDEN = (
    "stronghold_cli.commands",
    "stronghold_cli.crypto",
    "stronghold_cli.formats",
    "stronghold_cli.keystore",
    "stronghold_cli.main",
    "stronghold_cli.output",
    "stronghold_cli.process",
    "stronghold_cli.reader",
    "stronghold_cli.start",
    "stronghold_cli.transport",
    "stronghold_cli.vault",
    "cryptography.fernet",
    "cryptography.hazmat.primitives.asymmetric.mlkem",
    "cryptography.hazmat.primitives.ciphers",
    "cryptography.hazmat.primitives.hpke",
    "cryptography.hazmat.primitives.kdf",
    "cryptography.hazmat.primitives.keywrap",
    "nacl.bindings",
    "nacl.public",
    "nacl.secret",
)

IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
print("\\n".join(sys.modules))
"""


def forbidden_after_importing(package: str) -> tuple[set[str], set[str]]:
    """All loaded modules, and those of them that stand behind the wall, after importing the whole of ``package``."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'server'}"}
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, package], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    loaded = set(run.stdout.split())
    return loaded, {name for name in loaded if any(name == wall or name.startswith(wall + ".") for wall in FORBIDDEN)}


def test_server_process_has_loaded_nothing_that_decrypts() -> None:
    loaded, forbidden = forbidden_after_importing("stronghold_server")
    assert forbidden == set()
    assert {"stronghold_server.app", "stronghold_cli.protocol.requests"} <= loaded


def test_protocol_has_loaded_nothing_that_decrypts() -> None:
    loaded, forbidden = forbidden_after_importing("stronghold_cli.protocol")
    assert forbidden == set()
    assert not {name for name in loaded if name.startswith("stronghold_server")}


@pytest.mark.parametrize("package", ["stronghold_cli.crypto"])
def test_the_same_look_at_the_client_finds_what_decrypts(package: str) -> None:
    """The names above are still those under which the library keeps its decrypting functions."""
    _, forbidden = forbidden_after_importing(package)
    assert {name.rpartition(".")[2] for name in forbidden} >= {"crypto", "ciphers", "hpke", "kdf"}
