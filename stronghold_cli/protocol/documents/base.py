"""What all documents share: the strict reader of members, ``ext`` and ``crit``, size limits, and the exact payload bytes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeVar

from stronghold_cli.protocol.encoding import MAX_INTEGER, decode_base64, decode_hex, decode_json, digest, encode_json
from stronghold_cli.protocol.errors import ClientTooOld, MalformedError
from stronghold_cli.protocol.keys import check_verify_key
from stronghold_cli.protocol.names import is_plain_text, name_fault
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.signed_map import MapRoot

T = TypeVar("T")

ID_BYTES = 16
ORG_ID_BYTES = 32
HASH_BYTES = 32
ZERO_HASH = bytes(32)
MAX_SEQ = 2**32 - 1
ROLES = ("admin", "editor", "reader", "auditor")

# Bytes of a payload at most, for each kind (rule R18).
SIZE_LIMITS = {
    "org": 2 << 20,
    "structure": 1 << 20,
    "agent": 256 << 10,
    "group": 256 << 10,
    "profile": 256 << 10,
    "invite": 16 << 10,
    "contents": 16 << 10,
    "head": 16 << 10,
    "login": 16 << 10,
    "acceptance": 16 << 10,
}
_KNOWN_CRITICAL: frozenset[str] = frozenset()
_MAX_EXTENSIONS = 64


class Members:
    """The members of one JSON object, each read once with its type; made for exact member lists."""

    __slots__ = ("_values", "_where")

    def __init__(self, value: object, where: str, names: tuple[str, ...]) -> None:
        if not isinstance(value, dict) or value.keys() != set(names):
            raise MalformedError(f"{where} has not exactly the members {', '.join(names)}")
        self._values = value
        self._where = where

    def raw(self, name: str) -> Any:
        """The undecoded JSON value of a member."""
        return self._values[name]

    def text(self, name: str, limit: int) -> str:
        """A text of at most ``limit`` characters."""
        value = self._values[name]
        if not isinstance(value, str) or len(value) > limit:
            raise self._fault(name, f"is not a text of at most {limit} characters")
        return value

    def one_of(self, name: str, choices: tuple[str, ...]) -> str:
        """A text out of ``choices``."""
        value = self._values[name]
        if not isinstance(value, str) or value not in choices:
            raise self._fault(name, f"is none of {', '.join(choices)}")
        return value

    def name(self, name: str, *, profile: bool = False) -> str:
        """A legal name (``names.name_fault``)."""
        value = self.text(name, 1000)
        fault = name_fault(value, profile=profile)
        if fault:
            raise self._fault(name, fault)
        return value

    def plain_text(self, name: str, limit: int) -> str:
        """A text for people of at most ``limit`` characters (``names.is_plain_text``)."""
        value = self.text(name, limit)
        if not is_plain_text(value):
            raise self._fault(name, "is not in Unicode normalisation form C, or holds control characters")
        return value

    def fixed_hex(self, name: str, length: int) -> bytes:
        """``length`` bytes in lower-case hex: ids and hashes."""
        value = self._values[name]
        if not isinstance(value, str):
            raise self._fault(name, "is not a text")
        return decode_hex(value, length)

    def id(self, name: str) -> bytes:
        """A 16-byte id."""
        return self.fixed_hex(name, ID_BYTES)

    def hash(self, name: str) -> bytes:
        """A 32-byte hash."""
        return self.fixed_hex(name, HASH_BYTES)

    def verify_key(self, name: str) -> bytes:
        """The 32 bytes of an Ed25519 public key in base64, checked as rule R5 says."""
        value = self._values[name]
        if not isinstance(value, str):
            raise self._fault(name, "is not a text")
        return check_verify_key(decode_base64(value, length=32))

    def signature(self, name: str) -> bytes:
        """The 64 bytes of a signature in base64."""
        value = self._values[name]
        if not isinstance(value, str):
            raise self._fault(name, "is not a text")
        return decode_base64(value, length=64)

    def count(self, name: str, low: int = 0, high: int = MAX_INTEGER) -> int:
        """An integer between ``low`` and ``high``."""
        value = self._values[name]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._fault(name, f"is not an integer from {low} to {high}")
        return value

    def flag(self, name: str) -> bool:
        """A boolean."""
        value = self._values[name]
        if not isinstance(value, bool):
            raise self._fault(name, "is not true or false")
        return value

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        """``null``, or what ``read`` makes of the member."""
        return None if self._values[name] is None else read(name)

    def items(self, name: str, limit: int) -> list[Any]:
        """A list of at most ``limit`` items."""
        value = self._values[name]
        if not isinstance(value, list) or len(value) > limit:
            raise self._fault(name, f"is not a list of at most {limit} items")
        return value

    def ids(self, name: str, limit: int = 10_000) -> tuple[bytes, ...]:
        """A list of 16-byte ids without duplicates, in ascending order."""
        values = self.items(name, limit)
        if not all(isinstance(value, str) for value in values) or values != sorted(set(values)):
            raise self._fault(name, "is not a sorted list of ids without duplicates")
        return tuple(decode_hex(value, ID_BYTES) for value in values)

    def object(self, name: str, limit: int = 10_000) -> dict[str, Any]:
        """An object of at most ``limit`` members, undecoded."""
        value = self._values[name]
        if not isinstance(value, dict) or len(value) > limit:
            raise self._fault(name, f"is not an object of at most {limit} members")
        return value

    def map_root(self, name: str) -> MapRoot:
        """The ``{size, root}`` of a signed map."""
        inner = Members(self._values[name], f"{self._where}.{name}", ("size", "root"))
        return MapRoot(size=inner.count("size", 0, MAX_SEQ), root=inner.hash("root"))

    def _fault(self, name: str, what: str) -> MalformedError:
        return MalformedError(f"{self._where}: {name} {what}")


class Document(Record):
    """Base of all documents: every one ends with ``ext`` (signed and ignored) and ``crit`` (refused if unknown)."""

    KIND: ClassVar[str]
    __slots__ = ("_payload",)

    ext: Mapping[str, Any]
    crit: tuple[str, ...]

    _names: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._names = cls._json_names()

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Parse the exact payload bytes strictly; raises ``MalformedError``, or ``ClientTooOld`` for an unknown ``crit``."""
        value = decode_json(payload, SIZE_LIMITS[cls.KIND])
        # `crit` is looked at before the member list, so that a document of later times is told as such.
        if isinstance(value, dict):
            _check_critical(value.get("crit"))
        document = cls._from_members(Members(value, cls.KIND, cls._names))
        object.__setattr__(document, "_payload", payload)
        return document

    @property
    def payload(self) -> bytes:
        """The exact bytes: those received, or for a new document its one encoding."""
        known: bytes | None = getattr(self, "_payload", None)
        if known is not None:
            return known
        payload = encode_json({**self._to_members(), "ext": self.ext, "crit": list(self.crit)})
        object.__setattr__(self, "_payload", payload)
        return payload

    @property
    def sha256(self) -> bytes:
        """The document's hash: SHA-256 of the payload."""
        return digest(self.payload)

    @classmethod
    def _json_names(cls) -> tuple[str, ...]:
        """Names of all JSON members: those of the record, ``ext`` and ``crit`` last."""
        return (*(name for name in cls.members if name not in ("ext", "crit")), "ext", "crit")

    @classmethod
    @abstractmethod
    def _from_members(cls, members: Members) -> Self:
        """Build the document from its members, each read with its type."""

    @abstractmethod
    def _to_members(self) -> dict[str, Any]:
        """The members of this kind as JSON, in the order of the protocol's table, without ``ext`` and ``crit``."""


def extensions(members: Members) -> dict[str, Any]:
    """The ``ext`` and ``crit`` of a document, for the constructor."""
    return {"ext": members.object("ext", _MAX_EXTENSIONS), "crit": tuple(members.items("crit", _MAX_EXTENSIONS))}


NO_EXTENSIONS: dict[str, Any] = {"ext": {}, "crit": ()}


def _check_critical(names: object) -> None:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MalformedError("crit is not a list of names")
    unknown = [name for name in names if name not in _KNOWN_CRITICAL]
    if unknown:
        raise ClientTooOld(
            f"A signed document demands the feature {unknown[0][:40]!r}, which this version does not know.",
            hint="Install a newer stronghold-cli.",
        )


def map_root_to_json(root: MapRoot) -> dict[str, Any]:
    """``{size, root}`` with the root in hex."""
    return {"size": root.size, "root": root.root.hex()}


def hex_ids(ids: tuple[bytes, ...]) -> list[str]:
    """Ids in lower-case hex, ascending."""
    return sorted(item.hex() for item in ids)


def optional_hex(value: bytes | None) -> str | None:
    """Hex or ``None``."""
    return None if value is None else value.hex()
