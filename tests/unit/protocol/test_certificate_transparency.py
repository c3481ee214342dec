"""RFC 6962 by the vectors of its authors: the tests of Certificate Transparency's own verifier, read from its source.

Debian has that source in a package (golang-github-google-certificate-transparency-dev); ``.ci/run`` unpacks it and names the
folder in ``CERTIFICATE_TRANSPARENCY``. Where the package is installed it is found without that.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.signed_map import (
    Frontier,
    consistency_path,
    inclusion_path,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_leaf_inclusion,
)

UNPACKED = os.environ.get("CERTIFICATE_TRANSPARENCY")
SOURCE = Path(UNPACKED or "/") / "usr/share/gocode/src/github.com/google/certificate-transparency/go/merkletree"
# A hash stands there as hexadecimal digits in dh("…"), with its length after it.
HASH = re.compile(r'\{dh\("([0-9a-f]*)"\), \d+\}')
# A proof: two numbers, the length of the path, and three hashes, of which as many count.
PROOF = re.compile(r"\{(\d+),\s*(\d+),\s*(\d+),\s*\[3?\]proofTestVector\{(.*?\})\},?\s*\}", re.DOTALL)

pytestmark = pytest.mark.skipif(
    not UNPACKED and not SOURCE.exists(),
    reason="the source of Certificate Transparency is not unpacked here (.ci/run does it)",
)


def table(function: str) -> str:
    """The body of one of the functions that return vectors."""
    text = (SOURCE / "merkle_verifier_test.go").read_text(encoding="utf-8")
    return text.partition(f"func {function}() ")[2].partition("\n}\n")[0]


def hashes(text: str) -> list[bytes]:
    return [bytes.fromhex(digits) for digits in HASH.findall(text)]


def proofs(function: str) -> list[tuple[int, int, tuple[bytes, ...]]]:
    """The two numbers and the path of each vector."""
    found = PROOF.findall(table(function))
    return [(int(one), int(two), tuple(hashes(nodes)[: int(length)])) for one, two, length, nodes in found]


def leaves() -> list[bytes]:
    return [leaf_hash(content) for content in hashes(table("getInputs"))]


def root(size: int) -> bytes:
    return hashes(table("getRoots"))[size - 1]


def test_roots() -> None:
    frontier = Frontier()
    for size, leaf in enumerate(leaves(), 1):
        frontier.append(leaf)
        assert tree_root(leaves()[:size]) == frontier.root == root(size)
    assert frontier.size == 8


def test_inclusion() -> None:
    vectors = proofs("getInclusionTestVector")
    assert [vector[:2] for vector in vectors] == [(0, 0), (1, 1), (1, 8), (6, 8), (3, 3), (2, 5)]
    for number, size, path in vectors[1:]:  # leaves are counted from 1: the first vector proves nothing
        leaf = leaves()[number - 1]
        assert inclusion_path(number - 1, leaves()[:size]) == path
        verify_leaf_inclusion(leaf, number - 1, size, path, root(size))
        for index, tree_size, wrong in (
            (number, size, path),
            (number - 1, size * 2 + 1, path),
            (number - 1, size, (*path, leaf)),
        ):
            with pytest.raises(IntegrityError):
                verify_leaf_inclusion(leaf, index, tree_size, wrong, root(size))
    with pytest.raises(IntegrityError):
        verify_leaf_inclusion(leaves()[0], 0, 0, (), root(1))


def test_consistency() -> None:
    vectors = proofs("getConsistencyProofs")
    assert [vector[:2] for vector in vectors] == [(1, 1), (1, 8), (6, 8), (2, 5)]
    for old, new, path in vectors:
        assert consistency_path(old, leaves()[:new]) == path
        verify_consistency(old, root(old), new, root(new), path)
        for one, two, wrong in ((old + 1, new, path), (old, new, (*path, root(old))), (new, old - 1, path)):
            with pytest.raises(IntegrityError):
                verify_consistency(one, root(old), two, root(new), wrong)
