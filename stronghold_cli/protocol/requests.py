"""Signed requests: the one profile of RFC 9421 that the protocol allows (protocol section 6, rule R12).

The client signs method, authority, path, query and body digest with a fixed set of parameters; the server accepts exactly
that text and nothing that merely means the same. Looking keys up, the clock (``MAX_SKEW``) and the table of used nonces
(``REPLAY_SECONDS``) are the server's; what is parsed here is not believed before ``RequestSignature.verify``.

The signature base is RFC 9421, section 2.5, and is what the audit log keeps: ``parse_signature_base`` reads it back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

from stronghold_cli.protocol.encoding import decode_base64, decode_hex, decode_integer, digest, encode_base64
from stronghold_cli.protocol.errors import MalformedError
from stronghold_cli.protocol.keys import SigningKey, VerifyKey
from stronghold_cli.protocol.record import Record

MAX_SKEW = 60
REPLAY_SECONDS = 600
MAX_HEADER = 1024
MAX_TARGET = 2048
MAX_CREATED = 10**15 - 1
NONCE_BYTES = 16
SIGNATURE_BYTES = 64

# Which key a request is signed with: token, operator, login, invite, root; and the length of the id that names it.
KEY_ID_BYTES = {"t": 16, "o": 16, "l": 16, "i": 16, "r": 32}

_KEY_ID = r"[toli]:[0-9a-f]{32}|r:[0-9a-f]{64}"
_METHOD = r"[A-Z]{1,16}"
_AUTHORITY = r"[a-z0-9._:\[\]-]{1,261}"
_PATH = r'/[!"$->@-~]*'  # printable ASCII without blank, "#" and "?"
_QUERY = r'[!"$-~]+'
_CONTENT_DIGEST = r"sha-256=:(?P<digest>[A-Za-z0-9+/]{43}=):"
_PARAMETERS = (
    r'\("@method" "@authority" "@path" "@query" "content-digest"\)'
    r';created=(?P<created>0|[1-9][0-9]{0,14});nonce="(?P<nonce>[0-9a-f]{32})"'
    rf';keyid="(?P<key_id>{_KEY_ID})";alg="ed25519";tag="stronghold-v1"'
)
_DIGEST_OF_NOTHING = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
# Patterns, compiled when they are first used (``re`` keeps them): a client signs and never parses.
_TARGET = rf"(?P<path>{_PATH})(?:\?(?P<query>{_QUERY}))?"
_SIGNATURE_INPUT = rf"sh=(?P<parameters>{_PARAMETERS})"
_SIGNATURE = r"sh=:(?P<signature>[A-Za-z0-9+/]{86}==):"
_BASE = (
    rf'"@method": (?P<method>{_METHOD})\n'
    rf'"@authority": (?P<authority>{_AUTHORITY})\n'
    rf'"@path": (?P<path>{_PATH})\n'
    rf'"@query": \?(?P<query>(?:{_QUERY})?)\n'
    rf'"content-digest": {_CONTENT_DIGEST}\n'
    rf'"@signature-params": {_PARAMETERS}'
)


class KeyId(Record):
    """Which key signs: ``kind`` is ``t``, ``o``, ``l``, ``i`` or ``r``; ``raw`` the id's bytes (``r``: 32, else 16)."""

    kind: str
    raw: bytes

    @property
    def text(self) -> str:
        """The form in requests and in the log, e.g. ``t:`` and 32 hex digits."""
        return f"{self.kind}:{self.raw.hex()}"


class SignedHeaders(Record):
    """The values of the three headers that a signed request carries."""

    names: ClassVar[tuple[str, str, str]] = ("Content-Digest", "Signature-Input", "Signature")

    content_digest: str
    signature_input: str
    signature: str

    def items(self) -> tuple[tuple[str, str], ...]:
        """The headers as (name, value)."""
        return tuple(zip(self.names, (self.content_digest, self.signature_input, self.signature), strict=True))


class RequestSignature(Record):
    """What a request says about its signer: of the right form, its body's digest checked, the signature not yet verified."""

    key_id: KeyId
    created: int
    nonce: bytes
    base: str
    signature: bytes

    def verify(self, key: VerifyKey) -> None:
        """Return if the signature over the base verifies under ``key``, else raise ``IntegrityError``."""
        key.verify(self.signature, self.base.encode("ascii"))


class SignatureBase(Record):
    """The parts of a signature base; ``query`` is without its question mark, ``content_sha256`` the digest of the body."""

    method: str
    authority: str
    path: str
    query: str
    content_sha256: bytes
    key_id: KeyId
    created: int
    nonce: bytes


def parse_key_id(text: str) -> KeyId:
    """The key id of ``kind:hex``; raises ``MalformedError`` for any other text."""
    if not re.fullmatch(_KEY_ID, text):
        raise MalformedError("a key id is not one of t:, o:, l:, i: with 32 or r: with 64 hex digits")
    return _matched_key_id(text)


def sign_request(
    key: SigningKey, key_id: KeyId, *, method: str, authority: str, target: str, body: bytes, created: int, nonce: bytes
) -> tuple[SignedHeaders, str]:
    """Sign a request; returns its three headers and the signature base.

    ``authority`` is lower case without the default port; ``target`` as on the request line (base path and raw path, then
    ``?query`` unless that is empty); ``created`` Unix seconds; ``nonce`` 16 new random bytes for every attempt. Raises
    ``MalformedError`` for anything that the server would not accept.
    """
    if len(nonce) != NONCE_BYTES:
        raise MalformedError(f"a nonce has {len(nonce)} bytes instead of {NONCE_BYTES}")
    if not 0 <= created <= MAX_CREATED:
        raise MalformedError("the time of a request is out of range")
    content_digest = _content_digest(body)
    parameters = (
        '("@method" "@authority" "@path" "@query" "content-digest")'
        f';created={created};nonce="{nonce.hex()}";keyid="{parse_key_id(key_id.text).text}";alg="ed25519";tag="stronghold-v1"'
    )
    base = _signature_base(method, authority, target, content_digest, parameters)
    signature = encode_base64(key.sign(base.encode("ascii")))
    headers = SignedHeaders(content_digest=content_digest, signature_input=f"sh={parameters}", signature=f"sh=:{signature}:")
    return headers, base


def parse_request(
    *,
    method: str,
    authority: str,
    target: str,
    content_digest: list[str],
    signature_input: list[str],
    signature: list[str],
    body: bytes,
) -> RequestSignature:
    """Read the signature of a received request; raises ``MalformedError`` for all but the one profile.

    The three headers are given as all lines of that name: exactly one each is accepted. ``authority`` is the server's own
    configured name, not the Host header; ``target`` and ``body`` are the bytes received. The body's digest is checked here.
    """
    expected_digest = _content_digest(body)  # there is one text for each digest
    if content_digest != [expected_digest]:
        _one_header(content_digest, "Content-Digest", _CONTENT_DIGEST)
        raise MalformedError("the Content-Digest is not that of the body")
    parameters = _one_header(signature_input, "Signature-Input", _SIGNATURE_INPUT)
    signed = _one_header(signature, "Signature", _SIGNATURE)
    return RequestSignature(
        key_id=_matched_key_id(parameters["key_id"]),
        created=decode_integer(parameters["created"]),
        nonce=decode_hex(parameters["nonce"], NONCE_BYTES),
        base=_signature_base(method, authority, target, expected_digest, parameters["parameters"]),
        signature=decode_base64(signed["signature"], length=SIGNATURE_BYTES),
    )


def parse_signature_base(base: str) -> SignatureBase:
    """Read a signature base, as an audit entry keeps it; raises ``MalformedError`` for any other text."""
    match = re.fullmatch(_BASE, base)
    if not match:
        raise MalformedError("a signature base does not have the one form")
    return SignatureBase(
        method=match["method"],
        authority=match["authority"],
        path=match["path"],
        query=match["query"],
        content_sha256=decode_base64(match["digest"], length=32),
        key_id=_matched_key_id(match["key_id"]),
        created=decode_integer(match["created"]),
        nonce=decode_hex(match["nonce"], NONCE_BYTES),
    )


def _matched_key_id(text: str) -> KeyId:
    """The key id of a text that is of the one form."""
    return KeyId(kind=text[0], raw=decode_hex(text[2:], KEY_ID_BYTES[text[0]]))


def _signature_base(method: str, authority: str, target: str, content_digest: str, parameters: str) -> str:
    """RFC 9421, section 2.5: one line per component, the parameters last, no line feed at the end."""
    return f'{_components(method, authority, target)}"content-digest": {content_digest}\n"@signature-params": {parameters}'


@lru_cache(maxsize=1024)
def _components(method: str, authority: str, target: str) -> str:
    """The first four lines; a pipeline asks for the same again and again."""
    if not re.fullmatch(_METHOD, method):
        raise MalformedError("a request's method is not an upper-case word")
    if not re.fullmatch(_AUTHORITY, authority):
        raise MalformedError("a request's authority is not a lower-case host and port")
    parts = re.fullmatch(_TARGET, target) if len(target) <= MAX_TARGET else None
    if not parts:
        raise MalformedError(f"a request's target is not a path and query of at most {MAX_TARGET} printable characters")
    return f'"@method": {method}\n"@authority": {authority}\n"@path": {parts["path"]}\n"@query": ?{parts["query"] or ""}\n'


def _content_digest(body: bytes) -> str:
    """RFC 9530, with SHA-256 alone."""
    return f"sha-256=:{encode_base64(digest(body))}:" if body else _DIGEST_OF_NOTHING


def _one_header(lines: Sequence[str], name: str, form: str) -> re.Match[str]:
    if len(lines) != 1:
        raise MalformedError(f"a request has {len(lines)} headers {name} instead of one")
    match = re.fullmatch(form, lines[0]) if len(lines[0]) <= MAX_HEADER else None
    if not match:
        raise MalformedError(f"the header {name} of a request does not have the one form")
    return match
