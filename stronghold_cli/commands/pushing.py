"""``env push``: show the difference, ask once, and write the values (and the profile, where it is new) as one commit."""

from __future__ import annotations

from collections.abc import Mapping

from stronghold_cli.commands.progress import ProgressBar
from stronghold_cli.output import confirm, emit_json, say, settings
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.names import caseless, require_name
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.lookup import find_profile
from stronghold_cli.vault.opening import StoredSecret
from stronghold_cli.vault.profiles import Difference, compare, create_profile, read_secrets, write_secrets


def push_values(vault: Vault, wanted: str, values: Mapping[str, bytes], *, prune: bool, dry_run: bool, yes: bool) -> None:
    """Write ``values`` into the profile ``wanted``; asks on a terminal, elsewhere needs ``--yes``."""
    profile = _existing(vault.state.profiles, wanted)
    known = {} if profile is None else read_secrets(vault, profile)
    if profile is None:
        require_name("profile", wanted)
    difference = compare(known, values, prune=prune)
    _show(difference, profile, wanted)
    if dry_run:
        return
    if profile is not None and difference.is_empty:
        say("Nothing was changed.")
        return
    if not confirm(_question(difference, profile, wanted), yes):
        say("Nothing was changed.")
        return
    with ProgressBar() as bar:
        vault.progress = bar
        vault.commit(lambda draft: _write(vault, draft, wanted, values, prune))
    say(f"Wrote {len(difference.added) + len(difference.changed)} secrets to {wanted!r}.")


def _write(vault: Vault, draft: Draft, wanted: str, values: Mapping[str, bytes], prune: bool) -> Difference:
    """The act of one attempt: the profile may have been made, or changed, by somebody else meanwhile."""
    profile = _existing(draft.state.profiles, wanted)
    known: dict[str, StoredSecret] = {} if profile is None else read_secrets(vault, profile)
    if profile is None:
        profile = create_profile(draft, wanted)
    return write_secrets(draft, profile, known, values, prune=prune, progress=vault.progress)


def _existing(profiles: Mapping[bytes, Profile], wanted: str) -> Profile | None:
    if wanted.startswith("pr_") or any(caseless(profile.name) == caseless(wanted) for profile in profiles.values()):
        return find_profile(profiles, wanted)
    return None


def _show(difference: Difference, profile: Profile | None, wanted: str) -> None:
    if settings().json:
        emit_json(
            {
                "profile": wanted,
                "new": profile is None,
                "added": list(difference.added),
                "changed": list(difference.changed),
                "removed": list(difference.removed),
                "unchanged": len(difference.unchanged),
            }
        )
        return
    say(f"{wanted} (new profile):" if profile is None else f"{profile.name}:")
    for sign, names in (("+", difference.added), ("~", difference.changed), ("-", difference.removed)):
        for name in names:
            say(f"  {sign} {name}")
    if difference.unchanged:
        say(f"  {len(difference.unchanged)} unchanged")


def _question(difference: Difference, profile: Profile | None, wanted: str) -> str:
    parts = [
        f"{verb} {len(names)}"
        for verb, names in (("add", difference.added), ("change", difference.changed), ("delete", difference.removed))
        if names
    ]
    what = ", ".join(parts) or "add nothing"
    if profile is None:
        return f"Make the profile {wanted!r} and {what}?"
    return f"In the profile {profile.name!r}, {what}?"
