"""The small parts: back-off, budget, threads, metrics, bisecting."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.pipeline.relay.backoff import LONGEST_RETRY_AFTER, LONGEST_SECONDS, delay, retry_after
from auditpipe.pipeline.relay.budget import Budget
from auditpipe.pipeline.relay.bulk import MOST_VAIN_REQUESTS, attempt
from auditpipe.pipeline.relay.classify import Outcome
from auditpipe.pipeline.relay.metrics import GAUGES, Metrics
from auditpipe.pipeline.relay.records import Event
from auditpipe.pipeline.relay.threads import Threads
from auditpipe.pipeline.relay.transport import Answer
from auditpipe.schemas.errors import OutOfReach


@given(st.integers(0, 10**6))
def test_a_delay_is_bounded_and_never_none(attempts: int) -> None:
    assert 0.1 <= delay(attempts) <= LONGEST_SECONDS


@given(st.integers(0, 10**6), st.floats(0.001, 10**9))
def test_retry_after_is_a_lower_bound_up_to_a_limit(attempts: int, asked: float) -> None:
    assert min(asked, LONGEST_RETRY_AFTER) <= delay(attempts, asked) <= max(LONGEST_SECONDS, LONGEST_RETRY_AFTER)


@given(st.text())
def test_any_retry_after_is_read_or_ignored(text: str) -> None:
    seconds = retry_after({"retry-after": text})
    assert seconds is None or seconds >= 0


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after({"retry-after": "7"}) == 7.0
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < (retry_after({"retry-after": soon}) or 0) <= 100
    assert retry_after({}) is None
    assert retry_after({"retry-after": "Fri, 31 Dec 99999999999999999999 23:59:59 GMT"}) is None


@given(st.lists(st.integers(1, 120), min_size=1, max_size=20))
def test_the_budget_is_never_exceeded_and_serves_everyone(amounts: list[int]) -> None:
    served: list[int] = []

    async def take(budget: Budget, number: int, amount: int) -> None:
        taken = await budget.take(amount)
        served.append(number)
        assert budget.used <= 100
        await asyncio.sleep(0)
        budget.give(taken)

    async def run() -> int:
        budget = Budget(100)
        await asyncio.gather(*(take(budget, number, amount) for number, amount in enumerate(amounts)))
        return budget.used

    assert asyncio.run(run()) == 0
    assert sorted(served) == list(range(len(amounts)))


def test_the_budget_serves_the_smallest_first_and_says_that_someone_waits() -> None:
    served: list[int] = []

    async def take(budget: Budget, amount: int) -> None:
        served.append(await budget.take(amount))

    async def run() -> None:
        budget = Budget(100)
        await budget.take(90)
        assert not budget.contended
        waiting = [asyncio.create_task(take(budget, amount)) for amount in (50, 200, 30, 5)]
        await asyncio.sleep(0)
        assert budget.contended
        assert budget.take_now(6) is False
        assert (served, budget.used) == ([5], 95)
        budget.give(90)
        await asyncio.sleep(0.01)
        assert served == [5, 30, 50]
        budget.give(85)
        await asyncio.gather(*waiting)
        assert (served[3:], budget.contended) == ([100], False)

    asyncio.run(run())


def test_who_stops_waiting_for_the_budget_takes_nothing() -> None:
    async def run() -> None:
        budget = Budget(10)
        held = await budget.take(10)
        waiting = [asyncio.create_task(budget.take(10)) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        budget.give(held)
        assert await waiting[1] == 10
        budget.give(10)
        assert budget.used == 0

    asyncio.run(run())


def test_threads_hand_on_results_and_errors() -> None:
    async def run() -> None:
        threads = Threads(2, "test")
        assert await threads.call(lambda: 5) == 5
        with pytest.raises(ZeroDivisionError):
            await threads.call(lambda: 1 // 0)
        threads.close()

    asyncio.run(run())


def test_metrics_are_prometheus_text() -> None:
    metrics = Metrics()
    metrics.count("dead_letters", 2, reason='a"b\\c\n')
    page = metrics.render(dict.fromkeys(GAUGES, 0.0) | {"waiting_events": {"busy": 3}})
    assert 'auditpipe_relay_dead_letters_total{reason="a\\"b\\\\c\\n"} 2' in page.split("\n")
    assert 'auditpipe_relay_waiting_events{reason="busy"} 3' in page
    assert page.endswith("\n")


class Scripted:
    """A transport that answers as it is told; counts its requests."""

    def __init__(self, answer: Callable[[list[bytes]], Answer]) -> None:
        self.answer = answer
        self.requests = 0

    def post(self, path: str, body: bytes) -> Answer:
        self.requests += 1
        return self.answer(body.split(b"\n")[1::2])


def events(count: int) -> list[Event]:
    return [Event(f"id-{n}", "audit-events-2026.10", "h", b'{"n":%d}' % n, 0, "t") for n in range(count)]


@given(st.sets(st.integers(0, 29)), st.sampled_from([400, 413]))
def test_whatever_fails_a_whole_request_is_found_alone(bad: set[int], status: int) -> None:
    def answer(documents: list[bytes]) -> Answer:
        if any(int(document[5:-1]) in bad for document in documents):
            return Answer(status, {"error": {"type": "x_content_parse_exception", "reason": "r"}})
        return Answer(200, {"items": [{"create": {"status": 201}}] * len(documents)})

    # Beyond that many vain requests an attempt stops; the rest is tried again later.
    bad = set(sorted(bad)[:4])
    verdicts = attempt(Scripted(answer), events(30)).verdicts
    assert {n for n, verdict in enumerate(verdicts) if verdict.outcome is Outcome.NEVER} == bad
    assert all(verdict.outcome is Outcome.DONE for n, verdict in enumerate(verdicts) if n not in bad)


def test_a_proxy_that_refuses_everything_gives_up_nothing_and_is_not_asked_for_each_event() -> None:
    transport = Scripted(lambda _: Answer(400, None))
    result = attempt(transport, events(5000))
    assert {verdict.outcome for verdict in result.verdicts} == {Outcome.AGAIN}
    assert transport.requests <= MOST_VAIN_REQUESTS + 20


def test_no_answer_leaves_everything_for_later() -> None:
    class Nobody:
        def post(self, path: str, body: bytes) -> Answer:
            raise OutOfReach("nothing listens there")

    result = attempt(Nobody(), events(3))
    assert [(verdict.outcome, verdict.type) for verdict in result.verdicts] == [(Outcome.AGAIN, "unreachable")] * 3
    assert result.whole
