"""What clients were answered, against what the server's log and database say after a restart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from stronghold_cli.protocol.audit import AuditLeaf, decode_leaf
from stronghold_cli.protocol.record import Record
from stronghold_server.log import verify_log
from stronghold_server.store.interface import Reader

MANY = 1_000_000
# Refusals without an entry: nothing was done, or nobody knows what the disk holds.
UNLOGGED = frozenset({"STORAGE_FAILED", "INTERNAL", "BUSY"})


class Answered(Record):
    """One answer to a signed request, named by its signature base, in which its nonce stands."""

    base: str
    status: int
    code: str
    body: bytes


class Agreement(Record):
    """How much was compared."""

    entries: int
    answers: int
    heads: int


def compare(reader: Reader, org_id: bytes, told: Iterable[Answered], heads: Iterable[bytes]) -> Agreement:
    """Fail where an answer has no entry, an acknowledged head is gone, or an effect and its entry are not together.

    ``told`` are answers to requests of this org, ``heads`` the hashes of the heads of acknowledged commits.
    """
    size = verify_log(reader, org_id).size
    leaves = [decode_leaf(leaf) for _, leaf in reader.log_leaves(org_id, 0, size)]
    entries = {leaf.signature_base: leaf for leaf in leaves}
    assert len(entries) == len(leaves) == size, "a request was entered twice"
    count = 0
    for answer in told:
        if answer.code in UNLOGGED:
            continue
        count += 1
        entry = entries.get(answer.base)
        assert entry is not None, f"answered {answer.status} {answer.code} without an entry: {answer.base}"
        assert (entry.outcome, entry.code) == (("ok", "") if answer.status == 200 else ("refused", answer.code))
    chain = {row.sha256 for row in reader.document_chain(org_id, "head", after=0, limit=MANY)}
    acknowledged = set(heads)
    assert acknowledged <= chain, f"{len(acknowledged - chain)} acknowledged commits are lost"
    assert _written_heads(leaves) == chain, "a head without its entry, or an entry without its head"
    _compare_uses(reader, org_id, leaves)
    return Agreement(entries=size, answers=count, heads=len(acknowledged))


def _written_heads(leaves: Iterable[AuditLeaf]) -> set[bytes]:
    return {
        leaf.document.sha256 for leaf in leaves if leaf.outcome == "ok" and leaf.document and leaf.document.kind == "head"
    }


def _compare_uses(reader: Reader, org_id: bytes, leaves: Iterable[AuditLeaf]) -> None:
    """A pull's effect is one use of its token."""
    pulls = Counter(leaf.key_id.raw for leaf in leaves if leaf.kind == "pull" and leaf.outcome == "ok")
    uses = {row.token_id: row.uses for row in reader.tokens(org_id) if row.uses}
    assert uses == pulls
