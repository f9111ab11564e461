"""A real Fluent Bit that is killed, throttled, poisoned, out of disk and given damaged files: the ledger of what it has
acknowledged is what is stored in the end, each event once.
"""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from time import sleep, time
from typing import Any

import pytest

from auditpipe.pipeline.deadletter import folder as dead
from auditpipe.pipeline.deadletter.replay import Replayer
from auditpipe.pipeline.local import certificates, counts
from auditpipe.pipeline.local.home import Home
from auditpipe.pipeline.relay.transport import open_transport
from auditpipe.schemas.errors import NotFinished
from auditpipe.schemas.identity import parse_time
from tests.builders import Document, event
from tests.conftest import RealOpenSearch
from tests.pipeline.fluent_bit.conftest import Make
from tests.pipeline.fluent_bit.process import RunningFluentBit, shipping_to
from tests.pipeline.fluent_bit.test_shipping import all_stored, count, versions
from tests.pipeline.relay.fake import FakeOpenSearch, Fault
from tests.waiting import until

pytestmark = pytest.mark.fluent_bit
START = parse_time("2005-02-05T10:00:00Z")
MONTH = "audit-events-2005.02"
MISSING = "audit-events-2004.03"


class Load:
    """Sends chunks for as long as it lives, each again until it is acknowledged, as an emitter does."""

    def __init__(self, shipper: RunningFluentBit, start: int = START, **fields: Any) -> None:
        self.acknowledged: list[Document] = []
        self._shipper, self._start, self._fields = shipper, start, fields
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for number in range(10**6):
            chunk = [event(self._start + number * 10 + i, **self._fields) for i in range(10)]
            while not self._is_taken(chunk):
                if self._stop.wait(0.05):
                    return
            self.acknowledged += chunk
            if self._stop.is_set():
                return

    def _is_taken(self, chunk: list[Document]) -> bool:
        try:
            self._shipper.send(chunk)
        except (NotFinished, OSError):
            return False
        return True

    def more(self, events: int) -> None:
        """Wait for so many more."""
        wanted = len(self.acknowledged) + events
        until(lambda: len(self.acknowledged) >= wanted)

    def end(self) -> list[Document]:
        self._stop.set()
        self._thread.join(120)
        return self.acknowledged


@pytest.fixture(scope="module")
def month(opensearch: RealOpenSearch) -> str:
    opensearch.request("PUT", f"/{MONTH}")
    return MONTH


@pytest.mark.opensearch
def test_killed_again_and_again_under_load_it_loses_and_doubles_nothing(
    fluent_bit: Make, opensearch: RealOpenSearch, month: str
) -> None:
    shipper, random = fluent_bit(), Random(1)
    load = Load(shipper)
    for _ in range(5):
        load.more(100)
        sleep(random.random() * 0.3)
        shipper.kill()
        shipper.start()
    documents = load.end()
    until(lambda: all_stored(opensearch, documents))
    assert {hit["_version"] for hit in versions(opensearch, documents)} == {1}
    until(lambda: not shipper.waiting())
    assert shipper.rejected() == []


@pytest.mark.opensearch
def test_poison_in_mid_load_costs_no_event_and_is_replayed_as_often_as_one_likes(
    fluent_bit: Make, opensearch: RealOpenSearch, month: str
) -> None:
    """What the mapping refuses, and what is no event, between good ones; then the replayer, twice."""
    shipper = fluent_bit(retries=1)
    load = Load(shipper)
    bad = [event(START, organization__id={"deep": 1}) for _ in range(5)]
    for one in bad:
        load.more(20)
        shipper.send([one, {"no": "event"}], [START, START])
    documents = load.end()
    until(lambda: all_stored(opensearch, documents))
    until(lambda: shipper.rejected() and not shipper.waiting())
    sleep(dead.QUIET_SECONDS)
    replayer, folder = Replayer(open_transport(opensearch.shipper)), shipper.launch.rejected
    stored = count(opensearch, month)
    for _ in range(2):
        replayer.until_done(dead.files(folder), threading.Event(), patience=30)
        assert {file.kind for file in dead.files(folder)} == {dead.Kind.REFUSED}
        letters = [letter for file in dead.files(folder) for letter in dead.letters_of(file)]
        refused = [letter.id for letter in letters if letter.reason.type == "mapper_parsing_exception"]
        assert sorted(map(str, refused)) == sorted(one["event"]["id"] for one in bad)
        assert sum(letter.reason.type == "bad_id" for letter in letters) == len(bad)
        assert len(letters) == 2 * len(bad)
    assert count(opensearch, month) == stored
    assert {hit["_version"] for hit in versions(opensearch, documents)} == {1}


@pytest.mark.opensearch
def test_a_month_that_is_made_later_gets_its_events_from_the_buffer_and_from_what_was_given_up(
    fluent_bit: Make, opensearch: RealOpenSearch, month: str
) -> None:
    patient, hasty = fluent_bit(retries=1000), fluent_bit(retries=1)
    late = parse_time("2004-03-05T10:00:00Z")
    early = [[event(late + i) for i in range(10)] for _ in range(2)]
    now = [[event(START + i) for i in range(10)] for _ in range(2)]
    for shipper, some, others in zip((patient, hasty), early, now, strict=True):
        shipper.send(some)
        shipper.send(others)
    until(lambda: all_stored(opensearch, now[0] + now[1]))
    until(hasty.rejected)
    assert patient.rejected() == []
    opensearch.request("PUT", f"/{MISSING}")
    sleep(dead.QUIET_SECONDS)
    Replayer(open_transport(opensearch.shipper)).until_done(
        dead.files(hasty.launch.rejected), threading.Event(), patience=30
    )
    until(lambda: all_stored(opensearch, early[0] + early[1]))
    assert count(opensearch, MISSING) == 20


# What follows needs faults or a silence that a real node can't give on demand: a fake one, with TLS.


def are_stored(fake: FakeOpenSearch, documents: list[Document]) -> bool:
    return {one["event"]["id"] for one in documents} <= set(fake.documents)


def test_a_storm_of_429_of_requests_and_of_single_events_is_waited_out(
    fake: FakeOpenSearch, authority: certificates.Certificates, fluent_bit_program: str, tmp_path: Path
) -> None:
    busy = {"status": 429, "error": {"type": "rejected_execution_exception", "reason": "full"}}
    with shipping_to(fake, authority, fluent_bit_program, tmp_path / "fb") as shipper:
        load = Load(shipper)
        load.more(50)
        fake.outage = Fault(429, b'{"error":{"type":"rejected_execution_exception"},"status":429}')
        load.more(100)
        fake.outage = None
        random = Random(2)
        fake.rule = lambda _, __: busy if random.random() < 0.3 else None
        load.more(100)
        fake.rule = lambda _, __: None
        documents = load.end()
        until(lambda: are_stored(fake, documents) and not shipper.waiting())
        assert shipper.rejected() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB: three of Fluent Bit's chunks."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=700", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("end", ["goes on", "kill", "stop"])
def test_a_full_disk_is_not_acknowledged_and_what_was_is_delivered(
    fake: FakeOpenSearch,
    authority: certificates.Certificates,
    fluent_bit_program: str,
    small_disk: Path,
    end: str,
) -> None:
    fake.outage = Fault()
    with shipping_to(fake, authority, fluent_bit_program, small_disk) as shipper:
        acknowledged: list[Document] = []
        with pytest.raises(NotFinished):
            for number in range(100):
                chunk = [event(START + number * 40 + i, audit__details={"x": "y" * 5000}) for i in range(40)]
                shipper.send(chunk)
                acknowledged += chunk
        assert len(acknowledged) > 200
        assert "No space left on device" in shipper.log.read_text()
        if end != "goes on":
            getattr(shipper, end)()
            shipper.start()
        fake.outage = None
        until(lambda: are_stored(fake, acknowledged))
        shipper.send(later := [event(START)])
        until(lambda: are_stored(fake, later))


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def without_header(data: bytes) -> bytes:
    return bytes(24) + data[24:]


@pytest.mark.parametrize("damage", [cut, without_header])
def test_a_damaged_chunk_stops_no_other_is_told_and_gives_what_can_be_read(
    fake: FakeOpenSearch,
    authority: certificates.Certificates,
    fluent_bit_program: str,
    tmp_path: Path,
    damage: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake.outage = Fault()
    home = Home(tmp_path / "home")
    home.root.mkdir()
    with shipping_to(fake, authority, fluent_bit_program, home.fluent_bit) as shipper:
        chunks = [[event(START + i, audit__details={"x": "y" * 9000}) for i in range(250)] for _ in range(3)]
        for chunk in chunks:  # each over 2 MB, and so a file of its own
            shipper.send(chunk)
        shipper.kill()
        marks = [chunk[0]["event"]["id"].encode() for chunk in chunks]
        [bad] = [path for path in shipper.waiting() if marks[1] in path.read_bytes()]
        bad.write_bytes(damage(bad.read_bytes()))
        shipper.start()
        fake.outage = None
        until(lambda: are_stored(fake, chunks[0] + chunks[2]) and shipper.waiting() == [bad])
        assert not are_stored(fake, chunks[1])
        monkeypatch.setattr(counts, "SETTLED_SECONDS", 0.0)  # Fluent Bit touches it at its start
        assert set(counts.count(home).damaged) == {bad}
        assert f"format check failed: forward.0/{bad.name}" in shipper.log.read_text()

        moved = home.rejected / bad.name
        home.rejected.mkdir(exist_ok=True)
        shutil.move(bad, moved)
        os.utime(moved, (time() - 60, time() - 60))
        result = Replayer(open_transport(fake.settings_with(authority.ca))).round(dead.waiting(home.rejected))
        assert (result.refused, result.left) == (1, [])
        assert result.done == (0 if damage is without_header else sum(are_stored(fake, [one]) for one in chunks[1]))
        assert (result.done > 50) == (damage is cut)
        [file] = dead.files(home.rejected)
        assert file.kind is dead.Kind.REFUSED
        assert counts.count(home).damaged == {}
