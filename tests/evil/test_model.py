"""The real reader and the model of its rules (``model``) agree on every generated state, genuine and forged."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from stronghold_cli.protocol.errors import StrongholdError
from stronghold_cli.reader.profile import Asked, open_profile, verify_profile
from stronghold_cli.reader.standing import verify_standing
from tests.evil import model_bytes
from tests.evil.model import Answer, Holder, Mark, RefusedError, judge
from tests.evil.model_forgeries import SPOILERS
from tests.evil.model_states import PROFILES, World

STATES = 20_000
PARTS = 16
WORLDS = 5


def real(answer: Answer, holder: Holder, mark: Mark | None, asked: str, now: int) -> dict[str, str] | None:
    """What the real reader releases; ``None`` where it refuses with an error of ours. Any other error is a failure."""
    token = model_bytes.minted(holder.name, model_bytes.document(holder.pin).sha256, holder.floor, holder.seal_key).token
    secret = model_bytes.token_secret(holder.name)
    received = model_bytes.answer(answer, holder)
    known = None if mark is None else model_bytes.mark(mark)
    try:
        standing = verify_standing(received, token, secret, known, model_bytes.BASE + now)
        verified = verify_profile(received, standing, Asked(name=asked, id=None), token, secret, known)
        return {name: secret.value.decode() for name, secret in open_profile(verified).items()}
    except StrongholdError:
        return None


def one(dice: random.Random, world: World, other: World) -> tuple[Answer, Holder, Mark | None, str, int] | None:
    """A generated question and answer."""
    holder = dice.choice(world.holders)
    state = dice.choice(world.states[-3:] if dice.random() < 0.5 else world.states)
    mark = None
    if dice.random() < 0.6:
        remembered = dice.choice(world.states)
        mark = world.mark(remembered, dice.choice(((), ("production",), PROFILES)))
    asked = dice.choice(PROFILES)
    answer = world.genuine(state, holder, asked, holder.pin if mark is None else mark.org)
    if answer is None:
        return None
    for _ in range(dice.choice((0, 0, 1, 1, 1, 2))):
        source = other if dice.random() < 0.15 else world
        donor = source.genuine(
            dice.choice(source.states), dice.choice(source.holders), dice.choice((asked, *PROFILES)), source.holders[0].pin
        )
        answer = dice.choice(SPOILERS)(dice, answer, donor or answer)
    now = state.head.document.created + dice.choice((0, 0, 0, 0, 0, -301, 3_600, 3_601, 10_000))
    return answer, holder, mark, asked, now


@pytest.mark.parametrize("part", range(PARTS))
def test_reader_and_model_agree(part: int, record_property: pytest.RecordProperty) -> None:
    dice = random.Random(f"model {part}")
    verdicts: Counter[str] = Counter()
    while sum(verdicts.values()) < STATES // PARTS:
        world, other = World("acme", dice, dice.randrange(5, 14)), World("evil", dice, 4)
        for _ in range(STATES // PARTS // WORLDS):
            generated = one(dice, world, other)
            if generated is None:
                continue
            try:
                expected: dict[str, str] | None = dict(judge(*generated))
                verdict = "accepted"
            except RefusedError as refusal:
                expected, verdict = None, "{} {}".format(*refusal.args)
            try:
                found = real(*generated)
            except KeyError:
                verdicts["no proof can be made"] += 0  # a map that does not hold the key has no proof to show
                continue
            assert found == expected, (verdict, generated)
            verdicts[verdict] += 1
    record_property("verdicts", dict(verdicts))
    assert verdicts["accepted"] >= STATES // PARTS / 4
    assert len(verdicts) > 20
    print(sorted(verdicts.items()))
