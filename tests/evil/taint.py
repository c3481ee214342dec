"""Searching recorded bytes for any part of a secret: every window of 12 bytes, at every place, in the usual spellings.

Windows are found raw, in hex of either case, in base64 of either alphabet at each of the three places of its groups, and as
JSON escapes them; of tokens and kits their own text is looked for too. The haystack is cut into pieces of each needle's
length and looked up in a set, so that a search costs the same for one secret as for a hundred.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from stronghold_cli.protocol.encoding import decode_base64, encode_base64
from stronghold_cli.protocol.errors import MalformedError

WINDOW = 12


class Needles:
    """What is searched for: ``name`` of a secret by each spelling of each of its windows."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        self._by_length: dict[int, dict[bytes, str]] = {}
        for name, secret in secrets.items():
            if len(secret) < WINDOW:
                raise ValueError(f"{name} is too short to be told from chance")
            for needle in _spellings(secret):
                self._by_length.setdefault(len(needle), {})[needle] = name

    def found_in(self, haystacks: Mapping[str, bytes]) -> set[tuple[str, str]]:
        """(secret, haystack) of all that is found."""
        found = set()
        for place, content in haystacks.items():
            for length, needles in self._by_length.items():
                # Only hex has this length, and only hex is the same in either case.
                text = content.lower() if length == 2 * WINDOW else content
                pieces = {text[start : start + length] for start in range(len(text) - length + 1)}
                found |= {(needles[piece], place) for piece in pieces & needles.keys()}
        return found


def _spellings(secret: bytes) -> Iterable[bytes]:
    for start in range(len(secret) - WINDOW + 1):
        window = secret[start : start + WINDOW]
        yield window
        yield window.hex().encode()
        # Base64 depends on the place in the three bytes of a group; the middle of each of the three is certain.
        for shift in range(3):
            text = encode_base64(bytes(shift) + window)
            certain = text[4 if shift else 0 : 4 * ((shift + WINDOW) // 3)].encode()
            yield certain
            yield certain.replace(b"+", b"-").replace(b"/", b"_")
    text = secret.decode("utf-8", "ignore")
    if text.encode() == secret:
        escaped = json.dumps(text)[1:-1].encode()
        for start in range(len(escaped) - WINDOW + 1):
            yield escaped[start : start + WINDOW]


def unfolded(content: bytes, depth: int = 4) -> bytes:
    """The content, and behind it whatever base64 texts of its JSON hold, again unfolded: documents stand in envelopes."""
    try:
        whole = json.loads(content) if depth else None
    except ValueError:
        return content
    parts = [content]
    waiting = [whole]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and len(value) >= WINDOW:
            try:
                parts.append(unfolded(decode_base64(value), depth - 1))
            except MalformedError:
                continue
    return b"\n".join(parts)
