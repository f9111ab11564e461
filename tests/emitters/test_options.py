"""What can't be asked of `emit` and of a spool is said when it is asked, and what can is known to a type checker."""

import inspect
from typing import Any

import pytest

from auditpipe.emitters import SpoolOptions
from auditpipe.emitters.arguments import ARGUMENTS
from auditpipe.emitters.build import Builder
from auditpipe.schemas.errors import UsageError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fsync": "sometimes"}, "fsync: expected off, interval or always, got 'sometimes'"),
        ({"fsync": None}, "fsync: expected off, interval or always, got None"),
        ({"limit_bytes": 0}, "limit_bytes: expected a number above 0, got 0"),
        ({"chunk_events": -1}, "chunk_events: expected a number above 0, got -1"),
        ({"retry_cap": float("nan")}, "retry_cap: expected a number above 0, got nan"),
        ({"limit_bytes": "1 GB"}, "limit_bytes: expected a number, got '1 GB'"),
        ({"keep_seconds": -1}, "keep_seconds: expected a number of 0 or above, got -1"),
    ],
)
def test_options_that_make_no_spool_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        SpoolOptions(**options)
    assert str(error.value) == message


def test_what_was_acknowledged_need_not_stay() -> None:
    assert SpoolOptions(keep_seconds=0, keep_bytes=0, linger=0).keep_bytes == 0


def test_the_builder_takes_what_emit_takes() -> None:
    taken = inspect.signature(Builder.document).parameters.keys()
    assert taken - ARGUMENTS == {"self", "action_name", "event_id", "redacted"}
    assert taken >= ARGUMENTS
