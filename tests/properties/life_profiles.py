"""Random acts on profiles and their secrets, for ``test_life_cycle``."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from stronghold_cli.protocol.errors import NotFound
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.vault import histories, profiles, removal
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from tests.properties.life_machine import Ids, Life, Occasion, admins, find, nothing, which, writers
from tests.properties.life_model import Model

secret_names = st.sampled_from(("ALPHA", "BETA"))
values = st.sampled_from((b"", b"x", b"y\n"))


class ProfileActs(Life):
    """The acts."""

    @rule(on=admins, name_of=which, with_group=st.booleans())
    def create_profile(self, on: Occasion, name_of: int, with_group: bool) -> None:
        name = self.a_name(self.seen(on).profiles, name_of)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            profile = profiles.create_profile(draft, name, with_group=with_group)
            return lambda _: (profile.id, *profile.grants)

        def expect(model: Model, ids: Ids) -> Model:
            return model.create_profile(ids[0], name, ids[1] if with_group else None)

        self.act(on, do, expect)

    @precondition(lambda self: self.model.profiles)
    @rule(on=admins, profile=which, name_of=which, group=st.none() | which)
    def copy_profile(self, on: Occasion, profile: int, name_of: int, group: int | None) -> None:
        name = self.a_name(self.seen(on).profiles, name_of)
        profile_id = self.a_profile(on, profile)
        group_id = None if group is None else self.a_group(on, group)

        def do(vault: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            source = find(draft.profiles(), profile_id)
            known = profiles.read_secrets(vault, source)
            reader = None if group_id is None else find(draft.groups(), group_id)
            copy = profiles.copy_profile(draft, source, known, name, group=reader)

            def made(state: OrgState) -> Ids:
                found = profiles.read_secrets(vault, state.profiles[copy.id])
                own = () if group_id is not None else tuple(copy.grants)
                return (copy.id, *own, *(each.id for _, each in sorted(found.items())))

            return made

        self.act(on, do, lambda model, ids: model.copy_profile(tuple(ids), profile_id, name, group_id, self.by(on)))

    @precondition(lambda self: self.model.profiles)
    @rule(on=admins, profile=which, name_of=which)
    def rename_profile(self, on: Occasion, profile: int, name_of: int) -> None:
        name = self.a_name(self.seen(on).profiles, name_of)
        profile_id = self.a_profile(on, profile)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            profiles.rename_profile(draft, find(draft.profiles(), profile_id), name)
            return nothing

        self.act(on, do, lambda model, _: model.rename_profile(profile_id, name))

    @precondition(lambda self: self.model.profiles)
    @rule(on=admins, profile=which)
    def delete_profile(self, on: Occasion, profile: int) -> None:
        profile_id = self.a_profile(on, profile)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            removal.delete_profile(draft, find(draft.profiles(), profile_id))
            return nothing

        self.act(on, do, lambda model, _: model.delete_profile(profile_id))

    # Secrets.

    @precondition(lambda self: self.model.profiles)
    @rule(on=writers, profile=which, name=secret_names, value=values)
    def set_secret(self, on: Occasion, profile: int, name: str, value: bytes) -> None:
        profile_id = self.a_profile(on, profile)

        def do(vault: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            found = find(draft.profiles(), profile_id)
            profiles.write_secrets(draft, found, profiles.read_secrets(vault, found), {name: value})
            return lambda state: (
                [id_ for id_ in state.entries(profile_id) if id_ not in self.model.profiles[profile_id].secrets] or [b""]
            )

        def expect(model: Model, ids: Ids) -> Model:
            return model.write(ids[0], profile_id, name, value, self.by(on))

        self.act(on, do, expect, is_for_editors=True)

    @precondition(lambda self: self.model.profiles)
    @rule(on=writers, one=which, name=secret_names, restores=st.booleans())
    def delete_or_restore(self, on: Occasion, one: int, name: str, restores: bool) -> None:
        if restores:
            self.restore(on, one)
        else:
            self.delete_secret(on, one, name)

    def delete_secret(self, on: Occasion, profile: int, name: str) -> None:
        profile_id = self.a_profile(on, profile)

        def do(vault: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            found = find(draft.profiles(), profile_id)
            profiles.delete_secrets(draft, found, profiles.read_secrets(vault, found), [name])
            return nothing

        self.act(on, do, lambda model, _: model.delete_secret(profile_id, name, self.by(on)), is_for_editors=True)

    @precondition(lambda self: self.has_secrets())
    @rule(on=writers, secret=which, version=st.none() | st.integers(1, 4))
    def roll_back(self, on: Occasion, secret: int, version: int | None) -> None:
        profile_id, secret_id = self.a_secret(on, secret, lambda line: line.value is not None and len(line.kept()) > 1)

        def do(vault: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            found = find(draft.profiles(), profile_id)
            if not find(draft.state.entries(profile_id), secret_id).is_live:
                raise NotFound("it was deleted")
            history = histories.read_history(vault, found, secret_id)
            histories.roll_back(draft, found, profiles.read_secrets(vault, found), history, version)
            return nothing

        self.act(on, do, lambda model, _: model.roll_back(profile_id, secret_id, version, self.by(on)), is_for_editors=True)

    def restore(self, on: Occasion, secret: int) -> None:
        profile_id, secret_id = self.a_secret(on, secret, lambda line: line.value is None and len(line.kept()) > 1)

        def do(vault: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            found = find(draft.profiles(), profile_id)
            deleted = {item.id: item for item in histories.read_deleted(vault, found)}
            known = profiles.read_secrets(vault, found)
            histories.restore(draft, found, known, find(deleted, secret_id), None)
            return nothing

        self.act(on, do, lambda model, _: model.restore(profile_id, secret_id, self.by(on)), is_for_editors=True)

    @precondition(lambda self: self.has_secrets())
    @rule(on=writers, secret=which, keep=st.integers(1, 2))
    def purge(self, on: Occasion, secret: int, keep: int) -> None:
        profile_id, secret_id = self.a_secret(on, secret, lambda line: len(line.kept()) > keep)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            found = find(draft.profiles(), profile_id)
            find(draft.state.entries(profile_id), secret_id)
            histories.purge(draft, found, secret_id, "a secret", keep)
            return nothing

        self.act(on, do, lambda model, _: model.purge(profile_id, secret_id, keep, self.by(on)), is_for_editors=True)
