"""More chunks than Fluent Bit is usually told to hold open: what its retries give up is kept, each chunk of it."""

import threading
from pathlib import Path

import pytest

from auditpipe.pipeline.deadletter.replay import Replayer
from auditpipe.pipeline.fluent_bit import unkept
from auditpipe.pipeline.relay.transport import open_transport
from auditpipe.schemas.identity import new_event_id, parse_time
from tests.builders import Document, event
from tests.conftest import RealOpenSearch
from tests.pipeline.fluent_bit.conftest import Make
from tests.pipeline.fluent_bit.process import Gate, RunningFluentBit
from tests.pipeline.fluent_bit.test_shipping import all_stored
from tests.waiting import until

pytestmark = [pytest.mark.opensearch, pytest.mark.fluent_bit]
MONTH = "audit-events-2007.04"
START = parse_time("2007-04-05T10:00:00Z")
CHUNKS = 400


def many_chunks(shipper: RunningFluentBit) -> list[Document]:
    """A chunk of one event, and copies of its file with other ids in it: an outage of some minutes, in a moment."""
    first = event(START)
    shipper.send([first])
    shipper.kill()
    (chunk,) = shipper.waiting()
    documents, told = [first], first["event"]["id"].encode()
    for number in range(1, CHUNKS):
        other = new_event_id(START + number)
        copy = chunk.with_name(f"1-1175767200.{number:09d}.flb")
        copy.write_bytes(chunk.read_bytes().replace(told, other.encode()))
        documents.append({**first, "event": {**first["event"], "id": other}})
    return documents


def test_none_is_lost_where_more_are_given_up_than_are_held_open_by_default(
    fluent_bit: Make, opensearch: RealOpenSearch, gate: Gate, tmp_path: Path
) -> None:
    opensearch.request("PUT", f"/{MONTH}")
    shipper = fluent_bit(port=gate.port, retries=1)
    documents = many_chunks(shipper)
    stop = threading.Event()
    replayer = Replayer(open_transport(opensearch.shipper))
    watching = {"target": replayer.watch, "args": ([shipper.launch.rejected], stop), "kwargs": {"interval": 0.2}}
    thread = threading.Thread(**watching)  # type: ignore[arg-type]
    thread.start()
    try:
        shipper.start()
        until(lambda: all_stored(opensearch, documents) or not_kept(shipper))
    finally:
        stop.set()
        thread.join(120)
    assert not not_kept(shipper)
    assert all_stored(opensearch, documents)


def not_kept(shipper: RunningFluentBit) -> int:
    """How often it has lost a chunk that it gave up."""
    return len(unkept.times(shipper.log))
