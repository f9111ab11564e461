"""Parked events: sent again from where they lie, beside a relay that writes there, until they are stored."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from auditpipe.pipeline.deadletter import folder as dead
from auditpipe.pipeline.deadletter.replay import Replayer
from auditpipe.pipeline.deadletter.store import WAITING, DeadLetters, leave, read_between_writes
from auditpipe.pipeline.relay.records import Reason, Refused
from auditpipe.pipeline.relay.transport import open_transport
from auditpipe.schemas.errors import NotFinished
from auditpipe.schemas.identity import parse_time
from tests.pipeline.relay.fake import FakeOpenSearch, Fault, fake_opensearch
from tests.pipeline.relay.test_parking import MISSING, parked, refuse_early
from tests.pipeline.relay.wire import START, record
from tests.waiting import until


@pytest.fixture
def fake() -> Iterator[FakeOpenSearch]:
    with fake_opensearch() as server:
        yield server


@pytest.fixture
def replayer(fake: FakeOpenSearch) -> Replayer:
    return Replayer(open_transport(fake.settings))


def park(folder: Path, *documents: dict[str, Any]) -> None:
    reason = Reason("missing_index", "404 index_not_found_exception: no such index")
    times = [parse_time(document["@timestamp"]) if "@timestamp" in document else START for document in documents]
    lines = [Refused(reason, "t", ns, None, orjson.dumps(one)) for ns, one in zip(times, documents, strict=True)]
    DeadLetters(folder / WAITING, WAITING).keep(lines)


def once(replayer: Replayer, folder: Path) -> tuple[int, int, int]:
    result = replayer.round(dead.waiting(folder))
    return result.done, result.refused, len(result.left)


def test_a_file_of_parked_events_goes_when_they_are_stored(
    replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path
) -> None:
    documents = [record(), record()]
    park(tmp_path, *documents)
    assert once(replayer, tmp_path) == (2, 0, 0)
    assert list(fake.documents.values()) == documents
    assert list((tmp_path / WAITING).iterdir()) == []


def test_what_still_waits_stays_and_the_rest_goes(replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path) -> None:
    early, other, bad = record(message="early"), record(), {"no": "id"}
    park(tmp_path, early, other, bad)
    refuse_early(fake, MISSING)
    assert once(replayer, tmp_path) == (1, 1, 1)
    assert [one["record"] for one in parked(tmp_path)] == [early]
    assert once(replayer, tmp_path) == (0, 0, 1)
    assert [file.kind for file in dead.files(tmp_path)] == [dead.Kind.REFUSED, dead.Kind.WAITING]
    fake.rule = lambda _, __: None
    assert once(replayer, tmp_path) == (1, 0, 0)
    assert list((tmp_path / WAITING).iterdir()) == []


def test_a_new_reason_takes_the_place_of_the_old(replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path) -> None:
    park(tmp_path, record(message="early"))
    refuse_early(fake, {"status": 403, "error": {"type": "security_exception", "reason": "no permissions"}})
    [before] = parked(tmp_path)
    assert once(replayer, tmp_path) == (0, 0, 1)
    [after] = parked(tmp_path)
    assert after == before | {"reason": {"type": "permission", "detail": "403 security_exception: no permissions"}}
    [file] = dead.files(tmp_path)
    assert dict(dead.summarize(file).waits) == {
        "index audit-events-2026.10 refuses the shipper: it needs the role audit_writer": 1
    }


def test_a_record_as_deep_as_can_be_written_keeps_its_first_reason(
    replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path
) -> None:
    """orjson writes 254 levels, and the record is one of its line's."""
    deep: dict[str, Any] = {}
    for _ in range(252):
        deep = {"a": deep}
    park(tmp_path, record(message="early", deep=deep))
    refuse_early(fake, {"status": 403, "error": {"type": "security_exception", "reason": "no permissions"}})
    before = parked(tmp_path)
    assert once(replayer, tmp_path) == (0, 0, 1)
    assert parked(tmp_path) == before


def test_a_month_is_asked_for_once_for_a_file_in_a_round(
    replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from auditpipe.pipeline.deadletter import replay

    monkeypatch.setattr(replay, "BULK", 1)
    park(tmp_path, *(record(message="early") for _ in range(10)))
    refuse_early(fake, MISSING)
    assert once(replayer, tmp_path) == (0, 0, 1)
    assert fake.bulks == 1
    assert len(parked(tmp_path)) == 10


def test_an_outage_leaves_the_file_as_it_is(replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path) -> None:
    park(tmp_path, record(), {"no": "id"})
    before = parked(tmp_path)
    fake.outage = Fault()
    with pytest.raises(NotFinished):
        replayer.until_done(dead.files(tmp_path), threading.Event(), patience=0)
    assert parked(tmp_path) == before
    assert [file.kind for file in dead.files(tmp_path)] == [dead.Kind.WAITING]


def test_what_is_parked_while_a_round_goes_on_is_not_lost(fake: FakeOpenSearch, tmp_path: Path) -> None:
    first, second = record(), record()
    park(tmp_path, first)

    class Parking:
        def __init__(self) -> None:
            self.inner = open_transport(fake.settings)

        def post(self, path: str, body: bytes):  # type: ignore[no-untyped-def]
            park(tmp_path, second)
            return self.inner.post(path, body)

    assert once(Replayer(Parking()), tmp_path) == (1, 0, 0)
    assert [one["record"] for one in parked(tmp_path)] == [second]


def test_what_was_parked_twice_is_stored_once(replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path) -> None:
    """The relay was killed between parking and acknowledging, and its client sent the chunk again."""
    document = record()
    park(tmp_path, document)
    park(tmp_path, document)
    assert once(replayer, tmp_path) == (2, 0, 0)
    assert list(fake.documents.values()) == [document]


def test_a_replayer_that_is_killed_before_the_file_is_written_anew_loses_and_doubles_nothing(
    replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, other = record(message="early"), record()
    park(tmp_path, early, other)
    refuse_early(fake, MISSING)

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", kill)
        with pytest.raises(Killed):
            once(replayer, tmp_path)
    assert [one["record"] for one in parked(tmp_path)] == [early, other]
    assert len(list((tmp_path / WAITING).iterdir())) == 2, "half a job"
    fake.rule = lambda _, __: None
    assert once(replayer, tmp_path) == (2, 0, 0)
    assert list((tmp_path / WAITING).iterdir()) == []
    assert len(fake.documents) == 2


def test_half_a_line_of_a_power_loss_is_kept_with_its_reason(
    replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path
) -> None:
    document = record()
    park(tmp_path, document)
    [path] = (tmp_path / WAITING).iterdir()
    path.write_bytes(path.read_bytes() + b'{"reason"')
    assert once(replayer, tmp_path) == (1, 1, 0)
    [file] = dead.files(tmp_path)
    assert (file.kind, dict(dead.summarize(file).reasons)) == (dead.Kind.REFUSED, {"unreadable": 1})


def test_a_relay_and_a_replayer_in_one_file_lose_and_tear_nothing(tmp_path: Path) -> None:
    """The replayer takes half of what it sees each time, as where some events are stored."""
    letters = DeadLetters(tmp_path / WAITING, WAITING)
    taken: list[str] = []

    def write() -> None:
        for number in range(200):
            letters.keep([Refused(Reason("r", ""), "t", START, f"id-{number}", b"{}")])

    def take(all_of_it: bool) -> None:
        for path in (tmp_path / WAITING).glob("*.ndjson"):
            data = read_between_writes(path)
            lines = data.splitlines()
            cut = len(lines) if all_of_it else len(lines) // 2
            leave(path, len(data), lines[cut:])
            taken.extend(orjson.loads(line)["id"] for line in lines[:cut])

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        take(all_of_it=False)
    writer.join()
    take(all_of_it=True)
    assert sorted(taken) == sorted(f"id-{number}" for number in range(200))
    assert list((tmp_path / WAITING).iterdir()) == []


def test_the_watch_stores_what_is_parked_by_itself(replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path) -> None:
    refuse_early(fake, MISSING)
    stop = threading.Event()
    thread = threading.Thread(target=replayer.watch, args=([tmp_path], stop), kwargs={"interval": 0.05})
    thread.start()
    try:
        park(tmp_path, record(message="early"))
        until(lambda: fake.bulks >= 2)
        assert len(parked(tmp_path)) == 1
        fake.rule = lambda _, __: None
        until(lambda: not parked(tmp_path))
    finally:
        stop.set()
        thread.join(120)
    assert len(fake.documents) == 1
