"""The spool's reader on any bytes and on damaged files: it ends, raises nothing, and passes over no whole frame."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditpipe.emitters.spool import archive, backlog, frames
from auditpipe.emitters.spool.archive import Entry
from auditpipe.emitters.spool.backlog import Backlog, Position, segment_path, segments
from auditpipe.emitters.spool.summary import summaries
from tests.emitters.test_archive import event

LARGEST = 64  # of a payload, in these tests: what is beyond what was read at once is met all the time
small = st.binary(max_size=LARGEST)

#: What stands in a segment: good frames, what looks like the beginning of one, headers that lie, and anything.
pieces = st.one_of(
    small.map(frames.encode),
    st.binary(max_size=200),
    st.just(frames.MAGIC),
    small.flatmap(lambda payload: st.integers(0, len(payload) + 11).map(lambda n: frames.encode(payload)[:n])),
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)).map(lambda n: frames.HEADER.pack(frames.MAGIC, *n)),
    st.integers(1, 300).map(bytes),
    st.integers(1, 80).map(lambda n: event(n)).map(frames.encode),
)
segment_bytes = st.lists(pieces, max_size=12).map(b"".join)
marks = st.one_of(st.binary(max_size=30), st.tuples(st.integers(0, 5), st.integers(0, 400)), st.none())


@pytest.fixture(autouse=True)
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_PAYLOAD", 200)
    monkeypatch.setattr(backlog, "_LARGEST", 200 + frames.HEADER.size)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def whole_frames(data: bytes) -> list[bytes]:
    """The reader's law, the slow way: at each offset a whole frame, or one byte of damage."""
    found, offset = [], 0
    while offset < len(data):
        magic, length, crc = data[offset : offset + 4], data[offset + 4 : offset + 8], data[offset + 8 : offset + 12]
        size = int.from_bytes(length, "big") if len(crc) == 4 else frames.MAX_PAYLOAD + 1
        payload = data[offset + 12 : offset + 12 + size]
        is_good = magic == b"APF1" and size <= frames.MAX_PAYLOAD and len(payload) == size
        if is_good and frames.encode(payload)[8:12] == crc:
            found.append(payload)
            offset += 12 + size
        else:
            offset += 1
    return found


def lay(place: Path, files: list[bytes], mark: bytes | tuple[int, int] | None) -> Path:
    folder = place / "w"
    folder.mkdir(exist_ok=True)
    for number in segments(folder):
        segment_path(folder, number).unlink()
    (folder / "acknowledged").unlink(missing_ok=True)
    for number, data in enumerate(files, start=1):
        segment_path(folder, number).write_bytes(data)
    if isinstance(mark, bytes):
        (folder / "acknowledged").write_bytes(mark)
    elif mark is not None:
        Backlog(folder).acknowledge(Position(*mark))
    return folder


def read_to_the_end(reader: Backlog, max_bytes: int, max_count: int, most: int) -> Iterator[bytes]:
    """What is sent, batch by batch, as adopters do; each step must go on."""
    for _ in range(most):
        batch = reader.read(None, max_bytes, max_count)
        if batch is None:
            return
        assert batch.end > reader.acknowledged
        assert batch.count <= max_count
        reader.acknowledge(batch.end)
        yield batch.entries
    raise AssertionError("it loops")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(segment_bytes, max_size=4), marks, st.integers(1, 600), st.integers(1, 6))
def test_any_bytes_are_read_to_their_end_and_each_whole_frame_is_sent(
    place: Path, files: list[bytes], mark: bytes | tuple[int, int] | None, max_bytes: int, max_count: int
) -> None:
    folder = lay(place, files, mark)
    at = backlog.read_mark(folder)
    expected = []
    for number, data in enumerate(files, start=1):
        if number >= at.segment:
            expected += whole_frames(data[at.offset if number == at.segment else 0 :])
    reader = Backlog(folder)
    sent = list(read_to_the_end(reader, max_bytes, max_count, most=sum(map(len, files)) + 10))
    assert b"".join(sent) == b"".join(expected)
    assert reader.waiting() == 0
    assert reader.oldest() is None
    assert reader.damaged_bytes <= sum(map(len, files))
    assert reader.discard(-1, 0, active=None) == 0
    assert at.segment > len(files) or segments(folder) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(segment_bytes, max_size=4), marks)
def test_the_archive_reads_any_bytes_and_accounts_for_each(
    place: Path, files: list[bytes], mark: bytes | tuple[int, int] | None
) -> None:
    folder = lay(place, files, mark)
    parts = list(archive.contents(folder))
    sizes = [len(part.payload) + frames.HEADER.size if isinstance(part, Entry) else part.size for part in parts]
    assert sum(sizes) == sum(map(len, files))
    [summary] = summaries(place)
    assert summary.waiting.events + summary.kept.events == sum(isinstance(part, Entry) for part in parts)
    assert archive.held(place, "s1", 0, 100) <= summary.waiting.events + summary.kept.events
    for part in parts:
        if isinstance(part, Entry):
            assert part.payload in whole_frames(files[part.segment - 1])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_damage_to_a_real_file_costs_only_the_frames_it_touches(place: Path, data: st.DataObject) -> None:
    """Bytes overwritten, cut out or put in, anywhere in ten events."""
    encoded = [frames.encode(event(number)) for number in range(1, 11)]
    whole = b"".join(encoded)
    start = data.draw(st.integers(0, len(whole) - 1))
    end = min(start + data.draw(st.integers(0, 120)), len(whole))
    put_in = data.draw(st.binary(max_size=120))
    folder = lay(place, [whole[:start] + put_in + whole[end:]], None)
    size = len(encoded[0])
    untouched = [n for n in range(1, 11) if n * size <= start or (n - 1) * size >= end]
    sent = b"".join(read_to_the_end(Backlog(folder), 500, 3, most=5000))
    for number in untouched:
        assert event(number) in sent
    assert archive.held(place, "s1", 1, 10) >= len(untouched)
