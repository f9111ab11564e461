"""Replay: idempotent, file by file, through any outage, against a fake OpenSearch (see relay/fake.py)."""

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from time import time

import pytest

from auditpipe.pipeline.deadletter import folder as dead
from auditpipe.pipeline.deadletter.replay import Replayer, rest_after
from auditpipe.pipeline.deadletter.store import DeadLetters
from auditpipe.pipeline.relay.records import Reason, Refused
from auditpipe.pipeline.relay.transport import open_transport
from auditpipe.schemas.errors import NotFinished, SettingsError, UsageError
from tests.pipeline.deadletter.test_chunkfile import REAL, chunk_file, with_metadata
from tests.pipeline.relay.fake import CUT, FakeOpenSearch, Fault, fake_opensearch
from tests.pipeline.relay.wire import START, record
from tests.waiting import until


@pytest.fixture
def fake() -> Iterator[FakeOpenSearch]:
    with fake_opensearch() as server:
        yield server


@pytest.fixture
def replayer(fake: FakeOpenSearch) -> Replayer:
    return Replayer(open_transport(fake.settings))


def put_chunk(folder: Path, *documents: object, name: str = "audit_0_opensearch.0_0x1.flb", age: float = 60) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(chunk_file(b"".join(map(with_metadata, documents)), padding=100))
    os.utime(path, (time() - age, time() - age))
    return path


def replay(replayer: Replayer, folder: Path, patience: float = 0.0) -> tuple[int, int]:
    total = replayer.until_done(dead.files(folder), threading.Event(), patience=patience)
    return total.done, total.refused


def kinds(folder: Path) -> list[dead.Kind]:
    return [file.kind for file in dead.files(folder)]


def test_a_chunk_goes_when_its_events_are_stored(replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path) -> None:
    documents = [record(), record()]
    put_chunk(tmp_path, *documents)
    assert replay(replayer, tmp_path) == (2, 0)
    assert list(fake.documents.values()) == documents
    assert dead.files(tmp_path) == []


def test_what_is_stored_already_is_done(replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path) -> None:
    document = record()
    for _ in range(2):
        put_chunk(tmp_path, document)
        assert replay(replayer, tmp_path) == (1, 0)
    assert len(fake.documents) == 1


def test_what_is_refused_again_is_kept_with_its_reason_and_its_neighbours_are_stored(
    replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path
) -> None:
    good, bad = record(), record(message="poison")
    fake.rule = lambda _, document: (
        {"status": 400, "error": {"type": "mapper_parsing_exception", "reason": "no"}}
        if document["message"] == "poison"
        else None
    )
    put_chunk(tmp_path, bad, good, {"no": "id"})
    assert replay(replayer, tmp_path) == (1, 2)
    [file] = dead.files(tmp_path)
    assert file.kind is dead.Kind.REFUSED
    assert {one.reason.type: one.record for one in dead.letters_of(file) if one.record} == {
        "mapper_parsing_exception": bad
    }
    assert dict(dead.summarize(file).reasons) == {"mapper_parsing_exception": 1, "bad_id": 1}
    assert dead.waiting(tmp_path) == [], "the watch does not take it again"

    fake.rule = lambda _, __: None  # a person has put the reason right
    assert replay(replayer, tmp_path) == (1, 1)
    assert list(fake.documents.values()) == [good, bad]


def test_the_relays_letters_are_replayed_when_a_person_says_so(
    replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path
) -> None:
    import orjson

    document = record()
    reason = Reason("mapper_parsing_exception", "no")
    DeadLetters(tmp_path, "relay").keep([Refused(reason, "t", START, None, orjson.dumps(document))])
    assert dead.waiting(tmp_path) == []
    assert replay(replayer, tmp_path) == (1, 0)
    assert list(fake.documents.values()) == [document]


@pytest.mark.parametrize("fault", [Fault(), CUT, Fault(401, b""), Fault(429, b"{}"), Fault(200, b"<html>")])
def test_an_outage_keeps_everything_and_refuses_nothing(
    replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path, fault: Fault
) -> None:
    put_chunk(tmp_path, record(), {"no": "id"})
    put_chunk(tmp_path, record(), name="audit_0_opensearch.0_0x2.flb")
    fake.outage = fault
    with pytest.raises(NotFinished, match="2 files could not be replayed yet and are kept"):
        replay(replayer, tmp_path)
    assert dead.Kind.REFUSED not in kinds(tmp_path)
    assert sum(dead.summarize(file).count for file in dead.files(tmp_path)) == 3
    fake.outage = None
    assert replay(replayer, tmp_path) == (2, 1)


def test_a_missing_month_in_one_file_holds_up_no_other(
    replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path
) -> None:
    missing = {"status": 404, "error": {"type": "index_not_found_exception", "reason": "no such index"}}
    fake.rule = lambda _, document: missing if document["message"] == "early" else None
    put_chunk(tmp_path, record(message="early"), record(), age=100)
    put_chunk(tmp_path, record(), name="audit_0_opensearch.0_0x2.flb")
    with pytest.raises(NotFinished, match="1 files"):
        replay(replayer, tmp_path)
    assert len(fake.documents) == 2
    fake.rule = lambda _, __: None
    assert replay(replayer, tmp_path) == (2, 0)


def test_a_file_whose_refused_events_can_not_be_kept_holds_up_no_other_and_is_tried_again(
    replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    put_chunk(tmp_path, {"no": "id"}, age=100)
    put_chunk(tmp_path, good := record(), name="audit_0_opensearch.0_0x2.flb")
    with monkeypatch.context() as patched:
        patched.setattr(DeadLetters, "_append", no_room)
        for _ in range(2):
            with pytest.raises(NotFinished, match=r"1 files could not be replayed yet .*dead_letters: .*No space"):
                replay(replayer, tmp_path, patience=0.05)  # a second round
        assert list(fake.documents.values()) == [good]
        [file] = dead.files(tmp_path)
        assert (file.kind, dead.summarize(file).count) == (dead.Kind.REPLAYING, 1)
    assert replay(replayer, tmp_path) == (0, 1)


def test_a_file_that_is_still_written_is_not_taken(replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path) -> None:
    path = put_chunk(tmp_path, record(), age=0)
    assert dead.waiting(tmp_path) == []
    result = replayer.round(dead.files(tmp_path))
    assert (len(result.left), fake.requests, path.exists()) == (1, [], True)


def test_a_file_that_grew_while_it_was_replayed_is_read_again(fake: FakeOpenSearch, tmp_path: Path) -> None:
    """Fluent Bit appends where a chunk has the same address as an earlier one."""
    first, second = record(), record()
    put_chunk(tmp_path, first)

    class Growing:
        def __init__(self) -> None:
            self.inner = open_transport(fake.settings)
            self.grown = False

        def post(self, path: str, body: bytes):  # type: ignore[no-untyped-def]
            answer = self.inner.post(path, body)
            if not self.grown:
                self.grown = True
                [claimed] = [file.path for file in dead.files(tmp_path)]
                claimed.write_bytes(chunk_file(with_metadata(first) + with_metadata(second)))
                os.utime(claimed, (time() - 5, time() - 5))
            return answer

    assert replay(Replayer(Growing()), tmp_path, patience=5.0) == (2, 0)
    assert list(fake.documents.values()) == [first, second]


def test_what_a_killed_replayer_had_taken_is_replayed_by_the_next(
    replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path
) -> None:
    put_chunk(tmp_path, record())
    [file] = dead.files(tmp_path)
    assert dead.claim(file) is not None
    assert kinds(tmp_path) == [dead.Kind.REPLAYING]
    assert len(dead.waiting(tmp_path)) == 1
    assert replay(replayer, tmp_path) == (1, 0)


def test_bytes_that_are_no_chunk_are_kept(replayer: Replayer, tmp_path: Path) -> None:
    path = put_chunk(tmp_path)
    path.write_bytes(b"not a chunk")
    os.utime(path, (time() - 60, time() - 60))
    assert replay(replayer, tmp_path) == (0, 1)
    [file] = dead.files(tmp_path)
    [letter] = dead.letters_of(file)
    assert (letter.reason.type, letter.packed) == ("unreadable", b"not a chunk")


def test_two_replayers_do_not_work_in_one_folder(
    replayer: Replayer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_chunk(tmp_path, record())
    with dead.sole_replayer(tmp_path), pytest.raises(NotFinished, match="another replayer"):
        replay(replayer, tmp_path)
    assert "(wait for it): 'another replayer is at work" in caplog.text
    assert "make room" not in caplog.text
    assert replay(replayer, tmp_path) == (1, 0)


def test_watching_heals_an_outage_by_itself_and_stops_when_told(
    replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path
) -> None:
    folder, stop = tmp_path / "not-there-yet", threading.Event()
    thread = threading.Thread(target=replayer.watch, args=([folder], stop), kwargs={"interval": 0.05})
    thread.start()
    try:
        fake.outage = Fault()
        put_chunk(folder, record())
        until(lambda: fake.requests)
        fake.outage = None
        until(lambda: len(fake.documents) == 1)
        put_chunk(folder, record())  # the same name again
        until(lambda: len(fake.documents) == 2)
        until(lambda: dead.files(folder) == [])
    finally:
        stop.set()
        thread.join(120)
    assert not thread.is_alive()


@pytest.mark.parametrize("obstacle", ["replaying", "replaying/.lock", "refused"])
def test_watching_goes_on_where_a_folder_or_a_file_can_not_be_made(
    replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path, caplog: pytest.LogCaptureFixture, obstacle: str
) -> None:
    """As on a full disk, which is full for a while: without a watch Fluent Bit would overwrite what it gave up."""
    folder, stop = tmp_path / "rejected", threading.Event()
    folder.mkdir()
    thread = threading.Thread(target=replayer.watch, args=([folder], stop), kwargs={"interval": 0.05})
    thread.start()
    try:
        in_the_way = folder / obstacle
        until((folder / "refused").is_dir)
        if obstacle == "replaying/.lock":
            in_the_way.mkdir()
        else:
            in_the_way.rmdir()
            in_the_way.touch()
        put_chunk(folder, {"no": "id"}, record())
        until(lambda: "events wait, nothing is lost: dead_letters" in caplog.text)
        in_the_way.rmdir() if in_the_way.is_dir() else in_the_way.unlink()
        until(lambda: kinds(folder) == [dead.Kind.REFUSED])
        assert len(fake.documents) == 1
        assert thread.is_alive()
    finally:
        stop.set()
        thread.join(120)


def test_a_folder_that_can_not_be_made_is_said_at_the_start_of_a_watch(replayer: Replayer, tmp_path: Path) -> None:
    (tmp_path / "replaying").touch()
    with pytest.raises(SettingsError, match=r"dead letters can't be kept in .*replaying"):
        replayer.watch([tmp_path], threading.Event(), interval=0.05)


def test_a_real_file_of_fluent_bit_is_replayed(replayer: Replayer, fake: FakeOpenSearch, tmp_path: Path) -> None:
    path = tmp_path / REAL.name
    path.write_bytes(REAL.read_bytes())
    os.utime(path, (time() - 60, time() - 60))
    assert replay(replayer, tmp_path) == (5, 2)
    [file] = dead.files(tmp_path)
    assert dict(dead.summarize(file).reasons) == {"bad_id": 1, "disagreeing_time": 1}


def test_a_file_that_goes_while_it_is_looked_at_is_no_error(replayer: Replayer, tmp_path: Path) -> None:
    path = put_chunk(tmp_path, record())
    [file] = dead.files(tmp_path)
    path.unlink()
    assert dead.summarize(file).count == 0
    assert replayer.round([file]).left == []


def test_only_files_of_the_folders_are_found_by_name(tmp_path: Path) -> None:
    path = put_chunk(tmp_path / "dead", record())
    assert dead.find(path.name, [tmp_path / "dead"]).path == path
    assert dead.find(str(path), [tmp_path / "dead"]).path == path
    with pytest.raises(UsageError, match="no file of dead letters"):
        dead.find("../../etc/passwd", [tmp_path / "dead"])


def test_the_rest_after_a_round_is_as_long_as_what_was_tried_in_vain() -> None:
    """Once a round of four minutes, all of it stored but one file, was followed by four minutes of waiting."""
    assert rest_after(0.0, 0, None) == 0
    assert rest_after(1.5, 1, None) == 1.5
    assert rest_after(300.0, 9, None) == 300.0
    assert 0 < rest_after(0.0, 9, None) <= 10
    assert rest_after(0.0, 1, 20.0) == 20.0
