"""An event that comes too late, for a month that retention removed: a dead letter at once, and nobody waits."""

from pathlib import Path
from typing import Any

import pytest

from auditpipe.pipeline.deadletter import folder as dead
from auditpipe.pipeline.deadletter.replay import Replayer
from auditpipe.pipeline.relay.transport import open_transport
from tests.pipeline.deadletter.test_parked import once, park
from tests.pipeline.relay.fake import FakeOpenSearch
from tests.pipeline.relay.test_parking import MISSING, parked, start
from tests.pipeline.relay.wire import Client, entry, message, record

BLOCKED = {"status": 403, "error": {"type": "cluster_block_exception", "reason": "blocked"}}
REMOVAL = {"month": "2026-10", "record": "retention-2026-10-x", "@timestamp": "2030-01-01T00:00:00.000000Z"}
SAID = "2026-10 was removed by retention on 2030-01-01T00:00:00.000000Z, record retention-2026-10-x"


@pytest.fixture
def fake(fake: FakeOpenSearch) -> FakeOpenSearch:
    fake.records["removed-2026-10"] = REMOVAL
    return fake


def refuse(fake: FakeOpenSearch, answer: dict[str, Any]) -> None:
    fake.rule = lambda _, document: answer if document["message"].startswith("late") else None


@pytest.mark.parametrize("answer", [MISSING, BLOCKED])
def test_it_is_a_dead_letter_with_that_reason_and_its_neighbour_is_stored(
    fake: FakeOpenSearch, tmp_path: Path, answer: dict[str, Any]
) -> None:
    refuse(fake, answer)
    late, other = record(message="late"), record()
    with start(fake, tmp_path / "dead") as relay:
        client = Client(relay.port).send(message("packed", [entry(late), entry(other)], "c"))
        assert client.acknowledgements(1) == ["c"]
        [letter] = relay.letters()
        assert letter["reason"] == {"type": "removed_by_retention", "detail": SAID}
        assert letter["record"] == late
        assert list(fake.documents.values()) == [other]
        assert parked(tmp_path / "dead") == []
        assert relay.metric('dead_letters_total{reason="removed_by_retention"}') == 1


def test_what_a_hold_keeps_and_comes_again_is_done(fake: FakeOpenSearch, tmp_path: Path) -> None:
    """The month takes nothing any more, so that it answers a block, and not that the id is taken."""
    held, forged = record(message="late: held"), record(message="late: another under its id")
    forged["event"]["id"] = held["event"]["id"]
    fake.documents[held["event"]["id"]] = held
    refuse(fake, BLOCKED)
    with start(fake, tmp_path / "dead") as relay:
        client = Client(relay.port).send(message("packed", [entry(held), entry(forged)], "c"))
        assert client.acknowledgements(1) == ["c"]
        assert [one["reason"]["type"] for one in relay.letters()] == ["conflict"]
        assert relay.metric('events_total{outcome="duplicate"}') == 1


@pytest.mark.parametrize("known", [None, {"month": "2026-10"}, "no object"])
def test_a_month_that_no_record_names_is_waited_for(fake: FakeOpenSearch, tmp_path: Path, known: Any) -> None:
    fake.records = {} if known is None else {"removed-2026-10": known}
    refuse(fake, MISSING)
    with start(fake, tmp_path / "dead") as relay:
        Client(relay.port).send(message("packed", [entry(record(message="late"))], "c")).acknowledgements(1)
        assert relay.letters() == []
    assert [one["reason"]["type"] for one in parked(tmp_path / "dead")] == ["missing_index"]


def test_what_was_parked_before_its_month_was_removed_ends_there_too(fake: FakeOpenSearch, tmp_path: Path) -> None:
    park(tmp_path, record(message="late"), record())
    refuse(fake, MISSING)
    assert once(Replayer(open_transport(fake.settings)), tmp_path) == (1, 1, 0)
    [file] = dead.files(tmp_path)
    assert file.kind is dead.Kind.REFUSED
    assert dict(dead.summarize(file).reasons) == {"removed_by_retention": 1}
