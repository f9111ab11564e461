"""Sends events again that were acknowledged: for a range that got lost behind the shipper.

Harmless where nothing is lost: `event.id` is `_id`, and writes only create. Marks and locks are left alone.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

from auditpipe.emitters.options import SpoolOptions
from auditpipe.emitters.spool.archive import Entry


class Sender(Protocol):
    """What `auditpipe.emitters.forward.ForwardSender` has."""

    def deliver(self, entries: bytes, count: int) -> None:
        """Send one chunk and return when it is acknowledged."""


def resend(entries: Iterable[Entry], sender: Sender, options: SpoolOptions) -> Iterator[int]:
    """Send these events, chunk by chunk; yields how many each acknowledged chunk had.

    OutOfReach, NotAllowed, NotAcknowledged as `deliver`: what was yielded before is acknowledged all the same.
    """
    for chunk in _chunks(entries, options.chunk_bytes, options.chunk_events):
        sender.deliver(b"".join(chunk), len(chunk))
        yield len(chunk)


def _chunks(entries: Iterable[Entry], most_bytes: int, most: int) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    size = 0
    for entry in entries:
        if chunk and (len(chunk) >= most or size + len(entry.payload) > most_bytes):
            yield chunk
            chunk, size = [], 0
        chunk.append(entry.payload)
        size += len(entry.payload)
    if chunk:
        yield chunk
