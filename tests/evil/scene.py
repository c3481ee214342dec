"""Who plays: an org on an evil server, an agent on a machine of its own, and the one oracle of all attacks.

The *oracle* (protocol section 10): the documented typed error, the documented exit code, nothing on stdout, nothing in the
target file or in a child's environment, no value or name in an error, the old file and everything remembered untouched. It
asks the client's library and the real program alike. Its counterpart, ``gets``, is the positive control: the same party on
the same ways gets exactly the values that it should.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

import pytest
from dotenv import dotenv_values

from stronghold_cli.output import exit_code_for
from stronghold_cli.protocol.errors import IntegrityError, StrongholdError
from stronghold_cli.protocol.messages_pull import Entry, PullAnswer, decode_pull_answer
from stronghold_cli.protocol.token import parse_agent_token
from stronghold_cli.reader.client import Pulled, pull
from stronghold_cli.reader.profile import Asked
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft as ClientDraft
from stronghold_cli.vault.operator import Operator
from stronghold_cli.vault.people import Newcomer, add_operator
from tests.e2e.support import Machine, Org, Result, ServerProcess, make_org
from tests.evil.evil_server import PULL, EvilServer, InProcess
from tests.server.support import Draft, Person, TestOrg

T = TypeVar("T")

OLD_FILE = b"OLD=kept\n"
PRODUCTION = {"DATABASE_URL": b"postgres://prod.example/db-one", "API_KEY": b"key-of-production-one"}
STAGING = {"DATABASE_URL": b"postgres://staging.example/db", "API_KEY": b"key-of-staging-number-one"}
TWO = b"key-of-production-two"
THREE = b"key-of-production-three"
# The child leaves a trace, in case it is started at all.
_CHILD = (sys.executable, "-c", "import os; open('started', 'w'); print(dict(os.environ))")
_PRINT = (sys.executable, "-c", "import os, sys; sys.stdout.write(repr(dict(os.environ)))")


@contextmanager
def home_of(machine: Machine) -> Iterator[None]:
    """The client's library in this process keeps its marks where the program on that machine does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(machine.data.parent))
        yield


class Agent:
    """A party with a token on a machine; ``server`` is whoever it is made to talk to."""

    def __init__(self, machine: Machine, server: EvilServer, token: str) -> None:
        self.machine = machine
        self.server = server
        self.token = token

    @property
    def environment(self) -> dict[str, str | None]:
        return {"STRONGHOLD_TOKEN": self.token, "STRONGHOLD_URL": self.server.url}

    def pull(self, profile: str | None = "production", profile_id: bytes | None = None) -> Pulled:
        """Pull with the client's library, in process."""
        asked = Asked(name=None if profile_id else profile, id=profile_id)
        with home_of(self.machine):
            return pull(InProcess(self.server), parse_agent_token(self.token), asked, time.time)

    def run(self, *args: str, **options: object) -> Result:
        """Run the real program."""
        return self.machine.run(*args, env=self.environment, **options)  # type: ignore[arg-type]

    def remembers(self) -> dict[str, bytes]:
        """Everything that is kept on the machine: the mark above all."""
        return {str(path): path.read_bytes() for path in sorted(self.machine.data.rglob("*")) if path.is_file()}

    def gets(self, expected: dict[str, bytes], profile: str | None = "production", *, everywhere: bool = False) -> None:
        """The positive control: these values, and no others; ``everywhere`` means by the real program too."""
        pulled = self.pull(profile)
        assert {name: secret.value for name, secret in pulled.secrets.items()} == expected
        if not everywhere:
            return
        named = ("--profile", profile) if profile else ()
        target = self.machine.home / ".env"
        target.write_bytes(OLD_FILE)
        self.run("env", "pull", *named, "-o", ".env").ok()
        assert dotenv_values(target) == {name: value.decode() for name, value in expected.items()}
        assert self.run("env", "pull", *named, "--format", "json").ok().json() == {
            name: value.decode() for name, value in expected.items()
        }
        child = self.run("run", *named, "--", *_PRINT).ok().out
        assert all(repr(value.decode()) in child for value in expected.values())

    def is_refused(
        self,
        *,
        error: type[StrongholdError] = IntegrityError,
        code: int = 8,
        error_code: str | None = None,
        profile: str | None = "production",
        profile_id: bytes | None = None,
        everywhere: bool = True,
    ) -> None:
        """The oracle; ``everywhere`` means by the real program too, in all the ways that values come out of it."""
        remembered = self.remembers()
        with pytest.raises(error) as caught:
            self.pull(profile, profile_id)
        assert exit_code_for(caught.value) == code
        assert error_code is None or caught.value.code == error_code
        _is_silent(str(caught.value.message) + caught.value.hint)
        if everywhere:
            self._program_is_refused(code, profile, profile_id)
        assert self.remembers() == remembered

    def _program_is_refused(self, code: int, profile: str | None, profile_id: bytes | None) -> None:
        named = ("--profile", f"pr_{profile_id.hex()}") if profile_id else ("--profile", profile) if profile else ()
        target = self.machine.home / ".env"
        target.write_bytes(OLD_FILE)
        before = target.stat()
        names = sorted(path.name for path in self.machine.home.iterdir())
        for words in (
            ("env", "pull", *named, "-o", ".env"),
            ("env", "pull", *named),
            ("run", *named, "--", *_CHILD),
        ):
            result = self.run(*words).failed(code)
            assert result.out_bytes == b""
            _is_silent(result.err)
        after = target.stat()
        assert target.read_bytes() == OLD_FILE
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert sorted(path.name for path in self.machine.home.iterdir()) == names


def _is_silent(text: str) -> None:
    for values in (PRODUCTION, STAGING):
        for name, value in values.items():
            assert name not in text
            assert value.decode() not in text


class Scene:
    """An org with the profiles production and staging, both for one group, and an agent of it; an editor writes both."""

    def __init__(self, server: EvilServer) -> None:
        self.server = server
        self._desk: Machine | None = None
        self.org = TestOrg(server).create()
        draft = self.org.draft()
        self.editor = self.org.add_person(draft, "Eddie", "editor")
        self.org.apply(draft)
        draft = self.org.draft()
        self.group = self.org.add_group(draft, "pipelines", self.editor)
        self.production = self.org.add_profile(draft, "production", self.group, editors=(self.editor,))
        self.staging = self.org.add_profile(draft, "staging", self.group, editors=(self.editor,))
        self.ids = {name: self.org.put(draft, self.production, name, value) for name, value in PRODUCTION.items()}
        self.staging_ids = {name: self.org.put(draft, self.staging, name, value) for name, value in STAGING.items()}
        self.agent_id = self.org.add_agent(draft, "deploy", self.group)
        self.org.apply(draft)
        self.token_id = self.mint()

    def mint(self) -> bytes:
        """A further token of the agent, by a commit; returns its id."""
        draft = self.org.draft()
        token_id = self.org.mint(draft, self.agent_id)
        self.org.apply(draft)
        return token_id

    def token(self, token_id: bytes | None = None) -> str:
        """The text of a token."""
        return self.org.tokens[token_id or self.token_id].token.text

    def write(self, name: str, value: bytes, author: Person | None = None) -> None:
        """A new version of a secret of production."""
        draft = self.draft(author)
        self.org.put(draft, self.production, name, value, self.ids[name])
        self.org.apply(draft)

    def draft(self, author: Person | None = None) -> Draft:
        """A commit in the making."""
        return self.org.draft(author)

    def act(self, act: Callable[[ClientDraft], T]) -> T:
        """Carry out an act of the client's library as one commit of the admin, and follow it, with the keys that it made."""
        machine = self._desk = self._desk or Machine(self.server.folder.parent / "desk of the admin")
        vault = self.vault(machine, self.org.admin)
        with home_of(machine):
            result = vault.commit(act)
        self.org.state = vault.state
        for group_id in vault.state.groups:
            self.org.group_keys[group_id] = vault.keys.group(group_id)
        for profile in vault.state.profiles.values():
            if profile.grants:
                self.org.profile_keys[profile.id] = vault.keys.profile(profile.id)
        return result

    def add_person(self, name: str, role: str) -> Person:
        """A further operator, let in by the client's library."""
        person = Person(self.org.org_id, name, role)
        keyset = person.keyset
        newcomer = Newcomer(
            operator_id=person.operator_id,
            name=name,
            sign=keyset.sign.public,
            request=keyset.request.public,
            seal_public=keyset.seal.public,
        )
        self.org.people[person.operator_id] = person
        self.act(lambda draft: add_operator(draft, newcomer, role))
        return person

    def vault(
        self, machine: Machine, person: Person, server: EvilServer | None = None, *, pin: bytes | None = None
    ) -> Vault:
        """An operator of the org at work, with the client's library, on a machine; without a mark from ``pin`` on."""
        operator = Operator(
            server=InProcess(server or self.server),
            keyset=person.keyset,
            anchor=pin or self.org.pin,
            floor=1,
            clock=time.time,
            random=os.urandom,
        )
        with home_of(machine):
            return Vault(operator)


def init_on(server: EvilServer, machine: Machine) -> Org:
    """Carry out ``init`` on a machine against the evil server, which is started and asked for a code like a process."""
    return make_org(machine, cast("ServerProcess", server))


def files_below(folder: Path) -> dict[str, bytes]:
    """All files of a folder and their content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def entry_of(answer: PullAnswer, secret_id: bytes) -> Entry:
    return next(each for each in answer.entries if each.secret_id == secret_id)


def answer_for(scene: Scene, machine: Machine, profile: str = "production", token_id: bytes | None = None) -> PullAnswer:
    """What the server says at the moment, to whoever has no mark."""
    Agent(machine, scene.server, scene.token(token_id)).pull(profile)
    return decode_pull_answer(scene.server.last_answer(PULL))
