"""Removed and lost are told apart, and links hold across what was removed: laws over any choice of events."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from auditpipe.pipeline.retention import scan
from auditpipe.pipeline.retention.scan import Scanned
from auditpipe.pipeline.verify.chain import Tally, check, verdict
from auditpipe.pipeline.verify.event import Flaw, Row, row_of
from auditpipe.pipeline.verify.form import Form
from auditpipe.pipeline.verify.view import Part, View
from auditpipe.schemas.identity import index_of, parse_time
from tests.builders import Document, seal, stream

EVENTS = stream(9)
NUMBERS = st.sets(st.integers(1, 9))


def hits(documents: Iterable[Document]) -> list[dict[str, Any]]:
    return [
        {"_source": one, "_index": index_of(parse_time(one["@timestamp"])), "_id": one["event"]["id"], "_version": 1}
        for one in documents
    ]


def recorded(documents: Iterable[Document], record: str = "r") -> list[Part]:
    """What a record of their removal says."""
    found = [one for _, one in scan.ranges(hits(documents), Scanned())]
    return [Part(one.first, one.last, one.previous, one.hash, "2026-10", record, "2026-11-01") for one in found]


def examined(documents: Iterable[Document], parts: list[Part], **view: Any) -> tuple[list[Flaw], str]:
    def removed(_stream: str, first: int, last: int) -> list[Part]:
        return sorted((p for p in parts if p.first <= last and p.last >= first), key=lambda part: part.first)

    tally, whole = Tally(), View(removed=removed, **view)
    rows = [row for one in documents if isinstance(row := row_of(one, Form(None)), Row)]
    return list(check(rows, whole, tally)), verdict(tally, whole)


def without(*sets: set[int]) -> list[Document]:
    gone = set().union(*sets)
    return [one for one in EVENTS if one["audit"]["sequence"] not in gone]


def only(numbers: set[int]) -> list[Document]:
    return [one for one in EVENTS if one["audit"]["sequence"] in numbers]


@given(NUMBERS)
def test_whatever_was_removed_on_record_is_no_finding(removed: set[int]) -> None:
    left = without(removed)
    flaws, said = examined(left, recorded(only(removed)))
    seen = {number for number in removed if left and number < left[-1]["audit"]["sequence"]}
    assert said == ("sound" if left else "empty")
    assert [flaw.kind for flaw in flaws] == (["removed"] if seen else [])
    if seen:
        assert flaws[0].detail.startswith(f"by retention: {len(seen)} events of 2026-10, on 2026-11-01, record r;")


@given(NUMBERS, NUMBERS, NUMBERS)
def test_what_no_record_covers_stays_lost(first: set[int], second: set[int], lost: set[int]) -> None:
    """Two removals one after the other, and a loss before both."""
    left = without(first, second, lost)
    parts = recorded(only(first - lost), "r1") + recorded(only(second - first - lost), "r2")
    flaws, _ = examined(left, parts)
    last = left[-1]["audit"]["sequence"] if left else 0
    missing = {number for number in lost if number < last}
    told: set[int] = set()
    for flaw in flaws:
        assert flaw.kind in ("removed", "gap")
        if flaw.kind == "gap":
            words = flaw.detail.split(" before it")[0].split()
            told |= set(range(int(words[1]), int(words[3]) + 1)) if words[0] == "numbers" else {int(words[1])}
    assert told == missing


@given(st.sets(st.integers(2, 8), min_size=1))
def test_a_chain_rewritten_around_what_was_removed_does_not_fit_its_record(removed: set[int]) -> None:
    """The forger seals anew what is left, and links it to what they like; what was removed can't be made to fit."""
    left = [seal({**one, "message": "forged", "audit": {**one["audit"]}}) for one in without(removed)]
    for before, after in pairwise(left):
        if after["audit"]["sequence"] == before["audit"]["sequence"] + 1:
            after["audit"]["previous"] = before["audit"]["hash"]
            seal(after)
    flaws, said = examined(left, recorded(only(removed)))
    assert said == "findings"
    assert {flaw.kind for flaw in flaws} == {"broken_link", "removed"}


def test_an_altered_event_before_its_removal_leaves_its_finding_behind() -> None:
    forged = [seal({**one, "message": "forged", "audit": {**one["audit"]}}) for one in only({3})]
    scanned = Scanned()
    documents = [*only({2}), *forged, *only({4})]
    found = [one for _, one in scan.ranges(hits(documents), scanned)]
    assert [(one.first, one.last) for one in found] == [(2, 3), (4, 4)]
    parts = [Part(o.first, o.last, o.previous, o.hash, "2026-10", "r", "t") for o in found]
    flaws, _ = examined(without({2, 3, 4}), parts)
    assert [flaw.kind for flaw in flaws] == ["broken_link", "removed"]
    assert "number 4, which retention removed, is not linked" in flaws[0].detail
    altered = [{**one, "message": "altered"} for one in only({5})]
    list(scan.ranges(hits(altered), scanned))
    assert dict(scanned.flawed) == {"altered": 1}


def test_of_two_records_about_the_same_numbers_one_counts() -> None:
    parts = [*recorded(only({2, 3, 4}), "r1"), *recorded(only({3, 4}), "r2"), *recorded(only({4, 5}), "r3")]
    flaws, said = examined(without({2, 3, 4, 5}), parts)
    assert said == "sound"
    assert sum(int(flaw.detail.split()[2]) for flaw in flaws) == 4


def test_a_record_of_what_is_still_there_says_nothing() -> None:
    """A run that was ended between its record and the removal."""
    assert examined(EVENTS, recorded(EVENTS)) == ([], "sound")
    flaws, said = examined(without({4}), recorded(only({2, 3, 4, 5})))
    assert ([flaw.kind for flaw in flaws], said) == (["removed"], "sound")


def test_where_records_can_not_be_seen_a_gap_says_so() -> None:
    [flaw], _ = examined(without({4}), [], unrecorded="you may not read audit-records")
    assert flaw.kind == "gap"
    assert flaw.detail.endswith("whether retention removed them can't be told: you may not read audit-records")
    [flaw], said = examined(without({4}), [], unrecorded="no authority", is_file=True)
    assert (flaw.kind, said) == ("out_of_view", "ask the index")


def test_ranges_are_of_one_organization_and_doubles_are_counted() -> None:
    others = stream(3, organization__id="other")
    documents = [*EVENTS[:2], EVENTS[1], *EVENTS[2:4], *others]
    scanned = Scanned()
    found = list(scan.ranges(hits(documents), scanned))
    assert [(org, one.first, one.last, one.count) for org, one in found] == [("acme", 1, 4, 5), ("other", 1, 3, 3)]
    assert scanned.events == 8


def test_what_has_no_place_in_a_stream_is_counted_and_not_named() -> None:
    scanned, broken = Scanned(), stream(1)[0]
    broken["audit"].pop("stream")
    odd = {**EVENTS[0], "audit": {**EVENTS[0]["audit"], "previous": "x"}}
    assert list(scan.ranges(hits([broken, odd]), scanned)) == []
    assert scanned.events == 2
    assert scanned.flawed["unlinked"] == 2


def test_an_organization_that_no_record_can_name_is_none() -> None:
    """A record of it could not be made, and nothing of its month removed."""
    documents = [{**EVENTS[0], "organization": {"id": name}} for name in ("o\ud800", "", 7)]
    assert {org for org, _ in scan.ranges(hits(documents), Scanned())} == {None}


@given(st.lists(st.sampled_from(["a", "b", None]), max_size=60), st.integers(1, 5))
def test_batches_hold_all_ranges_each_once_and_of_one_organization(names: list[str | None], size: int) -> None:
    [one] = [one for _, one in scan.ranges(hits(EVENTS), Scanned())]
    marked = [(name, one.model_copy(update={"first": number})) for number, name in enumerate(names)]
    made = list(scan.batches(marked, size))
    assert sorted((one.first, str(name)) for name, batch in made for one in batch) == [
        (number, str(name)) for number, name in enumerate(names)
    ]
    assert all(0 < len(batch) <= size for _, batch in made)
