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

from auditpipe.pipeline.deadletter import folder as dead
from auditpipe.pipeline.relay.alarm import Quiet
from auditpipe.schemas.errors import SpoolError

COLLECT_SECONDS = 0.5
_QUIET_SECONDS = 60.0

_log = logging.getLogger(__name__)


def collect(folders: Sequence[Path]) -> list[SpoolError]:
    """Move what is whole to `replaying/`, under names of its own; why what could not be moved could not."""
    found: list[dead.DeadFile] = []
    troubles: list[SpoolError] = []
    for folder in folders:
        try:
            found += dead.files(folder, (dead.Kind.CHUNK,))
            dead.make_subfolders(folder)
        except SpoolError as error:
            troubles.append(error)
    for file in found:
        try:
            if dead.is_whole(file):
                dead.claim(file)
        except SpoolError as error:
            troubles.append(error)
    return troubles


def collect_forever(folders: Sequence[Path], stop: Stop) -> None:
    """Collect until `stop` is set. What can't be moved is tried again, and told once a minute."""
    quiet = Quiet(_QUIET_SECONDS)
    while not stop.wait(COLLECT_SECONDS):
        troubles = collect(folders)
        if troubles and quiet.lets("collect"):
            _log.warning("a rejected chunk stays where Fluent Bit may overwrite it: %s", troubles[0])
