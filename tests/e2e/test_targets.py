"""The file of ``env pull -o``: what is refused with exit code 9, and two runs that write the same file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.more_support import files_of, push
from tests.e2e.support import Org, end


@pytest.fixture(scope="module")
def shop(shared_org: Org) -> Org:
    push(shared_org, "targets", {"A": "hunter2"}).ok()
    push(shared_org, "others", {"A": "x" * 100_000}).ok()
    return shared_org


def refused(org: Org, folder: Path, target: str) -> str:
    ended = org.run("env", "pull", "-p", "targets", "--force", "-o", target, cwd=folder).failed(9)
    assert ended.out == ""
    assert "hunter2" not in ended.err
    assert len(ended.err.splitlines()) <= 2
    return ended.err


def test_a_target_that_is_no_plain_writable_file_is_refused_and_stays(shop: Org, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "real").write_text("old\n")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "fixed").write_text("old\n")
    (tmp_path / "fixed").chmod(0o444)
    assert "folder is a folder" in refused(shop, tmp_path, "folder")
    assert "link is a symbolic link" in refused(shop, tmp_path, "link")
    assert "/dev/null is a device" in refused(shop, tmp_path, "/dev/null")
    assert "fixed is read-only" in refused(shop, tmp_path, "fixed")
    assert "does not exist" in refused(shop, tmp_path, "nowhere/file")
    assert files_of(tmp_path) == {"real": b"old\n", "fixed": b"old\n"}
    assert os.readlink(tmp_path / "link") == "real"
    assert shop.run("env", "pull", "-p", "targets", "-o", "-", cwd=tmp_path).ok().out == "A=hunter2\n"


def test_two_runs_at_once_leave_one_whole_result(shop: Org, tmp_path: Path) -> None:
    whole = {b"A=hunter2\n", b"A='" + b"x" * 100_000 + b"'\n"}
    for _ in range(3):
        running = [
            shop.machine.start("env", "pull", "-p", profile, "--force", "-o", "both.env", cwd=tmp_path)
            for profile in ("targets", "others", "targets", "others")
        ]
        for process in running:
            process.communicate(timeout=60)
            end(process)
        assert [process.returncode for process in running] == [0] * 4
        assert files_of(tmp_path).keys() == {"both.env"}
        assert files_of(tmp_path)["both.env"] in whole
