"""One request from its signature to its durable audit entry (protocol sections 6 and 7).

A route makes a *plan* from the newest state: what to answer and what to change. The plan is carried out in one transaction
that first compares the head (another one: plan anew), then spends the nonce, applies the plan, and appends the entry. Only
when all of that is durable does the answer leave. A refusal takes the same way, with an entry instead of an effect: no audit
entry, no secret, and no effect without its entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from stronghold_cli.protocol.audit import DocumentReference
from stronghold_cli.protocol.documents.agent import Rate
from stronghold_cli.protocol.errors import Refused, StrongholdError
from stronghold_cli.protocol.record import Record
from stronghold_server.access import Caller, authenticate, read_signature, require_kind
from stronghold_server.counts import Counts, Times
from stronghold_server.deliveries import Deliveries
from stronghold_server.ledger import Entries, Outcome
from stronghold_server.query import Query
from stronghold_server.received import Received
from stronghold_server.refusals import Unlogged, as_refusal
from stronghold_server.states import KnownTokens, LoadedState, States
from stronghold_server.store.interface import Reader, Store, Writer
from stronghold_server.token_limits import RateLimits

MAX_ATTEMPTS: Final = 8
# What one key may have refused and entered in the log: the finder of a revoked token must not be able to fill a disk.
REFUSALS: Final = Rate(requests=30, seconds=60)


class StateMoved(Exception):
    """The head is another one than that for which the plan was made."""


class NotQuick(Exception):
    """The plan takes too long for the event loop's thread."""


class Effect(Record):
    """What a plan did: the answer's body, and what the entry says of it."""

    body: bytes
    head_seq: int
    document: DocumentReference | None
    code: str

    def __repr__(self) -> str:
        return f"Effect({len(self.body)} bytes, head {self.head_seq})"


class Plan(Record):
    """What to do under the head ``head_sha256``; ``settle`` runs when it is durable."""

    head_sha256: bytes
    apply: Callable[[Writer], Effect]
    settle: Callable[[], None] | None


class Request(Record):
    """A verified request on its way to a route. ``subject`` is the id in the route's path, beside the org's."""

    received: Received
    caller: Caller
    subject: bytes
    now: int
    is_first_attempt: bool
    is_quick: bool = False

    @property
    def org_id(self) -> bytes:
        """The org of the key that signed."""
        return self.caller.org_id

    def query(self, *known: str) -> Query:
        """The query's parameters; ``MalformedError`` for any but the known ones."""
        return Query(self.received.query, known)


class Tools(Record):
    """What routes work with."""

    store: Store
    states: States
    entries: Entries
    counts: Counts
    times: Times
    refused: RateLimits
    clock: Callable[[], float]
    deliveries: Deliveries
    tokens: KnownTokens

    def now(self) -> int:
        """Unix seconds."""
        return int(self.clock())


ReadPlan: TypeAlias = Callable[[Tools, Request, Reader, LoadedState], Plan]
WritePlan: TypeAlias = Callable[[Tools, Request], Plan]


class Verb(Record):
    """A signed route: the kind of its audit entry, of the key it takes, and how its plan is made.

    ``plan`` runs inside one snapshot and with the state that belongs to it. ``plan_write``, for the routes that change the
    state, opens snapshots itself, so that a long check holds none open. ``is_quick`` plans run in the event loop's thread.
    """

    kind: str
    key_kind: str
    plan: ReadPlan | None
    plan_write: WritePlan | None
    is_quick: bool


async def perform(tools: Tools, verb: Verb, received: Received, org_id: bytes | None, subject: bytes) -> bytes:
    """Carry a request out and return the body of its answer; raises ``Refused``, an ``Unlogged`` one without an entry."""
    now = tools.now()
    signature = read_signature(received)
    with tools.store.read() as reader:
        caller = authenticate(signature, reader, org_id, verb.key_kind, now)
    if caller.token is not None:
        tools.tokens.keep(caller.token)
    request = Request(received=received, caller=caller, subject=subject, now=now, is_first_attempt=True)
    tools.times.see(request.org_id, request.caller.signature.created)
    for _ in range(MAX_ATTEMPTS):
        try:
            require_kind(request.caller, verb.key_kind)
            plan = await _make_plan(tools, verb, request)
            request = request.replace(is_first_attempt=False)
            effect = await _write(tools, partial(_carry_out, tools, verb, request, plan))
        except StateMoved:
            continue
        except StrongholdError as error:
            refusal = as_refusal(error)
            if not isinstance(refusal, Unlogged):
                tools.refused.count(request.caller.signature.key_id.raw, REFUSALS, now)
                await _write(tools, partial(_enter_refusal, tools, verb, request, refusal))
            raise refusal from error
        if plan.settle is not None:
            plan.settle()
        return effect.body
    raise Unlogged("BUSY", "the state of the org changes too quickly", retry_after=1)


async def _make_plan(tools: Tools, verb: Verb, request: Request) -> Plan:
    if verb.is_quick and verb.plan is not None:
        with tools.store.read() as reader:
            head = reader.head(request.org_id)
            loaded = None if head is None else tools.states.known(request.org_id, head.sha256)
            if loaded is not None:
                try:
                    return verb.plan(tools, request.replace(is_quick=True), reader, loaded)
                except NotQuick:
                    # It was counted against the token's rate before it was given up.
                    request = request.replace(is_first_attempt=False)
    return await asyncio.to_thread(_plan_in_thread, tools, verb, request)


def _plan_in_thread(tools: Tools, verb: Verb, request: Request) -> Plan:
    if verb.plan_write is not None:
        return verb.plan_write(tools, request)
    if verb.plan is None:
        raise TypeError(f"the verb {verb.kind} has no plan")
    with tools.store.read() as reader:
        return verb.plan(tools, request, reader, tools.states.current(reader, request.org_id))


async def _write(tools: Tools, work: Callable[[Writer], Effect]) -> Effect:
    return await tools.deliveries.wait(tools.store.write(work))


def _carry_out(tools: Tools, verb: Verb, request: Request, plan: Plan, writer: Writer) -> Effect:
    head = writer.lock_head(request.org_id)
    if head is None or head.sha256 != plan.head_sha256:
        raise StateMoved
    tools.entries.spend_nonce(writer, request.org_id, request.caller.signature, request.now)
    effect = plan.apply(writer)
    outcome = Outcome(outcome="ok", code=effect.code, head_seq=effect.head_seq, document=effect.document)
    _enter(tools, verb, request, outcome, writer)
    return effect


def _enter_refusal(tools: Tools, verb: Verb, request: Request, refusal: Refused, writer: Writer) -> Effect:
    head = writer.lock_head(request.org_id)
    head_seq = 0 if head is None else head.seq
    tools.entries.spend_nonce(writer, request.org_id, request.caller.signature, request.now)
    outcome = Outcome(outcome="refused", code=refusal.code, head_seq=head_seq, document=None)
    _enter(tools, verb, request, outcome, writer)
    return Effect(body=b"", head_seq=head_seq, document=None, code=refusal.code)


def _enter(tools: Tools, verb: Verb, request: Request, outcome: Outcome, writer: Writer) -> None:
    tools.entries.append(writer, request.org_id, verb.kind, request.received, request.caller.signature, outcome, request.now)
