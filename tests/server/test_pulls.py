"""What an agent gets, and when it gets nothing (protocol sections 5, 6 and 8)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.crypto.keys import TokenSecret, open_group_key
from stronghold_cli.crypto.tokens import unlock_master_key
from stronghold_cli.protocol.audit import DEPRECATED
from stronghold_cli.protocol.documents.agent import Limits, Rate
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.leaves import DocumentLeaf, decode_entry_leaf, decode_member_leaf, document_key
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.documents.structure import Lockdown, Structure
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.messages_pull import decode_pull_answer, decode_self_answer
from stronghold_cli.protocol.org_chain import verify_chain
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.protocol.signed_map import verify_inclusion
from stronghold_server import pulls
from stronghold_server.app import create_app
from stronghold_server.states import KnownPull, KnownPulls
from stronghold_server.store.interface import Writer
from tests.server.furnished import Furnished
from tests.server.in_process import WAYS
from tests.server.support import AUTHORITY, Reply, TestOrg

ALL_LIMITS = Limits(addresses=(), rate=None, uses=None)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def refusal(full: Furnished, rest: str = "/v1/pull", *, address: str = "192.0.2.7") -> tuple[int, str]:
    """Status and code of a refused pull; its entry says the same."""
    reply = full.org.get_as_token(full.token, rest, address=address)
    assert b"share" not in reply.body
    entry = full.org.world.last(full.org.org_id)
    assert (entry.outcome, entry.code) == ("refused", reply.code)
    return reply.status, reply.code


def change_token(full: Furnished, **changes: object) -> None:
    draft = full.org.draft()
    full.org.change_token(draft, full.agent, full.token, **changes)
    full.org.apply(draft)


def uses_of(full: Furnished) -> int:
    with full.org.world.store.read() as reader:
        row = reader.token(full.token)
    assert row is not None
    return row.uses


def change_agent(full: Furnished, **changes: object) -> None:
    draft = full.org.draft()
    draft.agents[full.agent] = draft.agents[full.agent].replace(**changes)
    full.org.apply(draft)


def test_pull_delivers_everything_that_verifies_and_opens_one_profile(full: Furnished) -> None:
    reply = full.org.get_as_token(full.token, "/v1/pull?profile=production")
    answer = decode_pull_answer(reply.body)
    assert verify_chain(None, answer.org, anchor=full.org.pin).sha256 == full.org.pin
    head, structure = Head.decode(answer.head.payload), Structure.decode(answer.structure.payload)
    assert head == full.org.state.head.document
    for kind, proven in (("agent", answer.agent), ("profile", answer.profile), ("group", answer.group)):
        document = full.org.state.documents(kind)[{"agent": full.agent, "profile": full.profile, "group": full.group}[kind]]
        leaf = DocumentLeaf(name=document.name, sha256=digest(proven.payload)).encode()
        verify_inclusion(structure.documents, document_key(kind, document.id), leaf, proven.proof)
    group, profile = Group.decode(answer.group.payload), Profile.decode(answer.profile.payload)
    verify_inclusion(group.member_map, full.token, answer.member, answer.member_proof)
    verify_inclusion(head.contents, full.profile, answer.contents.sha256, answer.contents_proof)
    assert decode_member_leaf(answer.member).sealed_sha256 == digest(answer.seal)

    token = full.org.tokens[full.token].token
    master = unlock_master_key(token, TokenSecret(token.secret), answer.share)
    group_key = open_group_key(
        master.seal, full.org.org_id, group.id, group.epoch, "token", full.token, group.kcv, answer.seal
    )
    profile_key = group_key.unwrap(profile.id, profile.epoch, profile.kcv, answer.wrap)
    opened = {}
    for entry in answer.entries:
        assert entry.ciphertext is not None
        secret = profile_key.open_secret(entry.secret_id, decode_entry_leaf(entry.leaf).version, entry.ciphertext)
        opened[secret.name] = secret.value
    assert opened == {"DATABASE_URL": b"postgres://one", "API_KEY": b"two"}
    assert reply.headers["cache-control"] == "no-store"


def test_answers_that_are_put_together_from_kept_parts_are_as_whole_as_the_first(full: Furnished) -> None:
    first = full.org.get_as_token(full.token, "/v1/pull").body
    for _ in range(2):
        body = full.org.get_as_token(full.second_token, "/v1/pull").body
        answer, other = decode_pull_answer(body), decode_pull_answer(first)
        assert answer.encode() == body
        assert answer.share != other.share
        assert answer.seal != other.seal
        assert answer.member != other.member
        assert (answer.org, answer.entries, answer.wrap) == (other.org, other.entries, other.wrap)


def test_repeated_pulls_open_no_snapshot_and_follow_a_commit_all_the_same(
    full: Furnished, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    store, opened = full.org.world.store, []
    read = store.read
    monkeypatch.setattr(store, "read", lambda: opened.append(1) or read())
    bodies = [full.org.get_as_token(full.token, "/v1/pull").body for _ in range(3)]
    assert bodies[1] == bodies[2] == bodies[0]
    # Of each that the application answers: who asks, and for what; of the first that the short way gives up: who asks.
    assert len(opened) == {"application": 6, "quick": 3, "known": 0}[way]
    draft = full.org.draft()
    full.org.put(draft, full.profile, "NEWER", b"x")
    full.org.apply(draft)
    assert len(decode_pull_answer(full.org.get_as_token(full.token, "/v1/pull").body).entries) == 3


def fill(full: Furnished, count: int) -> None:
    """Put secrets into the profile until it holds so many."""
    draft = full.org.draft()
    for number in range(len(draft.leaves("entries", full.profile)), count):
        full.org.put(draft, full.profile, f"SECRET_{number}", b"x")
    full.org.apply(draft)


def gathered_in(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each answer that is gathered: whether that was in the event loop's thread, which is the test's own."""
    threads: list[bool] = []
    gather = pulls._gather

    def recorded(*given: Any) -> bytes:
        threads.append(threading.current_thread() is threading.main_thread())
        return gather(*given)

    monkeypatch.setattr(pulls, "_gather", recorded)
    return threads


@pytest.mark.parametrize(("more", "in_loop"), [(0, True), (1, False)])
def test_large_profiles_are_gathered_off_the_event_loop(
    full: Furnished, monkeypatch: pytest.MonkeyPatch, more: int, in_loop: bool
) -> None:
    count = pulls.MAX_QUICK + more
    fill(full, count)
    threads = gathered_in(monkeypatch)
    reply = full.org.get_as_token(full.token, "/v1/pull")
    assert len(decode_pull_answer(reply.body).entries) == count
    assert threads == [in_loop]
    # What all agents of the group get is kept: the rest is small, and made at once.
    assert full.org.get_as_token(full.second_token, "/v1/pull").status == 200
    assert full.org.get_as_token(full.token, "/v1/pull").body == reply.body
    assert threads == [in_loop]


def test_pull_that_leaves_the_event_loop_counts_once_against_the_rate(
    full: Furnished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulls, "MAX_QUICK", 1)
    change_token(full, limits=ALL_LIMITS.replace(rate=Rate(requests=1, seconds=60)))
    threads = gathered_in(monkeypatch)
    assert full.org.get_as_token(full.token, "/v1/pull").status == 200
    assert threads == [False]
    assert full.org.get_as_token(full.token, "/v1/pull").code == "RATE_LIMITED"


def test_signature_is_verified_where_the_answer_is_in_memory(full: Furnished) -> None:
    full.org.get_as_token(full.token, "/v1/pull")
    other = TokenSecret(full.org.tokens[full.second_token].token.secret).auth
    target = f"/v1/pull?org={full.org.pin.hex()}"
    reply = full.org.world.send(other, KeyId(kind="t", raw=full.token), "GET", target)
    assert (reply.status, reply.code) == (401, "SIGNATURE_INVALID")


def test_pull_from_an_older_org_document_brings_every_later_link(full: Furnished) -> None:
    org = full.org
    pin = org.pin
    for number in range(3):
        draft = org.draft()
        draft.org = draft.org.replace(name=f"Acme {number}")
        org.apply(draft)
    target = f"/v1/pull?org={pin.hex()}"
    answer = decode_pull_answer(org.send_as_token(full.token, "GET", target).body)
    assert len(answer.org) == 4
    assert verify_chain(None, answer.org, anchor=pin).name == "Acme 2"


def test_pull_from_an_org_document_that_never_was_is_told_as_such(full: Furnished) -> None:
    reply = full.org.send_as_token(full.token, "GET", f"/v1/pull?org={'00' * 32}")
    assert (reply.status, reply.code) == (409, "ANCHOR_UNKNOWN")


def test_pull_is_entered_with_the_contents_that_it_delivered(full: Furnished) -> None:
    full.org.get_as_token(full.token, "/v1/pull")
    entry = full.org.world.last(full.org.org_id)
    contents = full.org.state.contents[full.profile].document
    assert (entry.kind, entry.outcome, entry.code, entry.head_seq) == ("pull", "ok", "", full.org.state.seq)
    assert entry.key_id == KeyId(kind="t", raw=full.token)
    assert entry.document is not None
    assert (entry.document.kind, entry.document.id, entry.document.version, entry.document.sha256) == (
        "contents", full.profile, 1, contents.sha256,
    )  # fmt: skip


def test_two_tokens_get_their_own_share_and_seal_from_the_same_state(full: Furnished) -> None:
    for _ in range(2):
        for token_id in (full.token, full.second_token):
            answer = decode_pull_answer(full.org.get_as_token(token_id, "/v1/pull").body)
            assert answer.share == full.org.tokens[token_id].share
            assert decode_member_leaf(answer.member).sealed_sha256 == digest(answer.seal)


def test_self_shows_the_agent_its_groups_and_profiles_and_no_share(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    org.add_profile(draft, "hidden", org.add_group(draft, "Others"))
    org.apply(draft)
    reply = org.get_as_token(full.token, "/v1/self")
    answer = decode_self_answer(reply.body)
    assert answer.agent.payload == org.state.agents[full.agent].payload
    assert [Group.decode(proven.payload).id for proven in answer.groups] == [full.group]
    assert [Profile.decode(proven.payload).name for proven in answer.profiles] == ["production"]
    (own,) = answer.contents
    assert own.contents.sha256 == org.state.contents[full.profile].document.sha256
    assert own.entries == org.state.leaves("entries", full.profile)
    assert org.world.last(org.org_id).kind == "self"


def test_self_leaves_out_the_entries_of_very_large_profiles(full: Furnished, monkeypatch: pytest.MonkeyPatch) -> None:
    for most, is_there in ((2, True), (1, False)):
        monkeypatch.setattr(pulls, "MAX_OWN_ENTRIES", most)
        (own,) = decode_self_answer(full.org.get_as_token(full.token, "/v1/self").body).contents
        assert (own.entries is not None) == is_there


def test_self_leaves_the_event_loop_where_there_are_many_entries(full: Furnished, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    honest = pulls._own_contents

    def seen(*args: Any, **options: Any) -> Any:
        threads.append(threading.current_thread())
        return honest(*args, **options)

    monkeypatch.setattr(pulls, "_own_contents", seen)
    assert full.org.get_as_token(full.token, "/v1/self").status == 200  # the state is in memory now
    for most, is_in_loop in ((2, True), (1, False)):
        monkeypatch.setattr(pulls, "MAX_QUICK", most)
        assert full.org.get_as_token(full.token, "/v1/self").status == 200
        assert (threads[-1] is threading.main_thread()) == is_in_loop


def add_staging(full: Furnished) -> bytes:
    draft = full.org.draft()
    staging = full.org.add_profile(draft, "staging", full.group)
    full.org.apply(draft)
    return staging


def test_profile_is_chosen_by_name_by_id_or_by_being_the_only_one(full: Furnished) -> None:
    staging = add_staging(full)
    for query in ("profile=staging", "profile=STAGING", f"profile_id={staging.hex()}"):
        answer = decode_pull_answer(full.org.get_as_token(full.token, f"/v1/pull?{query}").body)
        assert Profile.decode(answer.profile.payload).id == staging
    assert refusal(full) == (409, "PROFILE_REQUIRED")


def test_profile_of_others_and_one_that_does_not_exist_are_told_alike(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    hidden = org.add_profile(draft, "hidden", org.add_group(draft, "Others"))
    org.apply(draft)
    replies: list[Reply] = [
        org.get_as_token(full.token, f"/v1/pull?{query}")
        for query in ("profile=hidden", "profile=nothing", f"profile_id={hidden.hex()}", f"profile_id={'00' * 16}")
    ]
    assert {(reply.status, reply.code) for reply in replies} == {(403, "PROFILE_FORBIDDEN")}
    assert len({reply.body for reply in replies}) == 1


def test_agent_without_a_profile_is_forbidden(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    token_id = org.mint(draft, org.add_agent(draft, "Loner"))
    org.apply(draft)
    assert org.get_as_token(token_id, "/v1/pull").code == "PROFILE_FORBIDDEN"


def test_several_granted_groups_give_the_lowest_one(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    groups = [org.add_group(draft, name) for name in ("A", "B", "C")]
    profile = org.add_profile(draft, "shared", *groups)
    token_id = org.mint(draft, org.add_agent(draft, "Member", *groups))
    org.apply(draft)
    answer = decode_pull_answer(org.get_as_token(token_id, f"/v1/pull?profile_id={profile.hex()}").body)
    assert Group.decode(answer.group.payload).id == min(groups)


# When it gets nothing.


def test_revoked_token_gets_nothing(full: Furnished) -> None:
    draft = full.org.draft()
    full.org.revoke(draft, full.agent, full.token)
    full.org.apply(draft)
    assert refusal(full) == (401, "TOKEN_REVOKED")
    assert full.org.get_as_token(full.second_token, "/v1/pull").status == 200


def test_token_of_a_deleted_agent_is_a_revoked_one(full: Furnished) -> None:
    draft = full.org.draft()
    for token_id in (full.token, full.second_token):
        full.org.revoke(draft, full.agent, token_id)
    draft.agents.pop(full.agent)
    full.org.rekey_group(draft, full.group)
    full.org.apply(draft)
    assert refusal(full) == (401, "TOKEN_REVOKED")


@pytest.mark.parametrize("whose", ["token", "agent"])
def test_token_is_good_up_to_its_end_and_not_after(full: Furnished, whose: str) -> None:
    end = full.org.world.now + 100
    change_token(full, not_after=end) if whose == "token" else change_agent(full, not_after=end)
    full.org.world.now = end - 1
    assert full.org.get_as_token(full.token, "/v1/pull").status == 200
    full.org.world.now = end
    assert refusal(full) == (401, "TOKEN_EXPIRED")
    assert refusal(full, "/v1/self") == (401, "TOKEN_EXPIRED")


def test_paused_agent_gets_nothing(full: Furnished) -> None:
    change_agent(full, state="paused")
    assert refusal(full) == (403, "AGENT_PAUSED")
    assert refusal(full, "/v1/self") == (403, "AGENT_PAUSED")


def test_deprecated_token_works_and_its_entry_says_so(full: Furnished) -> None:
    change_token(full, state="deprecated")
    assert full.org.get_as_token(full.token, "/v1/pull").status == 200
    entry = full.org.world.last(full.org.org_id)
    assert (entry.outcome, entry.code) == ("ok", DEPRECATED)


@pytest.mark.parametrize("by", ["all", "agent", "group", "label"])
def test_lockdown_comes_before_everything_else(full: Furnished, by: str) -> None:
    org = full.org
    draft = org.draft()
    draft.agents[full.agent] = draft.agents[full.agent].replace(labels={"team": "ops"}, state="paused")
    draft.lockdowns = (
        Lockdown(
            id=b"l" * 16,
            all=by == "all",
            groups=(full.group,) if by == "group" else (),
            agents=(full.agent,) if by == "agent" else (),
            labels=("team=ops",) if by == "label" else (),
            reason="leak",
            created=org.world.now,
        ),
    )
    org.apply(draft)
    assert refusal(full) == (403, "LOCKED_DOWN")
    draft = org.draft()
    draft.lockdowns = ()
    org.apply(draft)
    assert refusal(full) == (403, "AGENT_PAUSED")


def test_address_limits_hold(full: Furnished) -> None:
    change_token(full, limits=ALL_LIMITS.replace(addresses=("10.0.0.0/8", "2001:db8::/32")))
    assert refusal(full, address="192.0.2.7") == (403, "ADDRESS_DENIED")
    assert refusal(full, address="unknown") == (403, "ADDRESS_DENIED")
    for address in ("10.1.2.3", "2001:db8::5", "::ffff:10.1.2.3"):
        assert full.org.get_as_token(full.token, "/v1/pull", address=address).status == 200


def test_uses_are_counted_across_restarts(full: Furnished) -> None:
    allowed = uses_of(full) + 2
    change_token(full, limits=ALL_LIMITS.replace(uses=allowed))
    assert full.org.get_as_token(full.token, "/v1/self").status == 200
    assert full.org.get_as_token(full.token, "/v1/pull").status == 200
    full.org.world.restart()
    assert full.org.get_as_token(full.token, "/v1/pull").status == 200
    for rest in ("/v1/pull", "/v1/pull?profile=nothing", "/v1/self"):
        assert refusal(full, rest) == (403, "TOKEN_EXHAUSTED")
    assert uses_of(full) == allowed


def test_last_use_is_not_taken_by_two_requests_at_once(full: Furnished) -> None:
    change_token(full, limits=ALL_LIMITS.replace(uses=uses_of(full) + 1))
    world = full.org.world
    target = f"/v1/pull?org={full.org.pin.hex()}"
    key = TokenSecret(full.org.tokens[full.token].token.secret).auth

    async def all_at_once() -> list[Reply]:
        signed = [world.sign(key, KeyId(kind="t", raw=full.token), "GET", target) for _ in range(5)]
        return await asyncio.gather(*(world.request("GET", target, b"", headers) for headers in signed))

    codes = sorted(reply.code for reply in world.loop.run_until_complete(all_at_once()))
    assert codes == ["", *["TOKEN_EXHAUSTED"] * 4]


def test_rate_is_limited_without_an_entry_and_with_the_time_to_wait(full: Furnished) -> None:
    change_token(full, limits=ALL_LIMITS.replace(rate=Rate(requests=2, seconds=60)))
    org = full.org
    for _ in range(2):
        assert org.get_as_token(full.token, "/v1/pull").status == 200
        org.world.now += 10
    entries = len(org.world.log(org.org_id))
    reply = org.get_as_token(full.token, "/v1/pull")
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (429, "RATE_LIMITED", "40")
    assert len(org.world.log(org.org_id)) == entries
    org.world.now += 40
    assert org.get_as_token(full.token, "/v1/pull").status == 200


def before_the_next_write(full: Furnished, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let ``act`` happen after the next request was prepared, and before it is carried out."""
    store = full.org.world.store
    write = store.write

    def act_and_write(work: Callable[[Writer], Any]) -> Any:
        monkeypatch.setattr(store, "write", write)
        act()
        return store.write(work)

    monkeypatch.setattr(store, "write", act_and_write)


def test_token_that_ends_while_its_pull_is_prepared_gets_nothing(full: Furnished, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a token is looked at in the transaction of the entry: an answer made a moment earlier is not sent."""
    org, world = full.org, full.org.world
    write = world.store.write

    def expire() -> None:
        write(lambda writer: writer.end_token(org.org_id, full.token, "expired", world.now)).result()

    before_the_next_write(full, monkeypatch, expire)
    assert refusal(full) == (401, "TOKEN_EXPIRED")


@pytest.mark.parametrize("revoked", [True, False])
def test_commit_of_another_process_while_a_pull_is_prepared_counts(
    full: Furnished, monkeypatch: pytest.MonkeyPatch, revoked: bool
) -> None:
    """What is delivered belongs to the head that stands in the transaction of the entry."""
    org, world = full.org, full.org.world
    org.get_as_token(full.token, "/v1/pull")  # this state, and its answer, are in memory now
    draft = org.draft()
    if revoked:
        org.revoke(draft, full.agent, full.token)
    else:
        org.put(draft, full.profile, "NEWER", b"x")
    commit = draft.finish()
    body, target = commit.encode(), f"{org.path}/commits"
    key_id = KeyId(kind="o", raw=org.admin.operator_id)
    replica = create_app(world.store, world.settings, world.log_key, clock=lambda: world.now)
    headers = world.sign(org.admin.keyset.request, key_id, "POST", target, body)

    def commit_elsewhere() -> None:
        thread = threading.Thread(
            target=lambda: asyncio.run(world.request("POST", target, body, headers, application=replica))
        )
        thread.start()
        thread.join()

    before_the_next_write(full, monkeypatch, commit_elsewhere)
    if revoked:
        assert refusal(full) == (401, "TOKEN_REVOKED")
    else:
        answer = decode_pull_answer(org.get_as_token(full.token, "/v1/pull").body)
        assert answer.head == commit.changes.heads[0]
        assert len(answer.entries) == 3


def test_without_an_entry_there_is_no_secret(full: Furnished) -> None:
    """Attack 56: the log takes no entry, since the clock is behind it."""
    org = full.org
    entries, uses = len(org.world.log(org.org_id)), uses_of(full)
    org.world.now -= 61
    reply = org.get_as_token(full.token, "/v1/pull")
    assert (reply.status, reply.code) == (503, "CLOCK_BEHIND")
    assert org.tokens[full.token].share not in reply.body
    assert len(org.world.log(org.org_id)) == entries
    assert uses_of(full) == uses


def test_other_orgs_see_nothing_of_it(full: Furnished) -> None:
    other = TestOrg(full.org.world, "Other").create()
    full.org.get_as_token(full.token, "/v1/pull")
    assert [entry.kind for entry in full.org.world.log(other.org_id)] == ["genesis"]
    assert AUTHORITY in full.org.world.last(full.org.org_id).signature_base


def test_token_without_a_share_gets_nothing(full: Furnished) -> None:
    """As after a share was deleted and the row of the token, by a fault, was not ended."""
    assert full.org.get_as_token(full.token, "/v1/pull").status == 200
    full.org.world.store.write(lambda writer: writer.delete_share(full.org.org_id, full.token)).result()
    assert refusal(full) == (401, "TOKEN_REVOKED")


def test_pulls_that_are_known_are_bounded() -> None:
    pulls = KnownPulls(limit=2)
    known = {name: KnownPull(live=None, document=None, group_id=b"", anchor=name.encode()) for name in "abc"}  # type: ignore[arg-type]
    for name, pull in known.items():
        pulls.keep((b"token", name), pull)
    assert [pulls.get((b"token", name)) for name in "abc"] == [None, known["b"], known["c"]]
