"""The relay as a process: listen, deliver, and stop so that nothing acknowledged is lost."""

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from auditpipe.pipeline.client import tool_id
from auditpipe.pipeline.deadletter.store import WAITING, DeadLetters
from auditpipe.pipeline.relay.alarm import Quiet
from auditpipe.pipeline.relay.budget import Budget
from auditpipe.pipeline.relay.chunk import Chunk
from auditpipe.pipeline.relay.config import RelayConfig
from auditpipe.pipeline.relay.connection import Connection
from auditpipe.pipeline.relay.delivery import Delivery
from auditpipe.pipeline.relay.http import Page, StatusPages
from auditpipe.pipeline.relay.metrics import Metrics
from auditpipe.pipeline.relay.transport import Transport, open_transport
from auditpipe.schemas.errors import NotFinished, SettingsError

_log = logging.getLogger(__name__)

DEAD_LETTER_PREFIX = "relay"
#: One log line about refused connections in that time, for each reason; the metrics count them all.
REFUSAL_SECONDS = 1.0


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
        self._budget = Budget(max(config.limits.reading, config.limits.message))
        self._letters = DeadLetters(config.dead_letters, DEAD_LETTER_PREFIX)
        self._parked = DeadLetters(config.dead_letters / WAITING, WAITING)
        self._transport = transport
        self._chunks: dict[Chunk, None] = {}
        self._quiet = Quiet(REFUSAL_SECONDS)
        self._connections: dict[asyncio.Task[Any], Connection] = {}
        self.ports: list[int] = []

    async def run(self, stop: asyncio.Event, started: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop` is set; then finish what is in flight, for `limits.stop` seconds."""
        self._delivery = Delivery(self._transport, self._letters, self._parked, self._limits, self.metrics)
        server = await _listen(self._config.listen, self._accept)
        pages = StatusPages(self._metrics_page, self._health_page)
        status = await _listen(self._config.metrics, pages.answer) if self._config.metrics else None
        self.ports = [s.sockets[0].getsockname()[1] for s in (server, status) if s]
        host, port = self._config.listen[0], self.ports[0]
        _log.info("listening on %s:%d for %s", host, port, self._config.settings.url)
        delivery = asyncio.create_task(self._delivery.run())
        started()
        try:
            stopped = asyncio.create_task(stop.wait())
            # A delivery that ends by itself is a bug: end with it, rather than take events that go nowhere.
            await asyncio.wait([delivery, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            server.close()
            await self._finish()
        finally:
            for part in (server, status):
                if part:
                    part.close()
            delivery.cancel()
            await asyncio.wait([delivery])
        if not delivery.cancelled() and (error := delivery.exception()):
            raise error
        self._say_what_is_left()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= self._limits.connections:
            self.metrics.count("refused_connections", reason="too_many")
            if self._quiet.lets("too_many"):
                _log.warning("refused a connection: %d are open", len(self._connections))
            writer.transport.abort()
            return
        self.metrics.count("connections")
        connection = Connection(
            reader,
            writer,
            delivery=self._delivery,
            budget=self._budget,
            limits=self._limits,
            metrics=self.metrics,
            chunks=self._chunks,
            log=self._quiet,
        )
        self._connections[task] = connection
        try:
            await connection.serve()
        except asyncio.CancelledError:
            pass  # cut off by _finish; asyncio would log a cancelled callback as an error
        finally:
            del self._connections[task]
            writer.close()

    async def _finish(self) -> None:
        """Read nothing more; wait for what is in flight."""
        for connection in self._connections.values():
            connection.stop()
        deadline = monotonic() + self._limits.stop
        while self._chunks and monotonic() < deadline:
            await asyncio.sleep(0.05)
        # First those that have nothing left end by themselves, then the others are cut off.
        for cut_off in (False, True):
            tasks = list(self._connections)
            for task in tasks if cut_off else ():
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=1.0)

    def _say_what_is_left(self) -> None:
        lost = sum(not chunk.resent for chunk in self._chunks)
        if self._chunks:
            _log.warning("stopped with %d messages not acknowledged: their clients send them again", len(self._chunks))
        if lost:
            raise NotFinished(
                f"{lost} messages were not stored, and their clients asked for no acknowledgement (option chunk), "
                "so that nobody sends them again"
            )

    def _metrics_page(self) -> Page:
        oldest = next(iter(self._chunks), None)
        gauges: dict[str, float | Mapping[str, float]] = {
            "up": 1.0,
            "opensearch_reachable": float(self.metrics.reachable),
            "open_connections": len(self._connections),
            "waiting_events": self._delivery.waiting(),
            "reading_bytes": self._budget.used,
            "held_bytes": self._delivery.held_bytes,
            "oldest_chunk_seconds": monotonic() - oldest.started if oldest else 0.0,
        }
        return Page(200, self.metrics.render(gauges), "text/plain; version=0.0.4; charset=utf-8")

    def _health_page(self) -> Page:
        waiting, told = self._delivery.waiting(), self._delivery.alarm.reason
        if not waiting:
            return Page(200, "ok\n")
        return Page(503, "".join(f"{count} events wait: {told(trouble)}\n" for trouble, count in waiting.items()))


async def _listen(
    address: tuple[str, int], accept: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]
) -> asyncio.Server:
    host, port = address
    try:
        return await asyncio.start_server(accept, host, port, limit=2**17)  # type: ignore[arg-type]
    except OSError as error:
        raise SettingsError(
            f"can't listen on {host}:{port}: {error.strerror or error}; is another one running?"
        ) from error
