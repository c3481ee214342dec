"""``init``: from a running server to an unlocked admin with an org, in one command."""

from __future__ import annotations

from typing import Annotated

import typer

from stronghold_cli.commands.founding import LOCAL_SERVER, Wishes, found_org

ServerOption = Annotated[
    str | None, typer.Option("--server", metavar="URL", help=f"The server; default {LOCAL_SERVER}, or STRONGHOLD_URL.")
]
SetupCodeOption = Annotated[
    str | None, typer.Option("--setup-code", metavar="CODE", help="The server's setup code. Better: --setup-code-file.")
]
SetupCodeFileOption = Annotated[
    str | None,
    typer.Option("--setup-code-file", metavar="FILE", help="A file with the setup code; that of a local server is found."),
]
OperatorNameOption = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Your own name; default: login name.")
]
NewPassphraseOption = Annotated[
    str | None, typer.Option("--passphrase-file", metavar="FILE", help="A file with the new passphrase, on one line.")
]
KitFileOption = Annotated[
    str | None, typer.Option("--kit-file", metavar="FILE", help="Write both kits to a new file (0600), do not show them.")
]
ContextOption = Annotated[
    str | None, typer.Option("--context", metavar="NAME", help="Name of the org on this machine; default: the org's.")
]
ProjectOption = Annotated[
    bool, typer.Option("--project", help="Write .stronghold.toml here, so that this folder means the org.")
]


def init(
    org: Annotated[str | None, typer.Option("--org", metavar="NAME", help="The new org's name.")] = None,
    name: OperatorNameOption = None,
    server: ServerOption = None,
    setup_code: SetupCodeOption = None,
    setup_code_file: SetupCodeFileOption = None,
    passphrase_file: NewPassphraseOption = None,
    kit_file: KitFileOption = None,
    context: ContextOption = None,
    project: ProjectOption = False,
) -> None:
    """Set up an org on a server: makes its keys, shows both kits once, and leaves you unlocked on this machine.

    Asks for what is not given: the org's name, and a new passphrase twice.

    Example: stronghold init --org "Example Inc"
    """
    found_org(
        Wishes(
            server=server,
            org=org,
            name=name,
            context=context,
            passphrase_file=passphrase_file,
            setup_code=setup_code,
            setup_code_file=setup_code_file,
            kit_file=kit_file,
            project=project,
        )
    )
