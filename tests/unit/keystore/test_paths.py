"""Folders: equal to platformdirs' under every setting, and a run-time folder that nobody else could have prepared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from platformdirs import PlatformDirs

from stronghold_cli.keystore import paths
from stronghold_cli.protocol.errors import LocalFileError
from tests.unit.children import child_environment

VARIABLES = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")


@pytest.mark.parametrize("home", ["/home/ann", "/home/ann/", "/", "", "relative", None])
@pytest.mark.parametrize("xdg", ["/x/y", "/x/y/", "", "   ", "relative", "~/x", None])
def test_folders_are_those_of_platformdirs(home: str | None, xdg: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HOME", home), *((each, xdg) for each in VARIABLES)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    theirs = PlatformDirs("stronghold", appauthor=False)
    ours = (paths.config_dir(), paths.data_dir(), paths.state_dir())
    assert ours == (theirs.user_config_dir, theirs.user_data_dir, theirs.user_state_dir)
    assert ours == tuple(paths._ask_platformdirs(kind) for kind in ("config", "data", "state"))


def test_platformdirs_is_not_loaded_on_the_way() -> None:
    script = (
        "import sys\nfrom stronghold_cli.keystore.paths import data_dir\ndata_dir()\nprint('platformdirs' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=child_environment()).stdout
    assert shown.strip() == (b"False" if sys.platform.startswith("linux") else b"True")


def test_an_unknown_home_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(LocalFileError, match="home folder"):
        paths.data_dir()


def private(path: Path, mode: int = 0o700) -> Path:
    path.mkdir()
    path.chmod(mode)
    return path


def runtime(tmp_path: Path, base: Path | None, *, create: bool = True) -> str | None:
    environ = {} if base is None else {"XDG_RUNTIME_DIR": str(base)}
    return paths.runtime_dir(environ, shared_memory=str(tmp_path / "shm"), create=create)


def test_the_runtime_folder_of_the_session_comes_first(tmp_path: Path) -> None:
    base = private(tmp_path / "run")
    private(tmp_path / "shm", 0o1777)
    assert runtime(tmp_path, base) == str(base / "stronghold")
    assert (base / "stronghold").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("fault", ["open", "missing", "relative", "none", "planted-link"])
def test_shared_memory_is_used_where_the_session_has_no_private_folder(tmp_path: Path, fault: str) -> None:
    shm = private(tmp_path / "shm", 0o1777)
    base: Path | None = tmp_path / "run"
    if fault == "open":
        private(tmp_path / "run", 0o755)
    elif fault == "relative":
        base = Path("run")
    elif fault == "none":
        base = None
    elif fault == "planted-link":
        private(tmp_path / "run")
        (tmp_path / "run" / "stronghold").symlink_to(private(tmp_path / "other"))
    assert runtime(tmp_path, base) == str(shm / f"stronghold-{os.geteuid()}")


@pytest.mark.parametrize("planted", ["open", "link", "file", "owner"])
def test_a_folder_that_somebody_else_could_have_put_there_is_not_used(tmp_path: Path, planted: str) -> None:
    place = private(tmp_path / "shm", 0o1777) / f"stronghold-{os.geteuid()}"
    if planted == "open":
        private(place, 0o750)
    elif planted == "link":
        place.symlink_to(private(tmp_path / "other"))
    elif planted == "file":
        place.write_bytes(b"")
    else:
        private(place)
        if os.geteuid() != 0:
            pytest.skip("platform: only root can give a folder away")
        os.chown(place, 4242, -1)
    assert runtime(tmp_path, None) is None


def test_there_may_be_no_place_and_looking_makes_none(tmp_path: Path) -> None:
    assert runtime(tmp_path, None) is None
    base = private(tmp_path / "run")
    assert runtime(tmp_path, base, create=False) is None
    assert list(base.iterdir()) == []
