"""The OpenAPI description of the API, from the one table of routes and the schemas below.

The bodies are defined by the decoders of ``stronghold_cli.protocol.messages``; these schemas describe them for people and
tools, and tests hold them against real answers, against the records' members, and against a snapshot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import chain
from typing import Final

from stronghold_cli.protocol.documents.base import MAX_SEQ
from stronghold_cli.protocol.encoding import MAX_INTEGER, JsonValue, encode_json
from stronghold_server.refusals import GUARD_STATUSES, STATUSES
from stronghold_server.routes import ROUTES, Parameter, Route

VERSION: Final = "1"
_KEY_KINDS: Final = {"t": "an agent's token", "o": "an operator", "l": "an operator's login key"}
_TAGS: Final = {"": "Open", "o": "Operators", "l": "Operators", "t": "Agents"}
# What every route may answer, what the signed ones may besides, and what each of these adds.
_ANY_REFUSAL: Final = (400, 408, 413, 431, 500, 503)
_SIGNED_REFUSAL: Final = (401, 403, 409, 421, 429)
_NOT_FOUND: Final = 404
_COMMIT_REFUSED: Final = 422

Schema = Mapping[str, JsonValue]


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(members: Mapping[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": dict(members),
        "required": list(members),
        "additionalProperties": False,
    }


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _tuple(*items: Schema) -> Schema:
    return {"type": "array", "prefixItems": list(items), "minItems": len(items), "maxItems": len(items)}


def _by_id(value: Schema) -> Schema:
    return {"type": "object", "patternProperties": {"^[0-9a-f]{32}$": value}, "additionalProperties": False}


def _optional(name: str) -> Schema:
    return {"anyOf": [_ref(name), {"type": "null"}]}


_BASE64: Final = {"type": "string", "contentEncoding": "base64"}
_RECEIPT: Final = {"type": "null", "description": "Place of the audit log's receipt"}
_PROVEN: Final = _object({"payload": _ref("Bytes"), "proof": _ref("Inclusion")})
_ENVELOPES: Final = _list(_ref("Envelope"))

SCHEMAS: Final[dict[str, Schema]] = {
    "Anything": {"type": "object"},
    "Bytes": _BASE64,
    "Count": {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER},
    "Version": {"type": "integer", "minimum": 1, "maximum": MAX_SEQ},
    "Id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "Hash": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "Name": {"type": "string", "minLength": 1, "maxLength": 100},
    "Status": _object({"status": {"const": "ok"}}),
    "Error": _object(
        {
            "error": _object(
                {"code": {"enum": sorted(STATUSES.keys() | GUARD_STATUSES.keys())}, "message": {"type": "string"}}
            )
        }
    ),
    "Setup": _object({"log_keys": _list(_object({"id": _ref("Id"), "public_key": _ref("Bytes")}))}),
    "Envelope": _object(
        {
            "payload": _ref("Bytes"),
            "payloadType": {"type": "string", "pattern": "^application/vnd\\.stronghold\\.[a-z]+\\.v1\\+json$"},
            "signatures": {
                "type": "array",
                "items": _object({"keyid": {"type": "string", "pattern": "^(root|[0-9a-f]{32})$"}, "sig": _ref("Bytes")}),
                "minItems": 1,
                "maxItems": 1,
            },
        }
    ),
    "Inclusion": _object({"index": _ref("Count"), "path": _list(_ref("Bytes"))}),
    "Proven": _PROVEN,
    "Changes": _object(
        {
            "org": _ENVELOPES,
            "heads": _ENVELOPES,
            "structure": _optional("Envelope"),
            "contents": _ENVELOPES,
            "payloads": _list(_ref("Bytes")),
            "maps": _list(
                _object(
                    {
                        "map": {"enum": ["documents", "contents", "members", "old_keys", "entries"]},
                        "id": {"type": "string", "pattern": "^([0-9a-f]{32})?$"},
                        "leaves": _list(_tuple(_ref("Bytes"), _optional("Bytes"))),
                    }
                )
            ),
        }
    ),
    "Commit": _object({"changes": _ref("Changes"), "blobs": _list(_ref("Bytes")), "shares": _by_id(_ref("Bytes"))}),
    "Blobs": _object({"blobs": {**_list(_ref("Bytes")), "minItems": 1, "uniqueItems": True}}),
    "Ahead": _object({"hashes": _list(_ref("Hash"))}),
    "Genesis": _object(
        {
            "setup_code": {"type": "string", "maxLength": 200},
            "commit": _ref("Commit"),
            "login": _ref("Envelope"),
            "keyset": _ref("Bytes"),
        }
    ),
    "Turn": _object({"seconds": _ref("Count")}),
    "Committed": _object({"seq": _ref("Count"), "already": {"type": "boolean"}, "receipt": _RECEIPT}),
    "Sync": _object({"changes": _ref("Changes")}),
    "Steps": _object({"seq": _ref("Count"), "steps": _list(_ref("Changes"))}),
    "Keys": _object({"seals": _by_id(_ref("Bytes")), "wraps": _list(_tuple(_ref("Id"), _ref("Id"), _ref("Bytes")))}),
    "SealingKeys": _object({"keys": _list(_ref("Bytes"))}),
    "OldKeys": _object({"boxes": _list(_ref("Bytes"))}),
    "Ciphertexts": _object({"ciphertexts": _by_id(_ref("Bytes")), "receipt": _RECEIPT}),
    "KeptSecrets": _object(
        {
            "secrets": _by_id(
                _object(
                    {
                        "leaves": _list(_ref("Bytes")),
                        "ciphertexts": _list(_tuple(_ref("Version"), _ref("Bytes"))),
                        "before": _optional("Count"),
                    }
                )
            ),
            "boxes": _list(_ref("Bytes")),
            "receipt": _RECEIPT,
        }
    ),
    "Past": _object({"steps": _list(_ref("Changes"))}),
    "TokenUses": _object(
        {"tokens": _by_id(_object({"last_used": _optional("Count"), "uses": _ref("Count")}))},
    ),
    "AuditPage": _object({"leaves": _list(_ref("Bytes")), "size": _ref("Count")}),
    "LoginAnswer": _object(
        {"login": _ref("Envelope"), "keyset": _ref("Bytes"), "org": _ENVELOPES, "head": _ref("Envelope")}
    ),
    "PullAnswer": _object(
        {
            "org": _ENVELOPES,
            "head": _ref("Envelope"),
            "structure": _ref("Envelope"),
            "agent": _ref("Proven"),
            "profile": _ref("Proven"),
            "group": _ref("Proven"),
            "member": _ref("Bytes"),
            "member_proof": _ref("Inclusion"),
            "share": _ref("Bytes"),
            "seal": _ref("Bytes"),
            "wrap": _ref("Bytes"),
            "contents": _ref("Envelope"),
            "contents_proof": _ref("Inclusion"),
            "entries": _list(_tuple(_ref("Id"), _ref("Bytes"), _optional("Bytes"))),
            "receipt": _RECEIPT,
        }
    ),
    "SelfAnswer": _object(
        {
            "org": _ENVELOPES,
            "head": _ref("Envelope"),
            "structure": _ref("Envelope"),
            "agent": _ref("Proven"),
            "groups": _list(_ref("Proven")),
            "profiles": _list(_ref("Proven")),
            "contents": _list(_ref("OwnContents")),
            "receipt": _RECEIPT,
        }
    ),
    "OwnContents": _object(
        {
            "contents": _ref("Envelope"),
            "proof": _ref("Inclusion"),
            "entries": {"anyOf": [_by_id(_ref("Bytes")), {"type": "null"}]},
        }
    ),
}


@lru_cache(maxsize=1)
def describe() -> bytes:
    """The description, as JSON."""
    paths: dict[str, dict[str, JsonValue]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return encode_json(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Stronghold",
                "version": VERSION,
                "description": "A zero-knowledge secrets manager. The server keeps ciphertext and signed documents; "
                "nothing in an answer is believed for standing there.",
            },
            "paths": paths,
            "components": {
                "schemas": SCHEMAS,
                "responses": {
                    str(status): _refusal(status) for status in sorted({*chain.from_iterable(map(_statuses, ROUTES))})
                },
                "securitySchemes": {"signature": _SIGNATURE},
            },
        }
    )


_SIGNATURE: Final[Schema] = {
    "type": "http",
    "scheme": "signature",
    "description": "HTTP message signature (RFC 9421) with Ed25519 over method, authority, path, query and content digest, "
    'labelled sh, with tag="stronghold-v1". There is no bearer credential.',
}


def _operation(route: Route) -> Schema:
    operation: dict[str, JsonValue] = {
        "operationId": route.kind,
        "summary": route.summary,
        "tags": [_TAGS[route.key_kind]],
    }
    if route.key_kind:
        roles = f" Roles: {', '.join(route.roles)}." if route.roles else ""
        operation["description"] = f"Signed by {_KEY_KINDS[route.key_kind]} (key id {route.key_kind}:…).{roles}"
        operation["security"] = [{"signature": []}]
    parameters = [_path_parameter(name) for name in re.findall(r"{(\w+)}", route.path)]
    parameters += [_query_parameter(parameter) for parameter in route.parameters]
    if parameters:
        operation["parameters"] = parameters
    if route.body:
        operation["requestBody"] = {"required": True, "content": _content(route.body)}
    operation["responses"] = {
        "200": {"description": "Done", "content": _content(route.answer)},
        **{str(status): {"$ref": f"#/components/responses/{status}"} for status in _statuses(route)},
    }
    return operation


def _statuses(route: Route) -> list[int]:
    """The statuses of all refusals of a route."""
    statuses = list(_ANY_REFUSAL)
    if route.key_kind:
        statuses += _SIGNED_REFUSAL
    if "{" in route.path:
        statuses.append(_NOT_FOUND)
    if route.body:
        statuses.append(_COMMIT_REFUSED)
    return sorted(statuses)


def _refusal(status: int) -> Schema:
    codes = sorted(code for code, its in (STATUSES | GUARD_STATUSES).items() if its == status)
    return {"description": f"Refused: {', '.join(codes)}", "content": _content("Error")}


def _content(schema: str) -> Schema:
    return {"application/json": {"schema": _ref(schema)}}


def _path_parameter(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": _ref("Hash" if name == "org" else "Id")}


def _query_parameter(parameter: Parameter) -> Schema:
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.is_required,
        "description": parameter.meaning,
        "schema": _ref(parameter.schema),
    }
