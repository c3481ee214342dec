"""The mark: what a party remembers of the newest state that it has verified (protocol section 5, "Mark").

One file per agent token, and one per org for operators. Nothing received may fall below it, and the same number means the
same hash. A missing mark is ``None``; one that cannot be read is an error and never an empty one. ``merge`` and the
``check_…`` functions are pure; ``MarkFile`` keeps a mark on disk: under a lock it is merged by maximum with what lies
there at that moment, flushed, and renamed into place.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from stronghold_cli.keystore.files import locked, read_private, remove, write_private
from stronghold_cli.keystore.paths import data_dir
from stronghold_cli.protocol.encoding import decode_hex, decode_json, encode_json
from stronghold_cli.protocol.errors import IntegrityError, LocalFileError, MalformedError
from stronghold_cli.protocol.record import Record

MARK_BYTES = 8 << 20  # 20,000 profiles read by one operator are 3 MB
MARK_NOT_KEPT = "MARK_NOT_KEPT"
_VERSION = 1
_RESET_HINT = "If the mark is lost for good, run: stronghold auth reset-mark. It prints what protection that gives up."


class OrgMark(Record):
    """The newest org document verified: seq, SHA-256 of its payload, and the root signing key that it names."""

    seq: int
    sha256: bytes
    root_sign: bytes


class HeadMark(Record):
    """The newest head verified."""

    seq: int
    sha256: bytes


class ContentsMark(Record):
    """The newest contents of one profile that were read."""

    version: int
    sha256: bytes


class Mark(Record):
    """What one party has verified. ``default_profile`` is the profile that an agent got when it named none."""

    org: OrgMark
    head: HeadMark
    structure_seq: int
    contents: Mapping[bytes, ContentsMark]
    default_profile: bytes | None = None


def merge(old: Mark | None, new: Mark) -> Mark:
    """The higher of each number; ``IntegrityError`` where one number stands for two hashes, or there are two defaults."""
    if old is None:
        return new
    if old.default_profile and new.default_profile:
        check_default_profile(old, new.default_profile)
    contents = dict(old.contents)
    for profile_id, mark in new.contents.items():
        known = contents.get(profile_id, mark)
        _require_one_hash("profile contents", known.version, known.sha256, mark.version, mark.sha256)
        contents[profile_id] = max(known, mark, key=lambda each: each.version)
    _require_one_hash("org document", old.org.seq, old.org, new.org.seq, new.org)
    _require_one_hash("head", old.head.seq, old.head.sha256, new.head.seq, new.head.sha256)
    return Mark(
        org=max(old.org, new.org, key=lambda each: each.seq),
        head=max(old.head, new.head, key=lambda each: each.seq),
        structure_seq=max(old.structure_seq, new.structure_seq),
        contents=contents,
        default_profile=old.default_profile or new.default_profile,
    )


def check_org(mark: Mark | None, seq: int, sha256: bytes) -> None:
    """Refuse an org document older than the mark, or another one under the mark's number."""
    if mark is not None:
        _require_not_below("org document", mark.org.seq, mark.org.sha256, seq, sha256)


def check_head(mark: Mark | None, seq: int, sha256: bytes) -> None:
    """Refuse a head older than the mark, or another one under the mark's number."""
    if mark is not None:
        check_seen(mark.head, seq, sha256)


def check_seen(known: HeadMark, seq: int, sha256: bytes) -> None:
    """Refuse a head older than one that was verified before, or another one under its number."""
    _require_not_below("head", known.seq, known.sha256, seq, sha256)


def check_structure(mark: Mark | None, seq: int) -> None:
    """Refuse a structure older than the mark. Its hash stands in the head, which is checked by itself."""
    if mark is not None:
        _require_not_below("structure", mark.structure_seq, b"", seq, b"")


def check_contents(mark: Mark | None, profile_id: bytes, version: int, sha256: bytes) -> None:
    """Refuse contents of a profile older than those read before, or others under the same version."""
    if mark is not None and (known := mark.contents.get(profile_id)) is not None:
        _require_not_below("profile contents", known.version, known.sha256, version, sha256)


def check_default_profile(mark: Mark | None, profile_id: bytes) -> None:
    """Refuse another profile than the one that was offered before, when none is named."""
    if mark is not None and mark.default_profile not in {None, profile_id}:
        raise IntegrityError(
            "The server offers another profile than before, although none was named.",
            hint="Name the profile that is meant with --profile.",
            evidence={"kept": mark.default_profile, "offered": profile_id},
        )


class MarkFile:
    """One mark on disk. ``party`` (``t-`` or ``o-`` and an id in hex) names the file and stands in it."""

    def __init__(self, party: str, folder: str | None = None) -> None:
        self.party = party
        self.path = os.path.join(folder if folder is not None else marks_dir(), f"{party}.json")

    def load(self) -> Mark | None:
        """The mark, or ``None`` where there is none yet; ``IntegrityError`` where it is there and cannot be read."""
        try:
            content = read_private(self.path, MARK_BYTES, secret=False)
            return None if content is None else _decode(content, self.party)
        except (LocalFileError, MalformedError) as error:
            raise IntegrityError(
                f"The mark of the newest state seen cannot be read: {error.message}",
                hint=_RESET_HINT,
                evidence={"path": self.path},
            ) from error

    def save(self, mark: Mark, *, required: bool = False) -> bool:
        """Merge ``mark`` with what is on disk and keep it; whether that was possible.

        ``False`` where the folder cannot be written: the caller warns and goes on. With ``required``
        (``STRONGHOLD_REQUIRE_MARK=1``) that is a ``LocalFileError`` with the code ``MARK_NOT_KEPT``. A contradiction with
        what is on disk is an ``IntegrityError`` in any case.
        """
        try:
            with locked(self.path):
                kept = self.load()
                merged = merge(kept, mark)
                if merged != kept:
                    write_private(self.path, _encode(merged, self.party))
        except LocalFileError as error:
            if not required:
                return False
            raise LocalFileError(
                f"The mark of the newest state seen cannot be kept: {error.message}",
                hint="STRONGHOLD_REQUIRE_MARK=1 makes that an error; make the folder writable, or unset it.",
                code=MARK_NOT_KEPT,
            ) from error
        return True

    def reset(self) -> bool:
        """Forget the mark; whether there was one. What is lost: older states of this org are believed again."""
        return remove(self.path)


def agent_mark(token_id: bytes) -> MarkFile:
    """The mark of one agent token."""
    return MarkFile(f"t-{token_id.hex()}")


def operator_mark(org_id: bytes) -> MarkFile:
    """The mark of the operator of one org on this machine."""
    return MarkFile(f"o-{org_id.hex()}")


def marks_dir() -> str:
    """Where the marks lie."""
    return os.path.join(data_dir(), "marks")


def mark_required(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a mark that cannot be kept is an error: ``STRONGHOLD_REQUIRE_MARK=1``."""
    return environ.get("STRONGHOLD_REQUIRE_MARK") == "1"


def _require_not_below(kind: str, known: int, known_hash: bytes, number: int, sha256: bytes) -> None:
    _require_one_hash(kind, known, known_hash, number, sha256)
    if number < known:
        raise IntegrityError(
            f"The {kind} received is older (number {number}) than what was verified here before (number {known}).",
            hint="The server shows an old state: tell its operator. " + _RESET_HINT,
            evidence={"kind": kind, "mark": known, "received": number},
        )


def _require_one_hash(kind: str, known: int, known_hash: object, number: int, other_hash: object) -> None:
    if known == number and known_hash != other_hash:
        raise IntegrityError(
            f"There are two different {kind}s under the number {number}: the server shows different histories.",
            hint="Compare the head with another device or person before anything is written.",
            evidence={"kind": kind, "number": number, "mark": known_hash, "received": other_hash},
        )


def _encode(mark: Mark, party: str) -> bytes:
    return encode_json(
        {
            "v": _VERSION,
            "party": party,
            "org": {"seq": mark.org.seq, "sha256": mark.org.sha256.hex(), "root_sign": mark.org.root_sign.hex()},
            "head": {"seq": mark.head.seq, "sha256": mark.head.sha256.hex()},
            "structure_seq": mark.structure_seq,
            "contents": {
                profile_id.hex(): {"version": each.version, "sha256": each.sha256.hex()}
                for profile_id, each in sorted(mark.contents.items())
            },
            "default_profile": mark.default_profile.hex() if mark.default_profile else None,
        }
    )


def _decode(content: bytes, party: str) -> Mark:
    whole = _members(
        decode_json(content, MARK_BYTES), "v", "party", "org", "head", "structure_seq", "contents", "default_profile"
    )
    if whole["v"] != _VERSION or whole["party"] != party:
        raise MalformedError("the mark is of another version or of another party")
    org = _members(whole["org"], "seq", "sha256", "root_sign")
    head = _members(whole["head"], "seq", "sha256")
    if not isinstance(whole["contents"], dict):
        raise MalformedError("the mark has no table of contents")
    default = whole["default_profile"]
    return Mark(
        org=OrgMark(seq=_number(org["seq"]), sha256=_hex(org["sha256"], 32), root_sign=_hex(org["root_sign"], 32)),
        head=HeadMark(seq=_number(head["seq"]), sha256=_hex(head["sha256"], 32)),
        structure_seq=_number(whole["structure_seq"]),
        contents={_hex(profile_id, 16): _contents_mark(each) for profile_id, each in whole["contents"].items()},
        default_profile=None if default is None else _hex(default, 16),
    )


def _contents_mark(value: Any) -> ContentsMark:
    members = _members(value, "version", "sha256")
    return ContentsMark(version=_number(members["version"]), sha256=_hex(members["sha256"], 32))


def _members(value: Any, *names: str) -> dict[str, Any]:
    if not isinstance(value, dict) or tuple(value) != names:
        raise MalformedError("the mark does not have its members")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise MalformedError("the mark holds something else than a number")
    return value


def _hex(value: Any, length: int) -> bytes:
    if not isinstance(value, str):
        raise MalformedError("the mark holds something else than a hash")
    return decode_hex(value, length)
