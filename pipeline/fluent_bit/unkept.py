"""Chunks that Fluent Bit gave up without a copy, by its own log: all that it loses, and nothing else tells of it."""

import re
from datetime import UTC, datetime
from pathlib import Path

from auditpipe.schemas.errors import SettingsError

#: `flb_storage_quarantine_chunk` of src/flb_storage.c says one of these before each return without a copy.
_LINE = re.compile(
    rb"\[(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d)[.\d]*\] \[ *\w+\] \[storage\] "
    rb"(cannot bring chunk up to copy into DLQ|cannot read content for DLQ copy|DLQ open failed|DLQ write/sync failed"
    rb"|DLQ size limit (reached|exceeded))"
)


def times(log: Path) -> list[datetime]:
    """When each of them was given up, UTC, in the log's order; none where there is no log. SettingsError: unreadable.

    Fluent Bit writes local time; its log is taken to come from this machine's zone.
    """
    try:
        with log.open("rb") as lines:
            found = [match["time"].decode() for line in lines if (match := _LINE.search(line))]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsError(f"{log}: {error.strerror}") from error
    return [datetime.strptime(text, "%Y/%m/%d %H:%M:%S").astimezone(UTC) for text in found]
