"""``agent compromised`` and ``agent delete``: new keys for everything that the agent could reach (rule R10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.commands.acting import open_vault
from stronghold_cli.commands.removing import carry_out, counted, named, quoted, show_exposure
from stronghold_cli.commands.typed import YesOption
from stronghold_cli.output import confirm, say
from stronghold_cli.protocol.errors import NotFound

if TYPE_CHECKING:
    from stronghold_cli.protocol.documents.agent import Agent
    from stronghold_cli.protocol.state import OrgState
    from stronghold_cli.vault.draft import Draft
    from stronghold_cli.vault.rekeying import Rekeyed


def agent_compromised(
    name: Annotated[str, typer.Argument(help="The agent's name or id.")],
    token: Annotated[
        list[str] | None,
        typer.Option("--token", metavar="TOKEN", help="Only this token got out: its id (tk_…), shat_…last4, or name."),
    ] = None,
    yes: YesOption = False,
) -> None:
    """End an agent's tokens because somebody may have them, and give new keys to everything that they could reach.

    The agent stays in its groups and gets a new token by: stronghold token mint. Other agents read on undisturbed, and with
    --token the agent's other tokens too. What could be read until now is printed.

    Example: stronghold agent compromised "CI/CD Pipeline"
    """
    from stronghold_cli.vault.lookup import find_again, find_agent
    from stronghold_cli.vault.removal import compromised

    vault = open_vault()
    before = vault.state
    agent = find_agent(before.agents, name)
    chosen = None if not token else {_own_token(before, agent, each) for each in token}
    ended = sorted(agent.tokens[id_].name for id_ in (agent.tokens if chosen is None else chosen))
    what = f"the {'token' if len(ended) == 1 else 'tokens'} {named(ended)}" if ended else "no token (it has none)"
    question = f"End {what} of {agent.name!r}, and give new keys to {_reach(before, agent)}?"
    if not confirm(question, yes):
        say("Nothing was changed.")
        return

    def act(draft: Draft) -> Rekeyed:
        found = find_again(draft.agents(), agent)
        return compromised(draft, found, None if chosen is None else chosen & found.tokens.keys())

    done = carry_out(vault, act)
    say(f"Ended {what} of {agent.name!r}.")
    show_exposure(vault.state, done, done.profiles)
    left = vault.state.agents.get(agent.id)
    if left is not None and not left.tokens:
        say(f"It has no token now. Once its machine is clean: stronghold token mint {quoted(agent.name)}")


def delete_agent(name: Annotated[str, typer.Argument(help="The agent's name or id.")], yes: YesOption = False) -> None:
    """Delete an agent with all its tokens, and give new keys to everything that it could reach.

    To stop it for a while: stronghold agent pause.

    Example: stronghold agent delete "CI/CD Pipeline"
    """
    from stronghold_cli.vault.lookup import find_again, find_agent
    from stronghold_cli.vault.removal import delete_agent as delete

    vault = open_vault()
    before = vault.state
    agent = find_agent(before.agents, name)
    tokens = f" with {counted(len(agent.tokens), 'token')}" if agent.tokens else ""
    if not confirm(f"Delete the agent {agent.name!r}{tokens} for ever, and give new keys to {_reach(before, agent)}?", yes):
        say("Nothing was changed.")
        return
    done = carry_out(vault, lambda draft: delete(draft, find_again(draft.agents(), agent)))
    say(f"Deleted the agent {agent.name!r}{tokens}.")
    show_exposure(vault.state, done, done.profiles)


def _own_token(state: OrgState, agent: Agent, text: str) -> bytes:
    """The id of the agent's own token that is called so; ``NotFound`` for another agent's too."""
    from stronghold_cli.vault.lookup import find_token

    own = state.replace(agents={agent.id: agent})
    try:
        return find_token(own, text)[1]
    except NotFound as error:
        error.message = f"{agent.name!r} has no live token {text[:60]!r}."
        error.hint = f"List them with: stronghold token list --agent {quoted(agent.name)}"
        raise


def _reach(state: OrgState, agent: Agent) -> str:
    """What an agent may read, for a question."""
    from stronghold_cli.vault.reach import shared_groups

    profiles = [item.name for item in state.profiles.values() if shared_groups(state, agent, item)]
    return (
        named(profiles) if profiles else "its groups (it may read nothing)" if agent.groups else "nothing (it reads nothing)"
    )
