"""Clients that mean harm: the relay stays up, serves the others meanwhile, and says what it refused.

What is no Forward message, and what no stream, is in test_protocol.py and test_relay.py; who is not let in at all in
test_secured.py; memory in test_memory.py.
"""

import gzip
import ssl
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any, Self

import msgpack
import pytest

from auditpipe.pipeline.local import certificates
from auditpipe.pipeline.relay.config import Limits
from auditpipe.pipeline.relay.security import Security, load_security
from tests.pipeline.relay.fake import FakeOpenSearch
from tests.pipeline.relay.running import RunningRelay, running_relay
from tests.pipeline.relay.wire import Client, entry, message, ping, record
from tests.waiting import until

#: A map in which a list is in a list, and so on.
DEEP = b"\x81\xa1x" + b"\x91" * 1500 + b"\xc0"


def refused(relay: RunningRelay, reason: str) -> float:
    return relay.metric(f'refused_connections_total{{reason="{reason}"}}') or 0


class Neighbour:
    """A good client that sends an event after the other, each on its acknowledgement, and on a connection of its own
    where `again`.
    """

    def __init__(self, port: int, *, again: bool = False) -> None:
        self.served = 0
        self._port, self._again = port, again
        self._stop = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        client = Client(self._port)
        while not self._stop.wait(0.01):
            if self._again:
                client.close()
                client = Client(self._port)
            self.served += client.send(message("packed", [entry(record())], "n")).acknowledgements(1) == ["n"]
        client.close()

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: self.served)
        return self

    def __exit__(self, *_: object) -> None:
        before = self.served
        until(lambda: self.served > before + 1)
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive()


# -- records


def test_hostile_records_are_dead_letters_and_their_neighbours_are_stored(
    relay: RunningRelay, fake: FakeOpenSearch
) -> None:
    """One chunk with all of them: not one that holds up a good event, not one that is lost."""
    good = [record(), record(number=2**64 - 1), record()]
    named = record()
    bad = {
        "not_a_map": [packed(one) for one in (None, 5, "text", b"bytes", [1, 2], True)],
        "undecodable": [b"\x81\x80\x01", DEEP, b"\x81\xa1x" * 80_000 + b"\x01"],
        "bad_id": [packed(named | {"event": {"id": one}}) for one in ("x" * 513, "\x00", "../_all", 7, None)],
        "not_json": [
            packed(record(x=float("nan"))),
            packed(record(x=float("-inf"))),
            packed(record(x=msgpack.ExtType(1, b"\x01" + bytes(8)))),  # an integer beyond 64 bits has no other form
            packed(record(x="ab")).replace(b"\xa2ab", b"\xa2\xff\xfe"),
            packed(record(x=b"bytes")),
        ],
        "too_large": [packed(record(x="x" * 2**20))],
    }
    entries = [packed_entry(one) for reason in bad.values() for one in reason]
    entries.append(entry(record(), 2**63))  # seconds, whose nanoseconds are beyond 64 bits
    for place, one in zip((0, len(entries) // 2, len(entries)), good, strict=True):
        entries.insert(place, entry(one))
    assert Client(relay.port).send(message("packed", entries, "c")).acknowledgements(1) == ["c"]
    assert list(fake.documents.values()) == good
    bad["bad_time"] = [entries[-2]]
    for reason, records in bad.items():
        assert relay.metric(f'dead_letters_total{{reason="{reason}"}}') == len(records), reason
    assert len(relay.letters()) == sum(map(len, bad.values()))


@pytest.mark.parametrize("mode", ["packed", "compressed"])
def test_a_record_nested_deeper_than_can_be_read_holds_up_neither_its_chunk_nor_its_connection(
    relay: RunningRelay, fake: FakeOpenSearch, mode: str
) -> None:
    """Its client would send the chunk for ever, and what is behind it would never arrive."""
    good = [record(), record()]
    client = Client(relay.port)
    for chunk in ("1", "2"):
        client.send(message(mode, [entry(good[0]), packed_entry(DEEP), entry(good[1])], chunk))
    assert client.acknowledgements(2) == ["1", "2"]
    assert list(fake.documents.values()) == good
    for letter in relay.letters():
        assert letter["reason"] == {
            "type": "undecodable",
            "detail": "expected a map with string keys: it is nested deeper than MessagePack readers follow",
        }
        assert b64decode(letter["msgpack"]) == DEEP
    assert len(relay.letters()) == 2


@pytest.mark.parametrize("mode", ["message", "forward", "packed"])
def test_where_the_end_of_one_nested_too_deep_is_not_looked_for_the_connection_ends(
    relay: RunningRelay, mode: str
) -> None:
    size = 300_000 if mode == "packed" else 1500
    client = Client(relay.port).send(message(mode, [packed_entry(b"\x91" * size + b"\xc0")], "c"))
    assert client.is_closed()
    assert refused(relay, "nested_too_deep") == 1


def packed(value: Any) -> bytes:
    data: bytes = msgpack.packb(value)
    return data


def packed_entry(record: bytes) -> bytes:
    return entry(None)[:-1] + record


# -- messages


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (message("packed", [entry(record())], "c")[:-4], "cut_off"),
        (b"\x93\xa5audit\xdd\xff\xff\xff\xff" + entry({})[:9], "cut_off"),
        (b"\xdb\xff\xff\xff\xffaudit", "cut_off"),
        (b"\xdf\xff\xff\xff\xff\xa5audit", "cut_off"),
        (b"\x93\xa5audit\xc9\xff\xff\xff\xfe\x00", "cut_off"),
        # msgpack takes 2^32 - 1 and the type's byte for none at all.
        (b"\x93\xa5audit\xc9\xff\xff\xff\xff\x00", "not_forward"),
    ],
    ids=["truncated", "array of 4 Gi", "str of 4 GiB", "map of 4 Gi", "ext of 4 GiB", "ext of 4 GiB - 1"],
)
def test_what_never_comes_to_its_end_is_counted_when_the_client_leaves(
    relay: RunningRelay, fake: FakeOpenSearch, data: bytes, reason: str
) -> None:
    Client(relay.port).send(data).close()
    until(lambda: refused(relay, reason) == 1)
    assert fake.documents == {}


def bomb(content: bytes) -> bytes:
    return packed(["audit", gzip.compress(content), {"compressed": "gzip", "chunk": "c"}])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bomb(entry({"x": "x" * 900_000}) * 80), "inflates_too_large"),
        (bomb(entry({"x": b"\0" * 50_000_000})), "too_large"),
        (bomb(gzip.compress(bytes(80_000_000))), "not_an_entry"),
        (packed(["audit", b"x" * 50_000_000, {"chunk": "c"}]), "too_large"),
        (packed(["audit", 1, {"x": "x" * 50_000_000}, {"chunk": "c"}]), "too_large"),
    ],
    ids=["80 MB in gzip", "an event of 50 MB in gzip", "gzip in gzip", "a chunk of 50 MB", "an event of 50 MB"],
)
def test_what_is_too_large_is_refused_while_another_client_is_served(
    relay: RunningRelay, caplog: pytest.LogCaptureFixture, data: bytes, reason: str
) -> None:
    with Neighbour(relay.port):
        client = Client(relay.port)
        with suppress(OSError):  # it is closed before the last byte
            client.send(data)
        assert client.is_closed()
        assert refused(relay, reason) == 1
    assert f": {reason}: " in caplog.text


# -- time


def test_slow_senders_are_sent_away_and_hold_up_nobody(fake: FakeOpenSearch, tmp_path: Path) -> None:
    """Each sends a byte now and then, which is never a pause: what counts is the time for a whole message."""
    limits = Limits(pause=5.0, arrival=1.5, stop=2.0)
    with running_relay(fake.settings, tmp_path, limits) as relay, Neighbour(relay.port, again=True):
        slow = [Client(relay.port).send(b"\x93\xa5audit\xc6\x00\x10\x00\x00") for _ in range(30)]
        deadline = monotonic() + 60
        while refused(relay, "too_slow") < 30:
            assert monotonic() < deadline
            for one in slow:
                try:
                    one.send(b"x")
                except OSError:
                    continue  # this one is gone already
            sleep(0.1)


def test_who_reserves_room_and_dawdles_makes_way_for_who_waits_for_it(fake: FakeOpenSearch, tmp_path: Path) -> None:
    limits = Limits(message=2**20, reading=2**20, pause=5.0, arrival=600.0, crowded=0.5, stop=2.0)
    with running_relay(fake.settings, tmp_path, limits) as relay:
        slow = Client(relay.port).send(b"\x93\xa5audit\xc6" + (900_000).to_bytes(4, "big") + bytes(2**17))
        until(lambda: relay.metric("reading_bytes"))
        good = Client(relay.port).send(message("packed", [entry(record(x="x" * 500_000))], "c"))
        answers: list[Any] = []
        waiting = Thread(target=lambda: answers.extend(good.acknowledgements(1)))
        waiting.start()
        deadline = monotonic() + 60
        while not answers:
            assert monotonic() < deadline
            with suppress(OSError):  # sent away, as it should be
                slow.send(b"x")
            sleep(0.1)
        waiting.join()
        assert (answers, refused(relay, "too_slow")) == (["c"], 1)


# -- places


def test_idle_connections_lock_nobody_out(
    fake: FakeOpenSearch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running_relay(fake.settings, tmp_path, Limits(connections=8, stop=2.0)) as relay:
        kept = Client(relay.port).send(message("packed", [entry(record())], "1"))
        assert kept.acknowledgements(1) == ["1"]
        with Neighbour(relay.port, again=True):
            idle = [Client(relay.port) for _ in range(100)]
            until(lambda: refused(relay, "displaced") > 50)
            assert (relay.metric("open_connections") or 0) <= 8
        assert kept.send(message("packed", [entry(record())], "2")).acknowledgements(1) == ["2"], (
            "it has shown something"
        )
        assert "displaced" in caplog.text
        for one in idle:
            one.close()


def test_those_who_were_served_and_fell_silent_make_room_too(fake: FakeOpenSearch, tmp_path: Path) -> None:
    with running_relay(fake.settings, tmp_path, Limits(connections=3, idle=0.3, stop=2.0)) as relay:
        silent = [Client(relay.port).send(message("packed", [], "c")) for _ in range(3)]
        assert [one.acknowledgements(1) for one in silent] == [["c"]] * 3
        sleep(0.5)
        assert Client(relay.port).send(message("packed", [], "c")).acknowledgements(1) == ["c"]
        assert silent[0].is_closed()
        assert refused(relay, "displaced") == 1


def test_nobody_whose_events_are_on_their_way_makes_room(fake: FakeOpenSearch, tmp_path: Path) -> None:
    fake.running.clear()
    with running_relay(fake.settings, tmp_path, Limits(connections=3, idle=0.0, stop=2.0)) as relay:
        waiting = [Client(relay.port).send(message("packed", [entry(record())], f"{n}")) for n in range(3)]
        until(lambda: relay.metric('messages_total{mode="packed"}') == 3)
        assert Client(relay.port).is_closed()
        assert refused(relay, "too_many") == 1
        fake.running.set()
        assert [one.acknowledgements(1) for one in waiting] == [["0"], ["1"], ["2"]]


@pytest.mark.parametrize("stuck", ["before TLS", "in TLS", "before PING", "in PING"])
def test_who_has_not_proved_the_key_keeps_no_place_from_who_can(
    fake: FakeOpenSearch, tmp_path: Path, stuck: str
) -> None:
    certs = certificates.ensure(tmp_path / "certs")
    (tmp_path / "key").touch(0o600)
    (tmp_path / "key").write_text("the key")
    tls = ssl.create_default_context(cafile=certs.ca) if "TLS" in stuck else None
    pair = (certs.node.certificate, certs.node.key) if tls else (None, None)
    security: Security = load_security(*pair, tmp_path / "key")
    limits = Limits(connections=6, handshake=600.0, stop=2.0)
    with running_relay(fake.settings, tmp_path / "dead", limits, security) as relay:
        hostile = [Client(relay.port) for _ in range(20)]
        for one in hostile[-6:]:
            one.socket.sendall({"in TLS": b"\x16\x03\x01\x02\x00\x01", "in PING": ping("", b"")[:40]}.get(stuck, b""))
        for n in range(3):
            client = Client(relay.port, tls=tls)
            assert client.prove("the key")[1] is True
            assert client.send(message("packed", [entry(record())], f"c{n}")).acknowledgements(1) == [f"c{n}"]
        assert refused(relay, "displaced") >= 14
        assert refused(relay, "too_many") == 0


# -- answers


def test_who_never_reads_its_acknowledgements_is_sent_away(relay: RunningRelay) -> None:
    with Neighbour(relay.port):
        deaf = Client(relay.port)
        with pytest.raises(OSError, match=r".*"):
            for n in range(10**6):
                deaf.send(b"".join(message("packed", [], f"{n}-{m}".ljust(250)) for m in range(100)))
        assert refused(relay, "deaf") == 1


def test_who_closes_its_side_and_reads_no_answer_holds_its_place_for_a_short_time(
    fake: FakeOpenSearch, tmp_path: Path
) -> None:
    """Some acknowledgements are in the kernel, some still here: what is written to nobody must come to an end."""
    with running_relay(fake.settings, tmp_path, Limits(closing=0.3, stop=2.0)) as relay:
        deaf = Client(relay.port)
        deaf.socket.setsockopt(6, 10, 1)  # TCP_WINDOW_CLAMP: the kernel takes little
        sent = 0
        while not refused(relay, "deaf") and sent < 12_000:
            deaf.send(b"".join(message("packed", [], f"{m}".ljust(250)) for m in range(500)))
            sent += 500
        deaf.socket.shutdown(1)
        until(lambda: relay.metric("open_connections") == 0)
