"""What people type about tokens and agents, made into the values of documents: limits, labels, and ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.protocol.encoding import MAX_INTEGER, JsonValue
from stronghold_cli.protocol.errors import UsageError

if TYPE_CHECKING:
    from stronghold_cli.protocol.documents.agent import Limits, Rate

CidrOption = Annotated[
    list[str] | None,
    typer.Option("--cidr", metavar="CIDR", help="An address range from which it may be used, e.g. 10.0.0.0/8; repeatable."),
]
RateOption = Annotated[
    str | None, typer.Option("--rate", metavar="60/min", help="How often it may be used: a number per s, min, h or day.")
]
UsesOption = Annotated[int | None, typer.Option("--uses", metavar="N", help="How many times it may pull, in all.")]

_MAX_RANGES = 64
_MAX_REQUESTS = 1_000_000
_UNITS = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "d": 86_400,
    "day": 86_400,
}
_RATE = re.compile(rf"([0-9]{{1,9}})\s*/\s*([0-9]{{1,9}})?\s*({'|'.join(_UNITS)})")


def read_limits(cidr: Sequence[str] | None, rate: str | None, uses: int | None) -> Limits | None:
    """The limits that the options give; ``None`` where none of them was given."""
    from stronghold_cli.protocol.documents.agent import Limits

    if not cidr and rate is None and uses is None:
        return None
    if uses is not None and not 1 <= uses <= MAX_INTEGER:
        raise UsageError(f"--uses {uses} is no number of uses.", hint="Give a number from 1 on.")
    addresses = tuple(dict.fromkeys(_range(text) for text in cidr or ()))
    if len(addresses) > _MAX_RANGES:
        raise UsageError(f"{len(addresses)} address ranges were given; {_MAX_RANGES} is the limit.")
    return Limits(addresses=addresses, rate=None if rate is None else _rate(rate), uses=uses)


def tell_limits(limits: Limits) -> str:
    """The limits in words; empty where there are none."""
    parts = []
    if limits.addresses:
        parts.append(f"from {', '.join(limits.addresses)}")
    if limits.rate is not None:
        parts.append(f"at most {limits.rate.requests} in {_period(limits.rate.seconds)}")
    if limits.uses is not None:
        parts.append(f"{limits.uses} {'use' if limits.uses == 1 else 'uses'} in all")
    return "; ".join(parts)


def limits_value(limits: Limits) -> JsonValue:
    """The limits as JSON, in the words of the protocol."""
    rate = limits.rate
    return {
        "addresses": list(limits.addresses),
        "rate": None if rate is None else {"requests": rate.requests, "seconds": rate.seconds},
        "uses": limits.uses,
    }


def read_labels(texts: Sequence[str]) -> dict[str, str]:
    """Labels typed as ``KEY=VALUE``; a key that is given twice with two values is a mistake."""
    from stronghold_cli.protocol.names import is_label, nfc

    labels: dict[str, str] = {}
    for text in texts:
        key, equals, value = nfc(text).partition("=")
        if not equals or not is_label(key, value):
            raise UsageError(
                f"{text[:80]!r} is not a label.",
                hint="Write KEY=VALUE, each of 1 to 63 characters without blanks, commas and '='.",
            )
        if labels.get(key, value) != value:
            raise UsageError(f"The label {key!r} was given twice, with two values.", hint="Give it once.")
        labels[key] = value
    return labels


def _range(text: str) -> str:
    """A range in the one form that documents have: ``10.0.0.0/8``; a single address stands for itself."""
    import ipaddress

    wrong = f"--cidr {text[:60]!r} is not an address range."
    try:
        loose = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise UsageError(wrong, hint="Write it like 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32.") from error
    try:
        exact = ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise UsageError(wrong, hint=f"It names an address within a range. Did you mean {loose}?") from error
    if "%" in text or (isinstance(exact, ipaddress.IPv6Network) and exact.network_address.ipv4_mapped is not None):
        # The server knows its clients by their plain addresses; such a range would never hold any of them.
        raise UsageError(wrong, hint="Leave the zone out, and write IPv4 addresses as such.")
    return str(exact)


def _rate(text: str) -> Rate:
    from stronghold_cli.protocol.documents.agent import Rate

    match = _RATE.fullmatch(text.strip().casefold())
    hint = f"Write it like 60/min, 10/s, 1000/h or 5/10s: at most {_MAX_REQUESTS}, in at most a day."
    if match is None:
        raise UsageError(f"--rate {text[:40]!r} is not a rate.", hint=hint)
    requests, seconds = int(match[1]), int(match[2] or 1) * _UNITS[match[3]]
    if not (1 <= requests <= _MAX_REQUESTS and 1 <= seconds <= 86_400):
        raise UsageError(f"--rate {text[:40]!r} is out of bounds.", hint=hint)
    return Rate(requests=requests, seconds=seconds)


def _period(seconds: int) -> str:
    size, name = next((size, name) for size, name in _PERIODS if seconds % size == 0)
    return name if seconds == size else f"{seconds // size} {name.partition(' ')[2]}s"


_PERIODS = ((86_400, "a day"), (3600, "an hour"), (60, "a minute"), (1, "a second"))
