"""Which profile is meant, and that a folder's settings hold nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stronghold_cli.keystore.profile_choice import Settings, choose_profile, folder_settings, read_settings, user_settings
from stronghold_cli.protocol.errors import LocalFileError, UsageError


def test_the_first_of_the_four_wins() -> None:
    folder, user = Settings(path="F", profile="folder"), Settings(path="U", profile="user")
    variable = {"STRONGHOLD_PROFILE": " variable\n"}
    chosen = [
        choose_profile("option", folder, user, variable),
        choose_profile(None, folder, user, variable),
        choose_profile(None, folder, user, {}),
        choose_profile(None, Settings(), user, {}),
        choose_profile(None, Settings(), Settings(), {}),
    ]
    assert [each.name for each in chosen] == ["option", "variable", "folder", "user", None]
    assert [each.source for each in chosen] == ["--profile", "STRONGHOLD_PROFILE", "F", "U", "nothing"]


def test_an_empty_variable_is_an_error_and_no_choice() -> None:
    with pytest.raises(UsageError, match="STRONGHOLD_PROFILE"):
        choose_profile(None, Settings(profile="folder"), Settings(), {"STRONGHOLD_PROFILE": ""})


def test_the_nearest_file_above_counts(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / ".stronghold.toml").write_text("profile = 'top'")
    assert folder_settings(str(deep)).profile == "top"
    (deep.parent / ".stronghold.toml").write_text("profile = 'near'\nformat = 'json'\ncontext = 'acme'\nonly = ['A', 'B']")
    assert folder_settings(str(deep)) == Settings(
        path=str(deep.parent / ".stronghold.toml"), profile="near", format="json", context="acme", only=("A", "B")
    )


def test_without_a_file_there_are_no_settings(tmp_path: Path, home: Path) -> None:
    assert folder_settings(str(tmp_path)) == Settings()
    assert user_settings() == Settings()


def test_the_users_own_settings_are_read(home: Path) -> None:
    (home / ".config/stronghold").mkdir(parents=True)
    (home / ".config/stronghold/config.toml").write_text("profile = 'mine'")
    assert user_settings().profile == "mine"


def test_no_address_and_no_command_is_read(tmp_path: Path) -> None:
    path = tmp_path / ".stronghold.toml"
    path.write_text("profile = 'p'\nurl = 'https://evil.test'\ncommand = 'rm'\n[env]\nPATH = '/'")
    settings = folder_settings(str(tmp_path))
    assert settings == Settings(path=str(path), profile="p", ignored=("command", "env", "url"))


@pytest.mark.parametrize(
    "text",
    [
        "profile = 1",
        "profile = ''",
        "only = 'A'",
        "only = [1]",
        "format = ['x']",
        "profile",
        "\xff",
        "profile = 'a'\nprofile = 'b'",
    ],
)
def test_a_file_that_is_off_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / ".stronghold.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(LocalFileError) as caught:
        folder_settings(str(tmp_path))
    assert str(path) in caught.value.message


def test_a_huge_file_and_a_pipe_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"#" * 70_000)
    with pytest.raises(LocalFileError, match="larger"):
        read_settings(str(path))
    os.mkfifo(tmp_path / ".stronghold.toml")
    assert folder_settings(str(tmp_path)) == Settings()
