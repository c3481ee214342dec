"""The file that a pull writes: what is refused, what stays untouched, whose it is, and what git would do with it."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stronghold_cli.formats.target import MAX_OWNED, prepare_target, write_target
from stronghold_cli.protocol.errors import LocalFileError


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder and a home of this test's own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path / "state"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    return work


def owned_list(state: Path) -> Path:
    return state / "stronghold" / "files" / "targets.json"


def refusal(path: object) -> str:
    """The sentence, the same from the look and from the write."""
    with pytest.raises(LocalFileError) as looked:
        prepare_target(str(path))
    with pytest.raises(LocalFileError) as wrote:
        write_target(str(path), b"A=new\n")
    assert looked.value.message == wrote.value.message
    return looked.value.message


# --- writing ---------------------------------------------------------------------------------------------------------


def test_a_new_file_is_private_and_whole(folder: Path) -> None:
    target = folder / ".env"
    assert not prepare_target(str(target)).exists
    write_target(str(target), b"A=1\n")
    assert target.read_bytes() == b"A=1\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_file_that_others_could_read_is_private_after_it_was_replaced(folder: Path) -> None:
    target = folder / ".env"
    target.write_bytes(b"old")
    target.chmod(0o644)
    write_target(str(target), b"A=1\n")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_path_relative_to_the_folder_of_the_process_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    write_target(".env", b"A=1\n")
    assert prepare_target("./.env").ours
    assert prepare_target(str(folder / ".env")).ours


@pytest.mark.parametrize("path", ["", "/", ".", "..", "work/", "work/..", "work/a\0b", "wo\0rk/x"])
def test_a_path_that_names_no_file_is_refused(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "names no file" in refusal(path)


def test_a_folder_is_refused(folder: Path) -> None:
    assert refusal(folder) == f"{folder} is a folder, which is not replaced."


def test_a_symbolic_link_is_refused_and_what_it_points_to_stays(folder: Path) -> None:
    (folder / "real").write_bytes(b"old")
    (folder / "link").symlink_to(folder / "real")
    (folder / "dangling").symlink_to(folder / "nowhere")
    assert refusal(folder / "link") == f"{folder / 'link'} is a symbolic link, which is not replaced."
    assert "symbolic link" in refusal(folder / "dangling")
    assert (folder / "real").read_bytes() == b"old"
    assert not (folder / "nowhere").exists()


def test_a_link_in_the_folders_above_is_followed(folder: Path) -> None:
    (folder / "linked").symlink_to(folder)
    write_target(str(folder / "linked" / ".env"), b"A=1\n")
    assert prepare_target(str(folder / ".env")).ours


def test_devices_pipes_and_sockets_are_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(folder / "socket"))
    assert refusal("/dev/null") == "/dev/null is a device, which is not replaced."
    assert "is a pipe" in refusal(folder / "pipe")
    assert "is a socket" in refusal(folder / "socket")


@pytest.mark.parametrize("mode", [0o444, 0o400, 0o000, 0o060])
def test_a_read_only_file_is_refused_and_stays(folder: Path, mode: int) -> None:
    target = folder / ".env"
    target.write_bytes(b"old")
    target.chmod(mode)
    assert refusal(target) == f"{target} is read-only, and is not replaced."
    target.chmod(0o600)
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [(".env", b"old")]


def test_a_file_that_only_its_owner_may_write_is_read_only_to_others() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    other = "import stronghold_cli.keystore.files, stronghold_cli.keystore.paths; os.setresuid(65534, 65534, 0)"
    with tempfile.TemporaryDirectory() as name:  # the folders of tests let nobody else through
        folder = Path(name)
        folder.chmod(0o777)
        (folder / ".env").write_bytes(b"old")
        (folder / ".env").chmod(0o644)
        told = written_in_child(other, folder / ".env", 3)
        assert told == f"{folder}/.env is read-only, and is not replaced.\n"
        assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [(".env", b"old")]


def test_a_missing_folder_is_told_and_not_made(folder: Path) -> None:
    target = folder / "no" / ".env"
    assert refusal(target) == f"{target} cannot be written: the folder {folder / 'no'} does not exist."
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_a_file_is_told(folder: Path) -> None:
    (folder / "file").write_bytes(b"")
    assert (
        refusal(folder / "file" / ".env")
        == f"{folder / 'file' / '.env'} cannot be written: {folder / 'file'} is not a folder."
    )
    assert "Not a directory" in refusal(folder / "file" / "x" / ".env")


def test_a_name_that_is_too_long_is_told(folder: Path) -> None:
    assert "File name too long" in refusal(folder / ("x" * 300))


def written_in_child(limit: str, target: Path, size: int) -> str:
    """Limit a process of its own by the statement ``limit``, write there, and return the sentence that it ended with."""
    script = f"""
import os, resource, signal, sys
from stronghold_cli.formats.target import write_target
from stronghold_cli.protocol.errors import LocalFileError
{limit}
try:
    write_target(sys.argv[1], b"x" * int(sys.argv[2]))
except LocalFileError as error:
    print(error.message)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", script, str(target), str(size)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_full_disk_leaves_the_old_file_and_no_other(folder: Path) -> None:
    target = folder / ".env"
    target.write_bytes(b"old")
    limit = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    assert written_in_child(limit, target, 100_000) == f"{target} cannot be written: File too large.\n"
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [(".env", b"old")]


def test_a_disk_that_is_full_at_any_byte_leaves_the_old_file_and_no_other(folder: Path) -> None:
    """Every limit below the size of the new file, from its first byte on; then the first limit that lets it through."""
    target = folder / ".env"
    target.write_bytes(b"old")
    limit = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
whole, hard = b"x" * int(sys.argv[2]), resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for size in range(len(whole)):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        write_target(sys.argv[1], whole)
    except LocalFileError as error:
        assert "File too large" in error.message, error.message
    else:
        raise AssertionError(f"{size} bytes were enough")
    with open(sys.argv[1], "rb") as file:
        assert (file.read(), os.listdir(os.path.dirname(sys.argv[1]))) == (b"old", [".env"]), size
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
"""
    assert written_in_child(limit, target, 300) == ""
    assert target.read_bytes() == b"x" * 300


def test_many_writers_at_once_leave_one_whole_result(folder: Path) -> None:
    target = folder / ".env"
    script = """
import sys
from stronghold_cli.formats.target import write_target
for _ in range(20):
    write_target(sys.argv[1], sys.argv[2].encode() * 200_000)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    writers = [subprocess.Popen([sys.executable, "-c", script, str(target), sign], env=environment) for sign in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if target.exists():
            seen.add(target.read_bytes())
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen | {target.read_bytes()} <= {b"a" * 200_000, b"b" * 200_000}
    assert [path.name for path in folder.iterdir()] == [".env"]


def test_a_folder_without_permission_leaves_the_old_file_and_no_other(folder: Path) -> None:
    target = folder / ".env"
    target.write_bytes(b"old")
    limit = ""
    if os.geteuid() == 0:  # whom no permission stops: be another user, whom the folders above let through
        limit = "import stronghold_cli.keystore.files, stronghold_cli.keystore.paths; os.seteuid(65534)"
        for parent in folder.parents[:3]:
            parent.chmod(parent.stat().st_mode | 0o111)
    folder.chmod(0o555)
    told = written_in_child(limit, target, 3)
    folder.chmod(0o755)
    assert told == f"{target} cannot be written: Permission denied.\n"
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [(".env", b"old")]


# --- whose it is -----------------------------------------------------------------------------------------------------


def test_a_file_is_ours_until_somebody_changes_it(folder: Path) -> None:
    target = folder / ".env"
    write_target(str(target), b"A=1\n")
    assert prepare_target(str(target)).ours
    write_target(str(target), b"A=2\n")
    assert prepare_target(str(target)).ours
    target.write_bytes(b"A=3\n")
    state = prepare_target(str(target))
    assert state.exists
    assert not state.ours


def test_a_file_of_the_same_size_and_time_in_another_inode_is_not_ours(folder: Path) -> None:
    target = folder / ".env"
    write_target(str(target), b"A=1\n")
    left = target.stat()
    (folder / "other").write_bytes(b"B=2\n")
    os.utime(folder / "other", ns=(left.st_atime_ns, left.st_mtime_ns))
    (folder / "other").replace(target)
    assert not prepare_target(str(target)).ours


def test_a_copy_of_our_file_under_another_name_is_not_ours(folder: Path) -> None:
    write_target(str(folder / "a"), b"A=1\n")
    (folder / "a").rename(folder / "b")
    assert not prepare_target(str(folder / "b")).ours


def test_somebody_else_s_file_is_not_ours(folder: Path) -> None:
    (folder / ".env").write_bytes(b"A=1\n")
    state = prepare_target(str(folder / ".env"))
    assert (state.exists, state.ours) == (True, False)


def test_only_the_newest_targets_are_remembered(folder: Path, own_state: Path) -> None:
    write_target(str(folder / "first"), b"")
    rows = json.loads(owned_list(own_state).read_bytes())
    filler = [[f"/x/{number}", 1, 1, 1] for number in range(MAX_OWNED - 1)]
    owned_list(own_state).write_text(json.dumps(rows + filler))
    assert prepare_target(str(folder / "first")).ours
    write_target(str(folder / "last"), b"")
    assert len(json.loads(owned_list(own_state).read_bytes())) == MAX_OWNED
    assert not prepare_target(str(folder / "first")).ours
    assert prepare_target(str(folder / "last")).ours


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[1]", b'[["a"]]', b'[["a","b","c","d"]]', b"\xff"])
def test_a_damaged_list_makes_nothing_ours_and_is_replaced(content: bytes, folder: Path, own_state: Path) -> None:
    target = folder / ".env"
    write_target(str(target), b"A=1\n")
    owned_list(own_state).write_bytes(content)
    assert not prepare_target(str(target)).ours
    write_target(str(target), b"A=2\n")
    assert prepare_target(str(target)).ours


def test_a_state_folder_that_cannot_be_made_fails_no_write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/state")
    write_target(str(folder / ".env"), b"A=1\n")
    assert (folder / ".env").read_bytes() == b"A=1\n"
    assert not prepare_target(str(folder / ".env")).ours


def test_a_name_that_is_no_utf8_is_remembered(folder: Path) -> None:
    target = os.fsdecode(os.fsencode(folder) + b"/\xff.env")
    write_target(target, b"A=1\n")
    assert prepare_target(target).ours


# --- git -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def work_tree(folder: Path, tool_or_skip: Callable[[str], str]) -> Path:
    subprocess.run([tool_or_skip("git"), "init", "--quiet", str(folder)], check=True)
    return folder


def test_outside_of_a_work_tree_git_takes_nothing(folder: Path) -> None:
    assert not prepare_target(str(folder / ".env")).in_git_unignored


def test_a_target_that_git_would_take_is_told(work_tree: Path) -> None:
    (work_tree / "deep" / "er").mkdir(parents=True)
    assert prepare_target(str(work_tree / ".env")).in_git_unignored
    assert prepare_target(str(work_tree / "deep" / "er" / ".env")).in_git_unignored


def test_a_target_that_git_ignores_is_not_told(work_tree: Path) -> None:
    (work_tree / ".gitignore").write_text(".env\n")
    assert not prepare_target(str(work_tree / ".env")).in_git_unignored


def test_a_tracked_target_is_told_though_it_is_ignored(work_tree: Path) -> None:
    (work_tree / ".gitignore").write_text(".env\n")
    (work_tree / ".env").write_text("A=1\n")
    subprocess.run(["git", "-C", str(work_tree), "add", "--force", ".env"], check=True)
    assert prepare_target(str(work_tree / ".env")).in_git_unignored


def fake_git(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (folder / "bin").mkdir()
    (folder / "bin" / "git").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / "git").chmod(0o755)
    (folder / ".git").mkdir()
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")


def test_git_does_not_get_our_token_or_another_tree(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_git(folder, monkeypatch, f"env > {folder}/seen; exit 1")
    monkeypatch.setenv("STRONGHOLD_TOKEN", "shat_secret")
    monkeypatch.setenv("GIT_DIR", "/elsewhere/.git")
    assert prepare_target(str(folder / ".env")).in_git_unignored
    seen = (folder / "seen").read_text()
    assert "STRONGHOLD_TOKEN" not in seen
    assert "GIT_DIR" not in seen


@pytest.mark.parametrize("script", ["exit 128", "exit 0", "kill -9 $$"])
def test_where_git_cannot_tell_nothing_is_told(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_git(folder, monkeypatch, script)
    assert not prepare_target(str(folder / ".env")).in_git_unignored


def test_a_git_that_hangs_does_not_hang_the_pull(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_git(folder, monkeypatch, "exec sleep 60")
    monkeypatch.setattr("stronghold_cli.formats.target._GIT_SECONDS", 0.2)
    assert not prepare_target(str(folder / ".env")).in_git_unignored


def test_without_git_nothing_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".git").mkdir()
    monkeypatch.setenv("PATH", str(folder))
    assert not prepare_target(str(folder / ".env")).in_git_unignored


def test_a_setting_of_a_foreign_work_tree_runs_no_program(work_tree: Path) -> None:
    hook = work_tree / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {work_tree}/ran\n")
    hook.chmod(0o755)
    subprocess.run(["git", "-C", str(work_tree), "config", "core.fsmonitor", str(hook)], check=True)
    assert prepare_target(str(work_tree / ".env")).in_git_unignored
    assert not (work_tree / "ran").exists()


def test_outside_of_git_no_subprocess_is_loaded(folder: Path) -> None:
    script = "import sys; from stronghold_cli.formats.target import prepare_target; prepare_target(sys.argv[1]);"
    script += "print('subprocess' in sys.modules)"
    command = [sys.executable, "-c", script, str(folder / ".env")]
    root = str(Path(__file__).parents[3])
    run = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": root})
    assert run.stdout == "False\n"
