"""Logging in on a new device, from the operator kit and the passphrase (protocol section 8, "Login on a new device")."""

from __future__ import annotations

from stronghold_cli.crypto.keys import Keyset, LoginKeys
from stronghold_cli.keystore.marks import Mark, check_head, check_org
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.login import Login
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.freshness import check_head_time, check_not_ahead
from stronghold_cli.protocol.keys import VerifyKey
from stronghold_cli.protocol.messages import MAX_BODY, decode_login_answer
from stronghold_cli.protocol.org_chain import verify_chain
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.protocol.signers import verify_head_signer
from stronghold_cli.vault.operator import SignedServer


class LoggedIn(Record):
    """The opened keyset, and the verified head to compare with another device or person before the first write."""

    keyset: Keyset
    operator_name: str
    org_name: str
    head: Head


def log_in(server: SignedServer, keys: LoginKeys, *, pin: bytes, floor: int, mark: Mark | None, now: int) -> LoggedIn:
    """Fetch the login record and the keyset's box, open it, and verify record, chain and head; else ``IntegrityError``.

    Nothing in the answer chooses salt or parameters: the keys were derived from what stands in the kit. A wrong passphrase
    makes other login keys, which the server does not know (``Refused``).
    """
    org_id, operator_id = keys.org_id, keys.operator_id
    anchor = pin if mark is None else mark.org.sha256
    target = f"/v1/orgs/{org_id.hex()}/keyset?org={anchor.hex()}"
    body = server.request("GET", target, b"", keys.login, KeyId(kind="l", raw=operator_id), MAX_BODY)
    answer = decode_login_answer(body)
    keyset = keys.open_keyset(answer.keyset)
    org = verify_chain(None, answer.org, anchor=anchor)
    check_org(mark, org.seq, org.sha256)
    own = org.operators.get(operator_id)
    if org.org_id != org_id or own is None or (own.sign, own.request) != (keyset.sign.public, keyset.request.public):
        raise IntegrityError("The org document received does not hold this operator's keys.")
    answer.login.verify("login", VerifyKey(own.sign))
    record = Login.decode(answer.login.payload)
    if (record.org_id, record.operator_id, record.login) != (org_id, operator_id, keys.login.public):
        raise IntegrityError("The login record received is not this operator's.")
    if record.box_sha256 != digest(answer.keyset):
        raise IntegrityError("The login record received is for another box.")
    verify_head_signer(answer.head, org)
    head = Head.decode(answer.head.payload)
    if head.org_id != org_id or head.org_sha256 != org.sha256 or head.seq < floor:
        raise IntegrityError("The head received is older than the kit, or names another org document.")
    check_head(mark, head.seq, head.sha256)
    if mark is None:
        check_head_time(head, org, now)
    else:
        # The keys alone are opened here; what is done with them verifies the state and its age. Where that is past, a device
        # with a mark is what signs the head anew.
        check_not_ahead(head, now)
    return LoggedIn(keyset=keyset, operator_name=own.name, org_name=org.name, head=head)
