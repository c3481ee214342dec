"""Documents that demand a newer client: told as such where somebody signed them, else a fault of the server (rule R1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.protocol.documents import base
from stronghold_cli.protocol.envelope import Envelope
from stronghold_cli.protocol.errors import ClientTooOld, IntegrityError
from stronghold_cli.protocol.messages import decode_steps, decode_sync, encode_sync
from stronghold_cli.protocol.state import Changes
from stronghold_cli.vault import draft as draft_module
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.profiles import write_secrets
from stronghold_cli.vault.replica import Replica
from tests.support.org import TestOrg, workshop

pytestmark = pytest.mark.usefixtures("home")

KINDS = ("head", "structure", "contents", "profile")


@pytest.fixture(params=["whoever was here before", "a new device"])
def replica(request: pytest.FixtureRequest, org: TestOrg) -> Replica:
    found = Replica(org.operator())
    if request.param == "whoever was here before":
        found.sync()
    return found


@pytest.fixture
def org() -> TestOrg:
    return workshop()


def demand(org: TestOrg, kind: str) -> None:
    """A genuine commit by a newer client, in which the document of one kind demands what this client does not know."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "_KNOWN_CRITICAL", frozenset({"quorum"}))
        name = kind.title()
        if kind != "profile":
            genuine: Callable[..., Any] = getattr(draft_module, name)
            patch.setattr(draft_module, name, lambda **members: genuine(**{**members, "crit": ("quorum",)}))

        def act(draft: Draft) -> None:
            profile = org.profile("production")
            write_secrets(draft, profile, {}, {"NEW": b"value"})
            draft.put(profile.replace(crit=("quorum",) if kind == "profile" else ()))

        org.commit(act)
    passed_on = org.server._answer

    def newer(*request: Any) -> bytes:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(base, "_KNOWN_CRITICAL", frozenset({"quorum"}))
            return passed_on(*request)

    org.server._answer = newer  # type: ignore[method-assign, assignment]


def forge(org: TestOrg, *kinds: str) -> None:
    """The server takes the signatures of these kinds away."""

    def unsigned(envelope: Envelope) -> Envelope:
        return envelope.replace(signature=bytes(64))

    def change(changes: Changes) -> Changes:
        if "head" in kinds:
            changes = changes.replace(heads=tuple(map(unsigned, changes.heads)))
        if "structure" in kinds and changes.structure is not None:
            changes = changes.replace(structure=unsigned(changes.structure))
        if "contents" in kinds:
            changes = changes.replace(contents=tuple(map(unsigned, changes.contents)))
        return changes

    def answer(target: str, body: bytes) -> bytes:
        if "/steps" in target:
            steps = decode_steps(body)
            return steps.replace(steps=tuple(map(change, steps.steps))).encode()
        return encode_sync(change(decode_sync(body))) if "/sync" in target else body

    org.server.forge = answer


@pytest.mark.parametrize("kind", KINDS)
def test_what_somebody_signed_for_newer_clients_is_told_as_such(org: TestOrg, replica: Replica, kind: str) -> None:
    demand(org, kind)
    with pytest.raises(ClientTooOld, match="'quorum'"):
        replica.sync()


@pytest.mark.parametrize(
    ("kind", "unsigned"),
    [("head", "head"), ("structure", "structure"), ("contents", "contents"), ("profile", "head"), ("profile", "structure")],
)
def test_what_nobody_signed_demands_no_newer_client(org: TestOrg, replica: Replica, kind: str, unsigned: str) -> None:
    demand(org, kind)
    forge(org, unsigned)
    with pytest.raises(IntegrityError) as caught:
        replica.sync()
    assert "quorum" not in caught.value.message
