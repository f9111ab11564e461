"""Which fault comes when: pure, and the same for the same seed.

Faults come in lanes, one a part of the way of an event. A lane has one fault at a time, the lanes do not wait for each
other. How long a part takes to come back is the machine's, so that the moments of two runs differ a little, and the
order, the pauses and the lengths in each lane do not.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """How often a fault comes among those of its lane, and how long it is held, in seconds."""

    name: str
    weight: int
    shortest: float
    longest: float


@dataclass(frozen=True, slots=True)
class Step:
    """Wait `pause` seconds, do `kind`, hold it for `hold` seconds. `pick` in [0, 1) chooses among several victims."""

    pause: float
    kind: str
    hold: float
    pick: float


#: Lane: seconds between two faults on average, and its kinds. Cheap ones come often, a node's restart seldom.
LANES: dict[str, tuple[float, tuple[Kind, ...]]] = {
    "emitters": (
        1.2,
        (
            Kind("emitter killed", 1, 0.0, 0.5),
            Kind("emitter terminated", 1, 0.0, 0.5),
            Kind("emitter suspended", 1, 0.2, 3.0),
        ),
    ),
    "forward": (
        2.2,
        (
            Kind("forward cut", 1, 0.0, 0.5),
            Kind("forward stalled", 1, 0.2, 4.0),
        ),
    ),
    "opensearch": (
        2.2,
        (
            Kind("OpenSearch cut", 1, 0.0, 0.5),
            Kind("OpenSearch stalled", 1, 0.2, 4.0),
        ),
    ),
    "shipper": (
        2.0,
        (
            Kind("shipper killed", 1, 0.0, 3.0),
            Kind("shipper stopped", 1, 0.0, 3.0),
            Kind("shipper suspended", 1, 0.5, 4.0),
        ),
    ),
    "replayer": (5.0, (Kind("replayer killed", 1, 0.0, 3.0),)),
    "node": (
        6.0,
        (
            Kind("node killed", 1, 0.0, 4.0),
            Kind("node suspended", 1, 1.0, 12.0),
            Kind("month blocked", 1, 1.0, 20.0),
        ),
    ),
}

KINDS = tuple(kind.name for _, kinds in LANES.values() for kind in kinds)


def steps(seed: int, lane: str) -> Iterator[Step]:
    """The endless faults of one lane. In each round every kind comes as often as its weight says, shuffled."""
    pause, kinds = LANES[lane]
    rng = random.Random(f"{seed} {lane}")
    while True:
        yield from _round(rng, pause, kinds)


def apart(seed: int) -> Iterator[Step]:
    """All lanes' kinds in one row, each as often as the others: for recovery times that no second fault disturbs."""
    rng = random.Random(f"{seed} apart")
    kinds = [Kind(kind.name, 1, kind.shortest, kind.longest) for _, kinds in LANES.values() for kind in kinds]
    while True:
        yield from _round(rng, 0.3, kinds)


def _round(rng: random.Random, pause: float, kinds: "tuple[Kind, ...] | list[Kind]") -> Iterator[Step]:
    bag = [kind for kind in kinds for _ in range(kind.weight)]
    rng.shuffle(bag)
    for kind in bag:
        hold = rng.uniform(kind.shortest, kind.longest)
        yield Step(pause * rng.uniform(0.3, 1.7), kind.name, hold, rng.random())
