"""Who may import what, and what a quick command may load.

import-linter (`pyproject.toml`) holds the directions between our own packages; the tables here hold what it cannot see:
single modules of other people's packages, and what is really loaded when the program starts.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "stronghold_cli"
SERVER = ROOT / "server" / "stronghold_server"

# What may be imported, or called by that name, only under the places listed (paths from the root; a folder ends in /).
CONFINED = {
    "cryptography.fernet": (),
    "cryptography.hazmat.primitives.asymmetric.mlkem": ("stronghold_cli/crypto/",),
    "cryptography.hazmat.primitives.ciphers": ("stronghold_cli/crypto/",),
    "cryptography.hazmat.primitives.hpke": ("stronghold_cli/crypto/",),
    "cryptography.hazmat.primitives.kdf": ("stronghold_cli/crypto/",),
    "cryptography.hazmat.primitives.keywrap": (),
    "base64": ("stronghold_cli/formats/",),
    "binascii": ("stronghold_cli/protocol/encoding.py",),
    "json.load": ("stronghold_cli/formats/",),
    "json.loads": ("stronghold_cli/protocol/encoding.py", "stronghold_cli/formats/"),
    "httpx": ("stronghold_cli/transport/",),
    "click": (),
    "typer._click": (),
    "pickle": (),
}

# What must not be loaded by the commands that pipelines call in a loop; many cost more than the work itself.
HEAVY = {
    "asyncio",
    "dataclasses",
    "datetime",
    "difflib",
    "email",
    "http",
    "httpx",
    "importlib.metadata",
    "inspect",
    "ipaddress",
    "logging",
    "pathlib",
    "platformdirs",
    "pydantic",
    "rich",
    "shutil",
    "ssl",  # over TLS only
    "stringprep",
    "subprocess",
    "tempfile",
    "typer",
    "urllib",
    "uuid",
}
# The parts of the client that such a command goes through.
HOT_PATH = (
    *("protocol", "crypto", "reader", "keystore", "transport", "formats", "process", "output", "start"),
    *("commands/declared", "commands/plain_words", "commands/pulling", "commands/storing", "commands/reading"),
)
# Modules of these places that only operators' commands load, which send many requests.
NOT_HOT = {"transport/pooled.py"}
# What a start without a command (`stronghold --version`) must not load beyond that: it neither speaks nor decrypts.
NOT_FOR_VERSION = HEAVY | {"cryptography", "json"}


def sources() -> list[Path]:
    return sorted([*CLIENT.rglob("*.py"), *SERVER.rglob("*.py")])


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Every dotted name that the module imports, or uses as an attribute of an imported module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


def misplaced(source: str, place: str) -> set[str]:
    """The confined names that ``source``, standing at ``place``, has no right to."""
    names = set(imported_names(ast.parse(source)))
    return {
        confined
        for confined, places in CONFINED.items()
        if not any(place == allowed or (allowed.endswith("/") and place.startswith(allowed)) for allowed in places)
        and any(name == confined or name.startswith(confined + ".") for name in names)
    }


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_module_uses_only_what_its_place_allows(path: Path) -> None:
    assert misplaced(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()) == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from cryptography.hazmat.primitives.ciphers.aead import AESGCM", "cryptography.hazmat.primitives.ciphers"),
        ("from cryptography.hazmat.primitives import hpke", "cryptography.hazmat.primitives.hpke"),
        ("def f():\n    import click.testing", "click"),
        ("import json\njson.loads('1')", "json.loads"),
        ("from json import loads", "json.loads"),
    ],
)
def test_confined_name_is_seen_in_every_form(source: str, found: str) -> None:
    assert misplaced(source, "elsewhere.py") == {found}


def test_package_of_the_client_imports_nothing() -> None:
    tree = ast.parse((CLIENT / "__init__.py").read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def test_wall_contract_names_every_module_but_the_protocol() -> None:
    """The list cannot be written as "all but one", so a new module must not be forgotten there."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (wall,) = (contract for contract in configuration["tool"]["importlinter"]["contracts"] if contract["id"] == "wall")
    modules = {f"stronghold_cli.{path.stem}" for path in CLIENT.glob("*.py")}
    packages = {f"stronghold_cli.{path.parent.name}" for path in CLIENT.glob("*/__init__.py")}
    everything = modules | packages
    assert set(wall["forbidden_modules"]) == everything - {"stronghold_cli.__init__", "stronghold_cli.protocol"}


def test_everything_in_a_package_is_shipped() -> None:
    """A word list or migration that the wheel leaves out is missed only where it is installed."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = configuration["tool"]["setuptools"]["package-data"]
    for package in (CLIENT, SERVER):
        left = [file for file in package.rglob("*") if file.is_file() and file.suffix not in {".py", ".pyc"}]
        listed = {file for pattern in shipped[package.name] for file in package.glob(pattern)}
        assert set(left) == listed


def test_import_contracts_hold() -> None:
    command = shutil.which("lint-imports", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    assert command, "import-linter belongs to requirements/dev.txt"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'server'}"}
    run = subprocess.run([command, "--no-cache"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def loaded_after(statement: str) -> set[str]:
    """The modules that a fresh interpreter holds after ``statement``, beyond those that it starts with."""
    program = f"import sys; before = set(sys.modules)\n{statement}\nprint('\\n'.join(set(sys.modules) - before))"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'server'}"}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def of_families(loaded: set[str], families: set[str]) -> set[str]:
    """The loaded modules that are one of ``families`` or inside of it."""
    return {name for name in loaded if any(name == family or name.startswith(family + ".") for family in families)}


@pytest.mark.parametrize("place", HOT_PATH)
def test_hot_path_loads_nothing_heavy(place: str) -> None:
    """Each module of the place, not only its package: heavy imports stand inside the functions that need them."""
    folder = CLIENT / place
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    hot = [file for file in files if file.relative_to(CLIENT).as_posix() not in NOT_HOT]
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in hot]
    assert modules
    assert of_families(loaded_after(f"import {', '.join(modules)}"), HEAVY) == set()


def test_start_of_the_program_loads_nothing_of_a_command() -> None:
    assert of_families(loaded_after("import stronghold_cli.__main__"), NOT_FOR_VERSION) == set()


def test_version_is_told_without_loading_a_command() -> None:
    statement = (
        "sys.argv = ['stronghold', '--version']\n"
        "import stronghold_cli.__main__, io, contextlib\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): stronghold_cli.__main__.main()"
    )
    assert of_families(loaded_after(statement), NOT_FOR_VERSION) == set()
