"""Waiting for what comes by itself: long enough for a machine with much else to do."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from tests.conftest import RealOpenSearch

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = 120) -> T:
    """What the condition returns, soon after that is true; a failed test otherwise.

    It asks less and less often: asking takes from the machine what it waits for.
    """
    deadline, pause = time.monotonic() + seconds, 0.01
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not true within {seconds:g} s: {condition}"
        time.sleep(pause)
        pause = min(pause * 1.3, 0.3)
    return value


def recorded(opensearch: RealOpenSearch, query: dict[str, Any]) -> list[dict[str, Any]]:
    """The node's own records of requests that fit this query, at most ten, once there is one.

    The node writes them one after the other, and those of a busy one with much to record a minute later.
    """

    def found() -> list[dict[str, Any]]:
        time.sleep(0.2)  # each look makes a record
        opensearch.request("POST", "/security-auditlog-*/_refresh")
        answer = opensearch.request("POST", "/security-auditlog-*/_search", {"query": query})
        return [hit["_source"] for hit in answer["hits"]["hits"]]

    return until(found, 180)
