"""Whatever record a foreign client puts into a chunk, its neighbours are stored, and it is stored or kept.

A record that Fluent Bit can't read hides itself and all that follows it from the output that delivers: the chunk is
then kept as a whole, and the replayer stores the rest.
"""

import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.request import urlopen

import msgpack
import pytest

from auditpipe.pipeline.deadletter import folder as dead
from auditpipe.pipeline.deadletter.replay import Replayer
from auditpipe.pipeline.local import certificates
from auditpipe.pipeline.relay.transport import open_transport
from tests.builders import Document
from tests.pipeline.fluent_bit.process import RunningFluentBit, shipping_to
from tests.pipeline.relay.fake import FakeOpenSearch, fake_opensearch
from tests.pipeline.relay.wire import MODES, START, Client, entry, event_time, message, record
from tests.waiting import until

pytestmark = pytest.mark.fluent_bit
#: Containers that Fluent Bit 5.1.1 reads in one another (MSGPACK_EMBED_STACK_SIZE), entry and record included.
DEPTH = 64
TIME: bytes = msgpack.packb(event_time(START))


def packed(value: Any, **options: Any) -> bytes:
    data: bytes = msgpack.packb(value, **options)
    return data


def nested(depth: int, around: bytes = b"\x81\xa1a") -> bytes:
    return around * depth + b"\x01"


def record_with(value: bytes, name: str, key: bytes = b"\xa1x") -> bytes:
    """A good record that says its name, and has one field more."""
    own = packed(record(message=f"this is {name}"))
    return bytes([own[0] + 1]) + own[1:] + key + value


VALUES = {
    "deepest": nested(DEPTH - 2),
    "deeper": nested(DEPTH - 1),
    "deep-95": nested(95),
    "deep-lists": nested(95, b"\x91"),
    "deeper-than-json": nested(500),
    "huge-map": packed({f"k{n}": n for n in range(2_000)}),
    "long-key": packed({"k" * 60_000: 1}),
    "extension": packed(msgpack.ExtType(5, b"abc")),
    "a-time": TIME,
    "no-utf-8": packed(b"\xff\xfe\x80a", use_bin_type=False),
    "not-a-number": packed(float("nan")),
    "infinite": packed(float("inf")),
    "uint64": packed(2**64 - 1),
    "binary": packed(b"\x00\xff\xfe"),
    "number-as-key": packed({1: 2}),
    "nil-as-key": b"\x81\xc0\x01",
    "list-as-key": b"\x81\x91\x01\x01",
}
ENTRIES = {
    **{name: b"\x92" + TIME + record_with(value, name) for name, value in VALUES.items()},
    "key-twice": b"\x92" + TIME + record_with(packed("this is key-twice"), "", key=packed("message")),
    "no-id": b"\x92" + TIME + packed({"x": "this is no-id"}),
    "empty": b"\x92" + TIME + b"\x80",
    "list": b"\x92" + TIME + packed(["this is list"]),
    "text": b"\x92" + TIME + packed("this is text"),
    "time-is-text": b"\x92\xa3now" + record_with(b"\x01", "time-is-text"),
    "time-is-negative": b"\x92\xff" + record_with(b"\x01", "time-is-negative"),
    "time-is-nil": b"\x92\xc0" + record_with(b"\x01", "time-is-nil"),
    "time-is-extension": b"\x92" + packed(msgpack.ExtType(3, bytes(8))) + record_with(b"\x01", "time-is-extension"),
    "three-elements": b"\x93" + TIME + record_with(b"\x01", "three-elements") + b"\x01",
    "one-element": b"\x91" + record_with(b"\x01", "one-element"),
}
#: Fluent Bit alone stores their neighbours, and them too: what it can't read ends among the rejected chunks.
STORED = {"deepest", "huge-map", "long-key", "uint64", "deeper", "deep-95", "deep-lists"}


@dataclass(frozen=True)
class World:
    fake: FakeOpenSearch
    shipper: RunningFluentBit
    neighbours: dict[str, list[Document]] = field(default_factory=dict)

    def send(self, name: str, body: bytes, mode: str = "packed") -> list[Any]:
        """One message with a good neighbour before and two behind."""
        good = self.neighbours[name] = [record(START + n) for n in range(3)]
        client = Client(self.shipper.launch.forward[1])
        try:
            entries = [entry(good[0]), body, entry(good[1]), entry(good[2])]
            return client.send(message(mode, entries, name)).acknowledgements(1)
        finally:
            client.close()

    def are_stored(self, documents: list[Document]) -> bool:
        return all(self.fake.documents.get(one["event"]["id"]) == one for one in documents)

    def stored(self, name: str) -> bool:
        with self.fake.lock:
            return any(f"this is {name}" in str(one) for one in self.fake.documents.values())

    def kept(self, name: str) -> bool:
        """Among the dead letters."""
        letters = [one for file in dead.files(self.shipper.launch.rejected) for one in dead.letters_of(file)]
        return any(f"this is {name}".encode() in (one.packed or str(one.record).encode()) for one in letters)


def refuse(_: str, document: dict[str, Any]) -> dict[str, Any] | None:
    """As the mapping does."""
    if isinstance(document.get("audit"), dict):
        return None
    return {"status": 400, "error": {"type": "mapper_parsing_exception", "reason": "failed to parse"}}


@pytest.fixture(scope="module")
def world(fluent_bit_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A Fluent Bit with a replayer that got all ENTRIES, each in a message of its own."""
    folder = tmp_path_factory.mktemp("shapes")
    authority = certificates.ensure(folder / "certs")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.node.certificate, authority.node.key)
    stop = threading.Event()
    with (
        fake_opensearch(context) as fake,
        shipping_to(fake, authority, fluent_bit_program, folder / "fb", retries=1) as shipper,
    ):
        fake.rule = refuse
        replayer = Replayer(open_transport(fake.settings_with(authority.ca)))
        watched = [shipper.launch.rejected]
        thread = threading.Thread(target=replayer.watch, args=(watched, stop), kwargs={"interval": 0.2})
        thread.start()
        made = World(fake, shipper)
        try:
            assert all(made.send(name, body) == [name] for name, body in ENTRIES.items())
            yield made
        finally:
            stop.set()
            thread.join(120)


@pytest.mark.parametrize("name", ENTRIES)
def test_its_neighbours_are_stored_as_they_were_sent(world: World, name: str) -> None:
    until(lambda: world.are_stored(world.neighbours[name]))


@pytest.mark.parametrize("name", [name for name in ENTRIES if name != "empty"])
def test_it_is_stored_or_kept_as_a_dead_letter(world: World, name: str) -> None:
    until(lambda: world.stored(name) or world.kept(name))
    assert world.stored(name) or name not in STORED


def test_what_comes_in_another_message_behind_an_unreadable_record_is_stored_too(world: World) -> None:
    """Fluent Bit puts the messages of all clients into one chunk file, until it sends it."""
    assert world.send("first", ENTRIES["deep-95"]) == ["first"]
    behind = [record(START) for _ in range(20)]
    world.shipper.send(behind)
    until(lambda: world.are_stored(behind + world.neighbours["first"]))


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "message"])
def test_no_mode_acknowledges_and_loses(world: World, mode: str) -> None:
    """In the mode Forward the message as a whole is not taken: it is still its client's."""
    acknowledged = world.send(mode, ENTRIES["deep-95"], mode)
    assert acknowledged == ([] if mode == "forward" else [mode])
    if acknowledged:
        until(lambda: world.are_stored(world.neighbours[mode]))


def test_it_is_told_in_the_log_and_counted(world: World) -> None:
    until(lambda: "Log event decoder error : -11" in world.shipper.log.read_text())
    address = f"http://127.0.0.1:{world.shipper.launch.http_port}/api/v2/metrics/prometheus"
    with urlopen(address, timeout=120) as answer:
        lines = answer.read().decode().splitlines()
    [errors] = [line for line in lines if line.startswith('fluentbit_output_errors_total{name="exit.1"}')]
    assert float(errors.split()[1]) > 0
