"""What a commit did, in words: the difference of two verified states as management acts.

Each act has a name (``agent-create``), a subject, and details. Profiles, agents and groups are told by their names,
secrets by their ids: their names are inside what is encrypted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from stronghold_cli.protocol.documents.agent import Agent, Token
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.leaves import decode_entry_leaf
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.documents.structure import Lockdown
from stronghold_cli.protocol.names import SECRET_PREFIX
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.vault.lockdowns import shown_lockdown
from stronghold_cli.vault.lookup import shown_id

K = TypeVar("K")
V = TypeVar("V")

# Every name of an act, for filters and the documentation.
ACTS = (
    "org-create", "org-edit", "member-add", "member-remove", "member-role", "member-invite", "member-cancel",
    "agent-create", "agent-delete", "agent-rename", "agent-label", "agent-pause", "agent-activate", "agent-edit",
    "token-mint", "token-revoke", "token-deprecate", "token-undeprecate", "token-edit",
    "group-create", "group-delete", "group-rename", "group-add", "group-remove", "group-rekey",
    "profile-create", "profile-delete", "profile-rename", "profile-edit", "profile-rekey", "group-grant", "group-ungrant",
    "secret-set", "secret-delete", "secret-purge", "lockdown", "lockdown-lift",
)  # fmt: skip


class Subject(Record):
    """Something that an act concerns: its kind, id, and its name at the time."""

    kind: str
    id: bytes
    name: str


class Act(Record):
    """One management act. ``concerns`` are the subject, first, and whatever else it is about; ``details`` are in words."""

    action: str
    concerns: tuple[Subject, ...]
    details: tuple[str, ...] = ()

    @property
    def subject(self) -> Subject:
        """What was done something to."""
        return self.concerns[0]


def acts_between(before: OrgState | None, after: OrgState) -> list[Act]:
    """What the commit between two states did; ``before`` is ``None`` for the one that made the org."""
    if before is None:
        return [Act(action="org-create", concerns=(_org(after),))]
    return [
        *_org_acts(before, after),
        *_agent_acts(before, after),
        *_group_acts(before, after),
        *_profile_acts(before, after),
        *_secret_acts(before, after),
        *_lockdown_acts(before, after),
    ]


def _org(state: OrgState) -> Subject:
    return Subject(kind="org", id=state.org_id, name=state.org.document.name)


def _of(document: Agent | Group | Profile) -> Subject:
    return Subject(kind=document.KIND, id=document.id, name=document.name)


def _operator(state: OrgState, operator_id: bytes) -> Subject:
    operators = state.org.document.operators
    name = operators[operator_id].name if operator_id in operators else shown_id("operator", operator_id)
    return Subject(kind="operator", id=operator_id, name=name)


def _changed(old: Mapping[K, V], new: Mapping[K, V]) -> Iterator[tuple[K, V | None, V | None]]:
    """Keys of what came, went, or is another one."""
    for key in {**old, **new}:
        if old.get(key) is not new.get(key) and old.get(key) != new.get(key):
            yield key, old.get(key), new.get(key)


def _org_acts(before: OrgState, after: OrgState) -> Iterator[Act]:
    old, new = before.org.document, after.org.document
    if old is not new:
        edits = [f"name {old.name!r} → {new.name!r}"] if old.name != new.name else []
        if old.policy != new.policy:
            edits.append(f"oldest client {new.policy.client_min}, oldest head {new.policy.max_head_age} s")
        if old.root != new.root:
            edits.append("root key")
        if edits:
            yield Act(action="org-edit", concerns=(_org(after),), details=tuple(edits))
        for id_, was, now in _changed(old.operators, new.operators):
            subject = (_operator(before if now is None else after, id_),)
            if was is None and now is not None:
                yield Act(action="member-add", concerns=subject, details=(f"role {now.role}",))
            elif now is None:
                yield Act(action="member-remove", concerns=subject)
            elif was is not None:
                yield Act(action="member-role", concerns=subject, details=(f"{was.role} → {now.role}",))
    for id_, invited, still in _changed(before.invites, after.invites):
        invite = still or invited
        if invite is not None and id_ not in new.operators:
            subject = (Subject(kind="invite", id=id_, name=invite.name),)
            yield Act(action="member-cancel" if still is None else "member-invite", concerns=subject)


def _agent_acts(before: OrgState, after: OrgState) -> Iterator[Act]:
    for _, old, new in _changed(before.agents, after.agents):
        if new is None and old is not None:
            tokens = tuple(f"token {_token_name(token)}" for token in old.tokens.values())
            yield Act(action="agent-delete", concerns=(_of(old),), details=tokens)
        elif new is not None:
            if old is None:
                yield Act(action="agent-create", concerns=(_of(new),))
            else:
                yield from _agent_edits(old, new)
            yield from _memberships(before, after, old, new)
            yield from _token_acts(old, new)


def _agent_edits(old: Agent, new: Agent) -> Iterator[Act]:
    subject = (_of(new),)
    if old.name != new.name:
        yield Act(action="agent-rename", concerns=subject, details=(f"{old.name!r} → {new.name!r}",))
    if old.state != new.state:
        yield Act(action="agent-pause" if new.state == "paused" else "agent-activate", concerns=subject)
    labels = _labels(old.labels, new.labels)
    if labels:
        yield Act(action="agent-label", concerns=subject, details=labels)
    edits = ["description"] if old.description != new.description else []
    if old.not_after != new.not_after:
        edits.append("expiry")
    if edits:
        yield Act(action="agent-edit", concerns=subject, details=tuple(edits))


def _labels(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    gone = [f"-{key}={value}" for key, value in old.items() if new.get(key) != value]
    return (*gone, *(f"+{key}={value}" for key, value in new.items() if old.get(key) != value))


def _memberships(before: OrgState, after: OrgState, old: Agent | None, new: Agent) -> Iterator[Act]:
    known = set() if old is None else set(old.groups)
    for action, ids, state in (
        ("group-add", set(new.groups) - known, after),
        ("group-remove", known - set(new.groups), before),
    ):
        for group_id in sorted(ids):
            concerns = (_of(state.groups[group_id]), _of(new))
            yield Act(action=action, concerns=concerns, details=(f"agent {new.name!r}",))


def _token_acts(old: Agent | None, new: Agent) -> Iterator[Act]:
    for token_id, was, now in _changed({} if old is None else old.tokens, new.tokens):
        token = now or was
        if token is None:
            continue
        subject = (Subject(kind="token", id=token_id, name=f"{new.name}/{token.name}"), _of(new))
        ending = (_token_name(token),)
        if was is None or now is None:
            yield Act(action="token-mint" if was is None else "token-revoke", concerns=subject, details=ending)
            continue
        if was.state != now.state:
            action = "token-deprecate" if now.state == "deprecated" else "token-undeprecate"
            yield Act(action=action, concerns=subject, details=ending)
        edits = [word for word, one, two in (
            ("name", was.name, now.name), ("expiry", was.not_after, now.not_after), ("limits", was.limits, now.limits),
        ) if one != two]  # fmt: skip
        if edits:
            yield Act(action="token-edit", concerns=subject, details=(*ending, *edits))


def _token_name(token: Token) -> str:
    return f"{token.name} shat_…{token.last4}"


def _group_acts(before: OrgState, after: OrgState) -> Iterator[Act]:
    for _, old, new in _changed(before.groups, after.groups):
        if new is None and old is not None:
            yield Act(action="group-delete", concerns=(_of(old),))
        elif new is not None:
            yield from _group_edits(before, after, old, new)


def _group_edits(before: OrgState, after: OrgState, old: Group | None, new: Group) -> Iterator[Act]:
    if old is None:
        yield Act(action="group-create", concerns=(_of(new),))
    elif old.name != new.name:
        yield Act(action="group-rename", concerns=(_of(new),), details=(f"{old.name!r} → {new.name!r}",))
    known = set() if old is None else set(old.operators)
    for action, ids, state in (
        ("group-add", set(new.operators) - known, after),
        ("group-remove", known - set(new.operators), before),
    ):
        for operator_id in sorted(ids):
            person = _operator(state, operator_id)
            yield Act(action=action, concerns=(_of(new), person), details=(f"operator {person.name!r}",))
    if old is not None and old.epoch != new.epoch:
        yield Act(action="group-rekey", concerns=(_of(new),), details=(f"epoch {new.epoch}",))


def _profile_acts(before: OrgState, after: OrgState) -> Iterator[Act]:
    for _, old, new in _changed(before.profiles, after.profiles):
        if new is None and old is not None:
            count = sum(entry.is_live for entry in before.entries(old.id).values())
            yield Act(action="profile-delete", concerns=(_of(old),), details=(f"{count} secrets",))
        elif new is not None:
            yield from _profile_edits(before, after, old, new)


def _profile_edits(before: OrgState, after: OrgState, old: Profile | None, new: Profile) -> Iterator[Act]:
    subject = (_of(new),)
    if old is None:
        yield Act(action="profile-create", concerns=subject)
    else:
        if old.name != new.name:
            yield Act(action="profile-rename", concerns=subject, details=(f"{old.name!r} → {new.name!r}",))
        edits = ["description"] if old.description != new.description else []
        edits += [f"-editor {_operator(before, id_).name!r}" for id_ in sorted(set(old.editors) - set(new.editors))]
        edits += [f"+editor {_operator(after, id_).name!r}" for id_ in sorted(set(new.editors) - set(old.editors))]
        if edits:
            yield Act(action="profile-edit", concerns=subject, details=tuple(edits))
    known = set() if old is None else set(old.grants)
    for action, ids, state in (
        ("group-grant", set(new.grants) - known, after),
        ("group-ungrant", known - set(new.grants), before),
    ):
        for group_id in sorted(ids):
            concerns = (_of(state.groups[group_id]), _of(new))
            yield Act(action=action, concerns=concerns, details=(f"profile {new.name!r}",))
    if old is not None and old.epoch != new.epoch:
        yield Act(action="profile-rekey", concerns=subject, details=(f"epoch {new.epoch}",))


def _secret_acts(before: OrgState, after: OrgState) -> Iterator[Act]:
    for profile in after.profiles.values():
        old, new = before.leaves("entries", profile.id), after.leaves("entries", profile.id)
        if old is new:
            continue
        found: dict[str, list[str]] = {}
        for secret_id, was, now in _changed(old, new):
            if now is None:
                continue
            entry, known = decode_entry_leaf(now), None if was is None else decode_entry_leaf(was)
            shown = f"{SECRET_PREFIX}{secret_id.hex()}"
            if known is None or entry.version != known.version:
                action = "secret-set" if entry.is_live else "secret-delete"
                found.setdefault(action, []).append(f"{shown} version {entry.version}")
            if known is not None and entry.oldest != known.oldest:
                found.setdefault("secret-purge", []).append(f"{shown} before version {entry.oldest}")
        for action, details in found.items():
            yield Act(action=action, concerns=(_of(profile),), details=tuple(sorted(details)))


def _lockdown_acts(before: OrgState, after: OrgState) -> Iterator[Act]:
    old = {item.id: item for item in before.structure.document.lockdowns}
    new = {item.id: item for item in after.structure.document.lockdowns}
    for id_, was, now in _changed(old, new):
        item = now or was
        if item is not None:
            action, state = ("lockdown-lift", before) if now is None else ("lockdown", after)
            named = [_of(document) for kind, ids in (("agent", item.agents), ("group", item.groups))
                     for each in ids if isinstance(document := state.documents(kind).get(each), (Agent, Group))]  # fmt: skip
            subject = Subject(kind="lockdown", id=id_, name=shown_lockdown(item))
            yield Act(action=action, concerns=(subject, *named), details=(*_whom(item, named), f"reason: {item.reason}"))


def _whom(lockdown: Lockdown, named: list[Subject]) -> tuple[str, ...]:
    if lockdown.all:
        return ("all agents",)
    return (*(f"{each.kind} {each.name!r}" for each in named), *(f"label {label}" for label in lockdown.labels))
