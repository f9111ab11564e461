"""Reading all that the spool holds, beside those who write and send."""

import logging
from pathlib import Path

import msgpack
import pytest

from auditpipe.emitters import AuditLog
from auditpipe.emitters.adopter import Adopter
from auditpipe.emitters.drain import drain
from auditpipe.emitters.forward import ForwardSender, entry
from auditpipe.emitters.options import SpoolOptions
from auditpipe.emitters.spool import archive, frames, writer
from auditpipe.emitters.spool import folder as folders
from auditpipe.emitters.spool.archive import Damaged, Entry
from auditpipe.emitters.spool.backlog import Backlog, Position, segment_path
from auditpipe.emitters.spool.writer import Writer
from auditpipe.schemas import identity
from auditpipe.schemas.errors import SpoolError
from tests.emitters.peer import Peer
from tests.emitters.test_delivery import log_to, unused_address
from tests.waiting import until

MOMENT = identity.parse_time("2026-10-10T10:00:00.000000001Z")


def event(sequence: int, stream: str = "s1", **more: object) -> bytes:
    return entry(MOMENT, {"audit": {"stream": stream, "sequence": sequence}, **more})


def folder_of(spool: Path, name: str, payloads: list[bytes], acknowledged: int = 0) -> Path:
    """A folder as a dead process leaves it, its first `acknowledged` events acknowledged."""
    path = spool / name
    path.mkdir()
    appender = Writer(path, fsync="off", limit_bytes=10**9)
    for payload in payloads:
        appender.append(payload)
    appender.close()
    backlog = Backlog(path)
    while acknowledged and (batch := backlog.read(None, 10**6, 1)):
        backlog.acknowledge(batch.end)
        acknowledged -= 1
    return path


def owned_by_nobody(spool: Path) -> set[Path]:
    found = set()
    for orphan in folders.orphans(spool):
        with orphan:
            found.add(orphan.path)
    return found


def test_every_event_is_there_with_its_place_whoever_owns_it(tmp_path: Path) -> None:
    """Living, dead, waiting, acknowledged; and no lock, mark or byte is touched."""
    with Peer() as peer, log_to(peer, tmp_path) as living:
        kept = living.emit("user.login_succeeded")
        assert living.flush(120)
    with log_to(unused_address(), tmp_path) as living:
        waiting = living.emit("user.user.exported")
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        found = {e.document["event"]["id"]: e for e in archive.entries(tmp_path)}
        assert kept is not None
        assert waiting is not None
        assert found[kept.id].document == kept.document()
        assert found[kept.id].acknowledged
        assert found[kept.id].time == identity.parse_time(kept.timestamp)
        assert not found[waiting.id].acknowledged
        assert found[waiting.id].folder != found[kept.id].folder
        assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        until(lambda: owned_by_nobody(tmp_path) == {found[kept.id].folder})


def test_numbers_held_are_counted_once_wherever_they_are(tmp_path: Path) -> None:
    folder_of(tmp_path, "a", [event(n) for n in (1, 2, 3, 5)], acknowledged=2)
    folder_of(tmp_path, "b", [event(n) for n in (5, 6, 3)] + [event(4, "s2"), event(7, "s2", message="s1")])
    assert archive.held(tmp_path, "s1", 1, 100) == 5  # 1, 2, 3, 5, 6
    assert archive.held(tmp_path, "s1", 2, 5) == 3
    assert archive.held(tmp_path, "s1", 4, 4) == 0
    assert archive.held(tmp_path, "s2", 1, 10**15) == 2
    assert archive.held(tmp_path, "unknown", 1, 10) == 0
    assert archive.held(tmp_path / "nowhere", "s1", 1, 10) == 0


def test_a_spool_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="can't be read"):
        archive.held(tmp_path / "file", "s1", 1, 10)
    (segment_path(tmp_path / "w", 1)).mkdir(parents=True)
    with pytest.raises(SpoolError, match=r"00000001\.seg: can't be read"):
        archive.held(tmp_path, "s1", 1, 10)


def test_damage_is_told_and_hides_nothing_else(tmp_path: Path) -> None:
    path = folder_of(tmp_path, "a", [event(1), event(2), event(3)], acknowledged=1)
    size = len(event(1)) + frames.HEADER.size
    data = bytearray(segment_path(path, 1).read_bytes())
    data[size + 20] ^= 1
    foreign = frames.encode(b"no entry") + frames.encode(event(9)[:3] + b"\xff" * 8 + event(9)[11:])
    segment_path(path, 1).write_bytes(bytes(data) + foreign + frames.encode(event(4))[:20])
    parts = list(archive.contents(path))
    whole = [part for part in parts if isinstance(part, Entry)]
    assert [(e.offset, e.acknowledged, e.document["audit"]["sequence"]) for e in whole] == [
        (0, True, 1),
        (2 * size, False, 3),
    ]
    damage = [part for part in parts if isinstance(part, Damaged)]
    assert damage[0][1:] == (size, size, False)
    assert damage[-1] == Damaged(1, len(data) + len(foreign), 20, cut_short=True)
    assert sum(d.size for d in damage if not d.cut_short) == size + len(foreign)
    assert archive.held(tmp_path, "s1", 1, 10) == 2


def test_a_frame_that_is_no_event_is_never_taken_for_one(tmp_path: Path) -> None:
    head = event(1)[:11]
    for number, body in enumerate((b"\xc1", msgpack.packb([1]), msgpack.packb({1: 2}), msgpack.packb("s1"))):
        folder_of(tmp_path, str(number), [head + body])
    for found in archive.entries(tmp_path):
        with pytest.raises(SpoolError, match="is no event"):
            _ = found.document
    assert archive.held(tmp_path, "s1", 0, 10) == 0


def test_only_what_waits_can_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 100)
    path = folder_of(tmp_path, "a", [event(n) for n in range(1, 20)], acknowledged=7)
    waiting = [e for e in archive.contents(path, only_waiting=True) if isinstance(e, Entry)]
    assert [e.document["audit"]["sequence"] for e in waiting] == list(range(8, 20))
    assert not any(e.acknowledged for e in waiting)
    assert len([e for e in archive.contents(path) if isinstance(e, Entry) and e.acknowledged]) == 7


def test_what_is_removed_meanwhile_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 100)
    path = folder_of(tmp_path, "a", [event(n) for n in range(1, 9)])
    found = archive.entries(tmp_path)
    first = next(found)
    for number in range(2, 20):
        segment_path(path, number).unlink(missing_ok=True)
    rest = list(found)
    assert {e.segment for e in (first, *rest)} == {1}


def test_an_audit_log_goes_on_beside_a_reader(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A thousand events while the spool is read over and over: never a torn view, never a lock in the way."""
    with caplog.at_level(logging.WARNING), Peer() as peer, log_to(peer, tmp_path) as audit:
        for round_ in range(10):
            for _ in range(100):
                audit.emit("user.login_succeeded")
            numbers = [e.document["audit"]["sequence"] for e in archive.entries(tmp_path)]
            assert numbers == list(range(1, 100 * (round_ + 1) + 1))
        assert audit.flush(120)
    assert "damaged" not in caplog.text


def test_a_mark_decides_what_is_acknowledged_to_the_byte(tmp_path: Path) -> None:
    path = folder_of(tmp_path, "a", [event(1), event(2)])
    size = len(event(1)) + frames.HEADER.size
    for mark, expected in ((0, [False, False]), (size - 1, [True, False]), (size, [True, False]), (9999, [True, True])):
        Backlog(path).acknowledge(Position(1, mark))
        assert [e.acknowledged for e in archive.contents(path) if isinstance(e, Entry)] == expected


def test_the_archive_of_a_process_is_what_it_emitted(tmp_path: Path) -> None:
    with AuditLog("s", forward=unused_address(), spool_dir=tmp_path, exit_timeout=0) as audit:
        event_ = audit.emit("user.login_succeeded")
        assert event_ is not None
        assert archive.held(tmp_path, event_.audit.stream, 1, 1) == 1
    assert archive.held(tmp_path, event_.audit.stream, 1, 5) == 2  # and the end of the stream


def test_what_waits_longest_is_sent_first_and_what_does_not_wait_is_left_alone(tmp_path: Path) -> None:
    waits = [folder_of(tmp_path, name, [event(number, name) for number in (1, 2)]) for name in ("a", "c", "d")]
    folder_of(tmp_path, "b", [event(1, "b")], acknowledged=1)
    taken = []
    for orphan in folders.orphans(tmp_path, waiting=True):
        with orphan:
            taken.append(orphan.path)
    assert taken == waits
    with Peer() as peer:
        adopter = Adopter(tmp_path, lambda: ForwardSender("127.0.0.1", peer.port, timeout=5), SpoolOptions())
        assert drain(adopter, 20).left == []
        assert [record["audit"]["stream"] for record in peer.records] == ["a", "a", "c", "c", "d", "d"]
