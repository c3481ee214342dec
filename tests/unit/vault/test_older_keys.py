"""The keys of older epochs are carried on, and none that a kept version needs is dropped because the server withholds it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.messages import decode_old_keys, encode_old_keys
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import create_group
from stronghold_cli.vault.histories import find_histories, read_deleted, read_history, restore
from stronghold_cli.vault.past import Past
from stronghold_cli.vault.profiles import delete_secrets, read_secrets, write_secrets
from stronghold_cli.vault.rekeying import Rekeyed, rekey
from tests.support.org import TestOrg, workshop

pytestmark = pytest.mark.usefixtures("home")

NAME = "API_KEY"


@pytest.fixture
def org() -> TestOrg:
    return workshop()


class Production:
    """The profile production of the workshop, with what is done to it."""

    def __init__(self, org: TestOrg) -> None:
        self.org = org
        self.profile_id = org.profile("production").id
        self.secret_id = read_secrets(Vault(org.operator()), org.profile("production"))[NAME].id

    def write(self, value: bytes) -> None:
        known = read_secrets(Vault(self.org.operator()), self.org.profile("production"))
        self.org.commit(lambda draft: write_secrets(draft, self.org.profile("production"), known, {NAME: value}))

    def delete(self) -> None:
        known = read_secrets(Vault(self.org.operator()), self.org.profile("production"))
        self.org.commit(lambda draft: delete_secrets(draft, self.org.profile("production"), known, [NAME]))

    def restore(self) -> None:
        vault, profile = Vault(self.org.operator()), self.org.profile("production")
        (gone,) = read_deleted(vault, profile)
        known = read_secrets(vault, profile)
        vault.commit(lambda draft: restore(vault, draft, profile, known, gone, None))

    def purge(self, oldest: int) -> None:
        self.org.commit(lambda draft: draft.raise_oldest(self.profile_id, self.secret_id, oldest))

    def rekey(self) -> Rekeyed:
        return Vault(self.org.operator()).commit(lambda draft: rekey(draft, profiles=[self.profile_id]))

    def withhold(self, *epochs: int) -> None:
        """The server says no more that it has the boxes of these epochs' keys."""
        gone = {self.org.state.old_keys(self.profile_id)[epoch].box_sha256 for epoch in epochs}

        def forge(target: str, body: bytes) -> bytes:
            if not target.endswith("/old-keys"):
                return body
            return encode_old_keys([box for box in decode_old_keys(body) if digest(box) not in gone])

        self.org.server.forge = forge

    def epochs(self) -> list[int]:
        """Those whose keys are carried on."""
        return sorted(self.org.state.old_keys(self.profile_id))

    def values(self) -> list[bytes | None]:
        """Of all kept versions, the newest first; they must all open."""
        self.org.server.forge = lambda _, body: body
        vault, profile = Vault(self.org.operator()), self.org.profile("production")
        (secret_id,) = find_histories(vault, profile, [NAME])
        history = read_history(vault, profile, secret_id, with_values=True)
        assert not any(version.is_unreadable for version in history.versions)
        return [version.value for version in history.versions]


@pytest.fixture
def production(org: TestOrg) -> Production:
    return Production(org)


def test_a_box_that_no_kept_version_needs_goes_with_the_next_epoch(production: Production) -> None:
    production.rekey()  # every version is encrypted anew: nothing is kept under epoch 1
    production.withhold(1)
    production.rekey()
    assert production.epochs() == [2]
    assert production.values() == [b"first value"]


def _overwritten(production: Production) -> None:
    production.write(b"second")


def _deleted(production: Production) -> None:
    production.delete()


def _deleted_by_the_re_key(production: Production) -> None:
    """As one that nobody can use: it is not encrypted anew, and its last version stays under the old key."""
    profile_id, secret_id = production.profile_id, production.secret_id

    def act(draft: Draft) -> None:
        rekey(draft, profiles=[profile_id])
        draft.write_entry(profile_id, secret_id, None, epoch=2)

    production.org.commit(act)


NEEDED: dict[str, Callable[[Production], None]] = {
    "overwritten": _overwritten,
    "deleted": _deleted,
    "deleted by the re-key": _deleted_by_the_re_key,
}


@pytest.mark.parametrize("how", NEEDED)
@pytest.mark.parametrize("later", [0, 3])
def test_a_box_that_a_kept_version_needs_is_not_dropped_when_the_server_withholds_it(
    production: Production, how: str, later: int
) -> None:
    org = production.org
    NEEDED[how](production)
    if how != "deleted by the re-key":
        production.rekey()
    for number in range(later):
        org.commit(lambda draft, number=number: create_group(draft, f"more {number}"))
        production.rekey()
    before = org.state
    production.withhold(1)
    with pytest.raises(IntegrityError) as caught:
        production.rekey()
    assert "withholds an older key of the profile 'production', without which version 1 of a secret" in caught.value.message
    assert caught.value.evidence == {"secret": production.secret_id.hex(), "epoch": 1}
    assert org.state is before
    org.server.forge = lambda _, body: body
    production.rekey()
    assert 1 in production.epochs()
    assert b"first value" in production.values()


def test_a_tombstone_needs_no_key(production: Production) -> None:
    """Version 1 was purged; version 2 says that the secret was deleted; version 3 has a value under epoch 2."""
    production.delete()
    production.rekey()
    production.restore()
    production.purge(2)
    production.withhold(1)
    production.rekey()
    assert production.epochs() == [2]
    assert production.values() == [b"first value", None]


def test_a_purged_version_needs_no_key_beside_a_kept_one(production: Production) -> None:
    production.write(b"second")
    production.rekey()
    production.write(b"third")
    production.write(b"fourth")
    production.rekey()
    production.purge(3)
    production.withhold(1)
    production.rekey()
    assert production.epochs() == [2, 3]
    production.withhold(2)
    with pytest.raises(IntegrityError, match="version 3 of a secret"):
        production.rekey()
    assert production.values() == [b"fourth", b"third"]


def test_what_a_purge_meanwhile_let_the_server_drop_is_no_fault(production: Production) -> None:
    production.write(b"second")
    production.rekey()
    vault = Vault(production.org.operator())
    production.purge(2)
    production.withhold(1)
    vault.commit(lambda draft: rekey(draft, profiles=[production.profile_id]))
    assert production.epochs() == [2]
    assert production.values() == [b"second"]


def test_only_the_history_of_the_missing_epochs_is_asked_for(
    production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile without older versions needs none of it; else the way back ends where the oldest missing epoch began."""
    asked: list[int] = []
    steps = Past.steps

    def counted(past: Past) -> object:
        for step in steps(past):
            asked.append(step.after.seq)
            yield step

    monkeypatch.setattr(Past, "steps", counted)
    production.rekey()
    production.withhold(1)
    production.rekey()
    assert asked == []
    production.write(b"second")
    production.rekey()
    began = production.org.state.seq
    production.rekey()
    production.withhold(4)
    production.rekey()
    assert asked == [began + 1, began]
