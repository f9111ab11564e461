"""Rejected chunks leave Fluent Bit's folder at once: names come again there, and take the older file with them."""

import threading
from collections.abc import Collection
from pathlib import Path

import pytest

from auditpipe.pipeline.deadletter import collect
from auditpipe.pipeline.deadletter import folder as dead
from auditpipe.pipeline.deadletter.replay import Replayer
from auditpipe.pipeline.relay.transport import Answer
from auditpipe.schemas.errors import SpoolError
from tests.pipeline.deadletter.test_replay import put_chunk
from tests.pipeline.relay.wire import record
from tests.waiting import until


class HangingTransport:
    """A cluster that takes requests and does not answer, as a suspended node does."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.over = threading.Event()

    def post(self, path: str, body: bytes) -> Answer:
        self.asked.set()
        self.over.wait(60)
        return Answer(503, None)


def in_the_way(folder: Path) -> list[dead.DeadFile]:
    return [file for file in dead.files(folder) if file.kind is dead.Kind.CHUNK]


def test_a_name_that_comes_again_takes_nothing_away(tmp_path: Path) -> None:
    for _ in range(3):
        put_chunk(tmp_path, record())
        assert collect.collect([tmp_path]) == []
        assert in_the_way(tmp_path) == []
    assert [file.kind for file in dead.waiting(tmp_path)] == [dead.Kind.REPLAYING] * 3


def test_a_chunk_that_may_not_be_whole_stays(tmp_path: Path) -> None:
    put_chunk(tmp_path, record(), age=0)
    assert collect.collect([tmp_path]) == []
    assert len(in_the_way(tmp_path)) == 1


def test_one_whose_time_lies_ahead_is_whole(tmp_path: Path) -> None:
    """The clock was set back since it was written: it must not wait until then where its name may come again."""
    put_chunk(tmp_path, record(), age=-3600)
    assert len(dead.waiting(tmp_path)) == 1
    assert collect.collect([tmp_path]) == []
    assert in_the_way(tmp_path) == []
    put_chunk(tmp_path, record(), age=-1)
    assert [file.kind for file in dead.waiting(tmp_path)] == [dead.Kind.REPLAYING], "it may be written just now"


def test_one_that_can_not_be_moved_holds_up_no_other(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        put_chunk(folder, record())
    (folders[0] / "replaying").touch()
    (folders[1] / "refused").touch()
    told = "; ".join(map(str, collect.collect(folders)))
    assert ("/a/replaying" in told, "/b/refused" in told, "/c/" in told) == (True, True, False)
    assert [len(list(folder.glob("*.flb"))) for folder in folders] == [1, 0, 0]


def test_a_collector_that_ends_ends_the_watch_whatever_that_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the process would look alive, and chunks be overwritten."""
    monkeypatch.setattr(collect, "COLLECT_SECONDS", 0.02)
    transport, files = HangingTransport(), dead.files
    put_chunk(tmp_path, record())

    def broken(folder: Path, kinds: Collection[dead.Kind]) -> list[dead.DeadFile]:
        if transport.asked.is_set():
            raise RuntimeError("a bug")
        return files(folder, kinds)

    monkeypatch.setattr(dead, "files", broken)
    try:
        with pytest.raises(RuntimeError, match="a bug"):
            Replayer(transport).watch([tmp_path], threading.Event(), interval=0.05)
    finally:
        transport.over.set()


def test_they_are_taken_away_while_the_replay_waits_for_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "COLLECT_SECONDS", 0.02)
    transport, stop = HangingTransport(), threading.Event()
    put_chunk(tmp_path, record())
    thread = threading.Thread(target=Replayer(transport).watch, args=([tmp_path], stop), kwargs={"interval": 0.05})
    thread.start()
    try:
        assert transport.asked.wait(120)
        put_chunk(tmp_path, record())
        until(lambda: not in_the_way(tmp_path))
        assert len(dead.waiting(tmp_path)) == 2
    finally:
        stop.set()
        transport.over.set()
        thread.join(120)
    assert not thread.is_alive()


def test_what_can_not_be_moved_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(collect, "COLLECT_SECONDS", 0.02)
    put_chunk(tmp_path, record())
    claim, tries, stop = dead.claim, iter([True, True, False]), threading.Event()

    def refusing(file: dead.DeadFile) -> dead.DeadFile | None:
        if next(tries, False):
            raise SpoolError("the disk is read-only")
        return claim(file)

    monkeypatch.setattr(dead, "claim", refusing)
    collector = threading.Thread(target=collect.collect_forever, args=([tmp_path], stop))
    collector.start()
    until(lambda: not in_the_way(tmp_path))
    stop.set()
    collector.join(120)
    assert [line.message for line in caplog.records] == [
        "a rejected chunk stays where Fluent Bit may overwrite it: the disk is read-only"
    ]
