"""New epochs of groups and profiles: what makes a removal a removal (protocol sections 5 and 8; rules R10, R11).

A group's new epoch is a new key, sealed to those who are its members in the draft. A profile's new epoch is a new key, boxed
for every group that it is granted to; every live secret is encrypted anew under it, with the same version; the keys of older
epochs are boxed under it, so that operators can still read the history. Whoever is no member any more holds none of the new
keys, and nothing that is written later opens under the old ones.

``rekey`` is the last step of an act: it goes by the documents as the draft leaves them. Nothing is sent here; the draft's
commit is whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from stronghold_cli.crypto.keys import GroupKey, ProfileKey
from stronghold_cli.protocol.documents.agent import Agent, Token
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.leaves import MemberLeaf
from stronghold_cli.protocol.documents.profile import Grant, Profile
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.rules import expected_members
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.older_keys import carry_older_keys
from stronghold_cli.vault.opening import first_written, open_secrets
from stronghold_cli.vault.sealing import seal_to_member

_KEY = 32
_PROGRESS_STEP = 50


class RenewedSecret(Record):
    """A live secret that was encrypted anew: id, name, and the version that it keeps."""

    id: bytes
    name: str
    version: int


class Rekeyed(Record):
    """What got new keys: the ids of groups, and of profiles with the live secrets of each, by name.

    ``expired`` are the tokens that were past their end and so left their agents, with the agents' ids. ``unreadable`` are
    live secrets that nobody can open, or that have no legal name, or another's, with their profiles' ids: they were deleted.
    ``names`` are those of all these profiles and agents as the act met them: the states before and after a commit may be of
    another time.
    """

    groups: tuple[bytes, ...]
    profiles: Mapping[bytes, tuple[RenewedSecret, ...]]
    expired: Mapping[bytes, bytes]
    unreadable: Mapping[bytes, bytes]
    names: Mapping[bytes, str]

    def __repr__(self) -> str:
        return f"Rekeyed({len(self.groups)} groups, {len(self.profiles)} profiles)"


def rekey(draft: Draft, groups: Iterable[bytes] = (), profiles: Iterable[bytes] = ()) -> Rekeyed:
    """Raise the epochs of these groups and profiles, and of every profile that is granted to one of the groups.

    Raises ``Overtaken`` where others changed the org since the draft's state was verified.
    """
    group_ids = tuple(sorted(set(groups)))
    granted = {profile.id for profile in draft.profiles().values() if not profile.grants.keys().isdisjoint(group_ids)}
    profile_ids = sorted(granted | set(profiles))
    expired = _drop_expired_tokens(draft, set(group_ids))
    # The keys that stand open under those that are replaced next.
    former = {profile_id: draft.keys.profile(profile_id) for profile_id in profile_ids}
    _renew_groups(draft, group_ids)
    renewed: dict[bytes, tuple[RenewedSecret, ...]] = {}
    unreadable: dict[bytes, bytes] = {}
    done, total = 0, sum(len(draft.state.leaves("entries", profile_id)) for profile_id in profile_ids)
    for profile_id in profile_ids:
        renewed[profile_id], garbage = _renew_profile(draft, draft.profiles()[profile_id], former[profile_id])
        unreadable.update(dict.fromkeys(garbage, profile_id))
        done += len(draft.state.leaves("entries", profile_id))
        draft.progress("Encrypting", done, total)
    names = {profile_id: draft.profiles()[profile_id].name for profile_id in profile_ids}
    names.update((agent_id, draft.agents()[agent_id].name) for agent_id in expired.values())
    return Rekeyed(groups=group_ids, profiles=renewed, expired=expired, unreadable=unreadable, names=names)


def drop_expired_tokens(draft: Draft, agent: Agent) -> dict[bytes, Token]:
    """Take tokens past their end, or past their agent's, out of an agent: no new key is sealed to them (section 5)."""
    gone = {id_: token for id_, token in agent.tokens.items() if _is_past(agent, token.not_after, draft.now)}
    if gone:
        draft.put(agent.replace(tokens={id_: token for id_, token in agent.tokens.items() if id_ not in gone}))
    for token_id in gone:
        for group_id in agent.groups:
            draft.set_member(group_id, token_id, None)
    return gone


def _drop_expired_tokens(draft: Draft, group_ids: set[bytes]) -> dict[bytes, bytes]:
    """Of all agents of these groups; returns the tokens' ids with the agents'."""
    expired = {}
    agents = {agent.id: agent for group_id in sorted(group_ids) for agent in draft.agents_with_tokens(group_id)}
    for agent in agents.values():
        expired.update(dict.fromkeys(drop_expired_tokens(draft, agent), agent.id))
    return expired


def _is_past(agent: Agent, not_after: int | None, now: int) -> bool:
    return any(end is not None and end <= now for end in (agent.not_after, not_after))


def _renew_groups(draft: Draft, group_ids: tuple[bytes, ...]) -> None:
    """New keys, sealed to everybody who is a member in the draft, and to nobody else."""
    known = draft.groups()
    members = {
        group_id: expected_members(draft.org, known[group_id], draft.agents_with_tokens(group_id)) for group_id in group_ids
    }
    done, total = 0, sum(map(len, members.values()))
    for group_id, leaves in members.items():
        group: Group = known[group_id]
        key = _new_group_key(draft, group, leaves)
        draft.put(group.replace(epoch=key.epoch, kcv=key.kcv))
        for member_id in draft.members(group_id).keys() - leaves.keys():
            draft.set_member(group_id, member_id, None)
        public_keys = draft.keys.members(group_id, {leaf.seal_sha256 for leaf in leaves.values()})
        for member_id, leaf in leaves.items():
            seal_to_member(draft, key, member_id, leaf, public_keys)
            done += 1
            if done % _PROGRESS_STEP == 0:
                draft.progress("Sealing keys", done, total)
        draft.keys.learn_group(key)


def _new_group_key(draft: Draft, group: Group, leaves: Mapping[bytes, MemberLeaf]) -> GroupKey:
    """The key of the next epoch: that of an earlier attempt only where it was sealed to exactly the same members.

    Else somebody who left the group meanwhile would hold it, since the server has the seals of that attempt.
    """
    known = draft.state.groups.get(group.id)
    members = tuple(sorted((id_, leaf.encode()) for id_, leaf in leaves.items()))
    return draft.work.once(
        lambda: GroupKey(draft.random(_KEY), draft.org_id, group.id, group.epoch + 1),
        *("group", group.id, group.epoch, None if known is None else known.sha256, members),
    )


def _new_profile_key(draft: Draft, profile: Profile, keys: Mapping[bytes, GroupKey]) -> ProfileKey:
    """The key of the next epoch: that of an earlier attempt only where it was boxed under the very same groups' keys."""
    known = draft.state.profiles.get(profile.id)
    return draft.work.once(
        lambda: ProfileKey(draft.random(_KEY), draft.org_id, profile.id, profile.epoch + 1),
        *("profile", profile.id, profile.epoch, None if known is None else known.sha256),
        tuple(sorted((group_id, key.kcv) for group_id, key in keys.items())),
    )


def _renew_profile(draft: Draft, profile: Profile, old: ProfileKey) -> tuple[tuple[RenewedSecret, ...], list[bytes]]:
    """A new key for every group that reads the profile, older keys boxed under it, its live secrets encrypted anew.

    Returns those, and the ids of the ones that no agent takes (section 5, steps 10 and 11). Each ciphertext is the one that
    the signed contents name, so whoever wrote it put no secret there: it may not stand in the way of a removal, or after it.
    Of several secrets of one name the one stays that was written first, as the commits tell it.
    """
    keys = {group_id: draft.keys.group(group_id) for group_id in profile.grants}
    key = _new_profile_key(draft, profile, keys)
    grants = {}
    for group_id, group_key in keys.items():
        wrap = draft.work.once(partial(group_key.wrap, key, draft.random), "wrap", group_key.kcv, key.kcv)
        grants[group_id] = Grant(epoch=group_key.epoch, wrap_sha256=draft.add_blob(wrap))
    carry_older_keys(draft, profile.id, old, key)
    opened = open_secrets(old, draft.keys.ciphertexts(profile.id))
    firsts = first_written(draft, profile, opened.doubles)
    stay = {**opened.secrets, **firsts}
    later = (each.id for name, doubles in opened.doubles.items() for each in doubles if each.id != firsts[name].id)
    garbage = [*opened.unreadable, *later]
    for secret_id in garbage:
        draft.write_entry(profile.id, secret_id, None, epoch=key.epoch)
    renewed, entries = [], draft.state.entries(profile.id)
    for name, stored in stay.items():
        sealed = draft.work.once(
            partial(key.seal_secret, stored.id, stored.version, stored.secret, draft.random),
            *("secret", key.kcv, entries[stored.id].ciphertext_sha256, stored.id, stored.version),
        )
        draft.rekey_entry(profile.id, stored.id, sealed, epoch=key.epoch)
        renewed.append(RenewedSecret(id=stored.id, name=name, version=stored.version))
    draft.touch_contents(profile.id)
    draft.put(profile.replace(epoch=key.epoch, kcv=key.kcv, grants=grants))
    draft.keys.learn_profile(key)
    return tuple(sorted(renewed, key=lambda item: item.name)), garbage
