"""Sessions end, are bounded, and failures are counted; by a clock of the test's own."""

from typing import Any, cast

import pytest

from auditpipe.dashboards.console import sessions, throttle
from auditpipe.dashboards.console.sessions import Session, Sessions
from auditpipe.dashboards.console.throttle import Throttle


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Client:
    """Stands in for the client of the node: counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def made(user: str = "ada") -> tuple[Session, Client]:
    client = Client()
    return Session(user, False, cast(Any, None), cast(Any, None), cast(Any, client)), client


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_an_idle_session_ends_after_half_an_hour(clock: Clock) -> None:
    held = Sessions(clock)
    session, client = made()
    secret = held.begin(session)
    clock.now = sessions.IDLE_S
    assert held.find(secret) is session
    clock.now += sessions.IDLE_S + 1
    assert held.find(secret) is None
    assert client.closed == 1


def test_a_session_that_is_used_all_day_ends_all_the_same(clock: Clock) -> None:
    held = Sessions(clock)
    session, _ = made()
    secret = held.begin(session)
    while clock.now + 60 <= sessions.LONGEST_S:
        clock.now += 60
        assert held.find(secret) is session
    clock.now = sessions.LONGEST_S + 1
    assert held.find(secret) is None


def test_what_has_ended_is_forgotten_though_nobody_asks_for_it(clock: Clock) -> None:
    held = Sessions(clock)
    old, client = made()
    held.begin(old)
    clock.now = sessions.IDLE_S
    young = held.begin(made()[0])
    clock.now += 1
    held.sweep()
    assert client.closed == 1
    assert len(held._sessions) == 1
    assert held.find(young) is not None


def test_secrets_are_random_and_nothing_else_is_taken(clock: Clock) -> None:
    held = Sessions(clock)
    secrets = {held.begin(made()[0]) for _ in range(20)}
    assert len(secrets) == 20
    assert min(map(len, secrets)) >= 43
    assert held.find("") is None
    assert held.find(None) is None
    assert held.find("x" * 43) is None


def test_who_signs_in_over_and_over_ends_sessions_of_their_own_alone(clock: Clock) -> None:
    held = Sessions(clock)
    eves, client = made("eve")
    others = held.begin(eves)
    own = []
    for _ in range(sessions.MOST + 1):
        clock.now += 1
        own.append(held.begin(made()[0]))
    assert held.find(others) is eves
    assert client.closed == 0
    assert [held.find(secret) is not None for secret in own[-sessions.MOST_OF_ONE - 1 :]] == [
        False,
        *[True] * sessions.MOST_OF_ONE,
    ]
    assert len(held._sessions) == sessions.MOST_OF_ONE + 1


def test_the_one_that_was_idle_longest_makes_room(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST", 3)
    held = Sessions(clock)
    all_of_them = []
    for _ in range(3):
        clock.now += 1
        all_of_them.append(held.begin(made()[0]))
    clock.now += 1
    assert held.find(all_of_them[0])
    held.begin(made()[0])
    assert [held.find(secret) is not None for secret in all_of_them] == [True, False, True]


def test_so_many_failures_then_a_wait_until_the_first_is_old(clock: Clock) -> None:
    held = Throttle(clock)
    for _ in range(throttle.FAILURES):
        assert held.enter(["address a"]) == 0
        clock.now += 1
    assert held.enter(["address a", "name n"]) == throttle.WINDOW_S - throttle.FAILURES
    assert held.enter(["address b"]) == 0
    clock.now = throttle.WINDOW_S
    assert held.enter(["address a"]) == 0


def test_tries_side_by_side_are_counted_before_they_have_failed_and_success_is_no_failure(clock: Clock) -> None:
    held = Throttle(clock)
    for _ in range(3 * throttle.FAILURES):
        assert held.enter(["address a", "name n"]) == 0
        held.take_back(["address a", "name n"])
    assert held._failed == {}
    # None of these has an answer yet.
    assert [held.enter(["name n"]) > 0 for _ in range(throttle.FAILURES + 2)] == [False] * throttle.FAILURES + [
        True
    ] * 2


def test_the_memory_of_failures_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "_MOST_KEYS", 10)
    held = Throttle(clock)
    for number in range(50):
        held.enter([f"name {number}"])
        clock.now += throttle.WINDOW_S / 5
    assert len(held._failed) <= 12
