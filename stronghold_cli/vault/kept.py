"""The kept versions of secrets as the server delivers them: page by page, each proven before anything of it is used.

Protocol section 5: each leaf of an entry names the one before, so one chain leads from the current leaf, which is verified,
down to the last leaf of version ``oldest``. A page that is left out, repeated, or from another state does not continue that
chain. Which deleted secrets there are is told by the verified leaves as well. An old version is boxed under the profile key
of its epoch, that key under the newest one; both are compared with hashes and commitments in verified documents.

One page is held at a time, and no value for longer than its reader keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stronghold_cli.crypto.keys import ProfileKey
from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.protocol.documents.base import ZERO_HASH
from stronghold_cli.protocol.documents.leaves import EntryLeaf, decode_entry_leaf, leaf_link
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.messages_past import MAX_HISTORY_BODY, KeptSecret, KeptSecrets, decode_kept_secrets
from stronghold_cli.protocol.record import Record
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.keyring import Overtaken
from stronghold_cli.vault.opening import open_if_legal


class Opened(Record):
    """A version that the history names; ``secret`` is ``None`` where it is a deletion, or cannot be read by anybody."""

    number: int
    epoch: int
    is_deletion: bool
    secret: Secret | None


class KeptVersions:
    """The versions of a profile's secrets as of the vault's state; ``Overtaken`` where the answers do not belong to it."""

    def __init__(self, vault: Vault, profile_id: bytes) -> None:
        self._operator = vault.operator
        self._state = vault.state
        self._profile_id = profile_id
        self._path = f"/profiles/{profile_id.hex()}/history"
        self._entries = vault.state.leaves("entries", profile_id)
        self._keys = _Keys(vault, profile_id)

    def of(self, secret_id: bytes) -> Iterator[Opened]:
        """All kept versions of a secret, the newest first."""
        return self._follow(_Chain(secret_id, self._entries[secret_id]), None)

    def last_values(self) -> Iterator[tuple[bytes, Opened]]:
        """Of each deleted secret of which a value is kept, by id: the newest version that is no deletion."""
        wanted = [(id_, raw) for id_, raw in sorted(self._entries.items()) if _may_have_value(decode_entry_leaf(raw))]
        place = 0
        while place < len(wanted):
            after = f"?after={wanted[place - 1][0].hex()}" if place else ""
            page = self._fetch(after)
            delivered = sorted(page.secrets)
            if not delivered or delivered != [id_ for id_, _ in wanted[place : place + len(delivered)]]:
                raise Overtaken("The deleted secrets received are not those of the profile.")
            for id_, raw in wanted[place : place + len(delivered)]:
                versions = self._follow(_Chain(id_, raw), page.secrets[id_])
                last = next((version for version in versions if not version.is_deletion), None)
                if last is not None:
                    yield id_, last
            place += len(delivered)

    def _follow(self, chain: _Chain, run: KeptSecret | None) -> Iterator[Opened]:
        """Open what a chain leads to; ``run`` is its first page, where that is here already."""
        query = f"?secret={chain.secret_id.hex()}"
        while not chain.is_whole:
            if run is None:
                page = self._fetch(query if chain.before is None else f"{query}&before={chain.before}")
                if page.secrets.keys() != {chain.secret_id}:
                    raise Overtaken("The history received is not that of the secret that was asked for.")
                run = page.secrets[chain.secret_id]
            for leaf, ciphertext in chain.take(run):
                secret = None if ciphertext is None else self._open(chain.secret_id, leaf, ciphertext)
                yield Opened(number=leaf.version, epoch=leaf.epoch, is_deletion=not leaf.is_live, secret=secret)
            run = None

    def _fetch(self, query: str) -> KeptSecrets:
        page = decode_kept_secrets(self._operator.get(f"{self._path}{query}", MAX_HISTORY_BODY))
        self._keys.learn(page.boxes)
        return page

    def _open(self, secret_id: bytes, leaf: EntryLeaf, ciphertext: bytes) -> Secret | None:
        return open_if_legal(self._keys.of(leaf.epoch), secret_id, leaf.version, ciphertext)


class _Chain:
    """The way from a secret's current leaf back to its oldest version; ``before`` is where the next page begins."""

    def __init__(self, secret_id: bytes, current: bytes) -> None:
        self.secret_id = secret_id
        self.before: int | None = None
        self.is_whole = False
        self._current = current
        self._oldest = decode_entry_leaf(current).oldest
        self._last: EntryLeaf | None = None

    def take(self, run: KeptSecret) -> list[tuple[EntryLeaf, bytes | None]]:
        """The last leaf of each further version, with its ciphertext, of a run that continues the chain exactly."""
        found: list[tuple[EntryLeaf, bytes | None]] = []
        for raw in run.leaves:
            leaf, newer = self._next(raw), self._last
            self._last = leaf
            if newer is None or newer.version != leaf.version:
                found.append((leaf, self._ciphertext_of(leaf, run)))
            self.is_whole = leaf.version == self._oldest
        if run.ciphertexts.keys() != {leaf.version for leaf, ciphertext in found if ciphertext is not None}:
            raise Overtaken("The kept versions of a secret are not those that its history names.")
        if not run.leaves:
            raise self._broken("The history of a secret ends before its oldest version.")
        self.before = run.before
        return found

    def _next(self, raw: bytes) -> EntryLeaf:
        """The leaf, if it is the current one, or the one that the last leaf names as the one before it."""
        if self.is_whole:
            raise self._broken("The history of a secret goes on below its oldest version.")
        if self._last is None:
            if raw != self._current:
                raise self._broken("The history of a secret does not begin with its current version.")
            return decode_entry_leaf(raw)
        if self._last.prev == ZERO_HASH or self._last.prev != leaf_link(self.secret_id, raw):
            raise self._broken("The history of a secret does not hang together.")
        leaf = decode_entry_leaf(raw)
        if not 0 <= self._last.version - leaf.version <= 1:
            raise self._broken("A version is missing in the history of a secret.")
        return leaf

    def _ciphertext_of(self, leaf: EntryLeaf, run: KeptSecret) -> bytes | None:
        if not leaf.is_live:
            return None
        if leaf.version not in run.ciphertexts:
            raise Overtaken("The kept versions of a secret are not those that its history names.")
        if digest(run.ciphertexts[leaf.version]) != leaf.ciphertext_sha256:
            raise Overtaken("An older version received is not the one in the secret's history.")
        return run.ciphertexts[leaf.version]

    def _broken(self, sentence: str) -> Overtaken:
        return Overtaken(sentence, evidence={"secret": self.secret_id.hex()})


class _Keys:
    """The keys of a profile by epoch: the current one, and older ones out of the boxes delivered."""

    def __init__(self, vault: Vault, profile_id: bytes) -> None:
        self._ring = vault.keys
        self._profile_id = profile_id
        self._leaves = vault.state.old_keys(profile_id)
        self._named = {leaf.box_sha256 for leaf in self._leaves.values()}
        self._boxes: dict[bytes, bytes] = {}
        self._keys: dict[int, ProfileKey] = {}

    def learn(self, boxes: Iterable[bytes]) -> None:
        """Keep those boxes that the profile's document names."""
        self._boxes.update((sha256, box) for box in boxes if (sha256 := digest(box)) in self._named)

    def of(self, epoch: int) -> ProfileKey:
        """The key of an epoch."""
        current = self._ring.profile(self._profile_id)
        if epoch == current.epoch:
            return current
        if epoch not in self._keys:
            leaf = self._leaves.get(epoch)
            if leaf is None or leaf.box_sha256 not in self._boxes:
                raise Overtaken("An older key of the profile was not delivered.", evidence={"epoch": epoch})
            self._keys[epoch] = current.unwrap_old(epoch, leaf.kcv, self._boxes[leaf.box_sha256])
        return self._keys[epoch]


def _may_have_value(entry: EntryLeaf) -> bool:
    """Whether it is deleted, and a version below the deletion is kept."""
    return not entry.is_live and entry.oldest < entry.version
