"""The relay as a process: listen, deliver, and stop so that nothing acknowledged is lost."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from auditpipe.pipeline.client import tool_id
from auditpipe.pipeline.deadletter.store import WAITING, DeadLetters, prepare_folder
from auditpipe.pipeline.relay.admission import first_to_go
from auditpipe.pipeline.relay.budget import Budget
from auditpipe.pipeline.relay.config import RelayConfig
from auditpipe.pipeline.relay.connection import Connection, Shared
from auditpipe.pipeline.relay.delivery import Delivery
from auditpipe.pipeline.relay.http import Page, StatusPages
from auditpipe.pipeline.relay.listener import accept_forever, listen
from auditpipe.pipeline.relay.metrics import Metrics
from auditpipe.pipeline.relay.refusals import Refusals
from auditpipe.pipeline.relay.transport import Transport, open_transport
from auditpipe.schemas.errors import NotFinished, SettingsError

_log = logging.getLogger(__name__)

DEAD_LETTER_PREFIX = "relay"


def serve(config: RelayConfig) -> None:
    """Run the relay until SIGTERM or SIGINT.

    SettingsError: an address can't be listened on, or the folder of dead letters not be written. NotFinished: it was
    stopped with events that nobody will send again (their clients asked for no acknowledgement).
    """
    transport = open_transport(config.settings, tool_id("relay"))
    asyncio.run(_until_signalled(Relay(config, transport)))


async def _until_signalled(relay: "Relay") -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await relay.run(stop)


class Relay:
    """All parts of one relay. `run` it in an event loop."""

    def __init__(self, config: RelayConfig, transport: Transport) -> None:
        self.metrics = Metrics()
        self._config = config
        self._limits = config.limits
        for folder in (config.dead_letters, config.dead_letters / WAITING):
            prepare_folder(folder)
        self._letters = DeadLetters(config.dead_letters, DEAD_LETTER_PREFIX)
        self._parked = DeadLetters(config.dead_letters / WAITING, WAITING)
        self._transport = transport
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self.ports: list[int] = []

    async def run(self, stop: asyncio.Event, started: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop` is set; then finish what is in flight, for `limits.stop` seconds."""
        self._delivery = Delivery(self._transport, self._letters, self._parked, self._limits, self.metrics)
        self._shared = Shared(
            self._delivery,
            self._config.security,
            self._limits,
            self.metrics,
            Refusals(self.metrics),
            reading=Budget(max(self._limits.reading, self._limits.message)),
            refused=Budget(self._limits.refused),
        )
        sockets = listen(*self._config.listen)
        try:
            monitoring = listen(*self._config.metrics) if self._config.metrics else []
        except SettingsError:
            _close(sockets)
            raise
        self._say_where(sockets, monitoring)
        pages = StatusPages(self._metrics_page, self._health_page, self._limits)
        takers = [(one, self._take) for one in sockets] + [(one, pages.take) for one in monitoring]
        accepting = [asyncio.create_task(accept_forever(one, take, self._give_way)) for one, take in takers]
        delivery = asyncio.create_task(self._delivery.run())
        started()
        try:
            stopped = asyncio.create_task(stop.wait())
            # A delivery that ends by itself is a bug: end with it, rather than take events that go nowhere.
            await asyncio.wait([delivery, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            await _cancel(accepting[: len(sockets)])
            _close(sockets)
            await self._finish()
        finally:
            await _cancel([*accepting, delivery])
            _close([*sockets, *monitoring])
        if not delivery.cancelled() and (error := delivery.exception()):
            raise error
        self._say_what_is_left()

    def _say_where(self, sockets: list[socket.socket], monitoring: list[socket.socket]) -> None:
        self.ports = [one.getsockname()[1] for one in (sockets[0], *monitoring[:1])]
        security = self._config.security
        asked = [name for name, given in (("TLS", security.tls), ("shared key", security.shared_key)) if given]
        _log.info(
            "listening on %s:%d (%s) for %s",
            self._config.listen[0],
            self.ports[0],
            " and ".join(asked) or "plain",
            self._config.settings.url,
        )

    def _take(self, accepted: socket.socket, peer: Any) -> None:
        """A connection that was accepted: serve it, if there is a place or one can be made."""
        if len(self._connections) >= self._limits.connections and not self._make_room():
            self._shared.refusals.say("too_many", peer, f"{len(self._connections)} are open, and in use")
            accepted.close()
            return
        self.metrics.count("connections")
        connection = Connection(accepted, peer, self._shared)
        task = asyncio.create_task(connection.serve())
        self._connections[task] = connection
        task.add_done_callback(lambda ended: self._left(ended, connection))

    def _give_way(self, error: OSError) -> None:
        """None can be accepted: `ulimit -n` may be below the connections that are taken."""
        self._shared.refusals.say("too_many", "a client", f"it can't be accepted: {error.strerror or error}")
        self._make_room()

    def _make_room(self) -> bool:
        now = asyncio.get_running_loop().time()
        seats = {connection.seat: task for task, connection in self._connections.items()}
        seat = first_to_go(seats, now, self._limits.idle)
        if seat is None:
            return False
        task = seats[seat]
        self._connections.pop(task).displace()
        task.cancel()
        return True

    def _left(self, task: asyncio.Task[None], connection: Connection) -> None:
        self._connections.pop(task, None)
        connection.abort()  # a task that was cancelled before it began has closed nothing
        if not task.cancelled() and (error := task.exception()):
            context = {"message": "a connection ended with a bug", "exception": error, "task": task}
            task.get_loop().call_exception_handler(context)

    async def _finish(self) -> None:
        """Read nothing more; wait for what is in flight."""
        for connection in self._connections.values():
            connection.stop()
        deadline = monotonic() + self._limits.stop
        while self._shared.chunks and monotonic() < deadline:
            await asyncio.sleep(0.05)
        # First those that have nothing left end by themselves, then the others are cut off.
        for cut_off in (False, True):
            tasks = list(self._connections)
            for task in tasks if cut_off else ():
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=1.0)

    def _say_what_is_left(self) -> None:
        lost = sum(not chunk.resent for chunk in self._shared.chunks)
        if self._shared.chunks:
            _log.warning(
                "stopped with %d messages not acknowledged: their clients send them again", len(self._shared.chunks)
            )
        if lost:
            raise NotFinished(
                f"{lost} messages were not stored, and their clients asked for no acknowledgement (option chunk), "
                "so that nobody sends them again"
            )

    def _metrics_page(self) -> Page:
        oldest = next(iter(self._shared.chunks), None)
        gauges: dict[str, float | Mapping[str, float]] = {
            "up": 1.0,
            "opensearch_reachable": float(self.metrics.reachable),
            "open_connections": len(self._connections),
            "waiting_events": self._delivery.waiting(),
            "reading_bytes": self._shared.reading.used,
            "held_bytes": self._delivery.held_bytes,
            "oldest_chunk_seconds": monotonic() - oldest.started if oldest else 0.0,
        }
        return Page(200, self.metrics.render(gauges), "text/plain; version=0.0.4; charset=utf-8")

    def _health_page(self) -> Page:
        waiting, told = self._delivery.waiting(), self._delivery.alarm.reason
        if not waiting:
            return Page(200, "ok\n")
        return Page(503, "".join(f"{count} events wait: {told(trouble)}\n" for trouble, count in waiting.items()))


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _close(sockets: Sequence[socket.socket]) -> None:
    for one in sockets:
        one.close()
