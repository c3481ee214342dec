"""Acts on agents and their tokens: create, mint, revoke (protocol sections 3, 4 and 8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stronghold_cli.crypto.tokens import mint_token
from stronghold_cli.protocol.documents.agent import NO_LIMITS, Agent, Limits, Token
from stronghold_cli.protocol.documents.base import NO_EXTENSIONS
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.errors import Conflict
from stronghold_cli.protocol.keys import sealing_key_hash
from stronghold_cli.protocol.names import caseless, require_description, require_name
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.token import AgentToken
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import seal_to_token
from stronghold_cli.vault.lookup import require_free


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
    agent = Agent(
        org_id=draft.org_id,
        id=draft.new_id(),
        version=1,
        name=name,
        description=description,
        labels=dict(labels or {}),
        state="active",
        not_after=not_after,
        groups=tuple(sorted(group.id for group in groups)),
        tokens={},
        **NO_EXTENSIONS,
    )
    draft.put(agent)
    return agent


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
    return NewToken(token=minted.token, token_id=minted.token_id, name=name, agent=agent, not_after=not_after)


def revoke(draft: Draft, agent: Agent, token_id: bytes) -> None:
    """End a token for ever: it leaves its agent's document and its member leaves go; the server deletes its share."""
    tokens = {id_: token for id_, token in agent.tokens.items() if id_ != token_id}
    draft.put(agent.replace(tokens=tokens))
    for group_id in agent.groups:
        draft.set_member(group_id, token_id, None)
