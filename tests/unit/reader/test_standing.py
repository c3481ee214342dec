"""Steps 2 to 5 of a pull: each forged part of an answer is refused, and the signed documents alone say who may go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.keystore.marks import HeadMark, Mark, OrgMark
from stronghold_cli.protocol.documents.org import Org, Policy
from stronghold_cli.protocol.documents.structure import Lockdown
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import ClientTooOld, IntegrityError, Refused
from stronghold_cli.protocol.freshness import MAX_AHEAD
from stronghold_cli.protocol.messages_pull import PullAnswer
from stronghold_cli.reader.standing import Standing, anchor
from stronghold_cli.vault.agents import create_agent
from tests.support.org import NOW, prove, workshop
from tests.support.pull import Pull

LINE = Lockdown(id=bytes(16), all=False, groups=(), agents=(), labels=(), reason="drill", created=NOW)


@pytest.fixture
def pull() -> Pull:
    return Pull()


def mark_of(pull: Pull) -> Mark:
    return pull.stand(pull.answer).mark()


def refused(pull: Pull, answer: PullAnswer, message: str, mark: Mark | None = None, now: int = NOW) -> None:
    with pytest.raises(IntegrityError, match=message):
        pull.stand(answer, mark, now)


def test_an_honest_answer_stands(pull: Pull) -> None:
    standing = pull.stand(pull.answer)
    assert (standing.agent.name, standing.token.name, standing.token_id) == ("bot", "ci", pull.token_id)
    assert standing.head.seq == pull.state.seq
    assert standing.warnings() == []


def test_an_answer_colluded_without_a_change_stands(pull: Pull) -> None:
    assert {name: secret.value for name, secret in pull.open(pull.collude()).items()} == {
        "API_KEY": b"first value",
        "DATABASE_URL": b"second value",
    }


# Step 2


def test_the_chain_begins_at_the_mark_or_else_at_the_pin(pull: Pull) -> None:
    assert anchor(pull.token, None) == pull.token.pin
    mark = mark_of(pull)
    assert anchor(pull.token, mark.replace(org=mark.org.replace(sha256=b"m" * 32))) == b"m" * 32


def test_a_missing_or_other_first_org_document_is_refused(pull: Pull) -> None:
    refused(pull, pull.answer.replace(org=()), "org document is missing")
    refused(pull, pull.answer.replace(org=(pull.org.server.links[0],)), "not the one that was pinned")
    refused(pull, pull.answer.replace(org=(pull.org.server.links[0],)), "not the one that was pinned", mark_of(pull))


def test_links_may_be_left_out_between(pull: Pull) -> None:
    pull.org.change_org(name="one")
    pull.org.change_org(name="two")
    answer = pull.honest()
    assert len(answer.org) == 3
    assert pull.stand(answer.replace(org=(answer.org[0], answer.org[2]))).org.name == "two"


@pytest.mark.parametrize("has_mark", [False, True])
def test_the_very_next_link_names_the_one_before_it(pull: Pull, has_mark: bool) -> None:
    """A fork of the org that an admin signs, shown to an agent: no link is left out here that ``prev`` could name."""
    known = pull.state.org.document
    mark = mark_of(pull) if has_mark else None
    pull.org.change_org(name="next")
    answer = pull.honest()
    following = Org.decode(answer.org[-1].payload)
    assert (len(answer.org), following.seq) == (2, known.seq + 1)
    assert pull.stand(answer, mark).org.name == "next"
    fork = pull.org.sign(following.replace(prev=b"f" * 32))
    head = pull.org.sign(pull.org.state.head.document.replace(org_sha256=fork.sha256))
    refused(pull, answer.replace(org=(answer.org[0], fork), head=head), "does not follow the one before", mark)


def test_a_document_of_the_root_in_the_mark_may_follow_a_document_that_the_server_lost(pull: Pull) -> None:
    lost = mark_of(pull)
    lost = lost.replace(org=lost.org.replace(sha256=b"l" * 32))
    pull.org.change_org(signer="root", name="restored")
    answer = pull.honest()
    assert pull.stand(answer.replace(org=answer.org[-1:]), lost).org.name == "restored"
    other = lost.replace(org=lost.org.replace(root_sign=pull.org.keysets["ada"].sign.public))
    refused(pull, answer.replace(org=answer.org[-1:]), "signature does not verify", other)
    same_number = lost.replace(org=lost.org.replace(seq=lost.org.seq + 1))
    refused(pull, answer.replace(org=answer.org[-1:]), "not the one that was pinned", same_number)


def test_roots_own_genesis_does_not_reopen_the_chain_below_the_mark(pull: Pull) -> None:
    lost = mark_of(pull)
    lost = lost.replace(org=lost.org.replace(sha256=b"l" * 32))
    refused(pull, pull.answer.replace(org=tuple(pull.org.server.links)), "not the one that was pinned", lost)


def test_an_admins_document_cannot_follow_a_document_that_the_server_lost(pull: Pull) -> None:
    lost = mark_of(pull)
    lost = lost.replace(org=lost.org.replace(sha256=b"l" * 32))
    pull.org.change_org(name="forged")
    refused(pull, pull.answer.replace(org=pull.honest().org[-1:]), "not the one that was pinned", lost)


def test_a_client_older_than_the_org_demands_says_so(pull: Pull) -> None:
    pull.org.change_org(policy=Policy(client_min="0.1.1", max_head_age=0))
    with pytest.raises(ClientTooOld, match=r"0\.1\.1"):
        pull.stand(pull.honest())


# Step 3


def test_a_head_counts_only_when_an_admin_or_editor_signs_it(pull: Pull) -> None:
    assert pull.stand(pull.collude(signers=("ada", "ada", "eve"))).head.seq == pull.state.seq
    for name in ("rob", "una"):
        refused(pull, pull.collude(signers=("ada", "ada", name)), "head is not signed by somebody")
    pull.org.keysets["mal"] = workshop().add_person("mal", "editor")
    refused(pull, pull.collude(signers=("ada", "ada", "mal")), "head is not signed by somebody")


def test_a_head_of_another_kind_or_with_a_broken_signature_is_refused(pull: Pull) -> None:
    refused(pull, pull.answer.replace(head=pull.answer.structure), "type for head")
    head = pull.answer.head
    refused(pull, pull.answer.replace(head=head.replace(signature=bytes(64))), "signature does not verify")
    refused(pull, pull.answer.replace(head=head.replace(payload=head.payload + b" ")), "signature does not verify")


@pytest.mark.parametrize("change", [{"org_id": b"o" * 32}, {"org_sha256": b"o" * 32}])
def test_a_head_of_another_org_or_org_document_is_refused(pull: Pull, change: dict[str, Any]) -> None:
    refused(pull, pull.collude(head=change), "names another org document")


def test_a_head_below_the_tokens_floor_is_refused(pull: Pull) -> None:
    assert pull.token.floor == pull.state.seq
    refused(pull, pull.collude(head={"seq": pull.token.floor - 1}), "head received is older than this token")


def test_a_head_below_the_mark_or_another_of_its_number_is_refused(pull: Pull) -> None:
    mark = mark_of(pull)
    assert pull.stand(pull.answer, mark).head.seq == mark.head.seq
    refused(
        pull, pull.answer, "head received is older", mark.replace(head=HeadMark(seq=mark.head.seq + 1, sha256=bytes(32)))
    )
    refused(pull, pull.answer, "two different heads", mark.replace(head=HeadMark(seq=mark.head.seq, sha256=bytes(32))))


def test_a_head_from_the_future_is_refused(pull: Pull) -> None:
    assert pull.stand(pull.answer, now=NOW - MAX_AHEAD)
    refused(pull, pull.answer, "dated in the future", now=NOW - MAX_AHEAD - 1)


def test_a_head_older_than_the_org_allows_is_refused(pull: Pull) -> None:
    assert pull.stand(pull.answer, now=NOW + 10**8)
    pull.org.change_org(policy=Policy(client_min="0.1.0", max_head_age=3600))
    assert pull.stand(pull.honest(), now=NOW + 3600)
    refused(pull, pull.honest(), "The newest head is 3601 seconds old", now=NOW + 3601)


# Step 4


@pytest.mark.parametrize("name", ["eve", "rob", "una"])
def test_a_structure_counts_only_when_an_admin_signs_it(pull: Pull, name: str) -> None:
    refused(pull, pull.collude(signers=(name, "ada", "ada")), "structure is not signed by somebody")


def test_an_older_genuine_structure_is_refused(pull: Pull) -> None:
    older = pull.org.server.states[-3].structure.envelope
    refused(pull, pull.answer.replace(structure=older), "not the one that the head names")
    # ... also where an editor signs a head that names it (attack 15): its number is below the token's floor
    document = pull.org.server.states[-3].structure.document
    head = pull.state.head.document.replace(structure_sha256=document.sha256)
    forged = pull.answer.replace(structure=older, head=pull.org.sign(head, "eve"))
    refused(pull, forged, "older than this token, or newer than its head")


@pytest.mark.parametrize("ahead", [-1, 1])
def test_a_structures_number_lies_between_floor_and_head(pull: Pull, ahead: int) -> None:
    refused(pull, pull.collude(structure={"seq": pull.state.seq + ahead}), "older than this token, or newer than its head")


def test_a_structure_of_another_org_is_refused(pull: Pull) -> None:
    refused(pull, pull.collude(structure={"org_id": b"o" * 32}), "not the one that the head names")


def test_a_structure_below_the_mark_is_refused(pull: Pull) -> None:
    mark = mark_of(pull)
    refused(pull, pull.answer, "structure received is older", mark.replace(structure_seq=mark.structure_seq + 1))


# Step 5


def test_another_agents_document_is_refused(pull: Pull) -> None:
    other = pull.org.commit(lambda draft: create_agent(draft, "other", []))
    refused(pull, pull.honest().replace(agent=prove(pull.org.state, other)), "does not hold this token")


def test_an_agent_document_with_another_key_under_the_tokens_id_is_refused(pull: Pull) -> None:
    token = pull.agent.tokens[pull.token_id].replace(auth_public_key=pull.org.keysets["ada"].sign.public)
    refused(pull, pull.collude(agent=pull.agent.replace(tokens={pull.token_id: token})), "does not hold this token")


def test_a_document_of_another_org_is_refused(pull: Pull) -> None:
    refused(pull, pull.collude(agent=pull.agent.replace(org_id=b"o" * 32)), "agent received belongs to another org")


def test_a_document_that_demands_a_newer_client_is_told_as_such_where_it_is_signed(pull: Pull) -> None:
    newer = pull.agent.replace(crit=("quorum",))
    answer = pull.collude(agent=newer)
    with pytest.raises(ClientTooOld, match="'quorum'"):
        pull.stand(answer)
    # ... and what no leaf names demands nothing.
    forged = pull.answer.agent.replace(payload=newer.payload)
    refused(pull, pull.answer.replace(agent=forged), "does not lead to the root")
    for payload in (b'{"crit":["quorum"]}', b'{"crit":["quorum"],"id":1,"name":"bot"}'):
        nameless = pull.answer.agent.replace(payload=payload)
        refused(pull, pull.answer.replace(agent=nameless), "has no id or name")


def test_a_document_that_is_no_leaf_of_the_structure_is_refused(pull: Pull) -> None:
    changed = pull.agent.replace(description="changed")
    forged = pull.answer.agent.replace(payload=changed.payload)
    refused(pull, pull.answer.replace(agent=forged), "does not lead to the root")


@pytest.mark.parametrize(
    "line",
    [
        lambda pull: LINE.replace(all=True),
        lambda pull: LINE.replace(agents=(pull.agent.id,)),
        lambda pull: LINE.replace(groups=(pull.group.id,)),
        lambda pull: LINE.replace(labels=("env=ci",)),
    ],
    ids=["all", "agent", "group", "label"],
)
def test_a_lockdown_in_the_signed_structure_stops_the_agent(pull: Pull, line: Callable[[Pull], Lockdown]) -> None:
    with pytest.raises(Refused, match="locked down: drill") as caught:
        pull.stand(pull.collude(structure={"lockdowns": (line(pull),)}))
    assert caught.value.code == "LOCKED_DOWN"


def test_a_lockdown_of_others_stops_nobody_else(pull: Pull) -> None:
    line = LINE.replace(agents=(bytes(16),), groups=(bytes(16),), labels=("env=live",))
    assert pull.stand(pull.collude(structure={"lockdowns": (line,)}))


def test_a_paused_agent_is_told_so(pull: Pull) -> None:
    with pytest.raises(Refused) as caught:
        pull.stand(pull.collude(agent=pull.agent.replace(state="paused")))
    assert caught.value.code == "AGENT_PAUSED"


@pytest.mark.parametrize("whose", ["agent", "token"])
def test_an_expired_token_is_told_so_from_the_second_on_that_is_signed(pull: Pull, whose: str) -> None:
    answer = pull.collude(agent=with_date(pull, whose, NOW + 1000))
    assert pull.stand(answer, now=NOW + 999)
    with pytest.raises(Refused) as caught:
        pull.stand(answer, now=NOW + 1000)
    assert caught.value.code == "TOKEN_EXPIRED"


def with_date(pull: Pull, whose: str, date: int) -> Any:
    if whose == "agent":
        return pull.agent.replace(not_after=date)
    token = pull.agent.tokens[pull.token_id].replace(not_after=date)
    return pull.agent.replace(tokens={**pull.agent.tokens, pull.token_id: token})


@pytest.mark.parametrize("whose", ["agent", "token"])
@pytest.mark.parametrize(
    ("life", "left", "words"),
    [
        (100 * 86_400, 7 * 86_400, "7 days"),
        (100 * 86_400, 7 * 86_400 + 1, ""),
        (100_000, 10_000, "2 hours"),
        (100_000, 10_001, ""),
        (36_000, 3_600, "1 hour"),
        (1000, 100, "1 minute"),
        (100, 9, "less than a minute"),
    ],
)
def test_a_token_that_expires_soon_is_warned_about(pull: Pull, whose: str, life: int, left: int, words: str) -> None:
    standing = pull.stand(pull.collude(agent=with_date(pull, whose, NOW + life)), now=NOW + life - left)
    told = {
        "token": f"the token 'ci' expires in {words}; ask for a new one",
        "agent": f"the agent 'bot' expires in {words}, and its tokens with it; ask for a later end",
    }
    assert standing.warnings() == ([told[whose]] if words else [])


def test_the_earlier_of_two_dates_counts(pull: Pull) -> None:
    agent = with_date(pull, "token", NOW + 50).replace(not_after=NOW + 40)
    assert pull.stand(pull.collude(agent=agent)).not_after == NOW + 40


def test_a_deprecated_token_is_warned_about(pull: Pull) -> None:
    token = pull.agent.tokens[pull.token_id].replace(state="deprecated")
    agent = pull.agent.replace(tokens={pull.token_id: token})
    (warning,) = pull.stand(pull.collude(agent=agent)).warnings()
    assert "deprecated" in warning


def test_the_mark_of_a_standing_is_what_was_verified(pull: Pull) -> None:
    standing: Standing = pull.stand(pull.answer)
    org = pull.state.org.document
    assert standing.mark() == Mark(
        org=OrgMark(seq=org.seq, sha256=digest(org.payload), root_sign=org.root.sign),
        head=HeadMark(seq=pull.state.seq, sha256=pull.state.head.document.sha256),
        structure_seq=pull.state.structure.document.seq,
        contents={},
    )
