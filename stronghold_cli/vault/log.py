"""The audit log as people read it: who asked for what, as which agent and token, and what each commit changed.

Entries are read from the newest back, and beside them the org's verified history (``past``): names, keys and differences
come from the state under the head that the entry names, or, of a token that had ended then, from an earlier one. An entry
whose signature is not that of its key is an ``IntegrityError``, and so is a request that stands twice: nobody forges that an
agent or operator *asked*. An entry that says something else than its request, or whose key is not known, is not verified and
shown as such. Outcome and what was delivered are the server's word.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs

from stronghold_cli.protocol.audit import AuditLeaf, decode_leaf
from stronghold_cli.protocol.documents.agent import Agent, Token
from stronghold_cli.protocol.errors import IntegrityError, MalformedError, NotFound, UsageError
from stronghold_cli.protocol.messages import decode_audit
from stronghold_cli.protocol.names import caseless, nfc
from stronghold_cli.protocol.past import author_of
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.request_kinds import REQUEST_KINDS
from stronghold_cli.protocol.requests import parse_signature_base
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.differences import ACTS, Act, Subject, acts_between
from stronghold_cli.vault.evidence import is_as_signed, require_new, verify_entry
from stronghold_cli.vault.lookup import nearest, shown_id
from stronghold_cli.vault.past import Past

KINDS = tuple(REQUEST_KINDS)
OUTCOMES = ("ok", "refused", "error")
_PAGE = 500


class Entry(Record):
    """One entry of the log. ``version`` is that of the contents delivered; ``acts`` what a commit did.

    ``operator``, or ``agent`` and ``token``, are who asked; ``None`` where the key stands in no document. ``had_ended``: the
    token was one that the agent had no more. ``profile`` is what was read; of a read that was refused, what was asked for.
    ``is_verified``: the key of whoever is named signed this very request, and the head of a commit is signed by them too.
    """

    leaf: AuditLeaf
    operator: Subject | None
    agent: Subject | None
    token: Subject | None
    profile: Subject | None
    version: int | None
    acts: tuple[Act, ...]
    had_ended: bool = False
    is_verified: bool = False


class Filter(Record):
    """Which entries are wanted; ``None`` is any. Texts are names, or ids as they are shown; times are Unix seconds."""

    agent: str | None = None
    token: str | None = None
    profile: str | None = None
    action: str | None = None
    outcome: str | None = None
    since: int | None = None
    until: int | None = None


def require_filter(wanted: Filter) -> Filter:
    """Return the filter where action and outcome are known words and the times are in order; else ``UsageError``."""
    if wanted.action is not None and wanted.action not in (*KINDS, *ACTS):
        near = nearest((*KINDS, *ACTS), wanted.action)
        raise UsageError(
            f"There is no action {wanted.action[:40]!r}.",
            hint=f"Did you mean {near!r}?" if near else f"Actions are: {', '.join((*KINDS, *ACTS))}.",
        )
    is_code = wanted.outcome is not None and wanted.outcome.isupper() and wanted.outcome.replace("_", "").isalpha()
    if wanted.outcome is not None and not is_code and wanted.outcome not in OUTCOMES:
        raise UsageError(
            f"There is no outcome {wanted.outcome[:40]!r}.", hint="Give ok, refused, error, or a code such as TOKEN_REVOKED."
        )
    if wanted.since is not None and wanted.until is not None and wanted.since > wanted.until:
        raise UsageError("--since is later than --until.", hint="Swap them.")
    return wanted


def read_log(vault: Vault, wanted: Filter, limit: int, before: int | None = None) -> list[Entry]:
    """The newest ``limit`` entries that pass the filter, of those before entry ``before``; the oldest first.

    ``NotFound`` for a name that never was.
    """
    require_filter(wanted)
    reading, found, seen = Reading(vault), list[Entry](), set[Subject]()
    total = _size(vault) if before is None else min(before, _size(vault))
    for leaf in leaves_back(vault, total):
        vault.progress("Reading the log", total - leaf.index, total)
        if wanted.since is not None and leaf.server_time < wanted.since:
            break
        if not _may_pass(leaf, wanted):
            continue
        entry = reading.explain(leaf)
        seen.update(_subjects(entry))
        if _passes(entry, wanted, vault.state):
            found.append(entry)
            if len(found) == limit:
                break
    if not found:
        _require_known(wanted, vault.state, seen)
    return found[::-1]


def read_entry(vault: Vault, index: int) -> Entry:
    """One entry; ``NotFound`` where the log has none of that number."""
    total = _size(vault)
    if not 0 <= index < total:
        raise NotFound(f"The log has no entry {index}.", hint=f"Its newest entry is {total - 1}.")
    leaves, _ = decode_audit(vault.operator.get(f"/audit?after={index}&limit=1"))
    if len(leaves) != 1:
        raise IntegrityError("The server does not deliver an entry that its log has.", evidence={"entry": index})
    return Reading(vault).explain(_decoded(leaves[0], index))


def leaves_back(vault: Vault, total: int | None = None) -> Iterator[AuditLeaf]:
    """All entries from the newest to the first; a request that stands in two of them raises ``IntegrityError``."""
    seen: dict[tuple[str, bytes], int] = {}
    end = _size(vault) if total is None else total
    while end:
        start = max(0, end - _PAGE)
        leaves, _ = decode_audit(vault.operator.get(f"/audit?after={start}&limit={end - start}"))
        if len(leaves) != end - start:
            raise IntegrityError(
                "The server does not deliver entries that its log has.", evidence={"from": start, "to": end}
            )
        for offset in range(len(leaves) - 1, -1, -1):
            leaf = _decoded(leaves[offset], start + offset)
            require_new(leaf, seen)
            yield leaf
        end = start


class Reading:
    """Says who asked and what was done, entry by entry from the newest back, by the verified states around each."""

    def __init__(self, vault: Vault) -> None:
        self._past = Past(vault.operator, vault.state)
        self._scout = Past(vault.operator, vault.state, vault.progress)  # ahead of the other, for tokens that had ended
        self._ended: dict[bytes, tuple[Agent, Token]] = {}

    def explain(self, leaf: AuditLeaf) -> Entry:
        """The entry of a leaf; of one leaf after the other, none may name a later head than the one before."""
        state = self._past.back_to(leaf.head_seq)
        profile, version = _delivered(state, leaf)
        entry = Entry(leaf=leaf, operator=None, agent=None, token=None, profile=profile, version=version, acts=())
        entry = self._with_asker(state, entry)
        document = leaf.document
        if document is None or leaf.outcome != "ok" or leaf.kind not in {"commit", "genesis"}:
            return entry
        # A commit that was sent once more is answered as done: only the entry under its own head made it.
        if (document.sha256, document.version) != (state.head.document.sha256, leaf.head_seq):
            return entry
        before = self._past.back_to(leaf.head_seq - 1) if leaf.head_seq > 1 else None
        # Genesis is signed by root; a head may have been signed anew by an admin, when its author lost the right to it.
        is_theirs = leaf.kind == "genesis" or author_of(state) == leaf.key_id.raw
        return entry.replace(acts=tuple(acts_between(before, state)), is_verified=entry.is_verified and is_theirs)

    def token(self, state: OrgState, token_id: bytes) -> tuple[Agent, Token, bool] | None:
        """The agent and token of an id in a state or before it, and whether it had ended by then."""
        for agent in state.agents.values():
            if token_id in agent.tokens:
                return agent, agent.tokens[token_id], False
        while token_id not in self._ended and self._scout.state.seq > 1:
            after = self._scout.state
            self._note_ended(self._scout.back_to(after.seq - 1), after)
        return (*self._ended[token_id], True) if token_id in self._ended else None

    def _note_ended(self, before: OrgState, after: OrgState) -> None:
        for agent in before.agents.values():
            later = after.agents.get(agent.id)
            if later is not agent:
                for token_id, token in agent.tokens.items():
                    if later is None or token_id not in later.tokens:
                        self._ended.setdefault(token_id, (agent, token))

    def _with_asker(self, state: OrgState, entry: Entry) -> Entry:
        """Operator, or agent and token, whose key signed the request."""
        leaf = entry.leaf
        raw = leaf.key_id.raw
        if leaf.key_id.kind in {"o", "l"}:
            operator = state.org.document.operators.get(raw)
            if operator is None:
                return entry
            named = entry.replace(operator=Subject(kind="operator", id=raw, name=operator.name))
            if leaf.key_id.kind == "l":
                return named  # keys of logins stand in no document
            verify_entry(leaf, operator.request)
            return named.replace(is_verified=is_as_signed(leaf, state))
        found = self.token(state, raw) if leaf.key_id.kind == "t" else None
        if found is None:
            return entry
        agent, token, had_ended = found
        verify_entry(leaf, token.auth_public_key)
        return entry.replace(
            agent=Subject(kind="agent", id=agent.id, name=agent.name),
            token=Subject(kind="token", id=raw, name=f"{agent.name}/{token.name}"),
            had_ended=had_ended,
            is_verified=is_as_signed(leaf, state),
        )


def _size(vault: Vault) -> int:
    _, size = decode_audit(vault.operator.get("/audit?after=0&limit=1"))
    return size


def _decoded(encoded: bytes, index: int) -> AuditLeaf:
    leaf = decode_leaf(encoded)
    if leaf.index != index:
        raise IntegrityError(
            "An entry of the log stands under another number.", evidence={"entry": index, "says": leaf.index}
        )
    return leaf


def _delivered(state: OrgState, leaf: AuditLeaf) -> tuple[Subject | None, int | None]:
    """The profile that was read, with the version of its contents; of a refused read, the one that was asked for."""
    document = leaf.document
    if document is not None and document.kind == "contents":
        return _profile(state, document.id), document.version
    if leaf.kind != "pull":
        return None, None
    try:
        query = parse_qs(parse_signature_base(leaf.signature_base).query)
    except MalformedError:
        return None, None  # it is not shown as verified
    if "profile" in query:
        name = query["profile"][0]
        known = [profile for profile in state.profiles.values() if caseless(profile.name) == caseless(nfc(name))]
        return (_profile(state, known[0].id) if known else Subject(kind="profile", id=b"", name=name)), None
    ids = query.get("profile_id", [])
    matching = [id_ for id_ in state.profiles if [id_.hex()] == ids]
    return (_profile(state, matching[0]) if matching else None), None


def _profile(state: OrgState, profile_id: bytes) -> Subject:
    profile = state.profiles.get(profile_id)
    name = shown_id("profile", profile_id) if profile is None else profile.name
    return Subject(kind="profile", id=profile_id, name=name)


def _may_pass(leaf: AuditLeaf, wanted: Filter) -> bool:
    """What can be told without the history."""
    if wanted.until is not None and leaf.server_time > wanted.until:
        return False
    if wanted.outcome is not None and wanted.outcome not in {leaf.outcome, leaf.code}:
        return False
    return (
        wanted.action is None or wanted.action == leaf.kind or (wanted.action in ACTS and leaf.kind in {"commit", "genesis"})
    )


def _passes(entry: Entry, wanted: Filter, newest: OrgState) -> bool:
    acts = entry.acts
    if wanted.action is not None and wanted.action != entry.leaf.kind:
        acts = tuple(act for act in acts if act.action == wanted.action)
        if not acts:
            return False
    own = {"agent": entry.agent, "token": entry.token, "profile": entry.profile}
    for kind, text in (("agent", wanted.agent), ("token", wanted.token), ("profile", wanted.profile)):
        if text is None:
            continue
        about = [subject for act in acts for subject in act.concerns]
        if not any(_is(newest, subject, kind, text) for subject in (own[kind], *about) if subject is not None):
            return False
    return True


def _is(newest: OrgState, subject: Subject, kind: str, text: str) -> bool:
    """Whether a person means this by ``text``: its id, its name then, or the name that it has now."""
    if subject.kind != kind:
        return False
    if subject.id and text == shown_id(kind, subject.id):
        return True
    if kind == "token":
        return _is_token(newest, subject, text)
    now = newest.documents(kind).get(subject.id)
    return caseless(nfc(text)) in {caseless(subject.name), caseless(subject.name if now is None else now.name)}


def _is_token(newest: OrgState, subject: Subject, text: str) -> bool:
    token = next((agent.tokens[subject.id] for agent in newest.agents.values() if subject.id in agent.tokens), None)
    ends = set() if token is None else {f"shat_…{token.last4}", f"shat_...{token.last4}"}
    return text in ends or caseless(nfc(text)) in {caseless(subject.name), caseless(subject.name.partition("/")[2])}


def _subjects(entry: Entry) -> set[Subject]:
    about = (subject for act in entry.acts for subject in act.concerns)
    return {subject for subject in (entry.agent, entry.token, entry.profile, *about) if subject is not None}


def _require_known(wanted: Filter, newest: OrgState, seen: set[Subject]) -> None:
    """Nothing was found: a name that neither is nor, as far as was read, ever was, is a slip of the pen."""
    for kind, text in (("agent", wanted.agent), ("token", wanted.token), ("profile", wanted.profile)):
        known = _known(kind, newest) | {subject for subject in seen if subject.kind == kind and subject.id}
        if text is not None and not any(_is(newest, subject, kind, text) for subject in known):
            near = nearest({subject.name for subject in known}, text)
            raise NotFound(
                f"There is no {kind} {text[:60]!r} in the org, nor in the log as far as it was read.",
                hint=f"Did you mean {near!r}?" if near else f"List them with: stronghold {kind} list",
            )


def _known(kind: str, state: OrgState) -> set[Subject]:
    if kind == "token":
        return {
            Subject(kind="token", id=token_id, name=f"{agent.name}/{token.name}")
            for agent in state.agents.values()
            for token_id, token in agent.tokens.items()
        }
    return {Subject(kind=kind, id=id_, name=document.name) for id_, document in state.documents(kind).items()}
