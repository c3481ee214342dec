"""From passphrase to login keys: floor and ceiling before any work, and every input bound (attacks 48 and 49)."""

from __future__ import annotations

import hmac
import os
import subprocess
import sys
import time

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from stronghold_cli.crypto.keys import LoginKeys
from stronghold_cli.crypto.passphrase import CEILING, DEFAULT, FLOOR, Argon2Parameters, account_unlock_key, check
from stronghold_cli.protocol.errors import IntegrityError, UsageError

ACCOUNT_KEY = bytes(range(32))
SALT = bytes(range(16))
ORG, OPERATOR = b"o" * 32, b"u" * 16
OUTSIDE = [
    FLOOR.replace(memory_kib=FLOOR.memory_kib - 1),
    FLOOR.replace(time_cost=2),
    FLOOR.replace(parallelism=3),
    FLOOR.replace(memory_kib=0),
    FLOOR.replace(time_cost=-1),
    CEILING.replace(memory_kib=CEILING.memory_kib + 1),
    CEILING.replace(time_cost=17),
    CEILING.replace(parallelism=17),
    FLOOR.replace(memory_kib=2**32 - 1),
]


def login(passphrase: str = "correct horse", account_key: bytes = ACCOUNT_KEY, salt: bytes = SALT) -> bytes:
    return account_unlock_key(passphrase, account_key, salt, FLOOR, ORG, OPERATOR).login.public


def test_the_compiled_in_bounds() -> None:
    costs = [(each.memory_kib, each.time_cost, each.parallelism) for each in (FLOOR, DEFAULT, CEILING)]
    assert costs == [(65_536, 3, 4), (262_144, 3, 4), (4_194_304, 16, 16)]
    for allowed in (FLOOR, DEFAULT, CEILING):
        check(allowed)


@pytest.mark.parametrize("parameters", OUTSIDE, ids=repr)
def test_parameters_outside_the_bounds_are_refused_before_deriving(parameters: Argon2Parameters) -> None:
    started = time.process_time()
    with pytest.raises(IntegrityError, match="Argon2 parameter"):
        account_unlock_key("correct horse", ACCOUNT_KEY, SALT, parameters, ORG, OPERATOR)
    assert time.process_time() - started < 0.03


def test_the_keys_are_those_of_the_protocol() -> None:
    stretched = Argon2id(salt=SALT, length=32, iterations=3, lanes=4, memory_cost=65_536).derive(b"correct horse")
    integers = [value.to_bytes(8, "big") for value in (65_536, 3, 4)]
    parts = [b"stronghold/v1/op/auk", ORG, OPERATOR, *integers, SALT]
    info = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    unlock_key = hmac.digest(hmac.digest(ACCOUNT_KEY, stretched, "sha256"), info + b"\x01", "sha256")
    assert login() == LoginKeys(unlock_key, ORG, OPERATOR).login.public


def test_every_input_changes_the_keys() -> None:
    other_place = account_unlock_key("correct horse", ACCOUNT_KEY, SALT, FLOOR, ORG, b"x" * 16).login.public
    dearer = account_unlock_key("correct horse", ACCOUNT_KEY, SALT, FLOOR.replace(time_cost=4), ORG, OPERATOR).login.public
    results = {login(), login("correct hors"), login(account_key=SALT * 2), login(salt=SALT[::-1]), other_place, dearer}
    assert len(results) == 6


def test_a_passphrase_is_brought_to_nfc() -> None:
    assert login("caf\u00e9") == login("cafe\u0301")


@pytest.mark.parametrize(
    ("account_key", "salt"), [(bytes(31), SALT), (bytes(33), SALT), (ACCOUNT_KEY, bytes(15)), (ACCOUNT_KEY, b"")]
)
def test_account_key_and_salt_have_one_length(account_key: bytes, salt: bytes) -> None:
    with pytest.raises(IntegrityError):
        login(account_key=account_key, salt=salt)


def test_a_passphrase_that_is_not_utf_8_is_told_without_showing_it() -> None:
    with pytest.raises(UsageError) as caught:
        login("hunter\udcff")
    assert "hunter" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are set as Linux has them")
def test_too_little_memory_is_one_sentence() -> None:
    script = (
        "import resource\n"
        "from stronghold_cli.crypto.passphrase import CEILING, account_unlock_key\n"
        "from stronghold_cli.protocol.errors import StrongholdError\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "try:\n"
        "    account_unlock_key('correct horse', bytes(32), bytes(16), CEILING, bytes(32), bytes(16))\n"
        "except StrongholdError as error:\n"
        "    print(type(error).__name__, error.message)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert result.stdout == "StrongholdError There is not enough memory to check the passphrase: it takes 4096 MiB.\n"
