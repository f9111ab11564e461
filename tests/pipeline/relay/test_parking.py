"""An event that OpenSearch does not take yet is parked on disk, so that those behind it arrive."""

import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from time import sleep
from typing import Any

import orjson
import pytest

from auditpipe.pipeline.relay.alarm import waiting_for
from auditpipe.pipeline.relay.config import Limits
from tests.pipeline.relay.fake import FakeOpenSearch, Fault
from tests.pipeline.relay.running import RunningRelay, running_relay
from tests.pipeline.relay.wire import Client, entry, message, record
from tests.waiting import until

MISSING = {"status": 404, "error": {"type": "index_not_found_exception", "reason": "no such index"}}
QUICK = Limits(stop=2.0, park_after=0.5, park_tries=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "dead"


def start(fake: FakeOpenSearch, folder: Path, limits: Limits = QUICK) -> AbstractContextManager[RunningRelay]:
    return running_relay(fake.settings, folder, limits)


def parked(folder: Path) -> list[Any]:
    files = sorted((folder / "waiting").glob("waiting-*.ndjson"))
    return [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]


def refuse_early(fake: FakeOpenSearch, answer: dict[str, Any]) -> None:
    fake.rule = lambda _, document: answer if document["message"] == "early" else None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (MISSING, "missing_index"),
        ({"status": 403, "error": {"type": "cluster_block_exception", "reason": "blocked"}}, "write_block"),
        ({"status": 403, "error": {"type": "security_exception", "reason": "no permissions"}}, "permission"),
        ({"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "x"}}, "unread_conflict"),
        ({"status": 503, "error": {"type": "unavailable_shards_exception", "reason": "red"}}, "missing_shard"),
        ({"status": 503, "error": {"type": "something_else", "reason": "x"}}, "server_error"),
        ({"status": 400, "error": {"type": "something_new", "reason": "x"}}, "not_understood"),
    ],
)
def test_what_stays_again_for_a_reason_of_its_own_is_parked_and_its_chunk_acknowledged(
    fake: FakeOpenSearch, folder: Path, answer: dict[str, Any], reason: str
) -> None:
    refuse_early(fake, answer)
    early, other = record(message="early"), record()
    with start(fake, folder) as relay:
        client = Client(relay.port).send(message("packed", [entry(early), entry(other)], "w"))
        assert client.acknowledgements(1) == ["w"]
        [letter] = parked(folder)
        assert (letter["reason"]["type"], letter["record"]) == (reason, early)
        assert list(fake.documents.values()) == [other]
        assert relay.metric(f'parked_events_total{{reason="{reason}"}}') == 1
        assert relay.metric('events_total{outcome="parked"}') == 1
        assert (relay.metric("held_bytes"), relay.letters()) == (0, [])
        assert client.send(message("packed", [entry(record())], "next")).acknowledgements(1) == ["next"]


def test_it_is_tried_often_enough_and_long_enough_first(fake: FakeOpenSearch, folder: Path) -> None:
    refuse_early(fake, MISSING)
    with start(fake, folder, Limits(stop=2.0, park_after=0.0, park_tries=5)) as relay:
        Client(relay.port).send(message("packed", [entry(record(message="early"))], "w")).acknowledgements(1)
    assert fake.bulks == 5
    with start(fake, folder, Limits(stop=0.2, park_after=3600.0, park_tries=1)) as relay:
        client = Client(relay.port).send(message("packed", [entry(record(message="early"))], "w"))
        until(lambda: fake.bulks >= 9)
        assert len(parked(folder)) == 1, "the first relay's"
        client.close()


@pytest.mark.parametrize("fault", [Fault(), Fault(403, b"{}"), Fault(400, b"bad request"), Fault(200, b"<html>")])
def test_nothing_is_parked_while_requests_fail_as_such(fake: FakeOpenSearch, folder: Path, fault: Fault) -> None:
    fake.outage = fault
    with start(fake, folder, Limits(stop=0.2, park_after=0.0, park_tries=1)) as relay:
        client = Client(relay.port).send(message("packed", [entry(record())], "w"))
        until(lambda: fake.bulks >= 4)
        assert parked(folder) == []
        fake.outage = None
        assert client.acknowledgements(1) == ["w"]


@pytest.mark.parametrize("kind", ["rejected_execution_exception", "cluster_block_exception"])
def test_what_is_too_busy_or_full_is_not_parked(fake: FakeOpenSearch, folder: Path, kind: str) -> None:
    refuse_early(fake, {"status": 429, "error": {"type": kind, "reason": "x"}})
    with start(fake, folder, Limits(stop=0.2, park_after=0.0, park_tries=1)) as relay:
        client = Client(relay.port).send(message("packed", [entry(record(message="early"))], "w"))
        until(lambda: fake.bulks >= 4)
        assert parked(folder) == []
        fake.rule = lambda _, __: None
        assert client.acknowledgements(1) == ["w"]


def test_a_client_that_is_less_patient_than_the_relay_gets_on_in_the_end(fake: FakeOpenSearch, folder: Path) -> None:
    """Else a short-lived process, or a short timeout, would begin anew each time and never get past its event."""
    refuse_early(fake, MISSING)
    data = message("packed", [entry(record(message="early"))], "w")
    with start(fake, folder, Limits(stop=2.0, park_after=2.0, park_tries=3)) as relay:
        for dropped in range(1, 4):
            client = Client(relay.port).send(data)
            until(lambda: relay.metric('waiting_events{reason="missing_index"}') == 1)
            client.close()
            until(lambda n=dropped: relay.metric('events_total{outcome="dropped"}') == n)
        sleep(2.0)
        before = fake.bulks
        assert Client(relay.port).send(data).acknowledgements(1) == ["w"]
        assert fake.bulks <= before + 2
    assert len(parked(folder)) == 1


def test_nothing_is_acknowledged_while_it_can_not_be_parked_and_others_go_on(
    fake: FakeOpenSearch, folder: Path
) -> None:
    refuse_early(fake, MISSING)
    with start(fake, folder) as relay:
        shutil.rmtree(folder / "waiting")
        client = Client(relay.port, timeout=0.5).send(message("packed", [entry(record(message="early"))], "w"))
        until(lambda: relay.metric('waiting_events{reason="dead_letters"}') == 1)
        with pytest.raises(TimeoutError):
            client.acknowledgements(1)
        for n in range(5):
            other = Client(relay.port).send(message("packed", [entry(record())], f"c{n}"))
            assert other.acknowledgements(1) == [f"c{n}"]
        (folder / "waiting").mkdir()
        client.socket.settimeout(120)
        assert client.acknowledgements(1) == ["w"]
        assert len(parked(folder)) == 1


def test_what_an_event_waits_for_is_said_with_its_remedy() -> None:
    assert waiting_for("missing_index", "audit-events-1999.01") == (
        "index audit-events-1999.01 does not exist: auditpipe provision --from 1999-01"
    )
    assert "audit_writer" in waiting_for("permission", "i")
    assert waiting_for("{new}", "i") == "index i answers {new}"
