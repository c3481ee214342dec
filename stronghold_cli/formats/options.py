"""What a caller may wish of a format beyond its name. Each format reads what concerns it and leaves the rest."""

from __future__ import annotations

from stronghold_cli.protocol.record import Record


class Options(Record):
    """``strict`` and the names ``allowed`` are for dotenv, the target's ``path`` for tfvars, a ``title`` for k8s."""

    strict: bool = False
    allowed: frozenset[str] = frozenset()
    path: str = ""
    title: str = ""


PLAIN = Options()
