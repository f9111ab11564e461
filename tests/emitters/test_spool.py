"""The spool: frames, segments, folders."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.emitters.spool import folder as folders
from auditpipe.emitters.spool import frames, writer
from auditpipe.emitters.spool.backlog import Backlog, Position, segment_path
from auditpipe.emitters.spool.writer import Writer
from auditpipe.schemas.errors import SpoolError, SpoolFull

payloads = st.lists(st.binary(max_size=60), min_size=1, max_size=8)


@given(payloads)
def test_frames_come_back_as_they_went(given_: list[bytes]) -> None:
    parts = list(frames.decode(b"".join(map(frames.encode, given_))))
    assert [part.payload for part in parts if isinstance(part, frames.Frame)] == given_
    assert not [part for part in parts if isinstance(part, frames.Damage)]


@given(payloads, st.data())
def test_a_torn_tail_costs_only_the_torn_frame(given_: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(map(frames.encode, given_))
    last = len(frames.encode(given_[-1]))
    cut = data.draw(st.integers(1, last - 1))
    *good, damage = frames.decode(whole[:-cut])
    assert [part.payload for part in good if isinstance(part, frames.Frame)] == given_[:-1]
    assert isinstance(damage, frames.Damage)
    assert damage.torn


@given(payloads, st.data())
def test_a_flipped_bit_costs_only_its_own_frame(given_: list[bytes], data: st.DataObject) -> None:
    encoded = [frames.encode(payload) for payload in given_]
    victim = data.draw(st.integers(0, len(encoded) - 1))
    bit = data.draw(st.integers(0, 8 * len(encoded[victim]) - 1))
    broken = bytearray(encoded[victim])
    broken[bit // 8] ^= 1 << (bit % 8)
    parts = list(frames.decode(b"".join([*encoded[:victim], bytes(broken), *encoded[victim + 1 :]])))
    good = [part.payload for part in parts if isinstance(part, frames.Frame)]
    assert good == given_[:victim] + given_[victim + 1 :]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_to_their_end(data: bytes) -> None:
    end = 0
    for part in frames.decode(data):
        start = part.start if isinstance(part, frames.Damage) else end
        assert start == end
        end = part.end
    assert end == len(data)


def make(path: Path, **options: object) -> Writer:
    path.mkdir(exist_ok=True)
    return Writer(path, **({"fsync": "off", "limit_bytes": 10**9} | options))  # type: ignore[arg-type]


def read_all(backlog: Backlog, limit: Position | None = None, **sizes: int) -> list[bytes]:
    found = []
    while batch := backlog.read(limit, sizes.get("max_bytes", 1000), sizes.get("max_count", 3)):
        found.append(batch.entries)
        backlog.acknowledge(batch.end)
    return found


def test_what_was_appended_is_read_in_order_over_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 50)
    appender = make(tmp_path / "w")
    given_ = [b"%03d" % number for number in range(40)]
    for payload in given_:
        appender.append(payload)
    assert len(list((tmp_path / "w").glob("*.seg"))) > 5
    backlog = Backlog(tmp_path / "w")
    assert backlog.waiting() == 40 * (3 + frames.HEADER.size)
    assert b"".join(read_all(backlog, appender.position)) == b"".join(given_)
    assert backlog.waiting(appender.position) == 0
    appender.append(b"late")
    assert read_all(Backlog(tmp_path / "w")) == [b"late"]  # the mark was kept


def test_a_living_writer_s_unfinished_frame_is_not_read(tmp_path: Path) -> None:
    appender = make(tmp_path / "w")
    appender.append(b"a")
    limit = appender.position
    appender.append(b"b")
    assert read_all(Backlog(tmp_path / "w"), limit) == [b"a"]


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=30), st.integers(1, 200), st.integers(1, 5), st.integers(1, 4)
)
def test_from_memory_or_from_disk_the_frames_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, given_: list[bytes], room: int, count: int, every: int
) -> None:
    """Whatever has left memory, wherever a segment ends, and however often a delivery fails and is read again."""
    folder = tmp_path_factory.mktemp("w")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "SEGMENT_BYTES", 100)
        patch.setattr(writer, "RECENT_BYTES", room)
        appender, backlog, found = make(folder), Backlog(folder), []
        for number, payload in enumerate(given_):
            appender.append(payload)
            if number % every == 0:
                batch = appender.take(backlog.acknowledged, 80, count) or backlog.read(appender.position, 80, count)
                if batch is not None and number % 3:  # every third delivery fails
                    found.append(batch.entries)
                    backlog.acknowledge(batch.end)
        while batch := appender.take(backlog.acknowledged, 80, count) or backlog.read(appender.position, 80, count):
            found.append(batch.entries)
            backlog.acknowledge(batch.end)
    assert b"".join(found) == b"".join(given_)


def test_damage_is_skipped_counted_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    appender = make(tmp_path / "w")
    for payload in (b"one", b"two", b"three"):
        appender.append(payload)
    path = segment_path(tmp_path / "w", 1)
    data = bytearray(path.read_bytes())
    data[15 + 13] ^= 1  # in the second frame
    path.write_bytes(data + frames.encode(b"four")[:-1])
    backlog = Backlog(tmp_path / "w")
    assert b"".join(read_all(backlog)) == b"onethree"
    assert backlog.damaged_bytes == 15 + 15
    assert "no whole event" in caplog.text


def test_a_damaged_mark_sends_everything_again(tmp_path: Path) -> None:
    appender = make(tmp_path / "w")
    appender.append(b"one")
    backlog = Backlog(tmp_path / "w")
    read_all(backlog)
    mark = tmp_path / "w" / "acknowledged"
    for damaged in (b"", b"x" * 20, mark.read_bytes()[:-1] + b"\x00"):
        mark.write_bytes(damaged)
        assert read_all(Backlog(tmp_path / "w"))[:1] == [b"one"]


def test_at_its_limit_the_spool_refuses_and_takes_again_once_acknowledged(tmp_path: Path) -> None:
    appender = make(tmp_path / "w", limit_bytes=100)
    for _ in range(6):
        appender.append(b"1234")
    with pytest.raises(SpoolFull, match=r"the limit is 100; .*SpoolOptions\(limit_bytes=\.\.\.\)"):
        appender.append(b"1234")
    backlog = Backlog(tmp_path / "w")
    batch = backlog.read(appender.position, 1000, 100)
    assert batch is not None
    assert batch.count == 6
    appender.acknowledged(batch)
    appender.append(b"1234")


@pytest.mark.parametrize("written", [5, OSError(errno.EIO, "Input/output error")])
def test_behind_a_torn_frame_that_stays_nothing_is_appended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int | OSError
) -> None:
    """A copy-on-write disk that is full, or a network's, takes a part and refuses to cut it off or to make a file."""
    appender, backlog = make(tmp_path / "w"), Backlog(tmp_path / "w")
    appender.append(b"one")

    def tears(descriptor: int, data: bytes) -> int:
        write(descriptor, data[:5])
        if isinstance(written, OSError):
            raise written
        return written

    write, error = os.write, OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as ill:
        ill.setattr(os, "write", tears)
        ill.setattr(os, "ftruncate", raising(error))
        with pytest.raises(SpoolError):
            appender.append(b"torn")
        ill.setattr(os, "open", raising(error))
        with pytest.raises(SpoolError, match="can't be made"):
            appender.append(b"refused")
    for payload in (b"two", b"three"):
        appender.append(payload)
    assert appender.waiting_count == 3
    assert b"".join(read_all(backlog, appender.position)) == b"onetwothree"
    assert read_all(Backlog(tmp_path / "w"), appender.position) == []


def raising(error: OSError) -> Callable[..., Any]:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    return fails


def test_a_full_disk_leaves_no_torn_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    appender = make(tmp_path / "w")
    appender.append(b"one")
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:5]))
    with pytest.raises(SpoolError, match="no space: wrote 5 of"):
        appender.append(b"two")
    monkeypatch.setattr(os, "write", real)
    appender.append(b"three")
    assert read_all(Backlog(tmp_path / "w")) == [b"onethree"]


@pytest.mark.parametrize("fsync", ["off", "interval", "always"])
def test_closing_syncs_and_refuses_more(tmp_path: Path, fsync: str) -> None:
    appender = make(tmp_path / "w", fsync=fsync)
    appender.append(b"one")
    appender.close()
    appender.close()
    with pytest.raises(SpoolError, match="closed"):
        appender.append(b"two")


def test_a_folder_is_owned_and_adopted_when_its_owner_is_gone(tmp_path: Path) -> None:
    mine = folders.create(tmp_path, "a")
    assert list(folders.orphans(tmp_path)) == []
    mine.release()
    (orphan,) = folders.orphans(tmp_path)
    assert orphan.path == tmp_path / "a"
    assert list(folders.orphans(tmp_path)) == []
    orphan.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_spool_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="AUDITPIPE_SPOOL_DIR"):
        folders.create(tmp_path / "file", "a")
    assert list(folders.orphans(tmp_path / "absent")) == []


def test_acknowledged_segments_stay_for_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 20)
    appender = make(tmp_path / "w")
    for _ in range(5):
        appender.append(b"0123456789")
    backlog = Backlog(tmp_path / "w")
    read_all(backlog, appender.position)
    backlog.discard(3600, 10**6, active=appender.position.segment)
    assert len(list((tmp_path / "w").glob("*.seg"))) == 5
    backlog.discard(3600, 60, active=appender.position.segment)
    assert len(list((tmp_path / "w").glob("*.seg"))) == 3
    backlog.discard(-1, 10**6, active=appender.position.segment)
    assert len(list((tmp_path / "w").glob("*.seg"))) == 1
    backlog.discard(-1, 0, active=None)
    assert list((tmp_path / "w").glob("*.seg")) == []


def test_what_was_sent_from_disk_is_not_sent_in_the_place_of_what_comes_after_it(tmp_path: Path) -> None:
    """An emptied segment gives its places out again: what memory still holds of them is of the past."""
    appender = make(tmp_path / "w")
    appender.append(b"old 1")
    appender.append(b"old 2")
    end = appender.position
    appender.start_over(lambda: end, lambda _: None)
    appender.append(b"new 1")
    appender.append(b"new 2")
    second = Position(1, frames.HEADER.size + len(b"new 1"))
    batch = appender.take(second, 1000, 10)
    assert batch is None or batch.entries == b"new 2"
    backlog = Backlog(tmp_path / "w")
    backlog.acknowledge(Position(1, 0))
    assert read_all(backlog) == [b"new 1new 2"]
