"""What the server does without being asked: expiry, nonces, unnamed blobs, counts (protocol sections 5, 6 and 8)."""

from __future__ import annotations

from stronghold_cli.protocol.encoding import digest
from stronghold_server.counts import Counts, Times
from stronghold_server.deliveries import Deliveries
from stronghold_server.housekeeping import Housekeeping
from stronghold_server.ledger import Entries
from stronghold_server.service import Tools
from stronghold_server.states import KnownTokens, States
from stronghold_server.token_limits import RateLimits
from tests.server.furnished import Furnished


def change_token(full: Furnished, **changes: object) -> None:
    draft = full.org.draft()
    full.org.change_token(draft, full.agent, full.token, **changes)
    full.org.apply(draft)


def housekeeping(full: Furnished) -> tuple[Housekeeping, Tools]:
    world = full.org.world
    tools = Tools(
        store=world.store,
        states=States(),
        entries=Entries(bytes),
        counts=Counts(),
        times=Times(),
        refused=RateLimits(),
        clock=lambda: world.now,
        deliveries=Deliveries(),
        tokens=KnownTokens(),
    )
    return Housekeeping(tools), tools


def test_share_of_an_expired_token_goes_once_a_verified_request_is_past_its_end(full: Furnished) -> None:
    org, world = full.org, full.org.world
    end = world.now + 1000
    change_token(full, not_after=end)
    keeper, tools = housekeeping(full)
    for seen, is_there in ((None, True), (end - 1, True), (end, False)):
        world.now = end + 5000  # the server's clock alone deletes nothing
        if seen is not None:
            tools.times.see(org.org_id, seen)
        world.loop.run_until_complete(keeper.expire_tokens())
        with world.store.read() as reader:
            assert (reader.share(org.org_id, full.token) is not None) == is_there
            assert reader.share(org.org_id, full.second_token) is not None
    assert full.org.get_as_token(full.token, "/v1/pull").code == "TOKEN_EXPIRED"
    draft = org.draft()
    org.revoke(draft, full.agent, full.token)
    org.apply(draft)
    assert full.org.get_as_token(full.token, "/v1/pull").code == "TOKEN_EXPIRED"


def test_after_a_start_the_log_says_what_time_the_last_verified_request_carried(full: Furnished) -> None:
    org, world = full.org, full.org.world
    end = world.now + 1000
    change_token(full, not_after=end)
    world.now = end + 5000
    keeper, _ = housekeeping(full)
    world.loop.run_until_complete(keeper.recall_times())
    world.loop.run_until_complete(keeper.expire_tokens())
    with world.store.read() as reader:
        assert reader.share(org.org_id, full.token) is not None, "no request was ever past the end"
    assert org.get_as_token(full.second_token, "/v1/pull").status == 200
    keeper, tools = housekeeping(full)
    world.loop.run_until_complete(keeper.recall_times())
    assert tools.times.newest() == {org.org_id: world.now}
    world.loop.run_until_complete(keeper.expire_tokens())
    with world.store.read() as reader:
        assert reader.share(org.org_id, full.token) is None
        assert reader.share(org.org_id, full.second_token) is not None


def test_requests_that_verified_are_what_moves_the_time_of_expiry(full: Furnished) -> None:
    times = Times()
    times.see(b"o" * 32, 10)
    times.see(b"o" * 32, 5)
    assert times.newest() == {b"o" * 32: 10}


def test_nonces_and_unnamed_blobs_are_forgotten_in_time(full: Furnished) -> None:
    org, world = full.org, full.org.world
    keeper, tools = housekeeping(full)
    world.store.write(lambda writer: writer.put_blob(org.org_id, digest(b"ahead"), b"ahead", world.now)).result()

    def used_before(nonce: bytes) -> bool:
        return not world.store.write(lambda writer: writer.use_nonce(org.org_id, "t:x", nonce, world.now)).result()

    assert not used_before(b"n" * 16)
    tools.times.see(org.org_id, world.now + 600)
    world.now += 600
    world.loop.run_until_complete(keeper.purge())
    assert used_before(b"n" * 16)
    world.now += 1
    world.loop.run_until_complete(keeper.purge())
    assert used_before(b"n" * 16), "a clock that jumped ahead makes no room for replays"
    tools.times.see(org.org_id, world.now)
    world.loop.run_until_complete(keeper.purge())
    assert not used_before(b"n" * 16)
    world.now += 24 * 3600
    world.loop.run_until_complete(keeper.purge())
    with world.store.read() as reader:
        assert reader.blobs(org.org_id, [digest(b"ahead")]) == {}
    tools.counts.add("replayed")
    world.loop.run_until_complete(keeper.flush_counts())
    with world.store.read() as reader:
        assert reader.counters()["replayed"] == 1
