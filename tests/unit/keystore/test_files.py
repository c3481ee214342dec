"""Private files: what is refused, and that nobody ever sees half a file."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stronghold_cli.keystore.files import locked, read_given, read_private, write_private
from stronghold_cli.protocol.errors import LocalFileError
from tests.unit.children import child_environment


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_written_file_is_private_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    os.umask(0)
    try:
        write_private(str(path), b"one")
        write_private(str(path), b"two")
    finally:
        os.umask(0o022)
    assert read_private(str(path), 3) == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path.parent, path.parent.parent)] == [0o700, 0o700]
    assert names(path.parent) == ["file"]


def test_the_mode_is_that_of_the_written_file_whatever_its_name_means_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may put a link in its place, in a folder that they may write: what that leads to keeps its mode."""
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"x")
    foreign.chmod(0o600)
    write = os.write

    def write_and_swap(descriptor: int, content: bytes) -> int:
        (fresh,) = tmp_path.glob("*.new")
        fresh.rename(tmp_path / "moved")
        fresh.symlink_to(foreign)
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", write_and_swap)
    write_private(str(tmp_path / "file"), b"one", mode=0o644)
    assert stat.S_IMODE(foreign.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "moved").stat().st_mode) == 0o644


def test_where_the_system_has_no_mode_of_open_files_the_name_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fchmod")
    write_private(str(tmp_path / "file"), b"one", mode=0o644)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_no_file_is_none(tmp_path: Path) -> None:
    assert read_private(str(tmp_path / "none" / "file"), 10) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_secret_file_open_to_others_is_refused_with_the_command_that_helps(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    path.chmod(mode)
    with pytest.raises(LocalFileError) as caught:
        read_private(str(path), 10)
    assert f"chmod 600 '{path}'" in caught.value.hint


def test_a_file_that_is_no_secret_may_be_read_but_not_changed_by_others(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    path.chmod(0o644)
    assert read_private(str(path), 10, secret=False) == b"x"
    path.chmod(0o664)
    with pytest.raises(LocalFileError, match="change it"):
        read_private(str(path), 10, secret=False)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    path.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(path, 4242, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4242)
    with pytest.raises(LocalFileError, match="another user"):
        read_private(str(path), 10)


def test_symlinks_pipes_and_folders_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "target"
    write_private(str(target), b"x")
    (tmp_path / "link").symlink_to(target)
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for name in ("link", "pipe", "folder"):
        with pytest.raises(LocalFileError):
            read_private(str(tmp_path / name), 10)


def test_a_write_replaces_a_symlink_and_leaves_its_target(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"other")
    (tmp_path / "link").symlink_to(target)
    write_private(str(tmp_path / "link"), b"ours")
    assert target.read_bytes() == b"other"
    assert not (tmp_path / "link").is_symlink()


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    write_private(path, b"12345")
    assert read_private(path, 5) == b"12345"
    for read in (read_private, read_given):
        with pytest.raises(LocalFileError, match="larger"):
            read(path, 4)


def test_a_given_file_may_be_a_symlink_that_all_may_read(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert read_given(str(tmp_path / "link"), 10) == b"x"
    with pytest.raises(LocalFileError, match="missing"):
        read_given(str(tmp_path / "missing"), 10)


@pytest.mark.parametrize("step", ["fsync", "replace", "write"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "file"
    write_private(str(path), b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(LocalFileError, match="No space left"):
        write_private(str(path), b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_file_and_folder_are_flushed_before_and_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: (steps.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"), fsync(fd))
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("rename"), replace(a, b)))
    write_private(str(tmp_path / "file"), b"x")
    assert steps == ["file", "rename", "folder"]


def test_a_lock_held_by_another_process_ends_in_an_error_after_its_time(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    script = (
        "import sys\nfrom stronghold_cli.keystore.files import locked\n"
        f"with locked({path!r}):\n print('held', flush=True)\n sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=child_environment()
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    slept: list[float] = []
    with pytest.raises(LocalFileError, match="in use"), locked(path, 1.0, sleep=slept.append):
        pytest.fail("two held the lock")
    assert 1.0 <= sum(slept) < 1.5
    other.stdin.close()
    other.wait(10)
    other.stdout.close()
    with locked(path, 1.0):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO], ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_told_and_nothing_is_done_unlocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    tried: list[int] = []

    def fail(descriptor: int, _: int) -> None:
        tried.append(descriptor)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    path = str(tmp_path / "file")
    with pytest.raises(LocalFileError) as caught, locked(path, sleep=lambda _: pytest.fail("waited for what never comes")):
        pytest.fail("went on without the lock")
    assert caught.value.message == f"{path} cannot be locked: {os.strerror(number)}."
    assert caught.value.hint
    (descriptor,) = tried
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EACCES], ids=errno.errorcode.get)
def test_a_lock_that_another_holds_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    answers: list[int] = [number, number, 0]

    def take(_: int, __: int) -> None:
        if answer := answers.pop(0):
            raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr(fcntl, "flock", take)
    slept: list[float] = []
    with locked(str(tmp_path / "file"), sleep=slept.append):
        assert (answers, len(slept)) == ([], 2)


def test_a_lock_never_follows_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "file.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalFileError), locked(str(tmp_path / "file")):
        pass
    assert not (tmp_path / "elsewhere").exists()
