"""The RFC 6962 tree and the signed map on it, against the vectors of ``tests/vectors/rfc6962``."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from stronghold_cli.protocol.encoding import tlv
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.signed_map import (
    EMPTY_ROOT,
    Frontier,
    Inclusion,
    MapRoot,
    SignedMap,
    consistency_path,
    inclusion_path,
    leaf_hash,
    map_root,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
    verify_leaf_inclusion,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "rfc6962" / "tree.json").read_text())
LEAVES = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]
ROOTS = [bytes.fromhex(root) for root in VECTORS["roots"]]
MAP = {bytes([number]) * 16: b"value %d" % number for number in (5, 3, 1, 4, 2)}


def _path(vector: dict[str, list[str]]) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(node) for node in vector["path"])


def test_roots_of_all_sizes_are_those_of_the_vectors() -> None:
    assert [tree_root(LEAVES[:size]) for size in range(9)] == ROOTS
    assert ROOTS[0] == EMPTY_ROOT == sha256(b"").digest()


@pytest.mark.parametrize("vector", VECTORS["inclusion"], ids=lambda v: f"{v['index']}of{v['size']}")
def test_inclusion_paths_are_those_of_the_vectors_and_verify(vector: dict) -> None:
    index, size, path = vector["index"], vector["size"], _path(vector)
    assert inclusion_path(index, LEAVES[:size]) == path
    verify_leaf_inclusion(LEAVES[index], index, size, path, ROOTS[size])


@pytest.mark.parametrize("vector", VECTORS["inclusion"], ids=lambda v: f"{v['index']}of{v['size']}")
def test_inclusion_with_anything_changed_is_refused(vector: dict) -> None:
    index, size, path, root = vector["index"], vector["size"], _path(vector), ROOTS[vector["size"]]
    leaf = LEAVES[index]
    wrong = [
        (leaf_hash(b"other"), index, size, path, root),
        (leaf, index, size, path, bytes(32)),
        (leaf, index, size, (*path, root), root),
        (leaf, index, size, (root, *path), root),
        (leaf, -1, size, path, root),
        (leaf, size, size, path, root),
        (leaf, index, 0, path, root),
        (leaf, index, -size, path, root),
        (leaf, index, 4 * size, path, root),
        *((leaf, other, size, path, root) for other in range(size) if other != index),
    ]
    for number, node in enumerate(path):
        wrong.append((leaf, index, size, path[:number] + path[number + 1 :], root))
        wrong.append((leaf, index, size, (*path[:number], bytes([node[0] ^ 1]) + node[1:], *path[number + 1 :]), root))
    for arguments in wrong:
        with pytest.raises(IntegrityError):
            verify_leaf_inclusion(*arguments)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_hashes_of_another_length_are_refused_everywhere(length: int) -> None:
    bad, good = bytes(length), LEAVES[0]
    with pytest.raises(IntegrityError, match="bytes instead of 32"):
        verify_leaf_inclusion(bad, 0, 1, (), bad)
    with pytest.raises(IntegrityError, match="bytes instead of 32"):
        verify_leaf_inclusion(good, 0, 2, (bad,), sha256(b"\x01" + good + bad).digest())
    with pytest.raises(IntegrityError, match="bytes instead of 32"):
        verify_consistency(1, bad, 1, bad, ())
    with pytest.raises(IntegrityError, match="bytes instead of 32"):
        verify_consistency(1, good, 2, sha256(b"\x01" + good + bad).digest(), (bad,))
    with pytest.raises(IntegrityError, match="bytes instead of 32"):
        Frontier(1, (bad,))
    with pytest.raises(IntegrityError, match="bytes instead of 32"):
        Frontier().append(bad)


@pytest.mark.parametrize("vector", VECTORS["consistency"], ids=lambda v: f"{v['old_size']}to{v['size']}")
def test_consistency_paths_are_those_of_the_vectors_and_verify(vector: dict) -> None:
    old, size, path = vector["old_size"], vector["size"], _path(vector)
    assert consistency_path(old, LEAVES[:size]) == path
    verify_consistency(old, ROOTS[old], size, ROOTS[size], path)


@pytest.mark.parametrize("vector", VECTORS["consistency"], ids=lambda v: f"{v['old_size']}to{v['size']}")
def test_consistency_with_anything_changed_is_refused(vector: dict) -> None:
    old, size, path = vector["old_size"], vector["size"], _path(vector)
    wrong = [
        (old, bytes(32), size, ROOTS[size], path),
        (old, ROOTS[old], size, bytes(32), path),
        (old, ROOTS[old], size, ROOTS[size], (*path, ROOTS[old])),
        (old, ROOTS[old], size, ROOTS[size], (ROOTS[size], *path)),
        (-old, ROOTS[old], size, ROOTS[size], path),
        (old, ROOTS[old], -size, ROOTS[size], path),
        (size + 1, ROOTS[old], size, ROOTS[size], path),
        (0, ROOTS[old], size, ROOTS[size], path),
        (old, ROOTS[old], 4 * size + 1, ROOTS[size], path),
    ]
    if old != size:
        wrong.append((size, ROOTS[size], old, ROOTS[old], path))
        wrong.append((old, ROOTS[old], size, ROOTS[size], ()))
    for number, node in enumerate(path):
        wrong.append((old, ROOTS[old], size, ROOTS[size], path[:number] + path[number + 1 :]))
        changed = (*path[:number], bytes([node[0] ^ 1]) + node[1:], *path[number + 1 :])
        wrong.append((old, ROOTS[old], size, ROOTS[size], changed))
    for arguments in wrong:
        with pytest.raises(IntegrityError):
            verify_consistency(*arguments)


def test_paths_that_are_too_long_are_refused_even_where_they_lead_to_the_roots_given() -> None:
    extra = bytes(32)
    with pytest.raises(IntegrityError, match="too long"):
        verify_leaf_inclusion(LEAVES[0], 0, 1, (extra,), node_hash(extra, LEAVES[0]))
    path = (*consistency_path(3, LEAVES[:4]), extra)
    with pytest.raises(IntegrityError, match="too long"):
        verify_consistency(3, node_hash(extra, ROOTS[3]), 4, node_hash(extra, ROOTS[4]), path)


def test_every_tree_continues_the_empty_one_and_only_with_an_empty_path() -> None:
    assert consistency_path(0, LEAVES) == ()
    verify_consistency(0, EMPTY_ROOT, 8, ROOTS[8], ())
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, ())
    with pytest.raises(IntegrityError):
        verify_consistency(0, EMPTY_ROOT, 8, ROOTS[8], (ROOTS[8],))
    with pytest.raises(IntegrityError, match="empty tree"):
        verify_consistency(0, ROOTS[8], 8, ROOTS[8], ())
    with pytest.raises(IntegrityError, match="empty tree"):
        verify_consistency(0, bytes(32), 0, bytes(32), ())


def test_paths_for_leaves_and_sizes_that_do_not_exist_are_index_errors() -> None:
    for index in (-1, 8):
        with pytest.raises(IndexError):
            inclusion_path(index, LEAVES)
    for old_size in (-1, 9):
        with pytest.raises(IndexError):
            consistency_path(old_size, LEAVES)


def test_map_leaves_are_sorted_tlv_pairs() -> None:
    pairs = [leaf_hash(tlv(key, MAP[key])) for key in sorted(MAP)]
    assert map_root(MAP) == SignedMap(MAP).root == MapRoot(size=5, root=tree_root(pairs))
    assert list(SignedMap(MAP)) == sorted(MAP)


def test_the_empty_map_has_the_hash_of_nothing_and_proves_nothing() -> None:
    root = MapRoot(size=0, root=EMPTY_ROOT)
    assert map_root({}) == SignedMap({}).root == root
    with pytest.raises(IntegrityError):
        verify_inclusion(root, b"key", b"value", Inclusion(index=0, path=()))


def test_a_map_of_one_leaf_has_its_hash_as_root() -> None:
    one = SignedMap({b"key": b"value"})
    assert one.root == MapRoot(size=1, root=leaf_hash(tlv(b"key", b"value")))
    verify_inclusion(one.root, b"key", b"value", one.prove(b"key"))
    with pytest.raises(IntegrityError):
        verify_inclusion(one.root, b"key", b"other", one.prove(b"key"))


def test_proofs_of_a_map_hold_for_their_own_leaf_only() -> None:
    signed = SignedMap(MAP)
    for key, value in signed.items():
        proof = signed.prove(key)
        verify_inclusion(signed.root, key, value, proof)
        for other, other_value in signed.items():
            if other != key:
                with pytest.raises(IntegrityError):
                    verify_inclusion(signed.root, other, other_value, proof)
        with pytest.raises(IntegrityError):
            verify_inclusion(signed.root, key, value + b"!", proof)
        with pytest.raises(IntegrityError):
            verify_inclusion(signed.root.replace(size=signed.root.size + 20), key, value, proof)


def test_bytes_do_not_move_between_key_and_value() -> None:
    assert map_root({b"ab": b"c"}) != map_root({b"a": b"bc"})


def test_an_inner_node_does_not_pass_for_a_leaf() -> None:
    left, right = LEAVES[:2]
    with pytest.raises(IntegrityError):
        verify_leaf_inclusion(leaf_hash(left + right), 0, 1, (), node_hash(left, right))


def test_a_signed_map_reads_like_a_mapping_and_is_no_view() -> None:
    source = dict(MAP)
    signed = SignedMap(source)
    source.clear()
    key = bytes([3]) * 16
    assert len(signed) == 5
    assert signed[key] == signed.get(key) == b"value 3"
    assert signed.get(b"absent") is None
    assert b"absent" not in signed
    with pytest.raises(KeyError):
        signed.prove(b"absent")
    assert repr(signed).startswith("SignedMap(5 leaves, root ")


def test_the_frontier_has_the_roots_and_finishes_every_complete_subtree_once() -> None:
    frontier = Frontier()
    finished = {}
    for size, leaf in enumerate(LEAVES, start=1):
        for level, index, node in frontier.append(leaf):
            assert (level, index) not in finished
            finished[level, index] = node
        assert (frontier.size, frontier.root) == (size, ROOTS[size])
        assert Frontier(size, frontier.peaks).root == ROOTS[size]
    expected = {(n, i): tree_root(LEAVES[i << n : i + 1 << n]) for n in range(4) for i in range(8 >> n)}
    assert finished == expected


def test_the_frontier_of_nothing_is_the_empty_tree() -> None:
    assert (Frontier().size, Frontier().root, Frontier().peaks) == (0, EMPTY_ROOT, ())


@pytest.mark.parametrize(("size", "count"), [(0, 1), (1, 0), (3, 1), (4, 2), (-1, 1)])
def test_a_frontier_with_the_wrong_number_of_peaks_is_refused(size: int, count: int) -> None:
    with pytest.raises(IntegrityError, match="peaks"):
        Frontier(size, LEAVES[:count])
