"""Who joins, whose role changes and who goes: rights, keys and signatures change together, as one commit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stronghold_cli.crypto.keys import GroupKey, Keyset, ProfileKey
from stronghold_cli.protocol.errors import Conflict, IntegrityError, NotFound, Refused, StrongholdError, UsageError
from stronghold_cli.protocol.state import verify_signers
from stronghold_cli.vault import people as people_module
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import create_group
from stronghold_cli.vault.keyring import Keyring
from stronghold_cli.vault.past import Past
from stronghold_cli.vault.people import Newcomer, add_operator, change_role, remove_operator, set_editors
from stronghold_cli.vault.profiles import read_secrets, write_secrets
from tests.support.org import VALUES, TestOrg, fixed, workshop
from tests.support.pull import Pull

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def org() -> TestOrg:
    """Admins ada and zoe, editor eve, reader rob, auditor una."""
    org = workshop()
    join(org, "zoe", "admin")
    return org


def newcomer(org: TestOrg, name: str) -> Newcomer:
    keyset = Keyset(fixed(f"keyset of {name}", 32), org.state.org_id, fixed(f"operator {name}", 16))
    org.keysets[name] = keyset
    return Newcomer(
        operator_id=keyset.operator_id,
        name=name,
        sign=keyset.sign.public,
        request=keyset.request.public,
        seal_public=keyset.seal.public,
    )


def join(org: TestOrg, name: str, role: str) -> None:
    org.commit(lambda draft: add_operator(draft, newcomer(org, name), role))


def keys(org: TestOrg, name: str) -> Keyring:
    return Keyring(org.operator(name), org.state)


def members(org: TestOrg, group: str) -> set[bytes]:
    return set(org.state.group_members(org.group(group).id))


def epochs(org: TestOrg) -> dict[str, int]:
    return {item.name: item.epoch for item in (*org.state.groups.values(), *org.state.profiles.values())}


def names(org: TestOrg, ids: tuple[bytes, ...]) -> list[str]:
    return sorted(org.state.groups[id_].name for id_ in ids)


def signers(org: TestOrg) -> set[bytes | None]:
    """Who signed what is current."""
    state = org.state
    envelopes = (state.head.envelope, state.structure.envelope, *(each.envelope for each in state.contents.values()))
    return {envelope.operator_id for envelope in envelopes}


def reads(org: TestOrg, name: str, profile: str = "production") -> bool:
    try:
        return {k: v.secret.value for k, v in read_secrets(Vault(org.operator(name)), org.profile(profile)).items()} != {}
    except Refused:
        return False


class Held:
    """All keys that a person holds at the moment; ``opens`` is what they open later."""

    def __init__(self, org: TestOrg, name: str) -> None:
        self.org = org
        ring, own = keys(org, name), org.id(name)
        self.groups: list[GroupKey] = [ring.group(id_) for id_ in org.state.groups if own in org.state.group_members(id_)]
        self.profiles: list[ProfileKey] = [
            ring.profile(profile.id)
            for profile in org.state.profiles.values()
            if any(key.group_id in profile.grants for key in self.groups)
        ]

    def opens(self) -> set[str]:
        """The profiles of which a wrap or a live secret still opens."""
        found = set()
        for profile in self.org.state.profiles.values():
            for key in self.groups:
                grant = profile.grants.get(key.group_id)
                if grant and _opens(
                    lambda key=key, grant=grant, profile=profile: key.unwrap(  # type: ignore[misc]
                        profile.id, profile.epoch, profile.kcv, self.org.server.blobs[grant.wrap_sha256]
                    )
                ):
                    found.add(profile.name)
            for own in self.profiles:
                for secret_id, entry in self.org.state.entries(profile.id).items():
                    blob = self.org.server.blobs[entry.ciphertext_sha256]
                    if own.profile_id == profile.id and _opens(
                        lambda own=own, secret_id=secret_id, entry=entry, blob=blob: own.open_secret(  # type: ignore[misc]
                            secret_id, entry.version, blob
                        )
                    ):
                        found.add(profile.name)
        return found


def _opens(act: Callable[[], object]) -> bool:
    try:
        act()
    except IntegrityError:
        return False
    return True


@pytest.mark.parametrize("role", ["admin", "editor", "reader", "auditor"])
def test_who_joins_has_their_role_and_only_an_admin_keys(org: TestOrg, role: str) -> None:
    before = epochs(org)
    join(org, "new", role)
    assert org.state.org.document.role_of(org.id("new")) == role
    held = {name for name in ("production", "staging") if org.id("new") in members(org, name)}
    assert held == ({"production", "staging"} if role == "admin" else set())
    assert reads(org, "new") == (role == "admin")
    assert epochs(org) == before
    if role == "admin":
        org.commit(lambda draft: create_group(draft, "made by the new admin"), "new")
        assert {org.id("ada"), org.id("zoe"), org.id("new")} < members(org, "made by the new admin")


@pytest.mark.parametrize("signed_by", ["zoe", "ada"])
def test_who_is_removed_holds_no_key_and_no_signature_that_counts(org: TestOrg, signed_by: str) -> None:
    org.commit(lambda draft: create_group(draft, "other"), signed_by)
    known = read_secrets(Vault(org.operator("zoe")), org.profile("production"))
    org.commit(lambda draft: write_secrets(draft, org.profile("production"), known, {"API_KEY": b"by zoe"}), "zoe")
    held, structure = Held(org, "zoe"), org.state.structure.document.sha256
    assert held.opens() == {"production", "staging"}
    done = org.commit(lambda draft: remove_operator(draft, org.id("zoe")))
    assert names(org, done.groups) == ["other", "production", "staging"]
    assert held.opens() == set()
    assert org.id("zoe") not in {*org.state.org.document.operators, *members(org, "production"), *members(org, "other")}
    assert signers(org) == {org.id("ada")}
    assert org.state.structure.document.prev == structure
    org.commit(
        lambda draft: write_secrets(
            draft, org.profile("production"), read_secrets(Vault(org.operator()), org.profile("production")), {"L": b"later"}
        )
    )
    assert held.opens() == set()
    assert {name: secret.value for name, secret in Pull(org).open(Pull(org).answer).items()} == {
        **VALUES,
        "API_KEY": b"by zoe",
        "L": b"later",
    }


def test_who_read_nothing_goes_without_new_keys(org: TestOrg) -> None:
    before = epochs(org)
    done = org.commit(lambda draft: remove_operator(draft, org.id("una")))
    assert (done.groups, dict(done.profiles), epochs(org)) == ((), {}, before)
    assert org.id("una") not in org.state.org.document.operators


def test_who_was_in_a_group_and_wrote_a_profile_goes_from_both(org: TestOrg) -> None:
    before = epochs(org)
    done = org.commit(lambda draft: remove_operator(draft, org.id("eve")))
    assert names(org, done.groups) == ["production"]
    assert (org.group("production").operators, org.profile("production").editors) == ((), ())
    assert epochs(org) == {**before, "production": 2}


def test_a_removed_operator_is_told_so_by_nobody_but_the_signed_documents(org: TestOrg) -> None:
    """What they sign then is refused by whoever follows the org."""
    org.commit(lambda draft: remove_operator(draft, org.id("zoe")))
    draft = Draft(org.state, org.keysets["zoe"], keys(org, "ada"), org.now, org.random)
    with pytest.raises(Refused, match="Your role"):
        draft.require_allowed()
    draft.renew_head()
    with pytest.raises(IntegrityError, match="not signed by somebody who may sign it now"):
        draft.finish()


@pytest.mark.parametrize(
    ("role", "still_reads"),
    [("editor", {"staging"}), ("reader", {"staging"}), ("auditor", set())],
)
def test_a_demoted_admin_keeps_the_groups_of_their_own_and_signs_nothing_above_the_role(
    org: TestOrg, role: str, still_reads: set[str]
) -> None:
    group = org.group("staging")
    org.commit(lambda draft: draft.put(group.replace(operators=(org.id("zoe"),))))
    staged = read_secrets(Vault(org.operator("zoe")), org.profile("staging"))
    org.commit(lambda draft: write_secrets(draft, org.profile("staging"), staged, {"STAGED": b"by zoe"}), "zoe")
    org.commit(lambda draft: create_group(draft, "made by zoe"), "zoe")
    held, contents = Held(org, "zoe"), org.state.contents[org.profile("staging").id]
    done = org.commit(lambda draft: change_role(draft, org.id("zoe"), role))
    lost = {"production", "staging", "made by zoe"} - still_reads
    assert names(org, done.groups) == sorted(lost)
    assert held.opens() == still_reads
    assert {name for name in ("production", "staging") if reads(org, "zoe", name)} == still_reads
    assert signers(org) == {org.id("ada")}
    if still_reads:  # staging was not touched but for the signature
        after = org.state.contents[org.profile("staging").id]
        assert after.document.sha256 == contents.document.sha256
        assert after.envelope != contents.envelope
        assert org.group("staging").epoch == 1


def test_a_structure_that_loses_its_signer_is_signed_anew_and_stays_the_same(org: TestOrg) -> None:
    org.commit(lambda draft: create_group(draft, "made by zoe"), "zoe")
    before = org.state
    draft = org.draft()
    draft.put_org(draft.org.replace(operators={k: v for k, v in draft.org.operators.items() if k != org.id("una")}))
    commit, _ = draft.finish()
    assert commit.changes.structure is None  # una signed nothing
    org.commit(lambda draft: change_role(draft, org.id("una"), "reader"))
    assert org.state.structure.envelope == before.structure.envelope

    # Somebody in no group but admin by name: nothing is re-keyed that could carry the signature away.
    def join_all(draft: Draft) -> None:
        for group in draft.groups().values():
            draft.put(group.replace(operators=tuple(sorted((*group.operators, org.id("zoe"))))))

    org.commit(join_all, "zoe")
    before = org.state
    org.commit(lambda draft: change_role(draft, org.id("zoe"), "reader"))
    assert org.state.structure.document.sha256 == before.structure.document.sha256
    assert org.state.structure.document.seq < org.state.seq
    assert (before.structure.envelope.operator_id, org.state.structure.envelope.operator_id) == (
        org.id("zoe"),
        org.id("ada"),
    )
    verify_signers(org.state)


@pytest.mark.parametrize("name", ["eve", "rob", "una"])
def test_who_becomes_an_admin_reads_all_and_stands_among_no_editors(org: TestOrg, name: str) -> None:
    before = epochs(org)
    done = org.commit(lambda draft: change_role(draft, org.id(name), "admin"))
    assert (done.groups, epochs(org)) == ((), before)
    assert reads(org, name) is True
    assert reads(org, name, "staging") is True
    assert org.profile("production").editors == (() if name == "eve" else (org.id("eve"),))
    org.commit(lambda draft: create_group(draft, "made by the new admin"), name)


@pytest.mark.parametrize(("role", "reads_on"), [("reader", True), ("auditor", False)])
def test_an_editor_with_a_lower_role_writes_no_more(org: TestOrg, role: str, reads_on: bool) -> None:
    eve_writes(org)
    contents = org.state.contents[org.profile("production").id]
    assert contents.envelope.operator_id == org.id("eve")
    done = org.commit(lambda draft: change_role(draft, org.id("eve"), role))
    assert names(org, done.groups) == ([] if reads_on else ["production"])
    assert org.profile("production").editors == ()
    assert reads(org, "eve") is reads_on
    after = org.state.contents[org.profile("production").id]
    assert after.envelope.operator_id == org.id("ada")
    assert (after.document.sha256 == contents.document.sha256) is reads_on
    with pytest.raises(Refused, match="Your role" if reads_on else "You may not read"):
        eve_writes(org)


def test_the_same_role_again_changes_nothing(org: TestOrg) -> None:
    draft = org.draft()
    assert change_role(draft, org.id("eve"), "editor").groups == ()
    assert draft.is_empty


def test_the_editors_of_a_profile_are_exactly_those_named(org: TestOrg) -> None:
    join(org, "ned", "editor")
    eve_writes(org)
    contents, profile = org.state.contents[org.profile("production").id], org.profile("production")
    assert org.commit(lambda draft: set_editors(draft, profile, [org.id("ned"), org.id("ned")])).editors == (org.id("ned"),)
    after = org.state.contents[profile.id]
    assert (after.document.sha256, after.envelope.operator_id) == (contents.document.sha256, org.id("ada"))
    with pytest.raises(Refused, match="not listed as an editor"):
        eve_writes(org)
    org.commit(lambda draft: set_editors(draft, org.profile("production"), [org.id("eve"), org.id("ned")]))
    eve_writes(org)
    # Who stays keeps the signature under the contents.
    org.commit(lambda draft: set_editors(draft, org.profile("production"), [org.id("eve")]))
    assert org.state.contents[profile.id].envelope.operator_id == org.id("eve")


def test_naming_the_same_editors_changes_nothing(org: TestOrg) -> None:
    draft = org.draft()
    assert set_editors(draft, org.profile("production"), [org.id("eve")]) == org.profile("production")
    assert draft.is_empty


def eve_writes(org: TestOrg) -> None:
    vault = Vault(org.operator("eve"))
    known = read_secrets(vault, org.profile("production"))
    value = b"value %d" % org.state.seq
    vault.commit(lambda draft: write_secrets(draft, org.profile("production"), known, {"API_KEY": value}))


def test_operators_follow_it_and_go_back_over_it(org: TestOrg) -> None:
    """Signatures made anew stand in no commit of their own: both ways have to bear that."""
    eve_writes(org)
    device = Vault(org.operator())
    before = device.state
    join(org, "new", "admin")
    org.commit(lambda draft: set_editors(draft, org.profile("production"), []))
    org.commit(lambda draft: change_role(draft, org.id("zoe"), "editor"))
    org.commit(lambda draft: remove_operator(draft, org.id("new")))
    assert device.refresh()
    assert device.state.head.document.sha256 == org.state.head.document.sha256
    former = Past(org.operator(), device.state).back_to(before.seq)
    assert former.head.document.sha256 == before.head.document.sha256
    assert set(former.org.document.operators) == set(before.org.document.operators)


IMPOSSIBLE: dict[str, tuple[type[StrongholdError], Callable[[TestOrg, Draft], object]]] = {
    "a role that is none": (UsageError, lambda org, draft: add_operator(draft, newcomer(org, "new"), "owner")),
    "another role that is none": (UsageError, lambda org, draft: change_role(draft, org.id("eve"), "owner")),
    "a name that is taken": (
        Conflict,
        lambda org, draft: add_operator(draft, newcomer(org, "new").replace(name="EVE"), "reader"),
    ),
    "a name that is none": (
        UsageError,
        lambda org, draft: add_operator(draft, newcomer(org, "new").replace(name=""), "reader"),
    ),
    "an id that is taken": (
        Conflict,
        lambda org, draft: add_operator(draft, newcomer(org, "new").replace(operator_id=org.id("eve")), "reader"),
    ),
    "a key of low order": (
        IntegrityError,
        lambda org, draft: add_operator(draft, newcomer(org, "new").replace(seal_public=bytes(1216)), "reader"),
    ),
    "a key that somebody has": (
        IntegrityError,
        lambda org, draft: (
            add_operator(draft, newcomer(org, "new").replace(sign=org.keysets["eve"].sign.public), "reader"),
            draft.finish(),
        ),
    ),
    "a signing key of small order": (
        IntegrityError,
        lambda org, draft: (add_operator(draft, newcomer(org, "new").replace(sign=bytes(32)), "reader"), draft.finish()),
    ),
    "the own role": (UsageError, lambda org, draft: change_role(draft, org.id("ada"), "reader")),
    "oneself": (UsageError, lambda org, draft: remove_operator(draft, org.id("ada"))),
    "nobody's role": (NotFound, lambda _, draft: change_role(draft, bytes(16), "reader")),
    "nobody": (NotFound, lambda _, draft: remove_operator(draft, bytes(16))),
    "an editor who is nobody": (NotFound, lambda org, draft: set_editors(draft, org.profile("staging"), [bytes(16)])),
    "an editor who is admin": (UsageError, lambda org, draft: set_editors(draft, org.profile("staging"), [org.id("zoe")])),
    "an editor who is reader": (UsageError, lambda org, draft: set_editors(draft, org.profile("staging"), [org.id("rob")])),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_is_not_possible_is_told(org: TestOrg, name: str) -> None:
    error, act = IMPOSSIBLE[name]
    with pytest.raises(error):
        act(org, org.draft())


def test_an_admin_as_editor_is_told_that_it_needs_no_listing(org: TestOrg) -> None:
    with pytest.raises(UsageError, match="admins may write every profile"):
        set_editors(org.draft(), org.profile("staging"), [org.id("zoe")])


def test_an_org_is_bounded(org: TestOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people_module, "MAX_OPERATORS", 5)
    with pytest.raises(UsageError, match="5 operators"):
        add_operator(org.draft(), newcomer(org, "new"), "reader")


@pytest.mark.parametrize("name", ["eve", "rob", "una"])
def test_nobody_but_an_admin_changes_people(org: TestOrg, name: str) -> None:
    for act in (
        lambda draft: add_operator(draft, newcomer(org, "new"), "reader"),
        lambda draft: change_role(draft, org.id("una" if name == "rob" else "rob"), "editor"),
    ):
        with pytest.raises(Refused) as caught:
            Vault(org.operator(name)).commit(act)
        assert caught.value.code == "FORBIDDEN"
