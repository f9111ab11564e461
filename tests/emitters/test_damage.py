"""Damage anywhere in a folder: everything else arrives, and the damage is counted and told."""

import logging
import random
from pathlib import Path

import pytest

from auditpipe.emitters.spool import archive, frames, writer
from auditpipe.emitters.spool.archive import Entry
from auditpipe.emitters.spool.backlog import Backlog, Position, segment_path, segments
from auditpipe.emitters.spool.summary import summaries
from tests.emitters.peer import Peer
from tests.emitters.test_archive import event, folder_of
from tests.emitters.test_delivery import log_to, sequences, unused_address
from tests.waiting import until


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of twelve segments of four events each, as a dead process leaves it."""
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 3 * (len(event(1)) + frames.HEADER.size) + 1)
    path = folder_of(tmp_path, "a", [event(n) for n in range(1, 49)])
    monkeypatch.undo()
    assert segments(path) == list(range(1, 13))
    return path


def places(path: Path) -> dict[int, tuple[int, int]]:
    """By sequence number: segment and offset."""
    found = (part for part in archive.contents(path) if isinstance(part, Entry))
    return {entry.document["audit"]["sequence"]: (entry.segment, entry.offset) for entry in found}


def flip(path: Path, segment: int, offset: int) -> None:
    data = bytearray(segment_path(path, segment).read_bytes())
    data[offset] ^= 1
    segment_path(path, segment).write_bytes(data)


def arrives(spool: Path, expected: set[int]) -> int:
    """Whether exactly these numbers arrive; returns how many bytes are counted as damaged."""
    with Peer() as peer, log_to(peer, spool) as audit:
        assert audit.drain(120)
        assert set(sequences(peer)) == expected
        return audit.stats().damaged_bytes


def test_what_stands_between_and_behind_damage_arrives(left: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A flipped bit in the head, in the length and in the middle of an event; a segment that ends in the middle of one;
    an empty one; one that is missing; one of zeros.
    """
    where = places(left)
    size = len(event(1)) + frames.HEADER.size
    for number, inside in ((2, 0), (5, 5), (11, 40)):
        flip(left, where[number][0], where[number][1] + inside)
    cut = segment_path(left, 4)  # 13 to 16
    cut.write_bytes(cut.read_bytes()[: 2 * size + 30])
    segment_path(left, 6).write_bytes(b"")  # 21 to 24
    segment_path(left, 8).unlink()  # 29 to 32
    segment_path(left, 10).write_bytes(bytes(4 * size))  # 37 to 40
    lost = {2, 5, 11, 15, 16, *range(21, 25), *range(29, 33), *range(37, 41)}
    [summary] = summaries(left.parent)
    assert summary.waiting.events == 48 - len(lost)
    assert (summary.damaged_bytes, summary.cut_short_bytes) == (3 * size + 4 * size, 30)
    with caplog.at_level(logging.ERROR):
        assert arrives(left.parent, set(range(1, 49)) - lost) == 3 * size + 4 * size + 30
    assert caplog.text.count("are no whole event and are skipped") == 5


@pytest.mark.parametrize("seed", range(4))
def test_wherever_bits_flip_only_the_events_that_they_hit_are_missing(left: Path, seed: int) -> None:
    dice = random.Random(seed)
    where = places(left)
    victims = set(dice.sample(sorted(where), 12))
    for number in victims:
        segment, offset = where[number]
        flip(left, segment, offset + dice.randrange(len(event(number)) + frames.HEADER.size))
    assert arrives(left.parent, set(where) - victims) > 0


def test_damage_in_a_living_folder_holds_up_nothing(tmp_path: Path) -> None:
    """What has left memory is read from disk: after a bit flipped there, the rest goes on, and flush ends."""
    address = unused_address()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "RECENT_BYTES", 2_000)
        with log_to(address, tmp_path) as audit:
            for _ in range(30):
                audit.emit("user.login_succeeded")
            entries = [entry for entry in archive.entries(tmp_path) if not entry.acknowledged]
            flip(entries[3].folder, entries[3].segment, entries[3].offset + 50)
            with Peer(port=int(address.rpartition(":")[2])) as peer:
                until(lambda: set(sequences(peer)) == set(range(1, 31)) - {4})
                assert audit.flush(120)
                stats = audit.stats()
                assert stats.damaged_bytes == len(entries[3].payload) + frames.HEADER.size
                assert (stats.spooled, stats.acknowledged, stats.waiting_bytes) == (0, 29, 0)


def test_damage_is_counted_once_however_often_sending_fails(left: Path) -> None:
    flip(left, 1, 20)
    with log_to(unused_address(), left.parent) as audit:
        assert not audit.drain(1.5)
        assert audit.stats().damaged_bytes == len(event(1)) + frames.HEADER.size
    assert Backlog(left).acknowledged == Position(1, len(event(1)) + frames.HEADER.size)


def test_a_mark_beyond_the_end_hides_no_other_segment(left: Path) -> None:
    """As when a segment was cut after its events were acknowledged."""
    Backlog(left).acknowledge(Position(3, 10**6))
    assert Backlog(left).waiting() == sum(segment_path(left, number).stat().st_size for number in range(4, 13))
    assert arrives(left.parent, set(range(13, 49))) == 0
