"""The wheel is built the same twice, and installed the ways people install such a program, each in an empty environment.

The quick form (pip, without the server) runs always; the others in continuous integration, or with ``INSTALLATIONS=all``.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stronghold_cli.version import PROTOCOL_VERSION, VERSION

ROOT = Path(__file__).parents[2]
SENTENCE = "The server is not installed here"
# pip resolves and unpacks: a quarter of a minute, and more on a busy machine.
pytestmark = pytest.mark.timeout(400)
everything = pytest.mark.skipif(
    os.environ.get("CI") != "true" and os.environ.get("INSTALLATIONS") != "all",
    reason="the other ways of installation run in continuous integration, or with INSTALLATIONS=all",
)
Tool = Callable[[str], str]


def run(*words: str | Path, fails: bool = False, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program without the module path of the tests; it must succeed, or fail where that is said."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "STRONGHOLD_", "VIRTUAL"))
    }
    ended = subprocess.run(
        [*map(str, words)],
        # uv brings certificates of its own; the machine's are those that reach its registry.
        env={**environment, "UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=360,
        check=False,
    )
    assert (ended.returncode != 0) == fails, f"{words}\n{ended.stdout}{ended.stderr}"
    return ended


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a wheel")
    run(ROOT / ".ci" / "wheel", folder, PYTHON=sys.executable)
    (built,) = folder.glob("*.whl")
    return built


def require_both_programs(folder: Path, *, with_server: bool) -> None:
    """Both names answer, from what was installed alone; ``server start`` without the extra says how to get it."""
    for name in ("stronghold", "api-stronghold-cli"):
        assert run(folder / name, "--version").stdout == f"stronghold {VERSION} (protocol {PROTOCOL_VERSION})\n"
    assert "env " in run(folder / "api-stronghold-cli", "--help").stdout
    if with_server:
        assert "--data-dir" in run(folder / "stronghold", "server", "start", "--help").stdout
        refused = run(folder / "stronghold", "server", "start", "--port", "none", fails=True)
    else:
        refused = run(folder / "stronghold", "server", "start", fails=True)
        assert "Run: pip install 'stronghold-cli[server]'" in refused.stderr
    assert (SENTENCE in refused.stderr) == (not with_server)
    assert "Traceback" not in refused.stderr


def test_the_same_files_give_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    script = f'umask 077; exec "{ROOT}/.ci/wheel" "{tmp_path}/again"'
    run("sh", "-c", script, PYTHON=sys.executable, TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="7")
    (again,) = (tmp_path / "again").iterdir()
    assert again.name == wheel.name == f"stronghold_cli-{VERSION}-py3-none-any.whl"
    assert hashlib.sha256(again.read_bytes()).hexdigest() == hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_the_wheel_holds_both_packages_and_nothing_beside_them(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0] for name in names} == {
        "stronghold_cli",
        "stronghold_server",
        wheel.name[:20] + ".dist-info",
    }
    for tree in (ROOT / "stronghold_cli", ROOT / "server" / "stronghold_server"):
        for path in tree.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert path.relative_to(tree.parent).as_posix() in names
    assert wheel.name[:20] + ".dist-info/licenses/LICENSE" in names


def test_pip_installs_the_client(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "empty")
    run(tmp_path / "empty/bin/python", "-m", "pip", "install", "--quiet", "--no-compile", wheel)
    require_both_programs(tmp_path / "empty/bin", with_server=False)
    run(tmp_path / "empty/bin/python", "-m", "pip", "check")


@everything
def test_pip_installs_client_and_server(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "empty")
    run(tmp_path / "empty/bin/python", "-m", "pip", "install", "--quiet", "--no-compile", f"{wheel}[server]")
    require_both_programs(tmp_path / "empty/bin", with_server=True)


@everything
def test_pipx_installs_it(wheel: Path, tmp_path: Path, tool_or_skip: Tool) -> None:
    places = {name: str(tmp_path / name) for name in ("PIPX_HOME", "PIPX_BIN_DIR", "PIPX_MAN_DIR")}
    run(tool_or_skip("pipx"), "install", "--python", sys.executable, wheel, **places)
    require_both_programs(tmp_path / "PIPX_BIN_DIR", with_server=False)


@everything
def test_uv_installs_it_as_a_tool(wheel: Path, tmp_path: Path, tool_or_skip: Tool) -> None:
    places = {name: str(tmp_path / name) for name in ("UV_TOOL_DIR", "UV_TOOL_BIN_DIR", "UV_CACHE_DIR")}
    run(tool_or_skip("uv"), "tool", "install", "--python", sys.executable, wheel, **places)
    require_both_programs(tmp_path / "UV_TOOL_BIN_DIR", with_server=False)


def test_the_bill_of_materials_names_what_is_locked(tool_or_skip: Tool, tmp_path: Path) -> None:
    import json
    import re

    tool_or_skip("cyclonedx-py")
    for folder in ("one", "two"):
        run(ROOT / ".ci" / "sbom", tmp_path / folder)
    for part, lock in (("client", "runtime"), ("server", "server")):
        content = (tmp_path / "one" / f"sbom-{part}.json").read_bytes()
        assert content == (tmp_path / "two" / f"sbom-{part}.json").read_bytes()
        bill = json.loads(content)
        assert bill["bomFormat"] == "CycloneDX"
        assert bill["metadata"]["component"]["name"] == "stronghold-cli"
        pinned = re.findall(r"^(\w[\w.-]*)==(\S+)", (ROOT / f"requirements/{lock}.txt").read_text(), re.MULTILINE)
        assert {(each["name"], each["version"]) for each in bill["components"]} == set(pinned)
        assert all(each["externalReferences"][0]["hashes"] for each in bill["components"])
