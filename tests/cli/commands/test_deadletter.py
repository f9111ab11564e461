"""`auditpipe deadletter` as a person meets it: tables, hostile text, exit codes; and a real Fluent Bit's chunks."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from time import time, time_ns

import pytest

from auditpipe.cli.entry import main
from auditpipe.pipeline.deadletter.store import DeadLetters
from auditpipe.pipeline.relay.records import Reason, Refused
from auditpipe.schemas.identity import index_of
from tests.builders import event as document
from tests.conftest import RealOpenSearch, free_port
from tests.pipeline.deadletter.test_chunkfile import REAL
from tests.pipeline.deadletter.test_parked import park
from tests.pipeline.relay.test_relay_opensearch import packed
from tests.pipeline.relay.wire import START, Client, message
from tests.pipeline.relay.wire import record as wire_record
from tests.waiting import until

HOSTILE = "\x1b[31mred\u202e"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "rejected"
    path.mkdir()
    (path / REAL.name).write_bytes(REAL.read_bytes())
    os.utime(path / REAL.name, (time() - 60, time() - 60))
    return path


def test_list_counts_events_by_reason_and_is_a_finding(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deadletter", "list", "--dir", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert "retries_exhausted 5, bad_id 1, disagreeing_time 1" in out
    assert "1991-01-05 00:00:00" in out
    assert "7 dead letters in 1 files" in err
    assert main(["deadletter", "list", "--dir", str(folder), "-o", "json"]) == 1
    [row] = json.loads(capsys.readouterr().out)
    assert (row["events"], row["kind"]) == (7, "rejected chunk")


def test_no_dead_letters_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deadletter", "list", "--dir", str(tmp_path / "none")]) == 0
    assert main(["deadletter", "list"]) == 0
    assert capsys.readouterr().out == ""


def test_parked_events_are_shown_as_such_with_what_they_wait_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    park(tmp_path, wire_record(), wire_record())
    sentence = "index audit-events-2026.10 does not exist: auditpipe provision --from 2026-10"
    assert main(["deadletter", "list", "--dir", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert f"2 waiting for: {sentence}" in out
    assert "2 events are parked" in err
    assert "dead letters" not in err
    assert main(["deadletter", "list", "--dir", str(tmp_path), "-o", "json"]) == 1
    [row] = json.loads(capsys.readouterr().out)
    assert (row["kind"], row["waiting_for"]) == ("waiting", {sentence: 2})
    assert main(["deadletter", "show", Path(row["file"]).name, "--dir", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert shown.count(f"  waiting for: {sentence}") == 2
    assert shown.count("  parked at 2") == 2


def test_show_never_prints_what_a_terminal_obeys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    letters = DeadLetters(tmp_path, "relay")
    record = json.dumps({"message": HOSTILE, "x": "\x9b31m"}).encode()
    letters.keep(
        [
            Refused(Reason("bad", HOSTILE), "t", START, HOSTILE, record),
            Refused(Reason("not_json", "x"), "t", START, None, packed=b"\x81\xa1k\xa5\x1b[31m"),
            Refused(Reason("not_json", "x"), "t", None, None, packed=b"\xc1"),
        ]
    )
    [path] = tmp_path.iterdir()
    for output in ("text", "json", "ndjson"):
        assert main(["deadletter", "show", path.name, "--dir", str(tmp_path), "-o", output]) == 0
        out = capsys.readouterr().out
        assert not any(bad in out for bad in ("\x1b", "\u202e", "\x9b"))
        assert "31m" in out


def test_show_of_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deadletter", "show", "x", "--dir", str(tmp_path)]) == 2
    assert "auditpipe deadletter list" in capsys.readouterr().err


def test_replay_without_a_cluster_is_not_finished_and_keeps_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUDITPIPE_URL", f"http://127.0.0.1:{free_port()}")
    assert main(["deadletter", "replay", "--dir", str(folder), "--wait", "0"]) == 3
    assert "1 files could not be replayed yet and are kept" in capsys.readouterr().err
    assert main(["deadletter", "list", "--dir", str(folder)]) == 1
    assert main(["deadletter", "replay", "--watch", "x"]) == 2


@pytest.mark.opensearch
def test_replay_stores_what_is_good_and_keeps_what_is_refused_again(
    folder: Path, opensearch: RealOpenSearch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in opensearch.environment("shipper").items():
        monkeypatch.setenv(name, value)
    if not opensearch.client().indices.exists(index="audit-events-1991.01"):
        opensearch.request("PUT", "/audit-events-1991.01")
    for stored in (5, 0):  # the second time only what was refused is left
        assert main(["deadletter", "replay", "--dir", str(folder)]) == 1
        assert f"{stored} events are stored" in capsys.readouterr().err
    assert main(["deadletter", "list", "--dir", str(folder)]) == 1
    assert "refused again" in capsys.readouterr().out
    (folder / REAL.name).write_bytes(REAL.read_bytes())
    assert main(["deadletter", "replay", REAL.name, "--dir", str(folder)]) == 1
    assert "5 events are stored" in capsys.readouterr().err, "each answers 409 with the same hash"
    assert opensearch.request("POST", "/audit-events-1991.01/_refresh")
    assert opensearch.request("GET", "/audit-events-1991.01/_count")["count"] == 5


def test_a_bug_in_one_half_of_the_watch_ends_the_process(tmp_path: Path) -> None:
    """With an exit code and a line: so a supervisor starts it again."""
    command = ["deadletter", "replay", "--watch", "--url", "http://127.0.0.1:1", "--dir", str(tmp_path)]
    code = (
        "import sys\n"
        "from auditpipe.cli.entry import main\n"
        "from auditpipe.pipeline.deadletter import collect\n"
        "collect.collect = lambda folders: 1 / 0\n"
        f"sys.exit(main({command}))"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, env=environment)
    assert (ended.returncode, "a bug: ZeroDivisionError" in ended.stderr) == (70, True), ended.stderr


@pytest.mark.opensearch
@pytest.mark.fluent_bit
def test_what_fluent_bit_gives_up_in_an_outage_arrives_by_the_watch(
    opensearch: RealOpenSearch, tmp_path: Path, fluent_bit_program: str
) -> None:
    """A real Fluent Bit against a closed port: retries end, the chunk is rejected, the watching replayer stores it."""
    port, storage = free_port(), tmp_path / "storage"
    config = tmp_path / "fluent-bit.yaml"
    config.write_text(
        f"""
service: {{flush: 0.2, grace: 1, storage.path: {storage}, storage.keep.rejected: on, storage.rejected.path: rejected,
          scheduler.base: 1, scheduler.cap: 1}}
pipeline:
  inputs: [{{name: forward, listen: 127.0.0.1, port: {port}, tag: audit, storage.type: filesystem}}]
  outputs: [{{name: opensearch, match: audit, host: 127.0.0.1, port: {free_port()}, retry_limit: 1}}]
"""
    )
    log = (tmp_path / "log").open("wb")
    shipper = subprocess.Popen([fluent_bit_program, "-c", str(config)], stdout=log, stderr=log)
    replayer = subprocess.Popen(
        [
            *(sys.executable, "-m", "auditpipe.cli", "deadletter", "replay", "--watch", "--interval", "0.2"),
            *("--dir", str(storage / "rejected")),
        ],
        env={**os.environ, **opensearch.environment("shipper")},
        stdout=log,
        stderr=log,
    )
    try:
        client = until(lambda: _connect(port))
        records = [document(ns) for ns in (time_ns() + n * 1000 for n in range(10))]
        events = [(_ns(record), record) for record in records]
        assert client.send(message("packed", packed(*events), "c")).acknowledgements(1) == ["c"]
        asked = {"docs": [{"_index": index_of(ns), "_id": record["event"]["id"]} for ns, record in events]}

        def stored() -> bool:
            answer = opensearch.request("POST", "/_mget", asked)
            return [doc.get("_source") for doc in answer["docs"]] == records

        until(stored)
        until(lambda: not list((storage / "rejected").rglob("*.flb")))
    finally:
        for process in (replayer, shipper):
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(120) for process in (replayer, shipper)]
        log.close()
        shutil.rmtree(storage, ignore_errors=True)
    assert codes[0] == 0, (tmp_path / "log").read_text()


def _ns(record: dict[str, object]) -> int:
    from auditpipe.schemas.identity import parse_time

    return parse_time(str(record["@timestamp"]))


def _connect(port: int) -> Client | None:
    try:
        return Client(port)
    except ConnectionRefusedError:
        return None
