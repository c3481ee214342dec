"""What an entry of the audit log proves: that its key signed this very request, then, and once (protocol section 7).

The signature stands over method, path, query and time of a request. Kind, time and document of the entry are the server's
words, and are held against what was signed: else a signed ``sync`` could be shown as a commit.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qs, unquote

from stronghold_cli.protocol.audit import AuditLeaf
from stronghold_cli.protocol.errors import IntegrityError, MalformedError
from stronghold_cli.protocol.keys import VerifyKey
from stronghold_cli.protocol.names import caseless, nfc
from stronghold_cli.protocol.requests import MAX_SKEW, SignatureBase, parse_signature_base
from stronghold_cli.protocol.state import OrgState

# A leaf's server time is the higher of clock and former leaf, and the clock may be this far behind the former leaf.
_MAX_CLOCK_BEHIND = 60
_ROUTE: Final = re.compile(
    r"(?:/[^/]+)*?/v1/(?:"
    r"orgs/(?P<org>[0-9A-Fa-f]{64})(?P<rest>(?:/[a-z-]+)?)"
    r"|orgs/(?P<owner>[0-9A-Fa-f]{64})/profiles/(?P<profile>[0-9A-Fa-f]{32})/(?P<part>[a-z-]+)"
    r"|(?P<own>pull|self))"
)
# Kind of the key, method, and what follows the org: the kind of the entry.
_KINDS: Final = {
    ("o", "POST", ""): "genesis",
    ("o", "POST", "/commits"): "commit",
    ("o", "POST", "/blobs"): "blobs",
    ("o", "GET", "/blobs"): "blobs-ahead",
    ("o", "POST", "/blobs-forget"): "blobs-forget",
    ("o", "POST", "/turn"): "turn",
    ("o", "GET", "/sync"): "sync",
    ("o", "GET", "/steps"): "steps",
    ("o", "GET", "/keys"): "keys",
    ("o", "GET", "/sealing-keys"): "sealing-keys",
    ("o", "GET", "profile/contents"): "contents",
    ("o", "GET", "profile/old-keys"): "old-keys",
    ("o", "GET", "profile/history"): "history",
    ("o", "GET", "/past"): "past",
    ("o", "GET", "/tokens"): "tokens",
    ("o", "GET", "/audit"): "audit",
    ("l", "GET", "/keyset"): "login",
    ("t", "GET", "pull"): "pull",
    ("t", "GET", "self"): "self",
}


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
    # A server matches the decoded path. Its base path is the server's own affair.
    route = _ROUTE.fullmatch(unquote(signed.path))
    if route is None:
        return False
    if route["own"] is not None:
        asked = route["own"]
    else:
        asked = route["rest"] if route["org"] is not None else f"profile/{route['part']}"
        if bytes.fromhex(route["org"] or route["owner"]) != state.org_id:
            return False
    if _KINDS.get((leaf.key_id.kind, signed.method, asked)) != leaf.kind:
        return False
    if not -MAX_SKEW <= leaf.server_time - signed.created <= MAX_SKEW + _MAX_CLOCK_BEHIND:
        return False
    return _is_asked_for(leaf, signed, route["profile"], state)


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
