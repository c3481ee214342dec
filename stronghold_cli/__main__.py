"""The entry of both console scripts: ``--version`` is answered before anything is imported, all else by ``start``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the program and end the process with its exit code."""
    if sys.argv[1:] == ["--version"]:
        from stronghold_cli.version import PROTOCOL_VERSION, VERSION

        sys.stdout.write(f"stronghold {VERSION} (protocol {PROTOCOL_VERSION})\n")
        return
    from stronghold_cli.start import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
