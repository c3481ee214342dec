"""Whose signature counts now (protocol section 5, "Currency").

A signature counts while its signer stands with that key and that right in the *current* org document. Agents and operators
ask the same functions. ``verify=False`` is for an envelope whose bytes were verified under this very org document before:
the right is checked all the same.
"""

from __future__ import annotations

from typing import TypeVar

from stronghold_cli.protocol.documents.base import Document
from stronghold_cli.protocol.documents.org import Org
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.envelope import Envelope, require_kind
from stronghold_cli.protocol.errors import ClientTooOld, IntegrityError
from stronghold_cli.protocol.keys import VerifyKey

D = TypeVar("D", bound=Document)


def decode_as_signed(kind: type[D], envelope: Envelope, org: Org) -> D:
    """Decode a document whose signer is looked at later; ``ClientTooOld`` only where a writer of ``org`` signed it.

    Else whoever answers could make a client say that a signed document demands what no one ever signed (rule R1).
    """
    try:
        return kind.decode(envelope.payload)
    except ClientTooOld:
        require_author(kind.KIND, envelope, org)
        raise


def require_author(kind: str, envelope: Envelope, org: Org) -> None:
    """Raise ``IntegrityError`` where no admin or editor whom the org document names signed this."""
    _verify_signer(kind, envelope, org, may_sign_head(envelope.operator_id, org), verify=True)


def may_sign_contents(operator_id: bytes | None, org: Org, profile: Profile) -> bool:
    """Whether contents of the profile count when signed by this operator: an admin, or an editor whom the profile lists."""
    role = None if operator_id is None else org.role_of(operator_id)
    return role == "admin" or (role == "editor" and operator_id in profile.editors)


def may_sign_head(operator_id: bytes | None, org: Org) -> bool:
    """Whether a head counts when signed by this operator: an admin or an editor."""
    return operator_id is not None and org.role_of(operator_id) in ("admin", "editor")


def may_sign_structure(operator_id: bytes | None, org: Org) -> bool:
    """Whether a structure counts when signed by this operator: an admin."""
    return operator_id is not None and org.role_of(operator_id) == "admin"


def verify_contents_signer(envelope: Envelope, org: Org, profile: Profile, *, verify: bool = True) -> None:
    """Contents count when signed by an admin, or by an editor who stands in the profile's ``editors``."""
    _verify_signer("contents", envelope, org, may_sign_contents(envelope.operator_id, org, profile), verify=verify)


def verify_head_signer(envelope: Envelope, org: Org, *, verify: bool = True) -> None:
    """A head counts when signed by an admin or an editor."""
    _verify_signer("head", envelope, org, may_sign_head(envelope.operator_id, org), verify=verify)


def verify_structure_signer(envelope: Envelope, org: Org, *, verify: bool = True) -> None:
    """A structure counts when signed by an admin."""
    _verify_signer("structure", envelope, org, may_sign_structure(envelope.operator_id, org), verify=verify)


def _verify_signer(kind: str, envelope: Envelope, org: Org, has_right: bool, *, verify: bool) -> None:
    """Protocol section 5, "Currency": the signer stands with that key and right in the current org document."""
    operator = None if envelope.operator_id is None else org.operators.get(envelope.operator_id)
    if operator is None or not has_right:
        raise IntegrityError(
            f"the {kind} is not signed by somebody who may sign it now",
            evidence={"kind": kind, "keyid": envelope.keyid},
        )
    require_kind(envelope, kind)
    if verify:
        envelope.verify(kind, VerifyKey(operator.sign))
