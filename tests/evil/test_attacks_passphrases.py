"""Attacks 48 and 49: on what the operator's passphrase opens (protocol section 10, "Passphrases")."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.crypto import passphrase as passphrase_module
from stronghold_cli.crypto.passphrase import CEILING, FLOOR, Argon2Parameters, account_unlock_key
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.token import OperatorKit, parse_operator_kit
from tests.e2e.support import PASSPHRASE, Machine, Org
from tests.evil.evil_server import EvilServer
from tests.evil.scene import files_below, init_on

Machines = Callable[[], Machine]
KEYSET = "/keyset"

OUTSIDE = {
    "memory below the floor": {"memory_kib": FLOOR.memory_kib - 1},
    "little memory": {"memory_kib": 8},
    "no memory": {"memory_kib": 0},
    "memory above the ceiling": {"memory_kib": CEILING.memory_kib + 1},
    "all memory": {"memory_kib": 2**32 - 1},
    "passes below the floor": {"time_cost": FLOOR.time_cost - 1},
    "no pass": {"time_cost": 0},
    "passes above the ceiling": {"time_cost": CEILING.time_cost + 1},
    "all passes": {"time_cost": 255},
    "lanes below the floor": {"parallelism": FLOOR.parallelism - 1},
    "no lane": {"parallelism": 0},
    "lanes above the ceiling": {"parallelism": CEILING.parallelism + 1},
}


def logs_in(machine: Machine, kit: OperatorKit) -> tuple[str, ...]:
    """The words of a login with that kit."""
    machine.file("kit", kit.text)
    machine.file("passphrase", PASSPHRASE + "\n")
    return ("auth", "login", "--kit-file", "kit", "--passphrase-file", "passphrase")


def keeps_nothing(machine: Machine, before: dict[str, bytes]) -> bool:
    """Whether nothing was added to a machine but the kit and the passphrase that were typed."""
    after = files_below(machine.home)
    return {name for name in after if name not in before} <= {"kit", "passphrase"}


@pytest.mark.parametrize("name", OUTSIDE)
def test_attack_48_argon2_parameters_out_of_bounds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before anything is derived, so that neither time nor memory is spent."""
    parameters = FLOOR.replace(**OUTSIDE[name])

    def derive(*_: object) -> bytes:
        pytest.fail("a key was derived")

    monkeypatch.setattr(passphrase_module, "_argon2id", derive)
    with pytest.raises(IntegrityError, match=next(iter(OUTSIDE[name]))):
        account_unlock_key(PASSPHRASE, bytes(32), bytes(16), parameters, bytes(32), bytes(16))


def test_attack_48_the_bounds_themselves_are_in_use() -> None:
    assert [getattr(FLOOR, name) for name in Argon2Parameters.members] == [64 << 10, 3, 4]
    assert [getattr(CEILING, name) for name in Argon2Parameters.members] == [4 << 20, 16, 16]
    for parameters in (FLOOR, CEILING):
        passphrase_module.check(parameters)


def test_attack_48_a_kit_with_such_parameters_asks_nobody(evil: EvilServer, new_machine: Machines) -> None:
    """The real program: somebody swapped the kit; the server learns nothing against which passphrases could be tried."""
    org = init_on(evil, new_machine())
    kit, laptop = parse_operator_kit(org.operator_kit), new_machine()
    before = files_below(laptop.home)
    asked = len(evil.recorded)
    for name in ("little memory", "all memory"):
        result = laptop.run(*logs_in(laptop, kit.replace(**OUTSIDE[name]))).failed(8)
        assert result.out_bytes == b""
        assert keeps_nothing(laptop, before)
    assert len(evil.recorded) == asked
    laptop.run(*logs_in(laptop, kit)).ok()


def two_orgs(evil: EvilServer, new_machine: Machines) -> tuple[Org, Org]:
    return init_on(evil, new_machine()), init_on(evil, new_machine())


def login_answer(evil: EvilServer, org: Org) -> dict[str, Any]:
    """What the server says to the true operator."""
    org.run("auth", "lock").ok()
    org.run("auth", "unlock", "--passphrase-file", str(org.passphrase_file)).ok()
    answer: dict[str, Any] = json.loads(evil.last_answer(KEYSET))
    return answer


# In process, each member of an answer is missed alone (tests/unit/vault/test_login.py); here these are shown to the program.
SWAPS = {True: (("login",), ("keyset", "login", "org", "head")), False: (("keyset",), ("keyset", "login"))}


@pytest.mark.parametrize("known", [True, False])
def test_attack_49_login_records_swapped(evil: EvilServer, new_machine: Machines, known: bool) -> None:
    """The real program, on a new device and on one with a mark: genuine parts of another operator's login."""
    mine, other = two_orgs(evil, new_machine)
    answers = {org: login_answer(evil, org) for org in (mine, other)}
    machine = mine.machine if known else new_machine()
    if known:
        mine.run("auth", "lock").ok()
        words: tuple[str, ...] = ("auth", "unlock", "--passphrase-file", str(mine.passphrase_file))
    else:
        words = logs_in(machine, parse_operator_kit(mine.operator_kit))
    before = files_below(machine.home)
    for parts in SWAPS[known]:
        swapped = {**answers[mine], **{part: answers[other][part] for part in parts}}
        with evil.plays_back(KEYSET, json.dumps(swapped).encode()):
            assert machine.run(*words).failed(8).out_bytes == b""
        assert files_below(machine.home) == before
        assert not list(machine.runtime.rglob("*session*"))
    machine.run(*words).ok()


def test_attack_49_salt_and_parameters_in_an_answer(evil: EvilServer, new_machine: Machines) -> None:
    """No answer chooses them: one that tries is not of the one form, and what is derived is derived before it comes."""
    org = init_on(evil, new_machine())
    laptop, kit = new_machine(), parse_operator_kit(org.operator_kit)
    before = files_below(laptop.home)
    for wish in ({"salt": "A" * 22 + "=="}, {"memory_kib": 8, "time_cost": 1}):

        def add(status: int, body: bytes, wish: dict[str, Any] = wish) -> tuple[int, bytes]:
            return status, json.dumps({**json.loads(body), **wish}).encode()

        with evil.lies(KEYSET, add):
            assert laptop.run(*logs_in(laptop, kit)).failed(8).out_bytes == b""
        assert keeps_nothing(laptop, before)
    laptop.run(*logs_in(laptop, kit)).ok()


def test_attack_49_a_salt_swapped_in_the_kit_opens_nothing(evil: EvilServer, new_machine: Machines) -> None:
    """Another salt is another login key, which the server does not know: as with a wrong passphrase, and nothing is kept."""
    org = init_on(evil, new_machine())
    laptop, kit = new_machine(), parse_operator_kit(org.operator_kit)
    before = files_below(laptop.home)
    for changed in ({"salt": bytes(16)}, {"time_cost": kit.time_cost + 1}):
        result = laptop.run(*logs_in(laptop, kit.replace(**changed))).failed(3)
        assert result.out_bytes == b""
        assert keeps_nothing(laptop, before)
    laptop.run(*logs_in(laptop, kit)).ok()
