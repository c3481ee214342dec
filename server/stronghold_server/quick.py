"""The short way of a pull: from the parsed request to its answer without the application, where memory knows all of it.

It answers what the application would, or nothing: whatever would be refused, counted, logged or read from the store goes to
the application, with the request as it came. So there is one place for each refusal, and this one knows successes alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from stronghold_cli.protocol.errors import StrongholdError
from stronghold_cli.protocol.requests import RequestSignature
from stronghold_server.access import Caller, read_signature, verify
from stronghold_server.pull_group import KnownPullRequest, PullGroups
from stronghold_server.pulls import known_parts, plan_parts
from stronghold_server.received import CORRELATION_BYTES, Name, Received, read_request
from stronghold_server.service import Request, Tools
from stronghold_server.token_limits import is_unlimited

LOGGER: Final = logging.getLogger("stronghold")
_PATH: Final = b"/v1/pull"
_METHOD: Final = b"GET"
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
# The headers of an answer and its body.
Answered: TypeAlias = tuple[Headers, bytes]


class Quick:
    """Answers pulls that memory knows. For the event loop's thread alone."""

    def __init__(
        self,
        tools: Tools,
        names: tuple[Name, ...],
        random: Callable[[int], bytes],
        make_headers: Callable[[int, bytes], Headers],
    ) -> None:
        """``make_headers``: those of an answer, by the length of its body and the correlation id."""
        self._tools = tools
        self._names = names
        self._random = random
        self._make_headers = make_headers
        self._paths = frozenset((_PATH, *(name.base_path.encode() + _PATH for name in names)))
        self._groups = PullGroups(tools.store, tools.entries)

    def knows(self, method: bytes, url: bytes) -> bool:
        """Whether a request of this line may be put to ``begin``."""
        return method == _METHOD and url.partition(b"?")[0] in self._paths

    def begin(
        self, url: bytes, headers: Headers, client: tuple[str, int] | None, answer: Callable[[Answered | None], None]
    ) -> bool:
        """Begin to answer a pull without a body; False where it has to go to the application.

        ``answer`` is called later, in the loop that runs: with an answer whose entry is durable, or with None where the
        request has to go to the application after all.
        """
        correlation_id = self._random(CORRELATION_BYTES)

        def deliver(body: bytes | None) -> None:
            answer(None if body is None else (self._make_headers(len(body), correlation_id), body))

        try:
            pull = self._plan(url, headers, client, correlation_id, deliver)
        except StrongholdError:
            return False  # the application finds the same, and says so
        except Exception:  # the caller is a parser, which would take it for a fault of the client
            LOGGER.exception("a pull could not be planned the short way")
            return False
        if pull is None or LOGGER.isEnabledFor(logging.DEBUG):
            return False
        self._groups.put(pull)
        return True

    def _plan(
        self,
        url: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        client: tuple[str, int] | None,
        correlation_id: bytes,
        deliver: Callable[[bytes | None], None],
    ) -> KnownPullRequest | None:
        """The pull, verified, if its state and all that its group gets are in memory.

        Nothing of these is believed to be the newest: all of it is compared in the transaction of the entry.
        """
        path, _, query = url.partition(b"?")
        scope = {"method": "GET", "headers": headers, "raw_path": path, "query_string": query, "client": client}
        received = read_request(scope, b"", self._names, correlation_id)
        signature = read_signature(received)
        if signature.key_id.kind != "t":
            return None
        now = self._tools.now()
        token = self._tools.tokens.get(signature.key_id.raw)
        loaded = None if token is None else self._tools.states.newest(token.org_id)
        parts = None if token is None or loaded is None else known_parts(loaded, token.token_id, received.query)
        if token is None or loaded is None or parts is None:
            return self._plan_new(received, signature, now, deliver)
        if parts[0].live.ends_by(now):
            return None
        verify(signature, token.auth_public_key, now)
        self._tools.times.see(token.org_id, signature.created)
        return KnownPullRequest(received, signature, loaded, parts, now, deliver)

    def _plan_new(
        self, received: Received, signature: RequestSignature, now: int, deliver: Callable[[bytes | None], None]
    ) -> KnownPullRequest | None:
        """The first pull of a token, or of one that was forgotten: what is its own is read from the store."""
        with self._tools.store.read() as reader:
            token = reader.token(signature.key_id.raw)
            loaded = None if token is None else self._tools.states.newest(token.org_id)
            if token is None or loaded is None or not is_unlimited(loaded.state, token):
                return None
            verify(signature, token.auth_public_key, now)
            caller = Caller(org_id=token.org_id, signature=signature, token=token, operator=None)
            request = Request(received=received, caller=caller, subject=b"", now=now, is_first_attempt=True)
            parts = plan_parts(request, reader, loaded)
        if parts is None:
            return None
        self._tools.tokens.keep(token)
        self._tools.times.see(token.org_id, signature.created)
        return KnownPullRequest(received, signature, loaded, parts, now, deliver)
