"""An event's time, its id, and the index that follows from them.

`@timestamp` is RFC 3339 in UTC with `Z`. `event.id` is a UUIDv7 (RFC 9562, section 5.7) whose 48 bits of milliseconds
are those of `@timestamp`, so that an id alone names its index. Times are handled as integers of nanoseconds
since 1970: a float would move the last nanosecond of a month into the next.
"""

import io
import os
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
DAY = 86_400 * SECOND

#: What a Forward EventTime (32 bits of seconds) can hold: 1970 to 2106, less the last two seconds of it, by which
#: Fluent Bit marks the begin and the end of a group of records.
LATEST_NS = (2**32 - 2) * SECOND - 1

INDEX_PREFIX = "audit-events-"
INDEX_PATTERN = "audit-events-*"
ALIAS = "audit-events"

#: Of what retention removed and what is held. The pattern is what is write-once by the node's setting: a name under it
#: that no index has is what write-once is tried with.
RECORDS_INDEX = "audit-records"
RECORDS_PATTERN = "audit-records*"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time with a zone. ValueError says what is wrong with it."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"expected an RFC 3339 time with a zone, such as 2026-01-31T23:59:59.5Z, got {text!r}")
    if text[17:19] == "60":
        raise ValueError(f"expected a second from 00 to 59, got the leap second {text!r}; give the second beside it")
    whole = datetime.fromisoformat(f"{text[:10]}T{text[11:19]}+00:00")
    if match[8] not in "Zz":
        sign = -1 if match[8][0] == "-" else 1
        whole -= sign * timedelta(hours=int(match[8][1:3]), minutes=int(match[8][4:6]))
    return datetime_to_ns(whole) + int((match[7] or "").ljust(9, "0"))


def format_time(ns: int) -> str:
    """RFC 3339 in UTC with `Z`: six digits of a second, nine where the last three are not zero."""
    seconds, fraction = divmod(ns, SECOND)
    microseconds, below = divmod(fraction, MICROSECOND)
    digits = f"{fraction:09d}" if below else f"{microseconds:06d}"
    return f"{_second(seconds)}.{digits}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    """A process that emits much emits many events a second."""
    day, rest = divmod(seconds, 86_400)
    return f"{_date(day)}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"


_date_cache: tuple[int, str] = (0, "1970-01-01")


def _date(day: int) -> str:
    global _date_cache
    cached_day, text = _date_cache
    if day != cached_day:
        text = (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")
        _date_cache = (day, text)
    return text


def datetime_to_ns(moment: datetime) -> int:
    """Exact nanoseconds since 1970 of an aware datetime."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds * MICROSECOND


def new_event_id(ns: int) -> str:
    """A UUIDv7 for the moment `ns`: 48 bits of milliseconds, 74 random bits from the operating system."""
    time, random = f"{ns // MILLISECOND:012x}", _random_bytes(10).hex()
    variant = "89ab"[int(random[4], 16) & 0b11]
    return f"{time[:8]}-{time[8:]}-7{random[:3]}-{variant}{random[5:8]}-{random[8:]}"


# One system call for 400 ids. A child process must not go on with its parent's bytes: it would make the same ids.
_RANDOM_POOL = 4_000
_random = io.BytesIO()


def _random_bytes(count: int) -> bytes:
    """Without a lock, which a signal's handler would wait for: one `read` gives no byte of a pool twice."""
    global _random
    while len(data := _random.read(count)) < count:
        _random = io.BytesIO(os.urandom(_RANDOM_POOL))
    return data


def forget_random() -> None:
    """To be called in a child of something that runs no at-fork hooks."""
    global _random
    _random = io.BytesIO()


os.register_at_fork(after_in_child=forget_random)


def is_event_id(text: object) -> bool:
    """Whether this is a UUIDv7 in its one canonical form (lower case, hyphens)."""
    return isinstance(text, str) and _UUID7.fullmatch(text) is not None


def milliseconds_of(event_id: str) -> int:
    """The milliseconds since 1970 in a UUIDv7. ValueError if it is none."""
    if not is_event_id(event_id):
        raise ValueError(f"expected a UUIDv7 such as 0197b3c4-5d6e-7f80-9a1b-2c3d4e5f6071, got {event_id!r}")
    return int(event_id[:8] + event_id[9:13], 16)


def index_of(ns: int) -> str:
    """The index of an event of that moment: `audit-events-YYYY.MM`, in UTC."""
    return INDEX_PREFIX + _date(ns // (86_400 * SECOND))[:7].replace("-", ".")


def month_of_index(index: str) -> str:
    """`2026-11` of `audit-events-2026.11`."""
    return index.removeprefix(INDEX_PREFIX).replace(".", "-")


def index_of_id(event_id: str) -> str:
    """The index that an event id alone names."""
    return index_of(milliseconds_of(event_id) * MILLISECOND)


def month_of(ns: int) -> tuple[int, int]:
    """(year, month) of a moment, in UTC."""
    year, month = _date(ns // (86_400 * SECOND))[:7].split("-")
    return int(year), int(month)
