"""The entry of both console scripts: ``--version`` and the top-level help are answered before anything is imported, all
else by ``start``."""

from __future__ import annotations

import os
import sys

HELP = "help.txt"
_HELP_COLUMNS = 80
_STDOUT = 1


def main() -> None:
    """Run the program and end the process with its exit code."""
    words = sys.argv[1:]
    if words == ["--version"]:
        from stronghold_cli.version import PROTOCOL_VERSION, VERSION

        sys.stdout.write(f"stronghold {VERSION} (protocol {PROTOCOL_VERSION})\n")
        return
    if words in (["--help"], ["-h"]) and _columns() >= _HELP_COLUMNS and _print_help():
        return
    from stronghold_cli.start import run

    sys.exit(run(words))


def _print_help() -> bool:
    """Print the help that Typer gives for 80 columns or more, kept ready in a file; whether that was possible.

    Where it was not, Typer is asked after all, and errors of stdout are told as those of any command.
    """
    try:
        with open(os.path.join(os.path.dirname(__file__), HELP), "rb") as file:
            page = file.read()
        if os.path.basename(sys.argv[0]) == "api-stronghold-cli":
            page = page.replace(b"Usage: stronghold", b"Usage: api-stronghold-cli", 1)
        while page:
            page = page[os.write(_STDOUT, page) :]
    except OSError:
        return False
    return True


def _columns() -> int:
    """The width to print for, found as Typer finds it: ``COLUMNS``, else the terminal's, else 80."""
    try:
        columns = int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        columns = 0
    if columns <= 0:
        try:
            columns = os.get_terminal_size(_STDOUT).columns
        except OSError:
            columns = 0
    return columns or _HELP_COLUMNS


if __name__ == "__main__":
    main()
