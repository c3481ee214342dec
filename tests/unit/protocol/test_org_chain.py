"""The chain of org documents: who may sign the next one, and what only root may change."""

from __future__ import annotations

from typing import Any

import pytest

from stronghold_cli.crypto.keys import RootKey
from stronghold_cli.protocol.documents.org import Org, Policy, Resume, RootKeys, version_number
from stronghold_cli.protocol.envelope import Envelope
from stronghold_cli.protocol.errors import ClientTooOld, IntegrityError, MalformedError, RuleError
from stronghold_cli.protocol.org_chain import verify_chain, verify_genesis, verify_link
from tests.support.org import TestOrg, as_operator, fixed, found, workshop

NEW_ROOT = RootKey(b"n" * 32)
NEW_KEYS = RootKeys(sign=NEW_ROOT.sign.public, seal_sha256=NEW_ROOT.seal.public_sha256)
RESUME = Resume(head_sha256=b"h" * 32, seq=9)


@pytest.fixture
def org() -> TestOrg:
    return workshop()


def link(org: TestOrg, signer: str = "ada", **members: Any) -> Envelope:
    return org.org_changes(signer=signer, **members).org[0]


def current(org: TestOrg) -> Org:
    return org.state.org.document


def test_a_genesis_is_signed_by_the_root_that_names_the_org(org: TestOrg) -> None:
    genesis = org.server.links[0]
    document = verify_genesis(genesis)
    assert document.org_id == org.state.org_id

    def refuse(message: str, envelope: Envelope) -> None:
        with pytest.raises(IntegrityError, match=message):
            verify_genesis(envelope)

    refuse("not signed by root", org.sign(document, "ada"))
    refuse("does not verify", genesis.replace(signature=bytes(64)))
    refuse("type for org", genesis.replace(payload_type="application/vnd.stronghold.head.v1+json"))
    for change in ({"org_id": b"o" * 32}, {"seq": 2}, {"prev": b"p" * 32}, {"resume": RESUME}):
        refuse("wrong id, number or link", org.sign(document.replace(**change), "root"))


def test_the_chain_is_followed_from_genesis_from_a_pin_and_from_a_document(org: TestOrg) -> None:
    links = org.server.links
    newest = current(org)
    assert verify_chain(None, links) == newest
    assert verify_chain(None, links[1:], anchor=links[1].sha256) == newest
    assert verify_chain(Org.decode(links[0].payload), links[1:]) == newest
    assert verify_chain(newest, []) == newest


def test_a_chain_without_its_beginning_is_refused(org: TestOrg) -> None:
    for anchor in (None, org.server.links[0].sha256):
        with pytest.raises(IntegrityError, match="org document is missing"):
            verify_chain(None, [], anchor=anchor)
    with pytest.raises(IntegrityError, match="not the one that was pinned"):
        verify_chain(None, org.server.links[1:], anchor=org.server.links[0].sha256)
    with pytest.raises(RuleError, match="genesis is not signed by root"):
        verify_chain(None, org.server.links[1:])


def test_a_link_left_out_is_refused_where_every_link_is_demanded(org: TestOrg) -> None:
    links = [org.server.links[0], org.server.links[2]]
    with pytest.raises(RuleError, match="does not follow the one before"):
        verify_chain(None, links)
    assert verify_chain(None, links, every_link=False).seq == 3


@pytest.mark.parametrize("name", ["eve", "rob", "una"])
def test_only_root_and_admins_sign_the_next_document(org: TestOrg, name: str) -> None:
    with pytest.raises(RuleError, match="not signed by root or an admin"):
        verify_link(current(org), link(org, name))
    assert verify_link(current(org), link(org, "ada")).seq == verify_link(current(org), link(org, "root")).seq


def test_an_admin_of_the_new_document_only_does_not_sign_it(org: TestOrg) -> None:
    operators = current(org).operators
    promoted = {**operators, org.id("eve"): operators[org.id("eve")].replace(role="admin")}
    with pytest.raises(RuleError, match="not signed by root or an admin"):
        verify_link(current(org), link(org, "eve", operators=promoted))


def test_a_removed_admin_signs_no_further_document(org: TestOrg) -> None:
    operators = current(org).operators
    swapped = {**operators, org.id("ada"): operators[org.id("ada")].replace(role="reader"),
               org.id("eve"): operators[org.id("eve")].replace(role="admin")}  # fmt: skip
    after = verify_link(current(org), link(org, operators=swapped))
    fork = org.sign(after.replace(seq=after.seq + 1, prev=after.sha256), "ada")
    with pytest.raises(RuleError, match="not signed by root or an admin"):
        verify_link(after, fork)


@pytest.mark.parametrize("signer", ["ada", "root"])
def test_a_broken_signature_is_refused(org: TestOrg, signer: str) -> None:
    with pytest.raises(IntegrityError, match="does not verify"):
        verify_link(current(org), link(org, signer).replace(signature=bytes(64)))


def test_a_document_of_another_org_is_refused(org: TestOrg) -> None:
    with pytest.raises(RuleError, match="belongs to another org"):
        verify_link(current(org), link(org, org_id=b"o" * 32))


@pytest.mark.parametrize("every_link", [True, False])
def test_numbers_only_rise(org: TestOrg, every_link: bool) -> None:
    for seq in (current(org).seq, current(org).seq - 1):
        with pytest.raises(RuleError, match="does not follow the one before"):
            verify_link(current(org), link(org, seq=seq), adjacent=every_link)


@pytest.mark.parametrize("members", [{"prev": b"p" * 32}, {"seq": 100}])
def test_an_adjacent_link_counts_one_on_and_names_the_one_before(org: TestOrg, members: dict[str, Any]) -> None:
    with pytest.raises(RuleError, match="does not follow the one before"):
        verify_link(current(org), link(org, **members))


def test_a_link_that_is_not_adjacent_may_name_one_that_was_left_out(org: TestOrg) -> None:
    assert verify_link(current(org), link(org, seq=100, prev=b"p" * 32), adjacent=False)
    with pytest.raises(RuleError, match="does not follow the one before"):
        verify_link(current(org), link(org, prev=b"p" * 32), adjacent=False)


@pytest.mark.parametrize("adjacent", [True, False])
@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"root": NEW_KEYS}, "root keys change"),
        ({"resume": RESUME}, "resume is set"),
        ({"policy": Policy(client_min="0.0.9", max_head_age=0)}, "client_min falls"),
    ],
    ids=["root", "resume", "client_min"],
)
def test_what_only_root_may_change(org: TestOrg, members: dict[str, Any], message: str, adjacent: bool) -> None:
    with pytest.raises(RuleError, match=message):
        verify_link(current(org), link(org, "ada", **members), adjacent=adjacent)
    assert verify_link(current(org), link(org, "root", **members), adjacent=adjacent)


def test_an_admin_may_raise_client_min_and_keep_or_clear_a_resume(org: TestOrg) -> None:
    assert verify_link(current(org), link(org, policy=Policy(client_min="0.10.0", max_head_age=0)))
    resumed = current(org).replace(resume=RESUME)
    for resume in (RESUME, None):
        after = org.sign(resumed.replace(seq=resumed.seq + 1, prev=resumed.sha256, resume=resume))
        assert verify_link(resumed, after).resume == resume
    other = org.sign(resumed.replace(seq=resumed.seq + 1, prev=resumed.sha256, resume=RESUME.replace(seq=10)))
    with pytest.raises(RuleError, match="resume is set"):
        verify_link(resumed, other)


def test_a_root_that_was_left_out_between_is_missed(org: TestOrg) -> None:
    """Attack 20: the old root's own document is left out, so the new root comes without its signature."""
    rotated = verify_link(current(org), link(org, "root", root=NEW_KEYS))
    later = org.sign(rotated.replace(seq=rotated.seq + 1, prev=rotated.sha256))
    assert verify_chain(current(org), [link(org, "root", root=NEW_KEYS), later]).root == NEW_KEYS
    with pytest.raises(RuleError, match="root keys change"):
        verify_chain(current(org), [later], every_link=False)


def test_the_old_root_signs_nothing_after_its_rotation(org: TestOrg) -> None:
    rotated = verify_link(current(org), link(org, "root", root=NEW_KEYS))
    later = org.sign(rotated.replace(seq=rotated.seq + 1, prev=rotated.sha256), "root")
    with pytest.raises(IntegrityError, match="does not verify"):
        verify_link(rotated, later)


def test_versions_are_compared_as_numbers() -> None:
    assert version_number("0.9.0") < version_number("0.10.0") < version_number("1.0.0")
    for text in ("1.0", "01.0.0", "1.0.0.0", "1.0.x", "1.0.0\n", "", "1.0.-1", "1.0.1000000", "١.0.0"):
        with pytest.raises(MalformedError, match=r"major\.minor\.patch"):
            version_number(text)


def test_a_document_that_demands_more_says_so_once_it_is_signed(org: TestOrg) -> None:
    with pytest.raises(ClientTooOld, match="'quorum'"):
        verify_link(current(org), link(org, crit=("quorum",)))
    with pytest.raises(IntegrityError, match="does not verify"):
        verify_link(current(org), link(org, crit=("quorum",)).replace(signature=bytes(64)))


@pytest.mark.parametrize("adjacent", [True, False])
def test_another_orgs_root_signs_nothing_here(org: TestOrg, adjacent: bool) -> None:
    other = found("other")
    other.keysets["x"] = other.keysets["ada"]
    document = current(org).replace(seq=current(org).seq + 1, prev=current(org).sha256)
    with pytest.raises(IntegrityError, match="does not verify"):
        verify_link(current(org), other.sign(document, "root"), adjacent=adjacent)
    with pytest.raises(RuleError, match="not signed by root or an admin"):
        verify_link(current(org), other.sign(document, "x"), adjacent=adjacent)


def test_names_in_the_support_are_those_of_the_documents(org: TestOrg) -> None:
    keyset = org.keysets["eve"]
    assert current(org).operators[org.id("eve")] == as_operator("eve", keyset, "editor")
    assert org.id("eve") == fixed("operator eve", 16)
