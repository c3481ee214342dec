"""docs/protocol.md and the code name the same members, limits, routes, codes, rules and attacks."""

from __future__ import annotations

import re
from pathlib import Path

from stronghold_cli.protocol import audit
from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.base import SIZE_LIMITS, Document
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.invite import Invite
from stronghold_cli.protocol.documents.login import Acceptance, Login
from stronghold_cli.protocol.documents.org import Org
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.documents.structure import Structure
from stronghold_server.refusals import STATUSES
from stronghold_server.routes import ROUTES

TEXT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
KINDS: tuple[type[Document], ...] = (
    Org, Structure, Agent, Group, Profile, Invite, Contents, Head, Login, Acceptance,
)  # fmt: skip


def section(number: int) -> str:
    """The text of one section."""
    return TEXT.split(f"\n## {number}. ")[1].split("\n## ")[0]


def rows(text: str, header: str) -> list[list[str]]:
    """The cells of the table that begins with ``header``."""
    lines = text.split(f"{header}\n")[1].split("\n\n", maxsplit=1)[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in lines]


def words(cell: str) -> list[str]:
    """The words in backticks of a cell."""
    return re.findall(r"`([^`]+)`", cell)


def test_members_and_sizes_of_documents() -> None:
    described = {
        words(kind)[0]: (int(size), words(members))
        for kind, size, members in rows(section(11), "| kind | bytes at most | members |")
    }
    assert described == {kind.KIND: (SIZE_LIMITS[kind.KIND], list(kind._json_names())) for kind in KINDS}
    assert described.keys() == SIZE_LIMITS.keys()


def test_members_of_the_audit_leaf() -> None:
    assert [words(row[0])[0] for row in rows(section(12), "| member | value |")] == list(audit._LEAF_MEMBERS)
    assert f"At most {audit.MAX_LEAF:,} bytes." in section(12)


def test_routes() -> None:
    described = {
        words(kind)[0]: (words(route)[0], words(key), roles.split(", ") if roles != "–" else [], words(query))
        for kind, route, key, roles, query in rows(section(13), "| kind | route | key | roles | query |")
    }
    assert described == {
        route.kind: (
            f"{route.method} {route.path}",
            [route.key_kind] if route.key_kind else [],
            list(route.roles),
            [parameter.name for parameter in route.parameters],
        )
        for route in ROUTES
    }


def test_codes_of_the_server_with_their_status() -> None:
    described = {words(row[0])[0]: int(row[1]) for row in rows(section(13), "| code | status | when |")}
    assert described == STATUSES


def test_rules_and_attacks_are_numbered_without_a_gap() -> None:
    assert [int(number) for number in re.findall(r"\bR(\d+) ", section(9))] == list(range(1, 23))
    numbers = [int(number) for number in re.findall(r"(?:^|[:;.] |; |\*: |\n)(\d{1,2}) (?=[a-z`A-Z])", section(10))]
    assert sorted(set(numbers) & set(range(1, 58))) == list(range(1, 58))


def test_attacks_that_the_code_names_are_in_the_list() -> None:
    root = Path(__file__).parents[2]
    named = {
        int(number)
        for folder in ("stronghold_cli", "server")
        for path in (root / folder).rglob("*.py")
        for number in re.findall(r"\battack (\d+)", path.read_text(encoding="utf-8"))
    }
    assert named
    assert named <= set(range(1, 58))
