"""The chain of org documents: which may follow which, and who may sign it (protocol section 5, "Org chain").

An operator's client sees every link. To an agent the server may leave links out; then the same rules hold between any two
documents that follow each other in the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from stronghold_cli.protocol.documents.base import ZERO_HASH
from stronghold_cli.protocol.documents.org import Org, genesis_org_id, version_number
from stronghold_cli.protocol.envelope import ROOT, Envelope
from stronghold_cli.protocol.errors import IntegrityError, RuleError
from stronghold_cli.protocol.keys import VerifyKey


def verify_chain(
    start: Org | None, links: Sequence[Envelope], *, anchor: bytes | None = None, every_link: bool = True
) -> Org:
    """Follow ``links`` from ``start`` and return the newest org document; raises ``IntegrityError``.

    Without ``start``, the first link must have the hash ``anchor`` (it is then believed by that hash alone: rule R6), or,
    without an anchor, be a genesis. ``every_link=False`` allows links to be left out in between.
    """
    current = start
    for envelope in links:
        if current is not None:
            current = verify_link(current, envelope, adjacent=every_link)
        elif anchor is not None:
            if envelope.sha256 != anchor:
                raise IntegrityError(
                    "the org document offered is not the one that was pinned", evidence={"pin": anchor.hex()}
                )
            current = Org.decode(envelope.payload)
        else:
            current = verify_genesis(envelope)
    if current is None:
        raise IntegrityError("the org document is missing")
    return current


def verify_genesis(envelope: Envelope) -> Org:
    """The first document of an org: signed by the root key from which its ``org_id`` is made."""
    org = Org.decode(envelope.payload)
    if envelope.keyid != ROOT:
        raise RuleError("a genesis is not signed by root")
    envelope.verify("org", VerifyKey(org.root.sign))
    if org.org_id != genesis_org_id(org.root.sign) or org.seq != 1 or org.prev != ZERO_HASH or org.resume is not None:
        raise RuleError("a genesis has a wrong id, number or link")
    return org


def verify_link(before: Org, envelope: Envelope, *, adjacent: bool = True) -> Org:
    """Verify that ``envelope`` carries an org document that may follow ``before``, and return it.

    Signed by the root or an admin of ``before``. ``org_id`` never changes; ``root`` changes, ``resume`` is set and
    ``client_min`` falls only under the signature of the root of ``before``.
    """
    by_root = envelope.keyid == ROOT
    operator = None if envelope.operator_id is None else before.operators.get(envelope.operator_id)
    if by_root:
        envelope.verify("org", VerifyKey(before.root.sign))
    elif operator is not None and operator.role == "admin":
        envelope.verify("org", VerifyKey(operator.sign))
    else:
        raise RuleError(
            "an org document is not signed by root or an admin of the one before", evidence={"keyid": envelope.keyid}
        )
    after = Org.decode(envelope.payload)
    if after.org_id != before.org_id:
        raise RuleError("an org document belongs to another org")
    follows = after.seq == before.seq + 1 and after.prev == before.sha256
    # Where links were left out, prev names one that is not here; the very next number still has to name this one.
    if not follows and (adjacent or after.seq <= before.seq + 1):
        raise RuleError(
            "an org document does not follow the one before", evidence={"known": before.seq, "offered": after.seq}
        )
    if not by_root:
        _require_unchanged_by_admin(before, after)
    return after


def _require_unchanged_by_admin(before: Org, after: Org) -> None:
    if after.root != before.root:
        raise RuleError("the root keys change without the old root's signature")
    if after.resume is not None and after.resume != before.resume:
        raise RuleError("a resume is set without root's signature")
    if version_number(after.policy.client_min) < version_number(before.policy.client_min):
        raise RuleError("client_min falls without root's signature")
