"""Passphrases, from a terminal or a file, and how long a new one has to be (the rest is in ``crypto.passphrase``)."""

from __future__ import annotations

from stronghold_cli.keystore.files import read_given
from stronghold_cli.output import ask_passphrase
from stronghold_cli.protocol.errors import UsageError
from stronghold_cli.protocol.names import nfc

LEAST_CHARACTERS = 12
_MAX_FILE = 4096
_OPTION = "--passphrase-file"


def new_passphrase(file: str | None) -> str:
    """A passphrase that is chosen now: from ``file``, else typed twice; ``UsageError`` where it is too short."""
    if file is not None:
        passphrase = _from_file(file)
    else:
        passphrase = ask_passphrase(f"New passphrase, at least {LEAST_CHARACTERS} characters", option=_OPTION, twice=True)
    if len(nfc(passphrase)) < LEAST_CHARACTERS:
        raise UsageError(
            f"The passphrase has fewer than {LEAST_CHARACTERS} characters.",
            hint="Take several words: together with the account key it is what opens everything.",
        )
    return passphrase


def known_passphrase(name: str, file: str | None) -> str:
    """The passphrase of an account, from ``file``, else typed."""
    return _from_file(file) if file is not None else ask_passphrase(f"Passphrase of {name}", option=_OPTION)


def _from_file(path: str) -> str:
    """The one line of a file; blanks in it count, the line end does not."""
    try:
        text = read_given(path, _MAX_FILE).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text in UTF-8.", hint="Write the passphrase into it, on one line.") from error
    line = text.removesuffix("\n").removesuffix("\r")
    if not line or "\n" in line or "\r" in line:
        raise UsageError(
            f"{path} does not hold one line with a passphrase.", hint="Write the passphrase into it, on one line."
        )
    return line
