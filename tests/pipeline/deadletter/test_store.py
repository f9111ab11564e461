"""Dead letters on disk: whole lines, private files, bounds, and a file that is taken away while it is written to."""

import stat
import threading
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.pipeline.deadletter.letters import Letter, read_letters, to_event
from auditpipe.pipeline.deadletter.store import DeadLetters, letter, prepare_folder, take_away
from auditpipe.pipeline.relay.records import Event, Reason, Refused
from auditpipe.schemas.errors import SettingsError, SpoolError, SpoolFull
from tests.pipeline.relay.wire import START, record

REASON = Reason("bad_id", "expected a UUIDv7")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def refused(number: int = 0, size: int = 10) -> Refused:
    return Refused(REASON, "audit", START, f"id-{number}", packed=b"x" * size)


def lines(folder: Path) -> list[Letter]:
    return [one for path in sorted(folder.glob("*.ndjson")) for one in read_letters(path.read_bytes().splitlines())]


@given(
    detail=st.text(st.characters(exclude_categories=()), max_size=50),
    tag=st.text(max_size=10),
    time=st.none() | st.integers(0, 2**62),
    event_id=st.none() | st.text(max_size=40),
    kept=st.tuples(json_values, st.none()) | st.tuples(st.none(), st.binary()),
)
def test_a_letter_read_back_is_what_was_kept(
    detail: str, tag: str, time: int | None, event_id: str | None, kept: tuple[object, bytes | None]
) -> None:
    document, packed = kept
    line = letter(
        Refused(
            Reason("r", detail), tag, time, event_id, None if packed is not None else orjson.dumps(document), packed
        ),
        START,
    )
    assert line.count(b"\n") == 1
    [read] = read_letters([line])
    assert read.reason.detail == detail.encode("utf-8", "replace").decode()
    assert (read.tag, read.time, read.id, read.record, read.packed) == (tag, time, event_id, document, packed)


@given(st.binary(max_size=100))
def test_a_line_that_is_no_letter_is_kept_as_it_is(line: bytes) -> None:
    for read in read_letters([line]):
        assert (read.reason.type, read.packed) == ("unreadable", line)
        kept = to_event(read)
        assert isinstance(kept, Refused)
        assert kept.packed == line


def test_a_good_record_that_was_kept_can_be_sent_again() -> None:
    document = record()
    [read] = read_letters([letter(Refused(REASON, "audit", START, None, orjson.dumps(document)), START)])
    event = to_event(read)
    assert isinstance(event, Event)
    assert orjson.loads(event.document) == document


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "dead"
    DeadLetters(folder, "relay").keep([refused()])
    [path] = folder.iterdir()
    assert (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)
    assert path.name.startswith("relay-20")


def test_a_folder_that_can_not_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="dead letters can't be kept in"):
        prepare_folder(tmp_path / "file" / "dead")
    with pytest.raises(SpoolError, match="dead letters can't be kept in"):
        DeadLetters(tmp_path / "file" / "dead", "relay")


def test_a_file_ends_at_its_bound_and_a_folder_is_full_at_its_own(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path, "relay", largest_file=1000, largest_folder=3000)
    with pytest.raises(SpoolFull, match="takes 3000"):
        for number in range(100):
            letters.keep([refused(number)])
    kept = lines(tmp_path)
    assert {one.id for one in kept} == {f"id-{n}" for n in range(len(kept))}
    assert len(list(tmp_path.iterdir())) > 2
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())


def test_a_line_cut_by_power_loss_spoils_no_other(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path, "relay")
    letters.keep([refused(1)])
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + letter(refused(2), START)[:40])
    letters.keep([refused(3)])
    assert [(one.id, one.reason.type) for one in lines(tmp_path)] == [
        ("id-1", "bad_id"),
        (None, "unreadable"),
        ("id-3", "bad_id"),
    ]


def test_a_folder_that_vanished_is_an_error_and_not_a_loss(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead", "relay")
    (tmp_path / "dead").rmdir()
    with pytest.raises(SpoolError):
        letters.keep([refused()])


def test_writers_and_a_taker_lose_and_tear_nothing(tmp_path: Path) -> None:
    folder, taken = tmp_path / "dead", tmp_path / "taken"
    taken.mkdir()
    writers = [DeadLetters(folder, "relay") for _ in range(3)]

    def write(at: int) -> None:
        for number in range(40):
            writers[at].keep([refused(at * 100 + number)])

    threads = [threading.Thread(target=write, args=(at,)) for at in range(3)]
    for thread in threads:
        thread.start()
    number = 0
    while any(thread.is_alive() for thread in threads):
        for path in folder.glob("*.ndjson"):
            number += take_away(path, taken / f"{number}.ndjson")
    for thread in threads:
        thread.join()
    found = sorted(str(one.id) for one in lines(taken) + lines(folder))
    assert found == sorted(f"id-{at * 100 + n}" for at in range(3) for n in range(40))
