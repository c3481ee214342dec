"""The ``org`` document: root keys, operators and their roles, policy, log keys. A chain (protocol section 5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from stronghold_cli.protocol.documents.base import (
    MAX_SEQ,
    ROLES,
    Document,
    Members,
    extensions,
)
from stronghold_cli.protocol.encoding import decode_hex, digest, encode_base64
from stronghold_cli.protocol.errors import MalformedError
from stronghold_cli.protocol.names import caseless
from stronghold_cli.protocol.record import Record

_VERSION = r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})"
MAX_OPERATORS = 1000
MAX_LOG_KEYS = 100


class RootKeys(Record):
    """Root's public signing key (32 bytes) and the hash of its public sealing key."""

    sign: bytes
    seal_sha256: bytes


class Operator(Record):
    """A human of the org: public keys and role (``admin``, ``editor``, ``reader``, ``auditor``)."""

    name: str
    sign: bytes
    request: bytes
    seal_sha256: bytes
    role: str


class Policy(Record):
    """``client_min``: the oldest client allowed, as ``major.minor.patch``; ``max_head_age`` in seconds, 0 = off."""

    client_min: str
    max_head_age: int


class LogKey(Record):
    """A public key (32 bytes) with which the server signs checkpoints of the audit log."""

    id: bytes
    public_key: bytes


class Resume(Record):
    """Set by root after a restore: the restored head, and the newest head seq that is known."""

    head_sha256: bytes
    seq: int


class Org(Document):
    """One link of the org's chain."""

    KIND: ClassVar[str] = "org"

    org_id: bytes
    name: str
    seq: int
    prev: bytes
    root: RootKeys
    operators: Mapping[bytes, Operator]
    policy: Policy
    log_keys: tuple[LogKey, ...]
    resume: Resume | None
    created: int

    @classmethod
    def _from_members(cls, members: Members) -> Org:
        org = cls(
            org_id=members.hash("org_id"),
            name=members.name("name"),
            seq=members.count("seq", 1, MAX_SEQ),
            prev=members.hash("prev"),
            root=_root(members.raw("root")),
            operators={decode_hex(id_, 16): _operator(value) for id_, value in members.object("operators").items()},
            policy=_policy(members.raw("policy")),
            log_keys=tuple(_log_key(value) for value in members.items("log_keys", MAX_LOG_KEYS)),
            resume=members.optional("resume", lambda name: _resume(members.raw(name))),
            created=members.count("created"),
            **extensions(members),
        )
        check_org(org)
        return org

    def _to_members(self) -> dict[str, Any]:
        return {
            "org_id": self.org_id.hex(),
            "name": self.name,
            "seq": self.seq,
            "prev": self.prev.hex(),
            "root": {"sign": encode_base64(self.root.sign), "seal_sha256": self.root.seal_sha256.hex()},
            "operators": {id_.hex(): _operator_to_json(operator) for id_, operator in sorted(self.operators.items())},
            "policy": {"client_min": self.policy.client_min, "max_head_age": self.policy.max_head_age},
            "log_keys": [{"id": key.id.hex(), "public_key": encode_base64(key.public_key)} for key in self.log_keys],
            "resume": self.resume and {"head_sha256": self.resume.head_sha256.hex(), "seq": self.resume.seq},
            "created": self.created,
        }

    def admins(self) -> list[bytes]:
        """Ids of the admins, ascending."""
        return sorted(id_ for id_, operator in self.operators.items() if operator.role == "admin")

    def role_of(self, operator_id: bytes) -> str | None:
        """The operator's role, or ``None`` where the person does not stand in this document."""
        operator = self.operators.get(operator_id)
        return None if operator is None else operator.role


def check_org(org: Org) -> None:
    """What holds inside one org document: an admin, unique names and keys; raises ``MalformedError``."""
    if len(org.operators) > MAX_OPERATORS:
        raise MalformedError("org: too many operators")
    if not org.admins():
        raise MalformedError("org: there is no admin")
    names = {caseless(operator.name) for operator in org.operators.values()}
    if len(names) != len(org.operators):
        raise MalformedError("org: two operators have the same name")
    keys = [org.root.sign, *(key for operator in org.operators.values() for key in (operator.sign, operator.request))]
    seals = [org.root.seal_sha256, *(operator.seal_sha256 for operator in org.operators.values())]
    if len(set(keys)) != len(keys) or len(set(seals)) != len(seals):
        raise MalformedError("org: a key stands in it twice")
    if len({key.id for key in org.log_keys}) != len(org.log_keys) or not org.log_keys:
        raise MalformedError("org: the log keys are missing or one stands twice")


def genesis_org_id(root_sign: bytes) -> bytes:
    """``org_id`` = SHA-256("stronghold/v1/org" ‖ root/sign public key at genesis)."""
    return digest(b"stronghold/v1/org" + root_sign)


def version_number(text: str) -> tuple[int, ...]:
    """``major.minor.patch`` as three integers, for comparison; raises ``MalformedError``."""
    match = re.fullmatch(_VERSION, text)
    if match is None:
        raise MalformedError("a version is not major.minor.patch")
    return tuple(int(part) for part in match.groups())


def _root(value: object) -> RootKeys:
    members = Members(value, "org.root", ("sign", "seal_sha256"))
    return RootKeys(sign=members.verify_key("sign"), seal_sha256=members.hash("seal_sha256"))


def _operator(value: object) -> Operator:
    members = Members(value, "org.operators", Operator.members)
    return Operator(
        name=members.name("name"),
        sign=members.verify_key("sign"),
        request=members.verify_key("request"),
        seal_sha256=members.hash("seal_sha256"),
        role=members.one_of("role", ROLES),
    )


def _operator_to_json(operator: Operator) -> dict[str, Any]:
    return {
        "name": operator.name,
        "sign": encode_base64(operator.sign),
        "request": encode_base64(operator.request),
        "seal_sha256": operator.seal_sha256.hex(),
        "role": operator.role,
    }


def _policy(value: object) -> Policy:
    members = Members(value, "org.policy", Policy.members)
    policy = Policy(client_min=members.text("client_min", 20), max_head_age=members.count("max_head_age"))
    version_number(policy.client_min)
    return policy


def _log_key(value: object) -> LogKey:
    members = Members(value, "org.log_keys", LogKey.members)
    return LogKey(id=members.id("id"), public_key=members.verify_key("public_key"))


def _resume(value: object) -> Resume:
    members = Members(value, "org.resume", Resume.members)
    return Resume(head_sha256=members.hash("head_sha256"), seq=members.count("seq", 1, MAX_SEQ))
