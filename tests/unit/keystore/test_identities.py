"""Who is acting: the order in which tokens are found, and what lies on this machine."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from stronghold_cli.keystore import identities
from stronghold_cli.keystore.identities import (
    STORED,
    Account,
    OperatorIdentity,
    TokenIdentity,
    find_account,
    find_identity,
    find_token,
)
from stronghold_cli.protocol.errors import (
    Conflict,
    LocalFileError,
    NotAuthenticated,
    NotFound,
    Refused,
    TokenMalformed,
    UsageError,
)
from stronghold_cli.protocol.token import AgentToken, OperatorKit

pytestmark = pytest.mark.usefixtures("home")


def token(number: int = 1) -> AgentToken:
    return AgentToken(
        plain_http=False,
        pin=bytes([number]) * 32,
        floor=number,
        address="s.test",
        secret=b"s" * 32,
        wrapped_master_key=b"w" * 48,
    )


def account(name: str = "acme", org: int = 1) -> Account:
    kit = OperatorKit(
        plain_http=False, pin=b"p" * 32, floor=1, address="s.test", org_id=bytes([org]) * 32, operator_id=b"o" * 16,
        account_key=b"a" * 32, salt=b"s" * 16, memory_kib=65536, time_cost=3, parallelism=4,
    )  # fmt: skip
    return Account(name=name, kit=kit)


def file_with(path: Path, content: str) -> str:
    path.write_text(content)
    return str(path)


def test_the_first_of_all_ways_wins(tmp_path: Path) -> None:
    option_file, variable_file = file_with(tmp_path / "a", token(2).text), file_with(tmp_path / "b", token(4).text)
    environ = {
        "STRONGHOLD_TOKEN": token(3).text,
        "STRONGHOLD_TOKEN_FILE": variable_file,
        "API_STRONGHOLD_TOKEN": token(5).text,
    }
    identities.store_token(b"6" * 16, token(6), "ci")
    found = []
    for option, file in ((token(1).text, option_file), (None, option_file), (None, None)):
        found.append(find_identity(option, file, environ))
    while environ:
        environ.pop(next(iter(environ)))
        found.append(find_identity(None, None, environ))
    assert [each.token.floor for each in found if isinstance(each, TokenIdentity)] == [1, 2, 3, 4, 5, 6]
    assert [each.source for each in found] == [
        "--token",
        f"the file {option_file}",
        "STRONGHOLD_TOKEN",
        f"the file {variable_file} (STRONGHOLD_TOKEN_FILE)",
        "API_STRONGHOLD_TOKEN",
        STORED,
    ]


def test_blanks_and_a_line_end_around_a_token_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f" \t{token().text}\r\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    for found in (
        find_token(None, None, {"STRONGHOLD_TOKEN": text}),
        find_token(None, file_with(tmp_path / "a", text), {}),
        find_token(None, None, {"STRONGHOLD_TOKEN_FILE": file_with(tmp_path / "b", text) + "\n"}),
        find_token("-", None, {}),
    ):
        assert found is not None
        assert found.token == token()


@pytest.mark.parametrize("quote", ['"', "'", "`"])
def test_quotes_are_refused_with_a_hint_and_the_source(quote: str) -> None:
    with pytest.raises(TokenMalformed) as caught:
        find_token(None, None, {"STRONGHOLD_TOKEN": f"{quote}{token().text}{quote}"})
    assert "quotation" in caught.value.hint
    assert "STRONGHOLD_TOKEN" in caught.value.message


def test_a_damaged_token_is_told_without_its_text() -> None:
    text = token().text[:-1]
    with pytest.raises(TokenMalformed) as caught:
        find_token(None, None, {"API_STRONGHOLD_TOKEN": text})
    assert "API_STRONGHOLD_TOKEN" in caught.value.message
    assert text[10:] not in caught.value.message + caught.value.hint


def test_a_kit_is_no_token() -> None:
    with pytest.raises(TokenMalformed, match="operator kit"):
        find_token(account().kit.text, None, {})


@pytest.mark.parametrize("variable", ["STRONGHOLD_TOKEN", "STRONGHOLD_TOKEN_FILE", "API_STRONGHOLD_TOKEN"])
def test_a_variable_that_is_empty_is_a_missing_secret_and_named(variable: str) -> None:
    identities.store_token(b"6" * 16, token(6), "ci")
    for value in ("", " \n"):
        with pytest.raises(Refused) as caught:
            find_identity(None, None, {variable: value})
        assert caught.value.code == "TOKEN_MISSING"
        assert variable in caught.value.message
        assert variable in caught.value.hint


def test_an_earlier_empty_variable_does_not_give_way_to_a_later_one() -> None:
    with pytest.raises(Refused):
        find_token(None, None, {"STRONGHOLD_TOKEN": "", "API_STRONGHOLD_TOKEN": token().text})


def test_no_token_at_all_lists_the_ways_to_give_one() -> None:
    with pytest.raises(Refused) as caught:
        find_identity(None, None, {})
    assert caught.value.code == "TOKEN_MISSING"
    for way in (
        "STRONGHOLD_TOKEN",
        "STRONGHOLD_TOKEN_FILE",
        "API_STRONGHOLD_TOKEN",
        "--token-file",
        "auth api-user",
        "auth login",
    ):
        assert way in caught.value.hint


def test_a_token_file_may_be_what_a_platform_mounts(tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    mounted.write_text(token().text)
    mounted.chmod(0o444)
    (tmp_path / "link").symlink_to(mounted)
    found = find_token(None, None, {"STRONGHOLD_TOKEN_FILE": str(tmp_path / "link")})
    assert found is not None
    assert found.token == token()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 5000, None])
def test_a_token_file_that_is_none_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((LocalFileError, TokenMalformed), match="file"):
        find_token(None, str(path), {})


def test_the_identity_last_made_current_acts() -> None:
    identities.store_token(b"1" * 16, token(1), "ci")
    identities.store_account(account())
    found = find_identity(None, None, {})
    assert isinstance(found, OperatorIdentity)
    assert found.account == account()
    identities.store_token(b"2" * 16, token(2), "other")
    again = find_identity(None, None, {})
    assert isinstance(again, TokenIdentity)
    assert again.token.floor == 2


def test_management_acts_as_the_operator_also_while_a_token_is_current() -> None:
    with pytest.raises(NotAuthenticated, match="No operator"):
        find_account()
    identities.store_account(account())
    identities.store_token(b"1" * 16, token(1), "ci")
    assert find_account() == account()


def test_tokens_are_kept_privately_and_forgotten(home: Path) -> None:
    identities.store_token(b"1" * 16, token(1), "CI/CD Pipeline")
    path = home / ".local/share/stronghold/tokens" / f"{(b'1' * 16).hex()}.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [(each.token_id, each.token, each.label) for each in identities.stored_tokens()] == [
        (b"1" * 16, token(1), "CI/CD Pipeline")
    ]
    path.chmod(0o640)
    with pytest.raises(LocalFileError) as caught:
        find_identity(None, None, {})
    assert "chmod 600" in caught.value.hint
    path.chmod(0o600)
    assert identities.forget_token(b"1" * 16)
    assert not identities.forget_token(b"1" * 16)
    assert identities.stored_tokens() == []
    assert identities.load_current().kind is None


def test_forgetting_one_token_leaves_another_current() -> None:
    identities.store_token(b"1" * 16, token(1), "a")
    identities.store_token(b"2" * 16, token(2), "b")
    identities.forget_token(b"1" * 16)
    assert identities.load_current().identity == b"2" * 16


def test_contexts_are_listed_by_name_used_and_renamed() -> None:
    identities.store_account(account("Beta", 2))
    identities.store_account(account("acme", 1))
    assert [each.name for each in identities.contexts()] == ["acme", "Beta"]
    assert find_account().name == "acme"
    assert identities.use_context("BETA").name == "Beta"
    assert find_account().name == "Beta"
    identities.rename_context("Beta", "gamma")
    assert find_account().name == "gamma"
    assert find_account("acme").org_id == bytes([1]) * 32
    assert find_account((bytes([1]) * 32).hex()).name == "acme"
    with pytest.raises(NotFound) as caught:
        find_account("Beta")
    assert "acme, gamma" in caught.value.hint


def test_a_context_name_is_unique_and_legal() -> None:
    identities.store_account(account("acme", 1))
    with pytest.raises(Conflict):
        identities.store_account(account("ACME", 2))
    identities.store_account(account("acme", 1))
    identities.store_account(account("other", 2))
    with pytest.raises(Conflict):
        identities.rename_context("other", "Acme")
    with pytest.raises(UsageError):
        identities.rename_context("other", "a\nb")


def test_a_forgotten_account_is_no_longer_current() -> None:
    identities.store_account(account())
    assert identities.forget_account(account().org_id)
    assert identities.load_current() == identities.Current()
    with pytest.raises(NotAuthenticated):
        find_account()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"v":2,"name":"a","kit":"b"}', b'{"v":1,"name":1,"kit":"b"}', b'{"v":1,"kit":"b","name":"a"}']
)
def test_a_damaged_account_is_a_local_error_that_names_the_file(home: Path, content: bytes) -> None:
    identities.store_account(account())
    path = home / ".local/share/stronghold/accounts" / f"{account().org_id.hex()}.json"
    path.write_bytes(content)
    with pytest.raises(LocalFileError) as caught:
        find_account()
    assert str(path) in caught.value.message


def test_an_account_under_the_name_of_another_org_is_refused(home: Path) -> None:
    identities.store_account(account("acme", 1))
    folder = home / ".local/share/stronghold/accounts"
    os.rename(folder / f"{(bytes([1]) * 32).hex()}.json", folder / f"{(bytes([2]) * 32).hex()}.json")
    with pytest.raises(LocalFileError, match="another org"):
        identities.load_account(bytes([2]) * 32)


def test_other_files_in_our_folders_are_not_ours(home: Path) -> None:
    identities.store_account(account())
    (home / ".local/share/stronghold/accounts/notes.txt").write_text("x")
    (home / ".local/share/stronghold/accounts/abc.json").write_text("x")
    assert len(identities.contexts()) == 1


@pytest.mark.parametrize(
    "content",
    [b"{}", b'{"v":1,"kind":"token","identity":"xy","context":""}', b'{"v":1,"kind":"","identity":"","context":"00"}'],
)
def test_a_damaged_record_of_what_is_current_is_an_error(home: Path, content: bytes) -> None:
    identities.store_account(account())
    (home / ".local/share/stronghold/current.json").write_bytes(content)
    with pytest.raises(LocalFileError, match=r"current\.json"):
        identities.load_current()


def test_no_repr_shows_a_credential() -> None:
    shown = repr((TokenIdentity(token=token(), source="x"), account()))
    assert token().text not in shown
    assert account().kit.text not in shown
    assert "aaaa" not in shown
