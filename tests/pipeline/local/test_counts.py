"""What waits in a local stack's folders, as `status` and `doctor` say it."""

import json
import os
import time
from pathlib import Path

import pytest

from auditpipe.cli.entry import main
from auditpipe.pipeline.deadletter.store import DeadLetters
from auditpipe.pipeline.doctor.check import Check, Level
from auditpipe.pipeline.local import checks, counts
from auditpipe.pipeline.local.home import Home
from auditpipe.pipeline.relay.records import Reason, Refused
from tests.pipeline.deadletter.test_chunkfile import REAL
from tests.pipeline.deadletter.test_parked import park
from tests.pipeline.relay.wire import START, record

WAIT = "index audit-events-2026.10 does not exist: auditpipe provision --from 2026-10"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.run.mkdir(parents=True)
    park(made.dead_letters, record(), record())
    DeadLetters(made.dead_letters, "relay").keep([Refused(Reason("bad_id", "x"), "t", START, None, b"{}")])
    return made


def test_parked_events_are_counted_apart_from_dead_letters(home: Home) -> None:
    found = counts.count(home)
    assert (found.dead_letters, dict(found.parked)) == (1, {WAIT: 2})


def test_status_says_what_parked_events_wait_for(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    main(["status", "--home", str(home.root)])
    assert f"parked       2  (waiting for: {WAIT})" in capsys.readouterr().out
    main(["status", "--home", str(home.root), "-o", "json"])
    assert json.loads(capsys.readouterr().out)["events"]["parked"] == {WAIT: 2}


def test_doctor_finds_parked_events_and_what_they_wait_for(home: Home) -> None:
    [found] = [check for check in checks.examine(home) if check.name == "parked events"]
    assert (found.level, found.sentence) == (Level.FINDING, f"2 waiting for: {WAIT}")


def test_doctor_names_chunks_that_fluent_bit_gave_up_without_a_copy_and_what_to_do(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def examined() -> dict[str, Check]:
        return {check.name: check for check in checks.examine(home)}

    assert "chunks given up" not in examined()
    home.fluent_bit_log.parent.mkdir()
    home.fluent_bit_log.write_bytes(
        b"[2026/11/28 09:30:11.000000000] [ warn] [storage] DLQ content size is at 9/10 bytes (>=90% of limit)\n"
        b"[2026/11/28 09:30:12.034567891] [error] [storage] [cio file] file is not mmap()ed: audit:1-17.flb\n"
        b"[2026/11/28 09:30:12.034567891] [ warn] [storage] DLQ write/sync failed\n"
        b"\xff\n"
        b"[2026/11/28 09:41:00.434567891] [ warn] [storage] cannot bring chunk up to copy into DLQ\n"
    )
    monkeypatch.setenv("TZ", "Asia/Kolkata")  # five hours and a half before UTC
    time.tzset()
    try:
        found = examined()["chunks given up"]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found.level is Level.FINDING
    assert found.sentence.endswith("2 chunks that its retries gave up, the last at 2026-11-28 04:11:00Z")
    assert "`auditpipe spool replay --since 2026-11-27T04:00:12Z`" in found.remedy


def test_doctor_names_a_chunk_that_fluent_bit_passes_over_and_what_to_do(home: Home) -> None:
    folder = home.fluent_bit / "storage" / "forward.0"
    folder.mkdir(parents=True)
    for name, content in (("good", REAL.read_bytes()), ("cut", REAL.read_bytes()[:500]), ("fresh", b"\xc1")):
        (folder / f"{name}.flb").write_bytes(content)
        if name != "fresh":
            os.utime(folder / f"{name}.flb", (0, 0))
    checked = {check.name: check for check in checks.examine(home)}
    assert checked["damaged chunk"].sentence.startswith(f"{folder / 'cut.flb'}: expected 1948 bytes, the file has 500")
    assert checked["damaged chunk"].remedy.startswith(f"mv {folder / 'cut.flb'} {home.rejected}")
    assert checked["shipper's buffer"].sentence == "2 chunks are not delivered yet"
