"""The keys that an operator holds at one state: group keys from own seals, profile keys from the boxes under them.

Every blob is compared with the hash in the verified state before it is opened, and every key with the commitment in its
document (rules R2, R4, R5). Fetched once for each state, opened when asked for.
"""

from __future__ import annotations

from collections.abc import Iterable

from stronghold_cli.crypto.keys import GroupKey, ProfileKey, open_group_key
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import IntegrityError, Refused, StrongholdError, UsageError
from stronghold_cli.protocol.keys import sealing_key_hash
from stronghold_cli.protocol.messages import (
    Keys,
    decode_ciphertexts,
    decode_keys,
    decode_old_keys,
    decode_sealing_keys,
)
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.vault.operator import Operator

_GONE = frozenset({"NOT_FOUND", "PROFILE_FORBIDDEN"})


class Overtaken(IntegrityError):
    """What was fetched does not belong to the state that was verified before.

    Others may have changed the org in between: whoever meets this looks whether there is a newer state, and begins again
    from that. Where there is none, it is a fault of the server, and the error stays.
    """


def is_overtaken(error: StrongholdError) -> bool:
    """Whether an error may only mean that the state moved on: what was asked for is not there, or is no longer one's own."""
    return isinstance(error, Overtaken) or (isinstance(error, Refused) and error.code in _GONE)


def require_granted(profile: Profile) -> None:
    """Refuse a profile that no group may read: what is written to it, nobody could ever open."""
    if not profile.grants:
        raise UsageError(
            f"The profile {profile.name!r} is granted to no group, so nobody holds its key.",
            hint=f"Grant it first: stronghold group grant GROUP {profile.name}",
        )


class Keyring:
    """Keys by id, and the ciphertexts under them, for one verified state."""

    def __init__(self, operator: Operator, state: OrgState) -> None:
        self._operator = operator
        self._state = state
        self._fetched: Keys | None = None
        self._groups: dict[bytes, GroupKey] = {}
        self._profiles: dict[bytes, ProfileKey] = {}
        self._sealing: dict[bytes, bytes] = {}

    def group(self, group_id: bytes) -> GroupKey:
        """The current key of a group; ``Refused`` where the operator is no member."""
        if group_id not in self._groups:
            self._groups[group_id] = self._open_group(group_id)
        return self._groups[group_id]

    @property
    def operator(self) -> Operator:
        """Whose keys these are."""
        return self._operator

    def profile(self, profile_id: bytes) -> ProfileKey:
        """The current key of a profile, by any group that the operator is in; else ``Refused`` or ``UsageError``."""
        if profile_id not in self._profiles:
            self._profiles[profile_id] = self._open_profile(profile_id)
        return self._profiles[profile_id]

    def learn_group(self, key: GroupKey) -> None:
        """Keep a key that was just made."""
        self._groups[key.group_id] = key

    def learn_profile(self, key: ProfileKey) -> None:
        """Keep a key that was just made."""
        self._profiles[key.profile_id] = key

    def people(self) -> dict[bytes, bytes]:
        """Public sealing keys of root and all operators, by their ``seal_sha256`` in the org document."""
        org = self._state.org.document
        wanted = [org.root.seal_sha256, *(operator.seal_sha256 for operator in org.operators.values())]
        return self._public_keys("/sealing-keys", wanted)

    def agent(self, agent_id: bytes) -> dict[bytes, bytes]:
        """Public sealing keys of an agent's tokens, by their ``seal_sha256`` in the agent document."""
        wanted = [token.seal_sha256 for token in self._state.agents[agent_id].tokens.values()]
        return self._public_keys(f"/sealing-keys?agent={agent_id.hex()}", wanted) if wanted else {}

    def members(self, group_id: bytes, wanted: Iterable[bytes]) -> dict[bytes, bytes]:
        """The public sealing keys ``wanted``, by their hashes: of members of a group, as the signed documents name them."""
        return self._public_keys(f"/sealing-keys?group={group_id.hex()}", list(wanted))

    def older_profile_keys(self, profile_id: bytes) -> dict[int, ProfileKey]:
        """The keys of a profile's older epochs whose boxes the server keeps, by epoch: they open the history."""
        leaves = self._state.old_keys(profile_id)
        if not leaves:
            return {}
        boxes = {digest(box): box for box in decode_old_keys(self._operator.get(f"/profiles/{profile_id.hex()}/old-keys"))}
        current = self.profile(profile_id)
        return {
            epoch: current.unwrap_old(epoch, leaf.kcv, boxes[leaf.box_sha256])
            for epoch, leaf in leaves.items()
            if leaf.box_sha256 in boxes
        }

    def ciphertexts(self, profile_id: bytes) -> dict[bytes, tuple[int, bytes]]:
        """Version and ciphertext of each live secret of a profile, by id: exactly those of its verified contents."""
        entries = {id_: entry for id_, entry in self._state.entries(profile_id).items() if entry.is_live}
        if not entries:
            return {}
        delivered = decode_ciphertexts(self._operator.get(f"/profiles/{profile_id.hex()}/contents")).ciphertexts
        if delivered.keys() != entries.keys():
            name = self._state.profiles[profile_id].name
            raise Overtaken(f"The secrets received are not exactly those of the profile {name!r}.")
        for secret_id, entry in entries.items():
            if digest(delivered[secret_id]) != entry.ciphertext_sha256:
                raise Overtaken("A secret received is not the one in the profile's contents.")
        return {secret_id: (entry.version, delivered[secret_id]) for secret_id, entry in entries.items()}

    def _public_keys(self, path: str, wanted: Iterable[bytes]) -> dict[bytes, bytes]:
        missing = [sha256 for sha256 in wanted if sha256 not in self._sealing]
        if missing:
            offered = {sealing_key_hash(raw): raw for raw in decode_sealing_keys(self._operator.get(path))}
            if not offered.keys() >= set(missing):
                raise Overtaken("A public sealing key that the signed documents name was not delivered.")
            self._sealing.update({sha256: offered[sha256] for sha256 in missing})
        return {sha256: self._sealing[sha256] for sha256 in wanted}

    def _keys(self) -> Keys:
        if self._fetched is None:
            self._fetched = decode_keys(self._operator.get("/keys"))
        return self._fetched

    def _open_group(self, group_id: bytes) -> GroupKey:
        group = self._state.groups[group_id]
        member = self._state.group_members(group_id).get(self._operator.id)
        if member is None:
            raise Refused("FORBIDDEN", f"You are not a member of the group {group.name!r}.")
        blob = self._keys().seals.get(group_id)
        if blob is None or digest(blob) != member.sealed_sha256:
            raise Overtaken(f"The sealed key of the group {group.name!r} is not the one in its member map.")
        return open_group_key(
            self._operator.keyset.seal,
            self._operator.org_id,
            group_id,
            group.epoch,
            "operator",
            self._operator.id,
            group.kcv,
            blob,
        )

    def _open_profile(self, profile_id: bytes) -> ProfileKey:
        profile = self._state.profiles[profile_id]
        require_granted(profile)
        for group_id, grant in profile.grants.items():
            if self._operator.id not in self._state.leaves("members", group_id):
                continue
            blob = self._keys().wraps.get((profile_id, group_id))
            if blob is None or digest(blob) != grant.wrap_sha256:
                raise Overtaken(f"The boxed key of the profile {profile.name!r} is not the one that its grant names.")
            return self.group(group_id).unwrap(profile_id, profile.epoch, profile.kcv, blob)
        raise Refused("FORBIDDEN", f"You may not read the profile {profile.name!r}: you are in none of its groups.")
