"""Whoever keeps every key that they ever got, and gets a dump of the database after each act: what can they open?

``Keyholders`` takes the key of each token as its agent had it, and of each operator who is no admin, tries it on every blob
of each dump since then, and goes on with the keys that come out, whether its holder was still a member by then or not; no
key is ever given back. What each blob
is said to be (which group, which epoch, which version) stands in documents that a dump holds too; keys are tried under those
words whatever epoch they are of, so that an epoch which is new by its number alone opens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress

from stronghold_cli.crypto.keys import GroupKey, Keyset, ProfileKey, TokenSecret, open_group_key
from stronghold_cli.crypto.seal import SealingKey
from stronghold_cli.crypto.tokens import unlock_master_key
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.keys import SEALING_KEY_BYTES
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.protocol.token import AgentToken

Key = tuple[bytes, bytes]  # of which group or profile, and its raw bytes
Version = tuple[bytes, bytes, int]  # profile, secret, number


class Keyholders:
    """Agents and operators of an org, who forget nothing. ``step`` counts the dumps."""

    def __init__(self, org_id: bytes) -> None:
        self.step = 0
        self._org_id = org_id
        self._seals: dict[bytes, SealingKey] = {}
        self._tried: set[tuple[bytes, bytes]] = set()
        self._born: dict[bytes, int] = {}
        self._versions: dict[bytes, Version] = {}
        self._group_keys: dict[bytes, set[bytes]] = defaultdict(set)
        self._profile_keys: dict[bytes, set[bytes]] = defaultdict(set)
        self._held: dict[bytes, set[Key]] = defaultdict(set)  # by each member
        self._leads: dict[Key, dict[bytes, Key]] = defaultdict(dict)  # from a key, by a blob, to another key
        self._opened: dict[Key, dict[bytes, int]] = defaultdict(dict)  # the blobs, and the step at which each was new
        self._blobs: dict[bytes, bytes] = {}

    def keep(self, token: AgentToken, share: bytes) -> None:
        """The master key of a token, as its agent had it while it was live."""
        secret = TokenSecret(token.secret)
        self._seals[secret.token_id] = unlock_master_key(token, secret, share).seal

    def keep_operator(self, keyset: Keyset) -> None:
        """The sealing key of an operator."""
        self._seals[keyset.operator_id] = keyset.seal

    def dump(self, blobs: dict[bytes, bytes], state: OrgState) -> set[Version]:
        """Try every key on what is new in a dump; returns the versions of secrets that the dump holds."""
        self.step += 1
        self._blobs = blobs
        for sha256 in blobs:
            self._born.setdefault(sha256, self.step)
        # From the outside in: what comes out of the first are the keys for the next.
        places = self._try_groups(state)
        for profile in state.profiles.values():
            places |= self._try_grants(profile)
            places |= self._try_older_keys(profile, state)
            self._try_entries(profile, state)
        for keys in self._held.values():
            self._follow(keys)
        kept = [sha256 for sha256, blob in blobs.items() if sha256 not in places and len(blob) != SEALING_KEY_BYTES]
        unknown = [sha256 for sha256 in kept if sha256 not in self._versions]
        assert not unknown, f"the dump holds {len(unknown)} blobs that no document names any more"
        versions = [self._versions[sha256] for sha256 in kept]
        assert len(set(versions)) == len(versions), "the dump holds a version of a secret under two keys"
        return set(versions)

    def members(self) -> Iterable[bytes]:
        """The ids of all who keep keys."""
        return self._seals

    def newest_opened(self, member_id: bytes) -> dict[bytes, int]:
        """Of each profile, the newest step at which anything in the dump was written that this member can open."""
        found: dict[bytes, int] = {}
        for key in self._held[member_id]:
            steps = (step for sha256, step in self._opened[key].items() if sha256 in self._blobs)
            found[key[0]] = max(found.get(key[0], 0), *steps, 0)
        return found

    def opens(self, member_id: bytes, ciphertexts: Iterable[bytes]) -> bool:
        """Whether this member can open all of these."""
        mine = set[bytes]().union(*(self._opened[key].keys() for key in self._held[member_id]))
        return mine >= set(ciphertexts)

    def _follow(self, keys: set[Key]) -> None:
        """Add the keys to which these lead, by the blobs of this dump."""
        ways = set(keys)
        while ways:
            ways = {key for way in ways for sha256, key in self._leads[way].items() if sha256 in self._blobs} - keys
            keys |= ways

    def _try_groups(self, state: OrgState) -> set[bytes]:
        """Each member's key on its seals; the hashes of all seals."""
        places = set()
        for group_id, group in state.groups.items():
            for member_id, leaf in state.group_members(group_id).items():
                places.add(leaf.sealed_sha256)
                if member_id in self._seals and self._is_new(member_id, leaf.sealed_sha256):
                    named = (self._org_id, group_id, group.epoch, leaf.kind, member_id, group.kcv)
                    key = open_group_key(self._seals[member_id], *named, self._blobs[leaf.sealed_sha256])
                    self._group_keys[group_id].add(key.raw)
                    self._held[member_id].add((group_id, key.raw))
        return places

    def _try_grants(self, profile: Profile) -> set[bytes]:
        for group_id, grant in profile.grants.items():
            for raw in self._group_keys[group_id]:
                if self._is_new(raw, grant.wrap_sha256):
                    key = GroupKey(raw, self._org_id, group_id, grant.epoch)
                    self._try_wrap(key, profile.id, profile.epoch, profile.kcv, self._blobs[grant.wrap_sha256])
        return {grant.wrap_sha256 for grant in profile.grants.values()}

    def _try_older_keys(self, profile: Profile, state: OrgState) -> set[bytes]:
        older = state.old_keys(profile.id)
        for epoch, leaf in older.items():
            for raw in tuple(self._profile_keys[profile.id]):
                if leaf.box_sha256 in self._blobs and self._is_new(raw, leaf.box_sha256):
                    key = ProfileKey(raw, self._org_id, profile.id, profile.epoch)
                    self._try_old(key, epoch, leaf.kcv, self._blobs[leaf.box_sha256])
        return {leaf.box_sha256 for leaf in older.values()}

    def _try_entries(self, profile: Profile, state: OrgState) -> None:
        for secret_id, entry in state.entries(profile.id).items():
            sha256 = entry.ciphertext_sha256
            if entry.is_live:
                self._versions[sha256] = (profile.id, secret_id, entry.version)
                for raw in self._profile_keys[profile.id]:
                    if self._is_new(raw, sha256):
                        key = ProfileKey(raw, self._org_id, profile.id, entry.epoch)
                        self._try_secret(key, secret_id, entry.version, sha256, self._blobs[sha256])

    def _is_new(self, key: bytes, sha256: bytes) -> bool:
        """Whether this key was not tried on this blob yet."""
        pair = (key, sha256)
        if pair in self._tried:
            return False
        self._tried.add(pair)
        return True

    def _try_wrap(self, group_key: GroupKey, profile_id: bytes, profile_epoch: int, kcv: bytes, blob: bytes) -> None:
        with suppress(IntegrityError):
            key = group_key.unwrap(profile_id, profile_epoch, kcv, blob)
            self._profile_keys[profile_id].add(key.raw)
            self._leads[group_key.group_id, group_key.raw][digest(blob)] = (profile_id, key.raw)

    def _try_old(self, profile_key: ProfileKey, old_epoch: int, kcv: bytes, blob: bytes) -> None:
        with suppress(IntegrityError):
            key = profile_key.unwrap_old(old_epoch, kcv, blob)
            self._profile_keys[profile_key.profile_id].add(key.raw)
            self._leads[profile_key.profile_id, profile_key.raw][digest(blob)] = (profile_key.profile_id, key.raw)

    def _try_secret(self, profile_key: ProfileKey, secret_id: bytes, version: int, sha256: bytes, blob: bytes) -> None:
        with suppress(IntegrityError):
            profile_key.open_secret(secret_id, version, blob)
            self._opened[profile_key.profile_id, profile_key.raw][sha256] = self._born[sha256]
