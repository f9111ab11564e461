"""How long to wait before the next attempt."""

import random
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time

FIRST_SECONDS = 0.2
LONGEST_SECONDS = 10.0
#: A node that says `Retry-After: 3600` is asked again sooner: an outage must not outlive its end by an hour.
LONGEST_RETRY_AFTER = 30.0


def delay(attempt: int, retry_after: float | None = None) -> float:
    """Seconds before attempt number `attempt + 1`: exponential with full jitter in its upper half, at most 10 s.

    What the server asked for by Retry-After is a lower bound, up to 30 s.
    """
    ceiling = min(LONGEST_SECONDS, FIRST_SECONDS * (1 << min(attempt, 10)))
    wait = ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, keeps no secret
    return max(wait, min(retry_after, LONGEST_RETRY_AFTER)) if retry_after else wait


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, section 10.2.3), a number or a date; None if absent or unreadable."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time()) if text else None
    except (ValueError, OverflowError):
        return None
