"""The ASGI application: routes to verbs, limits on bodies, and the one place where errors become answers.

Every answer names the protocol's version and a correlation id, which stands in the audit entry too. Bodies are never logged
(protocol section 6).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route as HttpRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from stronghold_cli.protocol.documents.org import LogKey as DocumentLogKey
from stronghold_cli.protocol.encoding import decode_hex, encode_json
from stronghold_cli.protocol.errors import MalformedError, Refused, StrongholdError
from stronghold_cli.protocol.messages import encode_error, encode_setup
from stronghold_cli.protocol.request_kinds import REQUEST_KINDS
from stronghold_server.ahead import Ahead
from stronghold_server.commits import Commits
from stronghold_server.counts import Counts, Times
from stronghold_server.deliveries import Deliveries
from stronghold_server.folder import LogKey
from stronghold_server.following import plan_steps
from stronghold_server.genesis import Founding
from stronghold_server.housekeeping import Housekeeping
from stronghold_server.ledger import Entries
from stronghold_server.openapi import describe
from stronghold_server.pages import serve_asset, serve_page
from stronghold_server.past import Past
from stronghold_server.pulls import Pulls
from stronghold_server.query import Query
from stronghold_server.quick import Headers, Quick
from stronghold_server.random_pool import RandomPool
from stronghold_server.reads import (
    plan_audit,
    plan_contents,
    plan_keys,
    plan_keyset,
    plan_old_keys,
    plan_sealing_keys,
    plan_sync,
    plan_tokens,
)
from stronghold_server.received import CORRELATION_BYTES, Name, raw_target, read_request, route_path, split_name
from stronghold_server.refusals import STATUSES, Unlogged, as_refusal
from stronghold_server.routes import PAGES, ROUTES, Route
from stronghold_server.service import ReadPlan, Tools, Verb, WritePlan, perform
from stronghold_server.settings import Settings
from stronghold_server.setup import forget_setup_code
from stronghold_server.states import KnownTokens, States
from stronghold_server.store.interface import Store
from stronghold_server.token_limits import RateLimits
from stronghold_server.turns import Turns

LOGGER: Final = logging.getLogger("stronghold")
_ORG_BYTES: Final = 32
_ID_BYTES: Final = 16
_HEADERS: Final = (
    (b"stronghold-protocol", b"1"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-type", b"application/json"),
)


def create_app(
    store: Store,
    settings: Settings,
    log_key: LogKey,
    *,
    clock: Callable[[], float] = time.time,
    random: Callable[[int], bytes] = os.urandom,
) -> Application:
    """The application on an open store; ``clock`` gives Unix seconds, ``random`` fresh random bytes."""
    tools = Tools(
        store=store,
        states=States(),
        entries=Entries(RandomPool(random)),  # used in the store's thread
        counts=Counts(),
        times=Times(),
        refused=RateLimits(),
        clock=clock,
        deliveries=Deliveries(),
        tokens=KnownTokens(),
    )
    return _Server(tools, settings, log_key, random).application()


class _Server:
    """What the routes share."""

    def __init__(self, tools: Tools, settings: Settings, log_key: LogKey, random: Callable[[int], bytes]) -> None:
        self._tools = tools
        self._settings = settings
        self._log_key = (log_key.id, log_key.sign.public)
        self._random = RandomPool(random)  # used in the event loop's thread
        self._names = tuple(split_name(name) for name in settings.authorities)
        self._founding = Founding(self._log_key, lambda code: forget_setup_code(settings.data_dir, code))
        self._housekeeping = Housekeeping(tools)
        turns = Turns()
        commits = Commits(self._log_key, (settings.max_kept_versions, settings.max_kept_bytes), turns)
        pulls, ahead, past = Pulls(), Ahead(settings.max_ahead_bytes), Past(settings.max_page_bytes)
        self._body_limits = {"commit": settings.max_commit_bytes, "blobs": settings.max_part_bytes}
        self._verbs = {
            "commit": _verb("commit", plan_write=commits.plan),
            "blobs": _verb("blobs", plan_write=ahead.plan_send),
            "blobs-ahead": _verb("blobs-ahead", ahead.plan_list),
            "blobs-forget": _verb("blobs-forget", plan_write=ahead.plan_forget),
            "turn": _verb("turn", turns.plan_take),
            "sync": _verb("sync", plan_sync),
            "steps": _verb("steps", plan_steps),
            "keys": _verb("keys", plan_keys),
            "sealing-keys": _verb("sealing-keys", plan_sealing_keys),
            "contents": _verb("contents", plan_contents),
            "history": _verb("history", past.plan_history),
            "past": _verb("past", past.plan_past),
            "old-keys": _verb("old-keys", plan_old_keys),
            "tokens": _verb("tokens", plan_tokens),
            "audit": _verb("audit", plan_audit),
            "login": _verb("login", plan_keyset),
            "pull": _verb("pull", pulls.plan_pull, is_quick=True),
            "self": _verb("self", pulls.plan_self, is_quick=True),
        }
        self._open: dict[str, Callable[..., Response]] = {
            "healthz": lambda: _json(encode_json({"status": "ok"})),
            "readyz": self._readyz,
            "openapi": lambda: _json(describe()),
            "setup": self._setup,
            "docs": lambda: serve_page("docs"),
            "redoc": lambda: serve_page("redoc"),
            "asset": serve_asset,
        }

    def application(self) -> Application:
        routes = (*ROUTES, *PAGES)
        application = Starlette(
            # Routes are tried one after the other: those that pipelines call stand first.
            routes=[self._http_route(route) for route in sorted(routes, key=lambda route: route.key_kind != "t")],
            exception_handlers={HTTPException: self._not_served, Exception: self._failed},
            lifespan=self._lifespan,
        )
        application.router.redirect_slashes = False
        # What pipelines call goes past the router and its middleware: their paths are plain texts.
        hot = {(route.method, route.path): self._endpoint(route) for route in ROUTES if route.key_kind == "t"}
        return Application(application, self._names, hot, Quick(self._tools, self._names, self._random, _headers))

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with self._housekeeping.running():
            yield

    def _endpoint(self, route: Route) -> ASGIApp:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            started = time.monotonic()
            correlation_id = self._random(CORRELATION_BYTES)
            fault: Exception | None = None
            try:
                response = await self._serve(route, scope, receive, correlation_id)
            except StrongholdError as error:
                refusal = as_refusal(error)
                self._count(refusal)
                if STATUSES[refusal.code] >= 500:
                    _log_failure(route, correlation_id, refusal, error)
                response = refuse(refusal)
            except Exception as error:  # noqa: BLE001 - raised again when it is answered
                fault, response = error, _fail(error, correlation_id)
            _log_request(route, correlation_id, response, started)
            await self._identified(response, correlation_id)(scope, receive, send)
            if fault is not None:
                raise fault  # as Starlette does, so that the HTTP server knows of it too

        return serve

    def _http_route(self, route: Route) -> HttpRoute:
        http_route = HttpRoute(route.path, _Endpoint(self._endpoint(route)), methods=[route.method], name=route.kind)
        # Starlette adds HEAD to every GET; a request of ours has one method, which is signed.
        http_route.methods = {route.method}
        return http_route

    async def _serve(self, route: Route, scope: Scope, receive: Receive, correlation_id: bytes) -> Response:
        if not route.key_kind:
            Query(raw_target(scope)[1], ())
            return self._open[route.kind](**scope.get("path_params", {}))
        parameters: Mapping[str, str] = scope.get("path_params", {})
        org_id = _path_id(parameters, "org", _ORG_BYTES)
        subject = _path_id(parameters, "profile", _ID_BYTES)
        limit = self._body_limits.get(route.kind, self._settings.max_body_bytes)
        body = await read_body(receive, limit if route.method == "POST" else 0)
        received = read_request(scope, body, self._names, correlation_id)
        if route.kind == "genesis":
            answer = await self._founding.create(self._tools, received, org_id or b"")
        else:
            answer = await perform(self._tools, self._verbs[route.kind], received, org_id, subject or b"")
        return _json(answer)

    async def _not_served(self, _: HttpRequest, error: Exception) -> Response:
        """Unknown paths and methods, as Starlette reports them."""
        refusal = Unlogged("NOT_FOUND", "there is nothing at this path")
        if isinstance(error, HTTPException) and error.status_code == 405:
            refusal = Unlogged("METHOD_NOT_ALLOWED", "this path does not take that method")
        return self._identified(refuse(refusal), self._random(CORRELATION_BYTES))

    async def _failed(self, _: HttpRequest, error: Exception) -> Response:
        """A fault of the program outside our routes."""
        correlation_id = self._random(CORRELATION_BYTES)
        return self._identified(_fail(error, correlation_id), correlation_id)

    def _identified(self, response: Response, correlation_id: bytes) -> Response:
        response.raw_headers.append(_correlation(correlation_id))
        return response

    def _count(self, refusal: Refused) -> None:
        if isinstance(refusal, Unlogged) and refusal.counted is not None:
            self._tools.counts.add(refusal.counted)

    def _readyz(self) -> Response:
        status = self._tools.store.status()
        if not status.ready:
            return refuse(Unlogged("STORAGE_FAILED", "the server's storage takes no more writes"))
        return _json(encode_json({"status": "ok"}))

    def _setup(self) -> Response:
        key_id, public_key = self._log_key
        return _json(encode_setup((DocumentLogKey(id=key_id, public_key=public_key),)))


class _Endpoint:
    """An ASGI application as the endpoint of a Starlette route; a plain function would be given a request object."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application(scope, receive, send)


class Application:
    """The ASGI application, and beside it ``quick``, the short way for pulls that memory knows.

    It takes a configured base path off before routing, for proxies that leave it in; the raw path stays as it was. ``hot``
    are routes that are told by method and path alone.
    """

    def __init__(
        self,
        application: ASGIApp,
        names: tuple[Name, ...],
        hot: Mapping[tuple[str, str], ASGIApp],
        quick: Quick,
    ) -> None:
        self.quick = quick
        self._application = application
        self._names = names
        self._hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        path = route_path(self._names, scope["path"])
        hot = self._hot.get((scope["method"], path))
        if hot is None:
            await self._application({**scope, "path": path}, receive, send)
        else:
            await hot(scope, receive, send)


def _verb(kind: str, plan: ReadPlan | None = None, *, plan_write: WritePlan | None = None, is_quick: bool = False) -> Verb:
    return Verb(kind=kind, key_kind=REQUEST_KINDS[kind].key_kind, plan=plan, plan_write=plan_write, is_quick=is_quick)


async def read_body(receive: Receive, limit: int) -> bytes:
    """The body, of at most ``limit`` bytes; ``TOO_LARGE`` as soon as there are more."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(part)
        if size > limit:
            raise Unlogged("TOO_LARGE", f"the body has more than the {limit} bytes that this route takes")
        parts.append(part)
    return b"".join(parts)


def refuse(refusal: Refused) -> Response:
    """The answer to a refused request."""
    response = _json(encode_error(refusal.code, refusal.message), STATUSES[refusal.code])
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response


def _fail(error: Exception, correlation_id: bytes) -> Response:
    """What no error of ours says: a fault of the program."""
    fields = {"event": "failure", "code": "INTERNAL", "correlation_id": correlation_id.hex()}
    LOGGER.error("a request failed", exc_info=error, extra=fields)
    return refuse(Unlogged("INTERNAL", "the server failed"))


def _json(body: bytes, status: int = 200) -> Response:
    response = Response(None, status)
    response.body = body
    response.raw_headers = [*_HEADERS, _length(len(body))]
    return response


def _headers(length: int, correlation_id: bytes) -> Headers:
    """Those of an answer with a body of this length."""
    return (*_HEADERS, _length(length), _correlation(correlation_id))


def _length(length: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % length


def _correlation(correlation_id: bytes) -> tuple[bytes, bytes]:
    return b"stronghold-correlation-id", correlation_id.hex().encode("ascii")


def _path_id(parameters: Mapping[str, str], name: str, length: int) -> bytes | None:
    text = parameters.get(name)
    if text is None:
        return None
    try:
        return decode_hex(text, length)
    except MalformedError as error:
        raise Unlogged("NOT_FOUND", "there is nothing at this path") from error


def _log_failure(route: Route, correlation_id: bytes, refusal: Refused, error: Exception) -> None:
    fields = {"event": route.kind, "correlation_id": correlation_id.hex(), "code": refusal.code}
    LOGGER.error("a request failed", exc_info=error, extra=fields)


def _log_request(route: Route, correlation_id: bytes, response: Response, started: float) -> None:
    """A line for what was refused, failed or wrote; for what was only read, which is nearly all, where debugging is on."""
    level = logging.DEBUG if route.method == "GET" and response.status_code < 400 else logging.INFO
    if LOGGER.isEnabledFor(level):
        fields = {
            "event": route.kind,
            "correlation_id": correlation_id.hex(),
            "method": route.method,
            "status": response.status_code,
            "duration_ms": (time.monotonic() - started) * 1000,
        }
        LOGGER.log(level, "request", extra=fields)
