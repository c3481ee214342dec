"""Acts on agents: create, rename, describe, label, end, pause and activate; and minting and revoking their tokens.

Protocol sections 3, 4, 5 and 8. What happens to a token between its minting and its end stands in ``tokens``. Each act takes
the agent as the draft has it, and changes nothing where there is nothing to change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from stronghold_cli.crypto.tokens import mint_token
from stronghold_cli.protocol.documents.agent import MAX_LABELS, MAX_TOKENS, NO_LIMITS, Agent, Limits, Token, is_locked_down
from stronghold_cli.protocol.documents.base import NO_EXTENSIONS
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.structure import Lockdown
from stronghold_cli.protocol.errors import Conflict, NotFound, UsageError
from stronghold_cli.protocol.keys import sealing_key_hash
from stronghold_cli.protocol.names import caseless, is_label, require_description, require_name
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.token import AgentToken
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import seal_to_token
from stronghold_cli.vault.lookup import nearest, require_free

# A token that expired longer ago than this has no share any more; the next minting takes it out of its agent's document.
_LONG_EXPIRED = 3600


class Address(Record):
    """The server's address as it will stand in a token."""

    address: str
    plain_http: bool


class NewToken(Record):
    """A minted token, to be shown once."""

    token: AgentToken
    token_id: bytes
    name: str
    agent: Agent
    not_after: int | None
    limits: Limits

    @property
    def end(self) -> int | None:
        """Unix seconds from which on it is refused: its own end or its agent's."""
        return self.agent.tokens[self.token_id].end_with(self.agent.not_after)

    def __repr__(self) -> str:
        return f"NewToken({self.token_id.hex()})"


def create_agent(
    draft: Draft,
    name: str,
    groups: Iterable[Group],
    *,
    description: str = "",
    labels: Mapping[str, str] | None = None,
    not_after: int | None = None,
) -> Agent:
    """Make an agent, without a token, in the groups given."""
    name = require_name("agent", name)
    description = require_description(description)
    require_free("agent", draft.agents(), name)
    labels = dict(labels or {})
    _check_labels(name, labels)
    agent = Agent(
        org_id=draft.org_id,
        id=draft.new_id(),
        version=1,
        name=name,
        description=description,
        labels=labels,
        state="active",
        not_after=not_after,
        groups=tuple(sorted(group.id for group in groups)),
        tokens={},
        **NO_EXTENSIONS,
    )
    draft.put(agent)
    return agent


def rename_agent(draft: Draft, agent: Agent, name: str) -> Agent:
    """Give an agent another name; ``Conflict`` where it is taken. Another spelling of its own name is free."""
    name = require_name("agent", name)
    require_free("agent", {id_: other for id_, other in draft.agents().items() if id_ != agent.id}, name)
    return _put_changed(draft, agent, agent.replace(name=name))


def describe_agent(draft: Draft, agent: Agent, description: str) -> Agent:
    """Set what an agent is for."""
    return _put_changed(draft, agent, agent.replace(description=require_description(description)))


def end_agent(draft: Draft, agent: Agent, not_after: int | None) -> tuple[Token, ...]:
    """Set when an agent ends (``None``: never). Returns the tokens that had ended with it, which leave its document.

    What has expired stays so (protocol section 8): their shares are gone, or will be, and a later end does not wake them.
    """
    ended = tuple(agent.tokens.items()) if agent.not_after is not None and agent.not_after <= draft.now else ()
    if agent.not_after != not_after:
        for token_id, _ in ended:
            revoke(draft, draft.agents()[agent.id], token_id)
        draft.put(draft.agents()[agent.id].replace(not_after=not_after))
        return tuple(token for _, token in ended)
    return ()


def label_agent(
    draft: Draft, agent: Agent, labels: Mapping[str, str], remove: Collection[str], *, may_wake: Collection[bytes] = ()
) -> Agent:
    """Set and remove labels; ``NotFound`` where one to remove is not there.

    ``may_wake`` are the ids of the lockdowns that the agent may leave by it: any other makes it a ``Conflict``, since
    lifting a lockdown is an act of its own.
    """
    changed = relabelled(agent, labels, remove)
    for lockdown in lockdowns_left(draft.state.structure.document.lockdowns, agent, changed):
        if lockdown.id not in may_wake:
            raise Conflict(
                f"A lockdown ({lockdown.reason}) stops {agent.name!r} by a label that this would take away.",
                hint="Run the command again, and agree to that.",
            )
    return _put_changed(draft, agent, changed)


def relabelled(agent: Agent, labels: Mapping[str, str], remove: Collection[str]) -> Agent:
    """The agent with these labels set and those removed, as ``label_agent`` would write it."""
    for key in remove:
        if key not in agent.labels:
            close = nearest(agent.labels, key)
            has = f"It has {', '.join(sorted(agent.labels)) or 'no labels'}."
            raise NotFound(f"{agent.name!r} has no label {key[:60]!r}.", hint=f"Did you mean {close!r}?" if close else has)
        if key in labels:
            raise UsageError(f"The label {key[:60]!r} is both set and removed.", hint="Do one of the two.")
    kept = {key: value for key, value in agent.labels.items() if key not in remove}
    changed = {**kept, **labels}
    _check_labels(agent.name, changed)
    return agent.replace(labels=changed)


def lockdowns_left(lockdowns: Iterable[Lockdown], before: Agent, after: Agent) -> tuple[Lockdown, ...]:
    """The lockdowns that stop an agent before a change of its document, and no longer after it."""
    return tuple(each for each in lockdowns if is_locked_down(before, each) and not is_locked_down(after, each))


def pause_agent(draft: Draft, agent: Agent) -> bool:
    """Stop all tokens of an agent until it is activated; whether it was active."""
    return _put_changed(draft, agent, agent.replace(state="paused")) is not agent


def activate_agent(draft: Draft, agent: Agent) -> bool:
    """Let a paused agent go on; whether it was paused."""
    return _put_changed(draft, agent, agent.replace(state="active")) is not agent


def _put_changed(draft: Draft, agent: Agent, changed: Agent) -> Agent:
    """Put a changed document; one that says the same is not written again."""
    if changed == agent:
        return agent
    draft.put(changed)
    return changed


def _check_labels(name: str, labels: Mapping[str, str]) -> None:
    for key, value in labels.items():
        if not is_label(key, value):
            raise UsageError(
                f"{f'{key}={value}'[:60]!r} is not a label.",
                hint="Write KEY=VALUE, each of 1 to 63 characters without blanks, commas and '='.",
            )
    if len(labels) > MAX_LABELS:
        raise UsageError(f"{name!r} would have {len(labels)} labels; {MAX_LABELS} is the limit.")


def mint(
    draft: Draft,
    agent: Agent,
    name: str,
    address: Address,
    *,
    not_after: int | None = None,
    limits: Limits = NO_LIMITS,
) -> NewToken:
    """Mint a token for an agent and put it into each of the agent's groups. S, share and master key are new each time."""
    name = require_name("token", name)
    if agent.not_after is not None and agent.not_after <= draft.now:
        raise UsageError(
            f"The agent {agent.name!r} has expired, and so would the token at once.",
            hint=f"Give the agent a new end first: stronghold agent edit {agent.name!r} --expires-in 90d",
        )
    agent = _without_long_expired(draft, agent)
    if len(agent.tokens) >= MAX_TOKENS:
        raise UsageError(
            f"{agent.name!r} has {MAX_TOKENS} tokens, which is the limit.", hint="Revoke those that are not needed any more."
        )
    if any(caseless(token.name) == caseless(name) for token in agent.tokens.values()):
        raise Conflict(f"The agent {agent.name!r} already has a token named {name!r}.", hint="Give it another --name.")
    org = draft.state.org.document
    minted = mint_token(org.sha256, draft.seq, address.address, address.plain_http, draft.random)
    seal_sha256 = sealing_key_hash(minted.seal_public)
    token = Token(
        name=name,
        last4=minted.token.last4,
        auth_public_key=minted.auth_public,
        seal_sha256=seal_sha256,
        state="active",
        created=draft.now,
        created_by=draft.keyset.operator_id,
        not_after=not_after,
        limits=limits,
    )
    agent = agent.replace(tokens={**agent.tokens, minted.token_id: token})
    draft.put(agent)
    draft.add_share(minted.token_id, minted.share)
    draft.add_blob(minted.seal_public)
    for group_id in agent.groups:
        seal_to_token(draft, group_id, minted.token_id, agent.id, seal_sha256, minted.seal_public)
    return NewToken(token=minted.token, token_id=minted.token_id, name=name, agent=agent, not_after=not_after, limits=limits)


def revoke(draft: Draft, agent: Agent, token_id: bytes) -> Agent:
    """End a token for ever: it leaves its agent's document and its member leaves go; the server deletes its share."""
    agent = agent.replace(tokens={id_: token for id_, token in agent.tokens.items() if id_ != token_id})
    draft.put(agent)
    for group_id in agent.groups:
        draft.set_member(group_id, token_id, None)
    return agent


def _without_long_expired(draft: Draft, agent: Agent) -> Agent:
    """Take tokens that expired over an hour ago out of the document, which every pull of the agent carries."""
    for token_id, token in agent.tokens.items():
        if token.not_after is not None and token.not_after + _LONG_EXPIRED <= draft.now:
            agent = revoke(draft, agent, token_id)
    return agent
