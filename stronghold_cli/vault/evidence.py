"""What an entry of the audit log proves: that its key signed this very request, then, and once (protocol section 7).

The signature stands over method, path, query and time of a request. Kind, time and document of the entry are the server's
words, and are held against what was signed: else a signed ``sync`` could be shown as a commit.
"""

from __future__ import annotations

import re
from itertools import chain, zip_longest
from typing import Final
from urllib.parse import parse_qs, unquote

from stronghold_cli.protocol.audit import AuditLeaf
from stronghold_cli.protocol.errors import IntegrityError, MalformedError
from stronghold_cli.protocol.keys import VerifyKey
from stronghold_cli.protocol.names import caseless, nfc
from stronghold_cli.protocol.request_kinds import REQUEST_KINDS, RequestKind
from stronghold_cli.protocol.requests import MAX_SKEW, SignatureBase, parse_signature_base
from stronghold_cli.protocol.state import OrgState

# A leaf's server time is the higher of clock and former leaf, and the clock may be this far behind the former leaf.
_MAX_CLOCK_BEHIND = 60
_ID_DIGITS: Final = {"org": 64}  # of all others 32


def _pattern(kind: RequestKind) -> re.Pattern[str]:
    """Which decoded paths are of that kind. A server's base path is its own affair, and it takes ids in either case."""
    parts = re.split(r"\{([a-z]+)\}", kind.path)
    ids = [f"(?P<{name}>[0-9A-Fa-f]{{{_ID_DIGITS.get(name, 32)}}})" for name in parts[1::2]]
    texts = [*map(re.escape, parts[::2])]
    return re.compile("(?:/[^/]+)*?" + "".join(chain(*zip_longest(texts, ids, fillvalue=""))))


_PATTERNS: Final = {kind.name: _pattern(kind) for kind in REQUEST_KINDS.values()}


def verify_entry(leaf: AuditLeaf, public_key: bytes) -> None:
    """Return if the entry's request was signed by this key, else raise ``IntegrityError``."""
    try:
        VerifyKey(public_key).verify(leaf.signature, leaf.signature_base.encode("ascii", "replace"))
    except IntegrityError as error:
        raise IntegrityError(
            f"Entry {leaf.index} of the log is not signed by the key that it names.", evidence={"key": leaf.key_id.text}
        ) from error
    if parse_signature_base(leaf.signature_base).key_id != leaf.key_id:
        raise IntegrityError(f"Entry {leaf.index} of the log names another key than its request.")


def is_as_signed(leaf: AuditLeaf, state: OrgState) -> bool:
    """Whether kind, org, time and delivered profile of an entry are those of the request that was signed.

    ``state`` is that under the head which the entry names.
    """
    try:
        signed = parse_signature_base(leaf.signature_base)
    except MalformedError:
        return False
    kind = REQUEST_KINDS.get(leaf.kind)
    if kind is None or signed.method != kind.method:
        return False
    # A key of another kind is refused, and that is logged; nothing is done for it.
    if leaf.outcome == "ok" and leaf.key_id.kind != kind.key_kind:
        return False
    # A server matches the decoded path.
    path = _PATTERNS[kind.name].fullmatch(unquote(signed.path))
    ids = {} if path is None else path.groupdict()
    if path is None or ("org" in ids and bytes.fromhex(ids["org"]) != state.org_id):
        return False
    if not -MAX_SKEW <= leaf.server_time - signed.created <= MAX_SKEW + _MAX_CLOCK_BEHIND:
        return False
    return _is_asked_for(leaf, signed, ids.get("profile"), state)


def require_new(leaf: AuditLeaf, seen: dict[tuple[str, bytes], int]) -> None:
    """Raise ``IntegrityError`` where another entry of those ``seen`` holds the same request; else add this one."""
    try:
        signed = parse_signature_base(leaf.signature_base)
    except MalformedError:
        return  # it is not shown as verified
    former = seen.setdefault((leaf.key_id.text, signed.nonce), leaf.index)
    if former != leaf.index:
        raise IntegrityError(
            f"Entries {leaf.index} and {former} of the log hold the same request.", evidence={"key": leaf.key_id.text}
        )


def _is_asked_for(leaf: AuditLeaf, signed: SignatureBase, profile_in_path: str | None, state: OrgState) -> bool:
    """Whether the profile that was delivered is the one that the request names, where it names one."""
    if leaf.document is None or leaf.document.kind != "contents":
        return True
    if profile_in_path is not None:
        return bytes.fromhex(profile_in_path) == leaf.document.id
    query = parse_qs(signed.query)
    if "profile_id" in query:
        return query["profile_id"][0].lower() == leaf.document.id.hex()
    if "profile" not in query:
        return True
    profile = state.profiles.get(leaf.document.id)
    return profile is not None and caseless(profile.name) == caseless(nfc(query["profile"][0]))
