"""The tables of all routes: what ``app`` serves; of these, ``openapi`` describes the API's.

Key, method and path of signed requests stand in ``protocol.request_kinds``, which clients share.
"""

from __future__ import annotations

from typing import Final

from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.request_kinds import REQUEST_KINDS


class Parameter(Record):
    """A query parameter, described for people; ``schema`` names a schema of ``openapi``."""

    name: str
    schema: str
    is_required: bool
    meaning: str


class Route(Record):
    """One route. ``key_kind`` is empty for open routes; ``roles`` are those of operators, where only some may.

    ``kind`` is the kind of the audit entry, and the operation's id. ``body`` and ``answer`` name schemas of ``openapi``;
    they are empty where there is none, and for pages.
    """

    kind: str
    method: str
    path: str
    key_kind: str
    roles: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    body: str
    answer: str
    summary: str


def _open(name: str, path: str, answer: str, summary: str) -> Route:
    return Route(
        kind=name,
        method="GET",
        path=path,
        key_kind="",
        roles=(),
        parameters=(),
        body="",
        answer=answer,
        summary=summary,
    )


def _signed(
    name: str,
    answer: str,
    summary: str,
    *,
    roles: tuple[str, ...] = (),
    parameters: tuple[Parameter, ...] = (),
    body: str = "",
) -> Route:
    kind = REQUEST_KINDS[name]
    return Route(
        kind=name,
        method=kind.method,
        path=kind.path,
        key_kind=kind.key_kind,
        roles=roles,
        parameters=parameters,
        body=body,
        answer=answer,
        summary=summary,
    )


def _parameter(name: str, schema: str, meaning: str, *, is_required: bool = False) -> Parameter:
    return Parameter(name=name, schema=schema, is_required=is_required, meaning=meaning)


_ANCHOR: Final = _parameter(
    "org", "Hash", "SHA-256 of the org document from which the client starts: the answer's chain begins with it",
    is_required=True,
)  # fmt: skip

ROUTES: Final = (
    _open("healthz", "/healthz", "Status", "The process runs"),
    _open("readyz", "/readyz", "Status", "The server takes requests"),
    _open("openapi", "/openapi.json", "Anything", "This description"),
    _open("setup", "/v1/setup", "Setup", "The log keys that a new org has to name"),
    _signed("genesis", "Committed", "Create an org, with a setup code", body="Genesis"),
    _signed(
        "commit", "Committed", "The one write: a new head with everything that changes under it",
        roles=("admin", "editor"), body="Commit",
    ),
    _signed(
        "blobs", "Ahead", "Send blobs ahead of the commit that will name them",
        roles=("admin", "editor"), body="Blobs",
    ),
    _signed(
        "blobs-ahead", "Ahead", "Which blobs this operator has sent ahead, and no commit has named yet",
        roles=("admin", "editor"),
    ),
    _signed(
        "blobs-forget", "Ahead", "Let go blobs that this operator sent ahead",
        roles=("admin", "editor"), body="Ahead",
    ),
    _signed(
        "turn", "Turn", "Hold editors' commits back until this admin's next one, for a minute at most",
        roles=("admin",),
    ),
    _signed(
        "sync", "Sync", "All changes since a head",
        roles=("admin", "editor", "reader", "auditor"),
        parameters=(
            _parameter("since", "Count", "seq of the newest head that the client knows; 0 asks for all that is current"),
            _parameter("org_seq", "Count", "seq of the newest org document that the client knows; 0 asks for all of them"),
        ),
    ),
    _signed(
        "steps", "Steps", "The commits since a head, one by one",
        roles=("admin", "editor", "reader", "auditor"),
        parameters=(
            _parameter("since", "Count", "seq of the newest head that the client knows, 1 at least", is_required=True),
            _parameter("org_seq", "Count", "seq of the newest org document that it knows, 1 at least", is_required=True),
        ),
    ),
    _signed(
        "keys", "Keys", "The operator's sealed group keys, and the boxed profile keys under them",
        roles=("admin", "editor", "reader"),
    ),
    _signed(
        "sealing-keys", "SealingKeys",
        "Public sealing keys of root and operators, of an agent, or of a group",
        roles=("admin", "editor", "reader"),
        parameters=(
            _parameter("agent", "Id", "Whose tokens' keys are asked for; without it and group, root's and the operators'"),
            _parameter("group", "Id", "Whose members' keys are asked for"),
        ),
    ),
    _signed(
        "contents", "Ciphertexts", "The ciphertexts of a profile",
        roles=("admin", "editor", "reader"),
    ),
    _signed(
        "old-keys", "OldKeys",
        "The boxed keys of a profile's older epochs, which open its history", roles=("admin", "editor", "reader"),
    ),
    _signed(
        "history", "KeptSecrets", "The kept versions of a profile's secrets",
        roles=("admin", "editor", "reader"),
        parameters=(
            _parameter("secret", "Id", "Of which secret; without it, the last values of deleted ones, by id"),
            _parameter("before", "Count", "Of a secret: what comes after the leaf of this head, as the page before said"),
            _parameter("after", "Id", "Of deleted ones: those after this id"),
            _parameter("limit", "Count", "At most this many leaves or deleted secrets (500 unless told, 1000 at most)"),
        ),
    ),
    _signed(
        "past", "Past", "What commits replaced, the newest first: the way back from a head",
        roles=("admin", "editor", "reader", "auditor"),
        parameters=(
            _parameter("before", "Count", "seq of the head from which the way leads back; the current one unless told"),
            _parameter("limit", "Count", "At most this many commits (100 unless told, 500 at most)"),
        ),
    ),
    _signed("tokens", "TokenUses", "When each token was last used", roles=("admin", "auditor")),
    _signed(
        "audit", "AuditPage", "A page of the audit log", roles=("admin", "auditor"),
        parameters=(
            _parameter("after", "Count", "How many entries to leave out: the page begins with the entry of this index"),
            _parameter("limit", "Count", "At most this many entries (100 unless told, 1000 at most)"),
        ),
    ),
    _signed(
        "login", "LoginAnswer", "What a new device needs to log in", parameters=(_ANCHOR,),
    ),
    _signed(
        "pull", "PullAnswer", "One profile, for an agent",
        parameters=(
            _ANCHOR,
            _parameter("profile", "Name", "The profile's name; without name and id, the only one that the agent may read"),
            _parameter("profile_id", "Id", "The profile's id"),
        ),
    ),
    _signed("self", "SelfAnswer", "What an agent may know of itself", parameters=(_ANCHOR,)),
)  # fmt: skip

# What people look at in a browser; open like the description that it shows, and no part of it.
PAGES: Final = (
    _open("docs", "/docs", "", "The description in Swagger UI"),
    _open("redoc", "/redoc", "", "The description in ReDoc"),
    _open("asset", "/assets/{file}", "", "A script or style sheet of these pages"),
)
