"""Which streams go on: those that a living process writes."""

from pathlib import Path

from auditpipe.emitters.spool.archive import Entry, contents, folders
from auditpipe.emitters.spool.folder import Holder, holder
from auditpipe.schemas.catalogue import STREAM_CLOSED
from auditpipe.schemas.errors import SpoolError


def streams(spool: Path) -> dict[str, bool]:
    """Each stream of which the spool still holds an event: whether more of it may come.

    It may where the process that writes it lives, and where the event that closes it still waits to be sent. Reads
    all of the spool. SpoolError: it can't be read.
    """
    found: dict[str, bool] = {}
    for folder in folders(spool):
        lives = holder(folder) is Holder.OWNER
        for part in contents(folder):
            if isinstance(part, Entry):
                _add(found, part, lives)
    return found


def _add(found: dict[str, bool], entry: Entry, lives: bool) -> None:
    try:
        document = entry.document
    except SpoolError:
        return  # a whole frame that is no event of ours tells nothing of a stream
    audit, event = document.get("audit"), document.get("event")
    stream = audit.get("stream") if isinstance(audit, dict) else None
    if isinstance(stream, str):
        closes = isinstance(event, dict) and event.get("action") == STREAM_CLOSED
        found[stream] = found.get(stream, False) or lives or (closes and not entry.acknowledged)
