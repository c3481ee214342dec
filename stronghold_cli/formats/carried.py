"""What each format carries and refuses: asked of the writers themselves, so that the table cannot say anything else.

For ``env formats`` and docs/dotenv.md; a pull does not load it.
"""

from __future__ import annotations

from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.table import FORMATS, READERS, load
from stronghold_cli.protocol.record import Record

_PURPOSES = {
    "dotenv": ".env files, whoever reads them",
    "docker": "docker run --env-file",
    "compose": "env_file of docker compose v2",
    "shell": '. ./file, eval "$(…)"',
    "systemd": "EnvironmentFile= of a unit",
    "github": "$GITHUB_ENV, $GITHUB_OUTPUT",
    "json": "programs; jq",
    "yaml": "programs; Helm",
    "toml": "programs",
    "k8s": "kubectl apply -f",
    "powershell": ". ./env.ps1",
    "tfvars": "terraform -var-file (*.tfvars.json, *.tfvars)",
    "csv": "programs that read CSV",
}
_DIALECTS = {
    "python": "python-dotenv",
    "node": "node --env-file, npm dotenv",
    "compose": "docker compose v2",
    "go": "godotenv",
    "ruby": "gem dotenv",
}
# What a value may hold that some format has no way to write, and the shortest value that shows it.
_PROBES = (
    ("line breaks", b"a\nb"),
    ("CR", b"a\rb"),
    ("CR at the end", b"a\r"),
    ("${NAME}", b"a${b}"),
    ("$(", b"a$(b)"),
    ("$[ with '", b"'$[b]"),
    ("NUL", b"a\0b"),
    ("bytes that are not UTF-8", b"\xff"),
    ("over 64 KiB", b"a" * (64 << 10)),
    ("no characters (U+FFFF)", "\uffff".encode()),
    ("text that is not NFC", "e\u0301".encode()),
    ("some mixes of quotes", b"\n'\"`\\"),
)
_NAMES = (
    ("GITHUB_*, RUNNER_*, NODE_OPTIONS", "GITHUB_X"),
    ("UID, RANDOM, … (shells keep them)", "UID"),
    ("names over 253", "A" * 254),
)


class Carried(Record):
    """One row: ``reader`` is empty but for the sub-dialects of dotenv."""

    format: str
    reader: str
    purpose: str
    carries: str
    refuses: tuple[str, ...]


def carried() -> tuple[Carried, ...]:
    """A row for each format, and for each reader of dotenv, in the order of the tables."""
    rows = [_row(name, None, _PURPOSES[name]) for name in FORMATS]
    readers = [_row("dotenv", name, f"--reader {name}: {_DIALECTS[name]}") for name in READERS]
    return (rows[0], *readers, *rows[1:])


def _row(name: str, reader: str | None, purpose: str) -> Carried:
    chosen = load(name, reader)
    options = Options(path="x.tfvars") if name == "tfvars" else PLAIN
    refused = [title for title, value in _PROBES if chosen.refusal("K", value, options)]
    refused += [title for title, key in _NAMES if chosen.refusal(key, b"a", options)]
    carries = "all bytes" if "NUL" not in refused and "bytes that are not UTF-8" not in refused else "text"
    if "bytes that are not UTF-8" not in refused and "NUL" in refused:
        carries = "all bytes but NUL"
    if "line breaks" in refused:  # every mix that is refused holds one
        refused = [title for title in refused if title != "some mixes of quotes"]
    if "CR" in refused:  # then one at the end goes without saying
        refused.remove("CR at the end")
    return Carried(format=name, reader=reader or "", purpose=purpose, carries=carries, refuses=tuple(refused))
