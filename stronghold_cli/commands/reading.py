"""Reading a profile's values, as an agent or as an operator: what ``env pull``, ``run`` and ``secret get`` share."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from stronghold_cli.commands.acting import agent_server, identity, open_vault, profile_choice
from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.keystore.identities import TokenIdentity
from stronghold_cli.output import warn
from stronghold_cli.protocol.encoding import decode_hex
from stronghold_cli.protocol.errors import MalformedError, UsageError
from stronghold_cli.protocol.names import ID_PREFIXES, require_name
from stronghold_cli.protocol.record import Record

if TYPE_CHECKING:
    from stronghold_cli.protocol.documents.profile import Profile
    from stronghold_cli.reader.profile import Asked
    from stronghold_cli.vault.committing import Vault


class ReadProfile(Record):
    """The verified values of one profile, by name."""

    profile_name: str
    version: int
    secrets: dict[str, Secret]

    def values(self) -> dict[str, bytes]:
        """The values alone."""
        return {name: secret.value for name, secret in self.secrets.items()}

    def names_hint(self) -> str:
        """A hint that names what there is."""
        names = list(self.secrets)
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        return f"It holds: {', '.join(names[:20])}{more}." if names else "It holds no secrets."

    def __repr__(self) -> str:
        return f"ReadProfile({self.profile_name!r}, {len(self.secrets)} secrets)"


def read_profile(token: str | None, token_file: str | None, profile: str | None) -> ReadProfile:
    """Pull as the agent whose token was found, else read as the operator who is current."""
    acting = identity(token, token_file)
    wanted = profile_choice(profile).name
    if isinstance(acting, TokenIdentity):
        return _pull(acting, wanted)
    return _read_as_operator(open_vault(acting.account), wanted)


def operator_profile(vault: Vault, wanted: str | None) -> Profile:
    """The profile that an operator means: the one named, else the only one that there is; else ``UsageError``."""
    from stronghold_cli.vault.lookup import find_profile

    if wanted is not None:
        return find_profile(vault.state.profiles, wanted)
    names = sorted(profile.name for profile in vault.state.profiles.values())
    if len(names) == 1:
        return find_profile(vault.state.profiles, names[0])
    raise UsageError(
        "No profile was named." if names else "There is no profile yet.",
        hint=f"Give one with --profile: {', '.join(names)}" if names else "Make one with: stronghold profile create NAME",
    )


def mask(values: Iterable[bytes]) -> None:
    """In GitHub Actions, have every value masked before anything is written; the runner reads stderr as well."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from stronghold_cli.formats.masks import mask_commands

        sys.stderr.buffer.write(mask_commands(values))
        sys.stderr.buffer.flush()


def _pull(acting: TokenIdentity, wanted: str | None) -> ReadProfile:
    from stronghold_cli.reader.client import pull

    with agent_server(acting.token) as server:
        pulled = pull(server, acting.token, _asked(wanted), time.time)
    for sentence in pulled.warnings:
        warn(sentence)
    return ReadProfile(profile_name=pulled.profile.name, version=pulled.contents_version, secrets=pulled.secrets)


def _asked(wanted: str | None) -> Asked:
    """A profile's id (``pr_`` and 32 digits), a name, or nothing."""
    from stronghold_cli.reader.profile import Asked

    prefix = ID_PREFIXES["profile"]
    if wanted is not None and wanted.startswith(prefix):
        try:
            return Asked(name=None, id=decode_hex(wanted.removeprefix(prefix), 16))
        except MalformedError as error:
            raise UsageError(f"{wanted[:60]!r} is not a profile's id.", hint="An id is pr_ and 32 hex digits.") from error
    return Asked(name=None if wanted is None else require_name("profile", wanted), id=None)


def _read_as_operator(vault: Vault, wanted: str | None) -> ReadProfile:
    from stronghold_cli.vault.profiles import read_secrets

    profile = operator_profile(vault, wanted)
    stored = read_secrets(vault, profile)
    return ReadProfile(
        profile_name=profile.name,
        version=vault.state.contents[profile.id].document.version,
        secrets={name: item.secret for name, item in stored.items()},
    )
