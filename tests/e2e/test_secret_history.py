"""``secret history``, ``rollback``, ``restore`` and ``purge``: what is kept, what comes back, and what is gone for good."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.e2e.more_support import push, with_token
from tests.e2e.support import Machine, Org, ServerProcess, make_org

NAME = "DATABASE_URL"


@pytest.fixture
def shop(org: Org) -> Org:
    """``DATABASE_URL`` in ``production`` in three versions."""
    for value in ("postgres://one", "postgres://two", "postgres://three"):
        write(org, value)
    return org


def write(org: Org, value: str, name: str = NAME, *more: str) -> None:
    if "production" not in org.run("profile", "list").ok().out:
        push(org, "production", {name: value}).ok()
    else:
        org.run("secret", "set", name, "--profile", "production", *more, stdin=value).ok()


def versions(org: Org, name: str = NAME) -> list[tuple[int, str, str | None]]:
    listed = org.run("--json", "secret", "history", name, "--show-values").ok().json()
    return [(item["version"], item["state"], item["value"]) for item in listed]


def test_the_history_has_versions_authors_and_times_and_no_value(shop: Org) -> None:
    write(shop, "postgres://four", NAME, "--note", "moved")
    listed = shop.run("secret", "history", NAME, "--profile", "production").ok()
    rows = [line.split("\t") for line in listed.out.splitlines()]
    assert rows[0] == ["version", "", "written", "time", "by", "note", "id"]
    assert [(row[0], row[1], row[4], row[5]) for row in rows[1:]] == [
        ("4", "current", "Ada", "moved"),
        ("3", "", "Ada", ""),
        ("2", "", "Ada", ""),
        ("1", "", "Ada", ""),
    ]
    assert all(row[3].endswith("Z") for row in rows[1:])
    assert "postgres" not in listed.out + listed.err + shop.run("secret", "history", NAME, "--json").ok().out
    assert versions(shop)[-1] == (1, "old", "postgres://one")
    assert "postgres://one" in shop.run("secret", "history", NAME, "--show-values").ok().out


def test_a_rollback_is_a_new_version_that_agents_pull(shop: Org) -> None:
    token = shop.make_agent("ci", {"production": {}})
    assert "version 2" in shop.run("secret", "rollback", NAME, "--yes").ok().err
    assert shop.run("secret", "get", NAME, env=with_token(token)).ok().out == "postgres://two"
    shop.run("secret", "rollback", NAME, "--to", "1", "--yes").ok()
    assert shop.run("secret", "get", NAME, env=with_token(token)).ok().out == "postgres://one"
    assert [each[:2] for each in versions(shop)] == [(5, "current"), (4, "old"), (3, "old"), (2, "old"), (1, "old")]
    again = shop.run("secret", "rollback", NAME, "--to", "1", "--yes").ok()
    assert "nothing was changed" in again.err
    assert len(versions(shop)) == 5


def test_a_deleted_secret_comes_back_with_its_history(shop: Org) -> None:
    token = shop.make_agent("ci", {"production": {"OTHER": "x"}})
    shop.run("secret", "delete", NAME, "--profile", "production", "--yes").ok()
    listed = shop.run("--json", "secret", "history", NAME).ok().json()
    assert [(item["state"], item["author"]) for item in listed] == [("deleted", "Ada"), *[("old", "Ada")] * 3]
    assert listed[0]["written"].endswith("Z")
    hint = shop.run("secret", "rollback", NAME, "--yes").failed(5).err
    assert f"secret restore {NAME}" in hint
    shop.run("secret", "get", NAME, env=with_token(token)).failed(5)
    assert "is back" in shop.run("secret", "restore", NAME, "--yes").ok().err
    assert shop.run("secret", "get", NAME, env=with_token(token)).ok().out == "postgres://three"
    assert [item[:2] for item in versions(shop)] == [(5, "current"), (4, "deleted"), (3, "old"), (2, "old"), (1, "old")]
    assert "rollback" in shop.run("secret", "restore", NAME, "--yes").failed(6).err


def test_a_restore_takes_the_version_that_is_wanted(shop: Org) -> None:
    shop.run("secret", "delete", NAME, "--yes").ok()
    shop.run("secret", "restore", NAME, "--to", "9", "--yes").failed(5)
    shop.run("secret", "restore", NAME, "--to", "4", "--yes").failed(5)
    shop.run("secret", "restore", NAME, "--to", "1", "--yes").ok()
    assert shop.run("secret", "get", NAME).ok().out == "postgres://one"


def test_what_is_purged_is_gone_from_client_and_server(shop: Org) -> None:
    write(shop, "postgres://four")
    asked = shop.run("secret", "purge", NAME, "--keep", "2").failed(2)
    assert "Only a backup" in asked.err
    assert len(versions(shop)) == 4
    done = shop.run("secret", "purge", NAME, "--keep", "2", "--yes").ok()
    assert f"{NAME} versions 1 to 2" in done.err
    assert [item[0] for item in versions(shop)] == [4, 3]
    assert "before 3 were removed" in shop.run("secret", "history", NAME).ok().err
    shop.run("secret", "rollback", NAME, "--to", "1", "--yes").failed(5)
    assert "nothing was changed" in shop.run("secret", "purge", NAME, "--keep", "2", "--yes").ok().err
    assert shop.run("secret", "get", NAME).ok().out == "postgres://four"


def test_a_purged_deletion_leaves_nothing_by_that_name(shop: Org) -> None:
    shop.run("secret", "delete", NAME, "--yes").ok()
    shop.run("secret", "purge", NAME, "--yes").ok()
    shop.run("secret", "history", NAME).failed(5)
    shop.run("secret", "restore", NAME, "--yes").failed(5)
    write(shop, "anew")
    assert versions(shop) == [(1, "current", "anew")]


def test_a_purge_of_all_removes_the_old_versions_of_every_secret(shop: Org) -> None:
    for value in ("one", "two"):
        write(shop, value, "OTHER")
    shop.run("secret", "delete", "OTHER", "--yes").ok()
    assert "2 versions of 2 secrets" in shop.run("secret", "purge", "--all", "--keep", "2", "--yes").ok().err
    assert [item[0] for item in versions(shop)] == [3, 2]
    assert [item[:2] for item in versions(shop, "OTHER")] == [(3, "deleted"), (2, "old")]
    assert "nothing was changed" in shop.run("secret", "purge", "--all", "--keep", "2", "--yes").ok().err
    for words in ((), (NAME, "--all")):
        assert "Give their names, or --all." in shop.run("secret", "purge", *words, "--yes").failed(2).err


def test_a_profile_that_keeps_as_much_as_the_server_allows_says_how_to_make_room(
    machine: Machine, new_server: Callable[..., ServerProcess]
) -> None:
    """And a history of several pages is shown whole."""
    org = make_org(machine, new_server({"STRONGHOLD_MAX_KEPT_BYTES": str(1 << 20), "STRONGHOLD_MAX_PAGE_BYTES": "65536"}))
    for letter in "abcd":
        write(org, letter * 240_000)
    assert [value for *_, value in versions(org)] == [letter * 240_000 for letter in "dcba"]
    full = org.run("secret", "set", NAME, "-p", "production", stdin="e" * 240_000).failed(1)
    assert "secret purge --all" in full.err
    assert org.run("secret", "get", NAME).ok().out == "d" * 240_000
    org.run("secret", "purge", "--all", "--keep", "2", "--yes").ok()
    write(org, "e" * 240_000)
    assert len(versions(org)) == 3


def test_on_a_terminal_it_is_asked_first(shop: Org, terminal_or_skip: object) -> None:
    for words in (("rollback", NAME), ("purge", NAME)):
        no = shop.machine.type("secret", *words, answers=[("[y/N]", "n")])
        assert (no.code, "Nothing was" in no.out) == (0, True)
    assert [item[0] for item in versions(shop)] == [3, 2, 1]
    yes = shop.machine.type("secret", "rollback", NAME, answers=[("by Ada)? [y/N]", "y")])
    assert yes.code == 0
    assert versions(shop)[0] == (4, "current", "postgres://two")


def _yes(command: str) -> tuple[str, ...]:
    return () if command == "history" else ("--yes",)


def test_wrong_usage_and_unknown_names_are_told(shop: Org) -> None:
    for command in ("history", "rollback", "restore", "purge"):
        shop.run("secret", command).failed(2)
        unknown = shop.run("secret", command, "DATABASE_URI", "--profile", "production", *_yes(command)).failed(5)
        assert "Did you mean 'DATABASE_URL'?" in unknown.err
        shop.run("secret", command, NAME, "--profile", "prodution", *_yes(command)).failed(5)
    shop.run("secret", "rollback", NAME, "--to", "0", "--yes").failed(2)
    shop.run("secret", "rollback", NAME, "--to", "9", "--yes").failed(5)
    shop.run("secret", "rollback", NAME).failed(2)
    shop.run("secret", "purge", NAME, "--keep", "0", "--yes").failed(2)
    write(shop, "only", "ONCE")
    assert "one value only" in shop.run("secret", "rollback", "ONCE", "--yes").failed(5).err
    assert len(versions(shop)) == 3


def test_a_copy_of_the_database_before_a_purge_is_all_that_has_the_old_ciphertext(shop: Org) -> None:
    """The purge is physical: the server's files hold fewer ciphertexts than before, and none of the old ones."""
    code = (
        "import sys, apsw\n"
        "rows = apsw.Connection(sys.argv[1], flags=apsw.SQLITE_OPEN_READONLY).execute('SELECT hex(content) FROM blobs')\n"
        "print(*(row[0] for row in rows))"
    )
    database = str(shop.server.data_dir / "stronghold.db")

    def blobs() -> set[str]:
        return set(shop.machine.run(database, program=(sys.executable, "-c", code)).ok().out.split())

    before = blobs()
    shop.run("secret", "purge", NAME, "--yes").ok()
    gone = before - blobs()
    assert len(gone) == 2
    files = [path.read_bytes() for path in shop.server.data_dir.iterdir() if path.is_file()]
    assert not [blob for blob in gone if any(bytes.fromhex(blob) in content for content in files)]
