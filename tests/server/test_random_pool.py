"""Random bytes that are drawn in larger pieces are given once each, and in their full number."""

from __future__ import annotations

import itertools

from stronghold_server.random_pool import RandomPool


def test_no_byte_is_given_twice_and_none_is_missing() -> None:
    drawn = []
    source = (number.to_bytes(4, "big") for number in itertools.count())

    def random(count: int) -> bytes:
        drawn.append(count)
        return b"".join(itertools.islice(source, count // 4))

    pool = RandomPool(random)
    given = [pool(16) for _ in range(1000)]
    assert {len(each) for each in given} == {16}
    assert len(set(given)) == 1000
    assert len(drawn) == 4


def test_what_does_not_fit_the_rest_is_drawn_anew() -> None:
    pool = RandomPool(bytes)
    assert [len(pool(count)) for count in (4000, 200, 4096, 1)] == [4000, 200, 4096, 1]
