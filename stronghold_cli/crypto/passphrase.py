"""From passphrase and account key to the keys that log an operator in (protocol sections 2 and 3; attack 48).

``AUK = HKDF-SHA256(salt = ASK, ikm = Argon2id(passphrase, salt 16, 32 bytes), info = TLV("stronghold/v1/op/auk", org_id,
operator_id, memory in KiB, t, p, salt), 32)``. Salt and parameters come from this device or from the operator's kit, never
from an answer (rule R8); floor and ceiling are compiled in and checked before anything is derived. How long and how good a
passphrase has to be is asked where it is chosen, not here.
"""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from stronghold_cli.crypto.kdf import KEY_BYTES, extract_and_expand
from stronghold_cli.crypto.keys import LoginKeys
from stronghold_cli.protocol.encoding import tlv
from stronghold_cli.protocol.errors import IntegrityError, StrongholdError, UsageError
from stronghold_cli.protocol.names import nfc
from stronghold_cli.protocol.record import Record

SALT_BYTES = 16


class Argon2Parameters(Record):
    """The cost of one guess: memory in KiB, passes over it, lanes."""

    memory_kib: int
    time_cost: int
    parallelism: int


FLOOR = Argon2Parameters(memory_kib=64 << 10, time_cost=3, parallelism=4)
DEFAULT = Argon2Parameters(memory_kib=256 << 10, time_cost=3, parallelism=4)
CEILING = Argon2Parameters(memory_kib=4 << 20, time_cost=16, parallelism=16)


def check(parameters: Argon2Parameters) -> None:
    """Return if each parameter lies between floor and ceiling, else raise ``IntegrityError`` that names it."""
    for name in Argon2Parameters.members:
        value, floor, ceiling = (getattr(each, name) for each in (parameters, FLOOR, CEILING))
        if not floor <= value <= ceiling:
            raise IntegrityError(
                f"The Argon2 parameter {name} is {value}, outside {floor} to {ceiling}.",
                hint="Use the operator kit as it was printed.",
                evidence={name: value, "floor": floor, "ceiling": ceiling},
            )


def account_unlock_key(
    passphrase: str, account_key: bytes, salt: bytes, parameters: Argon2Parameters, org_id: bytes, operator_id: bytes
) -> LoginKeys:
    """The login keys of an operator; takes about half a second and ``memory_kib`` of memory.

    ``passphrase`` is brought to NFC, so that keyboards that compose accents differently agree; ``account_key`` is the
    32-byte ASK of the kit, ``salt`` 16 bytes. A wrong passphrase gives other keys, no error: what tells is that the
    server does not know the login key and the box of the keyset does not open.
    """
    check(parameters)
    if len(salt) != SALT_BYTES or len(account_key) != KEY_BYTES:
        raise IntegrityError(f"the account key is not {KEY_BYTES} bytes or its salt not {SALT_BYTES}")
    costs = (parameters.memory_kib, parameters.time_cost, parameters.parallelism)
    stretched = _argon2id(_passphrase_bytes(passphrase), salt, parameters)
    info = tlv("stronghold/v1/op/auk", org_id, operator_id, *costs, salt)
    return LoginKeys(extract_and_expand(account_key, stretched, info), org_id, operator_id)


def _passphrase_bytes(passphrase: str) -> bytes:
    try:
        return nfc(passphrase).encode()
    except UnicodeEncodeError:
        # No cause is chained: that exception carries the passphrase.
        raise UsageError("The passphrase is not valid UTF-8.", hint="Type it in a UTF-8 terminal.") from None


def _argon2id(passphrase: bytes, salt: bytes, parameters: Argon2Parameters) -> bytes:
    try:
        return Argon2id(
            salt=salt,
            length=KEY_BYTES,
            iterations=parameters.time_cost,
            lanes=parameters.parallelism,
            memory_cost=parameters.memory_kib,
        ).derive(passphrase)
    except MemoryError as error:
        raise StrongholdError(
            f"There is not enough memory to check the passphrase: it takes {parameters.memory_kib >> 10} MiB.",
            hint="Free some memory or raise the limit of this shell or container.",
        ) from error
    except UnsupportedAlgorithm as error:
        raise StrongholdError(
            "The cryptography library of this Python has no Argon2id, which passphrases need.",
            hint="Install a wheel of cryptography 50 or newer.",
            code="SUITE_MISSING",
        ) from error
