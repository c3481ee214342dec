"""What is ours is listed and removed, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stronghold_cli.crypto.keys import Keyset
from stronghold_cli.keystore import identities, marks, sessions
from stronghold_cli.keystore.everything import logout_all, our_folders, stored_paths
from tests.unit.keystore.test_identities import account, token
from tests.unit.keystore.test_marks import mark


@pytest.fixture
def environ(home: Path, tmp_path: Path) -> dict[str, str]:
    """A machine on which everything is kept, and some files that are not ours to remove."""
    (tmp_path / "run").mkdir(mode=0o700)
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "run")}
    identities.store_token(b"1" * 16, token(), "ci")
    identities.store_account(account())
    marks.agent_mark(b"1" * 16).save(mark())
    sessions.unlock(Keyset(b"k" * 32, account().org_id, account().operator_id), now=1, random=os.urandom, environ=environ)
    for other in (
        ".config/stronghold/config.toml",
        ".local/share/stronghold/server/stronghold.db",
        ".local/share/other/file",
    ):
        (home / other).parent.mkdir(parents=True, exist_ok=True)
        (home / other).write_text("x")
    return environ


def test_all_that_is_kept_is_listed(environ: dict[str, str], home: Path) -> None:
    listed = [os.path.basename(path) for path in stored_paths(environ)]
    token_name, org_name = (b"1" * 16).hex(), account().org_id.hex()
    assert {
        f"{token_name}.json",
        f"{org_name}.json",
        f"t-{token_name}.json",
        f"{org_name}.session",
        f"{org_name}.key",
    } <= set(listed)
    assert "current.json" in listed
    assert "stronghold.db" not in listed
    assert our_folders(environ)["data"] == str(home / ".local/share/stronghold")


def test_logout_of_everything_removes_what_is_listed_and_nothing_else(
    environ: dict[str, str], home: Path, tmp_path: Path
) -> None:
    listed = stored_paths(environ)
    assert logout_all(environ) == listed
    assert stored_paths(environ) == []
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == [
        "home/.config/stronghold/config.toml",
        "home/.local/share/other/file",
        "home/.local/share/stronghold/server/stronghold.db",
    ]
    assert not (home / ".local/state/stronghold").exists()
    assert logout_all(environ) == []


def test_a_symlink_among_ours_is_removed_and_not_followed(environ: dict[str, str], home: Path, tmp_path: Path) -> None:
    (tmp_path / "treasure").mkdir()
    (tmp_path / "treasure" / "file").write_text("x")
    (home / ".local/share/stronghold/tokens/link").symlink_to(tmp_path / "treasure")
    logout_all(environ)
    assert (tmp_path / "treasure" / "file").exists()
    assert not (home / ".local/share/stronghold/tokens").exists()


def test_a_folder_of_ours_that_is_a_symlink_is_left_alone(home: Path, tmp_path: Path) -> None:
    (tmp_path / "treasure" / "tokens").mkdir(parents=True)
    (tmp_path / "treasure" / "tokens" / "file").write_text("x")
    (home / ".local/share").mkdir(parents=True)
    (home / ".local/share/stronghold").symlink_to(tmp_path / "treasure")
    logout_all({})
    assert (tmp_path / "treasure" / "tokens" / "file").exists()
