"""Who sent this request: the server's half of protocol section 6, up to the verified signature.

In order: the signature headers are there and of the one form; the key id is known (tokens on the whole server, operators
inside the org of the route); ``created`` is at most 60 s away; the signature verifies. Whether the pair (key id, nonce) is
new is asked in the transaction of the audit entry (``ledger``). What the caller may do is asked by the routes.
"""

from __future__ import annotations

from functools import lru_cache

from stronghold_cli.protocol.errors import IntegrityError, MalformedError, Refused
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.requests import MAX_SKEW, RequestSignature, parse_request
from stronghold_server.received import Received
from stronghold_server.refusals import Unlogged
from stronghold_server.store.interface import OperatorRow, Reader, TokenRow
from stronghold_server.verifying import RequestKey

# What stands in place of a login key where an operator has no login record on this server: no key at all.
NO_LOGIN_KEY = bytes(32)


class Caller(Record):
    """A verified signer. Exactly one of ``token`` and ``operator`` is set."""

    org_id: bytes
    signature: RequestSignature
    token: TokenRow | None
    operator: OperatorRow | None


def read_signature(received: Received) -> RequestSignature:
    """The request's signature, of the one form, with its body's digest checked; ``Unlogged`` otherwise."""
    if not received.signature and not received.signature_input:
        raise Unlogged("TOKEN_MISSING", "the request carries no signature")
    try:
        return parse_request(
            method=received.method,
            authority=received.authority,
            target=received.target,
            content_digest=received.content_digest,
            signature_input=received.signature_input,
            signature=received.signature,
            body=received.body,
        )
    except MalformedError as error:
        raise Unlogged("MALFORMED", error.message, counted="malformed") from error


def authenticate(signature: RequestSignature, reader: Reader, org_id: bytes | None, key_kind: str, now: int) -> Caller:
    """Find the request's key and verify its signature.

    ``org_id`` is that of the route, None where the route is for tokens; ``key_kind`` the kind of key that the route is for.
    Raises ``Unlogged``. A key of another kind that this org knows is verified all the same: its request is then refused
    with an audit entry (``require_kind``).
    """
    caller = _find_caller(signature, reader, org_id, key_kind)
    verify(signature, _public_key(caller), now)
    return caller


def verify(signature: RequestSignature, public_key: bytes, now: int) -> None:
    """Check the clock, then the signature; raises ``Unlogged``."""
    if abs(now - signature.created) > MAX_SKEW:
        raise Unlogged(
            "CLOCK_SKEW",
            "the time of the request is more than a minute away from the server's",
            counted="clock_skew",
        )
    try:
        signature.verify(_request_key(public_key))
    except IntegrityError as error:
        raise Unlogged("SIGNATURE_INVALID", "the signature of the request does not verify", counted="malformed") from error


def require_kind(caller: Caller, key_kind: str) -> None:
    """Each kind of key is good for its own routes only; and an operator who was removed for none."""
    if caller.signature.key_id.kind != key_kind:
        raise Refused("FORBIDDEN", "this kind of key is not for this route")
    if caller.operator is not None and caller.operator.ended:
        raise Refused("OPERATOR_REMOVED", "this operator was removed from the org")


def _find_caller(signature: RequestSignature, reader: Reader, org_id: bytes | None, key_kind: str) -> Caller:
    key_id = signature.key_id
    if key_id.kind == "t":
        token = reader.token(key_id.raw)
        if token is None or org_id not in (None, token.org_id):
            raise Unlogged("TOKEN_INVALID", "this server does not know the token", counted="unknown_key")
        return Caller(org_id=token.org_id, signature=signature, token=token, operator=None)
    if key_id.kind not in ("o", "l") or org_id is None:
        # Without an org to look in, or with a kind that no route takes yet, no key can be found.
        raise Unlogged("FORBIDDEN", f"this route is for keys of the kind {key_kind}", counted="unknown_key")
    operator = reader.operator(org_id, key_id.raw)
    if operator is None or (key_id.kind == "l" and operator.login_key == NO_LOGIN_KEY):
        raise Unlogged("OPERATOR_UNKNOWN", "this org has no such operator", counted="unknown_key")
    return Caller(org_id=org_id, signature=signature, token=None, operator=operator)


def _public_key(caller: Caller) -> bytes:
    if caller.token is not None:
        return caller.token.auth_public_key
    if caller.operator is None:
        raise Unlogged("INTERNAL", "a caller has no key")
    return caller.operator.login_key if caller.signature.key_id.kind == "l" else caller.operator.request_key


@lru_cache(maxsize=4096)
def _request_key(raw: bytes) -> RequestKey:
    return RequestKey(raw)
