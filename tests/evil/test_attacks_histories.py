"""Attacks 3 and 4 on the kept versions of secrets, which come in pages: some left out, repeated, or mixed up."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.e2e.more_support import push
from tests.e2e.support import Machine, Org
from tests.evil.evil_server import Answer, EvilServer
from tests.evil.scene import init_on

HISTORY = "/history"
NAME = "API_KEY"
VALUES = [f"value-number-{number}" for number in range(1, 6)]


@pytest.fixture
def org(evil: EvilServer, new_machine: Callable[[], Machine]) -> Org:
    """An org whose one secret has five versions, on a server that answers one leaf after the other."""
    made = init_on(evil, new_machine())
    for value in VALUES:
        push(made, "production", {NAME: value, "OTHER": "x"}).ok()
    evil.settings = evil.settings.replace(max_page_bytes=1)
    evil.restart()
    return made


def pages_of(evil: EvilServer) -> list[bytes]:
    return [each.answer for each in evil.recorded if each.path.endswith(HISTORY)]


def shows_all(org: Org) -> bool:
    listed = org.run("--json", "secret", "history", NAME, "--show-values").ok().json()
    return [item["value"] for item in listed] == VALUES[::-1]


def in_place_of(evil: EvilServer, place: int, answer: bytes) -> Callable[[int, bytes], Answer]:
    """Change the answer to the request for that page."""
    before = len(pages_of(evil))
    return lambda status, body: (status, answer if len(pages_of(evil)) - before == place + 1 else body)


LIES: dict[str, Callable[[list[bytes]], bytes]] = {
    "left out": lambda pages: pages[3],
    "repeated": lambda pages: pages[1],
    "the first again": lambda pages: pages[0],
    "said to be the last": lambda pages: pages[2].replace(b'"before":' + _before(pages[2]), b'"before":null'),
}


def _before(page: bytes) -> bytes:
    (secret,) = json.loads(page)["secrets"].values()
    return str(secret["before"]).encode()


@pytest.mark.parametrize("how", LIES)
def test_attack_04_a_page_of_a_history_left_out_or_repeated(evil: EvilServer, org: Org, how: str) -> None:
    assert shows_all(org)
    pages = pages_of(evil)
    assert len(pages) == len(VALUES)
    for words in (("history", NAME, "--show-values"), ("rollback", NAME, "--to", "1", "--yes")):
        with evil.lies(HISTORY, in_place_of(evil, 2, LIES[how](pages))):
            result = org.run("secret", *words).failed(8)
            assert result.out == ""
            assert not [value for value in VALUES if value in result.err]
    assert shows_all(org)


def test_attack_03_an_old_version_under_the_number_of_another(evil: EvilServer, org: Org) -> None:
    assert shows_all(org)
    pages = pages_of(evil)
    for words in (("history", NAME, "--show-values"), ("rollback", NAME, "--to", "4", "--yes")):
        with evil.lies(HISTORY, in_place_of(evil, 1, _swapped(pages))):
            assert org.run("secret", *words).failed(8).out == ""
    assert shows_all(org)


def _swapped(pages: list[bytes]) -> bytes:
    """The leaf of one version with the ciphertext of another."""
    page, older = json.loads(pages[1]), json.loads(pages[2])
    (secret,), (donor,) = page["secrets"].values(), older["secrets"].values()
    secret["ciphertexts"][0][1] = donor["ciphertexts"][0][1]
    return json.dumps(page).encode()
