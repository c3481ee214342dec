"""Unlocked sessions: two halves, an end, and no time won by a clock that is set back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stronghold_cli.crypto.keys import Keyset
from stronghold_cli.keystore import paths, sessions
from stronghold_cli.keystore.sessions import find_session, lock, lock_all, unlock
from stronghold_cli.protocol.errors import NotAuthenticated

ORG, OPERATOR, NOW = b"o" * 32, b"p" * 16, 1_795_000_000
KEYSET = Keyset(b"k" * 32, ORG, OPERATOR)


@pytest.fixture
def environ(tmp_path: Path, home: Path) -> dict[str, str]:
    (tmp_path / "run").mkdir(mode=0o700)
    return {"XDG_RUNTIME_DIR": str(tmp_path / "run")}


@pytest.fixture
def bare(home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A machine without any run-time folder."""
    monkeypatch.setattr(sessions, "runtime_dir", lambda environ, *, create=True: None)
    return {}


def files_of(tmp_path: Path) -> list[Path]:
    return sorted(path for path in tmp_path.rglob("*") if path.is_file())


def test_an_unlocked_operator_is_found_until_the_end(environ: dict[str, str]) -> None:
    assert unlock(KEYSET, now=NOW, random=os.urandom, environ=environ) is None
    for moment in (NOW, NOW + 8 * 3600 - 1):
        found = find_session(ORG, OPERATOR, now=moment, environ=environ)
        assert found is not None
        assert (found.keyset.raw, found.end) == (KEYSET.raw, NOW + 8 * 3600)


@pytest.mark.parametrize("moment", [NOW + 60, NOW - 1], ids=["over", "clock set back"])
def test_a_session_out_of_its_time_is_removed(environ: dict[str, str], moment: int, tmp_path: Path) -> None:
    unlock(KEYSET, now=NOW, random=os.urandom, seconds=60, environ=environ)
    assert find_session(ORG, OPERATOR, now=moment, environ=environ) is None
    assert files_of(tmp_path) == []


def test_box_and_key_lie_apart_are_private_and_neither_holds_the_keyset(environ: dict[str, str], tmp_path: Path) -> None:
    unlock(KEYSET, now=NOW, random=os.urandom, environ=environ)
    found = files_of(tmp_path)
    assert [path.relative_to(tmp_path).parts[0] for path in found] == ["home", "run"]
    for path in found:
        assert path.stat().st_mode & 0o777 == 0o600
        assert KEYSET.raw not in path.read_bytes()


def test_without_its_key_or_its_box_a_session_is_locked(environ: dict[str, str], tmp_path: Path) -> None:
    for gone in (0, 1):
        unlock(KEYSET, now=NOW, random=os.urandom, environ=environ)
        files_of(tmp_path)[gone].unlink()
        assert find_session(ORG, OPERATOR, now=NOW, environ=environ) is None


def test_a_changed_box_another_key_or_another_operator_opens_nothing(environ: dict[str, str], tmp_path: Path) -> None:
    unlock(KEYSET, now=NOW, random=os.urandom, environ=environ)
    assert find_session(ORG, b"q" * 16, now=NOW, environ=environ) is None
    box, key = files_of(tmp_path)
    box.write_bytes(box.read_bytes()[:-1] + b"!")
    assert find_session(ORG, OPERATOR, now=NOW, environ=environ) is None
    unlock(KEYSET, now=NOW, random=os.urandom, environ=environ)
    key.write_bytes(b"short")
    assert find_session(ORG, OPERATOR, now=NOW, environ=environ) is None


def test_lock_removes_both_halves_of_one_org(environ: dict[str, str], tmp_path: Path) -> None:
    other = Keyset(b"k" * 32, b"x" * 32, OPERATOR)
    unlock(KEYSET, now=NOW, random=os.urandom, environ=environ)
    unlock(other, now=NOW, random=os.urandom, environ=environ)
    assert lock(ORG, environ=environ) is True
    assert lock(ORG, environ=environ) is False
    assert find_session(ORG, OPERATOR, now=NOW, environ=environ) is None
    assert find_session(b"x" * 32, OPERATOR, now=NOW, environ=environ) is not None
    lock_all(environ=environ)
    assert files_of(tmp_path) == []


def test_without_a_place_in_memory_the_key_goes_into_a_variable(bare: dict[str, str], tmp_path: Path) -> None:
    text = unlock(KEYSET, now=NOW, random=lambda count: b"\xfb\xff" * (count // 2), environ=bare)
    assert text is not None
    assert len(text) == 43
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert find_session(ORG, OPERATOR, now=NOW, environ=bare) is None
    assert find_session(ORG, OPERATOR, now=NOW, environ={"STRONGHOLD_SESSION": f" {text}\n"}) is not None
    lock(ORG, environ=bare)
    assert find_session(ORG, OPERATOR, now=NOW, environ={"STRONGHOLD_SESSION": text}) is None


@pytest.mark.parametrize("text", ["x", "x" * 44, "!" * 43, "é" * 43])
def test_a_variable_that_is_no_key_is_told_and_not_shown(home: Path, text: str) -> None:
    with pytest.raises(NotAuthenticated) as caught:
        find_session(ORG, OPERATOR, now=NOW, environ={"STRONGHOLD_SESSION": text})
    assert "STRONGHOLD_SESSION" in caught.value.message
    assert caught.value.message == "STRONGHOLD_SESSION does not hold a session key."


def test_a_session_never_opens_in_shared_memory_that_is_not_ours(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shm"
    shared.mkdir()
    (shared / f"stronghold-{os.geteuid()}").symlink_to(tmp_path)
    monkeypatch.setattr(
        sessions,
        "runtime_dir",
        lambda environ, *, create=True: paths.runtime_dir({}, shared_memory=str(shared), create=create),
    )
    assert unlock(KEYSET, now=NOW, random=os.urandom, environ={}) is not None
    assert list(tmp_path.glob("*.key")) == []
