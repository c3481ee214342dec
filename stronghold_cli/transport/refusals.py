"""What an answer means: the body, or one of our errors (protocol section 6; "Believed unsigned").

Of a refusal only its code and ``Retry-After`` are believed. The sentence is ours, from the table below: whatever text the
server sends is not shown.
"""

from __future__ import annotations

import time

from stronghold_cli.protocol.encoding import decode_json
from stronghold_cli.protocol.errors import ClientTooOld, MalformedError, Refused, Unavailable
from stronghold_cli.transport.route import Route
from stronghold_cli.transport.wire import WireAnswer, not_stronghold
from stronghold_cli.version import PROTOCOL_VERSION

PROTOCOL = str(PROTOCOL_VERSION)
PROTOCOL_HEADER = "stronghold-protocol"
MAX_RETRY_AFTER = 30
ERROR_BYTES = 64 << 10

_CODE_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")

# Code: what happened, and what to do.
SENTENCES: dict[str, tuple[str, str]] = {
    "TOKEN_MISSING": ("The request carried no signature.", "Run: stronghold auth status"),
    "TOKEN_MALFORMED": ("The server cannot read the request's signature.", "Update this program, or the server."),
    "TOKEN_INVALID": (
        "The server does not know this key: the token or operator is of another server, or is gone.",
        "Check that the token belongs to this server; ask an admin for a new one.",
    ),
    "TOKEN_REVOKED": ("The token has been revoked.", "Ask an admin for a new one: stronghold token mint AGENT"),
    "TOKEN_EXPIRED": ("The token, or its agent, has expired.", "Ask an admin for a new one: stronghold token mint AGENT"),
    "TOKEN_EXHAUSTED": ("The token has been used as often as it may be.", "Ask an admin for a new one."),
    "AGENT_PAUSED": ("The agent is paused.", "Ask an admin of the org to activate it."),
    "LOCKED_DOWN": ("A lockdown is in force for this agent.", "Ask an admin of the org."),
    "ADDRESS_DENIED": ("The token may not be used from this network address.", "Ask an admin for the addresses it allows."),
    "PROFILE_FORBIDDEN": (
        "This agent may not read that profile, or there is no such profile.",
        "Run: stronghold auth status. It lists the profiles that the agent may read.",
    ),
    "PROFILE_REQUIRED": (
        "No profile was named, and this agent has more than one to choose from, or none.",
        "Give one with --profile. The profiles that the agent may read are listed by: stronghold auth status",
    ),
    "FORBIDDEN": ("The role of this operator does not allow that.", "Ask an admin."),
    "REPLAYED": (
        "The server has seen this very request before.",
        "Try again; if it happens again, something repeats requests.",
    ),
    "RATE_LIMITED": ("The server takes no more requests at the moment.", "Try again later."),
    "AUTHORITY_UNKNOWN": (
        "The server does not know itself under the address that was used.",
        "Use the address that the server prints at its start, or add this one to its setting 'authorities'.",
    ),
    "CLIENT_TOO_OLD": ("The server demands a newer version of this program.", "Update it."),
    "CONFLICT": ("The state on the server changed meanwhile, or the name is taken.", "Try again."),
    "NOT_FOUND": (
        "The server has no such thing.",
        "Check the name or id, and the org that is meant: stronghold context list",
    ),
    "ANCHOR_UNKNOWN": (
        "The server does not have the newest state that was verified here: it lost changes, or holds them back.",
        "Ask whoever runs it. If its data is lost for good: stronghold auth reset-mark, which says what that gives up.",
    ),
    "SETUP_CODE_INVALID": (
        "The setup code is not valid, or has been used.",
        "Make a new one where the server runs: stronghold server setup-code",
    ),
    "TOO_LARGE": ("The request is larger than the server takes.", "Do it in smaller steps."),
    "COMMIT_REFUSED": ("The server refused the change: a rule of the protocol forbids it.", "Run: stronghold doctor"),
    "OPERATOR_REMOVED": ("This operator was removed from the org.", "Ask an admin of the org for an invite."),
    "OPERATOR_UNKNOWN": (
        "The server does not know this operator.",
        "Check that the org is on this server: stronghold context list",
    ),
    "SIGNATURE_INVALID": (
        "The server does not accept the signature of the request.",
        "The key is not the one that stands in the org; log in again: stronghold auth login",
    ),
    "HISTORY_FULL": (
        "The profile keeps as many old versions of its secrets as the server allows, so nothing more can be written there.",
        "An admin makes room with: stronghold secret purge --all --keep 10 --profile PROFILE",
    ),
    "MALFORMED": ("The server cannot read the request.", "Update this program, or the server."),
}


def read_answer(answer: WireAnswer, route: Route, *, version: str, now: int) -> bytes:
    """The body of a 2xx answer; everything else raises.

    ``Refused`` for 4xx with a code, ``Unavailable`` for 5xx (the server's code kept, where it sent one), ``ClientTooOld``
    for another protocol version, ``NOT_STRONGHOLD`` or ``REDIRECTED`` for what no server of ours answers.
    """
    spoken = answer.headers.get(PROTOCOL_HEADER)
    if spoken is not None and spoken != PROTOCOL:
        raise _other_protocol(spoken, route, version)
    code = _code_of(answer.body)
    if answer.status >= 500:
        raise _unavailable(answer, route, code)
    if 300 <= answer.status < 400:
        raise not_stronghold(
            f"The server at {route.authority} answered {answer.status}, which points elsewhere: that is not followed.",
            code="REDIRECTED",
        )
    if answer.status >= 400 and code:
        raise _refused(answer, code, now)
    if spoken is None or not 200 <= answer.status < 300:
        raise not_stronghold(f"What answers at {route.base_url} is no Stronghold server (status {answer.status}).")
    return answer.body


def retry_after(answer: WireAnswer) -> int | None:
    """``Retry-After`` in seconds; ``None`` where it is missing or no number of seconds."""
    text = answer.headers.get("retry-after", "").strip()
    return int(text) if _is_number(text, 9) else None


def _code_of(body: bytes) -> str:
    """The code in ``{"error": {"code": …}}``, or nothing; what else stands there is of no interest."""
    try:
        whole = decode_json(body, ERROR_BYTES)
    except MalformedError:
        return ""
    error = whole.get("error") if isinstance(whole, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and _is_code(code) else ""


def _is_code(text: str) -> bool:
    """Whether ``text`` is 2 to 40 capitals, digits and underscores, a capital first."""
    return 2 <= len(text) <= 40 and _CODE_CHARACTERS.issuperset(text) and text[0].isalpha()


def _is_number(text: str, most_digits: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= most_digits


def _refused(answer: WireAnswer, code: str, now: int) -> Refused:
    if code == "CLOCK_SKEW":
        own = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        sentence, hint = (
            f"The server's clock and this machine's differ too much; here it is {own}.",
            ("Set this machine's clock, for example with: timedatectl set-ntp true. If it is right, the server's is wrong."),
        )
    else:
        sentence, hint = SENTENCES.get(
            code, (f"The server refused the request with the code {code}.", "Run: stronghold doctor")
        )
    wait = retry_after(answer)
    if code == "RATE_LIMITED" and wait is not None:
        hint = f"Try again in {wait} s: what one key may ask is limited, or the server is busy."
    return Refused(code, sentence, hint=hint, retry_after=wait)


def _unavailable(answer: WireAnswer, route: Route, code: str) -> Unavailable:
    what = f" and the code {code}" if code else ""
    return Unavailable(
        f"The server at {route.authority} failed with status {answer.status}{what}.",
        hint="Try again later; its operator finds the cause in its log.",
        code=code or None,
    )


def _other_protocol(spoken: str, route: Route, version: str) -> ClientTooOld:
    known = spoken if _is_number(spoken, 6) else "an unreadable version"
    older = known.isdigit() and int(known) < int(PROTOCOL)
    return ClientTooOld(
        f"The server at {route.authority} speaks protocol {known}, this program (stronghold {version}) speaks {PROTOCOL}.",
        hint="Update the server." if older else "Update this program.",
    )
