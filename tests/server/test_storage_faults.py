"""What a failing disk does to reads, and to what is written beside the database."""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import pytest

from stronghold_cli.protocol.errors import LocalFileError
from stronghold_server.folder import write_private
from stronghold_server.setup import first_setup_code
from stronghold_server.store.interface import StorageFailed
from tests.server.support import World


def test_read_that_fails_is_told_and_its_connection_is_not_used_again(world: World) -> None:
    store = world.store
    with store.read() as reader:
        failed = reader._connection  # type: ignore[attr-defined]
    with pytest.raises(StorageFailed), store.read():
        raise apsw.IOError
    with store.read() as reader:
        assert reader._connection is not failed  # type: ignore[attr-defined]
        assert reader.org_ids() == []
    assert store.status().ready


def test_mistake_inside_a_snapshot_stays_what_it_is(world: World) -> None:
    with pytest.raises(KeyError), world.store.read():
        raise KeyError
    with world.store.read() as reader:
        assert reader.org_ids() == []


def test_setup_code_whose_file_cannot_be_written_is_not_kept_either(world: World, tmp_path: Path) -> None:
    with pytest.raises(LocalFileError):
        first_setup_code(world.store, str(tmp_path / "nowhere"), "", os.urandom, world.now)
    code = first_setup_code(world.store, str(tmp_path), "", os.urandom, world.now)
    assert (tmp_path / "setup-code").read_text() == f"{code}\n"


def test_private_file_that_cannot_be_written_leaves_no_part_of_itself(tmp_path: Path) -> None:
    taken = tmp_path / "log.key"
    taken.mkdir()
    with pytest.raises(LocalFileError):
        write_private(str(taken), b"key")
    assert list(tmp_path.iterdir()) == [taken]
