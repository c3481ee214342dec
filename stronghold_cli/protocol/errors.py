"""The tree of typed errors, shared by client and server.

Every error has a stable ``code``, one sentence for a person, and an optional hint that says what to do. Errors are raised
where they are known and printed in one place (``stronghold_cli.output`` on the client, ``app`` on the server); none of
them prints, exits or carries a secret::

    StrongholdError
     ├─ IntegrityError            what was received cannot be trusted
     │   ├─ MalformedError        … because it does not parse
     │   └─ RuleError             … because one document may not follow, or stand beside, another
     ├─ ClientTooOld              a signed document demands a newer client
     ├─ TokenMalformed            a token or kit whose text is damaged; told offline
     ├─ Refused                   a documented refusal: by the server, or told from signed documents
     ├─ Unavailable               no answer: connection, time-out, 5xx
     ├─ NotAuthenticated          no identity, or a locked session
     ├─ UsageError                the words of a command, or a name or value given by a person
     ├─ NotFound                  a name or id that does not exist
     ├─ Conflict                  the state changed meanwhile, or a name is taken
     ├─ LocalFileError            a file or folder of this machine
     ├─ Unwritable                a value that a format cannot carry
     └─ Findings                  a validation that found something
"""

from __future__ import annotations

from collections.abc import Mapping


class StrongholdError(Exception):
    """Base of all errors that a person may see: ``message`` is one sentence, ``hint`` says what to do."""

    code = "FAILED"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code


class IntegrityError(StrongholdError):
    """Something received or stored cannot be trusted. ``evidence`` names what was compared, never a secret."""

    code = "INTEGRITY"

    def __init__(self, message: str, *, hint: str = "", evidence: Mapping[str, object] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.evidence = dict(evidence or {})


class MalformedError(IntegrityError):
    """Bytes that do not have the one form that the protocol allows (rule R18)."""

    code = "MALFORMED"


class RuleError(IntegrityError):
    """A document, or a step from one state to the next, that the rules of protocol section 5 forbid."""

    code = "RULE_BROKEN"


class ClientTooOld(StrongholdError):
    """A signed document demands something that this program does not know."""

    code = "CLIENT_TOO_OLD"


class TokenMalformed(StrongholdError):
    """The text of a token, invite or kit is damaged: told offline, from its checksum and layout."""

    code = "TOKEN_MALFORMED"


class Refused(StrongholdError):
    """A documented refusal; ``code`` is one of protocol section 6, e.g. ``TOKEN_REVOKED``."""

    code = "REFUSED"

    def __init__(self, code: str, message: str, *, hint: str = "", retry_after: int | None = None) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retry_after = retry_after


class Unavailable(StrongholdError):
    """The server did not answer: connection, time-out, or a 5xx status."""

    code = "SERVER_UNAVAILABLE"


class NotAuthenticated(StrongholdError):
    """Nobody is acting: no token, no operator, or a locked session."""

    code = "NOT_AUTHENTICATED"


class UsageError(StrongholdError):
    """The command's words are off, or a name or value that a person gave is not legal."""

    code = "USAGE"


class NotFound(StrongholdError):
    """A name or id that does not exist."""

    code = "NOT_FOUND"


class Conflict(StrongholdError):
    """The name is taken, or the state changed while the command ran."""

    code = "CONFLICT"


class LocalFileError(StrongholdError):
    """A file or folder of this machine cannot be read or written."""

    code = "LOCAL_FILE"


class Unwritable(StrongholdError):
    """A value cannot be written in the format asked for."""

    code = "VALUE_UNWRITABLE"


class Findings(StrongholdError):
    """A validation found something."""

    code = "FINDINGS"
