"""Creating an org (protocol sections 6 and 8): the one request whose key stands in the body that it signs.

The setup code stands in the body and is used up in the transaction that makes the org. Before there is an org there is no
log: a refusal here leaves no audit entry, and a success is the first one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from stronghold_cli.protocol.audit import DocumentReference
from stronghold_cli.protocol.documents.login import Login
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import ClientTooOld, IntegrityError, MalformedError, Refused, StrongholdError
from stronghold_cli.protocol.keys import VerifyKey
from stronghold_cli.protocol.messages import Committed, Genesis, decode_genesis
from stronghold_cli.protocol.requests import RequestSignature
from stronghold_cli.protocol.rules import check_state
from stronghold_cli.protocol.state import OrgState, advance
from stronghold_cli.protocol.steps import check_genesis
from stronghold_server.access import read_signature, verify
from stronghold_server.commit_effects import Approved, write_commit
from stronghold_server.commits import CommitRefused, answer_standing, approve, check_nothing_spare, check_time, read_head
from stronghold_server.ledger import Outcome
from stronghold_server.query import Query
from stronghold_server.received import Received
from stronghold_server.refusals import Unlogged, as_refusal
from stronghold_server.service import Plan, Request, Tools, Verb, perform
from stronghold_server.setup import setup_code_hash
from stronghold_server.states import LoadedState
from stronghold_server.store.interface import NO_HEAD, Reader, Writer

MAX_KEYSET: Final = 4096
MAX_GENESIS: Final = 1 << 20
KIND: Final = "genesis"


class Founding:
    """POST /v1/orgs/{org}; ``log_key`` is (id, public key) of the key that signs this server's checkpoints.

    ``on_code_used`` is told which setup code an org was made with.
    """

    def __init__(self, log_key: tuple[bytes, bytes], on_code_used: Callable[[str], None]) -> None:
        self._log_key = log_key
        self._on_code_used = on_code_used
        self._again = Verb(kind=KIND, key_kind="o", plan=_plan_again, plan_write=None, is_quick=False)

    async def create(self, tools: Tools, received: Received, org_id: bytes) -> bytes:
        """Make the org, or answer a repeated request as done; the body of the answer, or ``Refused``."""
        with tools.store.read() as reader:
            exists = reader.org(org_id) is not None
        if exists:
            return await perform(tools, self._again, received, org_id, b"")
        try:
            return await self._found(tools, received, org_id)
        except StrongholdError as error:
            refusal = as_refusal(error)
            raise refusal from error

    async def _found(self, tools: Tools, received: Received, org_id: bytes) -> bytes:
        now = tools.now()
        signature = read_signature(received)
        if signature.key_id.kind != "o":
            raise Unlogged("FORBIDDEN", "this route is for keys of the kind o", counted="unknown_key")
        Query(received.query, ())
        genesis = await asyncio.to_thread(decode_genesis, received.body, MAX_GENESIS)
        code_sha256 = setup_code_hash(genesis.setup_code)
        with tools.store.read() as reader:
            if not reader.has_setup_code(code_sha256):
                raise Unlogged("SETUP_CODE_INVALID", "the setup code is not valid, or has been used")
        state = await asyncio.to_thread(_check, genesis, org_id, signature.key_id.raw, now)
        verify(signature, state.org.document.operators[signature.key_id.raw].request, now)
        self._check_log_keys(state)
        with tools.store.read() as reader:
            approved = approve(reader, None, state, genesis.commit, signature.key_id.raw)

        def work(writer: Writer) -> None:
            _write(tools, writer, genesis, approved, received, signature, now)

        await asyncio.wrap_future(tools.store.write(work))
        tools.states.put(LoadedState(state))
        self._on_code_used(genesis.setup_code)
        return Committed(seq=state.seq, already=False).encode()

    def _check_log_keys(self, state: OrgState) -> None:
        if [(key.id, key.public_key) for key in state.org.document.log_keys] != [self._log_key]:
            raise CommitRefused("the genesis does not name this server's log key, and it alone")


def _check(genesis: Genesis, org_id: bytes, author: bytes, now: int) -> OrgState:
    """The state that the genesis makes, and its login record; nothing of it is believed before."""
    changes = genesis.commit.changes
    try:
        state = advance(None, changes)
        check_state(state)
        check_genesis(state, changes, author)
        if state.org_id != org_id:
            raise CommitRefused("the genesis is of another org than the route")
        _check_login(genesis, state, author)
    except (IntegrityError, ClientTooOld) as error:
        raise CommitRefused(error.message) from error
    check_time(state, now)
    check_nothing_spare(None, state, changes)
    return state


def _check_login(genesis: Genesis, state: OrgState, author: bytes) -> None:
    """The login record is signed by op/sign, and names this operator and this box."""
    envelope = genesis.login
    if envelope.operator_id != author or len(genesis.keyset) > MAX_KEYSET:
        raise CommitRefused("the login record is not the first operator's, or the keyset box is too large")
    envelope.verify("login", VerifyKey(state.org.document.operators[author].sign))
    login = Login.decode(envelope.payload)
    if (login.org_id, login.operator_id, login.version) != (state.org_id, author, 1):
        raise CommitRefused("the login record is of another operator or version")
    if login.box_sha256 != digest(genesis.keyset):
        raise CommitRefused("the login record names another keyset box")


def _write(
    tools: Tools,
    writer: Writer,
    genesis: Genesis,
    approved: Approved,
    received: Received,
    signature: RequestSignature,
    now: int,
) -> None:
    state = approved.after
    org_id, author = state.org_id, signature.key_id.raw
    if not writer.use_setup_code(setup_code_hash(genesis.setup_code), now):
        raise Unlogged("SETUP_CODE_INVALID", "the setup code is not valid, or has been used")
    writer.create_org(org_id, state.org.document.name, now)
    tools.entries.spend_nonce(writer, org_id, signature, now)
    write_commit(writer, approved, NO_HEAD, now)
    writer.add_operator(
        org_id,
        author,
        request_key=state.org.document.operators[author].request,
        login_key=Login.decode(genesis.login.payload).login,
        login_record=genesis.login.encode(),
        keyset_box=genesis.keyset,
    )
    head = state.head.document
    reference = DocumentReference(kind="head", id=org_id, version=head.seq, sha256=head.sha256)
    outcome = Outcome(outcome="ok", code="", head_seq=head.seq, document=reference)
    tools.entries.append(writer, org_id, KIND, received, signature, outcome, now)


def _plan_again(_: Tools, request: Request, reader: Reader, loaded: LoadedState) -> Plan:
    """The org exists: the same genesis by the same operator was answered before; any other one is a conflict."""
    request.query()
    try:
        head = read_head(decode_genesis(request.received.body, MAX_GENESIS).commit.changes)
    except MalformedError as error:
        raise Refused("MALFORMED", error.message) from error
    standing = reader.document_by_hash(request.org_id, "head", head.sha256)
    if standing is None:
        raise Refused("CONFLICT", "this org exists on the server already")
    return answer_standing(loaded, standing.seq, head)
