"""Setup codes: each is good for one org on this server (protocol section 6; product, "The server").

Only the hash of a code is stored. The first one is printed once, and left in a 0600 file of the data folder, where ``init``
of the same user finds it; the file goes when a code is used.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Final

from stronghold_cli.protocol.encoding import digest, encode_base62
from stronghold_server.folder import read_private, write_private
from stronghold_server.store.interface import Store

SETUP_CODE_FILE: Final = "setup-code"
_CODE_BYTES: Final = 16
_MAX_FILE: Final = 1024


def setup_code_hash(code: str) -> bytes:
    """What the store keeps of a code."""
    return digest(b"stronghold/v1/setup-code" + code.strip().encode())


def new_setup_code(store: Store, random: Callable[[int], bytes], now: int) -> str:
    """Make a code and keep its hash; 128 random bits, so nobody guesses one."""
    code = _make_code(random)
    _keep(store, code, now)
    return code


def first_setup_code(store: Store, folder: str, given: str, random: Callable[[int], bytes], now: int) -> str | None:
    """At the first start, make a code, or take the one ``given`` by setting, and leave it in the data folder.

    None where an org or a code exists. The file comes first: a process that ends in between has made no code yet, and the
    next start makes one, while a code that only the store knew would be nobody's.
    """
    with store.read() as reader:
        if reader.org_ids() or reader.unused_setup_codes():
            return None
    code = given or _make_code(random)
    write_private(os.path.join(folder, SETUP_CODE_FILE), f"{code}\n".encode())
    _keep(store, code, now)
    return code


def _make_code(random: Callable[[int], bytes]) -> str:
    # The first byte is never zero: base62 of a fixed length of bytes loses none of them.
    return "shsc_" + encode_base62(b"\x01" + random(_CODE_BYTES))


def _keep(store: Store, code: str, now: int) -> None:
    store.write(lambda writer: writer.add_setup_code(setup_code_hash(code), now)).result()


def forget_setup_code(folder: str, code: str) -> None:
    """Remove the file if it holds the code that was used up."""
    path = os.path.join(folder, SETUP_CODE_FILE)
    if os.path.exists(path) and read_private(path, _MAX_FILE).decode("ascii", "replace").strip() == code.strip():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
