"""The decision of `verify`, on rows: what is found, what is only noted, and what may be said of the whole."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest

from auditpipe.pipeline.verify.chain import Tally, check, verdict
from auditpipe.pipeline.verify.event import Flaw, Row, row_of
from auditpipe.pipeline.verify.form import Form
from auditpipe.pipeline.verify.view import View
from auditpipe.schemas.canonical import GENESIS
from auditpipe.schemas.catalogue import STREAM_CLOSED
from auditpipe.schemas.identity import DAY, SECOND, new_event_id
from tests.builders import START_NS, Document, event, put, seal, stream

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


def closed(documents: list[Document]) -> list[Document]:
    last = documents[-1]
    put(last, "event.action", STREAM_CLOSED)
    seal(last)
    return documents


def states(documents: list[Document], view: View) -> tuple[int, int, int]:
    tally = examine(documents, view)[1]
    return tally.closed_streams, tally.open_streams, tally.abandoned_streams


def test_a_stream_is_closed_by_its_last_event() -> None:
    assert states([*closed(stream(3)), *stream(2)], SETTLED) == (1, 1, 0)


def test_a_stream_without_an_event_for_long_counts_as_abandoned() -> None:
    documents = [*closed(stream(3)), *stream(2), *stream(9)]
    assert states(documents, View(abandoned_ns=START_NS + 5 * SECOND)) == (1, 1, 1)


def test_the_spool_of_this_machine_knows_better_than_the_age() -> None:
    lives = {"living": True, "dead": False}
    documents = [*stream(1, name="living"), *stream(9, name="dead"), *stream(1, name="elsewhere")]
    assert states(documents, View(abandoned_ns=START_NS + SECOND, lives=lives.get)) == (0, 1, 2)


@pytest.mark.parametrize("view", [View(until=True), View(whole=False)])
def test_what_may_go_on_outside_of_the_view_is_neither(view: View) -> None:
    assert states([*closed(stream(3)), *stream(2)], view) == (1, 0, 0)


def test_an_event_after_the_one_that_closed_its_stream_is_noted() -> None:
    """No finding: a file that was given to `emit` again may hold such an event in its middle."""
    documents = stream(4)
    closed(documents[:2])
    for before, after in pairwise(documents[1:]):
        after["audit"]["previous"] = before["audit"]["hash"]
        seal(after)
    flaws, tally = examine(documents)
    assert [(flaw.kind, flaw.sequence, flaw.is_note) for flaw in flaws] == [("after_closed", 3, True)]
    assert verdict(tally, SETTLED) == "sound"


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
    [flaw], _ = examine([*documents, documents[1]])
    assert (flaw.kind, flaw.detail) == ("double", "number 2 is there again: the same event")


@pytest.mark.parametrize("first", [True, False])
def test_beside_a_forged_twin_the_true_event_still_links_the_next(first: bool) -> None:
    documents = stream(3)
    twin = seal({**documents[1], "message": "forged", "audit": {**documents[1]["audit"]}})
    found, _ = examine([documents[0], *([twin, documents[1]] if first else [documents[1], twin]), documents[2]])
    assert [flaw.kind for flaw in found] == ["double"]
    assert found[0].detail.endswith("has it too")
    unlinked = seal({**twin, "audit": {**twin["audit"], "previous": "0" * 64}})
    assert kinds([*documents, unlinked]) == ["double", "broken_link"]


def test_the_twins_of_a_number_after_a_gap_have_no_link_to_check() -> None:
    documents = stream(4)
    twin = seal({**documents[2], "message": "forged", "audit": {**documents[2]["audit"]}})
    assert kinds([documents[0], documents[2], twin, documents[3]]) == ["gap", "double"]


def test_exchanged_numbers_are_found() -> None:
    documents = stream(4)
    one, two = documents[1]["audit"], documents[2]["audit"]
    one["sequence"], two["sequence"] = two["sequence"], one["sequence"]
    assert set(kinds(documents)) >= {"altered"}
    seal(documents[1])
    seal(documents[2])
    assert set(kinds(documents)) == {"broken_link"}


def test_exchanged_times_are_found() -> None:
    documents = stream(4)
    one, two = documents[1], documents[2]
    one["@timestamp"], two["@timestamp"] = two["@timestamp"], one["@timestamp"]
    one["event"]["id"], two["event"]["id"] = two["event"]["id"], one["event"]["id"]
    assert set(kinds(documents)) == {"altered"}
    seal(one)
    seal(two)
    assert set(kinds(documents)) == {"broken_link"}


def test_an_event_moved_to_another_stream_is_found_in_both() -> None:
    documents, others = stream(4), stream(4)
    others[1]["audit"]["stream"] = documents[0]["audit"]["stream"]
    seal(others[1])
    assert sorted(kinds([*documents, *others])) == ["broken_link", "double", "gap"]


def test_a_time_before_that_of_the_event_before_is_no_reordering() -> None:
    """`occurred_at` sets it: only numbers and links say what came first."""
    documents = stream(4)
    early = event(START_NS - SECOND, audit__stream="s", audit__previous=GENESIS)
    late = event(START_NS - 2 * SECOND, audit__stream="s", audit__sequence=2, audit__previous=early["audit"]["hash"])
    assert kinds([*documents, early, late]) == []


def test_a_young_gap_is_not_arrived_yet_and_no_finding() -> None:
    documents = stream(3)
    view = View(settled_ns=START_NS)
    flaws, tally = examine([documents[0], documents[2]], view)
    assert [flaw.kind for flaw in flaws] == ["not_arrived"]
    assert flaws[0].is_note
    assert verdict(tally, view) == "not finished"


def test_a_gap_before_an_event_that_claims_to_be_of_the_future_is_a_finding() -> None:
    """Else whoever removes events could keep the gap young by one forged event behind it."""
    documents = stream(2)
    forged = event(START_NS + 2 * DAY, audit__stream=documents[0]["audit"]["stream"], audit__sequence=3)
    for ahead, kind in ((START_NS + 2 * DAY, "not_arrived"), (START_NS + 2 * DAY - 1, "gap")):
        for is_file in (False, True):
            view = View(settled_ns=START_NS, latest_ns=ahead, is_file=is_file)
            wanted = "out_of_view" if is_file and kind == "not_arrived" else kind
            assert kinds([documents[0], forged], view) == [wanted]


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
