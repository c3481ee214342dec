"""The exposure ledger: what an agent could decrypt, what it did fetch, and what of that is still current (section 8).

The ledger follows keys, not intentions. A token that is sealed a group's key at some epoch can open every profile key boxed
under that, until the group gets another; with a profile key, the current versions and, by the boxes of older keys, all
versions that are kept. That stays so after a revoke, until the next re-key: the keys may have been taken out of the token
while it lived. All of it is told by verified states (``past``); what was fetched, by the log's entries, whose signatures are
checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.leaves import EntryLeaf, decode_entry_leaf
from stronghold_cli.protocol.errors import IntegrityError, NotFound
from stronghold_cli.protocol.names import caseless, nfc
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.state import Leaves, OrgState
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.evidence import is_as_signed, verify_entry
from stronghold_cli.vault.log import leaves_back
from stronghold_cli.vault.lookup import nearest, shown_id
from stronghold_cli.vault.past import Past, Step


class Exposed(Record):
    """One secret: the versions that could be decrypted, those of them that only ended tokens' keys count for, those fetched.

    ``current`` is its version now, ``None`` where it, or its profile, was deleted.
    """

    profile_id: bytes
    profile_name: str
    secret_id: bytes
    versions: tuple[int, ...]
    by_ended: tuple[int, ...]
    fetched: tuple[int, ...]
    current: int | None

    @property
    def is_current(self) -> bool:
        """Whether what could be decrypted is still in use."""
        return self.current in self.versions


class Exposure(Record):
    """All that an agent could decrypt. ``has_ended``: a token of it did; ``in_use``: keys that such a one had still are."""

    agent_id: bytes
    agent_name: str
    is_deleted: bool
    has_ended: bool
    in_use: bool
    secrets: tuple[Exposed, ...]

    def todo(self) -> tuple[Exposed, ...]:
        """What to rotate at its source: current versions that ended tokens' keys open; all tokens' where none ended."""
        if not self.has_ended:
            return tuple(item for item in self.secrets if item.is_current)
        return tuple(item for item in self.secrets if item.current in item.by_ended)


class _Readable(Record):
    """A profile granted to one of the agent's groups, in one state."""

    name: str
    grants: frozenset[tuple[bytes, int]]
    version: int
    entries: Leaves

    def __repr__(self) -> str:
        return f"_Readable({self.name!r}, version {self.version})"


class _Moment(Record):
    """What concerns the agent in one state."""

    seq: int
    tokens: frozenset[bytes]
    groups: frozenset[tuple[bytes, int]]
    profiles: Mapping[bytes, _Readable]

    def __repr__(self) -> str:
        return f"_Moment(seq={self.seq})"


def expose(vault: Vault, text: str) -> Exposure:
    """The ledger of the agent of that name or id, also of a deleted one; ``NotFound`` where none ever was."""
    life = _Life(vault, text)
    agent = life.agent
    fetched = _fetched(vault, life)
    could: dict[tuple[bytes, bytes], dict[int, set[bytes]]] = {}
    did: dict[tuple[bytes, bytes], set[int]] = {}
    names: dict[bytes, str] = {}
    held: dict[tuple[bytes, int], set[bytes]] = {}
    for moment in life.moments:
        for key in moment.groups:
            held.setdefault(key, set()).update(moment.tokens)
        for profile_id, profile in moment.profiles.items():
            holders = set[bytes]().union(*(held.get(key, set()) for key in profile.grants))
            names[profile_id] = profile.name
            for secret_id, value in profile.entries.items() if holders else ():
                place, entry = (profile_id, secret_id), decode_entry_leaf(value)
                for version in range(entry.oldest, entry.version + 1):
                    if version not in life.deletions.get(place, ()):
                        could.setdefault(place, {}).setdefault(version, set()).update(holders)
                if entry.is_live and (profile_id, profile.version) in fetched:
                    did.setdefault(place, set()).add(entry.version)
    newest = vault.state.agents.get(agent.id)
    live = frozenset(() if newest is None else newest.tokens)
    secrets = tuple(
        Exposed(
            profile_id=place[0],
            profile_name=vault.state.profiles[place[0]].name if place[0] in vault.state.profiles else names[place[0]],
            secret_id=place[1],
            versions=tuple(sorted(versions)),
            by_ended=tuple(sorted(version for version, holders in versions.items() if holders - live)),
            fetched=tuple(sorted(did.get(place, ()))),
            current=_current(vault.state, *place),
        )
        for place, versions in could.items()
    )
    return Exposure(
        agent_id=agent.id,
        agent_name=agent.name if newest is None else newest.name,
        is_deleted=newest is None,
        has_ended=bool(life.keys.keys() - live),
        in_use=_in_use(vault.state, {key for key, tokens in held.items() if tokens - live}),
        secrets=tuple(sorted(secrets, key=lambda item: (item.profile_name, item.profile_id, item.secret_id))),
    )


class _Life:
    """The states in which an agent stood, oldest first in ``moments``; ``keys`` are the public keys of all its tokens.

    ``deletions`` are the versions of secrets that say that they were deleted: of these there is nothing to decrypt.
    """

    def __init__(self, vault: Vault, text: str) -> None:
        self.moments: list[_Moment] = []
        self.keys: dict[bytes, bytes] = {}
        self.deletions: dict[tuple[bytes, bytes], set[int]] = {}
        self._missing: dict[tuple[bytes, bytes], int] = {}
        self._seen: set[str] = set()
        self._is_born = False
        self._found = _named(vault.state.agents.values(), text)
        for step in Past(vault.operator, vault.state, vault.progress).steps():
            if not self._follow(step, text):
                break
        if self._found is None:
            near = nearest(sorted(self._seen), text)
            raise NotFound(
                f"There is no agent named {text[:60]!r}, and there never was.",
                hint=f"Did you mean {near!r}?" if near else "List them with: stronghold agent list",
            )
        self.moments.reverse()
        self.first_seq = self.moments[0].seq

    @property
    def agent(self) -> Agent:
        """The agent as it was last."""
        if self._found is None:
            raise NotFound("There is no such agent.")
        return self._found

    def _follow(self, step: Step, text: str) -> bool:
        """Take in the state after a commit; whether to go further back."""
        self._seen.update(agent.name for agent in step.after.agents.values())
        if self._found is None:
            self._found = None if step.before is None else _named(step.before.agents.values(), text)
            return True
        agent = step.after.agents.get(self._found.id)
        if agent is not None:
            self._take(step.after, agent)
        if step.before is None:
            return False
        self._look_for_deletions(step.before)
        self._is_born |= agent is not None and agent.id not in step.before.agents
        return bool(self._missing) or not self._is_born

    def _take(self, state: OrgState, agent: Agent) -> None:
        self.keys.update((token_id, token.auth_public_key) for token_id, token in agent.tokens.items())
        later = self.moments[-1] if self.moments else None
        profiles: dict[bytes, _Readable] = {}
        for profile in state.profiles.values():
            grants = frozenset((id_, grant.epoch) for id_, grant in profile.grants.items() if id_ in agent.groups)
            if grants:
                entries = state.leaves("entries", profile.id)
                known = None if later is None else later.profiles.get(profile.id)
                readable = _Readable(
                    name=profile.name,
                    grants=grants,
                    version=state.contents[profile.id].document.version,
                    entries=entries,
                )
                profiles[profile.id] = known if known is not None and _is_same(known, readable) else readable
                if known is None or known.entries is not entries:
                    self._note_entries(profile.id, entries)
        self.moments.append(
            _Moment(
                seq=state.seq,
                tokens=frozenset(agent.tokens),
                groups=frozenset((id_, state.groups[id_].epoch) for id_ in agent.groups),
                profiles=profiles,
            )
        )

    def _note_entries(self, profile_id: bytes, entries: Leaves) -> None:
        for secret_id, value in entries.items():
            place, entry = (profile_id, secret_id), decode_entry_leaf(value)
            self._note_version(place, entry)
            # Versions below that no state was looked at for yet: each may say that the secret was deleted. The further back,
            # the lower is the oldest one that was kept.
            self._missing[place] = entry.oldest

    def _look_for_deletions(self, before: OrgState) -> None:
        for place, oldest in list(self._missing.items()):
            value = before.leaves("entries", place[0]).get(place[1])
            entry = None if value is None else decode_entry_leaf(value)
            if entry is not None:
                self._note_version(place, entry)
            if entry is None or entry.version <= oldest:
                del self._missing[place]

    def _note_version(self, place: tuple[bytes, bytes], entry: EntryLeaf) -> None:
        if not entry.is_live:
            self.deletions.setdefault(place, set()).add(entry.version)


def _named(agents: Iterable[Agent], text: str) -> Agent | None:
    wanted = caseless(nfc(text))
    return next((agent for agent in agents if text == shown_id("agent", agent.id) or caseless(agent.name) == wanted), None)


def _is_same(one: _Readable, other: _Readable) -> bool:
    return one.entries is other.entries and (one.name, one.grants, one.version) == (other.name, other.grants, other.version)


def _fetched(vault: Vault, life: _Life) -> set[tuple[bytes, int]]:
    """Profile and contents version of every pull that the agent's tokens were answered."""
    found = set()
    past = Past(vault.operator, vault.state)
    for leaf in leaves_back(vault):
        if leaf.head_seq < life.first_seq:
            break
        token = leaf.key_id.raw if leaf.key_id.kind == "t" else b""
        if token in life.keys and leaf.kind == "pull" and leaf.outcome == "ok" and leaf.document is not None:
            verify_entry(leaf, life.keys[token])
            if not is_as_signed(leaf, past.back_to(leaf.head_seq)):
                raise IntegrityError(f"Entry {leaf.index} of the log is a pull that was not asked for in its request.")
            found.add((leaf.document.id, leaf.document.version))
    return found


def _current(state: OrgState, profile_id: bytes, secret_id: bytes) -> int | None:
    value = state.leaves("entries", profile_id).get(secret_id) if profile_id in state.profiles else None
    entry = None if value is None else decode_entry_leaf(value)
    return entry.version if entry is not None and entry.is_live else None


def _in_use(state: OrgState, held: set[tuple[bytes, int]]) -> bool:
    """Whether a profile is granted under one of these group keys now."""
    return any(
        (group_id, grant.epoch) in held for profile in state.profiles.values() for group_id, grant in profile.grants.items()
    )
