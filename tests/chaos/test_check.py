"""The check finds what is planted: one that can't fail would be worth nothing."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import event, seal, stream
from tests.chaos.check import STREAM_CLOSED, Result, Stored, check, stored_of
from tests.chaos.ledger import Kept, Ledger
from tests.chaos.ledger import parse as parse_ledger

COUNT = 5
INDEX = "audit-events-2026.10"


def documents() -> list[dict[str, Any]]:
    made = stream(COUNT)
    for number, document in enumerate(made, start=1):
        document["http"]["request"]["id"] = f"e1.{number}"
        seal(document)
    return made


def hit(document: dict[str, Any], index: str = INDEX) -> Stored:
    return stored_of({"_index": index, "_id": document["event"]["id"], "_source": document})


def kept(document: dict[str, Any]) -> Kept:
    audit = document["audit"]
    token = document["http"]["request"]["id"]
    return Kept(token, audit["stream"], audit["sequence"], document["event"]["id"], audit["hash"])


def ledger(made: list[dict[str, Any]], *, undecided: str = "", refused: str = "") -> Ledger:
    return Ledger(tuple(map(kept, made)), frozenset(undecided.split()), frozenset(refused.split()))


def kinds(result: Result) -> list[str]:
    return sorted(finding.kind for finding in result.findings)


def test_what_is_stored_once_and_as_it_was_is_no_finding() -> None:
    made = documents()
    result = check(ledger(made), map(hit, made))
    assert (result.findings, result.promised, result.stored) == ((), COUNT, COUNT)


def test_a_planted_loss_is_found() -> None:
    made = documents()
    result = check(ledger(made), map(hit, made[:2] + made[3:]))
    assert [(f.kind, f.id) for f in result.findings] == [("lost", made[2]["event"]["id"])]
    assert result.count("lost") == 1


def test_a_planted_double_is_found_by_its_id_in_another_month() -> None:
    made = documents()
    result = check(ledger(made), [*map(hit, made), hit(made[1], "audit-events-2026.11")])
    assert set(kinds(result)) == {"doubled"}
    assert {finding.id for finding in result.findings} == {made[1]["event"]["id"]}


def test_a_planted_double_is_found_by_its_place_or_its_token_under_another_id() -> None:
    made = documents()
    other = event()
    same_place = replace(hit(made[1]), id=other["event"]["id"], token="e2.1")
    assert kinds(check(ledger(made, undecided="e2.1"), [*map(hit, made), same_place])) == ["doubled"]
    same_token = replace(hit(made[1]), id=other["event"]["id"], sequence=99)
    assert "doubled" in kinds(check(ledger(made), [*map(hit, made), same_token]))


@pytest.mark.parametrize("sealed_again", [False, True])
def test_a_planted_alteration_is_found_also_where_the_hash_was_made_anew(sealed_again: bool) -> None:
    made = documents()
    altered = copy.deepcopy(made)
    altered[3]["user"]["name"] = "eve"
    if sealed_again:
        seal(altered[3])
    result = check(ledger(made), map(hit, altered))
    assert [(f.kind, f.id) for f in result.findings] == [("altered", made[3]["event"]["id"])]


def test_another_place_in_the_stream_is_an_alteration() -> None:
    made = documents()
    moved = replace(hit(made[4]), sequence=9)
    assert kinds(check(ledger(made), [*map(hit, made[:4]), moved])) == ["altered"]


def test_an_event_that_no_ledger_knows_of_is_unexplained() -> None:
    made = documents()
    assert kinds(check(ledger(made[:4]), map(hit, made))) == ["unexplained"]
    assert kinds(check(ledger(made[:4], refused="e1.5"), map(hit, made))) == ["unexplained"]


def test_one_whose_emitter_was_killed_in_emit_may_be_stored_or_not() -> None:
    made = documents()
    book = ledger(made[:4], undecided="e1.5")
    assert check(book, map(hit, made)).undecided == 1
    assert check(book, map(hit, made)).findings == ()
    assert check(book, map(hit, made[:4])).findings == ()


def test_an_undecided_event_has_to_be_unaltered_too() -> None:
    made = documents()
    made[4]["user"]["name"] = "eve"
    assert kinds(check(ledger(made[:4], undecided="e1.5"), map(hit, made))) == ["altered"]


def test_the_end_of_a_known_stream_is_explained_and_of_an_unknown_one_is_not() -> None:
    made = documents()
    made[4]["event"]["action"] = STREAM_CLOSED
    made[4]["http"]["request"]["id"] = "none"
    seal(made[4])
    result = check(ledger(made[:4]), map(hit, made))
    assert (result.findings, result.closed) == ((), 1)
    elsewhere = replace(hit(made[4]), stream="another")
    assert kinds(check(ledger(made[:4]), [*map(hit, made[:4]), elsewhere])) == ["unexplained"]


def test_a_ledger_is_read_as_it_was_written() -> None:
    one = kept(documents()[0])
    told = [
        *("intent e1.1", f"kept e1.1 {one.stream} {one.sequence} {one.id} {one.hash}"),
        *("intent e1.2", "refused e1.2", "intent e1.3"),
    ]
    assert parse_ledger(told) == Ledger((one,), frozenset({"e1.3"}), frozenset({"e1.2"}))
    with pytest.raises(ValueError, match="no line of a ledger"):
        parse_ledger(["something else"])
