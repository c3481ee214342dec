"""Steps 6 to 11 of a pull: another profile, group, key, contents or entry than the signed one is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.crypto.keys import GroupKey, ProfileKey
from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.keystore.marks import ContentsMark
from stronghold_cli.protocol.documents.leaves import decode_entry_leaf, decode_member_leaf
from stronghold_cli.protocol.documents.profile import Grant
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.messages_pull import Entry, PullAnswer
from stronghold_cli.reader.profile import Asked
from stronghold_cli.vault.agents import create_agent, mint
from stronghold_cli.vault.profiles import delete_secrets, read_secrets, write_secrets
from tests.support.org import ADDRESS, NOW, prove, renew_group
from tests.support.pull import PRODUCTION, UNNAMED, Pull


@pytest.fixture
def pull() -> Pull:
    return Pull()


def refused(pull: Pull, answer: PullAnswer, message: str, **how: Any) -> None:
    with pytest.raises(IntegrityError, match=message):
        pull.open(answer, **how)


# Step 6


def test_the_profile_is_found_by_name_without_regard_to_case_and_by_id(pull: Pull) -> None:
    for asked in (PRODUCTION, Asked(name="PRODuction", id=None), Asked(name=None, id=pull.profile.id), UNNAMED):
        assert list(pull.open(pull.answer, asked=asked)) == ["API_KEY", "DATABASE_URL"]


@pytest.mark.parametrize("asked", [Asked(name="staging", id=None), Asked(name=None, id=bytes(16))])
def test_another_profile_than_the_one_asked_for_is_refused(pull: Pull, asked: Asked) -> None:
    refused(pull, pull.answer, "another profile than the one asked for", asked=asked)


def test_another_profile_than_the_kept_one_is_refused_where_none_is_named(pull: Pull) -> None:
    mark = pull.verify(pull.answer, asked=UNNAMED).mark()
    assert mark.default_profile == pull.profile.id
    assert pull.open(pull.answer, asked=UNNAMED, mark=mark)
    refused(pull, pull.answer, "offers another profile", asked=UNNAMED, mark=mark.replace(default_profile=bytes(16)))


def test_a_named_profile_is_not_kept_as_the_default(pull: Pull) -> None:
    mark = pull.verify(pull.answer).mark()
    contents = pull.state.contents[pull.profile.id].document
    assert mark.default_profile is None
    assert mark.contents == {pull.profile.id: ContentsMark(version=contents.version, sha256=contents.sha256)}


# Step 7


def test_a_group_that_the_agent_does_not_list_is_refused(pull: Pull) -> None:
    answer = pull.answer.replace(group=prove(pull.state, pull.org.group("staging")))
    refused(pull, answer, "does not give this agent the profile")
    left = pull.agent.replace(groups=())
    refused(pull, pull.collude(agent=left), "does not give this agent the profile")


@pytest.mark.parametrize("epoch", [None, 2])
def test_a_grant_that_is_missing_or_of_another_epoch_is_refused(pull: Pull, epoch: int | None) -> None:
    wrap = pull.profile.grants[pull.group.id].wrap_sha256
    grants = {} if epoch is None else {pull.group.id: Grant(epoch=epoch, wrap_sha256=wrap)}
    refused(pull, pull.collude(profile=pull.profile.replace(grants=grants)), "does not give this agent the profile")


def test_a_member_leaf_without_its_proof_is_refused(pull: Pull) -> None:
    leaf = decode_member_leaf(pull.answer.member).replace(sealed_sha256=bytes(32))
    refused(pull, pull.answer.replace(member=leaf.encode()), "does not lead to the root")


@pytest.mark.parametrize(
    "change",
    [{"kind": "operator", "owner": b""}, {"owner": bytes(16)}, {"seal_sha256": bytes(32)}],
    ids=["kind", "owner", "sealing key"],
)
def test_a_member_leaf_that_is_not_this_tokens_is_refused(pull: Pull, change: dict[str, Any]) -> None:
    refused(pull, with_member(pull, **change), "member leaf received is not this token's")


def with_member(pull: Pull, agent: Any = None, **change: Any) -> PullAnswer:
    leaf = decode_member_leaf(pull.answer.member).replace(**change)
    members = {**pull.state.leaves("members", pull.group.id), pull.token_id: leaf.encode()}
    return pull.collude(members=members, agent=agent)


# Step 8


@pytest.mark.parametrize("share", [b"", bytes(31), bytes(32), bytes(33)])
def test_another_share_is_refused(pull: Pull, share: bytes) -> None:
    refused(pull, pull.answer.replace(share=share), "share")


def test_a_share_padded_with_zeros_is_refused(pull: Pull) -> None:
    refused(pull, pull.answer.replace(share=pull.answer.share + bytes(32)), "share of a token is not 32 bytes")


def test_another_sealing_key_in_document_and_leaf_is_refused(pull: Pull) -> None:
    foreign = pull.org.keysets["ada"].seal.public_sha256
    token = pull.agent.tokens[pull.token_id].replace(seal_sha256=foreign)
    agent = pull.agent.replace(tokens={pull.token_id: token})
    refused(pull, with_member(pull, agent=agent, seal_sha256=foreign), "sealing key in the signed documents is not")


def test_a_group_key_sealed_by_somebody_else_is_refused(pull: Pull) -> None:
    sealed = server_made_seal(pull)
    refused(pull, pull.answer.replace(seal=sealed), "sealed group key received is not the one")


def test_a_group_key_that_the_group_does_not_commit_to_is_refused(pull: Pull) -> None:
    sealed = server_made_seal(pull)
    answer = with_member(pull, sealed_sha256=digest(sealed)).replace(seal=sealed)
    refused(pull, answer, "not the one that the signed document commits to")


def server_made_seal(pull: Pull) -> bytes:
    key = GroupKey(b"k" * 32, pull.state.org_id, pull.group.id, pull.group.epoch)
    seal_sha256 = pull.agent.tokens[pull.token_id].seal_sha256
    return key.seal_to(pull.org.server.blobs[seal_sha256], "token", pull.token_id)


def test_another_wrap_is_refused(pull: Pull) -> None:
    refused(pull, pull.answer.replace(wrap=other_wrap(pull)), "boxed profile key received is not the one")


def test_a_profile_key_that_the_profile_does_not_commit_to_is_refused(pull: Pull) -> None:
    wrap = other_wrap(pull)
    profile = pull.profile.replace(grants={pull.group.id: Grant(epoch=1, wrap_sha256=digest(wrap))})
    refused(pull, pull.collude(profile=profile).replace(wrap=wrap), "not the one that the signed document commits to")


def other_wrap(pull: Pull) -> bytes:
    key = ProfileKey(b"k" * 32, pull.state.org_id, pull.profile.id, pull.profile.epoch)
    return pull.org.draft().keys.group(pull.group.id).wrap(key, os.urandom)


# Step 9


def test_contents_count_when_an_admin_or_a_listed_editor_signs_them(pull: Pull) -> None:
    assert pull.open(pull.collude(signers=("ada", "eve", "ada")))
    for name in ("rob", "una"):
        refused(pull, pull.collude(signers=("ada", name, "ada")), "contents is not signed by somebody")
    unlisted = pull.collude(signers=("ada", "eve", "ada"), profile=pull.profile.replace(editors=()))
    refused(pull, unlisted, "contents is not signed by somebody")


def test_contents_of_another_kind_are_refused(pull: Pull) -> None:
    refused(pull, pull.answer.replace(contents=pull.answer.head), "type for contents")


def test_older_contents_under_the_new_head_are_refused(pull: Pull) -> None:
    older = pull.honest()
    pull.org.commit(lambda draft: write_secrets(draft, pull.profile, {}, {"NEW": b"value"}))
    answer = pull.honest().replace(contents=older.contents, entries=older.entries)
    refused(pull, answer, "does not lead to the root")


@pytest.mark.parametrize("change", [{"org_id": b"o" * 32}, {"profile_id": bytes(16)}])
def test_contents_of_another_org_or_profile_are_refused(pull: Pull, change: dict[str, Any]) -> None:
    contents = pull.state.contents[pull.profile.id].document.replace(**change)
    refused(pull, pull.collude(contents=contents), "belong to another profile")


def test_contents_of_another_epoch_or_newer_than_the_head_are_refused(pull: Pull) -> None:
    contents = pull.state.contents[pull.profile.id].document
    refused(pull, pull.collude(contents=contents.replace(profile_epoch=2)), "do not carry the profile's epoch")
    refused(pull, pull.collude(contents=contents.replace(seq=pull.state.seq + 1)), "do not carry the profile's epoch")


def test_contents_below_the_mark_or_others_of_their_version_are_refused(pull: Pull) -> None:
    mark = pull.verify(pull.answer).mark()
    version = mark.contents[pull.profile.id].version
    assert pull.open(pull.answer, mark=mark)
    for kept, message in ((version + 1, "contents received is older"), (version, "two different profile contentss")):
        newer = mark.replace(contents={pull.profile.id: ContentsMark(version=kept, sha256=bytes(32))})
        refused(pull, pull.answer, message, mark=newer)


# Step 10


def swap_ciphertexts(one: Entry, two: Entry) -> tuple[Entry, ...]:
    return one.replace(ciphertext=two.ciphertext), two.replace(ciphertext=one.ciphertext)


def swap_leaves(one: Entry, two: Entry) -> tuple[Entry, ...]:
    return one.replace(leaf=two.leaf), two.replace(leaf=one.leaf)


ENTRIES: dict[str, tuple[Callable[[Entry, Entry], tuple[Entry, ...]], str]] = {
    "dropped": (lambda one, two: (one,), "not exactly those"),
    "all dropped": (lambda one, two: (), "not exactly those"),
    "added": (lambda one, two: (one, two, one.replace(secret_id=bytes(16))), "not exactly those"),
    "twice": (lambda one, two: (one, two, two), "not exactly those"),
    "leaves swapped": (swap_leaves, "not exactly those"),
    "ciphertexts swapped": (swap_ciphertexts, "A secret received is not the one"),
    "ciphertext missing": (lambda one, two: (one, two.replace(ciphertext=None)), "A secret received is not the one"),
    "ciphertext cut": (lambda one, two: (one, two.replace(ciphertext=b"")), "A secret received is not the one"),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_entries_are_exactly_those_that_were_signed(pull: Pull, name: str) -> None:
    change, message = ENTRIES[name]
    one, two = pull.answer.entries
    refused(pull, pull.answer.replace(entries=change(one, two)), message)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"version": 2}, "."), ({"epoch": 2}, "A secret received is not the one")],
    ids=["older version under a new number", "another epoch"],
)
def test_an_entry_listed_with_another_number_is_refused(pull: Pull, change: dict[str, Any], message: str) -> None:
    one, two = pull.answer.entries
    entries = (one.replace(leaf=decode_entry_leaf(one.leaf).replace(**change).encode()), two)
    refused(pull, pull.collude(entries=entries), message)


def test_a_secret_moved_from_another_profile_is_refused(pull: Pull) -> None:
    staging = pull.org.profile("staging")
    ((secret_id, leaf),) = pull.state.entries(staging.id).items()
    moved = Entry(secret_id=secret_id, leaf=leaf.encode(), ciphertext=pull.org.server.blobs[leaf.ciphertext_sha256])
    entries = tuple(sorted((*pull.answer.entries, moved), key=lambda entry: entry.secret_id))
    refused(pull, pull.collude(entries=entries), ".")


def test_a_deleted_secret_is_skipped_even_with_a_ciphertext(pull: Pull) -> None:
    known = read_secrets(_vault(pull), pull.profile)
    pull.org.commit(lambda draft: delete_secrets(draft, pull.profile, known, ["API_KEY"]))
    answer = pull.honest()
    assert list(pull.open(answer)) == ["DATABASE_URL"]
    assert list(
        pull.open(answer.replace(entries=tuple(e.replace(ciphertext=e.ciphertext or b"x") for e in answer.entries)))
    ) == ["DATABASE_URL"]


def _vault(pull: Pull) -> Any:
    """What ``read_secrets`` asks of a vault, without files."""
    draft = pull.org.draft()

    class Reading:
        state, keys, operator = pull.state, draft.keys, pull.org.operator()

    return Reading()


# Step 11


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["A", "A"], "Two secrets have the same name"),
        (["A", "1B"], "a name that is not legal"),
        (["A", "B=C"], "a name that is not legal"),
        (["A", ""], "a name that is not legal"),
    ],
)
def test_illegal_and_double_names_are_refused(pull: Pull, names: list[str], message: str) -> None:
    key, entries = pull.org.draft().keys.profile(pull.profile.id), []
    for entry, name in zip(pull.answer.entries, names, strict=True):
        secret = Secret(name=name, value=b"v", note=b"", author=bytes(16), time=NOW)
        ciphertext = key.seal_secret(entry.secret_id, 1, secret, os.urandom)
        leaf = decode_entry_leaf(entry.leaf).replace(ciphertext_sha256=digest(ciphertext))
        entries.append(entry.replace(leaf=leaf.encode(), ciphertext=ciphertext))
    refused(pull, pull.collude(entries=tuple(entries)), message)


def test_names_that_differ_in_case_are_two_secrets(pull: Pull) -> None:
    pull.org.commit(lambda draft: write_secrets(draft, pull.profile, {}, {"api_key": b"small"}))
    assert pull.open(pull.honest())["api_key"].value == b"small"
    assert pull.open(pull.honest())["API_KEY"].value == b"first value"


# All of them together


def test_after_a_rekey_the_deployed_token_still_reads(pull: Pull) -> None:
    pull.org.commit(lambda draft: renew_group(draft, pull.group, frozenset([pull.org.id("eve")])))
    fresh = Pull(pull.org)
    assert fresh.profile.epoch == 2
    assert fresh.open(fresh.answer)["API_KEY"].value == b"first value"


def test_the_answer_to_another_agent_is_refused(pull: Pull) -> None:
    agent = pull.org.commit(lambda draft: create_agent(draft, "other", [pull.group]))
    other = pull.org.commit(lambda draft: mint(draft, agent, "t", ADDRESS))
    answer = pull.org.server.pull_answer(other.token_id, pull.org.profile("production"), pull.token.pin)
    refused(pull, answer, "does not hold this token")
