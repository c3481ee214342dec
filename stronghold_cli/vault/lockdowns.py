"""Lockdown: one line in the structure stops agents at once, and lifting it wakes just those (protocol section 8).

A line names all agents, or agents, groups and labels; it holds for every agent that matches it at the time, also for one
that is made, labelled or put into the group later. Nothing else about an agent changes, so whoever was paused otherwise
stays paused when a line is lifted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from stronghold_cli.protocol.documents.agent import Agent, is_locked_down
from stronghold_cli.protocol.documents.base import SIZE_LIMITS
from stronghold_cli.protocol.documents.structure import MAX_LABELS, MAX_LOCKDOWNS, MAX_REASON, Lockdown
from stronghold_cli.protocol.errors import NotFound, UsageError
from stronghold_cli.protocol.names import LOCKDOWN_PREFIX, is_label, is_plain_text, nfc
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.lookup import find_agent, find_group, nearest

# An id is found by its beginning where that is unambiguous, as long as it has this many hex digits.
_SHORTEST_ID = 6


class Wanted(Record):
    """Whom a person wants to stop, as typed: everybody, or names and ids of agents and groups, and labels ``key=value``."""

    all: bool
    groups: tuple[str, ...]
    agents: tuple[str, ...]
    labels: tuple[str, ...]
    reason: str


class Stopped(Record):
    """A lockdown, and the ids of the agents that it stops as the org stands."""

    lockdown: Lockdown
    agents: tuple[bytes, ...]


def require_wanted(wanted: Wanted) -> Wanted:
    """Return what was asked for, with its texts in NFC, where its words are legal; else ``UsageError``."""
    if wanted.all == bool(wanted.groups or wanted.agents or wanted.labels):
        raise UsageError(
            "A lockdown stops either all agents, or those that are named.",
            hint="Give --all, or --agent, --group and --label, each as often as needed.",
        )
    reason = nfc(wanted.reason.strip())
    if not reason or len(reason) > MAX_REASON or not is_plain_text(reason):
        raise UsageError(
            f"The reason is empty, has more than {MAX_REASON} characters, or holds control characters.",
            hint='Say in a sentence why, e.g. --reason "token found in a public log".',
        )
    labels = tuple(nfc(label) for label in wanted.labels)
    for label in labels:
        if label.count("=") != 1 or not is_label(*label.split("=")):
            raise UsageError(f"{label[:60]!r} is not a label.", hint="Write it like env=staging.")
    if len(labels) > MAX_LABELS:
        raise UsageError(f"A lockdown names at most {MAX_LABELS} labels.", hint="Use several lockdowns.")
    return wanted.replace(reason=reason, labels=labels)


def lock_down(draft: Draft, wanted: Wanted) -> Stopped:
    """Stop the agents wanted; ``NotFound`` for a name, or a label, that nobody has."""
    wanted = require_wanted(wanted)
    if len(draft.lockdowns) >= MAX_LOCKDOWNS:
        raise UsageError(
            f"There are {MAX_LOCKDOWNS} lockdowns, as many as there can be.", hint="Lift one: stronghold lockdown list"
        )
    agents, groups = draft.agents(), draft.groups()
    for label in wanted.labels:
        _require_worn(agents.values(), label)
    lockdown = Lockdown(
        id=draft.new_id(),
        all=wanted.all,
        groups=tuple(sorted({find_group(groups, each).id for each in wanted.groups})),
        agents=tuple(sorted({find_agent(agents, each).id for each in wanted.agents})),
        labels=tuple(sorted(set(wanted.labels))),
        reason=wanted.reason,
        created=draft.now,
    )
    lockdowns = (*draft.lockdowns, lockdown)
    if len(draft.state.structure.document.replace(lockdowns=lockdowns).payload) > SIZE_LIMITS["structure"]:
        raise UsageError(
            "The lockdowns in force take more room than there is.",
            hint="Shorten the reason, name a group instead of many agents, or lift one: stronghold lockdown list",
        )
    draft.lockdowns = lockdowns
    return Stopped(lockdown=lockdown, agents=stopped_by(agents, lockdown))


def lift(draft: Draft, texts: Sequence[str]) -> tuple[Lockdown, ...]:
    """Take lines out of the structure; ``NotFound`` where one is not there, and then none is lifted."""
    found = tuple({item.id: item for item in (find_lockdown(draft.lockdowns, text) for text in texts)}.values())
    gone = {item.id for item in found}
    draft.lockdowns = tuple(item for item in draft.lockdowns if item.id not in gone)
    return found


def find_lockdown(lockdowns: Sequence[Lockdown], text: str) -> Lockdown:
    """The lockdown of that id (``ld_…``), or of that beginning of one; ``NotFound`` or ``UsageError`` else."""
    digits = text.strip().removeprefix(LOCKDOWN_PREFIX).rstrip("…").lower()
    found = [item for item in lockdowns if len(digits) >= _SHORTEST_ID and item.id.hex().startswith(digits)]
    if len(found) > 1:
        raise UsageError(f"{len(found)} lockdowns have an id that begins with {digits!r}.", hint="Give more of the id.")
    if not found:
        near = nearest([shown_lockdown(item) for item in lockdowns], f"{LOCKDOWN_PREFIX}{digits}")
        raise NotFound(
            f"There is no lockdown {text[:60]!r}; it may have been lifted already.",
            hint=f"Did you mean {near}?" if near else "List them with: stronghold lockdown list",
        )
    return found[0]


def shown_lockdown(lockdown: Lockdown) -> str:
    """A lockdown's id as people see it: ``ld_`` and 32 hex digits."""
    return f"{LOCKDOWN_PREFIX}{lockdown.id.hex()}"


def stopped_by(agents: Mapping[bytes, Agent], lockdown: Lockdown) -> tuple[bytes, ...]:
    """The ids of those agents that a lockdown stops."""
    if lockdown.all:
        return tuple(agents)
    return tuple(id_ for id_, agent in agents.items() if is_locked_down(agent, lockdown))


def woken_by(state: OrgState, lifted: Iterable[Lockdown]) -> list[bytes]:
    """The ids of those that the lifted lockdowns stopped and that may work now: neither paused nor locked down otherwise."""
    lifted, left = tuple(lifted), state.structure.document.lockdowns
    return [
        id_
        for id_, agent in state.agents.items()
        if agent.state == "active"
        and any(is_locked_down(agent, item) for item in lifted)
        and not any(is_locked_down(agent, item) for item in left)
    ]


def _require_worn(agents: Iterable[Agent], label: str) -> None:
    """A label that nobody has is a slip of the pen, and would stop nobody."""
    key, _, value = label.partition("=")
    worn: set[str] = set()
    for agent in agents:
        if agent.labels.get(key) == value:
            return
        worn.update(f"{name}={text}" for name, text in agent.labels.items())
    near = nearest(sorted(worn), label)
    raise NotFound(
        f"No agent has the label {label[:130]!r}.",
        hint=f"Did you mean {near!r}?" if near else "See the agents' labels with: stronghold agent list --json",
    )
