"""An org's verified state and the model of it, in the same words."""

from __future__ import annotations

from stronghold_cli.protocol.documents.agent import Token
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.vault import histories
from stronghold_cli.vault.committing import Vault
from tests.properties.life_model import Model


def history_of(vault: Vault, profile_id: bytes, secret_id: bytes) -> dict[int, bytes | None]:
    history = histories.read_history(vault, vault.state.profiles[profile_id], secret_id)
    return {item.number: None if item.secret is None else item.secret.value for item in history.versions}


def of_state(state: OrgState) -> dict[str, object]:
    """Everything that the model knows of too."""
    return {
        "agents": {
            id_: (
                agent.name,
                agent.state == "active",
                agent.not_after,
                set(agent.groups),
                {f"{key}={value}" for key, value in agent.labels.items()},
                {token: _of_token(line) for token, line in agent.tokens.items()},
            )
            for id_, agent in state.agents.items()
        },
        "groups": {id_: (group.name, set(group.operators)) for id_, group in state.groups.items()},
        "profiles": {
            id_: (
                profile.name,
                set(profile.grants),
                set(profile.editors),
                {key: (entry.version, entry.oldest, entry.is_live) for key, entry in state.entries(id_).items()},
            )
            for id_, profile in state.profiles.items()
        },
        "lockdowns": {lockdown.id for lockdown in state.structure.document.lockdowns},
    }


def _of_token(token: Token) -> tuple[object, ...]:
    return token.state, token.created, token.not_after, token.limits.uses, bool(token.limits.addresses)


def of_model(model: Model) -> dict[str, object]:
    return {
        "agents": {
            id_: (
                agent.name,
                agent.is_active,
                agent.not_after,
                agent.groups,
                agent.labels,
                {
                    token: (line.state, line.created, line.not_after, line.uses, line.is_elsewhere)
                    for token, line in agent.tokens.items()
                },
            )
            for id_, agent in model.agents.items()
        },
        "groups": {id_: (group.name, group.operators) for id_, group in model.groups.items()},
        "profiles": {
            id_: (
                profile.name,
                profile.grants,
                profile.editors,
                {
                    key: (len(secret.versions), secret.oldest, secret.value is not None)
                    for key, secret in profile.secrets.items()
                },
            )
            for id_, profile in model.profiles.items()
        },
        "lockdowns": set(model.lockdowns),
    }
