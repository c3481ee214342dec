"""The signed requests: kind, key, method and path of each (protocol sections 6 and 13).

The server makes its routes from this table and names each entry of the audit log by the kind; clients read the log by it.
So what the server serves and what clients know to be in a log cannot differ.
"""

from __future__ import annotations

from typing import Final

from stronghold_cli.protocol.record import Record

ORG_PATH: Final = "/v1/orgs/{org}"


class RequestKind(Record):
    """One kind of request. ``path`` holds the names of ids in braces; ``key_kind`` is that of the key which signs it."""

    name: str
    key_kind: str
    method: str
    path: str


def _kind(name: str, key_kind: str, path: str, method: str = "GET") -> RequestKind:
    return RequestKind(name=name, key_kind=key_kind, method=method, path=path)


_KINDS: Final = (
    _kind("genesis", "o", ORG_PATH, "POST"),
    _kind("commit", "o", f"{ORG_PATH}/commits", "POST"),
    _kind("blobs", "o", f"{ORG_PATH}/blobs", "POST"),
    _kind("blobs-ahead", "o", f"{ORG_PATH}/blobs"),
    _kind("blobs-forget", "o", f"{ORG_PATH}/blobs-forget", "POST"),
    _kind("turn", "o", f"{ORG_PATH}/turn", "POST"),
    _kind("sync", "o", f"{ORG_PATH}/sync"),
    _kind("steps", "o", f"{ORG_PATH}/steps"),
    _kind("keys", "o", f"{ORG_PATH}/keys"),
    _kind("sealing-keys", "o", f"{ORG_PATH}/sealing-keys"),
    _kind("contents", "o", f"{ORG_PATH}/profiles/{{profile}}/contents"),
    _kind("old-keys", "o", f"{ORG_PATH}/profiles/{{profile}}/old-keys"),
    _kind("history", "o", f"{ORG_PATH}/profiles/{{profile}}/history"),
    _kind("past", "o", f"{ORG_PATH}/past"),
    _kind("tokens", "o", f"{ORG_PATH}/tokens"),
    _kind("audit", "o", f"{ORG_PATH}/audit"),
    _kind("login", "l", f"{ORG_PATH}/keyset"),
    _kind("pull", "t", "/v1/pull"),
    _kind("self", "t", "/v1/self"),
)
REQUEST_KINDS: Final = {kind.name: kind for kind in _KINDS}
