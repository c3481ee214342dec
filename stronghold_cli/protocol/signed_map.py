"""The signed map and the RFC 6962 tree under it (protocol sections 2 and 5; the audit log of section 7 uses the same tree).

A signed map is a list of (key, value) leaves sorted by raw key bytes; its root is the RFC 6962 root over
``TLV(key, value)``, of an empty map SHA-256 of nothing. Two forms: ``map_root`` for those who only compare, ``SignedMap``
for those who also prove. Below them stand the tree's own functions over leaf hashes, and ``Frontier``, the growing tree of
a log.

RFC 6962 cuts n leaves at the largest power of two below n. Pairing the nodes of each level from the left, and lifting an
odd last one unchanged, gives the same tree; so everything here goes level by level.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

from stronghold_cli.protocol.encoding import tlv
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.record import Record

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


class MapRoot(Record):
    """What a document holds of a map: the number of leaves and the 32-byte root."""

    size: int
    root: bytes


class Inclusion(Record):
    """Where a leaf stands among the sorted leaves, and the sibling hashes from the leaf upwards (RFC 6962, 2.1.1)."""

    index: int
    path: tuple[bytes, ...]


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 ‖ ``data``): the hash of a leaf (RFC 6962, section 2.1)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ ``left`` ‖ ``right``): the hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


class SignedMap(Mapping[bytes, bytes]):
    """A map with all levels of its tree, so that a proof costs one look-up per level. Iterates in leaf order."""

    __slots__ = ("_keys", "_leaves", "_levels", "root")

    def __init__(self, leaves: Mapping[bytes, bytes]) -> None:
        self._leaves = dict(leaves)
        self._keys = sorted(self._leaves)
        self._levels = [_leaf_hashes(self._leaves, self._keys)]
        while len(self._levels[-1]) > 1:
            self._levels.append(_parents(self._levels[-1]))
        top = self._levels[-1]
        self.root = MapRoot(size=len(self._keys), root=top[0] if top else EMPTY_ROOT)

    def prove(self, key: bytes) -> Inclusion:
        """The inclusion proof of ``key``'s leaf; ``KeyError`` where there is none."""
        if key not in self._leaves:
            raise KeyError(key)
        index = bisect_left(self._keys, key)
        return Inclusion(index=index, path=_path(index, self._levels))

    def __getitem__(self, key: bytes) -> bytes:
        return self._leaves[key]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"SignedMap({len(self._keys)} leaves, root {self.root.root.hex()[:16]}…)"


def map_root(leaves: Mapping[bytes, bytes]) -> MapRoot:
    """The root of a map, without keeping its tree."""
    return MapRoot(size=len(leaves), root=tree_root(_leaf_hashes(leaves, sorted(leaves))))


def verify_inclusion(root: MapRoot, key: bytes, value: bytes, proof: Inclusion) -> None:
    """Return if the leaf (``key``, ``value``) stands in the map of ``root``, else raise ``IntegrityError``."""
    verify_leaf_inclusion(leaf_hash(tlv(key, value)), proof.index, root.size, proof.path, root.root)


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """The RFC 6962 root over leaf hashes; of none, ``EMPTY_ROOT``."""
    level = list(hashes)
    while len(level) > 1:
        level = _parents(level)
    return level[0] if level else EMPTY_ROOT


def inclusion_path(index: int, hashes: Sequence[bytes]) -> tuple[bytes, ...]:
    """The audit path of leaf ``index``, from the leaf upwards; ``IndexError`` where there is no such leaf."""
    if not 0 <= index < len(hashes):
        raise IndexError(f"a tree of {len(hashes)} leaves has no leaf {index}")
    levels = [list(hashes)]
    while len(levels[-1]) > 1:
        levels.append(_parents(levels[-1]))
    return _path(index, levels)


def consistency_path(old_size: int, hashes: Sequence[bytes]) -> tuple[bytes, ...]:
    """The proof that the tree over ``hashes`` continues that over its first ``old_size`` leaves (RFC 6962, 2.1.2).

    Empty where ``old_size`` is 0 or the size itself; ``IndexError`` where it is larger.
    """
    if not 0 <= old_size <= len(hashes):
        raise IndexError(f"a tree of {len(hashes)} leaves has no older size {old_size}")
    return tuple(_subproof(old_size, hashes, True)) if old_size else ()


def verify_leaf_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Return if ``leaf`` (a leaf hash) is number ``index`` in the tree of ``size`` leaves under ``root``.

    Raises ``IntegrityError`` otherwise, also for a path that is too short or too long and for hashes that are not 32 bytes.
    Source: RFC 9162, section 2.1.3.2 (the tree is RFC 6962's).
    """
    _check_hashes((leaf, root, *path))
    if not 0 <= index < size:
        raise IntegrityError(f"a proof is for leaf {index} of a tree of {size}")
    position, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise IntegrityError("an inclusion proof is too long")
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            position, last = _climb_lifted(position, last)
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise IntegrityError("an inclusion proof is too short")
    if node != root:
        raise IntegrityError("an inclusion proof does not lead to the root")


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """Return if the tree (``new_size``, ``new_root``) continues (``old_size``, ``old_root``), else raise ``IntegrityError``.

    Every tree continues the empty one; that takes an empty path. Source: RFC 9162, section 2.1.4.2.
    """
    _check_hashes((old_root, new_root, *path))
    if not 0 <= old_size <= new_size:
        raise IntegrityError(f"a tree of {new_size} leaves cannot continue one of {old_size}")
    if (old_size == 0 and old_root != EMPTY_ROOT) or (new_size == 0 and new_root != EMPTY_ROOT):
        raise IntegrityError("the root of an empty tree is wrong")
    if old_size in (0, new_size):
        if path or (old_size == new_size and old_root != new_root):
            raise IntegrityError("two trees of one size differ, or a consistency proof is too long")
        return
    if old_size & (old_size - 1) == 0:  # the old tree is itself a node of the new one
        path = (old_root, *path)
    if not path:
        raise IntegrityError("a consistency proof is too short")
    _fold_consistency(old_size, old_root, new_size, new_root, path)


class Frontier:
    """A growing tree that keeps only its peaks: the roots of the complete subtrees, from the left and largest."""

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        """Continue a tree of ``size`` leaves; ``peaks`` are as many as ``size`` has bits set, else ``IntegrityError``."""
        _check_hashes(peaks)
        if size < 0 or len(peaks) != size.bit_count():
            raise IntegrityError(f"a tree of {size} leaves does not have {len(peaks)} peaks")
        self.size = size
        self._peaks = list(peaks)

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """The roots of the complete subtrees, the largest first."""
        return tuple(self._peaks)

    @property
    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._peaks:
            return EMPTY_ROOT
        *left, node = self._peaks
        for peak in reversed(left):
            node = node_hash(peak, node)
        return node

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf hash; return every complete subtree that it finishes, as (level, index in the level, hash).

        The leaf itself comes first, as level 0; a subtree of level n covers 2^n leaves.
        """
        _check_hashes((leaf,))
        level, index, node = 0, self.size, leaf
        finished = [(level, index, node)]
        while index & 1:
            level, index, node = level + 1, index >> 1, node_hash(self._peaks.pop(), node)
            finished.append((level, index, node))
        self._peaks.append(node)
        self.size += 1
        return finished


def _leaf_hashes(leaves: Mapping[bytes, bytes], keys: Sequence[bytes]) -> list[bytes]:
    """``leaf_hash(tlv(key, value))`` of each leaf, written out: every verified map of every pull goes through here."""
    hashes = []
    for key in keys:
        value = leaves[key]
        leaf = b"\x00" + len(key).to_bytes(4, "big") + key + len(value).to_bytes(4, "big") + value
        hashes.append(sha256(leaf).digest())
    return hashes


def _parents(level: Sequence[bytes]) -> list[bytes]:
    """The level above: each pair hashed, an odd last node lifted as it is."""
    above = [sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
    if len(level) & 1:
        above.append(level[-1])
    return above


def _path(index: int, levels: Sequence[Sequence[bytes]]) -> tuple[bytes, ...]:
    path = []
    for level in levels:
        sibling = index ^ 1
        if sibling < len(level):  # a lifted node has none
            path.append(level[sibling])
        index >>= 1
    return tuple(path)


def _subproof(old_size: int, hashes: Sequence[bytes], known: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2; ``known``: the verifier has the root of these leaves already."""
    if old_size == len(hashes):
        return [] if known else [tree_root(hashes)]
    cut = 1 << (len(hashes) - 1).bit_length() - 1
    if old_size <= cut:
        return [*_subproof(old_size, hashes[:cut], known), tree_root(hashes[cut:])]
    return [*_subproof(old_size - cut, hashes[cut:], False), tree_root(hashes[:cut])]


def _fold_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """Steps 3 to 7 of RFC 9162, 2.1.4.2: rebuild both roots from one path."""
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for node in path[1:]:
        if last == 0:
            raise IntegrityError("a consistency proof is too long")
        if position & 1 or position == last:
            old, new = node_hash(node, old), node_hash(node, new)
            position, last = _climb_lifted(position, last)
        else:
            new = node_hash(new, node)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise IntegrityError("a consistency proof is too short")
    if old != old_root or new != new_root:
        raise IntegrityError("a consistency proof does not lead to both roots")


def _climb_lifted(position: int, last: int) -> tuple[int, int]:
    """Pass the levels through which an odd last node was lifted without a sibling."""
    while position and not position & 1:
        position, last = position >> 1, last >> 1
    return position, last


def _check_hashes(hashes: Sequence[bytes]) -> None:
    for item in hashes:
        if len(item) != HASH_BYTES:
            raise IntegrityError(f"a hash in a tree or proof has {len(item)} bytes instead of {HASH_BYTES}")
