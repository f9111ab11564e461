"""Who makes room when all places are taken."""

from hypothesis import given
from hypothesis import strategies as st

from auditpipe.pipeline.relay.admission import Seat, first_to_go

NOW, IDLE = 100.0, 10.0
moments = st.floats(0, NOW)
seats = st.lists(st.builds(Seat, moments, st.booleans(), st.none() | moments, st.booleans()), max_size=20)


def test_who_has_shown_least_goes_first_and_of_those_who_came_first() -> None:
    unproved, late = Seat(arrived=5.0), Seat(arrived=6.0)
    proved, silent = Seat(arrived=1.0, proved=True), Seat(arrived=0.0, proved=True, delivered=50.0)
    recent, busy = Seat(arrived=0.0, proved=True, delivered=95.0), Seat(arrived=0.0, busy=True)
    everyone = [recent, busy, silent, late, proved, unproved]
    for expected in (unproved, late, proved, silent, None):
        assert first_to_go(everyone, NOW, IDLE) is expected
        everyone = [one for one in everyone if one is not expected]


@given(seats)
def test_nobody_goes_whose_events_are_on_their_way_or_who_has_just_delivered(taken: list[Seat]) -> None:
    gone = first_to_go(taken, NOW, IDLE)
    if gone is None:
        assert all(one.busy or (one.delivered is not None and NOW - one.delivered < IDLE) for one in taken)
    else:
        assert not gone.busy
        assert gone.delivered is None or NOW - gone.delivered >= IDLE
        assert gone.delivered is None or all(one.delivered is not None or one.busy for one in taken)
