"""What is typed about tokens and agents: address ranges, rates, uses, labels, ends; and what operators are warned of."""

from __future__ import annotations

import pytest

from stronghold_cli.commands.agent_view import agent_state, warn_of_ends
from stronghold_cli.commands.times import expiry
from stronghold_cli.commands.token_options import limits_value, read_labels, read_limits, tell_limits
from stronghold_cli.protocol.documents.agent import Limits, Rate
from stronghold_cli.protocol.documents.structure import Lockdown
from stronghold_cli.protocol.errors import UsageError
from tests.support.org import NOW, workshop


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        (" 192.0.2.7 ", "192.0.2.7/32"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_a_range_is_read_into_its_one_form(typed: str, read: str) -> None:
    limits = read_limits([typed, typed], None, None)
    assert limits is not None
    assert limits.addresses == (read,)


@pytest.mark.parametrize(
    ("typed", "rate", "told"),
    [
        ("60/min", Rate(requests=60, seconds=60), "at most 60 in a minute"),
        ("10/s", Rate(requests=10, seconds=1), "at most 10 in a second"),
        ("5 / 10 sec", Rate(requests=5, seconds=10), "at most 5 in 10 seconds"),
        ("1/H", Rate(requests=1, seconds=3600), "at most 1 in an hour"),
        ("1000000/day", Rate(requests=1_000_000, seconds=86_400), "at most 1000000 in a day"),
        ("7/2h", Rate(requests=7, seconds=7200), "at most 7 in 2 hours"),
    ],
)
def test_a_rate_is_read_and_told(typed: str, rate: Rate, told: str) -> None:
    limits = read_limits(None, typed, None)
    assert limits is not None
    assert (limits.rate, tell_limits(limits)) == (rate, told)


@pytest.mark.parametrize(
    "typed", ["", "60", "60/", "/min", "-1/min", "0/min", "1/0s", "1/25h", "1000001/s", "1/fortnight", "1.5/s"]
)
def test_a_rate_that_is_none_is_told(typed: str) -> None:
    with pytest.raises(UsageError):
        read_limits(None, typed, None)


@pytest.mark.parametrize(
    "typed", ["", "10.0.0.1/8", "10.0.0.0/33", "host", "::ffff:0:0/96", "fe80::1%eth0", "10.0.0.0/8,::1"]
)
def test_a_range_that_is_none_is_told(typed: str) -> None:
    with pytest.raises(UsageError):
        read_limits([typed], None, None)


def test_limits_have_bounds_and_are_none_where_none_was_given() -> None:
    assert read_limits(None, None, None) is None
    assert read_limits([], None, None) is None
    for uses in (0, -1, 1 << 53):
        with pytest.raises(UsageError):
            read_limits(None, None, uses)
    assert read_limits([f"10.0.{number}.0/24" for number in range(64)], None, None)
    with pytest.raises(UsageError, match="65"):
        read_limits([f"10.0.{number}.0/24" for number in range(65)], None, None)
    whole = Limits(addresses=("10.0.0.0/8",), rate=Rate(requests=1, seconds=2), uses=1)
    assert tell_limits(whole) == "from 10.0.0.0/8; at most 1 in 2 seconds; 1 use in all"
    assert limits_value(whole) == {"addresses": ["10.0.0.0/8"], "rate": {"requests": 1, "seconds": 2}, "uses": 1}


def test_labels_are_read_and_what_is_none_is_told() -> None:
    assert read_labels(["env=prod", "ünit=e\u0301", "env=prod"]) == {"env": "prod", "ünit": "é"}
    for wrong in (["env"], ["=a"], ["a="], ["a=b=c"], ["a b=c"], ["a=1", "a=2"], ["a=\x1b"], ["a" * 64 + "=b"]):
        with pytest.raises(UsageError):
            read_labels(wrong)


def test_an_end_lies_ahead_and_before_the_year_10000() -> None:
    assert expiry("90d", None, NOW) == NOW + 90 * 86_400
    assert expiry(None, "9999-12-31", NOW) == 253_402_214_400
    assert expiry(None, None, NOW) is None
    for expires_in, expires_at in (
        ("999999999y", None), ("8000y", None), ("0d", None), (None, "2001-01-01"), (None, "0001-01-01T00:00:00+23:59"),
        (None, "soon"), ("1d", "2100-01-01"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match="--token-expires"):
            expiry(expires_in, expires_at, NOW, "--token-expires")


def test_the_operator_is_warned_of_active_tokens_that_end_soon(capfd: pytest.CaptureFixture[str]) -> None:
    (agent,) = workshop().state.agents.values()
    ((token_id, token),) = agent.tokens.items()
    week, life = 7 * 86_400, 1000 * 86_400
    for state, not_after, left, warned in (
        ("active", NOW + life, week, "bot/ci in 7 d"),
        ("active", NOW + life, week + 1, ""),
        ("active", NOW + life, 0, ""),
        ("deprecated", NOW + life, week, ""),
        ("active", None, 1, ""),
    ):
        changed = agent.replace(tokens={token_id: token.replace(state=state, not_after=not_after)})
        warn_of_ends([changed], (not_after or NOW) - left)
        assert (warned in capfd.readouterr().err) if warned else not capfd.readouterr().err
    many = {bytes([each]) * 16: token.replace(name=f"t{each}", not_after=NOW + life) for each in range(7)}
    warn_of_ends([agent.replace(tokens=many)], NOW + life - 60)
    assert "7 tokens expire soon" in (said := capfd.readouterr().err)
    assert "and 2 more" in said


def test_an_agent_s_state_is_told_with_what_stops_it() -> None:
    state = workshop().state
    (agent,) = state.agents.values()
    line = Lockdown(id=bytes(16), all=True, groups=(), agents=(), labels=(), reason="drill", created=NOW)
    locked = state.replace(structure=state.structure.replace(document=state.structure.document.replace(lockdowns=(line,))))
    ended = agent.replace(not_after=NOW)
    assert [agent_state(state, each, NOW) for each in (agent, ended)] == ["active", "expired"]
    assert agent_state(state, ended, NOW - 1) == "active"
    assert agent_state(locked, agent.replace(state="paused"), NOW) == "paused, locked down"
