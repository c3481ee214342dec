"""Removal is a re-key: who stays reads on, who goes holds no new key, history stays readable, and nothing is half done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.crypto.keys import GroupKey, ProfileKey
from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.leaves import decode_member_leaf
from stronghold_cli.protocol.documents.structure import Lockdown
from stronghold_cli.protocol.errors import Conflict, IntegrityError, NotFound, Refused, StrongholdError, UsageError
from stronghold_cli.protocol.messages import decode_ciphertexts, decode_old_keys, encode_old_keys
from stronghold_cli.vault.agents import NewToken, create_agent, mint, revoke
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import add_agent, add_operator, create_group, grant
from stronghold_cli.vault.keyring import Keyring
from stronghold_cli.vault.profiles import create_profile, delete_by_id, delete_secrets, read_secrets, write_secrets
from stronghold_cli.vault.rekeying import Rekeyed, rekey
from stronghold_cli.vault.removal import (
    compromised,
    delete_agent,
    delete_group,
    delete_profile,
    remove_from_group,
    ungrant,
)
from tests.support.org import ADDRESS, NOW, VALUES, TestOrg, workshop
from tests.support.pull import Pull

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def org() -> TestOrg:
    """The workshop, with a second agent ``leaver`` beside ``bot`` in the group production."""
    org = workshop()
    made = org.commit(lambda draft: create_agent(draft, "leaver", [org.group("production")]))
    org.tokens["old"] = org.commit(lambda draft: mint(draft, org.state.agents[made.id], "old", ADDRESS))
    return org


def agent(org: TestOrg, name: str = "leaver") -> Agent:
    return next(item for item in org.state.agents.values() if item.name == name)


def keys(org: TestOrg, name: str = "ada") -> Keyring:
    return Keyring(org.operator(name), org.state)


def values(org: TestOrg, profile: str = "production", name: str = "ada") -> dict[str, bytes]:
    vault = Vault(org.operator(name))
    return {key: item.secret.value for key, item in read_secrets(vault, org.profile(profile)).items()}


def members(org: TestOrg, group: str = "production") -> set[bytes]:
    return set(org.state.group_members(org.group(group).id))


def leave(org: TestOrg) -> Rekeyed:
    return org.commit(lambda draft: remove_from_group(draft, org.group("production"), [agent(org)], []))


class Held:
    """The keys that an agent in the group production holds now."""

    def __init__(self, org: TestOrg) -> None:
        self.org = org
        self.group: GroupKey = keys(org).group(org.group("production").id)
        self.profile: ProfileKey = keys(org).profile(org.profile("production").id)

    def opens_nothing_of_now(self) -> None:
        """No box, seal or ciphertext that the newest state names opens under them."""
        state, profile = self.org.state, self.org.profile("production")
        for each in profile.grants.values():
            with pytest.raises(IntegrityError):
                self.group.unwrap(profile.id, profile.epoch, profile.kcv, self.org.server.blobs[each.wrap_sha256])
        for secret_id, entry in state.entries(profile.id).items():
            if entry.is_live:
                with pytest.raises(IntegrityError):
                    self.profile.open_secret(secret_id, entry.version, self.org.server.blobs[entry.ciphertext_sha256])


def test_who_is_removed_from_a_group_holds_no_key_of_what_is_there_and_of_what_is_written_later(org: TestOrg) -> None:
    held, token = Held(org), org.tokens["old"].token_id
    done = leave(org)
    assert agent(org).groups == ()
    assert token in agent(org).tokens
    assert token not in members(org)
    held.opens_nothing_of_now()
    org.commit(lambda draft: write_secrets(draft, org.profile("production"), {}, {"LATER": b"third value"}))
    held.opens_nothing_of_now()
    group, profile = org.group("production"), org.profile("production")
    assert (group.epoch, profile.epoch, profile.grants[group.id].epoch) == (2, 2, 2)
    assert done.groups == (group.id,)
    assert {id_: [(item.name, item.version) for item in found] for id_, found in done.profiles.items()} == {
        profile.id: [("API_KEY", 1), ("DATABASE_URL", 1)]
    }


def test_who_stays_reads_on_with_the_same_token_and_nothing_else_is_touched(org: TestOrg) -> None:
    staging = org.profile("staging"), org.group("staging")
    before = org.state.contents[org.profile("production").id].document
    leave(org)
    assert {name: secret.value for name, secret in Pull(org).open(Pull(org).answer).items()} == VALUES
    assert values(org) == values(org, name="eve") == VALUES
    assert (org.profile("staging"), org.group("staging")) == staging
    after = org.state.contents[before.profile_id].document
    assert (after.version, after.prev) == (before.version + 1, before.sha256)


def test_every_seal_of_a_new_epoch_is_new_and_goes_to_the_key_in_the_signed_documents(org: TestOrg) -> None:
    before = set(org.state.leaves("members", org.group("production").id).values())
    leave(org)
    leaves = org.state.leaves("members", org.group("production").id)
    assert not before & set(leaves.values())
    seals = {decode_member_leaf(value).sealed_sha256 for value in leaves.values()}
    assert len(seals) == len(leaves) == 4  # root, ada, eve and the token of bot


def test_history_stays_readable_for_operators_over_several_epochs(org: TestOrg) -> None:
    profile = org.profile("production")
    (secret_id,) = {item.id for name, item in read_secrets(Vault(org.operator()), profile).items() if name == "API_KEY"}
    first = org.state.entries(profile.id)[secret_id]
    leave(org)  # the first version is encrypted anew: nothing is kept under epoch 1
    second = org.state.entries(profile.id)[secret_id]
    assert (second.version, second.epoch, second.oldest) == (1, 2, 1)
    assert second.prev != first.prev
    known = read_secrets(Vault(org.operator()), org.profile("production"))
    org.commit(lambda draft: write_secrets(draft, org.profile("production"), known, {"API_KEY": b"newer"}))
    for _ in range(2):
        org.commit(lambda draft: rekey(draft, groups=[org.group("production").id]))
    older = keys(org, "eve").older_profile_keys(profile.id)
    assert sorted(older) == [1, 2, 3]
    secret = older[2].open_secret(secret_id, 1, org.server.blobs[second.ciphertext_sha256])
    assert secret.value == b"first value"
    assert values(org)["API_KEY"] == b"newer"


def test_a_box_of_an_older_key_that_was_swapped_is_not_opened(org: TestOrg) -> None:
    leave(org)
    profile = org.profile("production")

    def forge(target: str, body: bytes) -> bytes:
        return encode_old_keys([b"x" + box for box in decode_old_keys(body)]) if target.endswith("/old-keys") else body

    org.server.forge = forge
    assert keys(org).older_profile_keys(profile.id) == {}


def test_a_profile_without_entries_keeps_no_older_keys(org: TestOrg) -> None:
    org.commit(lambda draft: create_profile(draft, "empty"))
    org.commit(lambda draft: rekey(draft, groups=[org.group("empty").id]))
    empty = org.profile("empty")
    assert (empty.epoch, org.state.old_keys(empty.id)) == (2, {})


@pytest.mark.parametrize("whose", ["its own end", "its agent's end"])
def test_tokens_past_their_end_leave_before_a_group_gets_a_new_epoch(org: TestOrg, whose: str) -> None:
    org.commit(lambda draft: create_group(draft, "other"))
    org.commit(lambda draft: add_agent(draft, org.group("other"), agent(org)))
    token_id = org.tokens["old"].token_id
    if whose == "its own end":
        token = agent(org).tokens[token_id].replace(not_after=NOW + 10)
        org.commit(lambda draft: draft.put(agent(org).replace(tokens={token_id: token})))
    else:
        org.commit(lambda draft: draft.put(agent(org).replace(not_after=NOW + 10)))
    org.now = NOW + 9
    assert org.commit(lambda draft: rekey(draft, groups=[org.group("production").id])).expired == {}
    org.now = NOW + 10
    done = org.commit(lambda draft: rekey(draft, groups=[org.group("production").id]))
    assert done.expired == {token_id: agent(org).id}
    assert agent(org).tokens == {}
    assert token_id not in members(org) | members(org, "other")
    assert org.group("other").epoch == 1


def test_an_operator_is_removed_from_a_group(org: TestOrg) -> None:
    held = Held(org)
    org.commit(lambda draft: remove_from_group(draft, org.group("production"), [], [org.id("eve")]))
    assert org.id("eve") not in members(org)
    held.opens_nothing_of_now()
    with pytest.raises(Refused):
        values(org, name="eve")


def test_an_agent_without_a_token_leaves_with_new_keys_too(org: TestOrg) -> None:
    """Its tokens were revoked, and whoever has one, with the server, still holds the group's key of then."""
    held = Held(org)
    org.commit(lambda draft: revoke(draft, agent(org), org.tokens["old"].token_id))
    leave(org)
    held.opens_nothing_of_now()


def test_ungranting_renews_the_profile_and_leaves_the_group_alone(org: TestOrg) -> None:
    held = Held(org)
    org.commit(lambda draft: grant(draft, org.group("staging"), org.profile("production")))
    org.commit(lambda draft: ungrant(draft, org.group("production"), org.profile("production")))
    assert org.group("production").epoch == org.group("staging").epoch == 1
    assert set(org.profile("production").grants) == {org.group("staging").id}
    held.opens_nothing_of_now()
    assert values(org) == VALUES


@pytest.mark.parametrize("act", ["ungrant", "delete the group"])
def test_the_last_group_of_a_profile_stays_while_there_is_something_to_lose(org: TestOrg, act: str) -> None:
    def take(draft: Draft) -> Rekeyed:
        if act == "ungrant":
            return ungrant(draft, org.group("staging"), org.profile("staging"))
        return delete_group(draft, org.group("staging"))

    with pytest.raises(Conflict, match="No other group may read 'staging'"):
        org.commit(take)
    known = read_secrets(Vault(org.operator()), org.profile("staging"))
    org.commit(lambda draft: delete_secrets(draft, org.profile("staging"), known, ["STAGED"]))
    with pytest.raises(Conflict, match="lost to everybody"):  # its versions are history, and could be restored
        org.commit(take)


@pytest.mark.parametrize("act", ["ungrant", "delete the group"])
def test_the_last_group_of_an_empty_profile_goes_and_another_comes(org: TestOrg, act: str) -> None:
    org.commit(lambda draft: create_profile(draft, "empty"))
    if act == "ungrant":
        org.commit(lambda draft: ungrant(draft, org.group("empty"), org.profile("empty")))
    else:
        org.commit(lambda draft: delete_group(draft, org.group("empty")))
    assert (org.profile("empty").grants, org.profile("empty").epoch) == ({}, 2)
    org.commit(lambda draft: grant(draft, org.group("staging"), org.profile("empty")))
    assert org.profile("empty").epoch == 3
    org.commit(lambda draft: write_secrets(draft, org.profile("empty"), {}, {"A": b"1"}))
    assert values(org, "empty") == {"A": b"1"}


def test_a_deleted_group_leaves_its_agents_and_renews_its_profiles(org: TestOrg) -> None:
    held, group = Held(org), org.group("production")
    org.commit(lambda draft: grant(draft, org.group("staging"), org.profile("production")))
    org.commit(lambda draft: delete_group(draft, group))
    assert group.id not in org.state.groups
    assert agent(org).groups == agent(org, "bot").groups == ()
    assert not org.state.leaves("members", group.id)
    held.opens_nothing_of_now()
    assert values(org) == VALUES


def test_a_deleted_agent_is_gone_with_its_tokens_and_everything_that_it_reached_is_renewed(org: TestOrg) -> None:
    org.commit(lambda draft: add_agent(draft, org.group("staging"), agent(org)))
    held, gone = Held(org), agent(org)
    done = org.commit(lambda draft: delete_agent(draft, gone))
    assert gone.id not in org.state.agents
    assert org.tokens["old"].token_id not in members(org) | members(org, "staging")
    held.opens_nothing_of_now()
    assert set(done.groups) == {org.group("production").id, org.group("staging").id}
    assert set(done.profiles) == {org.profile("production").id, org.profile("staging").id}


def test_a_compromised_agent_loses_all_tokens_and_keeps_its_place(org: TestOrg) -> None:
    held = Held(org)
    org.commit(lambda draft: compromised(draft, agent(org)))
    assert (agent(org).tokens, agent(org).groups) == ({}, (org.group("production").id,))
    held.opens_nothing_of_now()
    fresh = org.commit(lambda draft: mint(draft, agent(org), "new", ADDRESS))
    assert fresh.token_id in members(org)


def test_a_compromised_token_does_not_burn_its_siblings(org: TestOrg) -> None:
    held = Held(org)
    sibling: NewToken = org.commit(lambda draft: mint(draft, agent(org, "bot"), "sibling", ADDRESS))
    org.commit(lambda draft: compromised(draft, agent(org, "bot"), [sibling.token_id]))
    assert sibling.token_id not in agent(org, "bot").tokens
    held.opens_nothing_of_now()
    assert {name: secret.value for name, secret in Pull(org).open(Pull(org).answer).items()} == VALUES


def test_a_deleted_profile_takes_contents_and_maps_with_it(org: TestOrg) -> None:
    leave(org)
    gone = org.profile("production")
    org.commit(lambda draft: delete_profile(draft, gone))
    assert gone.id not in org.state.profiles
    assert gone.id not in org.state.contents
    assert not org.state.leaves("entries", gone.id)
    assert not org.state.leaves("old_keys", gone.id)
    assert values(org, "staging") == {"STAGED": b"third value"}


ACTS: dict[str, tuple[type[StrongholdError], str, Callable[[TestOrg, Draft], Any]]] = {
    "an agent is not in the group": (
        NotFound,
        "'leaver' is not in the group 'staging'",
        lambda org, draft: remove_from_group(draft, org.group("staging"), [agent(org)], []),
    ),
    "an operator is not in the group": (
        NotFound,
        "'rob' is not in the group",
        lambda org, draft: remove_from_group(draft, org.group("staging"), [], [org.id("rob")]),
    ),
    "an operator has left the org": (
        NotFound,
        f"op_{'78' * 16} was removed from the org meanwhile",
        lambda org, draft: remove_from_group(draft, org.group("staging"), [], [b"x" * 16]),
    ),
    "an admin is in every group": (
        UsageError,
        "admins are members of every group",
        lambda org, draft: remove_from_group(draft, org.group("staging"), [], [org.id("ada")]),
    ),
    "the profile is not granted": (
        NotFound,
        "may not read the profile 'production' anyway",
        lambda org, draft: ungrant(draft, org.group("staging"), org.profile("production")),
    ),
}


@pytest.mark.parametrize("name", ACTS)
def test_what_cannot_be_taken_away_is_told(org: TestOrg, name: str) -> None:
    error, words, act = ACTS[name]
    with pytest.raises(error, match=words) as caught:
        act(org, org.draft())
    assert type(caught.value) is error


@pytest.mark.parametrize("other", ["in another group", "in no other group"])
@pytest.mark.parametrize("act", ["remove", "delete the group"])
def test_nobody_wakes_from_a_lockdown_by_losing_the_group_that_it_names(org: TestOrg, act: str, other: str) -> None:
    """In no other group the agent reads nothing at first, and would be free for the next that it is put into."""
    production, staging = org.group("production"), org.group("staging")
    org.commit(lambda draft: grant(draft, staging, org.profile("production")))

    def lock(draft: Draft, **whom: tuple[bytes, ...]) -> None:
        line = Lockdown(
            id=draft.new_id(), all=False, labels=(), reason="", created=NOW, **{"groups": (), "agents": (), **whom}
        )
        signed = draft.state.structure
        lockdowns = (*signed.document.lockdowns, line)
        draft.state = draft.state.replace(structure=signed.replace(document=signed.document.replace(lockdowns=lockdowns)))

    def take(draft: Draft) -> Rekeyed:
        if act == "remove":
            return remove_from_group(draft, draft.groups()[production.id], [draft.agents()[agent(org).id]], [])
        return delete_group(draft, draft.groups()[production.id])

    if other == "in another group":
        org.commit(lambda draft: add_agent(draft, staging, agent(org)))
    draft = org.draft()
    lock(draft, groups=(production.id,))
    with pytest.raises(Conflict, match="would wake outside of it"):
        take(draft)
    lock(draft, agents=tuple(sorted(draft.agents())))
    take(draft)
    take(org.draft())


def test_a_removal_by_somebody_who_is_no_admin_is_refused_as_such(org: TestOrg) -> None:
    draft = org.draft("eve")
    remove_from_group(draft, org.group("production"), [agent(org)], [])
    with pytest.raises(Refused, match="for admins") as caught:
        draft.require_allowed()
    assert caught.value.code == "FORBIDDEN"


class Meanwhile:
    """Lets somebody else commit once, before the first request whose path ends as told is answered."""

    def __init__(self, org: TestOrg, path: str, act: Callable[[Draft], Any]) -> None:
        self.org, self.path, self.act = org, path, act
        self.passed_on = org.server._answer
        org.server._answer = self  # type: ignore[method-assign, assignment]

    def __call__(self, path: str, query: Any, body: bytes, key_id: Any) -> bytes:
        if path.endswith(self.path):
            self.org.server._answer = self.passed_on  # type: ignore[method-assign]
            self.org.commit(self.act)
        return self.passed_on(path, query, body, key_id)


@pytest.mark.parametrize("path", ["/keys", "/sealing-keys", "/contents", "/old-keys", "/commits"])
def test_whatever_others_do_during_a_removal_it_is_carried_out_over_the_newest_state(org: TestOrg, path: str) -> None:
    org.commit(lambda draft: rekey(draft, groups=[org.group("production").id]))
    held, vault = Held(org), Vault(org.operator())

    def write(draft: Draft) -> None:
        known = read_secrets(Vault(org.operator("eve")), org.profile("production"))
        write_secrets(draft, org.profile("production"), known, {"API_KEY": b"theirs"})

    Meanwhile(org, path, write)
    vault.commit(lambda draft: remove_from_group(draft, draft.groups()[org.group("production").id], [agent(org)], []))
    held.opens_nothing_of_now()
    assert org.tokens["old"].token_id not in members(org)
    assert values(org) == {**VALUES, "API_KEY": b"theirs"}


@pytest.mark.parametrize("path", ["/keys", "/contents"])
def test_a_re_key_by_others_while_a_profile_is_read_is_no_fault(org: TestOrg, path: str) -> None:
    vault = Vault(org.operator())
    Meanwhile(org, path, lambda draft: rekey(draft, groups=[org.group("production").id]))
    found = read_secrets(vault, org.profile("production"))
    assert {name: item.secret.value for name, item in found.items()} == VALUES


@pytest.mark.parametrize("code", ["NOT_FOUND", "PROFILE_FORBIDDEN"])
def test_a_refusal_because_others_were_faster_begins_again(org: TestOrg, code: str) -> None:
    vault, left = Vault(org.operator()), [1]

    def refuse_once(target: str, body: bytes) -> bytes:
        if target.endswith("/contents") and left:
            left.pop()
            org.commit(lambda draft: create_group(draft, f"other {draft.seq}"))
            raise Refused(code, "no")
        return body

    org.server.forge = refuse_once
    vault.commit(lambda draft: remove_from_group(draft, org.group("production"), [agent(org)], []))
    assert org.group("production").epoch == 2
    left.append(1)
    assert read_secrets(vault, org.profile("staging"))


@pytest.mark.parametrize("code", ["NOT_FOUND", "FORBIDDEN"])
def test_a_refusal_with_nothing_new_is_passed_on(org: TestOrg, code: str) -> None:
    vault = Vault(org.operator())

    def refuse(target: str, body: bytes) -> bytes:
        if target.endswith("/contents"):
            raise Refused(code, "no")
        return body

    org.server.forge = refuse
    for act in (
        lambda: vault.commit(lambda draft: remove_from_group(draft, org.group("production"), [agent(org)], [])),
        lambda: read_secrets(vault, org.profile("production")),
    ):
        with pytest.raises(Refused, match="no"):
            act()


def test_a_profile_that_is_deleted_while_it_is_read_is_told(org: TestOrg) -> None:
    vault = Vault(org.operator())
    profile = org.profile("production")
    Meanwhile(org, "/contents", lambda draft: delete_profile(draft, profile))
    with pytest.raises(NotFound, match="was deleted meanwhile"):
        read_secrets(vault, profile)


def test_what_was_removed_by_somebody_else_meanwhile_is_told(org: TestOrg) -> None:
    vault = Vault(org.operator())
    group_id, leaver = org.group("production").id, agent(org)
    Meanwhile(org, "/commits", lambda draft: remove_from_group(draft, org.group("production"), [leaver], []))
    with pytest.raises(NotFound, match="is not in the group"):
        vault.commit(lambda draft: remove_from_group(draft, draft.groups()[group_id], [draft.agents()[leaver.id]], []))
    assert org.group("production").epoch == 2


def test_a_ciphertext_that_is_not_the_one_of_the_contents_stops_a_removal(org: TestOrg) -> None:
    vault, before = Vault(org.operator()), org.state

    org.server.forge = lambda target, body: _swap(body) if target.endswith("/contents") else body
    with pytest.raises(IntegrityError):
        vault.commit(lambda draft: remove_from_group(draft, org.group("production"), [agent(org)], []))
    assert org.state is before


def _swap(body: bytes) -> bytes:
    found = decode_ciphertexts(body)
    (one, first), (two, second) = found.ciphertexts.items()
    return found.replace(ciphertexts={one: second, two: first}).encode()


@pytest.mark.parametrize("what", ["noise", "another place", "nothing"])
def test_an_entry_that_nobody_can_open_does_not_stand_in_the_way_of_a_removal(org: TestOrg, what: str) -> None:
    """An editor, who may write the profile, put it there."""
    profile, secret_id = org.profile("production"), b"secret of 16 b.."

    def spoil(draft: Draft) -> None:
        key = draft.keys.profile(profile.id)
        secret = Secret(name="SPOILT", value=b"v", note=b"", author=org.id("eve"), time=NOW)
        blob = {
            "noise": bytes(99),
            "another place": key.seal_secret(secret_id, 7, secret, draft.random),
            "nothing": b"",
        }[what]
        draft.write_entry(profile.id, secret_id, blob, epoch=profile.epoch)

    org.commit(spoil, "eve")
    held = Held(org)
    done = leave(org)
    assert done.unreadable == {secret_id: profile.id}
    entry = org.state.entries(profile.id)[secret_id]
    assert (entry.is_live, entry.version, entry.epoch) == (False, 2, 2)
    held.opens_nothing_of_now()
    assert values(org) == VALUES


@pytest.mark.parametrize("name", ["not legal", "API_KEY"])
def test_what_no_agent_takes_goes_with_a_removal(org: TestOrg, name: str) -> None:
    """It opens, but has no legal name, or that of another secret: of these the one that was written later goes."""
    profile, secret_id = org.profile("production"), bytes(15) + b"p"

    def spoil(draft: Draft) -> None:
        secret = Secret(name=name, value=b"v", note=b"", author=org.id("ada"), time=0)
        blob = draft.keys.profile(profile.id).seal_secret(secret_id, 1, secret, draft.random)
        draft.write_entry(profile.id, secret_id, blob, epoch=profile.epoch)

    org.commit(spoil, "eve")
    shown = f"se_{secret_id.hex()}"
    with pytest.raises(IntegrityError, match=rf"{shown} \(by eve\)"):
        values(org)
    org.commit(lambda draft: create_profile(draft, "later"))
    done = leave(org)
    assert [secret.name for secret in done.profiles[profile.id]] == ["API_KEY", "DATABASE_URL"]
    assert done.unreadable == {secret_id: profile.id}
    assert values(org) == VALUES


def test_what_no_agent_takes_is_deleted_by_its_id(org: TestOrg) -> None:
    profile, secret_id = org.profile("production"), b"secret of 16 b.."
    org.commit(lambda draft: draft.write_entry(profile.id, secret_id, b"noise", epoch=1), "eve")
    org.commit(lambda draft: delete_by_id(draft, profile, [secret_id, b"x" * 16]))
    assert values(org) == VALUES
    vault = Vault(org.operator())
    assert vault.commit(lambda draft: (delete_by_id(draft, profile, [secret_id]), draft.is_empty)[1])


def test_of_many_that_no_agent_takes_some_are_named(org: TestOrg) -> None:
    profile, ids = org.profile("production"), [bytes([n]) * 16 for n in range(7)]
    org.commit(lambda draft: [draft.write_entry(profile.id, id_, b"noise", epoch=1) for id_ in ids], "eve")
    with pytest.raises(IntegrityError, match=r"se_0404\w+ \(by eve\) and 2 more\.") as caught:
        values(org)
    assert "se_0505" not in caught.value.message
    assert caught.value.evidence == {"secrets": [id_.hex() for id_ in ids]}


def test_progress_is_told(org: TestOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stronghold_cli.vault.rekeying._PROGRESS_STEP", 1)
    told: list[tuple[str, int, int]] = []
    vault = Vault(org.operator())
    vault.progress = lambda *words: told.append(words)
    vault.commit(lambda draft: remove_from_group(draft, org.group("production"), [agent(org)], []))
    assert told == [("Sealing keys", n, 4) for n in (1, 2, 3, 4)] + [("Encrypting", 2, 2)]


def test_operators_join_a_group_after_a_new_epoch(org: TestOrg) -> None:
    leave(org)
    org.commit(lambda draft: add_operator(draft, org.group("production"), org.id("rob")))
    assert values(org, name="rob") == VALUES
