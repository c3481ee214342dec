"""Whose signature counts now: role, listed editor, kind and key, each missing alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stronghold_cli.protocol.envelope import Envelope
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.signers import (
    require_author,
    verify_contents_signer,
    verify_head_signer,
    verify_structure_signer,
)
from tests.support.org import TestOrg, workshop

ORG = workshop()
DOCUMENT = ORG.state.org.document
PROFILE = ORG.profile("production")
STAGING = ORG.profile("staging")
CONTENTS = ORG.state.contents[PROFILE.id].document
HEAD, STRUCTURE = ORG.state.head.document, ORG.state.structure.document

CASES: dict[str, tuple[Callable[..., None], Callable[[str], Envelope], set[str]]] = {
    "head": (lambda e, **how: verify_head_signer(e, DOCUMENT, **how), lambda who: ORG.sign(HEAD, who), {"ada", "eve"}),
    "structure": (
        lambda e, **how: verify_structure_signer(e, DOCUMENT, **how), lambda who: ORG.sign(STRUCTURE, who), {"ada"},
    ),
    "contents": (
        lambda e, **how: verify_contents_signer(e, DOCUMENT, PROFILE, **how), lambda who: ORG.sign(CONTENTS, who),
        {"ada", "eve"},
    ),
    "contents of a profile without editors": (
        lambda e, **how: verify_contents_signer(e, DOCUMENT, STAGING, **how), lambda who: ORG.sign(CONTENTS, who), {"ada"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("who", ["ada", "eve", "rob", "una", "root"])
@pytest.mark.parametrize("case", CASES)
def test_who_may_sign(case: str, who: str, verify: bool) -> None:
    check, sign, allowed = CASES[case]
    if who in allowed:
        check(sign(who), verify=verify)
    else:
        with pytest.raises(IntegrityError, match="not signed by somebody who may sign it now"):
            check(sign(who), verify=verify)


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_an_envelope_of_another_kind_never_counts(case: str, verify: bool) -> None:
    check = CASES[case][0]
    other = ORG.sign(ORG.state.org.document, "ada")
    with pytest.raises(IntegrityError, match="not of the type"):
        check(other, verify=verify)


@pytest.mark.parametrize("case", CASES)
def test_a_signature_is_verified_unless_it_was_before(case: str) -> None:
    check, sign, _ = CASES[case]
    broken = sign("ada").replace(signature=bytes(64))
    with pytest.raises(IntegrityError, match="does not verify"):
        check(broken)
    check(broken, verify=False)


def test_an_editor_who_is_listed_but_demoted_no_longer_counts() -> None:
    eve = ORG.id("eve")
    operators = {**DOCUMENT.operators, eve: DOCUMENT.operators[eve].replace(role="reader")}
    with pytest.raises(IntegrityError, match="not signed by somebody"):
        verify_contents_signer(ORG.sign(CONTENTS, "eve"), DOCUMENT.replace(operators=operators), PROFILE)


def test_a_key_that_was_replaced_no_longer_counts() -> None:
    ada, copy = ORG.id("ada"), TestOrg(ORG.root, dict(ORG.keysets), ORG.server)
    operators = {**DOCUMENT.operators, ada: DOCUMENT.operators[ada].replace(sign=copy.keysets["rob"].sign.public)}
    with pytest.raises(IntegrityError, match="does not verify"):
        verify_head_signer(ORG.sign(HEAD, "ada"), DOCUMENT.replace(operators=operators))


@pytest.mark.parametrize("who", ["ada", "eve", "rob", "una", "root"])
def test_who_may_make_a_client_say_that_it_is_too_old(who: str) -> None:
    """Whoever writes: an admin or an editor, with the key that stands in the org; nobody else, and not under their name."""
    if who in {"ada", "eve"}:
        require_author("head", ORG.sign(HEAD, who), DOCUMENT)
    else:
        with pytest.raises(IntegrityError, match="not signed by somebody who may sign it now"):
            require_author("head", ORG.sign(HEAD, who), DOCUMENT)
    under_her_name = ORG.sign(HEAD, "rob").replace(keyid=ORG.sign(HEAD, "ada").keyid)
    with pytest.raises(IntegrityError):
        require_author("head", under_her_name, DOCUMENT)
