"""How a spool behaves."""

from dataclasses import dataclass

from auditpipe.emitters.spool.writer import Fsync


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """Bytes and seconds.

    `fsync`: see `auditpipe.emitters.spool.writer.Writer`. `limit_bytes`: what may wait; beyond it `append` raises
    SpoolFull. `keep_seconds`, `keep_bytes`: how long and how much of what was acknowledged stays, so that it can be
    sent again; a dead process's folder counts for 256 KiB at least, as each is looked at every `orphan_interval`.
    `acknowledge_timeout`: how long one chunk may take. `retry_cap`: the longest pause between two tries.
    `orphan_interval`: how often folders of dead processes are looked for. `linger`: how long the sender waits for more
    before it sends what woke it.
    """

    fsync: Fsync = "interval"
    limit_bytes: int = 1024**3
    keep_seconds: float = 24 * 3600
    keep_bytes: int = 256 * 1024**2
    chunk_bytes: int = 1024**2
    chunk_events: int = 2_000
    acknowledge_timeout: float = 60.0
    retry_cap: float = 5.0
    orphan_interval: float = 10.0
    linger: float = 0.01
