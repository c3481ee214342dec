"""Requests made from the server's own description, good ones and bent ones, signed and not, against a server on a socket.

Schemathesis makes them from ``/openapi.json``: what fits the schemas, and what breaks them in one place. The ids of the
org, of its profile and of its newest org document are put into most of them, and most are signed by whom the route is for:
they get past the signature. Every request that does so leaves one entry in the audit log, and these are counted.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stronghold_cli.crypto.keys import TokenSecret
from stronghold_cli.protocol.documents.agent import Rate
from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.requests import KeyId, sign_request
from stronghold_server import service
from stronghold_server.app import create_app
from stronghold_server.guard import Limits, guarded
from stronghold_server.openapi import describe
from stronghold_server.routes import ROUTES
from tests.server.furnished import Furnished, furnish
from tests.server.stored import AHEAD_TABLES, TOKEN_USES, stored
from tests.server.support import TestOrg, World

KEY_KINDS = {route.kind: route.key_kind for route in ROUTES}
SIGNED = [kind for kind, key_kind in KEY_KINDS.items() if key_kind]
OPEN = [kind for kind, key_kind in KEY_KINDS.items() if not key_kind]


class Served:
    """A furnished org on a server that listens on the loopback address; the clock stands still."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.full: Furnished = furnish(TestOrg(self.world).create())
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.authority = f"127.0.0.1:{self._socket.getsockname()[1]}"
        chosen = self.world.settings.replace(authorities=(self.authority,))
        config = uvicorn.Config(
            create_app(self.world.store, chosen, self.world.log_key, clock=lambda: self.world.now),
            http=guarded(Limits(**{name: getattr(chosen, name) for name in Limits.members})),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def entries(self) -> int:
        """How long the org's audit log is."""
        return len(self.world.log(self.full.org.org_id))

    def key(self, kind: str) -> tuple[SigningKey, KeyId]:
        """The key of this kind: the agent's token, or one of the admin's two."""
        org = self.full.org
        if kind == "t":
            return TokenSecret(org.tokens[self.full.token].token.secret).auth, KeyId(kind="t", raw=self.full.token)
        keys = org.admin.login.login if kind == "l" else org.admin.keyset.request
        return keys, KeyId(kind=kind, raw=org.admin.operator_id)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()
        self.world.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("server"))
    yield served
    served.stop()


@pytest.fixture(autouse=True)
def many_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """One key is refused here far more often than a client's is."""
    monkeypatch.setattr(service, "REFUSALS", Rate(requests=1_000_000, seconds=1))


def signing(served: Served, kind: str) -> Any:
    """What signs a request, once it stands as it will be sent."""
    from requests.auth import AuthBase

    class Signing(AuthBase):
        def __call__(self, request: Any) -> Any:
            key, key_id = served.key(kind)
            body = request.body or b""
            signed, _ = sign_request(
                key,
                key_id,
                method=request.method,
                authority=served.authority,
                target=request.path_url,
                body=body.encode() if isinstance(body, str) else body,
                created=served.world.now,
                nonce=os.urandom(16),
            )
            request.headers.update(dict(signed.items()))
            return request

    return Signing()


def real_ones_put_in(served: Served, case: Any, draw: Any) -> None:
    """In nine of ten requests the org is the real one, in half the other ids too."""
    real = {"org": served.full.org.org_id.hex(), "profile": served.full.profile.hex()}
    for name, value in real.items():
        if name in case.path_parameters and draw(st.integers(0, 9)) < 9:
            case.path_parameters[name] = value
    real_query = {"org": served.full.org.pin.hex(), "profile": "production", "profile_id": served.full.profile.hex()}
    for name, value in real_query.items():
        if name in (case.query or {}) and draw(st.booleans()):
            case.query[name] = value


def run(served: Served, kind: str) -> tuple[int, Counter[int]]:
    """Send as many requests to a route as the profile says; how many, and with which statuses they ended."""
    import schemathesis
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    description = schemathesis.openapi.from_dict(json.loads(describe()))
    operation = description.find_operation_by_id(kind)
    parts = (operation.path_parameters, operation.query, operation.body)
    modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE] if any(parts) else [GenerationMode.POSITIVE]
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))
    wanted = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    sent: Counter[int] = Counter()
    callers = [*[KEY_KINDS[kind]] * 12, "t", "o", "l", ""] if KEY_KINDS[kind] else [""]

    examples = max(settings.default.max_examples // 4, 1)

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def answer_is_as_described(data: st.DataObject) -> None:
        case = data.draw(cases)
        real_ones_put_in(served, case, data.draw)
        caller = data.draw(st.sampled_from(callers))
        response = case.call(base_url=f"http://{served.authority}", auth=signing(served, caller) if caller else None)
        sent[response.status_code] += 1
        case.validate_response(response, checks=wanted)

    answer_is_as_described()
    return sent.total(), sent


def test_every_answer_is_as_described_and_nothing_is_stored(served: Served) -> None:
    before = stored(served.world, without=TOKEN_USES, left_out=AHEAD_TABLES)
    entries = served.entries()
    sent, statuses = 0, Counter[int]()
    for kind in SIGNED:
        count, ended = run(served, kind)
        sent, statuses = sent + count, statuses + ended
    assert stored(served.world, without=TOKEN_USES, left_out=AHEAD_TABLES) == before
    authenticated = served.entries() - entries
    print(f"{sent} requests, {authenticated} past the signature, statuses {dict(sorted(statuses.items()))}")
    assert sent >= len(SIGNED) * 12
    assert authenticated * 2 >= sent
    assert {200, 400, 401, 403, 409} <= statuses.keys()
    assert max(statuses) < 500


def test_open_routes_answer_as_described_and_leave_nothing(served: Served) -> None:
    before, entries = stored(served.world), served.entries()
    for kind in OPEN:
        run(served, kind)
    assert (stored(served.world), served.entries()) == (before, entries)


def test_description_that_says_too_little_is_found(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same run with a description that lacks one status."""
    lacking = json.loads(describe())
    del lacking["paths"]["/v1/self"]["get"]["responses"]["400"]
    monkeypatch.setattr("tests.properties.test_described_requests.describe", lambda: json.dumps(lacking).encode())
    with pytest.raises(BaseExceptionGroup, match="Undocumented status code"):
        run(served, "self")
