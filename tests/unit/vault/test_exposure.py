"""The exposure ledger: what keys could open and for how long, and what the log proves to have been fetched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stronghold_cli.protocol.audit import AuditLeaf, DocumentReference
from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.errors import IntegrityError, NotFound
from stronghold_cli.vault.agents import create_agent, mint, revoke
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.exposure import Exposed, Exposure, expose
from stronghold_cli.vault.groups import add_agent, create_group, grant
from stronghold_cli.vault.past import Past, Step
from stronghold_cli.vault.profiles import delete_secrets, read_secrets, rename_profile, write_secrets
from stronghold_cli.vault.removal import compromised, delete_agent, delete_profile, remove_from_group, ungrant
from tests.support.org import ADDRESS, workshop
from tests.unit.vault.test_log import leaf, serve

pytestmark = pytest.mark.usefixtures("home")


class Case:
    """The workshop, in which the agent bot may read production by one token, and a log without entries."""

    def __init__(self) -> None:
        self.org = workshop()
        self.names: dict[bytes, str] = {}
        self.log: list[AuditLeaf] = []
        serve(self.org, self.log)
        self.note_names()

    def note_names(self) -> None:
        for profile in self.org.state.profiles.values():
            known = read_secrets(Vault(self.org.operator()), profile)
            self.names.update((item.id, name) for name, item in known.items())

    def agent(self, name: str = "bot") -> Agent:
        return next(item for item in self.org.state.agents.values() if item.name == name)

    def write(self, value: bytes, name: str = "API_KEY", profile: str = "production") -> None:
        known = read_secrets(Vault(self.org.operator()), self.org.profile(profile))
        self.org.commit(lambda draft: write_secrets(draft, self.org.profile(profile), known, {name: value}))
        self.note_names()

    def delete(self, name: str = "API_KEY") -> None:
        known = read_secrets(Vault(self.org.operator()), self.org.profile("production"))
        self.org.commit(lambda draft: delete_secrets(draft, self.org.profile("production"), known, [name]))

    def restore(self, value: bytes, name: str = "API_KEY") -> None:
        """Write a deleted secret again under its own id."""
        profile = self.org.profile("production")
        secret_id = next(id_ for id_, known in self.names.items() if known == name)
        secret = read_secrets(Vault(self.org.operator()), profile)["DATABASE_URL"].secret.replace(name=name, value=value)

        def act(draft: Draft) -> None:
            version = draft.next_version(profile.id, secret_id)
            key = draft.keys.profile(profile.id)
            blob = key.seal_secret(secret_id, version, secret, draft.random)
            draft.write_entry(profile.id, secret_id, blob, epoch=profile.epoch)

        self.org.commit(act)

    def pulled(self, by: str = "ci", **changes: object) -> None:
        """An entry of a pull of production by a token, as the state is now."""
        profile = self.org.profile("production")
        version = self.org.state.contents[profile.id].document.version
        read = DocumentReference(kind="contents", id=profile.id, version=version, sha256=bytes(32))
        self.log.append(leaf(self.org, by=by, **{"index": len(self.log), "document": read, **changes}))

    def expose(self, name: str = "bot") -> Exposure:
        return expose(Vault(self.org.operator()), name)

    def told(self, name: str = "bot") -> dict[str, Exposed]:
        """The ledger's lines by profile and secret."""
        return {f"{item.profile_name}/{self.names[item.secret_id]}": item for item in self.expose(name).secrets}

    def versions(self, name: str = "bot") -> dict[str, tuple[int, ...]]:
        return {place: item.versions for place, item in self.told(name).items()}


@pytest.fixture
def case() -> Case:
    return Case()


def test_what_a_token_could_open_are_the_kept_versions_under_its_keys(case: Case) -> None:
    case.write(b"second")
    assert case.versions() == {"production/API_KEY": (1, 2), "production/DATABASE_URL": (1,)}
    lines = {place: (item.by_ended, item.fetched, item.current) for place, item in case.told().items()}
    assert lines == {"production/API_KEY": ((), (), 2), "production/DATABASE_URL": ((), (), 1)}


def test_lines_stand_by_profile_and_id(case: Case) -> None:
    case.org.commit(lambda draft: add_agent(draft, case.org.group("staging"), case.agent()))
    secrets = case.expose().secrets
    assert list(secrets) == sorted(secrets, key=lambda item: (item.profile_name, item.profile_id, item.secret_id))
    assert {item.profile_name for item in secrets} == {"production", "staging"}


def test_what_was_written_under_new_keys_after_it_left_does_not_count(case: Case) -> None:
    group = case.org.group("production")
    case.org.commit(lambda draft: remove_from_group(draft, group, [case.agent()], []))
    case.write(b"second")
    assert case.versions()["production/API_KEY"] == (1,)
    assert case.told()["production/API_KEY"].current == 2


def test_a_group_s_key_opens_what_is_granted_later_under_the_same_epoch_and_no_longer_after_the_next(case: Case) -> None:
    staging = case.org.profile("staging")
    case.org.commit(lambda draft: grant(draft, case.org.group("production"), staging))
    case.write(b"staged again", "STAGED", "staging")
    case.org.commit(lambda draft: ungrant(draft, case.org.group("production"), case.org.profile("staging")))
    case.write(b"and again", "STAGED", "staging")
    assert case.versions()["staging/STAGED"] == (1, 2)


def test_keys_count_after_a_revoke_until_the_next_epoch_though_nobody_held_the_token_any_more(case: Case) -> None:
    case.org.commit(lambda draft: revoke(draft, case.agent(), case.org.tokens["ci"].token_id))
    case.write(b"second")
    line = case.told()["production/API_KEY"]
    assert (line.versions, line.by_ended, case.expose().in_use) == ((1, 2), (1, 2), True)
    case.org.commit(lambda draft: compromised(draft, case.agent()))
    case.write(b"third")
    line = case.told()["production/API_KEY"]
    assert (line.versions, line.by_ended, line.is_current, case.expose().in_use) == ((1, 2), (1, 2), False, False)


def test_only_what_ended_tokens_open_is_work_once_one_ended(case: Case) -> None:
    assert {case.names[item.secret_id] for item in case.expose().todo()} == {"API_KEY", "DATABASE_URL"}
    case.delete()
    assert case.told()["production/API_KEY"].current is None
    assert [case.names[item.secret_id] for item in case.expose().todo()] == ["DATABASE_URL"]
    case.org.tokens["second"] = case.org.commit(lambda draft: mint(draft, case.agent(), "second", ADDRESS))
    case.org.commit(lambda draft: compromised(draft, case.agent(), [case.org.tokens["ci"].token_id]))
    case.write(b"new", "DATABASE_URL")
    exposure = case.expose()
    assert (exposure.has_ended, exposure.in_use, exposure.todo()) == (True, False, ())
    line = case.told()["production/DATABASE_URL"]
    assert (line.versions, line.by_ended, line.is_current) == ((1, 2), (1,), True)


def test_a_token_that_is_live_has_not_ended(case: Case) -> None:
    exposure = case.expose()
    assert (exposure.has_ended, exposure.in_use, exposure.is_deleted) == (False, False, False)


@pytest.mark.parametrize("when", ["before its time", "in its time"])
def test_versions_that_say_that_a_secret_was_deleted_do_not_count(case: Case, when: str) -> None:
    """Also such as no state of its time held: they are found on the way back, down to the oldest that is kept."""
    case.delete()
    case.restore(b"third")
    case.delete()
    case.restore(b"fifth")
    if when == "before its time":
        made = case.org.commit(lambda draft: create_agent(draft, "late", [case.org.group("production")]))
        case.org.commit(lambda draft: mint(draft, draft.agents()[made.id], "first", ADDRESS))
        assert case.versions("late")["production/API_KEY"] == (1, 3, 5)
    else:
        assert case.versions()["production/API_KEY"] == (1, 3, 5)


def test_what_was_purged_before_its_time_does_not_count_and_what_was_purged_in_it_does(case: Case) -> None:
    case.write(b"second")
    case.write(b"third")
    profile, secret_id = case.org.profile("production"), next(id_ for id_, name in case.names.items() if name == "API_KEY")
    case.org.commit(lambda draft: draft.raise_oldest(profile.id, secret_id, 2))
    made = case.org.commit(lambda draft: create_agent(draft, "late", [case.org.group("production")]))
    case.org.commit(lambda draft: mint(draft, draft.agents()[made.id], "first", ADDRESS))
    case.org.commit(lambda draft: draft.raise_oldest(profile.id, secret_id, 3))
    assert case.versions("late")["production/API_KEY"] == (2, 3)
    assert case.versions()["production/API_KEY"] == (1, 2, 3)


def test_deletions_are_found_also_below_what_was_purged_in_its_time(case: Case) -> None:
    case.delete()
    case.restore(b"third")
    made = case.org.commit(lambda draft: create_agent(draft, "late", [case.org.group("production")]))
    case.org.commit(lambda draft: mint(draft, draft.agents()[made.id], "first", ADDRESS))
    profile, secret_id = case.org.profile("production"), next(id_ for id_, name in case.names.items() if name == "API_KEY")
    case.org.commit(lambda draft: draft.raise_oldest(profile.id, secret_id, 3))
    assert case.versions("late")["production/API_KEY"] == (1, 3)


def test_the_way_back_ends_where_nothing_more_can_count(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the commit that made the agent, or that wrote the oldest version which the agent could open; no other profile's."""
    profile, secret_id = case.org.profile("production"), next(id_ for id_, name in case.names.items() if name == "API_KEY")
    case.write(b"staged again", "STAGED", "staging")
    for value in (b"second", b"third", b"fourth"):
        case.write(value)
    case.org.commit(lambda draft: draft.raise_oldest(profile.id, secret_id, 3))
    case.write(b"fifth")
    made = case.org.commit(lambda draft: create_agent(draft, "late", [case.org.group("production")]))
    case.org.commit(lambda draft: mint(draft, draft.agents()[made.id], "first", ADDRESS))
    asked: list[int] = []
    steps = Past.steps

    def counted(past: Past) -> Iterator[Step]:
        for step in steps(past):
            asked.append(step.after.seq)
            yield step

    monkeypatch.setattr(Past, "steps", counted)
    assert case.versions("late")["production/API_KEY"] == (3, 4, 5)
    held = [state for state in case.org.server.states if secret_id in state.leaves("entries", profile.id)]
    third = next(state.seq for state in held if state.entries(profile.id)[secret_id].version == 3)
    assert asked[-1] == third + 1
    asked.clear()
    # ... and at once where no version but the current one is kept.
    secret_id = next(id_ for id_, name in case.names.items() if name == "STAGED")
    case.org.commit(lambda draft: draft.raise_oldest(case.org.profile("staging").id, secret_id, 2))
    case.org.commit(lambda draft: mint(draft, create_agent(draft, "newest", [case.org.group("staging")]), "first", ADDRESS))
    assert case.versions("newest") == {"staging/STAGED": (2,)}
    assert asked == [case.org.state.seq]


def test_an_agent_is_found_by_a_name_that_it_had(case: Case) -> None:
    case.org.commit(lambda draft: draft.put(case.agent().replace(name="renamed")))
    case.org.commit(lambda draft: create_group(draft, "later"))
    exposure = case.expose("bot")
    assert (exposure.agent_name, exposure.is_deleted, len(exposure.secrets)) == ("renamed", False, 2)


def test_an_agent_without_a_token_could_open_nothing(case: Case) -> None:
    case.org.commit(lambda draft: create_agent(draft, "idle", [case.org.group("production")]))
    assert case.expose("idle").secrets == ()


def test_deleted_agents_and_profiles_are_told_by_their_last_names(case: Case) -> None:
    case.org.commit(lambda draft: rename_profile(draft, case.org.profile("production"), "renamed"))
    renamed = next(item for item in case.org.state.profiles.values() if item.name == "renamed")
    assert {item.profile_name for item in case.expose().secrets} == {"renamed"}
    case.org.commit(lambda draft: delete_profile(draft, renamed))
    assert {(item.profile_name, item.current, item.is_current) for item in case.expose().secrets} == {
        ("renamed", None, False)
    }
    agent = case.agent()
    case.org.commit(lambda draft: draft.put(agent.replace(name="last name")))
    case.org.commit(lambda draft: delete_agent(draft, case.agent("last name")))
    case.org.commit(lambda draft: create_group(draft, "later"))
    exposure = case.expose("LAST NAME")
    assert (exposure.agent_name, exposure.is_deleted, exposure.has_ended) == ("last name", True, True)
    assert case.expose(f"ag_{agent.id.hex()}").secrets == exposure.secrets
    with pytest.raises(NotFound, match="there never was") as caught:
        case.expose("last nam")
    assert "'last name'" in caught.value.hint


def test_a_name_that_was_given_again_is_the_agent_that_has_it_now(case: Case) -> None:
    case.org.commit(lambda draft: delete_agent(draft, case.agent()))
    case.org.commit(lambda draft: create_agent(draft, "bot", []))
    assert case.expose().secrets == ()
    assert case.expose().is_deleted is False


def test_a_pull_counts_for_just_the_version_of_the_contents_that_it_delivered(case: Case) -> None:
    case.write(b"second")
    case.pulled()
    case.write(b"third")
    assert case.told()["production/API_KEY"].fetched == (2,)
    assert case.told()["production/DATABASE_URL"].fetched == (1,)
    case.delete()
    case.pulled()
    assert case.told()["production/API_KEY"].fetched == (2,)


def test_other_entries_are_no_pulls_of_this_agent(case: Case) -> None:
    made = case.org.commit(lambda draft: create_agent(draft, "other", [case.org.group("production")]))
    case.org.tokens["other"] = case.org.commit(lambda draft: mint(draft, draft.agents()[made.id], "first", ADDRESS))
    case.pulled(by="other")
    case.pulled(outcome="refused", code="LOCKED_DOWN")
    case.pulled(document=None)
    case.pulled(kind="self", target="/v1/self?org=00")
    case.pulled(by="ada", kind="pull")
    assert all(not item.fetched for item in case.expose().secrets)
    assert [item.fetched for item in case.expose("other").secrets] == [(1,), (1,)]


def test_pulls_by_an_ended_token_count_on(case: Case) -> None:
    case.pulled()
    case.org.commit(lambda draft: compromised(draft, case.agent()))
    assert {item.fetched for item in case.expose().secrets} == {(1,)}


def test_a_pull_that_its_token_did_not_sign_is_noticed(case: Case) -> None:
    case.pulled(signature=bytes(64))
    with pytest.raises(IntegrityError, match="is not signed by"):
        case.expose()


def test_entries_from_before_the_agent_was_made_are_not_asked_for(case: Case) -> None:
    """A token's id is unique: no such entry can be its own, and an old log is long."""
    made = case.org.commit(lambda draft: create_agent(draft, "late", [case.org.group("production")]))
    case.org.tokens["late"] = case.org.commit(lambda draft: mint(draft, draft.agents()[made.id], "first", ADDRESS))
    first = next(state.seq for state in case.org.server.states if made.id in state.agents)
    case.pulled(by="late", head_seq=first - 1, signature=bytes(64))
    assert all(not item.fetched for item in case.expose("late").secrets)
