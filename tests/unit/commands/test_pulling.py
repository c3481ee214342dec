"""``env pull`` in formats that become the environment of processes: names that change what runs are refused (rule R17)."""

from __future__ import annotations

from pathlib import Path

import pytest

from stronghold_cli.commands import pulling
from stronghold_cli.commands.reading import ReadProfile
from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.formats.table import FORMATS, READERS
from stronghold_cli.protocol.errors import UsageError

VALUE = "hunter2"
DANGEROUS = ("LD_PRELOAD", "PATH", "BASH_ENV", "GIT_SSH_COMMAND", "SSL_CERT_FILE", "STRONGHOLD_TOKEN")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def holds(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """The profile that is pulled holds secrets of these names."""
    secrets = {name: Secret(name=name, value=VALUE.encode(), note=b"", author=bytes(16), time=1) for name in names}
    profile = ReadProfile(profile_name="production", version=1, secrets=secrets)
    monkeypatch.setattr(pulling, "read_profile", lambda *_: profile)


def pull(
    format_name: str | None,
    *allowed: str,
    output: str | None = None,
    exclude: str | None = None,
    reader: str | None = None,
) -> None:
    pulling.pull(
        profile="production",
        output=output,
        format_name=format_name,
        reader=reader,
        strict=False,
        allow=None,
        base64_keys=None,
        only=None,
        exclude=exclude,
        force=True,
        allow_name=list(allowed) or None,
        token=None,
        token_file=None,
    )


@pytest.mark.parametrize("name", DANGEROUS)
@pytest.mark.parametrize("format_name", ["shell", "github", "docker", "compose", "systemd", "powershell"])
def test_a_dangerous_name_is_refused_for_processes_unless_this_very_name_is_allowed(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], format_name: str, name: str
) -> None:
    holds(monkeypatch, "FINE", name)
    for allowed in ((), ("FINE", "OTHER", name.lower())):
        with pytest.raises(UsageError) as caught:
            pull(format_name, *allowed)
        assert name in caught.value.message
        assert caught.value.hint.endswith(f"--allow-name {name}")
        assert VALUE not in caught.value.message + caught.value.hint
    assert capfdbinary.readouterr() == (b"", b"")
    pull(format_name, name)
    assert name.encode() in capfdbinary.readouterr().out


@pytest.mark.parametrize("reader", READERS)
def test_a_dialect_for_one_reader_is_for_processes(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], reader: str
) -> None:
    """Else ``--reader compose`` would write what ``--format compose`` refuses."""
    holds(monkeypatch, "FINE", "LD_PRELOAD")
    for format_name in (None, "dotenv"):
        with pytest.raises(UsageError, match="LD_PRELOAD"):
            pull(format_name, reader=reader)
    assert capfdbinary.readouterr() == (b"", b"")
    pull(None, "LD_PRELOAD", reader=reader)
    assert b"LD_PRELOAD=" in capfdbinary.readouterr().out


@pytest.mark.parametrize(
    ("format_name", "name"),
    [
        ("powershell", "Path"),
        ("powershell", "PSModulePath"),
        ("powershell", "pathext"),
        ("powershell", "ComSpec"),
        ("github", "Path"),
        ("github", "bash_env"),
    ],
)
def test_a_name_that_may_reach_windows_is_dangerous_in_any_case(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], format_name: str, name: str
) -> None:
    """Windows does not tell upper case from lower."""
    holds(monkeypatch, "FINE", name)
    for allowed in ((), (name.swapcase(),)):
        with pytest.raises(UsageError, match=f"sets {name},"):
            pull(format_name, *allowed)
    pull(format_name, name)
    assert name.encode() in capfdbinary.readouterr().out


@pytest.mark.parametrize(
    ("format_name", "name"), [("systemd", "Path"), ("docker", "path"), ("shell", "Path"), ("shell", "env")]
)
def test_a_name_in_another_case_is_another_name_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], format_name: str, name: str
) -> None:
    holds(monkeypatch, name)
    pull(format_name)
    assert name.encode() in capfdbinary.readouterr().out


@pytest.mark.parametrize("variable", ["GITHUB_ENV", "GITHUB_OUTPUT"])
def test_a_runner_s_own_file_is_for_processes_whatever_format_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    path = tmp_path / "runner"
    path.write_bytes(b"KEPT=1\n")
    monkeypatch.setenv(variable, str(path))
    holds(monkeypatch, "LD_PRELOAD")
    for format_name in (None, "github"):
        with pytest.raises(UsageError, match="LD_PRELOAD"):
            pull(format_name, output=str(path))
    assert path.read_bytes() == b"KEPT=1\n"
    pull(None, "LD_PRELOAD", output=str(path))
    assert b"\nLD_PRELOAD<<" in path.read_bytes()


@pytest.mark.parametrize("format_name", ["shell", "github"])
def test_a_refusal_leaves_the_target_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_name: str) -> None:
    holds(monkeypatch, "FINE", "BASH_ENV")
    (tmp_path / "out").write_bytes(b"old\n")
    with pytest.raises(UsageError):
        pull(format_name, output="out")
    assert (tmp_path / "out").read_bytes() == b"old\n"
    pull(format_name, output="out", exclude="BASH_ENV")
    assert b"FINE" in (tmp_path / "out").read_bytes()


@pytest.mark.parametrize(
    "format_name", sorted(FORMATS.keys() - {"shell", "github", "docker", "compose", "systemd", "powershell"})
)
def test_a_file_that_no_process_takes_as_it_is_may_hold_any_name(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], format_name: str
) -> None:
    holds(monkeypatch, *DANGEROUS)
    pull(format_name)
    out = capfdbinary.readouterr().out
    assert all(name.encode() in out for name in DANGEROUS)


def test_the_default_format_of_the_folder_is_checked_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".stronghold.toml").write_text("format = 'shell'\n", encoding="utf-8")
    holds(monkeypatch, "PATH")
    with pytest.raises(UsageError, match="PATH"):
        pull(None)
