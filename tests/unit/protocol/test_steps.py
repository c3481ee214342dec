"""``steps.check_step``: a genuine commit passes, and each broken rule of a step is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.protocol.documents.base import NO_EXTENSIONS
from stronghold_cli.protocol.documents.invite import Invite
from stronghold_cli.protocol.documents.leaves import OldKeyLeaf, decode_entry_leaf, decode_member_leaf, leaf_link
from stronghold_cli.protocol.documents.org import Resume
from stronghold_cli.protocol.documents.profile import Grant
from stronghold_cli.protocol.documents.structure import Lockdown
from stronghold_cli.protocol.errors import IntegrityError, Refused, RuleError
from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.state import Changes, OrgState, Signed, advance
from stronghold_cli.protocol.steps import RESUME_JUMP, check_genesis, check_past_step, check_step, new_ids
from stronghold_cli.vault.agents import create_agent, mint, revoke
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import add_agent, create_group, grant
from stronghold_cli.vault.profiles import create_profile, write_secrets
from tests.support.org import ADDRESS, NOTHING, NOW, TestOrg, found, renew_group, workshop
from tests.support.states import fitting


class Step:
    """One genuine commit: the states around it, its changes and its author."""

    def __init__(self, act: Callable[[TestOrg, Draft], Any], name: str = "ada", org: TestOrg | None = None) -> None:
        self.org = org or workshop()
        draft = self.org.draft(name)
        act(self.org, draft)
        commit, self.after = draft.finish()
        self.before, self.changes, self.author = self.org.state, commit.changes, self.org.id(name)

    def check(self, after: OrgState | None = None, changes: Changes | None = None, author: bytes | None = None) -> None:
        after = self.after if after is None else fitting(after)
        check_step(self.before, after, changes or self.changes, author or self.author)

    def refuse(self, message: str, **how: Any) -> None:
        self.check()
        with pytest.raises(RuleError, match=message):
            self.check(**how)

    def group(self, name: str = "production", **members: Any) -> OrgState:
        group = next(item for item in self.after.groups.values() if item.name == name).replace(**members)
        return self.after.replace(groups={**self.after.groups, group.id: group})

    def profile(self, name: str = "production", **members: Any) -> OrgState:
        profile = next(item for item in self.after.profiles.values() if item.name == name).replace(**members)
        return self.after.replace(profiles={**self.after.profiles, profile.id: profile})

    def agent(self, name: str = "bot", **members: Any) -> OrgState:
        agent = next(item for item in self.after.agents.values() if item.name == name).replace(**members)
        return self.after.replace(agents={**self.after.agents, agent.id: agent})

    def leaves(self, kind: str, name: str, change: dict[bytes, bytes | None]) -> OrgState:
        owners: Any = self.after.groups if kind == "members" else self.after.profiles
        owner = next(item for item in owners.values() if item.name == name)
        leaves = {**self.after.leaves(kind, owner.id), **change}
        present = {key: value for key, value in leaves.items() if value is not None}
        return self.after.replace(maps={**self.after.maps, (kind, owner.id): present})

    def contents(self, state: OrgState | None = None, name: str = "production", **members: Any) -> OrgState:
        state = state or self.after
        profile_id = self.org.profile(name).id
        document = state.contents[profile_id].document.replace(**members)
        item = Signed(document=document, envelope=self.org.sign(document))
        return state.replace(contents={**state.contents, profile_id: item})


def write(org: TestOrg, draft: Draft) -> None:
    write_secrets(draft, org.profile("production"), {}, {"NEW": b"v"})


def describe(org: TestOrg, draft: Draft) -> None:
    draft.put(org.profile("production").replace(description="changed"))


def renew(org: TestOrg, draft: Draft) -> None:
    renew_group(draft, org.group("production"), frozenset([org.id("eve")]))


def mint_another(org: TestOrg, draft: Draft) -> None:
    (agent,) = org.state.agents.values()
    mint(draft, agent, "second", ADDRESS)


# Genesis


def test_a_genesis_begins_at_1_with_one_admin_and_nothing_else() -> None:
    org = found()
    changes = org.server.sync(0, 0)
    check_genesis(org.state, changes, org.id("ada"))

    def refuse(message: str, state: OrgState, changes: Changes = changes, author: bytes = org.id("ada")) -> None:
        with pytest.raises(RuleError, match=message):
            check_genesis(state, changes, author)

    state, structure, head = org.state, org.state.structure, org.state.head
    refuse("does not name its author", state, author=b"a" * 16)
    more = workshop()
    refuse("does not name its author", more.state)
    refuse("does not begin at 1", state, changes.replace(org=changes.org * 2))
    for part in ({"seq": 2}, {"prev": b"p" * 32}):
        refuse("does not begin at 1", state.replace(head=head.replace(document=head.document.replace(**part))))
        refuse(
            "does not begin at 1", state.replace(structure=structure.replace(document=structure.document.replace(**part)))
        )
    for kind in ("agents", "groups", "profiles", "invites"):
        refuse("holds more than", state.replace(**{kind: {b"x" * 16: None}}))
    line = Lockdown(id=bytes(16), all=True, groups=(), agents=(), labels=(), reason="", created=NOW)
    locked = structure.replace(document=structure.document.replace(lockdowns=(line,)))
    refuse("holds more than", state.replace(structure=locked))
    other = found("other")
    other.keysets["mal"] = other.keysets["ada"]
    for kind in ("head", "structure"):
        item = getattr(state, kind)
        forged = item.replace(envelope=other.sign(item.document, "mal"))
        refuse("not that of the commit's author", state.replace(**{kind: forged}))


# Numbers


def test_a_commit_holds_one_new_head_and_at_most_one_org_document() -> None:
    step = Step(write)
    step.refuse("more than one head or org document", changes=step.changes.replace(heads=step.changes.heads * 2))
    step.refuse("more than one head or org document", changes=step.changes.replace(heads=()))
    links = step.org.org_changes().org
    step.refuse("more than one head or org document", changes=step.changes.replace(org=links * 2))
    step.refuse("holds no new head", after=step.after.replace(head=step.before.head))


@pytest.mark.parametrize("members", [{"seq": 1}, {"prev": bytes(32)}])
def test_a_new_structure_follows_the_one_before(members: dict[str, Any]) -> None:
    step = Step(describe)
    structure = step.after.structure
    changed = structure.replace(document=structure.document.replace(**members))
    step.refuse("structure does not follow", after=step.after.replace(structure=changed))


def test_an_invite_never_changes() -> None:
    step = Step(describe)
    invite = Invite(
        org_id=step.org.state.org_id, id=b"i" * 16, public_key=SigningKey(b"i" * 32).public, role="reader", name="guest",
        created=NOW, not_after=NOW, **NO_EXTENSIONS,
    )  # fmt: skip
    step.before = step.before.replace(invites={invite.id: invite})
    step.after = step.after.replace(invites={invite.id: invite})
    step.refuse("an invite changes", after=step.after.replace(invites={invite.id: invite.replace(role="admin")}))


# Authors


@pytest.mark.parametrize("part", ["heads", "contents", "structure", "org"])
def test_every_new_signature_is_the_authors(part: str) -> None:
    step = Step(lambda org, draft: (write(org, draft), describe(org, draft)))
    link = step.org.org_changes().org
    step.changes = step.changes.replace(org=link)
    forged: Any = {
        "heads": lambda: (step.org.sign(step.after.head.document, "eve"),),
        "contents": lambda: (step.org.sign(step.after.contents[step.org.profile("production").id].document, "eve"),),
        "structure": lambda: step.org.sign(step.after.structure.document, "eve"),
        "org": lambda: (step.org.sign(step.after.org.document, "eve"),),
    }[part]()
    step.refuse("not that of the commit's author", changes=step.changes.replace(**{part: forged}))


def test_roots_org_document_needs_no_signature_of_the_author() -> None:
    step = Step(describe)
    link = step.org.org_changes(signer="root").org
    step.check(changes=step.changes.replace(org=link))


def test_an_editor_writes_contents_of_the_own_profiles() -> None:
    step = Step(write, "eve")
    step.check()
    unlisted = step.profile(editors=())
    step.refuse("an editor writes a profile that does not list them", after=unlisted)


@pytest.mark.parametrize("what", ["org", "structure", "payloads", "documents", "members", "old_keys"])
def test_an_editor_changes_nothing_but_contents(what: str) -> None:
    step = Step(write, "eve")
    org = step.org
    more: dict[str, Any] = {
        "org": lambda: {"org": org.org_changes(signer="eve").org},
        "structure": lambda: {"structure": org.sign(org.state.structure.document, "eve")},
        "payloads": lambda: {"payloads": (b"{}",)},
    }.get(what, lambda: {"maps": {**step.changes.maps, (what, b"m" * 16): {}}})()
    step.refuse("no admin changes more than contents", changes=step.changes.replace(**more))


@pytest.mark.parametrize("name", ["rob", "una"])
def test_readers_and_auditors_write_nothing(name: str) -> None:
    step = Step(write)
    head = step.org.sign(step.after.head.document, name)
    contents = step.org.sign(step.after.contents[step.org.profile("production").id].document, name)
    changes = step.changes.replace(heads=(head,), contents=(contents,))
    step.refuse("no admin changes more than contents", changes=changes, author=step.org.id(name))


# Versions and tokens


@pytest.mark.parametrize("version", [1, 2, 4])
def test_a_documents_version_rises_by_one(version: int) -> None:
    step = Step(describe)
    assert step.after.profiles[step.org.profile("production").id].version == 3
    step.refuse("version does not rise by one", after=step.profile(version=version))


@pytest.mark.parametrize("kind", ["agent", "group", "profile"])
def test_a_new_document_begins_at_version_1(kind: str) -> None:
    def everything(org: TestOrg, draft: Draft) -> None:
        create_profile(draft, "new")
        create_agent(draft, "new", [])

    step = Step(everything)
    step.refuse("version does not rise by one", after=getattr(step, kind)("new", version=2))


def test_a_token_never_moves_and_a_new_one_names_its_maker() -> None:
    step = Step(mint_another)
    bot = next(iter(step.after.agents.values()))
    new_id = next(iter(bot.tokens.keys() - step.before.agents[bot.id].tokens.keys()))
    old_id = next(iter(step.before.agents[bot.id].tokens))
    made = bot.tokens[new_id].replace(created_by=step.org.id("eve"))
    step.refuse("does not name its maker", after=step.agent(tokens={**bot.tokens, new_id: made}))
    moved = Step(make_another)
    robbed = moved.agent("bot", tokens={})
    other = next(item for item in robbed.agents.values() if item.name == "other")
    after = robbed.replace(agents={**robbed.agents, other.id: other.replace(tokens={old_id: bot.tokens[old_id]})})
    moved.refuse("moves to another agent", after=after)


def make_another(org: TestOrg, draft: Draft) -> None:
    """One agent more, in the same commit as a change of the one that is there."""
    create_agent(draft, "other", [])
    (agent,) = org.state.agents.values()
    draft.put(agent.replace(description="changed"))


@pytest.mark.parametrize(
    "change",
    [
        {"auth_public_key": SigningKey(b"x" * 32).public},
        {"seal_sha256": bytes(32)},
        {"last4": "AAAA"},
        {"created": 1},
        {"created_by": bytes(16)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_never_changes_in_a_token_stays(change: dict[str, Any]) -> None:
    def pause(org: TestOrg, draft: Draft) -> None:
        (agent,) = org.state.agents.values()
        draft.put(agent.replace(state="paused"))

    step = Step(pause)
    ((token_id, token),) = next(iter(step.after.agents.values())).tokens.items()
    step.check(after=step.agent(tokens={token_id: token.replace(name="other", state="deprecated", not_after=1)}))
    step.refuse("what never changes in a token changes", after=step.agent(tokens={token_id: token.replace(**change)}))


# Lockdowns


def stop(org: TestOrg, draft: Draft) -> None:
    (agent,), group = org.state.agents.values(), org.group("staging")
    line = Lockdown(
        id=b"l" * 16, all=False, groups=(group.id,), agents=(agent.id,), labels=("env=ci",), reason="leak", created=NOW
    )
    draft.lockdowns = (*draft.lockdowns, line)


def lockdowns_of(step: Step, *lockdowns: Lockdown) -> OrgState:
    structure = step.after.structure
    return step.after.replace(structure=structure.replace(document=structure.document.replace(lockdowns=lockdowns)))


@pytest.mark.parametrize("members", [{"agents": (b"x" * 16,)}, {"groups": (b"x" * 16,)}])
def test_a_new_lockdown_names_what_exists(members: dict[str, Any]) -> None:
    step = Step(stop)
    (line,) = step.after.structure.document.lockdowns
    step.refuse("names an agent or group that does not exist", after=lockdowns_of(step, line.replace(**members)))


@pytest.mark.parametrize(
    "members",
    [{"reason": "other"}, {"created": 1}, {"agents": ()}, {"groups": ()}, {"labels": ()}],
)
def test_a_lockdown_never_changes(members: dict[str, Any]) -> None:
    org = workshop()
    org.commit(lambda draft: stop(org, draft))
    step = Step(describe, org=org)
    (line,) = step.after.structure.document.lockdowns
    step.refuse("a lockdown changes", after=lockdowns_of(step, line.replace(**members)))


def test_a_lockdown_outlives_the_agent_that_it_names_and_goes_whole() -> None:
    org = workshop()
    org.commit(lambda draft: stop(org, draft))
    (agent,) = org.state.agents.values()
    step = Step(lambda org, draft: draft.put(agent.replace(labels={})), org=org)
    step.check(after=step.after.replace(agents={}, groups=step.after.groups))

    def lift(_: TestOrg, draft: Draft) -> None:
        draft.lockdowns = ()

    step = Step(lift, org=org)
    step.check()
    assert step.after.structure.document.lockdowns == ()
    assert step.after.structure.document.documents == step.before.structure.document.documents


@pytest.mark.parametrize("name", ["eve", "rob", "una"])
def test_only_an_admin_locks_down(name: str) -> None:
    org = workshop()
    draft = org.draft(name)
    stop(org, draft)
    with pytest.raises((IntegrityError, Refused)):
        draft.finish()
    with pytest.raises(Refused, match="Your role"):
        draft.require_allowed()


# Groups


def test_a_new_group_or_profile_begins_at_epoch_1() -> None:
    step = Step(lambda org, draft: create_profile(draft, "new"))
    step.refuse("new group does not begin at epoch 1", after=step.group("new", epoch=2))
    step.refuse("new profile does not begin at epoch 1", after=step.profile("new", epoch=2))


def test_a_groups_key_changes_only_with_its_epoch() -> None:
    step = Step(lambda org, draft: draft.put(org.group("production").replace(name="renamed")))
    step.refuse("key changes without a new epoch", after=step.group("renamed", kcv=bytes(32)))
    step.refuse("epoch does not rise by one with a new key", after=step.group("renamed", epoch=2))
    step.refuse("epoch does not rise by one with a new key", after=step.group("renamed", epoch=3, kcv=bytes(32)))


def test_revoking_a_token_needs_no_new_epoch() -> None:
    def end(org: TestOrg, draft: Draft) -> None:
        (agent,) = org.state.agents.values()
        revoke(draft, agent, next(iter(agent.tokens)))

    Step(end).check()


def test_a_fresh_seal_to_the_same_key_needs_no_new_epoch() -> None:
    step = Step(lambda org, draft: draft.put(org.group("production").replace(name="renamed")))
    ada = step.org.id("ada")
    leaf = step.after.group_members(step.org.group("production").id)[ada]
    step.check(after=step.leaves("members", "renamed", {ada: leaf.replace(sealed_sha256=bytes(32)).encode()}))
    other = leaf.replace(seal_sha256=bytes(32), sealed_sha256=bytes(32)).encode()
    step.refuse("member goes without a new epoch", after=step.leaves("members", "renamed", {ada: other}))


def test_a_member_that_goes_raises_the_epoch() -> None:
    step = Step(lambda org, draft: draft.put(org.group("production").replace(name="renamed")))
    gone = step.leaves("members", "renamed", {step.org.id("eve"): None})
    step.refuse("member goes without a new epoch", after=gone)


@pytest.mark.parametrize("how", ["deleted", "left", "still there"])
def test_a_token_whose_agent_goes_or_leaves_raises_the_epoch(how: str) -> None:
    step = Step(lambda org, draft: draft.put(org.group("production").replace(name="renamed")))
    (agent,) = step.after.agents.values()
    without = step.leaves("members", "renamed", dict.fromkeys(agent.tokens))
    agents = {
        "deleted": {},
        "left": {agent.id: agent.replace(groups=(), tokens={}, version=agent.version + 1)},
        "still there": {agent.id: agent},
    }[how]
    step.refuse("member goes without a new epoch", after=without.replace(agents=agents))


def test_a_new_epoch_keeps_no_old_seal() -> None:
    step = Step(renew)
    group = step.org.group("production")
    old = step.before.leaves("members", group.id)[step.org.id("ada")]
    sealed = decode_member_leaf(old).sealed_sha256
    now = step.after.group_members(group.id)[step.org.id("ada")].replace(sealed_sha256=sealed).encode()
    step.refuse("keeps an old seal", after=step.leaves("members", "production", {step.org.id("ada"): now}))


@pytest.mark.parametrize(("not_after", "legal"), [(NOW + 1, True), (NOW, False)])
def test_a_new_epoch_is_not_sealed_to_an_expired_token(not_after: int, legal: bool) -> None:
    step = Step(renew)
    (agent,) = step.after.agents.values()
    ((token_id, token),) = agent.tokens.items()
    dated = {agent.id: agent.replace(tokens={token_id: token.replace(not_after=not_after)})}
    step.before = fitting(step.before.replace(agents=dated))
    after = step.after.replace(agents=dated)
    if legal:
        step.check(after=after)
    else:
        with pytest.raises(RuleError, match="sealed to an expired token"):
            step.check(after=after)


# Profiles


def test_a_grant_that_goes_raises_the_profiles_epoch() -> None:
    step = Step(describe)
    step.refuse("reader goes without a new epoch", after=step.profile(grants={}))


def test_a_groups_new_epoch_raises_that_of_its_profiles() -> None:
    step = Step(renew)
    profile = step.org.profile("production")
    maps = {**step.after.maps, ("old_keys", profile.id): step.before.leaves("old_keys", profile.id)}
    after = step.after.replace(profiles={**step.after.profiles, profile.id: profile}, maps=maps)
    step.refuse("reader goes without a new epoch", after=after)


def test_a_granted_group_that_is_deleted_raises_the_profiles_epoch() -> None:
    step = Step(describe)
    groups = {id_: group for id_, group in step.after.groups.items() if group.name != "production"}
    step.refuse("reader goes without a new epoch", after=step.after.replace(groups=groups))


def test_a_profiles_keys_change_only_with_its_epoch() -> None:
    step = Step(describe)
    step.refuse("keys change without a new epoch", after=step.profile(kcv=bytes(32)))
    step.refuse("epoch does not rise by one with a new key", after=step.profile(epoch=2))
    step.refuse("epoch does not rise by one with a new key", after=step.profile(epoch=3, kcv=bytes(32)))


def test_a_profiles_new_epoch_keeps_no_old_wrap() -> None:
    step = Step(renew)
    (wrap,) = [grant.wrap_sha256 for grant in step.org.profile("production").grants.values()]
    grants = {step.org.group("production").id: Grant(epoch=2, wrap_sha256=wrap)}
    step.refuse("keeps an old wrap or box", after=step.profile(grants=grants))


EPOCH_1, EPOCH_2 = (1).to_bytes(8, "big"), (2).to_bytes(8, "big")


def renewed_twice() -> Step:
    org = workshop()
    org.commit(lambda draft: renew_group(draft, org.group("production")))
    return Step(renew, org=org)


def test_old_keys_are_those_that_the_profile_had() -> None:
    step = renewed_twice()
    kcv = step.org.profile("production").kcv
    assert step.after.old_keys(step.org.profile("production").id)[2].kcv == kcv
    for epoch in (EPOCH_1, EPOCH_2, (7).to_bytes(8, "big")):
        forged = OldKeyLeaf(kcv=bytes(32), box_sha256=bytes(32)).encode()
        step.refuse("old key is not one that the profile had", after=step.leaves("old_keys", "production", {epoch: forged}))


def test_a_new_epoch_keeps_no_old_box_and_without_one_no_box_changes() -> None:
    step = renewed_twice()
    profile = step.org.profile("production")
    old = step.before.leaves("old_keys", profile.id)[EPOCH_1]
    step.refuse("keeps an old wrap or box", after=step.leaves("old_keys", "production", {EPOCH_1: old}))
    org = workshop()
    org.commit(lambda draft: renew_group(draft, org.group("production")))
    same = Step(describe, org=org)
    leaf = same.after.old_keys(profile.id)[1].replace(box_sha256=bytes(32)).encode()
    same.refuse("keys change without a new epoch", after=same.leaves("old_keys", "production", {EPOCH_1: leaf}))
    same.check(after=same.leaves("old_keys", "production", {EPOCH_1: None}))


# Contents and entries


@pytest.mark.parametrize("members", [{"seq": 5}, {"prev": bytes(32)}, {"version": 9}])
def test_a_contents_follows_the_one_before(members: dict[str, Any]) -> None:
    step = Step(write)
    step.refuse("contents does not follow", after=step.contents(**members))


def test_a_new_contents_begins_at_version_1() -> None:
    step = Step(lambda org, draft: create_profile(draft, "new"))
    profile = next(item for item in step.after.profiles.values() if item.name == "new")
    for members in ({"version": 2}, {"prev": b"p" * 32}, {"seq": 1}):
        item = step.after.contents[profile.id]
        changed = {**step.after.contents, profile.id: item.replace(document=item.document.replace(**members))}
        step.refuse("contents does not follow", after=step.after.replace(contents=changed))


def test_after_a_resume_versions_jump() -> None:
    step = Step(write)
    resume = Resume(head_sha256=step.before.head.document.sha256, seq=1)
    org = step.after.org.replace(document=step.after.org.document.replace(resume=resume))
    jumped = step.contents(version=RESUME_JUMP + 9)
    with pytest.raises(RuleError, match="contents does not follow"):
        step.check(after=jumped)
    step.check(after=jumped.replace(org=org))
    with pytest.raises(RuleError, match="contents does not follow"):
        step.check(after=step.contents(version=RESUME_JUMP).replace(org=org))
    other = org.replace(document=org.document.replace(resume=resume.replace(head_sha256=bytes(32))))
    with pytest.raises(RuleError, match="contents does not follow"):
        step.check(after=jumped.replace(org=other))


def rewrite(org: TestOrg, draft: Draft) -> None:
    """A new version of the first secret."""
    key = min(org.state.leaves("entries", org.profile("production").id))
    draft.write_entry(org.profile("production").id, key, b"another ciphertext", epoch=1)


def entry_step(act: Callable[[TestOrg, Draft], Any] = rewrite, name: str = "ada") -> tuple[Step, bytes, Any, bytes]:
    step = Step(act, name)
    profile_id = step.org.profile("production").id
    key = min(step.before.leaves("entries", profile_id))
    return step, key, step.after.entries(profile_id)[key], step.before.leaves("entries", profile_id)[key]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 2}, "does not carry the profile's epoch"),
        ({"prev": bytes(32)}, "an entry does not follow the one before"),
        ({"version": 1}, "version does not rise by one"),
        ({"version": 3}, "version does not rise by one"),
    ],
)
def test_an_entry_follows_the_one_before(change: dict[str, Any], message: str) -> None:
    step, key, leaf, _ = entry_step()
    step.refuse(message, after=step.leaves("entries", "production", {key: leaf.replace(**change).encode()}))


def test_a_new_version_has_a_new_ciphertext() -> None:
    step, key, leaf, old = entry_step()
    same = leaf.replace(ciphertext_sha256=decode_entry_leaf(old).ciphertext_sha256)
    step.refuse("keeps its ciphertext", after=step.leaves("entries", "production", {key: same.encode()}))


def test_a_deleted_entry_may_be_written_again() -> None:
    org = workshop()
    profile_id = org.profile("production").id
    key = min(org.state.leaves("entries", profile_id))
    org.commit(lambda draft: draft.write_entry(profile_id, key, None, epoch=1))
    org.commit(lambda draft: draft.write_entry(profile_id, key, b"again", epoch=1))
    assert [org.state.entries(profile_id)[key].version, org.state.entries(profile_id)[key].is_live] == [3, True]


def test_a_deleted_entry_is_not_deleted_again() -> None:
    org = workshop()
    profile_id = org.profile("production").id
    key = min(org.state.leaves("entries", profile_id))
    org.commit(lambda draft: draft.write_entry(profile_id, key, None, epoch=1))
    draft = org.draft()
    draft.write_entry(profile_id, key, None, epoch=1)
    with pytest.raises(RuleError, match="version does not rise by one"):
        draft.finish()


def test_an_entry_is_never_gone_without_a_trace() -> None:
    step, key, _, _ = entry_step()
    step.refuse("gone without a trace", after=step.leaves("entries", "production", {key: None}))


def test_a_new_entry_begins_at_version_1_alive() -> None:
    step = Step(write)
    profile_id = step.org.profile("production").id
    (key,) = step.after.leaves("entries", profile_id).keys() - step.before.leaves("entries", profile_id).keys()
    leaf = step.after.entries(profile_id)[key]
    for change in ({"version": 2}, {"version": 2, "oldest": 2}, {"prev": b"p" * 32}, {"ciphertext_sha256": bytes(32)}):
        changed = step.leaves("entries", "production", {key: leaf.replace(**change).encode()})
        step.refuse("does not begin at version 1", after=changed)


def test_a_purge_is_an_admins_and_never_undone() -> None:
    step, key, leaf, _ = entry_step()
    higher = step.leaves("entries", "production", {key: leaf.replace(oldest=2).encode()})
    step.check(after=higher)
    eve, key, leaf, _ = entry_step(name="eve")
    eve.refuse(
        "oldest version falls, or is raised",
        after=eve.leaves("entries", "production", {key: leaf.replace(oldest=2).encode()}),
    )
    step.before = step.before.replace(maps=with_oldest(step, key, 2))
    link = leaf_link(key, step.before.leaves("entries", step.org.profile("production").id)[key])
    fallen = step.leaves("entries", "production", {key: leaf.replace(version=3, oldest=1, prev=link).encode()})
    with pytest.raises(RuleError, match="oldest version falls, or is raised"):
        step.check(after=fallen)


def with_oldest(step: Step, key: bytes, oldest: int) -> Any:
    map_id = ("entries", step.org.profile("production").id)
    leaf = decode_entry_leaf(step.before.maps[map_id][key]).replace(version=oldest, oldest=oldest)
    return {**step.before.maps, map_id: {**step.before.maps[map_id], key: leaf.encode()}}


def test_a_purge_alone_keeps_everything_else() -> None:
    step, key, _, _ = entry_step()
    step.before = step.before.replace(maps=with_oldest(step, key, 2))
    map_id = ("entries", step.org.profile("production").id)
    raw = step.before.maps[map_id][key]
    before = decode_entry_leaf(raw).replace(oldest=1)
    step.before = step.before.replace(maps={**step.before.maps, map_id: {**step.before.maps[map_id], key: before.encode()}})
    purged = before.replace(oldest=2, prev=leaf_link(key, before.encode()))
    step.check(after=step.leaves("entries", "production", {key: purged.encode()}))
    changed = purged.replace(ciphertext_sha256=b"c" * 32)
    with pytest.raises(RuleError, match="version does not rise by one"):
        step.check(after=step.leaves("entries", "production", {key: changed.encode()}))


def test_a_rekey_keeps_the_version_and_changes_the_ciphertext() -> None:
    step, key, leaf, old = entry_step(renew)
    assert (leaf.version, leaf.epoch) == (1, 2)
    same = leaf.replace(ciphertext_sha256=decode_entry_leaf(old).ciphertext_sha256)
    step.refuse("keeps its ciphertext", after=step.leaves("entries", "production", {key: same.encode()}))
    dead = leaf.replace(ciphertext_sha256=bytes(32))
    step.refuse("version does not rise by one", after=step.leaves("entries", "production", {key: dead.encode()}))


def test_new_ids_names_everything_that_was_not_there() -> None:
    org = workshop()
    before = org.server.states[0]
    found_ids = list(new_ids(before, org.state))
    kinds = [kind for kind, _ in found_ids]
    assert sorted(kinds) == ["agent", "group", "group", "operator", "operator", "operator", "profile", "profile", "token"]
    assert ("operator", org.id("ada")) not in found_ids
    assert ("operator", org.id("ada")) in set(new_ids(None, org.state))
    assert list(new_ids(org.state, org.state)) == []


def test_every_act_of_the_workshop_is_a_step() -> None:
    org = workshop()
    for act in (
        lambda draft: create_group(draft, "more"),
        lambda draft: grant(draft, org.group("more"), org.profile("production")),
        lambda draft: add_agent(draft, org.group("more"), next(iter(org.state.agents.values()))),
        lambda draft: renew_group(draft, org.group("staging")),
    ):
        org.commit(act)
    assert org.state.seq == 16
    assert advance(None, org.server.sync(0, 0)) == org.state


def test_a_re_signed_head_alone_is_no_commit() -> None:
    org = workshop()
    changes = NOTHING.replace(heads=(org.sign(org.state.head.document),))
    with pytest.raises(RuleError, match="no new head"):
        check_step(org.state, advance(org.state, changes), changes, org.id("ada"))


# Commits of the past, as operators check them


def resign(step: Step, name: str, state: OrgState | None = None) -> OrgState:
    """The state after the step with another person's signature under its head."""
    state = state or step.after
    head = state.head.document
    return state.replace(head=Signed(document=head, envelope=step.org.sign(head, name)))


@pytest.mark.parametrize("act", [write, describe, renew, mint_another])
def test_a_genuine_commit_of_the_past_passes(act: Callable[[TestOrg, Draft], Any]) -> None:
    step = Step(act)
    check_past_step(step.before, step.after)


def test_an_editor_s_commit_of_the_past_passes_and_holds_nothing_but_contents() -> None:
    step = Step(write, "eve")
    check_past_step(step.before, step.after)
    with pytest.raises(RuleError, match="a profile that does not list them"):
        check_past_step(step.before, step.profile(editors=()))
    for act in (describe, renew, mint_another):
        other = Step(act)
        with pytest.raises(RuleError, match="who is no admin changes more than contents"):
            check_past_step(other.before, resign(other, "eve"))
    org = step.after.org.document
    changed = step.after.org.replace(document=org.replace(name="other"))
    with pytest.raises(RuleError, match="who is no admin changes more than contents"):
        check_past_step(step.before, resign(step, "eve", step.after.replace(org=changed)))


@pytest.mark.parametrize("name", ["rob", "una"])
def test_a_head_of_the_past_is_signed_by_somebody_who_might_sign_it_then(name: str) -> None:
    step = Step(write)
    with pytest.raises(IntegrityError, match="the head is not signed by somebody who may sign it"):
        check_past_step(step.before, resign(step, name))
    forged = step.after.head.envelope.replace(signature=bytes(64))
    with pytest.raises(IntegrityError):
        check_past_step(step.before, step.after.replace(head=step.after.head.replace(envelope=forged)))


def test_envelopes_of_structure_and_contents_tell_nothing_about_a_commit_of_the_past() -> None:
    step = Step(describe)
    structure = step.after.structure.document
    anew = step.after.replace(structure=Signed(document=structure, envelope=step.org.sign(structure, "eve")))
    check_past_step(step.before, anew)


def test_every_rule_of_a_step_holds_for_commits_of_the_past() -> None:
    def refuse(message: str, before: OrgState, after: OrgState) -> None:
        with pytest.raises(RuleError, match=message):
            check_past_step(before, after)

    step = Step(describe)
    refuse("a version does not rise by one", step.before, step.profile(version=7))
    structure = step.after.structure.document.replace(seq=9)
    refuse("the structure does not follow", step.before, step.after.replace(structure=Signed(
        document=structure, envelope=step.org.sign(structure))))  # fmt: skip
    minted = Step(mint_another)
    (agent,) = minted.after.agents.values()
    (known,) = minted.before.agents.values()
    fresh = {id_: token if id_ in known.tokens else token.replace(created_by=minted.org.id("eve"))
             for id_, token in agent.tokens.items()}  # fmt: skip
    refuse("a new token does not name its maker", minted.before, minted.agent(tokens=fresh))
    gone = Step(describe)
    (agent,) = gone.after.agents.values()
    (token_id,) = agent.tokens
    left = gone.leaves("members", "production", {token_id: None})
    leaver = agent.replace(groups=(), version=agent.version + 1)
    refuse("a member goes without a new epoch", gone.before, left.replace(agents={agent.id: leaver}))
    refuse("a reader goes without a new epoch of the profile", gone.before, gone.profile(grants={}))
    written = Step(write)
    refuse("a contents does not follow", written.before, written.contents(version=9))
