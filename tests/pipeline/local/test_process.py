"""Processes that outlive the command that started them, and are never mistaken for others."""

import json
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from auditpipe.pipeline.local import process
from auditpipe.schemas.errors import NotFinished
from tests.waiting import until

SLEEP = "import time; print('ready', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
)
#: Listens and tells its port; its first thread ends, and another does not.
WITHOUT_FIRST_THREAD = """
import ctypes, socket, threading, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
threading.Thread(target=time.sleep, args=(600,)).start()
time.sleep(0.5)
ctypes.CDLL(None).pthread_exit(None)
"""

WRONG_TYPES = json.dumps(
    {"name": "part", "pid": "1", "started": 1.0, "identity": "", "address": "", "log": "", "program": ""}
)


@pytest.fixture
def start(tmp_path):
    records = []

    def start(code=SLEEP, name="part"):
        record = process.start(
            name,
            [sys.executable, "-c", code],
            run=tmp_path,
            log=tmp_path / f"{name}.log",
            address="127.0.0.1:1",
            program="python",
            environment={"PATH": os.defpath},
        )
        records.append(record)
        return record

    yield start
    for record in records:
        process.stop(record, patience_s=0)


def test_what_was_started_is_found_again(start, tmp_path):
    record = start()
    assert process.read(tmp_path, "part") == record
    assert record.process().pid == record.pid


def test_it_is_in_a_session_of_its_own(start):
    """Ctrl-C in the terminal that started it, or closing that, does not end it."""
    assert os.getsid(start().pid) != os.getsid(0)


def test_it_gets_the_given_environment_and_no_more(start, monkeypatch):
    monkeypatch.setenv("AUDITPIPE_PASSWORD", "secret")
    assert "AUDITPIPE_PASSWORD" not in psutil.Process(start().pid).environ()


def test_its_log_and_record_are_for_their_owner_alone(start, tmp_path):
    start()
    for name in ("part.log", "part.json"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_stop_ends_it(start):
    record = start()
    process.stop(record)
    assert record.process() is None


def test_stop_kills_what_does_not_listen(start, tmp_path):
    record = start(STUBBORN)
    until(lambda: "ready" in (tmp_path / "part.log").read_text())
    process.stop(record, patience_s=0.2)
    assert record.process() is None


def test_one_whose_last_threads_have_not_ended_still_holds_its_port(start):
    """As a killed Java does on a busy machine: the program is a zombie, and another can't listen where it did."""
    record = start(WITHOUT_FIRST_THREAD)
    until(lambda: psutil.Process(record.pid).status() == psutil.STATUS_ZOMBIE)
    assert record.process() is not None
    process.stop(record, patience_s=0.2)
    assert record.process() is None
    with socket.create_server(("127.0.0.1", int(process.last_lines(Path(record.log))))):
        pass


def test_one_that_ends_by_itself_just_before_a_signal_is_stopped_too(start, monkeypatch):
    record = start()
    until(lambda: "ready" in process.last_lines(Path(record.log)))
    found = process.Record.process

    def found_and_then_gone(self):
        there = found(self)
        if there is not None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        return there

    monkeypatch.setattr(process.Record, "process", found_and_then_gone)
    process.stop(record)
    assert found(record) is None


def test_one_that_is_suspended_is_told_from_one_that_works_and_can_be_stopped(start, tmp_path):
    record = start()
    until(lambda: "ready" in (tmp_path / "part.log").read_text())
    assert not record.is_suspended()
    psutil.Process(record.pid).suspend()
    until(record.is_suspended)
    process.stop(record, patience_s=30)
    assert record.process() is None
    assert process.reap(record.pid) in ("", "SIGTERM")


def test_a_process_that_only_has_the_same_id_is_left_alone(start):
    """After a reboot, or after many processes, the id is a stranger's."""
    record = start()
    boot, ticks = record.identity.split()
    earlier = replace(record, identity=f"{boot} {int(ticks) - 1}")
    assert earlier.process() is None
    process.stop(earlier)
    assert record.process() is not None


def test_a_clock_that_was_set_does_not_make_it_a_stranger(start):
    record = start()
    assert replace(record, started=record.started + 3600).process() is not None


def test_after_a_reboot_it_is_gone(start):
    record = start()
    other_boot = f"00000000-0000-0000-0000-000000000000 {record.identity.split()[1]}"
    assert replace(record, identity=other_boot).process() is None


def test_a_process_that_ended_by_itself_is_gone(start):
    record = start("pass")
    until(lambda: record.process() is None)
    process.stop(record)


@pytest.mark.parametrize(
    ("code", "told"), [("raise SystemExit(3)", "exit code 3"), ("import os; os.kill(os.getpid(), 9)", "SIGKILL")]
)
def test_how_a_child_ended_is_told_once(start, code, told):
    record = start(code)
    until(lambda: psutil.Process(record.pid).status() == psutil.STATUS_ZOMBIE)
    assert process.reap(record.pid) == told
    assert process.reap(record.pid) == ""


def test_nothing_is_remembered_of_what_was_never_started(tmp_path):
    assert process.read(tmp_path, "part") is None
    assert process.read(tmp_path / "no-such-folder", "part") is None


def test_what_was_forgotten_is_not_remembered(start, tmp_path):
    start()
    process.forget(tmp_path, "part")
    assert process.read(tmp_path, "part") is None


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"name": "part"}', "\x00" * 90, WRONG_TYPES])
def test_a_damaged_record_is_named(tmp_path, content):
    (tmp_path / "part.json").write_text(content)
    with pytest.raises(NotFinished, match=r"part\.json is damaged"):
        process.read(tmp_path, "part")


def test_a_record_that_can_not_be_read_is_damaged_too(tmp_path):
    (tmp_path / "part.json").mkdir()
    with pytest.raises(NotFinished, match=r"part\.json is damaged"):
        process.read(tmp_path, "part")


def test_a_log_that_has_grown_is_put_aside_while_it_is_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "LARGEST_LOG", 10)
    log, aside = tmp_path / "part.log", tmp_path / "part.log.1"
    with log.open("a") as writer:
        for text in ("the first twenty bytes", "the next twenty bytes", "short"):
            print(text, file=writer, flush=True)
            process.put_aside(log)
            process.put_aside(aside)
    assert (aside.read_text(), log.read_text()) == ("the next twenty bytes\n", "short\n")
    process.put_aside(tmp_path / "no-such.log")


def test_a_program_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NotFinished, match="/no/such/program"):
        process.start(
            "part",
            ["/no/such/program"],
            run=tmp_path,
            log=tmp_path / "log",
            address="",
            program="none",
            environment={},
        )
    assert process.read(tmp_path, "part") is None


def test_one_that_can_not_be_remembered_is_ended_again(start, tmp_path):
    """As on a full disk: nobody would find it, and the next `up` would call its port someone else's."""
    before = psutil.Process().children()
    (tmp_path / "part.json").mkdir()
    with pytest.raises(NotFinished, match=r"part was ended again, as nothing can be written to .*part\.json"):
        start()
    assert psutil.Process().children() == before
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_a_log_that_can_not_be_made_is_named(start, tmp_path):
    (tmp_path / "part.log").mkdir()
    with pytest.raises(NotFinished, match=r"part can't be started: .*part\.log"):
        start()


def test_the_end_of_a_log_holds_no_escape_sequence_and_no_stack_frames(tmp_path):
    log = tmp_path / "log"
    log.write_text("first\n\x1b[31mred\u202e\n\tat org.example.Main(Main.java:1)\nlast\n")
    assert process.last_lines(log) == "first\n?[31mred?\nlast"


def test_only_the_end_of_a_log_is_read(tmp_path):
    log = tmp_path / "log"
    log.write_text("".join(f"line {n}\n" for n in range(100_000)))
    assert process.last_lines(log, 2) == "line 99998\nline 99999"


def test_a_log_that_is_not_there_is_said_so(tmp_path):
    assert process.last_lines(tmp_path / "log") == "(no log)"
