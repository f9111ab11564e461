"""From events to OpenSearch: those of all connections in bulks of good size, a few in flight, until each is done.

An event leaves only as done (stored), never (a dead letter, on disk), parked (on disk, for the replayer) or dropped
because its client is gone and will send it again. A request that fails as such closes a gate for all; events that fail
one by one wait on their own, so that a month that is missing holds up nobody else's, and are parked after a while: the
events behind them, of a client that waits for each acknowledgement, are held up until then.
"""

import asyncio
import heapq
import itertools
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from auditpipe.pipeline.deadletter.store import DeadLetters
from auditpipe.pipeline.relay.alarm import Alarm
from auditpipe.pipeline.relay.backoff import delay
from auditpipe.pipeline.relay.bulk import Attempt, attempt
from auditpipe.pipeline.relay.chunk import Pending
from auditpipe.pipeline.relay.classify import CREATED, Outcome, Verdict, again
from auditpipe.pipeline.relay.config import Limits
from auditpipe.pipeline.relay.metrics import Metrics
from auditpipe.pipeline.relay.records import Reason, Refused
from auditpipe.pipeline.relay.threads import Threads
from auditpipe.pipeline.relay.transport import Transport
from auditpipe.schemas.errors import SpoolError

#: A smaller bulk waits for company, but only while another is in flight, and only for LINGER seconds.
GOOD_BULK = 1_000_000
LINGER = 0.02
#: How often a connection that waits for room looks whether its client is still there.
LOOK_SECONDS = 1.0
#: 429 is the node's "slow down" or "full", not a reason of the event: those wait in the client's spool.
NEVER_PARKED = frozenset({"busy", "disk_full"})
#: So many events that were put off and whose client left are known again when they come back.
REMEMBERED = 10_000


class _Again(NamedTuple):
    due: float
    order: int
    attempts: int
    events: list[Pending]


class Delivery:
    """Takes events with `put`, what can't be sent with `keep`."""

    def __init__(
        self, transport: Transport, letters: DeadLetters, parked: DeadLetters, limits: Limits, metrics: Metrics
    ) -> None:
        self.alarm = Alarm()
        self._transport = transport
        self._letters = letters
        self._parked = parked
        self._limits = limits
        self._metrics = metrics
        self._threads = Threads(limits.bulks_in_flight + 1, "relay")
        self._fresh: deque[Pending] = deque()
        self._fresh_bytes = 0
        self._held_bytes = 0
        self._later: list[_Again] = []
        self._order = itertools.count()
        self._in_flight: dict[int, tuple[float, list[Pending]]] = {}  # since when, of each bulk
        self._gate = 0.0
        self._failures = 0
        self._worked = -math.inf  # when the cluster last took a request
        self._remembered: dict[str, tuple[int, float]] = {}  # refusals and since, of events that were dropped
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that events take which are not done."""
        return self._held_bytes

    @asynccontextmanager
    async def turn(self, is_gone: Callable[[], bool]) -> AsyncIterator[None]:
        """Make events and `put` them in here: one connection at a time, so that only one holds events without room.

        ConnectionAbortedError as `put`.
        """
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._turn.acquire()
                break
            except TimeoutError:
                _still_there(is_gone)
        try:
            yield
        finally:
            self._turn.release()

    def waiting(self) -> dict[str, int]:
        """How many events have to be sent again, by the reason of their last attempt, or have no answer to it yet."""
        late = asyncio.get_running_loop().time() - self._limits.unanswered
        bulks = [events for since, events in self._in_flight.values() if since <= late]
        unanswered = sum(pending.trouble is None for events in bulks for pending in events)
        return {**self.alarm.waiting, **({"unanswered": unanswered} if unanswered else {})}

    async def put(self, events: Sequence[Pending], is_gone: Callable[[], bool]) -> None:
        """Take these on, when there is room. Waiting here is what makes a connection stop reading.

        ConnectionAbortedError if the client leaves meanwhile, and will send the events again.
        """
        held = sum(pending.held for pending in events)
        while self._held_bytes and self._held_bytes + held > self._limits.waiting:
            self._room.clear()
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._room.wait()
            except TimeoutError:
                _still_there(is_gone)
        for pending in events:
            pending.chunk.add(1)
        self._held_bytes += held
        self._fresh_bytes += sum(pending.size for pending in events)
        self._fresh.extend(events)
        self._work.set()

    async def keep(self, refused: Sequence[Refused], is_gone: Callable[[], bool]) -> None:
        """Dead letters on disk. While they can't be written: waits, with an alarm.

        ConnectionAbortedError as `put`.
        """
        attempts, trouble = 0, None
        try:
            while True:
                try:
                    await self._write(refused)
                    return
                except SpoolError as error:
                    self.alarm.move(trouble, "dead_letters", str(error))
                    trouble = "dead_letters"
                await asyncio.sleep(delay(attempts))
                attempts += 1
                _still_there(is_gone)
        finally:
            self.alarm.move(trouble, None)

    async def _write(self, refused: Sequence[Refused]) -> None:
        await self._threads.call(self._letters.keep, refused)
        for one in refused:
            self._metrics.count("dead_letters", reason=one.reason.type)
        self._metrics.count("events", len(refused), outcome="dead_letter")

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._limits.bulks_in_flight):
                    group.create_task(self._deliver_forever())
        finally:
            self._threads.close()

    async def _deliver_forever(self) -> None:
        while True:
            events, attempts = await self._take()
            if not events:
                continue
            number = next(self._order)
            self._in_flight[number] = (asyncio.get_running_loop().time(), events)
            try:
                result = await self._threads.call(attempt, self._transport, [pending.event for pending in events])
            finally:
                del self._in_flight[number]
                self._work.set()  # a small bulk need not wait for company any more
            await self._apply(events, result, attempts)

    async def _take(self) -> tuple[list[Pending], int]:
        """The next bulk and how often it was tried, when it is time for one."""
        clock = asyncio.get_running_loop().time
        company = None  # until when a small bulk waits for it
        while True:
            now = clock()
            if now < self._gate:
                await asyncio.sleep(self._gate - now)
            elif self._later and self._later[0].due <= now:
                again = heapq.heappop(self._later)
                return self._without_abandoned(again.events), again.attempts
            elif self._fresh:
                company = company or now + LINGER
                if self._fresh_bytes >= GOOD_BULK or not self._in_flight or now >= company:
                    return self._without_abandoned(self._cut()), 0
                await self._wait_for_work(company - now)
            else:
                company = None
                await self._wait_for_work(self._later[0].due - now if self._later else None)

    async def _wait_for_work(self, seconds: float | None) -> None:
        self._work.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._work.wait()
        except TimeoutError:
            return  # it is time for what was put off, or for a small bulk

    def _cut(self) -> list[Pending]:
        bulk: list[Pending] = []
        size = 0
        while self._fresh:
            size += self._fresh[0].size
            if bulk and size > self._limits.bulk:
                break
            bulk.append(self._fresh.popleft())
        self._fresh_bytes -= sum(pending.size for pending in bulk)
        return bulk

    def _without_abandoned(self, events: list[Pending]) -> list[Pending]:
        dropped = [pending for pending in events if _is_dropped(pending)]
        if not dropped:
            return events
        # A client that is patient for less time than `park_after` must not begin anew each time it comes.
        self._remembered |= {p.event.id: (p.refusals, p.since) for p in dropped if p.refusals}
        while len(self._remembered) > REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._settle(dropped, "dropped", safe=False)
        return [pending for pending in events if not _is_dropped(pending)]

    async def _apply(self, events: list[Pending], result: Attempt, attempts: int) -> None:
        now = asyncio.get_running_loop().time()
        self._account(result, now)
        if result.verdicts.count(CREATED) == len(events):
            self._settle(events, CREATED.type)
            return
        pairs = list(zip(events, result.verdicts, strict=True))
        self._settle([p for p, v in pairs if v.type == "created"], "created")
        self._settle([p for p, v in pairs if v.type == "duplicate"], "duplicate")
        late = [(p, v) for p, v in pairs if v.outcome is Outcome.AGAIN]
        if late and not result.whole:
            late = await self._park(late, now)
        if refused := [(p, v) for p, v in pairs if v.outcome is Outcome.NEVER]:
            late += await self._give_up(refused)
        self._put_off(late, result, attempts)

    async def _give_up(self, refused: list[tuple[Pending, Verdict]]) -> list[tuple[Pending, Verdict]]:
        """Dead letters on disk; returns them, to come again, where they can't be written now.

        Waiting for room here would hold up the bulks of everyone.
        """
        try:
            await self._write([_refused(pending, verdict) for pending, verdict in refused])
        except SpoolError as error:
            return _unwritten(refused, error)
        self._settle([pending for pending, _ in refused])
        return []

    async def _park(self, late: list[tuple[Pending, Verdict]], now: float) -> list[tuple[Pending, Verdict]]:
        """Put on disk what has been refused for long enough for a reason of its own; returns the others."""
        stuck = [(pending, verdict) for pending, verdict in late if self._is_stuck(pending, verdict, now)]
        if not stuck:
            return late
        parked = {id(pending) for pending, _ in stuck}
        rest = [one for one in late if id(one[0]) not in parked]
        try:
            await self._threads.call(self._parked.keep, [_refused(pending, verdict) for pending, verdict in stuck])
        except SpoolError as error:
            return rest + _unwritten(stuck, error)
        for pending, verdict in stuck:
            self._metrics.count("parked_events", reason=verdict.type)
            self.alarm.parked(verdict.type, pending.event.index_name, verdict.detail)
        self._settle([pending for pending, _ in stuck], "parked")
        return rest

    def _is_stuck(self, pending: Pending, verdict: Verdict, now: float) -> bool:
        if not pending.refusals:
            pending.refusals, pending.since = self._remembered.pop(pending.event.id, (0, now))
        pending.refusals += 1
        return (
            verdict.type not in NEVER_PARKED
            and pending.refusals >= self._limits.park_tries
            and now - pending.since >= self._limits.park_after
            # Else it is the cluster, or a proxy before it, that refuses everything.
            and self._worked >= pending.since
        )

    def _account(self, result: Attempt, now: float) -> None:
        for status, count in Counter(result.statuses).items():
            self._metrics.count("bulk_requests", count, status=status)
        if result.whole:
            wait = delay(self._failures, result.retry_after)
            self._failures += 1
            self._gate = max(self._gate, now + wait)
        else:
            self._failures = 0
        if result.worked:
            self._worked = now
        self._metrics.reachable = not result.whole

    def _put_off(self, late: Iterable[tuple[Pending, Verdict]], result: Attempt, attempts: int) -> None:
        events = []
        for pending, verdict in late:
            self.alarm.move(pending.trouble, verdict.type, verdict.detail)
            pending.trouble = verdict.type
            events.append(pending)
        if not events:
            return
        self._metrics.count("retries", len(events))
        wait = 0.0 if result.whole else delay(attempts, result.retry_after)
        due = asyncio.get_running_loop().time() + wait
        heapq.heappush(self._later, _Again(due, next(self._order), attempts + 1, events))
        self._work.set()

    def _settle(self, events: list[Pending], outcome: str | None = None, *, safe: bool = True) -> None:
        if not events:
            return
        if outcome:
            self._metrics.count("events", len(events), outcome=outcome)
        self._held_bytes -= sum(pending.held for pending in events)
        self._room.set()
        for pending in events:
            if pending.trouble:
                self.alarm.move(pending.trouble, None)
            pending.chunk.settle(safe=safe)


def _still_there(is_gone: Callable[[], bool]) -> None:
    if is_gone():
        raise ConnectionAbortedError("the client left while its message waited")


def _is_dropped(pending: Pending) -> bool:
    # One that has met no trouble is sent in any case: a client may close its side before it reads the answer.
    return pending.chunk.abandoned and pending.trouble is not None


def _unwritten(events: list[tuple[Pending, Verdict]], error: SpoolError) -> list[tuple[Pending, Verdict]]:
    return [(pending, again("dead_letters", str(error))) for pending, _ in events]


def _refused(pending: Pending, verdict: Verdict) -> Refused:
    event = pending.event
    return Refused(Reason(verdict.type, verdict.detail), event.tag, event.time, event.id, event.document)
