"""Further operators of an org, made with the client's library: no command invites anybody yet.

An admin's commit adds the person to the org document; the person's machine holds account and session as the program keeps
them. There is no login record for such a person, so ``auth login`` and ``auth unlock`` are not theirs to use.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from stronghold_cli.commands.acting import current_account, operator_server, vault_of
from stronghold_cli.crypto.keys import Keyset
from stronghold_cli.crypto.passphrase import FLOOR
from stronghold_cli.keystore.identities import Account, store_account
from stronghold_cli.keystore.sessions import find_session, unlock
from stronghold_cli.protocol.documents.org import Operator
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.envelope import sign_envelope
from stronghold_cli.protocol.keys import sealing_key_hash
from stronghold_cli.protocol.messages import Commit, decode_committed
from stronghold_cli.protocol.state import Changes, advance
from stronghold_cli.protocol.token import OperatorKit, split_url
from stronghold_cli.vault.committing import Vault
from tests.e2e.support import Machine, Org

NOTHING = Changes(org=(), heads=(), structure=None, contents=(), payloads=(), maps={})


@contextmanager
def unlocked(org: Org, machine: Machine | None = None) -> Iterator[Vault]:
    """The admin, or the person of another machine, at work there, with the client's library in this process."""
    with (machine or org.machine).here():
        account = current_account()
        session = find_session(account.org_id, account.operator_id, now=int(time.time()))
        assert session is not None
        with operator_server(account) as server:
            yield vault_of(account, server, session.keyset)


def add_people(org: Org, people: dict[str, tuple[str, Machine]]) -> None:
    """Make operators, by name: each with a role, and unlocked on a machine of their own."""
    with unlocked(org) as vault:
        keysets = {name: Keyset(os.urandom(32), vault.state.org_id, os.urandom(16)) for name in people}
        _commit_people(vault, {name: (role, keysets[name]) for name, (role, _) in people.items()})
        vault.refresh()
    for name, (_, machine) in people.items():
        _settle(machine, vault, keysets[name], org)


def _commit_people(vault: Vault, people: dict[str, tuple[str, Keyset]]) -> None:
    """One commit: the next org document with these operators, and a head."""
    state, keyset = vault.state, vault.operator.keyset
    before, now = state.org.document, int(time.time())
    added = {
        each.operator_id: Operator(
            name=name,
            sign=each.sign.public,
            request=each.request.public,
            seal_sha256=sealing_key_hash(each.seal.public),
            role=role,
        )
        for name, (role, each) in people.items()
    }
    after = before.replace(seq=before.seq + 1, prev=before.sha256, operators={**before.operators, **added}, created=now)
    head = state.head.document.replace(
        seq=state.seq + 1, prev=state.head.document.sha256, org_sha256=after.sha256, created=now
    )
    keyid = keyset.operator_id.hex()
    changes = NOTHING.replace(
        org=(sign_envelope("org", after.payload, keyid, keyset.sign),),
        heads=(sign_envelope("head", head.payload, keyid, keyset.sign),),
    )
    commit = Commit(changes=changes, blobs=tuple(each.seal.public for _, each in people.values()), shares={})
    answer = decode_committed(vault.operator.post("/commits", commit.encode()))
    assert answer.seq == advance(state, changes).seq


def _settle(machine: Machine, vault: Vault, keyset: Keyset, org: Org) -> None:
    """Keep account and session on a machine, as ``auth login`` does."""
    plain_http, address = split_url(org.server.url)
    kit = OperatorKit(
        plain_http=plain_http,
        pin=vault.state.org.document.sha256,
        floor=vault.state.seq,
        org_id=vault.state.org_id,
        operator_id=keyset.operator_id,
        account_key=digest(b"no login record"),
        salt=bytes(16),
        memory_kib=FLOOR.memory_kib,
        time_cost=FLOOR.time_cost,
        parallelism=FLOOR.parallelism,
        address=address,
    )
    with machine.here():
        store_account(Account(name=org.name, kit=kit))
        session = unlock(keyset, now=int(time.time()), random=os.urandom, warn=print)
    assert session is None
