"""Takes Fluent Bit's rejected chunks away as soon as they are whole, whatever the replay itself waits for.

Fluent Bit names a rejected chunk by the address of a structure in its memory (flb_storage.c), which it gives to another
chunk later. If a file of that name is still there when that one is rejected too, Fluent Bit 5.1.1 removes it and keeps
neither ("DLQ write/sync failed"). A chunk is rejected at the earliest when its retries have ended, so that a file that
is gone after a few seconds is in nobody's way.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from threading import Event as Stop
from threading import Thread

from auditpipe.pipeline.deadletter import folder as dead
from auditpipe.pipeline.relay.alarm import Quiet
from auditpipe.schemas.errors import SpoolError

COLLECT_SECONDS = 0.5
_QUIET_SECONDS = 60.0

_log = logging.getLogger(__name__)


def collect(folders: Sequence[Path]) -> int:
    """Move what is whole to `replaying/`, under names of its own; how many files. SpoolError if one can't be moved."""
    found = [file for folder in folders for file in dead.files(folder) if file.kind is dead.Kind.CHUNK]
    return sum(dead.claim(file) is not None for file in found if dead.is_whole(file))


class Collector(Thread):
    """Collects beside a replay, until `stop` is set: that may wait for a cluster for minutes."""

    def __init__(self, folders: Sequence[Path], stop: Stop) -> None:
        super().__init__(name="collector", daemon=True)
        self._folders = folders
        self._ended = stop
        self._quiet = Quiet(_QUIET_SECONDS)

    def run(self) -> None:
        """As the class says. What can't be moved is tried again, and told once a minute."""
        while not self._ended.wait(COLLECT_SECONDS):
            try:
                collect(self._folders)
            except SpoolError as error:
                if self._quiet.lets("collect"):
                    _log.warning("a rejected chunk stays where Fluent Bit may overwrite it: %s", error)
