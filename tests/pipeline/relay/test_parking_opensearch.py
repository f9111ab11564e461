"""Parking on a real node: one back-dated event holds up nobody, and is stored once when its month is there."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import pytest

from auditpipe.cli.entry import main
from auditpipe.emitters import AuditLog
from auditpipe.pipeline.deadletter.replay import Replayer
from auditpipe.pipeline.relay.transport import open_transport
from auditpipe.schemas.identity import index_of_id, parse_time
from tests.builders import event as document
from tests.conftest import RealOpenSearch, free_port
from tests.pipeline.deadletter.test_parked import park
from tests.pipeline.relay.running import running_relay
from tests.pipeline.relay.test_parking import parked
from tests.pipeline.relay.test_relay_opensearch import _connect, now_document, packed, stored
from tests.pipeline.relay.wire import Client, message
from tests.waiting import until

pytestmark = pytest.mark.opensearch


def count(node: RealOpenSearch, month: str) -> int:
    node.request("POST", f"/audit-events-{month}/_refresh")
    found: int = node.request("GET", f"/audit-events-{month}/_count")["count"]
    return found


@contextmanager
def watching(node: RealOpenSearch, folder: Path) -> Iterator[None]:
    replayer, stop = Replayer(open_transport(node.shipper)), threading.Event()
    thread = threading.Thread(target=replayer.watch, args=([folder], stop), kwargs={"interval": 0.1})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(120)


def test_a_backdated_event_holds_up_no_event_behind_it(
    opensearch: RealOpenSearch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "dead"
    with running_relay(opensearch.shipper, folder) as relay, watching(opensearch, folder):
        forward = f"127.0.0.1:{relay.port}"
        with AuditLog(service="s", organization="acme", forward=forward, spool_dir=tmp_path / "spool") as audit:
            early = audit.emit("user.login_succeeded", actor="u1", occurred_at="1999-01-01T00:00:00Z")
            assert early is not None
            events = [audit.emit("user.login_succeeded", actor="u1") for _ in range(100)]
            assert audit.flush(120)
            asked = [{"_index": index_of_id(event.id), "_id": event.id} for event in events if event]
            found = opensearch.request("POST", "/_mget", {"docs": asked})["docs"]
            assert [doc["found"] for doc in found] == [True] * 100
            [letter] = parked(folder)
            assert (letter["id"], letter["reason"]["type"]) == (early.id, "missing_index")
            assert relay.letters() == []

            assert main(["deadletter", "list", "--dir", str(folder)]) == 1
            out, err = capsys.readouterr()
            wait = "waiting for: index audit-events-1999.01 does not exist: auditpipe provision --from 1999-01"
            assert f"1 {wait}" in out
            assert "1 events are parked" in err
            assert "dead letters" not in err

            opensearch.request("PUT", "/audit-events-1999.01")
            until(lambda: list((folder / "waiting").iterdir()) == [])
            assert count(opensearch, "1999.01") == 1
            got = opensearch.request("GET", f"/audit-events-1999.01/_doc/{early.id}")
            assert (got["_version"], got["_source"]["event"]["id"]) == (1, early.id)
    assert main(["deadletter", "list", "--dir", str(folder)]) == 0


def process(node: RealOpenSearch, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "auditpipe.cli", *arguments],
        env={**os.environ, **node.environment("shipper")},
        stderr=subprocess.DEVNULL,
    )


def kill(running: "subprocess.Popen[bytes]") -> None:
    running.send_signal(signal.SIGKILL)
    running.wait(120)


def test_a_relay_killed_as_it_parks_loses_and_doubles_nothing(opensearch: RealOpenSearch, tmp_path: Path) -> None:
    """Killed when the event is on disk: whether or not it was acknowledged by then, it may be sent and parked again."""
    folder, port = tmp_path / "dead", free_port()
    ns = parse_time("1998-02-02T00:00:00Z")
    early, now = document(ns), now_document()
    data = message("packed", packed((ns, early), now), "c")
    arguments = ("relay", "--listen", f"127.0.0.1:{port}", "--metrics", "none", "--dead-letters", str(folder))

    for times in (1, 2):
        running = process(opensearch, *arguments)
        try:
            client: Client = until(lambda: _connect(port)).send(data)
            until(lambda n=times: len(parked(folder)) == n)
            client.close()
        finally:
            kill(running)
    assert {letter["id"] for letter in parked(folder)} == {early["event"]["id"]}
    found = stored(opensearch, now[1])
    assert found is not None
    assert found["_version"] == 1
    opensearch.request("PUT", "/audit-events-1998.02")
    with watching(opensearch, folder):
        until(lambda: list((folder / "waiting").iterdir()) == [])
    assert count(opensearch, "1998.02") == 1
    assert not list((folder / "refused").iterdir())


def test_a_replayer_killed_again_and_again_loses_and_doubles_nothing(
    opensearch: RealOpenSearch, tmp_path: Path
) -> None:
    """Two months come one after the other, so that the file is written anew and removed while it is killed."""
    folder = tmp_path / "dead"
    records = [document(parse_time(f"{month}-03T00:00:00Z")) for month in ("1997-03", "1997-04") * 150]
    park(folder, *records)
    arguments = ("deadletter", "replay", "--watch", "--interval", "0.1", "--dir", str(folder))
    for month in (None, "1997.03", "1997.04"):
        if month:
            opensearch.request("PUT", f"/audit-events-{month}")
        for _ in range(3):
            running = process(opensearch, *arguments)
            sleep(random.uniform(0.5, 1.5))
            kill(running)
    with watching(opensearch, folder):
        until(lambda: list((folder / "waiting").iterdir()) == [])
    assert (count(opensearch, "1997.03"), count(opensearch, "1997.04")) == (150, 150)
    assert not list((folder / "refused").iterdir())
