"""Whichever of the two ships it, what is stored is the same; and what Fluent Bit gives up comes back by itself."""

import threading
from pathlib import Path
from typing import Any

import orjson
import pytest
from opensearchpy.exceptions import NotFoundError

from auditpipe.pipeline.deadletter.replay import Replayer
from auditpipe.pipeline.relay.transport import open_transport
from auditpipe.schemas.identity import index_of_id, parse_time
from tests.builders import Document, event
from tests.conftest import RealOpenSearch
from tests.pipeline.fluent_bit.conftest import Make
from tests.pipeline.fluent_bit.process import Gate
from tests.pipeline.fluent_bit.test_shipping import all_stored, count, difficult
from tests.pipeline.relay.running import running_relay
from tests.pipeline.relay.wire import Client, entry, event_time, message
from tests.waiting import until

pytestmark = [pytest.mark.opensearch, pytest.mark.fluent_bit]
INDEX = "audit-events-2004.02"
START = parse_time("2004-02-29T23:59:59.999999999Z")


@pytest.fixture(scope="module", autouse=True)
def month(opensearch: RealOpenSearch) -> None:
    """A month that no other test writes to."""
    opensearch.request("PUT", f"/{INDEX}")


def test_fluent_bit_and_relay_store_the_same_document(
    fluent_bit: Make, opensearch: RealOpenSearch, tmp_path: Path
) -> None:
    documents = [difficult(START), event(START - 1, user__full_name="Zoë \x00\x1b[31m"), event(START, audit__key="k")]

    def stored_all() -> list[Any]:
        return [stored_by_id(opensearch, document) for document in documents]

    shipper = fluent_bit()
    shipper.send(documents)
    by_fluent_bit = until(lambda: all_or_nothing(stored_all()))
    for document in documents:  # with the admin certificate, which passes write-once
        opensearch.request("DELETE", f"/{INDEX}/_doc/{document['event']['id']}")
    with running_relay(opensearch.shipper, tmp_path / "dead") as relay:
        entries = [entry(one, event_time(parse_time(one["@timestamp"]))) for one in documents]
        assert Client(relay.port).send(message("packed", entries, "c")).acknowledgements(1) == ["c"]
    assert by_fluent_bit == stored_all()
    assert [orjson.loads(source) for _, _, source in by_fluent_bit] == documents


def stored_by_id(opensearch: RealOpenSearch, document: Document) -> tuple[str, str, bytes] | None:
    """(index, id, the document as JSON with sorted keys)."""
    event_id = document["event"]["id"]
    try:
        found = opensearch.request("GET", f"/{index_of_id(event_id)}/_doc/{event_id}")
    except NotFoundError:
        return None
    return found["_index"], found["_id"], orjson.dumps(found["_source"], option=orjson.OPT_SORT_KEYS)


def all_or_nothing(found: list[Any]) -> list[Any]:
    return found if all(found) else []


def test_an_outage_longer_than_all_retries_heals_without_a_person(
    fluent_bit: Make, opensearch: RealOpenSearch, gate: Gate
) -> None:
    before = count(opensearch, INDEX)
    shipper = fluent_bit(port=gate.port, retries=1)
    documents = [event(START - i) for i in range(50)]
    for start in range(0, 50, 25):
        shipper.send(documents[start : start + 25])
        until(lambda: shipper.rejected() and not shipper.waiting())
    stop = threading.Event()
    replayer = Replayer(open_transport(opensearch.shipper))
    thread = threading.Thread(target=replayer.watch, args=([shipper.launch.rejected], stop), kwargs={"interval": 0.2})
    thread.start()
    try:
        until(lambda: all_stored(opensearch, documents) and not shipper.rejected())
    finally:
        stop.set()
        thread.join(120)
    assert count(opensearch, INDEX) == before + 50
