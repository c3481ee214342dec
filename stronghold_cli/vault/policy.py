"""Acts on how old the newest head may be: the org's limit, and the head signed anew (protocol section 8, "Refresh")."""

from __future__ import annotations

from stronghold_cli.protocol.errors import UsageError
from stronghold_cli.vault.draft import Draft

# Below this an org would stand still whenever nobody writes for a coffee break; above, a limit limits nothing.
MIN_HEAD_AGE = 3600
MAX_HEAD_AGE = 10 * 365 * 86_400


def limit_head_age(draft: Draft, seconds: int) -> bool:
    """Set how old the newest head may be for agents and operators, 0 for any age; whether that was another limit."""
    if seconds and not MIN_HEAD_AGE <= seconds <= MAX_HEAD_AGE:
        raise UsageError(
            "The newest head may be limited to an age between an hour and ten years.",
            hint="Give it like 7d; off takes the limit away.",
        )
    org = draft.org
    if org.policy.max_head_age == seconds:
        return False
    draft.put_org(org.replace(policy=org.policy.replace(max_head_age=seconds)))
    return True


def refresh_head(draft: Draft) -> None:
    """Sign the head anew, with nothing else: it says that this state is the newest, as of now."""
    draft.renew_head()
