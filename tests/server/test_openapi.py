"""The description of the API is the one in the repository, and what it says of bodies is true of real ones."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from stronghold_cli.protocol import messages, messages_pull
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.protocol.state import Changes
from stronghold_server.openapi import SCHEMAS, describe
from stronghold_server.routes import ROUTES
from tests.server.furnished import Furnished
from tests.server.support import TestOrg, World

SNAPSHOT = Path(__file__).with_name("openapi.json")


def validator(schema: str) -> jsonschema.Draft202012Validator:
    document = json.loads(describe())
    return jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{schema}", "components": document["components"]})


def test_description_is_the_one_in_the_repository() -> None:
    """After a meant change: ``python -m tests.server.test_openapi`` writes it anew."""
    assert json.loads(describe()) == json.loads(SNAPSHOT.read_bytes())


def test_description_is_served(world: World) -> None:
    assert world.call("GET", "/openapi.json").body == describe()


def test_every_schema_is_a_schema_and_every_reference_is_there() -> None:
    text = describe().decode()
    for name in SCHEMAS:
        jsonschema.Draft202012Validator.check_schema(validator(name).schema)
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= SCHEMAS.keys()
    assert named == SCHEMAS.keys()


@pytest.mark.parametrize(
    ("schema", "record"),
    [
        ("Commit", messages.Commit),
        ("Genesis", messages.Genesis),
        ("Committed", messages.Committed),
        ("Keys", messages.Keys),
        ("Ciphertexts", messages.Ciphertexts),
        ("LoginAnswer", messages.LoginAnswer),
        ("Changes", Changes),
        ("Proven", messages_pull.Proven),
        ("PullAnswer", messages_pull.PullAnswer),
        ("SelfAnswer", messages_pull.SelfAnswer),
    ],
)
def test_schema_has_the_members_of_its_record(schema: str, record: type) -> None:
    members = list(SCHEMAS[schema]["properties"])  # type: ignore[arg-type]
    assert [name for name in members if name != "receipt"] == list(record.members)  # type: ignore[attr-defined]


def test_real_answers_are_as_described(full: Furnished) -> None:
    org = full.org
    draft = org.draft()
    org.change_entry(draft, full.profile, full.secret, version=2, ciphertext_sha256=bytes(32))
    org.apply(draft)
    for route in ROUTES:
        if route.method != "GET" or route.kind == "openapi":
            continue
        target = route.path.format(org=org.org_id.hex(), profile=full.profile.hex())
        if route.key_kind == "t":
            reply = org.get_as_token(full.token, target)
        elif route.key_kind == "l":
            key_id = KeyId(kind="l", raw=org.admin.operator_id)
            reply = org.world.send(org.admin.login.login, key_id, "GET", f"{target}?org={org.pin.hex()}")
        elif route.key_kind == "o":
            given = "?since=1&org_seq=1" if route.kind == "steps" else ""
            reply = org.get(org.admin, target.removeprefix(org.path) + given)
        else:
            reply = org.world.call("GET", target)
        assert reply.status == 200, reply.body
        validator(route.answer).validate(json.loads(reply.body))
    validator("Error").validate(json.loads(org.world.call("GET", "/nothing").body))


def test_real_bodies_are_as_described(world: World) -> None:
    org = TestOrg(world)
    genesis = org.genesis(world.setup_code())
    validator("Genesis").validate(json.loads(genesis.encode()))
    reply = org.post(org.admin, "", genesis.encode())
    validator("Committed").validate(json.loads(reply.body))


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(json.loads(describe()), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
