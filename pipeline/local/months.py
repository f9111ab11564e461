"""Events that wait in Fluent Bit for a month that has no index.

Fluent Bit does not tell: it sends such a chunk again a few times and gives it up, and the replayer goes on with it for
as long as the month is missing. What the relay keeps says so itself.
"""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from auditpipe.pipeline import template
from auditpipe.pipeline.client import edge
from auditpipe.pipeline.deadletter import chunkfile
from auditpipe.pipeline.deadletter import folder as dead
from auditpipe.pipeline.doctor.retention import kept_shut
from auditpipe.pipeline.local.counts import chunks
from auditpipe.pipeline.local.home import Home
from auditpipe.pipeline.relay.frames import Frames, Malformed
from auditpipe.pipeline.relay.protocol import read_entry
from auditpipe.schemas.identity import LATEST_NS, index_of, month_of_index

#: Enough to see a month that is missing; a backlog may be of any size.
LOOKED_AT_BYTES = 64 * 2**20


def missing(home: Home, client: OpenSearch) -> dict[str, int]:
    """`2015-05` and how many events wait for it, oldest first. OutOfReach, NotAllowed."""
    waiting = Counter(index for path in _files(home) for index in _indices(path))
    absent = {index: count for index, count in sorted(waiting.items()) if not _exists(client, index)}
    removed = kept_shut(client) if absent else frozenset()
    # What waits for a month that retention removed becomes a dead letter as soon as the replayer has it.
    return {month_of_index(index): count for index, count in absent.items() if index not in removed}


def remedy(months: dict[str, int]) -> str:
    """What makes them. `provision` makes no month more than a year ahead."""
    year, month = template.months(None, time.time_ns())[-1]
    oldest = min(months)
    if oldest > f"{year:04d}-{month:02d}":
        return "no month is made that far ahead: put the clock of who sent them right"
    return f"`auditpipe provision --from {oldest}`"


def _files(home: Home) -> Iterator[Path]:
    """Chunk files, up to a size in all."""
    total = 0
    for path in (*chunks(home), *(file.path for file in dead.files(home.rejected) if file.is_chunk)):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # delivered meanwhile
        if total > LOOKED_AT_BYTES:
            return
        yield path


def _indices(path: Path) -> Iterator[str]:
    """The index of each event of a chunk file, but of those in which Fluent Bit's guard found no event."""
    try:
        content = chunkfile.read_content(path.read_bytes())
        frames = Frames(max(len(content), 1))
        frames.feed(content)
        for frame in frames:
            entry = read_entry(frame)
            if entry.time is not None and 0 <= entry.time <= LATEST_NS and chunkfile.unwrap(entry, "") is None:
                yield index_of(entry.time)
    except (OSError, ValueError, Malformed):
        return  # gone, or still being written; `deadletter list` names what stays unreadable


def _exists(client: OpenSearch, index: str) -> bool:
    """Asked by a count, which is what a reader may do. A month whose shards are all missing is there."""
    with edge():
        try:
            return bool(client.count(index=index, params={"ignore": 404}).get("status") != 404)
        except TransportError as error:
            if (error.status_code, error.error) == (503, "search_phase_execution_exception"):
                return True
            raise
