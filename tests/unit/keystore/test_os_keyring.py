"""Session keys in the keyring: by setting only, in a process of its own, and never for longer than its three seconds."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from stronghold_cli.crypto.keys import Keyset
from stronghold_cli.keystore import os_keyring
from stronghold_cli.keystore.everything import logout_all
from stronghold_cli.keystore.profile_choice import folder_settings
from stronghold_cli.keystore.sessions import find_session, lock, lock_all, unlock
from stronghold_cli.protocol.errors import NotAuthenticated, UsageError

ORG, OPERATOR, NOW = b"o" * 32, b"p" * 16, 1_795_000_000
KEYSET = Keyset(b"k" * 32, ORG, OPERATOR)

# Back ends as people install them: modules of their own, which the library loads by name.
BACK_ENDS = """
import json, os, subprocess, sys, time
import keyring.backend, keyring.errors

PLACE = os.path.join(os.path.dirname(__file__), "kept.json")

def note(word):
    with open(PLACE + ".asked", "a") as stream:
        stream.write(word + "\\n")

class Files(keyring.backend.KeyringBackend):
    priority = 1
    def _kept(self):
        return json.load(open(PLACE)) if os.path.exists(PLACE) else {}
    def _keep(self, kept):
        with open(PLACE, "w") as stream:
            json.dump(kept, stream)
    def get_password(self, service, name):
        note("get")
        return self._kept().get(f"{service} {name}")
    def set_password(self, service, name, password):
        note("set")
        assert password not in " ".join(sys.argv)
        assert not [name for name in os.environ if "STRONGHOLD" in name]
        self._keep({**self._kept(), f"{service} {name}": password})
    def delete_password(self, service, name):
        note("delete")
        kept = self._kept()
        if kept.pop(f"{service} {name}", None) is None:
            raise keyring.errors.PasswordDeleteError
        self._keep(kept)

class Hanging(Files):
    def get_password(self, service, name):
        note(str(os.getpid()))
        note(str(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid))
        time.sleep(600)
    set_password = delete_password = lambda self, *words: self.get_password(*words[:2])

class Forgetting(Files):
    def get_password(self, service, name):
        return None

class Loud(Files):
    def set_password(self, service, name, password):
        print(password)
        print(password, file=sys.stderr)
        raise RuntimeError(password)
"""


@pytest.fixture
def place(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the back ends, on a machine that is no container."""
    monkeypatch.setattr(os_keyring, "_CONTAINER_FILES", ())
    folder = tmp_path / "back ends"
    folder.mkdir()
    (folder / "back_ends.py").write_text(BACK_ENDS, encoding="utf-8")
    (tmp_path / "run").mkdir(mode=0o700)
    return folder


def with_back_end(place: Path, name: str, **more: str) -> dict[str, str]:
    """The environment of somebody who chose the keyring, with this back end."""
    pytest.importorskip("keyring")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ["HOME"],
        "PYTHONPATH": os.pathsep.join([str(place), *filter(None, sys.path)]),
        "PYTHON_KEYRING_BACKEND": f"back_ends.{name}",
        "XDG_RUNTIME_DIR": str(place.parent / "run"),
        "STRONGHOLD_SESSION_STORE": "keyring",
        "STRONGHOLD_TOKEN": "not for back ends",
        **more,
    }


def asked(place: Path) -> list[str]:
    path = place / "kept.json.asked"
    return path.read_text().split() if path.exists() else []


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_key_lies_in_the_keyring_and_in_no_file_of_ours(place: Path, tmp_path: Path) -> None:
    environ, warnings = with_back_end(place, "Files"), list[str]()
    unlock(KEYSET, now=NOW, random=os.urandom, environ={**environ, "STRONGHOLD_SESSION_STORE": "runtime"})
    assert unlock(KEYSET, now=NOW, random=os.urandom, environ=environ, warn=warnings.append) is None
    assert warnings == []
    assert not list((tmp_path / "run").rglob("*.key"))
    assert ORG.hex() in (place / "kept.json").read_text()
    found = find_session(ORG, OPERATOR, now=NOW, environ=environ)
    assert found is not None
    assert found.keyset.raw == KEYSET.raw
    assert find_session(ORG, OPERATOR, now=NOW, environ={**environ, "STRONGHOLD_SESSION_STORE": "runtime"}) is None
    assert lock(ORG, environ=environ) is True
    assert (place / "kept.json").read_text() == "{}"
    assert find_session(ORG, OPERATOR, now=NOW, environ=environ) is None


def test_locking_everything_and_logging_out_empty_the_keyring(place: Path) -> None:
    environ = with_back_end(place, "Files")
    for end in (lambda: lock_all(environ=environ), lambda: logout_all(environ)):
        unlock(KEYSET, now=NOW, random=os.urandom, environ=environ)
        assert ORG.hex() in (place / "kept.json").read_text()
        end()
        assert (place / "kept.json").read_text() == "{}"


def test_a_back_end_that_hangs_is_ended_with_its_children_and_the_ordinary_way_is_gone(place: Path, tmp_path: Path) -> None:
    environ, warnings = with_back_end(place, "Hanging"), list[str]()
    started = time.monotonic()
    assert unlock(KEYSET, now=NOW, random=os.urandom, environ=environ, warn=warnings.append) is None
    assert time.monotonic() - started < os_keyring.SECONDS + 2
    assert warnings == ["The keyring did not answer within 3 s. The session's key is kept without it."]
    assert len(asked(place)) == 2
    assert not [process for process in asked(place) if is_alive(int(process))]
    # The key was kept in the ordinary place, so nobody waits for the keyring again.
    assert find_session(ORG, OPERATOR, now=NOW, environ=environ) is not None
    assert len(asked(place)) == 2


def test_a_session_whose_key_is_in_a_hanging_keyring_is_not_authenticated(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os_keyring, "SECONDS", 1.0)
    unlock(KEYSET, now=NOW, random=os.urandom, environ=with_back_end(place, "Files"))
    with pytest.raises(NotAuthenticated, match="did not answer within 1 s") as caught:
        find_session(ORG, OPERATOR, now=NOW, environ=with_back_end(place, "Hanging"))
    assert "stronghold auth unlock" in str(caught.value.hint)
    # It can be locked all the same: the box goes.
    assert lock(ORG, environ=with_back_end(place, "Hanging")) is True


@pytest.mark.parametrize("back_end", ["Forgetting", "Loud", "Missing"])
def test_a_back_end_that_keeps_nothing_or_fails_is_told_without_its_words(
    place: Path, back_end: str, capfd: pytest.CaptureFixture[str]
) -> None:
    environ, warnings = with_back_end(place, back_end), list[str]()
    unlock(KEYSET, now=NOW, random=lambda count: b"\xab" * count, environ=environ, warn=warnings.append)
    assert warnings == ["The keyring failed, or is locked. The session's key is kept without it."]
    assert capfd.readouterr() == ("", "")
    assert find_session(ORG, OPERATOR, now=NOW, environ=environ) is not None


def test_a_library_that_is_missing_is_named(place: Path) -> None:
    environ = with_back_end(place, "Files")
    (place / "keyring.py").write_text("raise ImportError")
    with pytest.raises(NotAuthenticated, match="library is missing") as caught:
        os_keyring.find("00", environ)
    assert caught.value.hint == "Run: pip install 'stronghold-cli[keyring]'"


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"CI": "true"}, "The keyring is not asked in continuous integration."),
        ({"container": "podman"}, "The keyring is not asked in a container."),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "The keyring is not asked in a container."),
    ],
)
def test_it_is_not_asked_where_nobody_could_unlock_it(place: Path, more: dict[str, str], sentence: str) -> None:
    environ, warnings = with_back_end(place, "Files", **more), list[str]()
    unlock(KEYSET, now=NOW, random=os.urandom, environ=environ, warn=warnings.append)
    assert warnings == [f"{sentence} The session's key is kept without it."]
    assert find_session(ORG, OPERATOR, now=NOW, environ=environ) is not None
    lock(ORG, environ=environ)
    assert asked(place) == []


def test_the_mark_of_a_container_engine_counts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert os_keyring.why_not_asked({}) is None
    monkeypatch.setattr(os_keyring, "_CONTAINER_FILES", (str(place / "back_ends.py"),))
    assert os_keyring.why_not_asked({}) == "The keyring is not asked in a container."


def test_without_the_setting_it_is_never_asked(place: Path) -> None:
    environ = with_back_end(place, "Files")
    del environ["STRONGHOLD_SESSION_STORE"]
    unlock(KEYSET, now=NOW, random=os.urandom, environ=environ)
    assert find_session(ORG, OPERATOR, now=NOW, environ=environ) is not None
    (place.parent / "run" / "stronghold" / f"{ORG.hex()}.key").unlink()
    assert find_session(ORG, OPERATOR, now=NOW, environ=environ) is None
    lock(ORG, environ=environ)
    assert asked(place) == []


def test_the_user_s_settings_choose_it_the_variable_wins_and_a_folder_cannot(home: Path, tmp_path: Path) -> None:
    assert os_keyring.is_chosen({}) is False
    settings = home / ".config/stronghold/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("session_store = 'keyring'")
    assert os_keyring.is_chosen({}) is True
    assert os_keyring.is_chosen({"STRONGHOLD_SESSION_STORE": " runtime\n"}) is False
    (tmp_path / ".stronghold.toml").write_text("session_store = 'keyring'")
    folder = folder_settings(str(tmp_path))
    assert (folder.session_store, folder.ignored) == (None, ("session_store",))


@pytest.mark.parametrize("word", ["", "disk", "Keyring"])
def test_a_place_that_does_not_exist_is_a_usage_error(home: Path, word: str) -> None:
    with pytest.raises(UsageError, match="STRONGHOLD_SESSION_STORE"):
        os_keyring.is_chosen({"STRONGHOLD_SESSION_STORE": word})
    settings = home / ".config/stronghold/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("session_store = 'disk'")
    with pytest.raises(UsageError, match=r"session_store in .*config\.toml"):
        os_keyring.is_chosen({})
    with pytest.raises(UsageError):
        unlock(KEYSET, now=NOW, random=os.urandom, environ={"STRONGHOLD_SESSION_STORE": "disk"})
