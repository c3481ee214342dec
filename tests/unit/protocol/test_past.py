"""``past.retreat``: the way back gives the very states that were, and nothing that is not proven by their hashes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.protocol.documents.structure import Structure
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.past import author_of, retreat
from stronghold_cli.protocol.signed_map import map_root
from stronghold_cli.protocol.state import CONTENTS, DOCUMENTS, Changes, OrgState
from stronghold_cli.vault.agents import create_agent, mint, revoke
from stronghold_cli.vault.groups import create_group
from stronghold_cli.vault.profiles import create_profile, write_secrets
from tests.support.org import ADDRESS, TestOrg, renew_group, replaced, workshop


def history() -> TestOrg:
    """The workshop, and after it: a new agent with a token, a write by an editor, a re-key, a revoke, a profile."""
    org = workshop()
    helper = org.commit(lambda draft: create_agent(draft, "helper", [org.group("production")]))
    token = org.commit(lambda draft: mint(draft, org.state.agents[helper.id], "first", ADDRESS))
    org.commit(lambda draft: write_secrets(draft, org.profile("production"), {}, {"BY_EVE": b"v"}), "eve")
    org.commit(lambda draft: renew_group(draft, org.group("production"), frozenset([org.id("eve")])))
    org.commit(lambda draft: revoke(draft, org.state.agents[helper.id], token.token_id))
    org.commit(lambda draft: create_profile(draft, "late"))
    return org


@pytest.fixture(scope="module")
def org() -> TestOrg:
    return history()


def same(one: OrgState, other: OrgState) -> None:
    for kind in ("agent", "group", "profile", "invite"):
        assert one.documents(kind) == other.documents(kind)
    assert {key: dict(value) for key, value in one.maps.items() if value} == {
        key: dict(value) for key, value in other.maps.items() if value
    }
    assert one.org.document == other.org.document
    assert one.structure.document == other.structure.document
    assert one.head.document == other.head.document
    assert {key: item.document for key, item in one.contents.items()} == {
        key: item.document for key, item in other.contents.items()
    }


def test_the_way_back_leads_through_every_state_to_the_first(org: TestOrg) -> None:
    state = org.state
    for before, after in zip(reversed(org.server.states[:-1]), reversed(org.server.states[1:]), strict=True):
        state = retreat(state, replaced(before, after))
        same(state, before)
    assert state.seq == 1


def test_the_author_of_a_commit_is_whose_signature_verifies(org: TestOrg) -> None:
    by = {author_of(state) for state in org.server.states}
    assert by == {org.id("ada"), org.id("eve")}
    state = org.state
    forged = state.head.envelope.replace(signature=bytes(64))
    with pytest.raises(IntegrityError):
        author_of(state.replace(head=state.head.replace(envelope=forged)))
    gone = state.org.document.replace(operators={})
    assert author_of(state.replace(org=state.org.replace(document=gone))) is None


def drop(changes: Changes, map_id: tuple[str, bytes]) -> Changes:
    leaves = dict(changes.maps[map_id])
    leaves.pop(next(iter(leaves)))
    return changes.replace(maps={**changes.maps, map_id: leaves})


def alter(changes: Changes, map_id: tuple[str, bytes]) -> Changes:
    leaves = dict(changes.maps[map_id])
    key = next(key for key, value in leaves.items() if value)
    value = leaves[key] or b""
    leaves[key] = value[:-1] + bytes([value[-1] ^ 1])
    return changes.replace(maps={**changes.maps, map_id: leaves})


def first(changes: Changes, kind: str) -> tuple[str, bytes]:
    return next(map_id for map_id in changes.maps if map_id[0] == kind)


def other_structure(changes: Changes) -> Changes:
    """The same documents, under a structure that never was: it could name other lockdowns."""
    assert changes.structure is not None
    structure = Structure.decode(changes.structure.payload)
    return changes.replace(structure=changes.structure.replace(payload=structure.replace(created=1).payload))


LIES: dict[str, Callable[[Changes], Changes]] = {
    "no head": lambda it: it.replace(heads=()),
    "two heads": lambda it: it.replace(heads=it.heads * 2),
    "another structure": other_structure,
    "no structure": lambda it: it.replace(structure=None),
    "no contents": lambda it: it.replace(contents=()),
    "no payloads": lambda it: it.replace(payloads=()),
    "other payloads": lambda it: it.replace(payloads=tuple(payload + b" " for payload in it.payloads)),
    "a documents leaf left out": lambda it: drop(it, DOCUMENTS),
    "a documents leaf altered": lambda it: alter(it, DOCUMENTS),
    "a contents leaf left out": lambda it: drop(it, CONTENTS),
    "a contents leaf altered": lambda it: alter(it, CONTENTS),
    "a member left out": lambda it: drop(it, first(it, "members")),
    "a member altered": lambda it: alter(it, first(it, "members")),
    "an entry left out": lambda it: drop(it, first(it, "entries")),
    "an entry altered": lambda it: alter(it, first(it, "entries")),
    "an old key left out": lambda it: drop(it, first(it, "old_keys")),
    "a member more": lambda it: it.replace(maps={**it.maps, first(it, "members"): {
        **it.maps[first(it, "members")], b"x" * 16: b"y"}}),
    "a leaf of a map that did not change": lambda it: it.replace(maps={**it.maps, ("entries", b"x" * 16): {b"y": b"z"}}),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_the_past_is_noticed(org: TestOrg, name: str) -> None:
    states = org.server.states
    at = next(at for at, state in enumerate(states) if org_epoch(state) == 2)
    honest = replaced(states[at - 1], states[at])
    same(retreat(states[at], honest), states[at - 1])
    with pytest.raises(IntegrityError):
        retreat(states[at], LIES[name](honest))


def org_epoch(state: OrgState) -> int:
    return max((group.epoch for group in state.groups.values() if group.name == "production"), default=0)


def test_another_org_document_or_head_is_noticed(org: TestOrg) -> None:
    states = org.server.states
    at = next(
        at for at, state in enumerate(states) if at and state.org.document.sha256 != states[at - 1].org.document.sha256
    )
    honest = replaced(states[at - 1], states[at])
    for lie in ({"org": ()}, {"org": (states[at].org.envelope,)}, {"heads": (states[at].head.envelope,)}):
        with pytest.raises(IntegrityError):
            retreat(states[at], honest.replace(**lie))


def test_another_orgs_past_is_noticed(org: TestOrg) -> None:
    other = workshop()
    other.commit(lambda draft: create_group(draft, "other"))
    with pytest.raises(IntegrityError):
        retreat(org.state, replaced(other.server.states[-2], other.state))


def test_only_what_changed_is_looked_at_again(org: TestOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write touches one entries map and the contents map: the other maps are not hashed again."""
    copy = org.copy()
    copy.commit(lambda draft: write_secrets(draft, copy.profile("production"), {}, {"MORE": b"v"}))
    hashed: list[Any] = []
    monkeypatch.setattr("stronghold_cli.protocol.past.map_root", lambda leaves: hashed.append(leaves) or map_root(leaves))
    retreat(copy.state, replaced(copy.server.states[-2], copy.state))
    assert len(hashed) == 2
