"""The relay as a whole, against a fake OpenSearch that can be told to fail (see fake.py)."""

import shutil
import socket
from pathlib import Path
from time import monotonic, sleep

import msgpack
import pytest

from auditpipe.pipeline.relay.config import Limits, RelayConfig
from auditpipe.schemas.errors import NotFinished, SettingsError
from auditpipe.schemas.settings import load
from tests.conftest import free_port
from tests.pipeline.relay.fake import CUT, FakeOpenSearch, Fault
from tests.pipeline.relay.running import RunningRelay, running_relay
from tests.pipeline.relay.wire import MODES, Client, entry, message, record
from tests.waiting import until


def poison(_index: str, document: dict[str, object]) -> dict[str, object] | None:
    if document.get("message") != "poison":
        return None
    return {"status": 400, "error": {"type": "mapper_parsing_exception", "reason": "no \x1b[31m"}}


@pytest.mark.parametrize("mode", MODES)
def test_a_chunk_is_acknowledged_when_its_events_are_stored(
    relay: RunningRelay, fake: FakeOpenSearch, mode: str
) -> None:
    records = [record() for _ in range(1 if mode == "message" else 3)]
    client = Client(relay.port).send(b"\xc0", message(mode, [entry(one) for one in records], "c1"))
    assert client.acknowledgements(1) == ["c1"]
    assert list(fake.documents.values()) == records


def test_the_chunk_comes_back_as_it_was_sent(relay: RunningRelay) -> None:
    client = Client(relay.port).send(msgpack.packb(["t", entry(record()), {b"chunk": b"\xff\x00"}]))
    assert client.acknowledgements(1) == [b"\xff\x00"]
    no_text = msgpack.packb(["t", entry(record()), {"chunk": "xx"}]).replace(b"\xa2xx", b"\xa2\xff\xfe")
    assert client.send(no_text).socket.recv(100) == b"\x81\xa3ack\xa2\xff\xfe"


def test_an_empty_chunk_is_acknowledged(relay: RunningRelay) -> None:
    assert Client(relay.port).send(message("packed", [], "c")).acknowledgements(1) == ["c"]


def test_without_chunk_nothing_is_answered_and_all_is_stored(relay: RunningRelay, fake: FakeOpenSearch) -> None:
    client = Client(relay.port).send(message("packed", [entry(record())]))
    client.close()
    until(lambda: len(fake.documents) == 1)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(),
        CUT,
        Fault(429, b'{"error":"slow down"}', (("Retry-After", "1"),)),
        Fault(401, b"Unauthorized"),
        Fault(403, b'{"error":{"type":"security_exception","reason":"no permissions"}}'),
        Fault(200, b"<html>a proxy</html>"),
        Fault(200, b'{"items":[]}'),
        Fault(200, b'{"items":[{"create":{"status":200,"result":"noop"}}]}'),
        Fault(200, b'\xff\xfe{"items":'),
        Fault(302, b"", (("Location", "http://127.0.0.1:1/"),)),
        Fault(400, b"bad request"),
        Fault(404, b"not here"),
        Fault(500, b""),
    ],
    ids=lambda fault: f"{fault.status} {fault.body}",
)
def test_nothing_is_acknowledged_or_given_up_for_an_outage(
    relay: RunningRelay, fake: FakeOpenSearch, fault: Fault
) -> None:
    fake.outage = fault
    client = Client(relay.port, timeout=0.5).send(message("packed", [entry(record())], "c1"))
    with pytest.raises(TimeoutError):
        client.acknowledgements(1)
    status, text = relay.page("/healthz")
    assert (status, "1 events wait: " in text) == (503, True)
    assert (fake.documents, relay.letters()) == ({}, [])
    fake.outage = None
    client.socket.settimeout(120)
    assert client.acknowledgements(1) == ["c1"]
    assert relay.page("/healthz") == (200, "ok\n")
    assert relay.metric('dead_letters_total{reason="request_too_large"}') is None


def test_retry_after_is_honoured(relay: RunningRelay, fake: FakeOpenSearch) -> None:
    fake.faults = [Fault(429, b"{}", (("Retry-After", "2"),))]
    began = monotonic()
    assert Client(relay.port).send(message("packed", [entry(record())], "c")).acknowledgements(1) == ["c"]
    # The default back-off would have been back after 0.2 s.
    assert monotonic() - began >= 2.0
    assert len(fake.requests) == 2


def test_a_poison_event_is_kept_and_its_neighbours_are_stored(relay: RunningRelay, fake: FakeOpenSearch) -> None:
    fake.rule = poison
    good, bad = [record(), record()], record(message="poison")
    entries = [entry(good[0]), entry(bad), entry({"no": "id"}), entry(good[1])]
    assert Client(relay.port).send(message("packed", entries, "c")).acknowledgements(1) == ["c"]
    assert list(fake.documents.values()) == good
    by_reason = {letter["reason"]["type"]: letter for letter in relay.letters()}
    assert by_reason["mapper_parsing_exception"]["record"] == bad
    assert by_reason["bad_id"]["msgpack"]
    assert relay.metric('events_total{outcome="dead_letter"}') == 2


def test_a_missing_month_holds_up_nobody_else(relay: RunningRelay, fake: FakeOpenSearch) -> None:
    missing = {"status": 404, "error": {"type": "index_not_found_exception", "reason": "no such index"}}
    fake.rule = lambda _, document: missing if document["message"] == "early" else None
    waiting = Client(relay.port).send(message("packed", [entry(record(message="early")), entry(record())], "w"))
    until(lambda: relay.metric('waiting_events{reason="missing_index"}') == 1)
    for n in range(5):
        other = Client(relay.port).send(message("packed", [entry(record())], f"c{n}"))
        assert other.acknowledgements(1) == [f"c{n}"]
    assert (relay.metric("oldest_chunk_seconds") or 0) > 0
    fake.rule = lambda _, __: None
    assert waiting.acknowledgements(1) == ["w"]


def test_an_event_sent_again_is_stored_once_and_acknowledged_each_time(
    relay: RunningRelay, fake: FakeOpenSearch
) -> None:
    data = message("packed", [entry(record())] * 3, "c")
    assert Client(relay.port).send(data, data).acknowledgements(2) == ["c", "c"]
    assert (len(fake.documents), relay.letters()) == (1, [])
    assert relay.metric('events_total{outcome="duplicate"}') == 5


def test_another_event_under_the_same_id_is_a_conflict_that_is_kept(relay: RunningRelay, fake: FakeOpenSearch) -> None:
    first = record()
    second = first | {"message": "other", "audit": {"hash": "0" * 64}}
    third = first | {"audit": {}}
    client = Client(relay.port).send(message("packed", [entry(one) for one in (first, second, third)], "c"))
    assert client.acknowledgements(1) == ["c"]
    assert list(fake.documents.values()) == [first]
    assert [(x["reason"]["type"], x["record"]) for x in relay.letters()] == [("conflict", second), ("conflict", third)]


def test_one_event_that_is_too_large_for_a_request_is_found_among_its_neighbours(
    relay: RunningRelay, fake: FakeOpenSearch
) -> None:
    large = record(text="x" * 50_000)
    entries = [entry(record()) for _ in range(20)]
    entries.insert(7, entry(large))
    fake.largest = 20_000
    assert Client(relay.port).send(message("packed", entries, "c")).acknowledgements(1) == ["c"]
    assert len(fake.documents) == 20
    assert [letter["record"] for letter in relay.letters()] == [large]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "not_forward"),
        (b"\xc1" * 10, "not_msgpack"),
        (b"\x91" * 5000, "nested_too_deep"),
        (b"\x92\xa1t\xc6\xff\xff\xff\xff" + bytes(2**19), "too_large"),
        (msgpack.packb(["t", b"\x93\x01"]), "cut_off"),
    ],
)
def test_a_bad_connection_is_closed_and_counted_and_disturbs_nobody(
    relay: RunningRelay, data: bytes, reason: str
) -> None:
    neighbour = Client(relay.port)
    assert Client(relay.port).send(data).is_closed()
    assert relay.metric(f'refused_connections_total{{reason="{reason}"}}') == 1
    assert neighbour.send(message("packed", [entry(record())], "n")).acknowledgements(1) == ["n"]


def test_a_message_that_stops_half_way_is_not_waited_for_for_ever(fake: FakeOpenSearch, tmp_path: Path) -> None:
    with running_relay(fake.settings, tmp_path, Limits(pause=0.2)) as relay:
        idle = Client(relay.port)
        assert Client(relay.port).send(message("packed", [entry(record())])[:-3]).is_closed()
        assert relay.metric('refused_connections_total{reason="too_slow"}') == 1
        assert idle.send(message("packed", [entry(record())], "c")).acknowledgements(1) == ["c"], "idle is no fault"


def test_more_connections_than_allowed_are_refused(fake: FakeOpenSearch, tmp_path: Path) -> None:
    with running_relay(fake.settings, tmp_path, Limits(connections=2)) as relay:
        kept = [Client(relay.port).send(message("packed", [], "c")) for _ in range(2)]
        assert [client.acknowledgements(1) for client in kept] == [["c"], ["c"]]
        assert Client(relay.port).is_closed()


def test_memory_is_bounded_and_waiting_clients_are_served_in_the_end(fake: FakeOpenSearch, tmp_path: Path) -> None:
    """An outage, and clients that send far more than the relay may hold: it stops reading, and goes on afterwards."""
    fake.outage = Fault()
    limits = Limits(message=2**20, reading=2**20, waiting=200_000, bulk=100_000)
    with running_relay(fake.settings, tmp_path, limits) as relay:
        clients = []
        for n in range(12):
            client = Client(relay.port)
            client.socket.setblocking(False)
            data = message("packed", [entry(record(text="x" * 5000)) for _ in range(80)], f"c{n}")
            clients.append((client, data[client.socket.send(data) :]))
        until(lambda: (relay.metric("held_bytes") or 0) > 0)
        sleep(0.5)
        # What waits may be over by the one group of events that was let in last.
        assert (relay.metric("held_bytes") or 0) <= 200_000 + 500 * 7600
        assert (relay.metric("reading_bytes") or 0) <= 2**20
        fake.outage = None
        for n, (client, rest) in enumerate(clients):
            client.socket.settimeout(120)
            assert client.send(rest).acknowledgements(1) == [f"c{n}"]
    assert len(fake.documents) == 12 * 80


def test_what_a_client_gave_up_waiting_for_is_dropped_and_done_when_it_comes_again(
    fake: FakeOpenSearch, tmp_path: Path
) -> None:
    fake.outage = Fault()
    with running_relay(fake.settings, tmp_path) as relay:
        data = message("packed", [entry(record())], "c")
        for _ in range(3):
            client = Client(relay.port).send(data)
            until(lambda: relay.metric('waiting_events{reason="server_error"}'))
            client.close()
        until(lambda: relay.metric('events_total{outcome="dropped"}') == 3)
        assert relay.metric("held_bytes") == 0
        fake.outage = None
        assert Client(relay.port).send(data).acknowledgements(1) == ["c"]


def test_a_client_that_leaves_while_its_message_waits_for_room_holds_no_connection(
    fake: FakeOpenSearch, tmp_path: Path
) -> None:
    """Else the clients of a long outage, who give up and come again, would use up all connections."""
    fake.outage = Fault()
    with running_relay(fake.settings, tmp_path, Limits(waiting=1)) as relay:
        first = Client(relay.port).send(message("packed", [entry(record())], "1"))
        until(lambda: relay.metric("held_bytes"))
        second = Client(relay.port).send(message("packed", [entry(record())], "2"))
        until(lambda: relay.metric('messages_total{mode="packed"}') == 2)
        second.close()
        until(lambda: relay.metric("open_connections") == 1)
        fake.outage = None
        assert first.acknowledgements(1) == ["1"]


def test_stopping_finishes_what_is_in_flight_and_logs_no_error(
    fake: FakeOpenSearch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake.faults = [Fault()]
    with running_relay(fake.settings, tmp_path) as relay:
        Client(relay.port)  # idle
        client = Client(relay.port).send(message("packed", [entry(record())], "c"))
        until(lambda: fake.requests)
        relay.stop()
        assert client.acknowledgements(1) == ["c"]
        assert relay.error is None
    assert [one.message for one in caplog.records if one.levelname == "ERROR"] == []
    assert any(
        "events wait, nothing is lost: server_error" in said and "503: unavailable" in said for said in caplog.messages
    )


def test_stopping_in_an_outage_acknowledges_nothing_and_says_what_nobody_sends_again(
    fake: FakeOpenSearch, tmp_path: Path
) -> None:
    fake.outage = Fault()
    with running_relay(fake.settings, tmp_path, Limits(stop=0.3)) as relay:
        asked = Client(relay.port).send(message("packed", [entry(record())], "c"))
        until(lambda: relay.metric('waiting_events{reason="server_error"}') == 1)
        relay.stop()
        assert asked.acknowledgements(1) == []
        assert relay.error is None, "its client sends it again"
    with running_relay(fake.settings, tmp_path, Limits(stop=0.3)) as relay:
        Client(relay.port).send(message("packed", [entry(record())]))
        until(lambda: relay.metric('waiting_events{reason="server_error"}') == 1)
        relay.stop()
        assert isinstance(relay.error, NotFinished)


def test_a_node_that_hangs_is_an_alarm_before_the_request_ends(fake: FakeOpenSearch, tmp_path: Path) -> None:
    """A request may take a minute and a half: until then nothing has failed, and nothing arrives either."""
    fake.running.clear()
    with running_relay(fake.settings, tmp_path, Limits(stop=0.2, unanswered=0.2)) as relay:
        client = Client(relay.port).send(message("packed", [entry(record()), entry(record())], "c"))
        assert until(lambda: relay.metric('waiting_events{reason="unanswered"}')) == 2
        assert relay.page("/healthz") == (503, "2 events wait: unanswered\n")
        fake.running.set()
        assert client.acknowledgements(1) == ["c"]
        assert relay.page("/healthz") == (200, "ok\n")


def test_why_opensearch_is_out_of_reach_is_told(tmp_path: Path) -> None:
    nobody = load({"url": f"http://127.0.0.1:{free_port()}"}, environment={})
    with running_relay(nobody, tmp_path, Limits(stop=0.2)) as relay:
        Client(relay.port).send(message("packed", [entry(record())], "c"))
        until(lambda: relay.page("/healthz")[0] == 503)
        assert f"1 events wait: unreachable: {nobody.url}: nothing listens there" in relay.page("/healthz")[1]


def test_a_node_that_hangs_holds_up_neither_the_status_pages_nor_the_end(fake: FakeOpenSearch, tmp_path: Path) -> None:
    fake.running.clear()
    with running_relay(fake.settings, tmp_path, Limits(stop=0.2)) as relay:
        client = Client(relay.port).send(message("packed", [entry(record())], "c"))
        until(lambda: fake.paused)
        assert (relay.metric("oldest_chunk_seconds") or 0) > 0
        relay.stop()  # joins its thread, with a bound far below the transport's own timeout
        assert client.acknowledgements(1) == []
    fake.running.set()
    with running_relay(fake.settings, tmp_path) as relay:
        again = message("packed", [entry(one) for one in fake.documents.values()] or [entry(record())], "c")
        assert Client(relay.port).send(again).acknowledgements(1) == ["c"]


def test_nothing_is_acknowledged_while_dead_letters_can_not_be_written(fake: FakeOpenSearch, tmp_path: Path) -> None:
    folder = tmp_path / "dead"
    with running_relay(fake.settings, folder) as relay:
        shutil.rmtree(folder)
        client = Client(relay.port, timeout=0.5).send(message("packed", [entry({"no": "id"})], "c"))
        with pytest.raises(TimeoutError):
            client.acknowledgements(1)
        assert relay.metric('waiting_events{reason="dead_letters"}') == 1
        folder.mkdir()
        client.socket.settimeout(120)
        assert client.acknowledgements(1) == ["c"]
        assert len(relay.letters()) == 1


def test_what_opensearch_refuses_holds_up_no_other_while_dead_letters_can_not_be_written(
    fake: FakeOpenSearch, tmp_path: Path
) -> None:
    """Once as many of them as bulks may be in flight ended all delivery."""
    folder = tmp_path / "dead"
    fake.rule = poison
    with running_relay(fake.settings, folder) as relay:
        shutil.rmtree(folder)
        bad = [Client(relay.port) for _ in range(3)]
        for n, client in enumerate(bad):
            client.send(message("packed", [entry(record(message="poison")), entry(record())], f"b{n}"))
            until(lambda count=n + 1: relay.metric('waiting_events{reason="dead_letters"}') == count)
        for n in range(3):
            other = Client(relay.port).send(message("packed", [entry(record())], f"c{n}"))
            assert other.acknowledgements(1) == [f"c{n}"]
        assert len(fake.documents) == 6, "the neighbours in their own chunks too"
        assert relay.page("/healthz") == (503, "3 events wait: dead_letters\n")
        assert relay.metric('events_total{outcome="dead_letter"}') is None
        bad.pop().close()
        until(lambda: relay.metric('events_total{outcome="dropped"}') == 1)
        assert relay.metric("acknowledgements_total") == 3
        folder.mkdir()
        assert [client.acknowledgements(1) for client in bad] == [["b0"], ["b1"]]
        assert len(relay.letters()) == 2
        assert relay.page("/healthz") == (200, "ok\n")


def test_a_client_that_leaves_while_its_dead_letters_can_not_be_written_leaves_no_alarm(
    fake: FakeOpenSearch, tmp_path: Path
) -> None:
    folder = tmp_path / "dead"
    with running_relay(fake.settings, folder) as relay:
        shutil.rmtree(folder)
        Client(relay.port).send(message("packed", [entry({"no": "id"})], "c")).close()
        until(lambda: relay.metric('waiting_events{reason="dead_letters"}') == 1)
        until(lambda: relay.metric("open_connections") == 0)
        assert relay.page("/healthz") == (200, "ok\n")


def test_a_port_in_use_is_said(fake: FakeOpenSearch, tmp_path: Path) -> None:
    from auditpipe.pipeline.relay.server import serve

    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = RelayConfig(fake.settings, ("127.0.0.1", taken.getsockname()[1]), tmp_path)
        with pytest.raises(SettingsError, match=r"can.t listen on 127\.0\.0\.1:"):
            serve(config)


def test_the_status_pages_answer_only_what_they_are(relay: RunningRelay) -> None:
    assert relay.page("/")[0] == 404
    with socket.create_connection(("127.0.0.1", relay.relay.ports[1])) as raw:
        raw.sendall(b"POST /metrics HTTP/1.1\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 405 ")
