"""The one write verb: what a commit must satisfy before it is written (protocol section 5).

The server rebuilds the state that the commit claims from its own leaves and the changes, and checks in this order:

1. the author may write at all; the body is of the one form; a head that stands in the chain already is answered as done;
2. the head follows the current one (else ``CONFLICT``) and is not dated into the future;
3. every hash, signature and root (``protocol.state.advance``), the invariants of the state and of the step;
4. what only the server can know: ids that existed before, token ids of the whole server, blobs, shares, sizes.

Everything refused under 3 and 4 is ``COMMIT_REFUSED`` with the rule's sentence. ``commit_effects`` writes what passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from stronghold_cli.protocol.audit import DocumentReference
from stronghold_cli.protocol.documents.agent import Agent, Token
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.leaves import document_key
from stronghold_cli.protocol.encoding import digest, tlv
from stronghold_cli.protocol.errors import ClientTooOld, IntegrityError, MalformedError, Refused
from stronghold_cli.protocol.keys import check_sealing_key
from stronghold_cli.protocol.messages import Commit, Committed, decode_commit
from stronghold_cli.protocol.names import MAX_CIPHERTEXT
from stronghold_cli.protocol.rules import check_state
from stronghold_cli.protocol.state import Changes, OrgState, advance
from stronghold_cli.protocol.steps import check_step, new_ids
from stronghold_server.blobs import (
    BlobChanges,
    derive,
    kept_map_key,
    new_ciphertexts,
    sealing_keys,
)
from stronghold_server.commit_effects import Approved, write_commit
from stronghold_server.reads import WRITING_ROLES, require_role
from stronghold_server.service import Effect, Plan, Request, StateMoved, Tools
from stronghold_server.states import LoadedState
from stronghold_server.store.interface import Reader, Writer
from stronghold_server.turns import Turns

MAX_AHEAD: Final = 300
MAX_BLOB: Final = 2 << 20


class CommitRefused(Refused):
    """The commit breaks a rule; the sentence says which."""

    def __init__(self, message: str) -> None:
        super().__init__("COMMIT_REFUSED", message)


class Commits:
    """POST /v1/orgs/{org}/commits; ``log_key`` is (id, public key) of the key that signs this server's checkpoints.

    ``max_kept`` is how many versions of secrets a profile may keep, and how many bytes of ciphertext these may have.
    """

    def __init__(self, log_key: tuple[bytes, bytes], max_kept: tuple[int, int], turns: Turns) -> None:
        self._log_key = log_key
        self._max_versions, self._max_kept_bytes = max_kept
        self._turns = turns

    def plan(self, tools: Tools, request: Request) -> Plan:
        """Check a commit against the current state, and say what writing it means."""
        with tools.store.read() as reader:
            loaded = tools.states.current(reader, request.org_id)
        author = require_role(loaded.state, request, WRITING_ROLES)
        request.query()
        commit = decode_commit(request.received.body)
        head = read_head(commit.changes)
        with tools.store.read() as reader:
            standing = reader.document_by_hash(request.org_id, "head", head.sha256)
        if standing is not None:
            return answer_standing(loaded, standing.seq, head)
        self._turns.require_none(loaded.state, author, request.now)
        before = loaded.state
        if head.prev != before.head.document.sha256:
            raise Refused("CONFLICT", "the commit was made for another state than the current one")
        after = check_commit(before, commit, author, request.now)
        self._check_log_keys(before, after)
        with tools.store.read() as reader:
            if (row := reader.head(request.org_id)) is None or row.sha256 != loaded.head_sha256:
                raise StateMoved
            approved = approve(reader, before, after, commit, author)
        self._check_kept(approved.blob_changes)
        plan = commit_plan(tools, loaded, approved, request.now)
        return plan.replace(settle=self._turns.ending(after, author, plan.settle))

    def _check_log_keys(self, before: OrgState, after: OrgState) -> None:
        """The key that this server signs with stays listed: what a checkpoint proves hangs on it."""
        org = after.org.document
        if org is not before.org.document and self._log_key not in {(key.id, key.public_key) for key in org.log_keys}:
            raise CommitRefused("the org document does not list this server's log key")

    def _check_kept(self, changes: BlobChanges) -> None:
        """The history of a profile does not grow past its limits; where it is past them, re-keys and deletions pass."""
        for before, then in changes.sizes.values():
            if self._max_versions < then.versions > before.versions:
                raise Refused("HISTORY_FULL", f"a profile would keep more than {self._max_versions} versions of secrets")
            if self._max_kept_bytes < then.length > before.length:
                raise Refused("HISTORY_FULL", f"a profile would keep more than {self._max_kept_bytes} bytes of ciphertext")


def read_head(changes: Changes) -> Head:
    """The one new head of a commit."""
    if len(changes.heads) != 1:
        raise CommitRefused("a commit holds not exactly one head")
    try:
        return Head.decode(changes.heads[0].payload)
    except (IntegrityError, ClientTooOld) as error:
        raise CommitRefused(error.message) from error


def answer_standing(loaded: LoadedState, seq: int, head: Head) -> Plan:
    """A commit whose head already stands in the chain is answered as done, without a second effect."""
    effect = Effect(
        body=Committed(seq=seq, already=True).encode(),
        head_seq=loaded.state.seq,
        document=DocumentReference(kind="head", id=head.org_id, version=seq, sha256=head.sha256),
        code="",
    )
    return Plan(head_sha256=loaded.head_sha256, apply=lambda _: effect, settle=None)


def check_commit(before: OrgState, commit: Commit, author: bytes, now: int) -> OrgState:
    """The state after the commit, with everything checked that the documents themselves say; raises ``CommitRefused``."""
    try:
        after = advance(before, commit.changes)
        check_state(after, known=before)
        check_step(before, after, commit.changes, author)
    except (IntegrityError, ClientTooOld) as error:
        raise CommitRefused(error.message) from error
    check_time(after, now)
    _check_operators(before, after)
    check_nothing_spare(before, after, commit.changes)
    return after


def check_time(after: OrgState, now: int) -> None:
    """A head may be dated 300 s ahead at most (section 8, refresh)."""
    if after.head.document.created > now + MAX_AHEAD:
        raise CommitRefused("the head is dated more than five minutes ahead of the server's clock")


def check_nothing_spare(before: OrgState | None, after: OrgState, changes: Changes) -> None:
    """Refuse what a commit carries beside its purpose: it would be kept for ever and mean nothing."""
    current = {item.envelope for item in after.contents.values()}
    if not current >= set(changes.contents) or len(set(changes.contents)) != len(changes.contents):
        raise CommitRefused("a commit carries a contents that it does not make current")
    documents = [
        document.sha256
        for kind in ("agent", "group", "profile", "invite")
        for id_, document in after.documents(kind).items()
        if before is None or before.documents(kind).get(id_) is not document
    ]
    payloads = [digest(payload) for payload in changes.payloads]
    if sorted(payloads) != sorted(documents):
        raise CommitRefused("a commit carries other documents than those that it changes")
    for kind, id_ in changes.maps:
        owner = "group" if kind == "members" else "profile"
        known = after.documents(owner).keys() | (before.documents(owner).keys() if before else set())
        if id_ and id_ not in known:
            raise CommitRefused("a commit changes a map that belongs to no document")
    if any(len(key) != 16 for kind, id_ in changes.maps if kind == "entries" for key in changes.maps[kind, id_]):
        raise CommitRefused("the id of a secret is not 16 bytes")


def approve(reader: Reader, before: OrgState | None, after: OrgState, commit: Commit, author: bytes) -> Approved:
    """Check what only the server can know, and derive what is to be written; raises ``CommitRefused``."""
    _check_new_ids(reader, before, after)
    _check_shares(before, after, commit.shares)
    bodies = {digest(blob): blob for blob in commit.blobs}
    if len(bodies) != len(commit.blobs) or any(len(blob) > MAX_BLOB for blob in commit.blobs):
        raise CommitRefused("a blob stands twice in the commit, or is too large")
    # What the author sent ahead is theirs to name, and nobody else's.
    ciphertexts = new_ciphertexts(before, after)
    lengths = reader.sent_ahead(after.org_id, author, ciphertexts - bodies.keys())
    lengths.update((sha256, len(blob)) for sha256, blob in bodies.items())
    if not ciphertexts <= lengths.keys():
        raise CommitRefused("an entry names a ciphertext that is not in the commit")
    changes = derive(
        before,
        after,
        lambda profile_id: reader.leaves(after.org_id, kept_map_key(profile_id)),
        lengths,
    )
    ahead = reader.sent_ahead(after.org_id, author, changes.added.keys() - bodies.keys()).keys()
    _check_blobs_new(reader, after, changes, bodies.keys(), ahead)
    _check_sealing_keys(reader, after, bodies, ahead)
    _check_old_keys(after, changes)
    _check_sizes(changes)
    return Approved(
        before=before, after=after, author=author, commit=commit, blobs=bodies, ahead=frozenset(ahead), blob_changes=changes
    )


def commit_plan(tools: Tools, loaded: LoadedState, approved: Approved, now: int) -> Plan:
    """Write an approved commit on top of ``loaded``, and remember the new state once that is durable."""
    after = approved.after
    expected, following = loaded.head_sha256, LoadedState(after, loaded)
    head = after.head.document
    effect = Effect(
        body=Committed(seq=head.seq, already=False).encode(),
        head_seq=head.seq,
        document=DocumentReference(kind="head", id=after.org_id, version=head.seq, sha256=head.sha256),
        code="",
    )

    def apply(writer: Writer) -> Effect:
        write_commit(writer, approved, expected, now)
        return effect

    return Plan(head_sha256=expected, apply=apply, settle=lambda: tools.states.put(following))


def _check_operators(before: OrgState, after: OrgState) -> None:
    """A new keyset is a new operator (section 3): an operator's keys never change."""
    known = before.org.document.operators
    for operator_id, operator in after.org.document.operators.items():
        previous = known.get(operator_id)
        if previous is not None and operator.replace(name="", role="") != previous.replace(name="", role=""):
            raise CommitRefused("the keys of an operator change")


def _check_new_ids(reader: Reader, before: OrgState | None, after: OrgState) -> None:
    """An id once gone never comes back, and a token's id is unique on the server."""
    document_keys = []
    tokens = _tokens(after)
    for kind, id_ in new_ids(before, after):
        if kind == "token":
            _check_new_token(reader, id_, tokens[id_][1])
        elif kind == "operator":
            if reader.operator(after.org_id, id_) is not None:
                raise CommitRefused("the id of a new operator was used before")
        else:
            document_keys.append(document_key(kind, id_))
    if reader.keys_that_existed(after.org_id, b"documents", document_keys):
        raise CommitRefused("the id of a new document was used before")


def _check_new_token(reader: Reader, token_id: bytes, token: Token) -> None:
    # Section 3, "token": whoever squats an id has to have its key.
    if digest(tlv("stronghold/v1/token-id", token.auth_public_key))[:16] != token_id:
        raise CommitRefused("the id of a new token is not made from its key")
    if reader.token(token_id) is not None:
        raise CommitRefused("the id of a new token is taken on this server")


def _check_shares(before: OrgState | None, after: OrgState, shares: Mapping[bytes, bytes]) -> None:
    known = {} if before is None else _tokens(before)
    if shares.keys() != _tokens(after).keys() - known.keys():
        raise CommitRefused("a commit carries not exactly one share for each new token")


def _tokens(state: OrgState) -> dict[bytes, tuple[Agent, Token]]:
    return {token_id: (agent, token) for agent in state.agents.values() for token_id, token in agent.tokens.items()}


def _check_blobs_new(
    reader: Reader, after: OrgState, changes: BlobChanges, carried: AbstractSet[bytes], ahead: AbstractSet[bytes]
) -> None:
    """Whatever a commit newly names comes with it or was sent ahead by its author, once, and is named nowhere else.

    All leaves are known to all operators. Whoever could name a blob that is there already would read what they may not
    (another profile's ciphertext, under a profile of their own), and would keep it from being deleted.
    """
    added = changes.added
    if not added.keys() <= carried | ahead:
        raise CommitRefused("a commit newly names a blob that it does not carry")
    if not carried <= added.keys() | changes.boxes:
        raise CommitRefused("a commit carries a blob that it does not newly name")
    if any(count > 1 for count in added.values()) or reader.named_blobs(after.org_id, added.keys()):
        raise CommitRefused("a commit names a blob that is not new")


def _check_sealing_keys(reader: Reader, after: OrgState, bodies: Mapping[bytes, bytes], ahead: AbstractSet[bytes]) -> None:
    """Public sealing keys are refused where they are imported (rule R5), and so before anybody could seal to one."""
    named = sealing_keys(after)
    try:
        for sha256 in named & bodies.keys():
            check_sealing_key(bodies[sha256])
        for blob in reader.blobs(after.org_id, named & ahead).values():
            check_sealing_key(blob)
    except MalformedError as error:
        raise CommitRefused(error.message) from error


def _check_old_keys(after: OrgState, changes: BlobChanges) -> None:
    """What is kept of a profile's history can be opened: its epochs have their old keys."""
    for profile_id, epochs in changes.epochs.items():
        if (
            profile_id in after.profiles
            and not epochs - {after.profiles[profile_id].epoch} <= after.old_keys(profile_id).keys()
        ):
            raise CommitRefused("a kept version of a secret has no old key")


def _check_sizes(changes: BlobChanges) -> None:
    """A profile holds 64 MiB of live ciphertext at most; 20,000 secrets are ``check_state``'s to count."""
    if any(then.live > MAX_CIPHERTEXT for _, then in changes.sizes.values()):
        raise CommitRefused(f"a profile holds more than {MAX_CIPHERTEXT >> 20} MiB of ciphertext")
