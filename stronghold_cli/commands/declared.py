"""The commands that pipelines call in a loop, as plain data: what they are called and which options they take.

Two things are made from it, and nothing else says what these options are: the Typer commands (``typed``), with their help
and their errors, and the strict reader of plain command lines (``plain_words``), which needs no Typer. Typer's import alone
costs four bare interpreters (docs/decisions/hot-commands.md). Options that other commands share stand here too.
"""

from __future__ import annotations

from stronghold_cli.protocol.record import Record

TEXT = "text"  # takes a word; the last one given holds
FLAG = "flag"
MANY = "many"  # takes a word, may be repeated
WORDS = "words"  # all words from the first on that is no option


class Option(Record):
    """One option, or (``WORDS``) what is left of the line. ``keyword`` is the parameter of the function that is called."""

    keyword: str
    kind: str
    names: tuple[str, ...] = ()
    metavar: str | None = None
    help: str


class Command(Record):
    """One command: the words that name it, the function in ``stronghold_cli.commands`` that it calls, and its options."""

    words: tuple[str, ...]
    module: str
    function: str
    options: tuple[Option, ...]

    @property
    def takes_words(self) -> bool:
        """Whether the rest of the line, from the first word on that is no option, belongs to somebody else."""
        return any(option.kind == WORDS for option in self.options)


TOKEN = Option(
    keyword="token",
    kind=TEXT,
    names=("--token",),
    metavar="TOKEN",
    help="An agent's token; - reads it from stdin. Better: STRONGHOLD_TOKEN_FILE.",
)
TOKEN_FILE = Option(
    keyword="token_file", kind=TEXT, names=("--token-file",), metavar="FILE", help="A file that holds an agent's token."
)
PROFILE = Option(
    keyword="profile", kind=TEXT, names=("--profile", "-p"), metavar="PROFILE", help="The profile's name or id."
)
ALLOW_NAME = Option(
    keyword="allow_name",
    kind=MANY,
    names=("--allow-name",),
    metavar="NAME",
    help="Hand on a name that can change what runs.",
)

PULL = Command(
    words=("env", "pull"),
    module="pulling",
    function="pull",
    options=(
        PROFILE,
        Option(
            keyword="output", kind=TEXT, names=("--output", "-o"), metavar="FILE", help="Write to FILE (0600); - is stdout."
        ),
        Option(
            keyword="format_name",
            kind=TEXT,
            names=("--format", "-f"),
            metavar="FORMAT",
            help="dotenv (default), docker, compose, shell, systemd, github, json, yaml, toml, k8s, powershell, tfvars"
            " or csv; see: stronghold env formats",
        ),
        Option(
            keyword="reader",
            kind=TEXT,
            names=("--reader",),
            metavar="READER",
            help="Who reads the .env: python, node, compose, go or ruby; written exactly for that reader.",
        ),
        Option(
            keyword="strict",
            kind=FLAG,
            names=("--strict",),
            help="Refuse what not every reader of a .env takes alike, instead of a warning.",
        ),
        Option(
            keyword="allow",
            kind=MANY,
            names=("--allow",),
            metavar="KEY",
            help="Write this key into a .env though its value holds ${ or $(, or is refused by --strict.",
        ),
        Option(
            keyword="base64_keys",
            kind=MANY,
            names=("--base64",),
            metavar="KEY",
            help="Write this key's value in base64, for formats that cannot carry it as it is.",
        ),
        Option(keyword="only", kind=TEXT, names=("--only",), metavar="A,B", help="Only these secrets."),
        Option(keyword="exclude", kind=TEXT, names=("--exclude",), metavar="A,B", help="All but these secrets."),
        Option(
            keyword="force",
            kind=FLAG,
            names=("--force",),
            help="Replace a file that stronghold did not write, without asking.",
        ),
        ALLOW_NAME,
        TOKEN,
        TOKEN_FILE,
    ),
)
RUN = Command(
    words=("run",),
    module="pulling",
    function="run",
    options=(
        Option(keyword="command", kind=WORDS, metavar="-- COMMAND [ARGS]...", help="The command and its words, exactly."),
        PROFILE,
        ALLOW_NAME,
        TOKEN,
        TOKEN_FILE,
        Option(keyword="quiet", kind=FLAG, names=("--quiet", "-q"), help="Print errors only."),
        Option(keyword="debug", kind=FLAG, names=("--debug",), help="With an error, print the chain of its causes."),
    ),
)
ENV_RUN = RUN.replace(words=("env", "run"))
API_USER = Command(
    words=("auth", "api-user"),
    module="storing",
    function="api_user",
    options=(
        TOKEN,
        TOKEN_FILE,
        Option(keyword="offline", kind=FLAG, names=("--offline",), help="Store the token without asking the server."),
    ),
)

HOT_COMMANDS = (PULL, RUN, ENV_RUN, API_USER)
