"""Make the frozen vectors of documents, leaves, tokens and requests, or compare them:
``python tests/vectors/make_document_vectors.py [--check]``.

``own/documents.json`` fixes the bytes of every format of protocol sections 2 and 4 to 7: each kind of document as payload
and envelope, each map leaf and root, TLV, tokens and kits, request signatures, the audit leaf, and words.
``own/malformed_documents.json`` holds inputs with exactly one failure each: its class and where the rule stands.
Everything follows from fixed keys. ``--check`` writes nothing and exits with 1 where anything differs.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from hashlib import shake_256
from typing import Any

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))

from stronghold_cli.protocol.audit import AuditLeaf, DocumentReference, side_hash
from stronghold_cli.protocol.documents.agent import Agent, Limits, Rate, Token
from stronghold_cli.protocol.documents.base import SIZE_LIMITS, Document
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.invite import Invite
from stronghold_cli.protocol.documents.leaves import DocumentLeaf, EntryLeaf, MemberLeaf, OldKeyLeaf, document_key, leaf_link
from stronghold_cli.protocol.documents.login import Acceptance, Login
from stronghold_cli.protocol.documents.org import LogKey, Operator, Org, Policy, Resume, RootKeys, genesis_org_id
from stronghold_cli.protocol.documents.profile import Grant, Profile
from stronghold_cli.protocol.documents.structure import Lockdown, Structure
from stronghold_cli.protocol.encoding import tlv
from stronghold_cli.protocol.envelope import sign_envelope
from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.requests import KeyId, sign_request
from stronghold_cli.protocol.signed_map import map_root
from stronghold_cli.protocol.token import AgentToken, OperatorInvite, OperatorKit, RootKit
from stronghold_cli.protocol.words import words

FOLDER = os.path.dirname(os.path.abspath(__file__))
PATH = os.path.join(FOLDER, "own", "documents.json")
MALFORMED_PATH = os.path.join(FOLDER, "own", "malformed_documents.json")


def fixed(name: str, size: int) -> bytes:
    """``size`` bytes that belong to ``name`` for ever."""
    return shake_256(b"stronghold document vector: " + name.encode()).digest(size)


def public(name: str) -> bytes:
    return SigningKey(fixed(name, 32)).public


def hash_of(name: str) -> bytes:
    return fixed(f"hash {name}", 32)


TIME = 1_800_000_000
ROOT = SigningKey(fixed("root", 32))
ADA = SigningKey(fixed("ada sign", 32))
ORG_ID = genesis_org_id(ROOT.public)
ADA_ID, EVE_ID = sorted((fixed("ada", 16), fixed("eve", 16)))
AGENT, GROUP, PROFILE, INVITE = (fixed(name, 16) for name in ("agent", "group", "profile", "invite"))
SECRET, TOKEN = fixed("secret", 16), fixed("token", 16)
EXTRAS: dict[str, Any] = {"ext": {"note": {"é": [1, None, True]}}, "crit": ()}
PLAIN: dict[str, Any] = {"ext": {}, "crit": ()}
ENTRY = EntryLeaf(version=3, epoch=2, ciphertext_sha256=hash_of("ciphertext"), prev=hash_of("prev"), oldest=1)
LEAVES = {
    "document": DocumentLeaf(name="prod-é", sha256=hash_of("payload")),
    "member token": MemberLeaf(kind="token", owner=AGENT, seal_sha256=hash_of("seal"), sealed_sha256=hash_of("sealed")),
    "member operator": MemberLeaf(kind="operator", owner=b"", seal_sha256=hash_of("seal"), sealed_sha256=hash_of("sealed")),
    "member root": MemberLeaf(kind="root", owner=b"", seal_sha256=hash_of("seal"), sealed_sha256=hash_of("sealed")),
    "old key": OldKeyLeaf(kcv=hash_of("kcv"), box_sha256=hash_of("box")),
    "entry": ENTRY,
    "entry deleted": ENTRY.replace(ciphertext_sha256=bytes(32)),
}
ROOTS = {
    "empty": {},
    "one": {SECRET: ENTRY.encode()},
    "five": {fixed(f"key {number}", 16): fixed(f"value {number}", number) for number in range(5)},
}


def operator(name: str, role: str) -> Operator:
    return Operator(
        name=name, sign=public(f"{name} sign"), request=public(f"{name} request"), seal_sha256=hash_of(name), role=role
    )


def documents() -> dict[str, Document]:
    """One document of every kind, with every optional member set; and some with none."""
    line = Lockdown(
        id=fixed("lockdown", 16),
        all=False,
        groups=(GROUP,),
        agents=(AGENT,),
        labels=("env=ci",),
        reason="drill",
        created=TIME,
    )
    limits = Limits(addresses=("10.0.0.0/8", "2001:db8::/32"), rate=Rate(requests=60, seconds=60), uses=5)
    token = Token(
        name="ci",
        last4="aZ09",
        auth_public_key=public("auth"),
        seal_sha256=hash_of("token seal"),
        state="deprecated",
        created=TIME,
        created_by=ADA_ID,
        not_after=TIME + 1,
        limits=limits,
    )
    agent = Agent(
        org_id=ORG_ID,
        id=AGENT,
        version=2,
        name="bot",
        description="déploie",
        labels={"env": "ci"},
        state="paused",
        not_after=TIME,
        groups=(GROUP,),
        tokens={TOKEN: token},
        **EXTRAS,
    )
    org = Org(
        org_id=ORG_ID,
        name="Exämple",
        seq=2,
        prev=hash_of("org"),
        root=RootKeys(sign=ROOT.public, seal_sha256=hash_of("root")),
        operators={ADA_ID: operator("ada", "admin"), EVE_ID: operator("eve", "editor")},
        policy=Policy(client_min="0.1.0", max_head_age=86_400),
        log_keys=(LogKey(id=bytes(16), public_key=public("log")),),
        resume=Resume(head_sha256=hash_of("head"), seq=7),
        created=TIME,
        **EXTRAS,
    )
    sign, request = public("guest sign"), public("guest request")
    acceptance = Acceptance(
        org_id=ORG_ID,
        invite_id=INVITE,
        name="guest",
        sign=sign,
        request=request,
        seal_sha256=hash_of("guest"),
        proof=bytes(64),
        **PLAIN,
    )
    proof = SigningKey(fixed("guest sign", 32)).sign(acceptance.proof_message())
    return {
        "org": org,
        "org without resume": org.replace(resume=None, **PLAIN),
        "structure": Structure(
            org_id=ORG_ID,
            seq=9,
            prev=hash_of("structure"),
            documents=map_root(ROOTS["five"]),
            lockdowns=(line,),
            created=TIME,
            **EXTRAS,
        ),
        "agent": agent,
        "agent without limits": agent.replace(
            not_after=None,
            state="active",
            labels={},
            groups=(),
            tokens={TOKEN: token.replace(not_after=None, limits=Limits(addresses=(), rate=None, uses=None))},
        ),
        "group": Group(
            org_id=ORG_ID,
            id=GROUP,
            version=1,
            name="deployers",
            epoch=3,
            kcv=hash_of("group key"),
            operators=(ADA_ID, EVE_ID),
            member_map=map_root(ROOTS["one"]),
            **EXTRAS,
        ),
        "profile": Profile(
            org_id=ORG_ID,
            id=PROFILE,
            version=4,
            name="production",
            description="",
            epoch=2,
            kcv=hash_of("profile key"),
            old_keys=map_root({}),
            editors=(EVE_ID,),
            grants={GROUP: Grant(epoch=3, wrap_sha256=hash_of("wrap"))},
            **EXTRAS,
        ),
        "invite": Invite(
            org_id=ORG_ID,
            id=INVITE,
            public_key=public("invite"),
            role="editor",
            name="guest",
            created=TIME,
            not_after=TIME + 9,
            **EXTRAS,
        ),
        "contents": Contents(
            org_id=ORG_ID,
            profile_id=PROFILE,
            seq=9,
            version=5,
            prev=hash_of("contents"),
            profile_epoch=2,
            entries=map_root(ROOTS["one"]),
            created=TIME,
            **EXTRAS,
        ),
        "head": Head(
            org_id=ORG_ID,
            seq=9,
            prev=hash_of("head"),
            org_sha256=org.sha256,
            structure_sha256=hash_of("new structure"),
            contents=map_root({PROFILE: hash_of("contents")}),
            created=TIME,
            **EXTRAS,
        ),
        "login": Login(
            org_id=ORG_ID, operator_id=ADA_ID, version=1, login=public("login"), box_sha256=hash_of("keyset box"), **EXTRAS
        ),
        "acceptance": acceptance.replace(proof=proof, **EXTRAS),
    }


def envelopes() -> dict[str, Any]:
    """Each document with its hash, and in an envelope of ada's or root's; those whose authority is a leaf have none."""
    made = {}
    for name, document in documents().items():
        entry = {"kind": document.KIND, "payload": document.payload.decode(), "sha256": document.sha256.hex()}
        if document.KIND not in {"agent", "group", "profile", "invite"}:
            keyid, key = ("root", ROOT) if document.KIND == "org" else (ADA_ID.hex(), ADA)
            entry["envelope"] = sign_envelope(document.KIND, document.payload, keyid, key).encode().decode()
            entry["public_key"] = key.public.hex()
        made[name] = entry
    return made


def credentials() -> dict[str, str]:
    """The texts of a token and of every kit."""
    common: dict[str, Any] = {
        "plain_http": False,
        "pin": hash_of("pin"),
        "floor": 7,
        "address": "vault.example.com:8443/base",
    }
    token = AgentToken(secret=fixed("S", 32), wrapped_master_key=fixed("wrapped", 48), **common)
    return {
        "agent token": token.text,
        "agent token header": "hex:" + token.header.hex(),
        "agent token, plain http": token.replace(plain_http=True, address="127.0.0.1:8080").text,
        "operator invite": OperatorInvite(org_id=ORG_ID, invite_id=INVITE, invite_key=fixed("I", 32), **common).text,
        "root kit": RootKit(org_id=ORG_ID, root_key=fixed("RK", 32), **common).text,
        "operator kit": OperatorKit(
            org_id=ORG_ID,
            operator_id=ADA_ID,
            account_key=fixed("ASK", 32),
            salt=fixed("salt", 16),
            memory_kib=262_144,
            time_cost=3,
            parallelism=4,
            **common,
        ).text,
    }


def requests() -> dict[str, Any]:
    """Signed requests: one with a body and one with neither body nor query."""
    made = {}
    for name, key_id, target, body in (
        ("a commit", KeyId(kind="o", raw=ADA_ID), f"/base/v1/orgs/{ORG_ID.hex()}/commits", b"{}"),
        ("a pull", KeyId(kind="t", raw=TOKEN), f"/base/v1/pull?org={'0' * 64}&profile=a%20b", b""),
        ("a recovery", KeyId(kind="r", raw=ORG_ID), "/v1/x", b"\0"),
    ):
        headers, base = sign_request(
            ADA,
            key_id,
            method="POST" if body else "GET",
            authority="vault.example.com:8443",
            target=target,
            body=body,
            created=TIME,
            nonce=fixed("nonce", 16),
        )
        made[name] = {"headers": dict(headers.items()), "base": base.split("\n"), "public_key": ADA.public.hex()}
    return made


def audit_leaves() -> dict[str, str]:
    """An entry with a document, and a refusal without one."""
    leaf = AuditLeaf(
        index=3,
        kind="pull",
        server_time=TIME,
        signature_base="\n".join(requests()["a pull"]["base"]),
        signature=bytes(64),
        key_id=KeyId(kind="t", raw=TOKEN),
        outcome="ok",
        code="TOKEN_DEPRECATED",
        head_seq=9,
        document=DocumentReference(kind="contents", id=PROFILE, version=5, sha256=hash_of("contents")),
        correlation_id=fixed("correlation", 16),
        side=side_hash(fixed("side", 16), "192.0.2.1", "agent/1"),
    )
    refused = leaf.replace(outcome="refused", code="TOKEN_EXPIRED", document=None)
    return {"ok": leaf.encode().decode(), "refused": refused.encode().decode()}


def formats() -> dict[str, Any]:
    """TLV, map leaves, links, map roots and words."""
    return {
        "tlv": {
            "parts of each type": tlv(b"", b"\0\xff", "é", 0, 2**53 - 1).hex(),
            "nothing": tlv().hex(),
        },
        "document key": {kind: document_key(kind, AGENT).hex() for kind in ("agent", "group", "invite", "profile")},
        "leaves": {name: leaf.encode().hex() for name, leaf in LEAVES.items()},
        "entry link": leaf_link(SECRET, ENTRY.encode()).hex(),
        "map roots": {name: {"size": map_root(m).size, "root": map_root(m).root.hex()} for name, m in ROOTS.items()},
        "words": {sha256.hex(): words(sha256) for sha256 in (bytes(32), hash_of("words"), b"\xff" * 32)},
    }


# Inputs with one failure

WRONG_TYPES = {"true": True, "number": 1, "null": None}
SMALL_ORDER = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
NOT_CANONICAL = "7v///////////////////////////////////////38="
SINGLE: tuple[tuple[str, str, tuple[Any, ...], Any, str], ...] = (
    ("a hash in upper case", "head", ("prev",), "AB" * 32, "section 2: lower-case hex"),
    ("a hash that is short", "head", ("prev",), "ab" * 31, "section 2: lower-case hex"),
    ("an id that is long", "agent", ("id",), "ab" * 17, "section 2: ids are 16 bytes"),
    ("a seq of 0", "head", ("seq",), 0, "section 2: the first seq is 1"),
    ("a seq of 2^32", "head", ("seq",), 2**32, "section 5: at most 2^32-1"),
    ("a negative time", "head", ("created",), -1, "section 2: times"),
    ("a version of 0", "agent", ("version",), 0, "section 2: the first version is 1"),
    ("an epoch of 0", "group", ("epoch",), 0, "section 2: the first epoch is 1"),
    ("a grant of epoch 0", "profile", ("grants", GROUP.hex(), "epoch"), 0, "section 2: the first epoch is 1"),
    ("a negative map size", "head", ("contents", "size"), -1, "section 5: signed map"),
    ("an unknown member of a map root", "head", ("contents", "more"), 1, "rule R18"),
    ("another kind", "group", ("kind",), "agent", "section 5: kind equals the leaf"),
    ("another kind of agent", "agent", ("kind",), "group", "section 5: kind equals the leaf"),
    ("another kind of profile", "profile", ("kind",), "group", "section 5: kind equals the leaf"),
    ("another kind of invite", "invite", ("kind",), "group", "section 5: kind equals the leaf"),
    ("an unknown state", "agent", ("state",), "revoked", "section 5: agent"),
    ("an unknown role", "invite", ("role",), "owner", "section 5: invite"),
    ("a name with a direction control", "agent", ("name",), "a\u202eb", "section 2: names"),
    ("a name that is not NFC", "agent", ("name",), "e\u0301", "section 2: names are NFC"),
    ("a description that is not NFC", "agent", ("description",), "e\u0301", "section 2: NFC"),
    ("a description that is too long", "agent", ("description",), "x" * 1001, "product: limits"),
    ("a name that is too long", "agent", ("name",), "x" * 1001, "product: limits"),
    ("a profile's name with a slash", "profile", ("name",), "a/b", "product: names"),
    ("ids that are not sorted", "group", ("operators",), [EVE_ID.hex(), ADA_ID.hex()], "section 5: id lists"),
    ("an id twice", "group", ("operators",), [ADA_ID.hex()] * 2, "section 5: id lists"),
    ("an id that is no text", "group", ("operators",), [1], "section 5: id lists"),
    ("a label with a blank", "agent", ("labels",), {"a": "b c"}, "product: labels"),
    ("a label that is no text", "agent", ("labels",), {"a": 1}, "product: labels"),
    ("too many labels", "agent", ("labels",), {f"k{n}": "v" for n in range(65)}, "product: labels"),
    ("a last4 with a sign", "agent", ("tokens", TOKEN.hex(), "last4"), "a-b_", "section 4: base62"),
    ("a last4 that is short", "agent", ("tokens", TOKEN.hex(), "last4"), "abc", "section 4: base62"),
    ("a token of an unknown state", "agent", ("tokens", TOKEN.hex(), "state"), "revoked", "section 5: agent"),
    ("a token with an unknown member", "agent", ("tokens", TOKEN.hex(), "more"), 1, "rule R18"),
    ("a range with host bits", "agent", ("tokens", TOKEN.hex(), "limits", "addresses"), ["10.0.0.1/8"], "section 5: limits"),
    ("a range without a length", "agent", ("tokens", TOKEN.hex(), "limits", "addresses"), ["10.0.0.0"], "section 5: limits"),
    ("a range that is no text", "agent", ("tokens", TOKEN.hex(), "limits", "addresses"), [1], "section 5: limits"),
    ("a range that is no address", "agent", ("tokens", TOKEN.hex(), "limits", "addresses"), ["x"], "section 5: limits"),
    ("a rate of 0 requests", "agent", ("tokens", TOKEN.hex(), "limits", "rate", "requests"), 0, "section 5: limits"),
    ("a rate of 0 seconds", "agent", ("tokens", TOKEN.hex(), "limits", "rate", "seconds"), 0, "section 5: limits"),
    ("no uses", "agent", ("tokens", TOKEN.hex(), "limits", "uses"), 0, "section 5: limits"),
    ("an unknown limit", "agent", ("tokens", TOKEN.hex(), "limits", "more"), 0, "rule R18"),
    ("a key of small order", "invite", ("public_key",), SMALL_ORDER, "rule R5"),
    ("a key that is not canonical", "invite", ("public_key",), NOT_CANONICAL, "rule R5"),
    ("a key of 31 bytes", "invite", ("public_key",), "A" * 40 + "AA==", "rule R5"),
    ("base64 without padding", "invite", ("public_key",), SMALL_ORDER[:-1], "section 2: base64"),
    ("a proof of 63 bytes", "acceptance", ("proof",), "A" * 84, "section 8: acceptance"),
    ("a lockdown twice", "structure", ("lockdowns",), 2, "section 5: structure"),
    ("a lockdown of all and of some", "structure", ("lockdowns", 0, "all"), True, "section 5: structure"),
    ("a lockdown's label without a value", "structure", ("lockdowns", 0, "labels"), ["env"], "section 5: structure"),
    ("a lockdown's label with a blank", "structure", ("lockdowns", 0, "labels"), ["e v=1"], "section 5: structure"),
    ("a lockdown's label that is no text", "structure", ("lockdowns", 0, "labels"), [1], "section 5: structure"),
    ("an unknown member of a lockdown", "structure", ("lockdowns", 0, "more"), 1, "rule R18"),
    ("no admin", "org", ("operators", ADA_ID.hex(), "role"), "editor", "section 5: at least one admin"),
    ("an unknown role of an operator", "org", ("operators", EVE_ID.hex(), "role"), "owner", "section 5: org"),
    ("two operators of a name", "org", ("operators", EVE_ID.hex(), "name"), "ADA", "section 5: unique names"),
    ("no log key", "org", ("log_keys",), [], "section 5: org"),
    ("a log key twice", "org", ("log_keys",), 2, "section 5: org"),
    ("a version with a leading zero", "org", ("policy", "client_min"), "0.01.0", "section 5: client_min"),
    ("a version of two parts", "org", ("policy", "client_min"), "0.1", "section 5: client_min"),
    ("an unknown policy", "org", ("policy", "more"), 1, "rule R18"),
    ("a resume at 0", "org", ("resume", "seq"), 0, "section 5: resume"),
    ("an unknown member of root", "org", ("root", "more"), 1, "rule R18"),
    ("ext that is no object", "head", ("ext",), [], "section 5: ext"),
    ("too many members in ext", "head", ("ext",), {f"n{n}": 1 for n in range(65)}, "section 5: ext"),
    ("crit that is no list", "head", ("crit",), {}, "section 5: crit"),
    ("crit that holds no names", "head", ("crit",), [1], "section 5: crit"),
    ("an unknown name in crit", "head", ("crit",), ["quorum"], "section 5: crit"),
    ("depth over 8", "head", ("ext",), {"a": [[[[[[[[1]]]]]]]]}, "section 2: depth"),
    ("an integer above 2^53-1", "head", ("ext",), {"a": 2**53}, "section 2: huge numbers"),
)


def malformed() -> list[dict[str, str]]:
    """Every input: the kind it is read as, the payload (``hex:…`` where it is no UTF-8), error class, and origin."""
    made = []
    good = {name: document.payload.decode() for name, document in documents().items()}

    def add(name: str, kind: str, payload: str, origin: str, error: str = "MALFORMED") -> None:
        made.append({"name": name, "kind": kind, "payload": payload, "error": error, "origin": origin})

    for kind in SIZE_LIMITS:
        value = json.loads(good[kind])
        for member, old in value.items():
            add(
                f"{kind} without {member}",
                kind,
                text({k: v for k, v in value.items() if k != member}),
                "section 2: all present",
            )
            for title, wrong in WRONG_TYPES.items():
                if not same_type(old, wrong) and not (
                    wrong is None and member in {"resume", "not_after"} and kind != "invite"
                ):
                    add(f"{kind} with {member} {title}", kind, text({**value, member: wrong}), "rule R18: types")
        add(f"{kind} with an unknown member", kind, text({**value, "more": 1}), "section 2: unknown members")
        add(f"{kind} with a member twice", kind, good[kind].replace("{", '{"crit":[],', 1), "section 2: duplicate members")
        add(f"{kind} in a list", kind, f"[{good[kind]}]", "rule R18: types")
        add(f"{kind} with trailing data", kind, good[kind] + "{}", "section 2: trailing data")
    head = good["head"]
    add("a float", "head", head.replace('"seq":9', '"seq":9.0'), "section 2: floats")
    add("an exponent", "head", head.replace('"seq":9', '"seq":9e0'), "section 2: floats")
    add("not a number", "head", head.replace('"seq":9', '"seq":NaN'), "section 2: floats")
    add("minus zero", "head", head.replace('"seq":9', '"seq":-0'), "section 2: huge numbers")
    add("a byte order mark", "head", "\ufeff" + head, "section 2: strict JSON")
    add("nothing", "head", "", "section 2: strict JSON")
    add("half of a surrogate pair", "head", head.replace('"note"', '"\\ud800"'), "section 2: invalid UTF-8")
    add("invalid UTF-8", "head", "hex:" + head.encode().replace(b"note", b"no\xff\xfe").hex(), "section 2: invalid UTF-8")
    sign, request = (f'"{json.loads(good["org"])["operators"][ADA_ID.hex()][name]}"' for name in ("sign", "request"))
    add("one key for two jobs", "org", good["org"].replace(request, sign), "rule R3; section 5: keys occur once")
    add(
        "one sealing key twice",
        "org",
        good["org"].replace(hash_of("eve").hex(), hash_of("ada").hex()),
        "section 5: keys once",
    )
    for name, kind, path, wrong, origin in SINGLE:
        value = json.loads(good[kind])
        *parents, last = path
        place = value
        for step in parents:
            place = place[step]
        place[last] = place[last] * 2 if last in {"lockdowns", "log_keys"} and wrong == 2 else wrong
        add(name, kind, text(value), origin, "CLIENT_TOO_OLD" if wrong == ["quorum"] else "MALFORMED")
    return made


def same_type(old: Any, wrong: Any) -> bool:
    """Whether the wrong value would be of the member's type, so that it is no failure of the type."""
    return type(old) is type(wrong) and not (isinstance(old, str) and len(old) > 20)


def text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def all_vectors() -> dict[str, Any]:
    origin = "made by tests/vectors/make_document_vectors.py"
    good = {
        "origin": origin,
        "documents": envelopes(),
        "formats": formats(),
        "credentials": credentials(),
        "requests": requests(),
        "audit leaves": audit_leaves(),
    }
    return {PATH: good, MALFORMED_PATH: {"origin": origin, "inputs": malformed()}}


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """The paths at which two trees differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old.keys() | new.keys():
            yield from differences(old.get(name), new.get(name), f"{path}/{name}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{path}/{index}")
    elif old != new:
        yield path


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    changed = []
    for path, made in all_vectors().items():
        if not arguments:
            with open(path, "w", encoding="utf-8") as file:
                file.write(json.dumps(made, indent=1, ensure_ascii=True) + "\n")
            continue
        with open(path, encoding="utf-8") as file:
            changed += differences(json.load(file), made)
    for place in sorted(changed):
        print(f"differs: {place}", file=sys.stderr)
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
