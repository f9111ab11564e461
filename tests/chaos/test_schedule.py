"""Faults come by the seed, each kind as often as its weight says."""

from collections import Counter
from itertools import islice

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.schedule import KINDS, LANES, Step, apart, steps


def first(seed: int, lane: str, count: int = 60) -> list[Step]:
    return list(islice(steps(seed, lane), count))


@pytest.mark.parametrize("lane", LANES)
def test_a_seed_gives_the_same_faults_again_and_another_seed_others(lane: str) -> None:
    assert first(7, lane) == first(7, lane)
    assert first(7, lane) != first(8, lane)


@pytest.mark.parametrize("lane", LANES)
def test_each_kind_comes_as_often_as_its_weight_says_and_within_its_bounds(lane: str) -> None:
    pause, kinds = LANES[lane]
    rounds = 20
    made = first(7, lane, rounds * sum(kind.weight for kind in kinds))
    assert Counter(step.kind for step in made) == {kind.name: rounds * kind.weight for kind in kinds}
    bounds = {kind.name: (kind.shortest, kind.longest) for kind in kinds}
    for step in made:
        shortest, longest = bounds[step.kind]
        assert shortest <= step.hold <= longest
        assert 0 < step.pause < 2 * pause
        assert 0 <= step.pick < 1


def test_apart_every_kind_has_its_turn() -> None:
    made = list(islice(apart(7), len(KINDS)))
    assert sorted(step.kind for step in made) == sorted(KINDS)


def test_every_kind_can_be_done() -> None:
    assert sorted(FAULTS) == sorted(KINDS)
