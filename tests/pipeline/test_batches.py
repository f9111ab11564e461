"""How many events one answer brings: many small ones, few large ones, and never one less than there are."""

from typing import Any
from unittest.mock import Mock

import orjson
import pytest

from auditpipe.pipeline.client import ExactJSON
from auditpipe.pipeline.reader import ANSWER_SIZE, BATCH, FIRST, Snapshot, by_time


class _Node:
    """Answers searches from a list of texts, as a node does through a point in time."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.asked: list[int] = []
        self.sizes: list[int] = []

    def search(self, body: dict[str, Any], **_: Any) -> Any:
        begin, size = body.get("search_after", [0])[0], body["size"]
        part = self.texts[begin : begin + size]
        if size:
            self.asked.append(size)
        hits = [{"_source": {"text": text}, "sort": [begin + number]} for number, text in enumerate(part, start=1)]
        found = {"hits": hits, "total": {"value": len(self.texts)}}
        data = orjson.dumps({"_shards": {"total": 1, "successful": 1}, "hits": found}).decode()
        self.sizes.append(len(data))
        return ExactJSON().loads(data)

    def read(self, **how: Any) -> list[str]:
        opened = {"pit_id": "p", "_shards": {"total": 1, "successful": 1}}
        client = Mock(search=self.search, create_pit=Mock(return_value=opened))
        with Snapshot.open(client, {"match_all": {}}, by_time(), **how) as snapshot:
            return [hit["_source"]["text"] for hit in snapshot.hits()]


@pytest.mark.parametrize("count", [0, 1, FIRST - 1, FIRST, FIRST + 1, 5 * FIRST, 5 * FIRST + 1, 3 * BATCH])
def test_all_come_in_order_however_they_fall_into_answers(count: int) -> None:
    node = _Node([str(number) for number in range(count)])
    assert node.read() == node.texts


def test_small_events_soon_come_by_the_thousand() -> None:
    node = _Node(["x" * 1_000] * 4 * BATCH)
    node.read()
    assert node.asked[0] == FIRST
    assert set(node.asked[3:]) == {BATCH}


def test_large_events_come_by_the_megabyte() -> None:
    """Those of the size that an event may have: 2,000 of them would be 500 MB, in the node and here."""
    node = _Node(["x" * 250_000] * 300)
    assert len(node.read()) == 300
    assert max(node.sizes[2:]) <= ANSWER_SIZE


def test_it_goes_back_to_few_where_events_become_large_and_to_many_where_they_are_small_again() -> None:
    node = _Node(["x"] * 3 * BATCH + ["x" * 20_000] * 3 * BATCH + ["x"] * 5 * BATCH)
    assert node.read() == node.texts
    assert sum(size > ANSWER_SIZE for size in node.sizes) <= 2  # where they become large
    assert node.asked[-1] == BATCH


def test_one_event_is_read_however_large_it_is() -> None:
    node = _Node(["x" * (ANSWER_SIZE + 1)] * 3)
    assert len(node.read(batch=2)) == 3
    assert node.asked == [2, 1, 1]
