"""What operators read of the past: the way back from a head, and the kept versions of secrets."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise

import apsw  # the server's own SQLite: a second one in this process would drop its locks
import pytest

from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.protocol.documents.base import ZERO_HASH
from stronghold_cli.protocol.documents.leaves import decode_entry_leaf, leaf_link
from stronghold_cli.protocol.messages_past import KeptSecret, KeptSecrets, decode_kept_secrets, decode_past
from stronghold_cli.protocol.past import retreat
from stronghold_cli.protocol.state import OrgState
from tests.server.furnished import Furnished
from tests.server.refusing import add_editor, lockdown
from tests.server.support import Draft, Person, TestOrg


def changed(full: Furnished) -> list[OrgState]:
    """Many kinds of commits, one after the other; every state on the way, the newest last."""
    org = full.org
    states = [org.state]
    add_editor(org, full)
    states.append(org.state)
    steps: list[Callable[[Draft], object]] = [
        lambda draft: org.put(draft, full.profile, "DATABASE_URL", b"new", full.secret),
        lambda draft: org.revoke(draft, full.agent, full.token),
        lambda draft: org.put(draft, org.add_profile(draft, "staging", full.group), "A", b"one"),
        lambda draft: org.rekey_group(draft, full.group),
        lambda draft: draft.profiles.pop(next(id_ for id_, p in draft.profiles.items() if p.name == "staging")),
        lambda draft: setattr(draft, "lockdowns", (lockdown(),)),
        lambda draft: org.add_group(draft, "Other"),
        lambda draft: draft.groups.pop(next(id_ for id_, g in draft.groups.items() if g.name == "Other")),
        lambda draft: org.change_entry(draft, full.profile, full.secret, oldest=2),
    ]
    for step in steps:
        draft = org.draft()
        step(draft)
        org.apply(draft)
        states.append(org.state)
    return states


def plain(state: OrgState) -> tuple[object, ...]:
    return (
        state.head.document,
        state.org.document,
        state.structure.document,
        {id_: item.document for id_, item in state.contents.items()},
        {map_id: dict(leaves) for map_id, leaves in state.maps.items() if leaves},
        {kind: dict(state.documents(kind)) for kind in ("agent", "group", "profile", "invite")},
    )


def test_the_way_back_gives_every_state_that_was(full: Furnished) -> None:
    states, org = changed(full), full.org
    org.world.restart()
    steps = decode_past(org.get(org.admin, "/past?limit=500").body)
    assert len(steps) == org.state.seq - 1
    state = org.state
    known = {each.seq: each for each in states}
    for step in steps:
        state = retreat(state, step)
        if state.seq in known:
            assert plain(state) == plain(known[state.seq])
    assert state.seq == 1


def test_pages_follow_each_other_and_end_at_the_first_head(full: Furnished) -> None:
    changed(full)
    org = full.org
    whole = decode_past(org.get(org.admin, "/past").body)
    seq, parts = org.state.seq, []
    while seq > 1:
        page = decode_past(org.get(org.admin, f"/past?before={seq}&limit=3").body)
        assert 1 <= len(page) <= 3
        parts += page
        seq -= len(page)
    assert tuple(parts) == whole
    assert decode_past(org.get(org.admin, "/past?before=1").body) == ()


def limited(full: Furnished, **settings: int) -> None:
    """Start the server anew with limits that nobody would set."""
    world = full.org.world
    world.settings = world.settings.replace(**settings)
    world.restart()


def test_a_page_of_the_past_ends_when_it_is_long_enough(full: Furnished) -> None:
    changed(full)
    org = full.org
    limited(full, max_page_bytes=1)
    assert len(decode_past(org.get(org.admin, "/past").body)) == 1
    limited(full, max_page_bytes=8000)
    assert 1 < len(decode_past(org.get(org.admin, "/past").body)) < org.state.seq - 1


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("?before=999", (409, "ANCHOR_UNKNOWN")),
        # ... also where nothing would have to be looked up for the answer
        ("?before=999&limit=0", (409, "ANCHOR_UNKNOWN")),
        ("?limit=501", (400, "MALFORMED")),
        ("?before=x", (400, "MALFORMED")),
        ("?since=1", (400, "MALFORMED")),
    ],
)
def test_what_is_not_there_is_told(full: Furnished, query: str, answer: tuple[int, str]) -> None:
    reply = full.org.get(full.org.admin, f"/past{query}")
    assert (reply.status, reply.code) == answer


def change_rows(full: Furnished, statement: str, *values: object) -> None:
    """Change the database behind the server's back, which has forgotten everything then."""
    world = full.org.world
    with closing(apsw.Connection(str(world.path))) as connection:
        connection.execute(statement, values)
        assert connection.changes() == 1
    world.restart()


def test_a_number_that_no_head_has_is_told(full: Furnished) -> None:
    """A resume leaves such a gap (section 5)."""
    add_editor(full.org, full)
    gap = full.org.state.seq
    change_rows(full, "DELETE FROM signed_documents WHERE kind = 'head' AND to_seq = ? AND org_id = ?", gap, full.org.org_id)
    assert full.org.get(full.org.admin, f"/past?before={gap}").code == "ANCHOR_UNKNOWN"


def test_whoever_is_no_operator_in_the_signed_org_document_is_told_nothing_of_the_past(full: Furnished) -> None:
    """The server's own table of operators may be behind, or ahead: the signed document decides."""
    org = full.org
    editor = add_editor(org, full, listed=False)
    draft = org.draft()
    left = {id_: each for id_, each in draft.org.operators.items() if id_ != editor.operator_id}
    draft.org = draft.org.replace(operators=left)
    org.apply(draft)
    change_rows(full, "UPDATE operators SET ended = 0 WHERE operator_id = ?", editor.operator_id)
    for path in ("/past", f"/profiles/{full.profile.hex()}/history"):
        reply = org.get(editor, path)
        assert (reply.status, reply.code, org.world.last(org.org_id).code) == (401, "OPERATOR_REMOVED", "OPERATOR_REMOVED")


def test_an_admin_reads_the_history_of_a_profile_that_no_group_may_read(full: Furnished) -> None:
    draft = full.org.draft()
    alone = full.org.add_profile(draft, "alone")
    full.org.apply(draft)
    assert full.org.get(full.org.admin, f"/profiles/{alone.hex()}/history").status == 200


def test_the_servers_own_maps_are_not_shown(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    org.put(draft, full.profile, "DATABASE_URL", b"new", full.secret)
    org.apply(draft)
    (step, *_) = decode_past(org.get(org.admin, "/past?limit=1").body)
    assert {kind for kind, _ in step.maps} == {"entries", "contents"}


# History of secrets.


def history(full: Furnished, person: Person | None = None, secret_id: bytes | None = None, more: str = "") -> KeptSecrets:
    query = f"?{more}" if secret_id is None else f"?secret={secret_id.hex()}&{more}"
    path = f"/profiles/{full.profile.hex()}/history{query}".rstrip("?&")
    reply = full.org.get(person or full.org.admin, path)
    assert reply.status == 200, reply.body
    return decode_kept_secrets(reply.body)


def pages(full: Furnished, limit: int) -> list[KeptSecret]:
    """The whole history of the secret in pages."""
    found = [history(full, secret_id=full.secret, more=f"limit={limit}").secrets[full.secret]]
    while found[-1].before is not None:
        page = history(full, secret_id=full.secret, more=f"limit={limit}&before={found[-1].before}")
        found.append(page.secrets[full.secret])
    return found


def values(full: Furnished, found: KeptSecrets, secret_id: bytes) -> dict[int, bytes]:
    """What the ciphertexts hold under the current key alone."""
    key = full.org.profile_keys[full.profile]
    opened: dict[int, Secret] = {
        number: key.open_secret(secret_id, number, blob) for number, blob in found.secrets[secret_id].ciphertexts.items()
    }
    return {number: secret.value for number, secret in opened.items()}


def write(full: Furnished, value: bytes) -> None:
    draft = full.org.draft()
    full.org.put(draft, full.profile, "DATABASE_URL", value, full.secret)
    full.org.apply(draft)


def delete(full: Furnished) -> None:
    draft = full.org.draft()
    version = full.org.state.entries(full.profile)[full.secret].version + 1
    full.org.change_entry(draft, full.profile, full.secret, version=version, ciphertext_sha256=ZERO_HASH)
    full.org.apply(draft)


def test_all_kept_versions_of_a_secret_are_delivered(full: Furnished) -> None:
    write(full, b"second")
    write(full, b"third")
    found = history(full, secret_id=full.secret)
    assert values(full, found, full.secret) == {1: b"postgres://one", 2: b"second", 3: b"third"}
    assert found.secrets[full.secret].leaves[0] == full.org.state.leaves("entries", full.profile)[full.secret]
    assert (len(found.secrets[full.secret].leaves), found.secrets[full.secret].before) == (3, None)
    draft = full.org.draft()
    full.org.change_entry(draft, full.profile, full.secret, oldest=3)
    full.org.apply(draft)
    found = history(full, secret_id=full.secret)
    assert values(full, found, full.secret) == {3: b"third"}
    assert (len(found.secrets[full.secret].leaves), found.secrets[full.secret].before) == (1, None)
    assert full.org.world.last(full.org.org_id).kind == "history"


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
def test_pages_of_a_history_hang_together_and_give_each_version_once(full: Furnished, limit: int) -> None:
    for number in range(2, 5):
        write(full, b"%d" % number)
        if number == 3:
            draft = full.org.draft()
            full.org.rekey_profile(draft, full.profile)
            full.org.apply(draft)
    found = pages(full, limit)
    leaves = [leaf for page in found for leaf in page.leaves]
    assert [len(page.leaves) for page in found[:-1]] == [limit] * (len(found) - 1)
    assert [decode_entry_leaf(leaf).version for leaf in leaves] == [4, 3, 3, 2, 1]
    for newer, older in pairwise(leaves):
        assert decode_entry_leaf(newer).prev == leaf_link(full.secret, older)
    numbers = [number for page in found for number in page.ciphertexts]
    assert numbers == [4, 3, 2, 1]
    for page in found:
        own = {decode_entry_leaf(leaf).version for leaf in page.leaves}
        assert page.ciphertexts.keys() <= own


def test_a_page_of_a_history_ends_when_it_is_long_enough(full: Furnished) -> None:
    for number in range(2, 5):
        write(full, b"%d" % number * 3000)
    limited(full, max_page_bytes=1)
    assert [list(page.ciphertexts) for page in pages(full, 1000)] == [[4], [3], [2], [1]]
    limited(full, max_page_bytes=6000)
    assert [list(page.ciphertexts) for page in pages(full, 1000)] == [[4, 3], [2, 1]]


def test_what_was_purged_since_the_page_before_is_not_delivered(full: Furnished) -> None:
    for number in range(2, 7):
        write(full, b"%d" % number)
    first = history(full, secret_id=full.secret, more="limit=3").secrets[full.secret]
    draft = full.org.draft()
    full.org.change_entry(draft, full.profile, full.secret, oldest=5)
    full.org.apply(draft)
    second = history(full, secret_id=full.secret, more=f"before={first.before}").secrets[full.secret]
    assert (second.leaves, second.ciphertexts, second.before) == ((), {}, None)


@pytest.mark.parametrize(
    "query", ["before=1", "limit=0", "limit=1001", "secret={secret}&after={secret}", "after=1", "secret={secret}&before=x"]
)
def test_a_query_that_does_not_go_together_is_refused(full: Furnished, query: str) -> None:
    path = f"/profiles/{full.profile.hex()}/history?{query.format(secret=full.secret.hex())}"
    reply = full.org.get(full.org.admin, path)
    assert (reply.status, reply.code) == (400, "MALFORMED")


def test_deleted_secrets_come_in_pages_by_their_ids(full: Furnished) -> None:
    draft = full.org.draft()
    ids = sorted(full.org.put(draft, full.profile, f"GONE_{number}", b"%d" % number * 3000) for number in range(5))
    full.org.apply(draft)
    draft = full.org.draft()
    for secret_id in ids:
        full.org.change_entry(draft, full.profile, secret_id, version=2, ciphertext_sha256=ZERO_HASH)
    full.org.apply(draft)
    whole = history(full)
    assert list(whole.secrets) == ids
    assert list(history(full, more="limit=2").secrets) == ids[:2]
    assert list(history(full, more=f"limit=2&after={ids[1].hex()}").secrets) == ids[2:4]
    assert history(full, more=f"after={ids[4].hex()}").secrets == {}
    for page in whole.secrets.values():
        assert ([decode_entry_leaf(leaf).version for leaf in page.leaves], list(page.ciphertexts)) == ([2, 1], [1])
    limited(full, max_page_bytes=1)
    assert list(history(full).secrets) == ids[:1]
    limited(full, max_page_bytes=6000)
    assert list(history(full).secrets) == ids[:2]


# How much is kept.


def refused_write(full: Furnished, value: bytes = b"x" * 1000) -> str:
    draft = full.org.draft()
    full.org.put(draft, full.profile, "DATABASE_URL", value, full.secret)
    return full.org.send(draft.finish()).code


@pytest.mark.parametrize("limit", [{"max_kept_versions": 3}, {"max_kept_bytes": 450}])
def test_a_history_does_not_grow_past_its_limit_and_all_that_does_not_write_goes_on(
    full: Furnished, limit: dict[str, int]
) -> None:
    org = full.org
    write(full, b"second")
    limited(full, **limit)
    for _ in range(2):
        assert refused_write(full) == "HISTORY_FULL"
    draft = org.draft()
    org.rekey_profile(draft, full.profile)
    org.apply(draft)
    draft = org.draft()
    org.change_entry(draft, full.profile, full.second_secret, version=2, ciphertext_sha256=ZERO_HASH)
    org.apply(draft)
    assert refused_write(full) == "HISTORY_FULL"
    draft = org.draft()
    org.change_entry(draft, full.profile, full.secret, oldest=2)
    org.apply(draft)
    write(full, b"third")
    assert refused_write(full) == "HISTORY_FULL"
    assert org.world.last(org.org_id).code == "HISTORY_FULL"


def test_a_limit_that_was_lowered_stops_writes_alone(full: Furnished) -> None:
    org = full.org
    for number in range(5):
        write(full, b"%d" % number)
    limited(full, max_kept_versions=2)
    assert refused_write(full) == "HISTORY_FULL"
    draft = org.draft()
    org.rekey_profile(draft, full.profile)
    org.apply(draft)
    draft = org.draft()
    org.change_entry(draft, full.profile, full.secret, oldest=3)
    org.apply(draft)


def test_boxes_of_older_keys_come_with_versions_that_need_them(full: Furnished) -> None:
    write(full, b"second")
    assert history(full, secret_id=full.secret).boxes == ()
    draft = full.org.draft()
    full.org.rekey_profile(draft, full.profile)
    full.org.apply(draft)
    found = history(full, secret_id=full.secret)
    (leaf,) = full.org.state.old_keys(full.profile).values()
    new = full.org.profile_keys[full.profile]
    old = new.unwrap_old(1, leaf.kcv, found.boxes[0])
    assert old.open_secret(full.secret, 1, found.secrets[full.secret].ciphertexts[1]).value == b"postgres://one"
    assert history(full, secret_id=full.second_secret).boxes == ()


def test_of_deleted_secrets_the_last_value_is_delivered(full: Furnished) -> None:
    assert history(full).secrets == {}
    write(full, b"second")
    delete(full)
    found = history(full)
    assert found.secrets.keys() == {full.secret}
    assert values(full, found, full.secret) == {2: b"second"}
    draft = full.org.draft()
    full.org.change_entry(draft, full.profile, full.secret, oldest=3)
    full.org.apply(draft)
    assert history(full).secrets == {}


def test_only_those_who_may_read_the_profile_now_get_its_history(full: Furnished) -> None:
    org: TestOrg = full.org
    draft = org.draft()
    inside = org.add_person(draft, "Rob", "reader")
    outside, auditor = org.add_person(draft, "Olga", "reader"), org.add_person(draft, "Una", "auditor")
    draft.groups[full.group] = draft.groups[full.group].replace(operators=(inside.operator_id,))
    org._seal_operator(draft, full.group, inside)
    org.apply(draft)
    path = f"/profiles/{full.profile.hex()}/history"
    assert org.get(inside, path).status == 200
    for person, code in ((outside, "PROFILE_FORBIDDEN"), (auditor, "FORBIDDEN")):
        for query in ("", f"?secret={full.secret.hex()}"):
            reply = org.get(person, path + query)
            assert (reply.status, reply.code) == (403, code)
    for person in (inside, outside, auditor, org.admin):
        assert org.get(person, "/past").status == 200
    for query in (f"?secret={os.urandom(16).hex()}", ""):
        other = path if query else f"/profiles/{os.urandom(16).hex()}/history"
        assert org.get(org.admin, other + query).code == "NOT_FOUND"
