"""The verified state of an org, kept on this machine and brought up to date by a sync (protocol section 5, "Org chain").

The file holds the body of a full sync, and which version of this program kept it, after all checks. It is believed by hash:
when it is read, its head must be the one in the mark, and everything in it hash to that head. What the version that reads
it has checked before keeping it, it does not check again. Where the file is missing but the mark is there, the whole state
is fetched anew and the chain of heads since the mark is demanded all the same.
"""

from __future__ import annotations

import os

from stronghold_cli.keystore.files import locked, read_private, remove, write_private
from stronghold_cli.keystore.marks import (
    ContentsMark,
    HeadMark,
    Mark,
    MarkFile,
    OrgMark,
    check_contents,
    check_head,
    check_org,
    check_seen,
    check_structure,
    operator_mark,
)
from stronghold_cli.keystore.paths import data_dir
from stronghold_cli.protocol.documents.base import Members
from stronghold_cli.protocol.documents.org import version_number
from stronghold_cli.protocol.encoding import decode_json, encode_json
from stronghold_cli.protocol.envelope import Envelope
from stronghold_cli.protocol.errors import ClientTooOld, IntegrityError, LocalFileError, Refused, RuleError
from stronghold_cli.protocol.freshness import check_head_time, check_not_ahead
from stronghold_cli.protocol.laid_documents import payloads_of
from stronghold_cli.protocol.messages import MAX_BODY, changes_from_json, changes_to_json, decode_steps, decode_sync
from stronghold_cli.protocol.rules import check_state
from stronghold_cli.protocol.state import Changes, OrgState, advance, lay_over, verify_signers
from stronghold_cli.protocol.steps import check_past_step
from stronghold_cli.vault.operator import Operator
from stronghold_cli.vault.past import Past
from stronghold_cli.version import VERSION


class Replica:
    """The local copy of one org's state, with its mark. ``to_refresh``: a head past the org's age is to be signed anew."""

    def __init__(self, operator: Operator, *, to_refresh: bool = False) -> None:
        self._operator = operator
        self._to_refresh = to_refresh
        self._marks: MarkFile = operator_mark(operator.org_id)
        self._path = _path(operator.org_id)
        self._state: OrgState | None = None
        self._kept: Envelope | None = None  # the head of the state in the file
        self._passed: frozenset[bytes] = frozenset()

    def sync(self) -> OrgState:
        """Fetch and verify what changed, keep it, and return the newest state; raises ``IntegrityError``."""
        mark = self._marks.load()
        if self._to_refresh and mark is None:
            raise LocalFileError(
                "This machine remembers no state of the org, so it cannot tell whether the head that it gets is an old one.",
                hint="Sign it anew on a device that was used for this org before.",
            )
        known = self._state or _load(self._path, mark)
        self._kept = None if known is None else known.head.envelope
        if known is None:
            state, passed = self._fetch_all(mark)
        else:
            state, passed = self._follow(known, is_checked=True)
        _check_client(state)
        _check_mark(state, mark)
        if self._to_refresh:
            check_not_ahead(state.head.document, self._operator.now)
        else:
            check_head_time(state.head.document, state.org.document, self._operator.now)
        self.keep(state)
        self._passed |= passed
        return state

    def has_passed(self, head_sha256: bytes) -> bool:
        """Whether the head stands in the chain that the syncs of this command followed and verified."""
        return head_sha256 in self._passed

    def keep(self, state: OrgState) -> None:
        """Remember a verified state, its mark first: a state file newer than its mark is never believed.

        Under the mark's lock, and only while no other process has gone further: an older state never replaces a newer one.
        """
        if self._state is state:
            return
        mark = _mark_of(state)
        self._marks.save(mark, required=True)
        if self._kept != state.head.envelope:
            with locked(self._marks.path):
                merged = self._marks.load()
                if merged is not None and merged.head == mark.head:
                    write_private(self._path, _encode(state))
                    self._kept = state.head.envelope
        self._state = state

    def mark(self) -> Mark | None:
        """What this machine remembers of the org."""
        return self._marks.load()

    def _follow(self, known: OrgState, *, is_checked: bool) -> tuple[OrgState, frozenset[bytes]]:
        """The newest state, by every commit since the known one, and the hashes of their heads.

        Each commit must be one that the rules allow (``steps``): who holds a right, and the server, could else leave out
        what a removal demands, and the state that it ends in would not tell. ``is_checked``: the rules and the signatures of
        the known state were checked when it was kept, and not its hashes alone.
        """
        state, passed = known, set()
        if not is_checked:
            check_state(known)
        while True:
            path = f"/steps?since={state.seq}&org_seq={state.org.document.seq}"
            answer = decode_steps(self._operator.get(path))
            for changes in answer.steps:
                state = _next(state, changes)
                passed.add(state.head.document.sha256)
            if answer.seq == state.seq:
                break
            if not answer.steps:
                evidence = {"known": state.seq, "offered": answer.seq}
                raise IntegrityError("The commits received do not lead to the server's newest head.", evidence=evidence)
        verify_signers(state, known=known if is_checked else None)
        return state, frozenset(passed)

    def _fetch_all(self, mark: Mark | None) -> tuple[OrgState, frozenset[bytes]]:
        changes = decode_sync(self._operator.get("/sync?since=0&org_seq=0"))
        anchor = self._operator.anchor if mark is None else mark.org.sha256
        state = advance(None, changes.replace(org=_from_anchor(changes, anchor)), anchor=anchor)
        if state.seq < self._operator.floor:
            raise IntegrityError(
                "The state received is older than the operator kit.",
                evidence={"floor": self._operator.floor, "received": state.seq},
            )
        check_state(state)
        known = self._operator.seen if mark is None else mark.head
        if known is not None and state.seq > known.seq:
            return self._follow(self._go_back(state, known), is_checked=False)
        if known is not None:
            check_seen(known, state.seq, state.head.document.sha256)
        return state, frozenset((state.head.document.sha256,))

    def _go_back(self, state: OrgState, known: HeadMark) -> OrgState:
        """The state under a head that was verified before, proven by that head's hash: what the lost file held."""
        evidence = {"mark": known.seq, "received": state.seq}
        try:
            before = Past(self._operator, state).back_to(known.seq)
        except Refused as refusal:
            if refusal.code != "ANCHOR_UNKNOWN":
                raise
            raise IntegrityError("The server denies a head that it has just delivered.", evidence=evidence) from refusal
        if before.head.document.sha256 != known.sha256:
            raise IntegrityError("The heads received do not lead from the mark to the current one.", evidence=evidence)
        return before


def local_state(org_id: bytes) -> OrgState | None:
    """The newest state of an org that was verified on this machine, without asking anybody; ``None`` where none is kept."""
    return _load(_path(org_id), operator_mark(org_id).load())


def forget_local_state(org_id: bytes) -> None:
    """Remove the local copy of an org's state (not the mark)."""
    remove(_path(org_id))


def _path(org_id: bytes) -> str:
    return os.path.join(data_dir(), "orgs", f"{org_id.hex()}.json")


def _load(path: str, mark: Mark | None) -> OrgState | None:
    if mark is None:
        return None
    content = read_private(path, MAX_BODY, secret=False)
    if content is None:
        return None
    try:
        state = _decode(content, mark.org.sha256)
    except (IntegrityError, ClientTooOld):
        # The copy is a convenience: what it holds can be fetched, and is held against the mark, again.
        return None
    return state if state.head.document.sha256 == mark.head.sha256 else None


def _encode(state: OrgState) -> bytes:
    documents = (state.agents, state.groups, state.profiles, state.invites)
    everything = Changes(
        org=(state.org.envelope,),
        heads=(state.head.envelope,),
        structure=state.structure.envelope,
        contents=tuple(item.envelope for item in state.contents.values()),
        payloads=tuple(payload for kind in documents for payload in payloads_of(kind)),
        maps={map_id: dict(leaves) for map_id, leaves in state.maps.items()},
    )
    return encode_json({"checked_by": VERSION, "changes": changes_to_json(everything)})


def _decode(content: bytes, anchor: bytes) -> OrgState:
    members = Members(decode_json(content, MAX_BODY), "copy", ("checked_by", "changes"))
    is_checked = members.text("checked_by", 100) == VERSION
    state = advance(None, changes_from_json(members.raw("changes")), anchor=anchor, is_known=is_checked)
    if not is_checked:
        check_state(state)
    return state


def _from_anchor(changes: Changes, anchor: bytes) -> tuple[Envelope, ...]:
    """The links from the anchored document on; all of them where it is missing, for ``advance`` to refuse."""
    for index, envelope in enumerate(changes.org):
        if envelope.sha256 == anchor:
            return changes.org[index:]
    return changes.org


def _next(before: OrgState, changes: Changes) -> OrgState:
    """The state after one commit, which must be one that the rules allow."""
    state = lay_over(before, changes)
    try:
        if len(changes.heads) != 1 or state.head.document.sha256 == before.head.document.sha256:
            raise RuleError("it brings not exactly one new head")
        check_state(state, known=before)
        check_past_step(before, state)
    except RuleError as error:
        author = state.org.document.operators.get(state.head.envelope.operator_id or b"")
        who = "somebody who is no operator" if author is None else repr(author.name)
        raise RuleError(
            f"Commit {state.seq} of the org, signed by {who}, breaks a rule: {error.message}.",
            hint="Nothing was changed here. Talk to the org's admins before you write or read with this server.",
            evidence=error.evidence,
        ) from error
    return state


def _mark_of(state: OrgState) -> Mark:
    org = state.org.document
    return Mark(
        org=OrgMark(seq=org.seq, sha256=org.sha256, root_sign=org.root.sign),
        head=HeadMark(seq=state.seq, sha256=state.head.document.sha256),
        structure_seq=state.structure.document.seq,
        contents={
            profile_id: ContentsMark(version=item.document.version, sha256=item.document.sha256)
            for profile_id, item in state.contents.items()
        },
    )


def _check_mark(state: OrgState, mark: Mark | None) -> None:
    check_org(mark, state.org.document.seq, state.org.document.sha256)
    check_head(mark, state.seq, state.head.document.sha256)
    check_structure(mark, state.structure.document.seq)
    for profile_id, item in state.contents.items():
        check_contents(mark, profile_id, item.document.version, item.document.sha256)


def _check_client(state: OrgState) -> None:
    least = state.org.document.policy.client_min
    if version_number(least) > version_number(VERSION):
        raise ClientTooOld(
            f"This org demands stronghold-cli {least} or newer; this is {VERSION}.", hint="Install a newer stronghold-cli."
        )
