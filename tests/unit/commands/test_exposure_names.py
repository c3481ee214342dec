"""The exposure of an agent whose profile holds what nobody can read: it is counted, by its id."""

from __future__ import annotations

import pytest

from stronghold_cli.commands.agent_exposure import _names
from stronghold_cli.protocol.names import SECRET_PREFIX
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.exposure import expose
from tests.support.org import workshop

POISONS = (b"poison of 16 b..", b"poison that went")


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


def test_what_nobody_can_read_is_counted_by_its_id_and_leaves_the_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stronghold_cli.vault.exposure.leaves_back", lambda *_: iter(()))
    org = workshop()
    profile = org.profile("production")
    for poison in POISONS:
        org.commit(lambda draft, id_=poison: draft.write_entry(profile.id, id_, id_ * 5, epoch=1), "eve")
    org.commit(lambda draft: draft.write_entry(profile.id, POISONS[1], None, epoch=1))
    vault = Vault(org.operator())
    entries = [item for item in expose(vault, "bot").secrets if item.profile_id == profile.id]
    names = _names(vault, entries)
    assert {names[id_] for id_ in POISONS} == {f"{SECRET_PREFIX}{id_.hex()}" for id_ in POISONS}
    assert "API_KEY" in names.values()
