"""Login on a new device: record, box, chain and head are each missed alone."""

from __future__ import annotations

from typing import Any

import pytest

from stronghold_cli.crypto.keys import Keyset, LoginKeys
from stronghold_cli.keystore.marks import HeadMark, Mark, OrgMark
from stronghold_cli.protocol.documents.base import NO_EXTENSIONS
from stronghold_cli.protocol.documents.login import Login
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.messages import LoginAnswer
from stronghold_cli.vault.login import LoggedIn, log_in
from tests.support.org import NOW, Randomness, TestOrg, fixed, workshop


class Device:
    """Ada's new device and the honest answer to its login."""

    def __init__(self, org: TestOrg | None = None) -> None:
        self.org = org or workshop()
        self.keyset = self.org.keysets["ada"]
        self.keys = LoginKeys(fixed("auk", 32), self.org.state.org_id, self.keyset.operator_id)
        self.box = self.keys.wrap_keyset(self.keyset, Randomness("login"))
        self.record = Login(
            org_id=self.org.state.org_id, operator_id=self.keyset.operator_id, version=1,
            login=self.keys.login.public, box_sha256=digest(self.box), **NO_EXTENSIONS,
        )  # fmt: skip
        self.answer = LoginAnswer(
            login=self.org.sign(self.record),
            keyset=self.box,
            org=tuple(self.org.server.links),
            head=self.org.state.head.envelope,
        )

    def log_in(self, mark: Mark | None = None, floor: int = 1, now: int = NOW, **members: Any) -> LoggedIn:
        self.org.server._answer = lambda *_: self.answer.replace(**members).encode()  # type: ignore[method-assign]
        pin = self.org.server.links[0].sha256
        return log_in(self.org.server, self.keys, pin=pin, floor=floor, mark=mark, now=now)

    def refuse(self, message: str, **how: Any) -> None:
        with pytest.raises(IntegrityError, match=message):
            self.log_in(**how)


@pytest.fixture
def device() -> Device:
    return Device()


def test_a_login_opens_the_own_keyset_and_names_the_head(device: Device) -> None:
    found = device.log_in()
    assert (found.keyset.raw, found.operator_name, found.org_name) == (device.keyset.raw, "ada", "example")
    assert found.head == device.org.state.head.document
    pin = device.org.server.links[0].sha256.hex()
    assert device.org.server.targets == [f"GET /v1/orgs/{device.org.state.org_id.hex()}/keyset?org={pin}"]


def test_another_box_or_record_is_refused(device: Device) -> None:
    """Attack 49: salts or login records swapped."""
    device.refuse(".", keyset=b"\x01\x01" + bytes(60))
    other = device.keys.wrap_keyset(device.keyset, Randomness("another box"))
    device.refuse("for another box", keyset=other)
    device.refuse("does not verify", login=device.answer.login.replace(signature=bytes(64)))
    device.refuse("does not verify", login=device.org.sign(device.record, "eve"))
    device.refuse("not of the type", login=device.answer.head)
    for change in ({"org_id": b"o" * 32}, {"operator_id": bytes(16)}, {"login": device.keyset.sign.public}):
        device.refuse("is not this operator's", login=device.org.sign(device.record.replace(**change)))


def test_a_keyset_that_the_org_does_not_name_is_refused(device: Device) -> None:
    stranger = Keyset(b"s" * 32, device.org.state.org_id, device.keyset.operator_id)
    device.refuse("does not hold this operator's keys", keyset=device.keys.wrap_keyset(stranger, Randomness("x")))


def test_the_chain_begins_at_the_kits_pin_with_every_link(device: Device) -> None:
    links = device.answer.org
    device.refuse("org document is missing", org=())
    device.refuse("not the one that was pinned", org=links[1:])
    device.refuse("does not follow", org=(links[0], *links[2:]))


def test_the_head_is_signed_current_and_not_below_kit_or_mark(device: Device) -> None:
    org, head = device.org, device.org.state.head.document
    assert device.log_in(floor=head.seq)
    device.refuse("older than the kit", floor=head.seq + 1)
    device.refuse("head is not signed by somebody", head=org.sign(head, "rob"))
    for change in ({"org_id": b"o" * 32}, {"org_sha256": b"o" * 32}):
        device.refuse("names another org document", head=org.sign(head.replace(**change)))
    device.refuse("dated in the future", now=NOW - 301)


def test_the_mark_binds_a_login(device: Device) -> None:
    head, first = device.org.state.head.document, device.org.server.links[0].sha256
    document = device.org.state.org.document
    mark = Mark(
        org=OrgMark(seq=1, sha256=first, root_sign=document.root.sign),
        head=HeadMark(seq=head.seq, sha256=head.sha256),
        structure_seq=1,
        contents={},
    )
    assert device.log_in(mark=mark)
    device.refuse("head received is older", mark=mark.replace(head=HeadMark(seq=head.seq + 1, sha256=bytes(32))))
    device.refuse("two different heads", mark=mark.replace(head=HeadMark(seq=head.seq, sha256=bytes(32))))
    ahead = mark.replace(org=mark.org.replace(seq=document.seq + 1))
    device.refuse("org document received is older", mark=ahead)


def test_past_the_orgs_limit_only_a_device_with_a_mark_opens_its_keys() -> None:
    """It is the one that may sign the head anew; a head that is dated ahead is refused to both."""
    org = workshop()
    org.change_org(policy=org.state.org.document.policy.replace(max_head_age=3600))
    device = Device(org)
    document, head = org.state.org.document, org.state.head.document
    mark = Mark(
        org=OrgMark(seq=1, sha256=org.server.links[0].sha256, root_sign=document.root.sign),
        head=HeadMark(seq=head.seq, sha256=head.sha256),
        structure_seq=1,
        contents={},
    )
    assert device.log_in(now=NOW + 3600)
    device.refuse("seconds old", now=NOW + 3601)
    assert device.log_in(mark=mark, now=NOW + 3601)
    device.refuse("dated in the future", mark=mark, now=NOW - 301)
