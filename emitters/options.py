"""How a spool behaves."""

from dataclasses import dataclass, fields
from typing import get_args

from auditpipe.emitters.spool.writer import Fsync
from auditpipe.schemas.errors import UsageError

#: What may be nothing at all; the others are above 0.
_OR_ZERO = ("keep_seconds", "keep_bytes", "linger")


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """Bytes and seconds.

    `fsync`: see `auditpipe.emitters.spool.writer.Writer`. `limit_bytes`: what may wait; beyond it `append` raises
    SpoolFull. `keep_seconds`, `keep_bytes`: how long and how much of what was acknowledged stays, so that it can be
    sent again; a dead process's folder counts for 256 KiB at least, as each is looked at every `orphan_interval`.
    `acknowledge_timeout`: how long one chunk may take. `retry_cap`: the longest pause between two tries.
    `orphan_interval`: how often folders of dead processes are looked for. `linger`: how long the sender waits for more
    before it sends what woke it. UsageError names the option that can't be.
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

    def __post_init__(self) -> None:
        """Refuse what would only be noticed when the disk is full or the power fails."""
        if self.fsync not in get_args(Fsync):
            raise UsageError(f"fsync: expected off, interval or always, got {self.fsync!r}")
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name == "fsync":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise UsageError(f"{option.name}: expected a number, got {value!r}")
            may_be_zero = option.name in _OR_ZERO
            if not (value > 0 or (value == 0 and may_be_zero)):
                wanted = "of 0 or above" if may_be_zero else "above 0"
                raise UsageError(f"{option.name}: expected a number {wanted}, got {value!r}")
