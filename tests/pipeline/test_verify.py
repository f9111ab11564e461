"""The decision of `verify`, on rows: what is found, what is only noted, and what may be said of the whole."""

from collections.abc import Iterable
from typing import Any

import pytest

from auditpipe.pipeline.verify import Tally, check, verdict
from auditpipe.pipeline.verify_event import Flaw, Row, row_of
from auditpipe.pipeline.verify_form import Form
from auditpipe.pipeline.verify_view import View
from auditpipe.schemas.catalogue import STREAM_CLOSED
from auditpipe.schemas.identity import SECOND, new_event_id
from tests.builders import START_NS, Document, put, seal, stream

LATER = START_NS + 3600 * SECOND
SETTLED = View(settled_ns=LATER)


def rows(documents: Iterable[Document]) -> list[Row | Flaw]:
    form = Form()
    made = [row_of(document, form) for document in documents]
    return sorted(made, key=lambda row: (row.stream or "", row.sequence or 0))


def examine(documents: Iterable[Document], view: View = SETTLED) -> tuple[list[Flaw], Tally]:
    tally = Tally()
    return list(check(rows(documents), view, tally)), tally


def kinds(documents: Iterable[Document], view: View = SETTLED) -> list[str]:
    return [flaw.kind for flaw in examine(documents, view)[0]]


def test_untouched_streams_are_sound() -> None:
    documents = [*stream(5), *stream(3), *stream(1)]
    flaws, tally = examine(documents)
    assert flaws == []
    assert (tally.events, tally.streams, tally.open_streams) == (9, 3, 3)
    assert verdict(tally, SETTLED) == "sound"


def test_a_stream_that_ends_with_closed_is_not_open() -> None:
    documents = stream(3)
    last = documents[-1]
    put(last, "event.action", STREAM_CLOSED)
    assert examine([*documents[:-1], seal(last), *stream(2)])[1].open_streams == 1


@pytest.mark.parametrize(
    "path", ["message", "@timestamp", "user.name", "audit.changes", "audit.details", "source.ip", "event.outcome"]
)
def test_any_changed_field_is_altered(path: str) -> None:
    documents = stream(3)
    put(documents[1], path, "2026-10-10T10:00:01.000001Z" if path == "@timestamp" else "changed")
    assert kinds(documents) == ["altered"]


@pytest.mark.parametrize("value", [1.5, 2**60])
def test_a_value_that_no_event_can_hold_is_altered(value: Any) -> None:
    documents = stream(1)
    documents[0]["audit"]["details"] = {"amount": value}
    assert kinds(documents) == ["altered"]


def test_an_altered_event_with_a_hash_of_its_own_breaks_the_link_of_the_next() -> None:
    documents = stream(3)
    put(documents[1], "message", "changed")
    seal(documents[1])
    flaws, _ = examine(documents)
    assert [(flaw.kind, flaw.sequence) for flaw in flaws] == [("broken_link", 3)]


def test_a_gap_names_what_is_missing() -> None:
    documents = stream(9)
    del documents[3:6]
    [flaw], tally = examine(documents)
    assert (flaw.kind, flaw.sequence) == ("gap", 7)
    assert "numbers 4 to 6 (3 events)" in flaw.detail
    assert verdict(tally, SETTLED) == "findings"


def test_a_stream_without_its_first_event_has_a_gap() -> None:
    assert kinds(stream(3)[1:]) == ["gap"]


def test_a_number_twice_is_a_double() -> None:
    documents = stream(3)
    assert kinds([*documents, documents[1]]) == ["double"]


def test_exchanged_numbers_are_found() -> None:
    documents = stream(4)
    one, two = documents[1]["audit"], documents[2]["audit"]
    one["sequence"], two["sequence"] = two["sequence"], one["sequence"]
    assert set(kinds(documents)) >= {"altered"}
    seal(documents[1])
    seal(documents[2])
    assert set(kinds(documents)) == {"broken_link"}


def test_a_young_gap_is_not_arrived_yet_and_no_finding() -> None:
    documents = stream(3)
    view = View(settled_ns=START_NS)
    flaws, tally = examine([documents[0], documents[2]], view)
    assert [flaw.kind for flaw in flaws] == ["not_arrived"]
    assert flaws[0].is_note
    assert verdict(tally, view) == "not finished"


def test_filtered_data_is_never_lost_and_never_sound() -> None:
    view = View(whole=False)
    flaws, tally = examine(stream(9)[::3], view)
    assert flaws == []
    assert verdict(tally, view) == "hash only"


def test_links_between_neighbours_are_checked_in_filtered_data_too() -> None:
    documents = stream(3)
    put(documents[0], "message", "changed")
    assert kinds([seal(documents[0]), documents[1]], View(whole=False)) == ["broken_link"]


def test_what_lies_before_the_range_is_not_missing() -> None:
    assert kinds(stream(5)[2:], View(since_ns=START_NS)) == []


def seen_through(documents: list[Document], hidden: list[int], stored: list[Document]) -> list[Flaw]:
    """What is found where a range hides these of the documents, and `stored` is what the index has in their place."""

    def elsewhere(_stream: str, first: int, last: int) -> list[Row | Flaw]:
        return [row for row in rows(stored) if first <= (row.sequence or 0) <= last]

    view = View(elsewhere=elsewhere, settled_ns=LATER)
    return examine([d for d in documents if d["audit"]["sequence"] not in hidden], view)[0]


def test_a_gap_that_is_stored_outside_of_the_range_is_none() -> None:
    documents = stream(6)
    assert seen_through(documents, [3], documents) == []
    [flaw] = seen_through(documents, [3, 4], documents[:3])
    assert (flaw.kind, flaw.sequence, flaw.detail[:23]) == ("gap", 5, "number 4 before it: mis")


def test_what_is_stored_outside_of_the_range_must_fit_in() -> None:
    documents = stream(4)
    forged = {**documents[2], "message": "forged", "audit": {**documents[2]["audit"]}}
    assert [flaw.kind for flaw in seen_through(documents, [3], [forged])] == ["altered"]
    assert [flaw.kind for flaw in seen_through(documents, [3], [seal(forged)])] == ["broken_link"]


def test_a_stream_that_began_in_the_range_must_have_its_begin_there() -> None:
    """The id of an application's stream is a UUIDv7 of its begin."""
    documents = stream(4, name=new_event_id(START_NS))
    assert kinds(documents[2:], View(since_ns=START_NS)) == ["gap"]
    assert kinds(documents[2:], View(since_ns=START_NS + SECOND)) == []


def test_a_gap_where_nothing_can_be_looked_up_is_out_of_view() -> None:
    documents = stream(3)
    flaws, tally = examine([documents[0], documents[2]], View(is_file=True, is_range=True, settled_ns=LATER))
    assert [flaw.kind for flaw in flaws] == ["out_of_view"]
    assert "--since 2026-10-10T10:00:00.000000Z --until 2026-10-10T10:00:02.000001Z" in flaws[0].detail
    assert tally.findings == 1
    assert verdict(tally, View()) == "ask the index"


def test_a_young_gap_in_a_file_is_a_finding_for_the_index() -> None:
    flaws, tally = examine(stream(3)[1:], View(is_file=True, settled_ns=START_NS))
    assert [flaw.kind for flaw in flaws] == ["out_of_view"]
    assert flaws[0].detail.endswith("ask the index: auditpipe verify --until 2026-10-10T10:00:01.000001Z")
    assert verdict(tally, View()) == "ask the index"


def test_a_gap_beside_an_event_without_a_time_asks_for_everything() -> None:
    documents = stream(3)
    put(documents[2], "@timestamp", "garbage")
    flaws, _ = examine([documents[0], documents[2]], View(is_file=True, is_range=True))
    assert flaws[1].detail.endswith("ask the index: auditpipe verify")


@pytest.mark.parametrize("count", [1, 3])
def test_where_every_hash_fails_the_view_may_be_to_blame(count: int) -> None:
    documents = stream(count)
    for document in documents:
        document["user"]["name"] = "masked"
    _, tally = examine(documents)
    assert verdict(tally, SETTLED) == "not verifiable"


def test_nothing_is_not_sound() -> None:
    assert verdict(Tally(), SETTLED) == "empty"
