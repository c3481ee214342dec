"""The box audit, at each operator login and in ``doctor`` (protocol section 8; rule R11).

The invariants hold, and there is exactly one sealed key for each live member and none for anybody else, was checked when the
state was verified (``rules.check_state``), and that every signer is current (``state.verify_signers``). What is left, and
done here, is to open every key that this operator should hold.
"""

from __future__ import annotations

from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.rules import check_state
from stronghold_cli.protocol.state import verify_signers
from stronghold_cli.vault.committing import Vault


class BoxAudit(Record):
    """How much was checked."""

    signatures: int
    groups: int
    seals: int
    profiles: int


def audit_boxes(vault: Vault) -> BoxAudit:
    """Check the newest state once more from nothing, and open every own key; raises ``IntegrityError``."""
    state = vault.state
    check_state(state)
    verify_signers(state)
    own = [group_id for group_id in state.groups if vault.operator.id in state.leaves("members", group_id)]
    for group_id in own:
        vault.keys.group(group_id)
    readable = [profile.id for profile in state.profiles.values() if profile.grants.keys() & set(own)]
    for profile_id in readable:
        vault.keys.profile(profile_id)
    return BoxAudit(
        signatures=2 + len(state.contents),
        groups=len(own),
        seals=sum(len(state.leaves("members", group_id)) for group_id in state.groups),
        profiles=len(readable),
    )
