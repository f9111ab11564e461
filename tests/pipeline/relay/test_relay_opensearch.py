"""The relay between other people's clients and a real OpenSearch, as the user `audit_shipper` of a provisioned node."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import time_ns
from typing import Any

import msgpack
import orjson
import pytest
from fluent.sender import EventTime, FluentSender

from auditpipe.pipeline.relay.bulk import attempt
from auditpipe.pipeline.relay.classify import Outcome
from auditpipe.pipeline.relay.records import Event
from auditpipe.pipeline.relay.transport import open_transport
from auditpipe.schemas.identity import index_of, new_event_id, parse_time
from tests.builders import event as document
from tests.conftest import RealOpenSearch, free_port
from tests.pipeline.relay.running import RunningRelay, running_relay
from tests.pipeline.relay.wire import MODES, Client, entry, event_time, message
from tests.waiting import until

pytestmark = pytest.mark.opensearch


def now_document(**fields: Any) -> tuple[int, dict[str, Any]]:
    ns = time_ns() // 1000 * 1000
    return ns, document(ns, **fields)


def packed(*events: tuple[int, dict[str, Any]]) -> list[bytes]:
    return [entry(record, event_time(ns)) for ns, record in events]


def stored(node: RealOpenSearch, record: dict[str, Any]) -> dict[str, Any] | None:
    """The document as it is stored, with its `_version`."""
    index = index_of(parse_time(record["@timestamp"]))
    found = node.request("POST", "/_mget", {"docs": [{"_index": index, "_id": record["event"]["id"]}]})["docs"][0]
    return found if found.get("found") else None


@pytest.fixture
def relay(opensearch: RealOpenSearch, tmp_path: Path) -> Iterator[RunningRelay]:
    with running_relay(opensearch.shipper, tmp_path / "dead") as running:
        yield running


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_stores_the_document_under_its_id_unaltered(
    relay: RunningRelay, opensearch: RealOpenSearch, mode: str
) -> None:
    events = [now_document() for _ in range(1 if mode == "message" else 5)]
    assert Client(relay.port).send(message(mode, packed(*events), "c")).acknowledgements(1) == ["c"]
    for _, record in events:
        found = stored(opensearch, record)
        assert found is not None
        assert (found["_source"], found["_version"]) == (record, 1)


def test_a_resend_is_done_by_the_stored_hash_and_another_event_is_a_conflict(
    relay: RunningRelay, opensearch: RealOpenSearch
) -> None:
    """With the shipper's own role, which reads nothing of a stored event but its hash."""
    ns, first = now_document()
    other = document(ns, event__id=first["event"]["id"], message="another event")
    client = Client(relay.port).send(message("packed", packed((ns, first)), "1"))
    assert client.acknowledgements(1) == ["1"]
    client.send(message("packed", packed((ns, first), (ns, other)), "2"))
    assert client.acknowledgements(1) == ["2"]
    assert relay.metric('events_total{outcome="duplicate"}') == 1
    assert [(one["reason"]["type"], one["record"]) for one in relay.letters()] == [("conflict", other)]
    found = stored(opensearch, first)
    assert found is not None
    assert (found["_source"], found["_version"]) == (first, 1)


# What OpenSearch 3.4 refuses of a document in this mapping, and what fails a whole request.
POISON: dict[str, Any] = {
    "text_for_an_object": {"user": "ada"},
    "object_for_a_keyword": {"organization": {"id": {"deep": 1}}},
    "list_of_scalars_for_objects": {"audit": {"changes": ["x"]}},
    "dots": {"a..b": 1},
    "empty_name": {"": 1},
    "long_name": {"k" * 60_000: 1},
}


@pytest.mark.parametrize("name", POISON)
def test_a_poison_document_is_a_dead_letter_and_its_neighbours_are_stored(
    relay: RunningRelay, opensearch: RealOpenSearch, name: str
) -> None:
    before, after = now_document(), now_document()
    ns, bad = now_document()
    bad |= POISON[name]
    chunk = message("packed", packed(before, (ns, bad), after), "c")
    assert Client(relay.port).send(chunk).acknowledgements(1) == ["c"]
    [letter] = relay.letters()
    assert letter["reason"]["type"] == "mapper_parsing_exception"
    assert letter["record"] == bad
    assert stored(opensearch, before[1])
    assert stored(opensearch, after[1])
    assert stored(opensearch, bad) is None


def test_what_the_checks_keep_out_would_fail_its_neighbours_and_is_found_among_them(
    opensearch: RealOpenSearch,
) -> None:
    """An `_id` over 512 bytes fails the whole request: the attempt divides it until the culprit is alone."""
    events = []
    for n in range(9):
        ns, record = now_document()
        event_id = "x" * 600 if n == 4 else record["event"]["id"]
        events.append(Event(event_id, index_of(ns), record["audit"]["hash"], orjson.dumps(record), ns, "t"))
    outcomes = [verdict.outcome for verdict in attempt(open_transport(opensearch.shipper), events).verdicts]
    assert outcomes == [Outcome.DONE] * 4 + [Outcome.NEVER] + [Outcome.DONE] * 4


def test_a_month_that_does_not_exist_is_waited_for_and_nobody_else_makes_it(
    relay: RunningRelay, opensearch: RealOpenSearch
) -> None:
    ns = parse_time("1987-05-05T00:00:00Z")
    early, now = document(ns), now_document()
    client = Client(relay.port).send(message("packed", packed((ns, early), now), "c"))
    until(lambda: relay.metric('waiting_events{reason="missing_index"}') == 1)
    assert stored(opensearch, now[1])
    assert relay.letters() == []
    opensearch.request("PUT", "/audit-events-1987.05")
    assert client.acknowledgements(1) == ["c"]
    assert stored(opensearch, early)


@pytest.mark.parametrize("trouble", ["permission", "credentials"])
def test_without_the_role_and_with_a_wrong_password_events_wait(
    opensearch: RealOpenSearch, tmp_path: Path, trouble: str
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not-the-password\n")
    settings = opensearch.add_user() if trouble == "permission" else opensearch.settings("audit_shipper", wrong)
    with running_relay(settings, tmp_path / "dead") as relay:
        Client(relay.port).send(message("packed", packed(now_document()), "c"))
        until(lambda: relay.metric(f'waiting_events{{reason="{trouble}"}}') == 1)
        assert relay.letters() == []


@pytest.mark.parametrize("precise", [True, False])
def test_fluent_logger_works_unchanged(relay: RunningRelay, opensearch: RealOpenSearch, precise: bool) -> None:
    sender = FluentSender("audit", port=relay.port, nanosecond_precision=precise)
    events = [now_document() for _ in range(20)]
    for ns, record in events:
        assert sender.emit_with_time(None, EventTime.from_unix_nano(ns) if precise else ns // 10**9, record)
    sender.close()
    until(lambda: relay.metric('events_total{outcome="created"}') == 20)
    assert all(stored(opensearch, record) for _, record in events)


@pytest.mark.fluent_bit
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compress": "gzip"},
        {"time_as_integer": "on"},
        {"retain_metadata_in_forward_mode": "on"},
        {"tag": "other"},
    ],
    ids=str,
)
def test_fluent_bit_forwards_with_acknowledgement_unchanged(
    relay: RunningRelay,
    opensearch: RealOpenSearch,
    tmp_path: Path,
    fluent_bit_program: str,
    options: dict[str, str],
) -> None:
    port = free_port()
    extra = [part for name, value in options.items() for part in ("-p", f"{name}={value}")]
    command = [
        *(fluent_bit_program, "-f", "0.2", "-i", "forward", "-p", "listen=127.0.0.1", "-p", f"port={port}"),
        *("-o", "forward", "-m", "*", "-p", "host=127.0.0.1", "-p", f"port={relay.port}"),
        *("-p", "require_ack_response=true", *extra),
    ]
    log = (tmp_path / "fluent-bit.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        events = [now_document(audit__details={"null": None, "list": [], "big": 2**53 - 1}) for _ in range(30)]
        client = until(lambda: _connect(port))
        chunk = message("packed", packed(*events), "c")
        assert client.send(chunk).acknowledgements(1) == ["c"]
        until(lambda: relay.metric('events_total{outcome="created"}') == 30)
        until(lambda: (relay.metric("acknowledgements_total") or 0) >= 1)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)
        log.close()
    for _, record in events:
        found = stored(opensearch, record)
        assert found is not None
        assert found["_source"] == record
    said = (tmp_path / "fluent-bit.log").read_text()
    assert "retry" not in said, said


def _connect(port: int) -> Client | None:
    try:
        return Client(port)
    except ConnectionRefusedError:
        return None


def test_the_command_serves_and_stops_on_sigterm(opensearch: RealOpenSearch, tmp_path: Path) -> None:
    port, metrics = free_port(), free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "auditpipe.cli", "relay", "--listen", f"127.0.0.1:{port}"),
            *("--metrics", f"127.0.0.1:{metrics}", "--dead-letters", str(tmp_path / "dead")),
        ],
        env={**os.environ, **opensearch.environment("shipper")},
        stderr=subprocess.PIPE,
    )
    try:
        client = until(lambda: _connect(port))
        ns, record = now_document()
        assert client.send(msgpack.packb(["t", event_time(ns), record, {"chunk": "c"}])).acknowledgements(1) == ["c"]
        assert stored(opensearch, record)
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0, process.stderr and process.stderr.read()
    assert oct((tmp_path / "dead").stat().st_mode)[-3:] == "700"


def test_an_id_of_another_client_is_not_needed_to_be_ours(relay: RunningRelay, opensearch: RealOpenSearch) -> None:
    """Events of any emitter are taken that have an id and a time; all else in them is the schema's business."""
    ns = time_ns()
    record = {"@timestamp": document(ns)["@timestamp"], "event": {"id": new_event_id(ns)}, "anything": [1.5, None]}
    assert Client(relay.port).send(message("packed", packed((ns, record)), "c")).acknowledgements(1) == ["c"]
    found = stored(opensearch, record)
    assert found is not None
    assert found["_source"] == record
