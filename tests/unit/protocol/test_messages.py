"""The bodies of the API come back from their bytes, and have one form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.protocol import messages, messages_pull
from stronghold_cli.protocol.encoding import MAX_VALUES, decode_json, encode_base64, encode_json
from stronghold_cli.protocol.errors import MalformedError
from stronghold_cli.protocol.messages import Ciphertexts, Commit, Committed, Genesis, Keys, LoginAnswer, TokenUse
from stronghold_cli.protocol.messages_pull import decode_pull_answer, decode_self_answer
from tests.support.org import LOG_KEYS, secret_of, workshop

ORG = workshop()
CHANGES = ORG.server.sync(3, 2)
COMMIT = Commit(changes=CHANGES, blobs=(b"", b"\xff"), shares={bytes(16): bytes(32)})
ENVELOPE = ORG.state.head.envelope
TOKEN = ORG.tokens["ci"]
PULL = ORG.server.pull_answer(secret_of(TOKEN).token_id, ORG.profile("production"), TOKEN.token.pin)
PULL = PULL.replace(entries=(*PULL.entries, PULL.entries[0].replace(ciphertext=None)))
SELF = ORG.server.self_answer(secret_of(TOKEN).token_id, TOKEN.token.pin)
GENESIS = Genesis(setup_code="code", commit=COMMIT, login=ENVELOPE, keyset=b"box")
LOGIN = LoginAnswer(login=ENVELOPE, keyset=b"box", org=(ENVELOPE,), head=ENVELOPE)
KEYS = Keys(seals={bytes(16): b"seal"}, wraps={(bytes(16), b"g" * 16): b"wrap"})
USES = {bytes(16): TokenUse(last_used=None, uses=0), b"t" * 16: TokenUse(last_used=7, uses=3)}
CIPHERTEXTS = Ciphertexts(ciphertexts={bytes(16): b"c"})

BODIES: dict[str, tuple[bytes, Callable[[bytes], Any], Any]] = {
    "commit": (COMMIT.encode(), messages.decode_commit, COMMIT),
    "genesis": (GENESIS.encode(), messages.decode_genesis, GENESIS),
    "committed": (Committed(seq=2, already=True).encode(), messages.decode_committed, Committed(seq=2, already=True)),
    "keys": (KEYS.encode(), messages.decode_keys, KEYS),
    "ciphertexts": (CIPHERTEXTS.encode(), messages.decode_ciphertexts, CIPHERTEXTS),
    "login": (LOGIN.encode(), messages.decode_login_answer, LOGIN),
    "setup": (messages.encode_setup(LOG_KEYS), messages.decode_setup, LOG_KEYS),
    "sync": (messages.encode_sync(CHANGES), messages.decode_sync, CHANGES),
    "token uses": (messages.encode_token_uses(USES), messages.decode_token_uses, USES),
    "sealing keys": (messages.encode_sealing_keys([b"k", b"l"]), messages.decode_sealing_keys, (b"k", b"l")),
    "audit": (messages.encode_audit((b"leaf",), 9), messages.decode_audit, ((b"leaf",), 9)),
    "error": (messages.encode_error("CONFLICT", "text"), messages.decode_error, "CONFLICT"),
    "pull": (PULL.encode(), decode_pull_answer, PULL),
    "self": (SELF.encode(), decode_self_answer, SELF),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_comes_back_from_its_bytes(name: str) -> None:
    body, decode, value = BODIES[name]
    assert decode(body) == value


@pytest.mark.parametrize("decode", [decode_pull_answer, decode_self_answer])
def test_an_agent_s_answer_has_a_limit_of_values_of_its_own(decode: Callable[[bytes], Any]) -> None:
    limit = messages_pull._MAX_VALUES
    assert limit < MAX_VALUES
    with pytest.raises(MalformedError, match="not strict JSON"):
        decode(b"," * limit)
    with pytest.raises(MalformedError, match="too many values"):
        decode(b"," * (limit + 1))


@pytest.mark.parametrize(
    "decode", [messages.decode_sync, messages.decode_commit, messages.decode_genesis, messages.decode_audit]
)
def test_every_large_body_has_a_limit_of_values(decode: Callable[[bytes], Any]) -> None:
    with pytest.raises(MalformedError, match="too many values"):
        decode(b"," * (MAX_VALUES + 1))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, at most two items of each list."""
    found = [path]
    if isinstance(value, dict):
        for name, item in list(value.items())[:20]:
            found += places(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value[:2]):
            found += places(item, (*path, index))
    return found


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


@pytest.mark.parametrize("name", BODIES)
def test_no_member_of_a_body_has_another_type(name: str) -> None:
    body, decode, _ = BODIES[name]
    value = decode_json(body, 1 << 30)
    for path in places(value):
        if path and path[-1] == "receipt":
            continue
        old = at(value, path)
        for wrong in (True, "é", -1, None, {"x": 1}, [[[]]]):
            if type(wrong) is type(old) and not isinstance(old, (str, int)):
                continue
            if (wrong is None and path[-2:-1] and may_be_null(path)) or (isinstance(old, str) and is_free_text(path)):
                continue
            if wrong is True and isinstance(old, bool):
                continue
            with pytest.raises(MalformedError):
                decode(encode_json(changed(value, path, wrong)))


def may_be_null(path: tuple[Any, ...]) -> bool:
    """Gone leaves, a missing structure, the ciphertext of a deleted entry, and the last use."""
    return (
        path[-1] in {"structure", "last_used"}
        or (len(path) > 2 and path[-3] == "leaves" and path[-1] == 1)
        or (path[0] == "entries" and path[-1] == 2)
    )


def is_free_text(path: tuple[Any, ...]) -> bool:
    return path[-1] in {"setup_code", "code", "message", "payloadType"}


@pytest.mark.parametrize("name", BODIES)
def test_every_member_of_a_body_is_needed_and_no_other_allowed(name: str) -> None:
    body, decode, _ = BODIES[name]
    value = decode_json(body, 1 << 30)
    for path in places(value):
        old = at(value, path)
        if not isinstance(old, dict) or (path and path[-1] in {"seals", "ciphertexts", "shares", "tokens"}):
            continue
        if path == ():
            assert name != "ciphertexts" or set(old) == {"ciphertexts", "receipt"}
        for member in old:
            with pytest.raises(MalformedError):
                decode(encode_json(changed(value, path, {key: item for key, item in old.items() if key != member})))
        with pytest.raises(MalformedError):
            decode(encode_json(changed(value, path, {**old, "more": None})))


def sync_with_maps(*maps: Any) -> bytes:
    value = decode_json(messages.encode_sync(CHANGES), 1 << 30)
    value["changes"]["maps"] = list(maps)
    return encode_json(value)


LEAF = [encode_base64(b"k"), encode_base64(b"v")]
MAP = {"map": "members", "id": "00" * 16, "leaves": [LEAF]}


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ([{**MAP, "leaves": [LEAF, LEAF]}], "a key stands twice"),
        ([MAP, MAP], "a map stands twice"),
        ([{**MAP, "leaves": [[*LEAF, ""]]}], "a leaf is not"),
        ([{**MAP, "leaves": [LEAF[:1]]}], "a leaf is not"),
        ([{**MAP, "map": "heads"}], "none of"),
        ([{**MAP, "id": ""}], "hex digits"),
        ([{**MAP, "map": "documents"}], "hex digits"),
        ([{**MAP, "map": "contents"}], "hex digits"),
    ],
)
def test_a_map_of_changes_has_one_form(maps: list[Any], message: str) -> None:
    assert messages.decode_sync(sync_with_maps(MAP)).maps == {("members", bytes(16)): {b"k": b"v"}}
    with pytest.raises(MalformedError, match=message):
        messages.decode_sync(sync_with_maps(*maps))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_share_is_32_bytes(size: int) -> None:
    with pytest.raises(MalformedError):
        messages.decode_commit(COMMIT.replace(shares={bytes(16): bytes(size)}).encode())


@pytest.mark.parametrize("wrap", [[], ["00" * 16, "00" * 16], ["00" * 16, "00" * 16, "", ""], [1, 2, 3], {}])
def test_a_wrap_is_profile_group_and_blob(wrap: Any) -> None:
    with pytest.raises(MalformedError, match="a wrap is not"):
        messages.decode_keys(encode_json({"seals": {}, "wraps": [wrap]}))


@pytest.mark.parametrize("entry", [[], ["00" * 16, ""], [1, "", ""], {}, ["00" * 16, "", "", ""]])
def test_an_entry_is_id_leaf_and_ciphertext(entry: Any) -> None:
    value = decode_json(PULL.encode(), 1 << 30)
    with pytest.raises(MalformedError, match="an entry is not"):
        decode_pull_answer(encode_json({**value, "entries": [entry]}))


def test_the_nodes_of_a_proof_are_32_bytes_and_at_most_64() -> None:
    value = decode_json(PULL.encode(), 1 << 30)
    for path in ([1], [encode_base64(bytes(31))], [encode_base64(bytes(32))] * 65):
        with pytest.raises(MalformedError):
            decode_pull_answer(encode_json({**value, "member_proof": {"index": 0, "path": path}}))


def test_bodies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MalformedError):
        messages.decode_commit(COMMIT.encode(), len(COMMIT.encode()) - 1)
    assert messages.decode_commit(COMMIT.encode(), len(COMMIT.encode()))
    monkeypatch.setattr(messages, "MAX_BODY", 10)
    monkeypatch.setattr(messages_pull, "MAX_PULL", 10)
    for name in ("keys", "ciphertexts", "login", "sync", "token uses", "sealing keys", "audit", "pull", "self"):
        body, decode, _ = BODIES[name]
        with pytest.raises(MalformedError, match="more than the 10"):
            decode(body)
