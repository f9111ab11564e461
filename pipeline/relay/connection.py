"""One client's connection: TLS and the proof of the shared key where they are asked for, then messages in,
acknowledgements out.

What is wrong with one connection ends that connection, with a reason that is logged and counted.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from auditpipe.pipeline.relay.admission import Seat
from auditpipe.pipeline.relay.budget import Budget
from auditpipe.pipeline.relay.chunk import Chunk, Pending
from auditpipe.pipeline.relay.config import MEBIBYTE, Limits
from auditpipe.pipeline.relay.delivery import LOOK_SECONDS, Delivery
from auditpipe.pipeline.relay.frames import Frames, Malformed
from auditpipe.pipeline.relay.handshake import authenticate
from auditpipe.pipeline.relay.listener import open_streams
from auditpipe.pipeline.relay.metrics import Metrics
from auditpipe.pipeline.relay.protocol import LARGEST_OPTION, Message, expected_size, read_message
from auditpipe.pipeline.relay.records import Event, Refused, prepare
from auditpipe.pipeline.relay.refusals import Refusals
from auditpipe.pipeline.relay.security import Security

#: Bytes of an unfinished message that every connection may hold without asking.
ALLOWANCE = 2**16
READ_SIZE = 2**16
#: Events, and bytes of them, that are handed on at a time; between two such groups other connections have their turn.
GROUP = 500
GROUP_BYTES = 2**20
#: Messages without events, and heartbeats, after which other connections have their turn.
TURN = 64
#: Bytes of acknowledgements that a client has not read, beside what the kernel holds.
UNREAD_ACKNOWLEDGEMENTS = 2**16


@dataclass(frozen=True, slots=True)
class Shared:
    """What all connections of a relay have in common."""

    delivery: Delivery
    security: Security
    limits: Limits
    metrics: Metrics
    refusals: Refusals
    #: For messages that are being read, and for events that are refused until they are on disk.
    reading: Budget
    refused: Budget
    #: Chunks whose events are not all done, oldest first.
    chunks: dict[Chunk, None] = field(default_factory=dict)


class Connection:
    """Serves one client to its end."""

    def __init__(self, accepted: socket.socket, peer: Any, shared: Shared) -> None:
        self.seat = Seat(asyncio.get_running_loop().time())
        self._accepted = accepted
        self._is_taken = False
        self._reader = asyncio.StreamReader()
        self._writer: asyncio.StreamWriter | None = None
        self._peer = peer
        self._shared = shared
        self._delivery = shared.delivery
        self._limits = shared.limits
        self._metrics = shared.metrics
        self._frames = Frames(shared.limits.message)
        self._reserved = 0
        self._stopping = False
        self._chunks: dict[Chunk, bytes | None] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    async def serve(self) -> None:
        """Until the client leaves or is sent away; then until its chunks are done or dropped, and it is closed."""
        try:
            await self._converse()
            await self._close()
        finally:
            self.abort()

    def displace(self) -> None:
        """Say that it makes room for another; its task is to be cancelled."""
        self._refuse("displaced", "all places were taken, and it had the least to show for its own")

    def abort(self) -> None:
        """Close at once, if it is not closed."""
        if not self._is_taken:
            self._accepted.close()
        if self._writer is not None:
            self._writer.transport.abort()

    def stop(self) -> None:
        """Read no further message; those that were read are finished and acknowledged."""
        self._stopping = True
        if self._writer is not None:
            self._writer.transport.pause_reading()  # type: ignore[attr-defined]
            self._reader.feed_eof()

    async def _converse(self) -> None:
        try:
            if await self._admit():
                await self._read()
        except Malformed as error:
            self._refuse(error.reason, str(error))
        except ssl.SSLError as error:
            self._refuse("tls_failed", f"expected TLS records: {error.reason or error}")
        except TimeoutError:
            self._refuse("too_slow", "the rest of a message, or of the handshake, did not arrive in time")
        except OSError:
            pass  # the client or the way to it is gone, which is no fault of either side
        finally:
            self._release()
            for chunk in list(self._chunks):
                if not self._stopping:
                    chunk.abandon()
        await self._idle.wait()

    async def _close(self) -> None:
        """Give the client its last bytes, for a short time: one that does not read them must not hold its place."""
        if self._writer is None:
            return
        self._writer.close()
        with suppress(OSError):  # a TimeoutError among them
            async with asyncio.timeout(self._limits.closing):
                await self._writer.wait_closed()

    async def _admit(self) -> bool:
        """TLS, then the shared key. Nothing else of a client is decoded before. False: it has left."""
        security = self._shared.security
        async with asyncio.timeout(self._limits.handshake if security.tls or security.shared_key else None):
            self._is_taken = True  # the streams close it from here on
            self._reader, self._writer = await open_streams(self._accepted, security.tls, self._limits)
            if security.shared_key is None:
                return True
            self.seat.proved = await authenticate(self._reader, self._writer, security.shared_key)
            return self.seat.proved

    async def _read(self) -> None:
        began = 0.0
        clock = asyncio.get_running_loop().time
        while not self._stopping:
            data = await self._receive(began)
            if not data:
                if self._frames.pending and not self._stopping:
                    raise Malformed("cut_off", f"the client left after {self._frames.pending} bytes of a message")
                return
            fresh = not self._frames.pending
            self._frames.feed(data)
            del data
            if await self._handle_frames() or fresh:
                began = clock()
            if self._frames.pending > ALLOWANCE and not self._stopping:
                waited = clock()
                await self._reserve()
                began += clock() - waited

    async def _handle_frames(self) -> bool:
        """Whatever is there whole; whether there was any. Its bytes are not held on to while the client idles."""
        count = 0
        while not self._stopping and (frame := self._frames.take()) is not None:
            message, frame = read_message(frame), None
            await self._handle(message)
            self._release()
            count += 1
            if count % TURN == 0:
                await asyncio.sleep(0)
        return count > 0

    async def _receive(self, began: float) -> bytes:
        """The next bytes. TimeoutError: those of a message that began then (loop time) do not come in time."""
        if not self._frames.pending:
            return await self._reader.read(READ_SIZE)
        clock = asyncio.get_running_loop().time
        silent = clock() + self._limits.pause
        while (now := clock()) < (end := min(silent, began + self._arrival)):
            with suppress(TimeoutError):  # to look whether others have come who wait
                async with asyncio.timeout_at(min(end, now + LOOK_SECONDS)):
                    return await self._reader.read(READ_SIZE)
        raise TimeoutError

    @property
    def _arrival(self) -> float:
        """Seconds for the message that is being read."""
        if self._reserved and self._shared.reading.contended:
            return self._limits.crowded + self._frames.pending / MEBIBYTE
        return self._limits.arrival

    async def _reserve(self) -> None:
        """Set aside what the rest of this message can need."""
        if not self._reserved:
            expected = expected_size(self._frames.beginning)
            if expected is not None and expected > self._limits.message:
                raise Malformed("too_large", f"a message of {expected} bytes; at most {self._limits.message} are taken")
            wanted = self._limits.message if expected is None else expected + LARGEST_OPTION
            self._reserved = await self._shared.reading.take(wanted)
        elif self._frames.pending > self._reserved:
            raise Malformed("too_large", f"a message is longer than the {self._reserved} bytes that it announced")

    def _release(self) -> None:
        if self._reserved:
            self._shared.reading.give(self._reserved)
            self._reserved = 0

    async def _handle(self, message: Message | None) -> None:
        if message is None:
            return
        self._metrics.count("messages", mode=message.form)
        chunk = Chunk(resent=message.chunk is not None, on_end=self._ended)
        self._chunks[chunk] = message.acknowledgement
        self._shared.chunks[chunk] = None
        self._idle.clear()
        self.seat.busy = True
        try:
            await self._hand_on(message, chunk)
        except BaseException:
            # Its client gets no acknowledgement, and so sends it again; what was handed on already is stored once.
            chunk.whole = False
            raise
        finally:
            chunk.seal()

    async def _hand_on(self, message: Message, chunk: Chunk) -> None:
        groups = _groups(prepare(one, message.tag) for one in message.entries(inflated=self._limits.inflated))
        while True:
            with ExitStack() as held:
                refused = await self._hand_on_group(groups, chunk, held)
                if refused is None:
                    return
                # Without the turn: where dead letters can't be written, only those wait who have some.
                if refused:
                    await self._delivery.keep(refused, partial(self._is_given_up, chunk))
            await asyncio.sleep(0)

    async def _hand_on_group(
        self, groups: Iterator[list[Event | Refused]], chunk: Chunk, held: ExitStack
    ) -> list[Refused] | None:
        """Put the next events on their way. Those that are to be kept, whose room is given back with `held`; None at
        the end of the message.
        """
        is_given_up = partial(self._is_given_up, chunk)
        async with self._delivery.turn(is_given_up):
            group = next(groups, None)
            if group is None:
                return None
            refused = [one for one in group if isinstance(one, Refused)]
            size = sum(one.size for one in refused)
            if not self._shared.refused.take_now(size):
                raise Malformed("refused_too_much", "more of its events are refused than can be written at a time")
            held.callback(self._shared.refused.give, size)
            await self._delivery.put([Pending(one, chunk) for one in group if isinstance(one, Event)], is_given_up)
            return refused

    def _is_given_up(self, chunk: Chunk) -> bool:
        """Whether the client has left, and sends the chunk again."""
        if not chunk.resent:
            return False
        return self._writer is None or self._reader.at_eof() or self._writer.is_closing()

    def _ended(self, chunk: Chunk) -> None:
        acknowledgement = self._chunks.pop(chunk)
        del self._shared.chunks[chunk]
        self.seat.delivered = asyncio.get_running_loop().time()
        if not self._chunks:
            self._idle.set()
            self.seat.busy = False
        if not chunk.whole or acknowledgement is None or self._writer is None or self._writer.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > UNREAD_ACKNOWLEDGEMENTS:
            self._refuse("deaf", "the client does not read its acknowledgements")
            self._writer.transport.abort()
            return
        self._writer.write(acknowledgement)
        self._metrics.count("acknowledgements")

    def _refuse(self, reason: str, detail: str) -> None:
        self._shared.refusals.say(reason, self._peer, detail)


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
