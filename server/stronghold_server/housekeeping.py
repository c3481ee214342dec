"""What the server does without being asked, in small steps so that no request waits for it.

- counts of turned-away requests go to the store;
- nonces are forgotten after ten minutes (protocol section 6);
- blobs that no document names go after 24 h (section 5, "One write verb");
- the share of an expired token goes within the hour, once a verified request carried a time past its end (section 8,
  "Expire"): a server's clock that jumped deletes nothing. After a start, the last entry of the log says what the last
  request before it carried.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

from stronghold_cli.protocol.audit import decode_leaf
from stronghold_cli.protocol.errors import StrongholdError
from stronghold_cli.protocol.requests import REPLAY_SECONDS, parse_signature_base
from stronghold_server.service import Tools
from stronghold_server.store.interface import Writer

TICK_SECONDS: Final = 10.0
UNNAMED_SECONDS: Final = 24 * 3600
EXPIRY_SECONDS: Final = 600.0
_BATCH: Final = 2000
_MAX_BATCHES: Final = 50
_LOGGER: Final = logging.getLogger("stronghold")


class Housekeeping:
    """The recurring work of one server process."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._next_expiry = 0.0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Do the work in the background as long as the context is open; a last time when it ends."""
        task = asyncio.create_task(self._run(), name="housekeeping")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            with contextlib.suppress(StrongholdError):
                await self.flush_counts()

    async def _run(self) -> None:
        loop, knows_times = asyncio.get_running_loop(), False
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                await self.flush_counts()
                if not knows_times:
                    await self.recall_times()
                    knows_times = True
                await self.purge()
                if loop.time() >= self._next_expiry:
                    self._next_expiry = loop.time() + EXPIRY_SECONDS
                    await self.expire_tokens()
            except StrongholdError as error:
                _LOGGER.warning("housekeeping failed", exc_info=error, extra={"event": "housekeeping"})

    async def recall_times(self) -> None:
        """Learn from the log what time the last verified request of each org carried, before this process began."""
        for org_id, created in (await asyncio.to_thread(self._logged_times)).items():
            self._tools.times.see(org_id, created)

    async def flush_counts(self) -> None:
        """Add the counts in memory to those in the store."""
        counts, now = self._tools.counts.take(), self._tools.now()
        if counts:
            await asyncio.wrap_future(self._tools.store.write(lambda writer: writer.add_counts(counts, now)))

    async def purge(self) -> None:
        """Forget old nonces, and delete blobs that were sent ahead and never named."""
        now = self._tools.now()
        # A clock that jumped ahead for a moment must not make room for replays: verified requests say what time it is.
        seen = max(self._tools.times.newest().values(), default=0)
        before = min(now, seen) - REPLAY_SECONDS
        for _ in range(_MAX_BATCHES):
            if await self._write(lambda writer: writer.purge_nonces(before, _BATCH)) < _BATCH:
                break
        with self._tools.store.read() as reader:
            org_ids = reader.org_ids()
        for org_id in org_ids:
            await self._write(lambda writer: writer.sweep_sent_ahead(org_id, now - UNNAMED_SECONDS, _BATCH))  # noqa: B023
            await self._write(lambda writer: writer.sweep_blobs(org_id, now - UNNAMED_SECONDS, _BATCH))  # noqa: B023

    async def expire_tokens(self) -> None:
        """Delete the shares of tokens whose end lies before the newest time that a verified request carried."""
        for org_id, seen in self._tools.times.newest().items():
            head, expired = await asyncio.to_thread(self._expired, org_id, seen)
            if expired:
                await self._write(lambda writer: _end(writer, org_id, head, expired, seen))  # noqa: B023

    def _logged_times(self) -> dict[bytes, int]:
        found = {}
        with self._tools.store.read() as reader:
            for org_id in reader.org_ids():
                head = reader.log_head(org_id)
                for _, leaf in reader.log_leaves(org_id, 0 if head is None else max(0, head.size - 1), 1):
                    found[org_id] = parse_signature_base(decode_leaf(leaf).signature_base).created
        return found

    async def _write(self, work: Callable[[Writer], int]) -> int:
        return await asyncio.wrap_future(self._tools.store.write(work))

    def _expired(self, org_id: bytes, seen: int) -> tuple[bytes, list[bytes]]:
        """The tokens that are past their end and still have a share, and the head under which that is so."""
        with self._tools.store.read() as reader:
            loaded = self._tools.states.current(reader, org_id)
            state = loaded.state
            ends = (
                (token_id, [end for end in (agent.not_after, token.not_after) if end is not None])
                for agent in state.agents.values()
                for token_id, token in agent.tokens.items()
            )
            past = [token_id for token_id, times in ends if times and min(times) <= seen]
            return loaded.head_sha256, [token_id for token_id in past if reader.share(org_id, token_id) is not None]


def _end(writer: Writer, org_id: bytes, head_sha256: bytes, expired: list[bytes], seen: int) -> int:
    head = writer.lock_head(org_id)
    if head is None or head.sha256 != head_sha256:
        return 0  # a commit may have moved the end of a token: looked at again next time
    for token_id in expired:
        writer.delete_share(org_id, token_id)
        writer.end_token(org_id, token_id, "expired", seen)
    return len(expired)
