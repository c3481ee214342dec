"""Finding what a person named, in verified state only: by name without regard to case, or by id (``ag_`` and 32 digits)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from stronghold_cli.protocol.documents.agent import Agent, Token
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.org import Operator
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.errors import Conflict, NotFound, UsageError
from stronghold_cli.protocol.laid_documents import names_of
from stronghold_cli.protocol.names import ID_PREFIXES, SECRET_PREFIX, caseless
from stronghold_cli.protocol.state import OrgState

D = TypeVar("D", Agent, Group, Profile)
N = TypeVar("N", Agent, Group, Profile, Operator)


def find_agent(agents: Mapping[bytes, Agent], text: str) -> Agent:
    """The agent of that name or id; ``NotFound`` names the nearest that exists."""
    return agents[_find("agent", agents, text)]


def find_group(groups: Mapping[bytes, Group], text: str) -> Group:
    """The group of that name or id; ``NotFound`` names the nearest that exists."""
    return groups[_find("group", groups, text)]


def find_profile(profiles: Mapping[bytes, Profile], text: str) -> Profile:
    """The profile of that name or id; ``NotFound`` names the nearest that exists."""
    return profiles[_find("profile", profiles, text)]


def find_operator(state: OrgState, text: str) -> bytes:
    """The id of the operator of that name or id; ``NotFound`` names the nearest that exists."""
    return _find("operator", state.org.document.operators, text)


def find_token(state: OrgState, text: str) -> tuple[Agent, bytes, Token]:
    """The token with that id (``tk_…``), shown end (``shat_…last4``), ``AGENT/NAME``, or name if only one has it.

    ``NotFound`` names the nearest that exists; a token that was revoked stands in no document, and so does not.
    """
    found = [
        (agent, token_id, token)
        for agent in state.agents.values()
        for token_id, token in agent.tokens.items()
        if _names_token(text, agent, token_id, token)
    ]
    if not found:
        names = [f"{agent.name}/{token.name}" for agent in state.agents.values() for token in agent.tokens.values()]
        close = nearest(names, text) or nearest([name.rpartition("/")[2] for name in names], text)
        hint = f"Did you mean {close!r}?" if close else "List them with: stronghold token list"
        raise NotFound(f"There is no live token {text[:60]!r}.", hint=hint)
    if len(found) > 1:
        raise UsageError(f"{len(found)} tokens are called {text[:60]!r}.", hint="Give the token's id (tk_…) instead.")
    return found[0]


def find_again(documents: Mapping[bytes, D], found: D) -> D:
    """A document as it stands now, by its id: its name may have gone to another one; ``NotFound`` where it was deleted."""
    current = documents.get(found.id)
    if current is None:
        raise NotFound(f"The {found.KIND} {found.name!r} was deleted meanwhile.")
    return current


def still_there(state: OrgState, profile: Profile) -> Profile:
    """The profile as it stands in ``state``; ``NotFound`` where somebody deleted it meanwhile."""
    current = state.profiles.get(profile.id)
    if current is None:
        raise NotFound(f"The profile {profile.name!r} was deleted meanwhile.")
    return current


def require_free(
    kind: str, documents: Mapping[bytes, Agent | Group | Profile | Operator], name: str, *, but: bytes | None = None
) -> None:
    """Raise ``Conflict`` where a document of the kind (other than that with the id ``but``) has that name already."""
    if any(id_ != but and caseless(other) == caseless(name) for id_, other in names_of(documents)):
        raise Conflict(f"There is already a {kind} named {name!r}.", hint="Choose another name.")


def secret_of_id(state: OrgState, profile: Profile, text: str) -> bytes | None:
    """The id of the profile's secret, live or deleted, that ``text`` is the shown id (``se_…``) of; else ``None``."""
    return next((id_ for id_ in state.entries(profile.id) if text == shown_secret(id_)), None)


def shown_secret(secret_id: bytes) -> str:
    """The id of a secret as people see it: ``se_`` and 32 hex digits."""
    return f"{SECRET_PREFIX}{secret_id.hex()}"


def shown_id(kind: str, id_: bytes) -> str:
    """An id as people see it: ``ag_`` and 32 hex digits."""
    return f"{ID_PREFIXES[kind]}{id_.hex()}"


def _find(kind: str, documents: Mapping[bytes, N], text: str) -> bytes:
    prefix = ID_PREFIXES[kind]
    if text.startswith(prefix):
        for id_ in documents:
            if id_.hex() == text[len(prefix) :]:
                return id_
    wanted = caseless(text)
    names = dict(names_of(documents))
    for id_, name in names.items():
        if caseless(name) == wanted:
            return id_
    raise NotFound(f"There is no {kind} named {text[:100]!r}.", hint=_nearest(kind, list(names.values()), text))


def nearest(names: Iterable[str], text: str) -> str | None:
    """The name that looks most like ``text``, without regard to case, or ``None`` where none does."""
    from difflib import get_close_matches  # only on the way to an error

    by_key = {caseless(name): name for name in names}
    close = get_close_matches(caseless(text), by_key, n=1, cutoff=0.5)
    return by_key[close[0]] if close else None


def _nearest(kind: str, names: list[str], text: str) -> str:
    close = nearest(names, text)
    return f"Did you mean {close!r}?" if close else f"List them with: stronghold {_LISTS[kind]} list"


_LISTS = {"agent": "agent", "group": "group", "profile": "profile", "operator": "member"}


def _names_token(text: str, agent: Agent, token_id: bytes, token: Token) -> bool:
    if text in {shown_id("token", token_id), f"shat_…{token.last4}", f"shat_...{token.last4}"}:
        return True
    return caseless(text) in {caseless(token.name), caseless(f"{agent.name}/{token.name}")}
