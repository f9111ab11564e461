"""One client's connection: messages in, acknowledgements out.

What is wrong with one connection ends that connection, with a reason that is logged and counted. A place for the
handshake of the Forward protocol (HELO, PING, PONG) is before the first message.
"""

import asyncio
import logging
from collections.abc import Iterator

from auditpipe.pipeline.relay.alarm import Quiet
from auditpipe.pipeline.relay.budget import Budget
from auditpipe.pipeline.relay.chunk import Chunk, Pending
from auditpipe.pipeline.relay.config import Limits
from auditpipe.pipeline.relay.delivery import Delivery
from auditpipe.pipeline.relay.frames import Frames, Malformed
from auditpipe.pipeline.relay.metrics import Metrics
from auditpipe.pipeline.relay.protocol import LARGEST_OPTION, Message, expected_size, read_message
from auditpipe.pipeline.relay.records import Event, Refused, prepare

#: Bytes of an unfinished message that every connection may hold without asking.
ALLOWANCE = 2**18
READ_SIZE = 2**18
#: Events, and bytes of them, that are handed on at a time; between two such groups other connections have their turn.
GROUP = 500
GROUP_BYTES = 2**20
#: Bytes of acknowledgements that a client has not read.
UNREAD_ACKNOWLEDGEMENTS = 2**20

_log = logging.getLogger(__name__)


class Connection:
    """Reads one client to its end."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        delivery: Delivery,
        budget: Budget,
        limits: Limits,
        metrics: Metrics,
        chunks: dict[Chunk, None],
        log: Quiet,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._delivery = delivery
        self._budget = budget
        self._limits = limits
        self._metrics = metrics
        self._frames = Frames(limits.message)
        self._reserved = 0
        self._stopping = False
        self._all_chunks = chunks
        self._log_quiet = log
        self._chunks: dict[Chunk, bytes | None] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    async def serve(self) -> None:
        """Until the client leaves or is sent away; then until its chunks are done or dropped."""
        try:
            await self._read()
        except Malformed as error:
            self._refuse(error.reason, str(error))
        except TimeoutError:
            self._refuse("too_slow", "the rest of a message did not arrive in time")
        except ConnectionError:
            pass  # the client is gone, which is no fault of either side
        finally:
            self._release()
            for chunk in list(self._chunks):
                if not self._stopping:
                    chunk.abandon()
        await self._idle.wait()

    def stop(self) -> None:
        """Read no further message; those that were read are finished and acknowledged."""
        self._stopping = True
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]
        self._reader.feed_eof()

    async def _read(self) -> None:
        began = 0.0
        clock = asyncio.get_running_loop().time
        while not self._stopping:
            seconds = min(self._limits.pause, began + self._limits.arrival - clock()) if self._frames.pending else None
            async with asyncio.timeout(seconds):
                data = await self._reader.read(READ_SIZE)
            if not data:
                if self._frames.pending and not self._stopping:
                    raise Malformed("cut_off", f"the client left after {self._frames.pending} bytes of a message")
                return
            fresh = not self._frames.pending
            self._frames.feed(data)
            for frame in self._frames:
                await self._handle(read_message(frame))
                self._release()
                fresh = True
                if self._stopping:
                    return
            if fresh:
                began = clock()
            if self._frames.pending > ALLOWANCE:
                waited = clock()
                await self._reserve()
                began += clock() - waited

    async def _reserve(self) -> None:
        """Set aside what the rest of this message can need."""
        if not self._reserved:
            expected = expected_size(self._frames.beginning)
            if expected is not None and expected > self._limits.message:
                raise Malformed("too_large", f"a message of {expected} bytes; at most {self._limits.message} are taken")
            wanted = self._limits.message if expected is None else expected + LARGEST_OPTION
            self._reserved = await self._budget.take(wanted)
        elif self._frames.pending > self._reserved:
            raise Malformed("too_large", f"a message is longer than the {self._reserved} bytes that it announced")

    def _release(self) -> None:
        if self._reserved:
            self._budget.give(self._reserved)
            self._reserved = 0

    async def _handle(self, message: Message | None) -> None:
        if message is None:
            return
        self._metrics.count("messages", mode=message.form)
        chunk = Chunk(resent=message.chunk is not None, on_end=self._ended)
        self._chunks[chunk] = message.acknowledgement
        self._all_chunks[chunk] = None
        self._idle.clear()
        try:
            await self._hand_on(message, chunk)
        except BaseException:
            # Its client gets no acknowledgement, and so sends it again; what was handed on already is stored once.
            chunk.whole = False
            raise
        finally:
            chunk.seal()

    async def _hand_on(self, message: Message, chunk: Chunk) -> None:
        prepared = (prepare(entry, message.tag) for entry in message.entries(inflated=self._limits.inflated))
        for group in _groups(prepared):
            if refused := [one for one in group if isinstance(one, Refused)]:
                chunk.whole &= await self._delivery.keep(refused, chunk)
            events = [Pending(one, chunk) for one in group if isinstance(one, Event)]
            await self._delivery.put(events, lambda: chunk.resent and self._is_gone())
            await asyncio.sleep(0)

    def _is_gone(self) -> bool:
        return self._reader.at_eof() or self._writer.is_closing()

    def _ended(self, chunk: Chunk) -> None:
        acknowledgement = self._chunks.pop(chunk)
        del self._all_chunks[chunk]
        if not self._chunks:
            self._idle.set()
        if not chunk.whole or acknowledgement is None or self._writer.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > UNREAD_ACKNOWLEDGEMENTS:
            self._refuse("deaf", "the client does not read its acknowledgements")
            self._writer.transport.abort()
            return
        self._writer.write(acknowledgement)
        self._metrics.count("acknowledgements")

    def _refuse(self, reason: str, detail: str) -> None:
        self._metrics.count("refused_connections", reason=reason)
        if self._log_quiet.lets(reason):
            peer = self._writer.get_extra_info("peername")
            _log.warning("closed the connection of %s: %s: %s", peer, reason, ascii(detail))


def _groups(items: Iterator[Event | Refused]) -> Iterator[list[Event | Refused]]:
    group: list[Event | Refused] = []
    size = 0
    for item in items:
        group.append(item)
        size += item.size
        if len(group) >= GROUP or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
