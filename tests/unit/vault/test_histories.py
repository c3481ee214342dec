"""The history of secrets: kept versions are opened after re-keys, and nothing in them is believed that is not proven."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.protocol.documents.leaves import EntryLeaf, leaf_link
from stronghold_cli.protocol.errors import Conflict, IntegrityError, MalformedError, NotFound, Refused
from stronghold_cli.protocol.messages_past import MAX_HISTORY_BODY, KeptSecret, KeptSecrets, decode_kept_secrets
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.vault import kept
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.histories import (
    Deleted,
    SecretHistory,
    find_histories,
    purge,
    read_deleted,
    read_history,
    restore,
    roll_back,
    signers_of,
)
from stronghold_cli.vault.profiles import delete_secrets, read_opened, read_secrets, write_secrets
from tests.support.org import TestOrg, renew_group, workshop

pytestmark = pytest.mark.usefixtures("home")
KEY = "API_KEY"


@pytest.fixture
def org() -> TestOrg:
    return workshop()


def vault(org: TestOrg, name: str = "ada") -> Vault:
    return Vault(org.operator(name))


def write(org: TestOrg, value: bytes, name: str = KEY) -> None:
    own = vault(org)
    own.commit(lambda draft: write_secrets(draft, org.profile("production"), known(own, org), {name: value}))


def known(own: Vault, org: TestOrg) -> Any:
    return read_secrets(own, org.profile("production"))


def delete(org: TestOrg, name: str = KEY) -> None:
    own = vault(org)
    own.commit(lambda draft: delete_secrets(draft, org.profile("production"), known(own, org), [name]))


def rekey(org: TestOrg) -> None:
    org.commit(lambda draft: renew_group(draft, org.group("production")))


def the_history(org: TestOrg, own: Vault | None = None) -> SecretHistory:
    own = own or vault(org)
    (history,) = the_histories(org, own)
    return history


def the_histories(org: TestOrg, own: Vault | None = None, text: str = KEY) -> list[SecretHistory]:
    own = own or vault(org)
    profile = org.profile("production")
    return [read_history(own, profile, id_, with_values=True) for id_ in find_histories(own, profile, [text])]


def read_whole(own: Vault, org: TestOrg, secret_id: bytes) -> SecretHistory:
    return read_history(own, org.profile("production"), secret_id, with_values=True)


def bring_back(org: TestOrg, own: Vault, gone: Deleted, number: int | None) -> None:
    own.commit(lambda draft: restore(own, draft, org.profile("production"), known(own, org), gone, number))


def shown(history: SecretHistory) -> list[tuple[int, int, bytes | None]]:
    return [(each.number, each.epoch, each.value) for each in history.versions]


def test_old_versions_stay_readable_over_several_rekeys(org: TestOrg) -> None:
    write(org, b"two")
    rekey(org)
    write(org, b"three")
    rekey(org)
    rekey(org)
    write(org, b"four")
    assert shown(the_history(org)) == [(4, 4, b"four"), (3, 4, b"three"), (2, 2, b"two"), (1, 1, b"first value")]


def test_an_editor_who_may_read_the_profile_reads_its_history_and_others_do_not(org: TestOrg) -> None:
    write(org, b"two")
    rekey(org)
    assert [value for *_, value in shown(the_history(org, vault(org, "eve")))] == [b"two", b"first value"]
    with pytest.raises(Refused):
        the_history(org, vault(org, "rob"))


def test_a_version_says_who_wrote_it_and_when(org: TestOrg) -> None:
    org.now += 60
    write(org, b"two")
    newest, oldest = the_history(org).versions
    assert (newest.author, newest.time) == (org.id("ada"), org.now)
    assert oldest.time is not None
    assert oldest.time < org.now


def test_a_deletion_is_told_by_the_commit_that_made_it(org: TestOrg) -> None:
    write(org, b"two")
    org.now += 100
    delete(org)
    deleted_at = org.now
    org.now += 100
    write(org, b"other", "OTHER")
    history = the_history(org)
    assert [value for *_, value in shown(history)] == [None, b"two", b"first value"]
    assert not history.is_live
    own = vault(org)
    assert signers_of(own, org.profile("production"), history) == {3: (org.id("ada"), deleted_at)}


def test_rolling_back_is_a_new_version_with_value_and_note(org: TestOrg) -> None:
    own = vault(org)
    note = {KEY: b"why"}
    own.commit(lambda draft: write_secrets(draft, org.profile("production"), known(own, org), {KEY: b"two"}, notes=note))
    write(org, b"three")

    def back(number: int | None) -> None:
        own = vault(org)
        own.commit(lambda draft: roll_back(own, draft, org.profile("production"), known(own, org), KEY, number))

    back(None)
    assert shown(the_history(org))[0] == (4, 1, b"two")
    back(1)
    assert shown(the_history(org))[0] == (5, 1, b"first value")
    assert the_history(org).versions[0].note == b""
    with pytest.raises(NotFound, match="no version 9"):
        back(9)


def test_a_deleted_secret_comes_back_under_its_own_id_after_a_rekey(org: TestOrg) -> None:
    secret_id = the_history(org).id
    write(org, b"two")
    delete(org)
    rekey(org)
    own = vault(org)
    (gone,) = read_deleted(own, org.profile("production"))
    assert (gone.name, gone.id) == (KEY, secret_id)
    bring_back(org, own, gone, None)
    assert known(vault(org), org)[KEY].secret.value == b"two"
    assert known(vault(org), org)[KEY].id == secret_id
    assert shown(the_history(org)) == [(4, 2, b"two"), (3, 1, None), (2, 1, b"two"), (1, 1, b"first value")]
    with pytest.raises(Conflict, match="again"):
        bring_back(org, own, gone, None)


def test_a_name_that_was_given_again_has_two_histories(org: TestOrg) -> None:
    delete(org)
    write(org, b"anew")
    live, gone = the_histories(org)
    assert (live.is_live, gone.is_live, live.id != gone.id) == (True, False, True)
    assert (shown(live), shown(gone)) == ([(1, 1, b"anew")], [(2, 1, None), (1, 1, b"first value")])


def test_a_purge_removes_old_versions_and_keeps_as_many_as_it_is_told(org: TestOrg) -> None:
    for value in (b"two", b"three", b"four"):
        write(org, value)
    own = vault(org)
    purged = own.commit(lambda draft: purge(draft, org.profile("production"), the_history(org, own).id, KEY, 3))
    assert purged is not None
    assert (purged.first, purged.last) == (1, 1)
    assert [value for *_, value in shown(the_history(org))] == [b"four", b"three", b"two"]
    own.commit(lambda draft: purge(draft, org.profile("production"), the_history(org, own).id, KEY, 1))
    assert [value for *_, value in shown(the_history(org))] == [b"four"]
    assert own.commit(lambda draft: purge(draft, org.profile("production"), the_history(org, own).id, KEY, 1)) is None
    write(org, b"five")
    assert the_history(org).oldest == 4


def test_a_deleted_secret_that_is_purged_leaves_no_name(org: TestOrg) -> None:
    delete(org)
    own = vault(org)
    own.commit(lambda draft: purge(draft, org.profile("production"), the_history(org, own).id, KEY, 1))
    assert read_deleted(vault(org), org.profile("production")) == []
    with pytest.raises(NotFound):
        the_history(org)


def test_only_an_admin_purges(org: TestOrg) -> None:
    write(org, b"two")
    own = vault(org, "eve")
    with pytest.raises(Refused, match="Only an admin"):
        purge(own.draft(), org.profile("production"), the_history(org, own).id, KEY, 1)
    draft = own.draft()
    draft.raise_oldest(org.profile("production").id, the_history(org).id, 2)
    with pytest.raises(IntegrityError, match="no admin"):
        draft.finish()


def test_a_name_that_never_was_is_told_with_the_nearest(org: TestOrg) -> None:
    delete(org)
    with pytest.raises(NotFound) as caught:
        the_histories(org, text="API_KYE")
    assert caught.value.hint == "Did you mean 'API_KEY'?"


def only(found: KeptSecrets) -> Any:
    return next(iter(found.secrets.values()))


def swap(found: KeptSecrets, **members: Any) -> KeptSecrets:
    (key,) = found.secrets
    return found.replace(secrets={key: only(found).replace(**members)})


LIES: dict[str, Callable[[KeptSecrets], KeptSecrets]] = {
    "no secret": lambda it: it.replace(secrets={}),
    "another secret": lambda it: it.replace(secrets={b"x" * 16: only(it)}),
    "a secret more": lambda it: it.replace(secrets={**it.secrets, b"x" * 16: only(it)}),
    "no leaves": lambda it: swap(it, leaves=()),
    "no newest leaf": lambda it: swap(it, leaves=only(it).leaves[1:]),
    "no leaf in the middle": lambda it: swap(it, leaves=only(it).leaves[:1] + only(it).leaves[2:]),
    "no oldest leaf": lambda it: swap(it, leaves=only(it).leaves[:-1]),
    "a leaf twice": lambda it: swap(it, leaves=only(it).leaves[:1] + only(it).leaves),
    "a leaf more": lambda it: swap(it, leaves=(*only(it).leaves, only(it).leaves[-1])),
    "leaves in another order": lambda it: swap(it, leaves=(*only(it).leaves[1::-1], *only(it).leaves[2:])),
    "two versions swapped": lambda it: swap(
        it, ciphertexts={**only(it).ciphertexts, 1: only(it).ciphertexts[2], 2: only(it).ciphertexts[1]}
    ),
    "a version left out": lambda it: swap(it, ciphertexts={k: v for k, v in only(it).ciphertexts.items() if k != 2}),
    "a version more": lambda it: swap(it, ciphertexts={**only(it).ciphertexts, 9: only(it).ciphertexts[1]}),
    "no boxes": lambda it: it.replace(boxes=()),
    "another box": lambda it: it.replace(boxes=tuple(box[:-1] + bytes([box[-1] ^ 1]) for box in it.boxes)),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_a_history_is_noticed(org: TestOrg, name: str) -> None:
    write(org, b"two")
    rekey(org)
    write(org, b"three")
    own = vault(org)
    secret_id = known(own, org)[KEY].id

    def lie(target: str, body: bytes) -> bytes:
        return LIES[name](decode_kept_secrets(body)).encode() if "/history?" in target else body

    org.server.forge = lie
    with pytest.raises(IntegrityError):
        read_history(own, org.profile("production"), secret_id)


def pages_asked(org: TestOrg) -> list[str]:
    return [target.partition("?")[2] for target in org.server.targets if "/history" in target]


def test_a_history_is_read_page_by_page_and_no_further_than_is_asked(org: TestOrg) -> None:
    for number in range(2, 8):
        write(org, b"%d" % number)
        rekey(org)
    own, profile = vault(org), org.profile("production")
    secret_id = known(own, org)[KEY].id
    whole = shown(read_whole(own, org, secret_id))
    assert [number for number, *_ in whole] == [7, 6, 5, 4, 3, 2, 1]
    org.server.page, org.server.targets = 2, []
    assert shown(read_whole(own, org, secret_id)) == whole
    assert len(pages_asked(org)) == 7
    assert len(set(pages_asked(org))) == 7
    org.server.targets = []
    newest = read_history(own, profile, secret_id, most=2)
    assert ([each.number for each in newest.versions], newest.oldest, newest.current) == ([7, 6], 1, 7)
    assert [each.value for each in newest.versions] == [None, None]
    roll_back(own, own.draft(), profile, known(own, org), KEY, None)
    assert len(pages_asked(org)) <= 5


PAGE_LIES: dict[str, Callable[[list[KeptSecret], int], KeptSecret]] = {
    "the first page again": lambda pages, _: pages[0],
    "a page left out": lambda pages, place: pages[place + 1],
    "the page before again": lambda pages, place: pages[place - 1],
    "nothing, and so on for ever": lambda pages, place: pages[place].replace(leaves=(), ciphertexts={}),
    "an end too early": lambda pages, place: pages[place].replace(before=None),
    "leaves without what they name": lambda pages, place: pages[place].replace(ciphertexts={}),
    "two pages in one with a leaf left out": lambda pages, place: pages[place].replace(
        leaves=pages[place].leaves[:1] + pages[place + 1].leaves, before=pages[place + 1].before
    ),
}


@pytest.mark.parametrize("name", PAGE_LIES)
def test_a_lie_about_a_page_of_a_history_is_noticed(org: TestOrg, name: str) -> None:
    for number in range(2, 9):
        write(org, b"%d" % number)
    own = vault(org)
    secret_id = known(own, org)[KEY].id
    org.server.page, org.server.targets = 2, []
    pages: list[KeptSecret] = []

    def listen(target: str, body: bytes) -> bytes:
        if "/history?" in target:
            pages.append(only(decode_kept_secrets(body)))
        return body

    org.server.forge = listen
    assert len(read_whole(own, org, secret_id).versions) == 8
    asked = pages_asked(org)
    assert len(asked) == len(pages) == 4

    def lie(target: str, body: bytes) -> bytes:
        place = asked.index(target.partition("?")[2]) if "/history?" in target else 0
        return body if place != 1 else KeptSecrets(secrets={secret_id: PAGE_LIES[name](pages, place)}, boxes=()).encode()

    org.server.forge = lie
    with pytest.raises(IntegrityError, match="history"):
        read_whole(own, org, secret_id)


def test_a_page_from_another_history_of_the_same_org_is_noticed(org: TestOrg) -> None:
    """The server was forked: each side is genuine, and the second page comes from the other one."""
    write(org, b"two")
    fork, stored = org.copy(), known(vault(org), org)

    def write_there(value: bytes) -> None:
        fork.commit(lambda draft: write_secrets(draft, fork.profile("production"), stored, {KEY: value}))

    for number in range(4):
        write(org, b"here %d" % number)
        write_there(b"there %d" % number)
    own = vault(org)
    secret_id = known(own, org)[KEY].id
    org.server.page = fork.server.page = 2

    def splice(target: str, body: bytes) -> bytes:
        return again(own, fork, target) if "&before=" in target else body

    org.server.forge = splice
    with pytest.raises(IntegrityError, match="hang together"):
        read_whole(own, org, secret_id)


def again(own: Vault, org: TestOrg, target: str) -> bytes:
    """What an org's server answers now."""
    key_id = KeyId(kind="o", raw=own.operator.id)
    honest = org.server.copy()
    honest.forge = lambda _, body: body
    return honest.request("GET", target, b"", own.operator.keyset.request, key_id, 1 << 30)


def test_what_is_purged_or_written_between_two_pages_is_read_anew(org: TestOrg) -> None:
    for number in range(2, 8):
        write(org, b"%d" % number)
    own, other, profile = vault(org), vault(org), org.profile("production")
    secret_id = known(own, org)[KEY].id
    org.server.page = 2
    acts: list[Callable[[Draft], object]] = [
        lambda draft: purge(draft, org.profile("production"), secret_id, KEY, 3),
        lambda draft: renew_group(draft, org.group("production")),
    ]

    def meddle(target: str, body: bytes) -> bytes:
        if "&before=" not in target or not acts:
            return body
        other.commit(acts.pop())
        return again(own, org, target)

    org.server.forge = meddle
    assert [each.number for each in read_history(own, profile, secret_id).versions] == [7, 6, 5]
    assert acts == []


def many_deleted(org: TestOrg) -> list[str]:
    names = [f"GONE_{number}" for number in range(7)]
    for name in names:
        write(org, name.encode(), name)
    own = vault(org)
    own.commit(lambda draft: delete_secrets(draft, org.profile("production"), known(own, org), names))
    return names


def test_deleted_secrets_are_listed_page_by_page(org: TestOrg) -> None:
    names = many_deleted(org)
    rekey(org)
    own = vault(org)
    whole = read_deleted(own, org.profile("production"))
    assert [item.name for item in whole] == names
    org.server.page, org.server.targets = 2, []
    assert read_deleted(own, org.profile("production")) == whole
    assert [query[:6] for query in pages_asked(org)] == ["", *["after="] * 3]


def test_a_deleted_secret_whose_last_value_lies_on_the_next_page_is_found(org: TestOrg) -> None:
    own, profile = vault(org), org.profile("production")
    secret_id = known(own, org)[KEY].id
    own.commit(lambda draft: draft.write_entry(profile.id, secret_id, None, epoch=1))
    org.server.page = 1
    assert [(item.name, item.id) for item in read_deleted(own, profile)] == [(KEY, secret_id)]
    own.commit(lambda draft: purge(draft, profile, secret_id, KEY, 1))
    assert read_deleted(own, profile) == []


DELETED_LIES: dict[str, Callable[[dict[bytes, KeptSecret], dict[bytes, KeptSecret]], dict[bytes, KeptSecret]]] = {
    "nothing": lambda page, _: {},
    "one left out": lambda page, _: dict(list(page.items())[1:]),
    "one too many": lambda page, _: {**page, b"x" * 16: next(iter(page.values()))},
    "the first page again": lambda _, first: first,
    "under another id": lambda page, _: dict(zip(page, reversed(page.values()), strict=True)),
}


@pytest.mark.parametrize(
    ("name", "place"),
    [(name, place) for name in DELETED_LIES for place in (0, 1) if (name, place) != ("the first page again", 0)],
)
def test_a_lie_about_deleted_secrets_is_noticed(org: TestOrg, name: str, place: int) -> None:
    many_deleted(org)
    own = vault(org)
    org.server.page = 2
    first = dict[bytes, KeptSecret]()

    def lie(target: str, body: bytes) -> bytes:
        if "/history" not in target:
            return body
        page = decode_kept_secrets(body)
        if "after=" not in target:
            first.update(page.secrets)
        is_meant = ("after=" in target) == (place == 1)
        return page.replace(secrets=DELETED_LIES[name](dict(page.secrets), first)).encode() if is_meant else body

    org.server.forge = lie
    with pytest.raises(IntegrityError):
        read_deleted(own, org.profile("production"))


def test_boxes_that_no_document_names_are_not_kept(org: TestOrg) -> None:
    write(org, b"two")
    rekey(org)
    own = vault(org)
    secret_id, profile = known(own, org)[KEY].id, org.profile("production")

    def pad(target: str, body: bytes) -> bytes:
        if "/history" not in target:
            return body
        page = decode_kept_secrets(body)
        return page.replace(boxes=(*page.boxes, *(os.urandom(64) for _ in range(100)))).encode()

    org.server.forge = pad
    versions = kept.KeptVersions(own, profile.id)
    assert [each.number for each in versions.of(secret_id)] == [2, 1]
    assert len(versions._keys._boxes) == 1


def test_a_page_has_a_greatest_length(org: TestOrg) -> None:
    write(org, b"two")
    own = vault(org)
    secret_id = known(own, org)[KEY].id
    org.server.forge = lambda target, body: body + b" " * MAX_HISTORY_BODY if "/history" in target else body
    with pytest.raises(MalformedError):
        read_history(own, org.profile("production"), secret_id)


def test_what_others_changed_meanwhile_is_read_anew(org: TestOrg) -> None:
    own = vault(org)
    secret_id = the_history(org).id
    write(org, b"two")
    assert [value for *_, value in shown(read_whole(own, org, secret_id))] == [
        b"two",
        b"first value",
    ]


def test_a_deleted_version_has_no_value_to_go_back_to(org: TestOrg) -> None:
    delete(org)
    own = vault(org)
    (gone,) = read_deleted(own, org.profile("production"))
    with pytest.raises(NotFound, match="has no value"):
        bring_back(org, own, gone, 2)
    bring_back(org, own, gone, 1)
    with pytest.raises(NotFound, match="has no value"):
        roll_back(own, own.draft(), org.profile("production"), known(own, org), KEY, 2)


def test_a_ciphertext_made_by_somebody_with_the_key_is_noticed(org: TestOrg) -> None:
    """An editor and the server together: it opens, but is not the one that the history names."""
    write(org, b"two")
    own = vault(org)
    secret_id, profile = known(own, org)[KEY].id, org.profile("production")
    forged = Secret(name=KEY, value=b"forged", note=b"", author=org.id("eve"), time=1)
    blob = own.keys.profile(profile.id).seal_secret(secret_id, 1, forged, org.random)

    def lie(target: str, body: bytes) -> bytes:
        found = decode_kept_secrets(body) if "/history?" in target else None
        return body if found is None else swap(found, ciphertexts={**only(found).ciphertexts, 1: blob}).encode()

    org.server.forge = lie
    with pytest.raises(IntegrityError, match="is not the one"):
        read_history(own, profile, secret_id)


def chain_of(*versions: int) -> list[bytes]:
    """Leaves of these versions, each naming the one before; the newest first."""
    chain: list[bytes] = []
    for version in versions:
        prev = leaf_link(b"s" * 16, chain[0]) if chain else bytes(32)
        leaf = EntryLeaf(version=version, epoch=1, ciphertext_sha256=bytes(32), prev=prev, oldest=1)
        chain.insert(0, leaf.encode())
    return chain


def follow(chain: list[bytes], current: bytes) -> list[int]:
    run = KeptSecret(leaves=tuple(chain), ciphertexts={}, before=None)
    return [leaf.version for leaf, _ in kept._Chain(b"s" * 16, current).take(run)]


def test_a_chain_of_leaves_is_whole_and_begins_with_the_current_one() -> None:
    chain = chain_of(1, 2, 2, 3)
    assert follow(chain, chain[0]) == [3, 2, 1]
    for other in (chain[1:], [chain[1]], []):
        with pytest.raises(IntegrityError, match=r"does not begin with its current version|ends before"):
            follow(other, chain[0])
    with pytest.raises(IntegrityError, match="goes on below"):
        follow([*chain, chain[-1]], chain[0])
    for jump in (chain_of(1, 3), chain_of(3, 2, 3)):
        with pytest.raises(IntegrityError, match="A version is missing"):
            follow(jump, jump[0])
    beginning = chain_of(2, 3)
    with pytest.raises(IntegrityError, match="hang together"):
        follow([*beginning, b"anything"], beginning[0])


def spoil(org: TestOrg, blob: Callable[[Any, int], bytes], secret_id: bytes | None = None) -> bytes:
    """Write, as an editor with a client of their own, what our client would never write; returns the secret's id."""
    own, profile = vault(org, "eve"), org.profile("production")
    secret_id = secret_id or the_history(org).id

    def act(draft: Draft) -> None:
        version = draft.next_version(profile.id, secret_id)
        draft.write_entry(
            profile.id, secret_id, blob(draft.keys.profile(profile.id), version), epoch=org.profile("production").epoch
        )

    own.commit(act)
    return secret_id


def named(org: TestOrg, name: str, secret_id: bytes) -> Callable[[Any, int], bytes]:
    secret = Secret(name=name, value=b"x", note=b"", author=org.id("eve"), time=1)
    return lambda key, version: key.seal_secret(secret_id, version, secret, org.random)


def noise(_key: Any, version: int) -> bytes:
    return bytes([version]) * 99


def state_of(history: SecretHistory) -> list[tuple[int, bytes | None, bool]]:
    return [(each.number, each.value, each.is_unreadable) for each in history.versions]


def repair(org: TestOrg, secret_id: bytes) -> None:
    """Write the secret again over what cannot be read."""
    spoil(org, named(org, KEY, secret_id), secret_id)


@pytest.mark.parametrize("what", ["noise", "nothing", "OTHER", "not legal"])
def test_a_version_that_its_writer_made_unreadable_leaves_the_others(org: TestOrg, what: str) -> None:
    """By an editor with a client of their own: nor may a version come up under a name that the others do not have."""
    secret_id = the_history(org).id
    made = {"noise": noise, "nothing": lambda *_: b""}.get(what) or named(org, what, secret_id)
    org.now += 60
    spoil(org, made, secret_id)
    repair(org, secret_id)
    own = vault(org)
    history = the_history(org, own)
    assert state_of(history) == [(3, b"x", False), (2, None, True), (1, b"first value", False)]
    assert signers_of(own, org.profile("production"), history) == {2: (org.id("eve"), org.now)}
    with pytest.raises(NotFound, match="cannot be read"):
        roll_back(own, own.draft(), org.profile("production"), known(own, org), KEY, 2)
    own.commit(lambda draft: roll_back(own, draft, org.profile("production"), known(own, org), KEY, None))
    assert known(vault(org), org)[KEY].secret.value == b"first value"


def test_a_deleted_secret_that_nobody_could_read_stands_in_nobodys_way(org: TestOrg) -> None:
    write(org, b"other", "OTHER")
    delete(org, "OTHER")
    secret_id = spoil(org, noise, b"poison of 16 b..")
    own = vault(org)
    own.commit(lambda draft: draft.write_entry(org.profile("production").id, secret_id, None, epoch=1))
    rekey(org)
    own, profile, text = vault(org), org.profile("production"), f"se_{secret_id.hex()}"
    assert {item.name for item in read_deleted(own, profile)} == {"OTHER", text}
    assert [value for *_, value in shown(the_history(org, own))] == [b"first value"]
    (history,) = the_histories(org, own, text)
    assert (history.id, history.name, [each.value for each in history.versions]) == (secret_id, text, [None, None])
    (gone,) = (item for item in read_deleted(own, profile) if item.id == secret_id)
    with pytest.raises(NotFound, match="can be read"):
        bring_back(org, own, gone, None)
    purged = own.commit(lambda draft: purge(draft, org.profile("production"), secret_id, text, 1))
    assert purged is not None
    assert (purged.name, purged.first, purged.last) == (text, 1, 1)
    assert {item.name for item in read_deleted(vault(org), org.profile("production"))} == {"OTHER"}


def test_a_secret_overwritten_with_garbage_and_then_deleted_is_restored_from_an_older_version(org: TestOrg) -> None:
    secret_id = spoil(org, noise)
    own, profile = vault(org), org.profile("production")
    own.commit(lambda draft: draft.write_entry(profile.id, secret_id, None, epoch=1))
    (history,) = the_histories(org, own, f"se_{secret_id.hex()}")
    assert (history.name, history.is_live) == (KEY, False)
    (gone,) = read_deleted(own, profile)
    bring_back(org, own, gone, None)
    assert known(vault(org), org)[KEY].secret.value == b"first value"


def test_ids_are_found_while_a_live_secret_cannot_be_read(org: TestOrg) -> None:
    secret_id = spoil(org, noise)
    own, profile = vault(org), org.profile("production")
    assert list(find_histories(own, profile, [f"se_{secret_id.hex()}"])) == [secret_id]
    opened = read_opened(own, profile)
    assert (opened.unreadable, KEY in opened.secrets, bool(opened.secrets)) == ((secret_id,), False, True)
    with pytest.raises(IntegrityError):
        read_secrets(own, profile)
