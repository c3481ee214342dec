"""The tables of all routes: what ``app`` serves; of these, ``openapi`` describes the API's."""

from __future__ import annotations

from typing import Final

from stronghold_cli.protocol.record import Record

ORG: Final = "/v1/orgs/{org}"


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


def _route(
    kind: str,
    path: str,
    key_kind: str,
    answer: str,
    summary: str,
    *,
    method: str = "GET",
    roles: tuple[str, ...] = (),
    parameters: tuple[Parameter, ...] = (),
    body: str = "",
) -> Route:
    return Route(
        kind=kind,
        method=method,
        path=path,
        key_kind=key_kind,
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
    _route("healthz", "/healthz", "", "Status", "The process runs"),
    _route("readyz", "/readyz", "", "Status", "The server takes requests"),
    _route("openapi", "/openapi.json", "", "Anything", "This description"),
    _route("setup", "/v1/setup", "", "Setup", "The log keys that a new org has to name"),
    _route("genesis", ORG, "o", "Committed", "Create an org, with a setup code", method="POST", body="Genesis"),
    _route(
        "commit", f"{ORG}/commits", "o", "Committed", "The one write: a new head with everything that changes under it",
        method="POST", roles=("admin", "editor"), body="Commit",
    ),
    _route(
        "blobs", f"{ORG}/blobs", "o", "Ahead", "Send blobs ahead of the commit that will name them",
        method="POST", roles=("admin", "editor"), body="Blobs",
    ),
    _route(
        "blobs-ahead", f"{ORG}/blobs", "o", "Ahead", "Which blobs this operator has sent ahead, and no commit has named yet",
        roles=("admin", "editor"),
    ),
    _route(
        "blobs-forget", f"{ORG}/blobs-forget", "o", "Ahead", "Let go blobs that this operator sent ahead",
        method="POST", roles=("admin", "editor"), body="Ahead",
    ),
    _route(
        "turn", f"{ORG}/turn", "o", "Turn", "Hold editors' commits back until this admin's next one, for a minute at most",
        method="POST", roles=("admin",),
    ),
    _route(
        "sync", f"{ORG}/sync", "o", "Sync", "All changes since a head",
        roles=("admin", "editor", "reader", "auditor"),
        parameters=(
            _parameter("since", "Count", "seq of the newest head that the client knows; 0 asks for all that is current"),
            _parameter("org_seq", "Count", "seq of the newest org document that the client knows; 0 asks for all of them"),
        ),
    ),
    _route(
        "steps", f"{ORG}/steps", "o", "Steps", "The commits since a head, one by one",
        roles=("admin", "editor", "reader", "auditor"),
        parameters=(
            _parameter("since", "Count", "seq of the newest head that the client knows, 1 at least", is_required=True),
            _parameter("org_seq", "Count", "seq of the newest org document that it knows, 1 at least", is_required=True),
        ),
    ),
    _route(
        "keys", f"{ORG}/keys", "o", "Keys", "The operator's sealed group keys, and the boxed profile keys under them",
        roles=("admin", "editor", "reader"),
    ),
    _route(
        "sealing-keys", f"{ORG}/sealing-keys", "o", "SealingKeys",
        "Public sealing keys of root and operators, of an agent, or of a group",
        roles=("admin", "editor", "reader"),
        parameters=(
            _parameter("agent", "Id", "Whose tokens' keys are asked for; without it and group, root's and the operators'"),
            _parameter("group", "Id", "Whose members' keys are asked for"),
        ),
    ),
    _route(
        "contents", f"{ORG}/profiles/{{profile}}/contents", "o", "Ciphertexts", "The ciphertexts of a profile",
        roles=("admin", "editor", "reader"),
    ),
    _route(
        "old-keys", f"{ORG}/profiles/{{profile}}/old-keys", "o", "OldKeys",
        "The boxed keys of a profile's older epochs, which open its history", roles=("admin", "editor", "reader"),
    ),
    _route(
        "history", f"{ORG}/profiles/{{profile}}/history", "o", "KeptSecrets", "The kept versions of a profile's secrets",
        roles=("admin", "editor", "reader"),
        parameters=(_parameter("secret", "Id", "Of which secret; without it, the last versions of all deleted ones"),),
    ),
    _route(
        "past", f"{ORG}/past", "o", "Past", "What commits replaced, the newest first: the way back from a head",
        roles=("admin", "editor", "reader", "auditor"),
        parameters=(
            _parameter("before", "Count", "seq of the head from which the way leads back; the current one unless told"),
            _parameter("limit", "Count", "At most this many commits (100 unless told, 500 at most)"),
        ),
    ),
    _route("tokens", f"{ORG}/tokens", "o", "TokenUses", "When each token was last used", roles=("admin", "auditor")),
    _route(
        "audit", f"{ORG}/audit", "o", "AuditPage", "A page of the audit log", roles=("admin", "auditor"),
        parameters=(
            _parameter("after", "Count", "How many entries to leave out: the page begins with the entry of this index"),
            _parameter("limit", "Count", "At most this many entries (100 unless told, 1000 at most)"),
        ),
    ),
    _route(
        "login", f"{ORG}/keyset", "l", "LoginAnswer", "What a new device needs to log in", parameters=(_ANCHOR,),
    ),
    _route(
        "pull", "/v1/pull", "t", "PullAnswer", "One profile, for an agent",
        parameters=(
            _ANCHOR,
            _parameter("profile", "Name", "The profile's name; without name and id, the only one that the agent may read"),
            _parameter("profile_id", "Id", "The profile's id"),
        ),
    ),
    _route("self", "/v1/self", "t", "SelfAnswer", "What an agent may know of itself", parameters=(_ANCHOR,)),
)  # fmt: skip

# What people look at in a browser; open like the description that it shows, and no part of it.
PAGES: Final = (
    _route("docs", "/docs", "", "", "The description in Swagger UI"),
    _route("redoc", "/redoc", "", "", "The description in ReDoc"),
    _route("asset", "/assets/{file}", "", "", "A script or style sheet of these pages"),
)
