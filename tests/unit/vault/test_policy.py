"""The org's limit on the age of its head, and the head signed anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from stronghold_cli.keystore.marks import operator_mark
from stronghold_cli.protocol.errors import IntegrityError, LocalFileError, Refused, UsageError
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.policy import MAX_HEAD_AGE, MIN_HEAD_AGE, limit_head_age, refresh_head
from tests.support.org import TestOrg, workshop
from tests.support.pull import Pull

WEEK = 7 * 86_400


@pytest.fixture
def org(home: Path) -> TestOrg:
    org = workshop()
    org.commit(lambda draft: limit_head_age(draft, WEEK))
    return org


def test_a_limit_is_set_and_taken_away_and_the_same_again_is_no_change(org: TestOrg) -> None:
    assert org.state.org.document.policy.max_head_age == WEEK
    assert org.state.org.document.seq == 5
    draft = org.draft()
    assert limit_head_age(draft, WEEK) is False
    assert draft.is_empty
    assert org.commit(lambda draft: limit_head_age(draft, 0)) is True
    assert org.state.org.document.policy.max_head_age == 0


@pytest.mark.parametrize("seconds", [1, MIN_HEAD_AGE - 1, MAX_HEAD_AGE + 1])
def test_a_limit_that_would_stop_everybody_or_nobody_is_refused(org: TestOrg, seconds: int) -> None:
    with pytest.raises(UsageError, match="between an hour and ten years"):
        limit_head_age(org.draft(), seconds)
    for fine in (MIN_HEAD_AGE, MAX_HEAD_AGE):
        assert limit_head_age(org.draft(), fine) is True


def test_a_head_past_the_limit_stops_agents_and_operators_until_it_is_signed_anew(org: TestOrg) -> None:
    Vault(org.operator())
    pull = Pull(org)
    late = org.now + WEEK + 1
    pull.open(pull.answer, now=late - 1)
    with pytest.raises(IntegrityError, match="seconds old"):
        pull.open(pull.answer, now=late)
    org.now = late
    with pytest.raises(IntegrityError, match="seconds old") as caught:
        Vault(org.operator())
    assert "stronghold org refresh" in caught.value.hint
    before = org.state
    vault = Vault(org.operator(), to_refresh=True)
    vault.commit(refresh_head)
    assert (org.state.seq, org.state.head.document.created) == (before.seq + 1, late)
    assert org.state.head.document == before.head.document.replace(
        seq=before.seq + 1, prev=before.head.document.sha256, created=late
    )
    assert org.state.structure.envelope == before.structure.envelope
    assert Vault(org.operator()).state.seq == org.state.seq
    pull.open(Pull(org).answer, now=late + WEEK)


def test_a_machine_without_a_mark_signs_no_head_anew(org: TestOrg) -> None:
    with pytest.raises(LocalFileError, match="remembers no state"):
        Vault(org.operator(), to_refresh=True)
    assert operator_mark(org.state.org_id).load() is None
    Vault(org.operator())
    Vault(org.operator(), to_refresh=True)


def test_to_refresh_nothing_but_the_age_is_left_out(org: TestOrg) -> None:
    """An older state than the mark, and a head that is dated ahead, are refused as ever."""
    earlier = org.server.copy()
    org.commit(lambda draft: limit_head_age(draft, 0))
    Vault(org.operator())
    org.server, newer = earlier, org.server
    with pytest.raises(IntegrityError):
        Vault(org.operator(), to_refresh=True)
    org.server = newer
    org.now -= 301
    with pytest.raises(IntegrityError, match="dated in the future"):
        Vault(org.operator(), to_refresh=True)


@pytest.mark.parametrize(("name", "allowed"), [("eve", True), ("rob", False), ("una", False)])
def test_an_editor_may_sign_the_head_anew_and_only_admins_set_the_limit(org: TestOrg, name: str, allowed: bool) -> None:
    vault = Vault(org.operator(name))
    with pytest.raises(Refused, match="Your role"):
        vault.commit(lambda draft: limit_head_age(draft, 0))
    if not allowed:
        with pytest.raises(Refused, match="Your role"):
            vault.commit(refresh_head)
        return
    vault.commit(refresh_head)
    assert org.state.head.envelope.operator_id == org.id(name)
