"""A whole pull against a server in memory: what is sent, when the mark is stored, and that nothing is released before."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from stronghold_cli.keystore.marks import ContentsMark, agent_mark
from stronghold_cli.protocol.errors import IntegrityError, LocalFileError, Refused
from stronghold_cli.protocol.messages_pull import PullAnswer, decode_pull_answer
from stronghold_cli.reader import client
from stronghold_cli.reader.client import Holding, Pulled, look_at_self, pull
from stronghold_cli.reader.profile import Asked
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.profiles import delete_secrets, read_secrets, write_secrets
from tests.support.org import NOW, TestOrg, own_contents, prove, secret_of, workshop
from tests.support.pull import PRODUCTION, UNNAMED

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def org() -> TestOrg:
    return workshop()


def run(org: TestOrg, asked: Asked = PRODUCTION) -> Pulled:
    return pull(org.server, org.tokens["ci"].token, asked, lambda: NOW + 0.5)


def marks(org: TestOrg) -> client.MarkFile:
    return agent_mark(secret_of(org.tokens["ci"]).token_id)


def forge(org: TestOrg, change: Callable[[PullAnswer], PullAnswer]) -> None:
    org.server.forge = lambda _, body: change(decode_pull_answer(body)).encode()


def test_a_pull_releases_what_was_verified_and_keeps_the_mark(org: TestOrg) -> None:
    pulled = run(org)
    contents = org.state.contents[pulled.profile.id].document
    assert {name: secret.value for name, secret in pulled.secrets.items()} == {
        "API_KEY": b"first value",
        "DATABASE_URL": b"second value",
    }
    assert (pulled.contents_version, pulled.warnings) == (contents.version, ())
    kept = marks(org).load()
    assert kept is not None
    assert kept.head.seq == org.state.seq
    assert kept.contents[pulled.profile.id] == ContentsMark(version=contents.version, sha256=contents.sha256)


def test_the_request_names_the_anchor_and_what_is_asked_for(org: TestOrg) -> None:
    pin = org.tokens["ci"].token.pin.hex()
    run(org)
    org.change_org(name="renamed")
    run(org, Asked(name=None, id=org.profile("production").id))
    run(org, UNNAMED)
    newest = org.state.org.document.sha256.hex()
    assert org.server.targets == [
        f"GET /v1/pull?org={pin}&profile=production",
        f"GET /v1/pull?org={pin}&profile_id={org.profile('production').id.hex()}",
        f"GET /v1/pull?org={newest}",
    ]


def test_a_name_with_other_signs_is_quoted(org: TestOrg) -> None:
    org.server.forge = lambda target, body: body
    with pytest.raises(StopIteration):
        run(org, Asked(name="a&b=ü/c", id=None))
    assert org.server.targets[0].endswith("&profile=a%26b%3D%C3%BC%2Fc")


def test_a_profile_that_was_not_named_is_told_once_kept_and_asked_for_by_id(org: TestOrg) -> None:
    first, second = run(org, UNNAMED), run(org, UNNAMED)
    assert first.warnings == ("no profile was named: this is 'production', the only one that can be read",)
    assert second.warnings == ()
    assert org.server.targets[1].endswith(f"&profile_id={org.profile('production').id.hex()}")


def test_another_profile_later_is_refused_where_none_is_named(org: TestOrg) -> None:
    run(org, UNNAMED)
    kept = marks(org).load()
    assert kept is not None
    marks(org).reset()
    marks(org).save(kept.replace(default_profile=org.profile("staging").id, contents={}))
    honest = org.server.pull_answer(
        secret_of(org.tokens["ci"]).token_id, org.profile("production"), org.tokens["ci"].token.pin
    ).encode()
    org.server._answer = lambda *_: honest  # type: ignore[method-assign]
    with pytest.raises(IntegrityError, match="offers another profile"):
        run(org, UNNAMED)


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: answer.replace(entries=answer.entries[1:]),
        lambda answer: answer.replace(share=bytes(32)),
        lambda answer: answer.replace(head=answer.structure),
        lambda answer: answer.replace(org=()),
    ],
    ids=["entry dropped", "share", "head", "org"],
)
def test_a_forged_answer_moves_no_mark(org: TestOrg, change: Callable[[PullAnswer], PullAnswer]) -> None:
    forge(org, change)
    with pytest.raises(IntegrityError):
        run(org)
    assert marks(org).load() is None


def test_a_whole_older_state_is_refused_with_a_mark(org: TestOrg) -> None:
    old = org.copy()
    org.commit(lambda draft: write_secrets(draft, org.profile("production"), {}, {"NEW": b"v"}))
    assert "NEW" in run(org).secrets
    before = marks(org).load()
    with pytest.raises(IntegrityError, match="older"):
        run(old)
    assert marks(org).load() == before


def test_a_whole_older_state_is_believed_without_a_mark_back_to_the_token(org: TestOrg) -> None:
    old = org.copy()
    org.commit(lambda draft: write_secrets(draft, org.profile("production"), {}, {"NEW": b"v"}))
    assert "NEW" not in run(old).secrets


def test_the_mark_is_stored_before_anything_is_released(org: TestOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> bool:
        raise IntegrityError("the mark on disk is another history")

    monkeypatch.setattr(client.MarkFile, "save", full)
    with pytest.raises(IntegrityError, match="another history"):
        run(org)


def test_a_mark_that_cannot_be_kept_is_a_warning_or_where_it_is_required_an_error(
    org: TestOrg, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, content: bytes) -> None:
        raise LocalFileError(f"{path} cannot be written: no space left.")

    monkeypatch.setattr("stronghold_cli.keystore.marks.write_private", full)
    (warning,) = run(org).warnings
    assert "cannot be remembered" in warning
    monkeypatch.setitem(os.environ, "STRONGHOLD_REQUIRE_MARK", "1")
    with pytest.raises(LocalFileError) as caught:
        run(org)
    assert caught.value.code == "MARK_NOT_KEPT"


@pytest.mark.parametrize("code", ["PROFILE_FORBIDDEN", "PROFILE_REQUIRED"])
def test_a_refused_profile_names_those_that_may_be_read(org: TestOrg, code: str) -> None:
    def refuse(target: str, body: bytes) -> bytes:
        if "/pull" in target:
            raise Refused(code, "no")
        return body

    org.server.forge = refuse
    with pytest.raises(Refused, match="no") as caught:
        run(org)
    assert caught.value.hint == "This agent may read: production"


def test_a_refused_profile_says_where_none_may_be_read(org: TestOrg) -> None:
    agent = org.state.agents[org.tokens["ci"].agent.id]
    org.commit(lambda draft: draft.put(org.profile("staging").replace(description="changed")))
    honest = org.server.self_answer(secret_of(org.tokens["ci"]).token_id, org.tokens["ci"].token.pin)

    def refuse(target: str, body: bytes) -> bytes:
        if "/pull" in target:
            raise Refused("PROFILE_FORBIDDEN", "no")
        return honest.replace(profiles=(), contents=()).encode()

    org.server.forge = refuse
    with pytest.raises(Refused) as caught:
        run(org)
    assert agent.name == "bot"
    assert "may read no profile" in caught.value.hint


def test_another_refusal_is_passed_on_without_a_second_request(org: TestOrg) -> None:
    def refuse(target: str, body: bytes) -> bytes:
        raise Refused("TOKEN_REVOKED", "gone")

    org.server.forge = refuse
    with pytest.raises(Refused) as caught:
        run(org)
    assert caught.value.code == "TOKEN_REVOKED"
    assert len(org.server.targets) == 1


def test_an_agent_looks_at_itself(org: TestOrg) -> None:
    seen = look_at_self(org.server, org.tokens["ci"].token, lambda: NOW)
    assert seen.standing.agent.name == "bot"
    assert [group.name for group in seen.groups] == ["production"]
    assert [profile.name for profile in seen.profiles] == ["production"]
    kept = marks(org).load()
    assert kept is not None
    assert kept.head.seq == org.state.seq


def test_groups_and_profiles_of_others_are_not_shown_as_ones_own(org: TestOrg) -> None:
    honest = org.server.self_answer(secret_of(org.tokens["ci"]).token_id, org.tokens["ci"].token.pin)
    more = honest.replace(
        groups=(*honest.groups, prove(org.state, org.group("staging"))),
        profiles=(*honest.profiles, prove(org.state, org.profile("staging"))),
        contents=(*honest.contents, own_contents(org.state, org.profile("staging"))),
    )
    org.server.forge = lambda _, body: more.encode()
    seen = look_at_self(org.server, org.tokens["ci"].token, lambda: NOW)
    assert [group.name for group in seen.groups] == ["production"]
    assert [profile.name for profile in seen.profiles] == ["production"]


def test_a_profile_that_is_no_leaf_is_refused_when_an_agent_looks_at_itself(org: TestOrg) -> None:
    honest = org.server.self_answer(secret_of(org.tokens["ci"]).token_id, org.tokens["ci"].token.pin)
    payload = org.profile("production").replace(name="renamed").payload
    for part in ("profiles", "groups"):
        forged = getattr(honest, part)[0].replace(payload=payload)
        answer = honest.replace(**{part: (forged,)})
        org.server.forge = lambda _, body, answer=answer: answer.encode()  # type: ignore[misc]
        with pytest.raises(IntegrityError):
            look_at_self(org.server, org.tokens["ci"].token, lambda: NOW)
    assert marks(org).load() is None


def look(org: TestOrg, **changes: object) -> client.Self:
    """What an agent sees of itself where the answer was changed."""
    honest = org.server.self_answer(secret_of(org.tokens["ci"]).token_id, org.tokens["ci"].token.pin)
    org.server.forge = lambda _, body: honest.replace(**changes).encode()
    return look_at_self(org.server, org.tokens["ci"].token, lambda: NOW)


def test_an_agent_sees_what_its_profiles_hold_and_keeps_that_in_its_mark(org: TestOrg) -> None:
    profile = org.profile("production")
    known = read_secrets(Vault(org.operator()), profile)
    org.commit(lambda draft: delete_secrets(draft, profile, known, ["API_KEY"]))
    seen = look_at_self(org.server, org.tokens["ci"].token, lambda: NOW)
    contents = org.state.contents[profile.id].document
    assert seen.holdings == {profile.id: Holding(version=contents.version, secrets=1, is_exact=True)}
    kept = marks(org).load()
    assert kept is not None
    assert kept.contents == {profile.id: ContentsMark(version=contents.version, sha256=contents.sha256)}
    (own,) = org.server.self_answer(secret_of(org.tokens["ci"]).token_id, org.tokens["ci"].token.pin).contents
    assert look(org, contents=(own.replace(entries=None),)).holdings == {
        profile.id: Holding(version=contents.version, secrets=2, is_exact=False)
    }


def test_older_contents_than_were_seen_are_refused_when_an_agent_looks_at_itself(org: TestOrg) -> None:
    old = org.copy()
    org.commit(lambda draft: write_secrets(draft, org.profile("production"), {}, {"NEW": b"v"}))
    look_at_self(org.server, org.tokens["ci"].token, lambda: NOW)
    with pytest.raises(IntegrityError, match="older"):
        look_at_self(old.server, org.tokens["ci"].token, lambda: NOW)
    with pytest.raises(IntegrityError, match="older"):
        run(old)


@pytest.mark.parametrize("how", ["other profile", "entry dropped", "entry added", "none", "profile twice", "signature"])
def test_forged_contents_are_refused_when_an_agent_looks_at_itself(org: TestOrg, how: str) -> None:
    honest = org.server.self_answer(secret_of(org.tokens["ci"]).token_id, org.tokens["ci"].token.pin)
    (own,) = honest.contents
    entries = dict(own.entries or {})
    first = next(iter(entries))
    changes: dict[str, dict[str, object]] = {
        "other profile": {"contents": (own_contents(org.state, org.profile("staging")),)},
        "entry dropped": {"contents": (own.replace(entries={first: entries[first]}),)},
        "entry added": {"contents": (own.replace(entries={**entries, bytes(16): entries[first]}),)},
        "none": {"contents": ()},
        "profile twice": {"profiles": honest.profiles * 2, "contents": honest.contents * 2},
        "signature": {"contents": (own.replace(contents=own.contents.replace(signature=bytes(64))),)},
    }
    with pytest.raises(IntegrityError):
        look(org, **changes[how])
    assert marks(org).load() is None
