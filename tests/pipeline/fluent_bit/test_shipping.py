"""A real Fluent Bit with our configuration, into a real node: exact, once, and none lost."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from opensearchpy.exceptions import NotFoundError

from auditpipe.pipeline.deadletter import chunkfile
from auditpipe.pipeline.relay.records import Refused
from auditpipe.schemas.identity import index_of, index_of_id, parse_time
from tests.builders import Document, event
from tests.conftest import RealOpenSearch
from tests.pipeline.fluent_bit.conftest import Make
from tests.pipeline.fluent_bit.process import Gate
from tests.waiting import until

pytestmark = [pytest.mark.opensearch, pytest.mark.fluent_bit]
START = parse_time("2003-11-05T10:00:00Z")
LAST = parse_time("2003-11-30T23:59:59.999999999Z")


@pytest.fixture(scope="module", autouse=True)
def months(opensearch: RealOpenSearch) -> None:
    """Two months that no other test writes to."""
    for name in ("audit-events-2003.11", "audit-events-2003.12"):
        opensearch.request("PUT", f"/{name}")


def stored(opensearch: RealOpenSearch, document: Document) -> Any:
    """What is in the index for it, None if nothing is."""
    event_id = document["event"]["id"]
    try:
        return opensearch.request("GET", f"/{index_of_id(event_id)}/_doc/{event_id}")
    except NotFoundError:
        return None


def all_stored(opensearch: RealOpenSearch, documents: list[Document]) -> bool:
    asked = [{"_index": index_of_id(d["event"]["id"]), "_id": d["event"]["id"], "_source": False} for d in documents]
    return all(found["found"] for found in opensearch.request("POST", "/_mget", {"docs": asked})["docs"])


def count(opensearch: RealOpenSearch, index: str) -> int:
    opensearch.request("POST", f"/{index}/_refresh")
    return int(opensearch.request("GET", f"/{index}/_count")["count"])


def refused(paths: list[Path]) -> list[Refused]:
    """What a replayer finds in rejected chunks that is no event."""
    found = [one for path in paths for one in chunkfile.read_events(path.read_bytes(), "audit")]
    return [one for one in found if isinstance(one, Refused)]


def difficult(ns: int = START) -> Document:
    """Everything that a shipper could spoil."""
    document = event(ns, message='Zoë \u2028 \x01\x7f 🎉 \\ " </script> ﷽')
    document["audit"]["changes"] = [
        {"field": "nothing_before", "after": "x"},
        {"field": "null_before", "before": None, "after": 2**53 + 1},
        {"field": "removed", "before": -(2**63)},
        {"field": "list", "before": [], "after": [None, True, "", 0]},
    ]
    document["audit"]["details"] = {"empty": {}, "list": [[], {}], "a.b": {"$x": "${HOME}"}, "big": 2**64 - 1}
    return document


def test_what_is_stored_is_what_was_sent_to_the_last_byte(fluent_bit: Make, opensearch: RealOpenSearch) -> None:
    shipper = fluent_bit()
    documents = [difficult(), difficult(LAST), difficult(LAST + 1)]
    shipper.send(documents)
    for document in documents:
        found = until(lambda document=document: stored(opensearch, document))
        assert json.dumps(found["_source"], sort_keys=True) == json.dumps(document, sort_keys=True)
        assert found["_index"] == index_of(parse_time(document["@timestamp"]))


def test_however_often_a_chunk_is_sent_its_events_are_there_once(fluent_bit: Make, opensearch: RealOpenSearch) -> None:
    before = count(opensearch, "audit-events-2003.11")
    shipper = fluent_bit()
    documents = [event(START + i) for i in range(200)]
    for part in (documents, documents[100:], documents[:150], documents):
        shipper.send(part)
    # A mix of new and known events comes back as a failure; it must end as done.
    until(lambda: all_stored(opensearch, documents) and not shipper.waiting())
    assert count(opensearch, "audit-events-2003.11") == before + 200
    assert shipper.rejected() == []


def bad_records() -> list[tuple[str, Document, int]]:
    """(reason, record, Forward time) of what may not become an event."""

    def changed(change: Any) -> Document:
        document = copy.deepcopy(event(START))
        change(document)
        return document

    return [
        ("bad_id", changed(lambda d: d["event"].pop("id")), START),
        ("bad_id", changed(lambda d: d["event"].update(id=d["event"]["id"].upper())), START),
        ("bad_id", changed(lambda d: d["event"].update(id=7)), START),
        ("bad_id", changed(lambda d: d["event"].update(id="x" * 513)), START),
        ("bad_id", {"log": "a line of something else", "null": None}, START),
        ("bad_time", changed(lambda d: d.pop("@timestamp")), START),
        ("bad_time", changed(lambda d: d.update({"@timestamp": "2003-11-31T00:00:00Z"})), START),
        ("bad_time", changed(lambda d: d.update({"@timestamp": 1067_000_000})), START),
        ("disagreeing_time", event(LAST), LAST + 1),
        ("disagreeing_id", changed(lambda d: d["event"].update(id=event(LAST + 1)["event"]["id"])), START),
    ]


def test_what_is_no_event_is_kept_apart_with_its_reason_and_its_neighbours_are_unharmed(
    fluent_bit: Make, opensearch: RealOpenSearch
) -> None:
    before = count(opensearch, "audit-events-2003.11")
    shipper = fluent_bit(retries=1)
    good, bad = [event(START + 10**9 + i) for i in range(3)], bad_records()
    records = [*good[:2], *(record for _, record, _ in bad), good[2]]
    shipper.send(records, [START, START, *(moment for _, _, moment in bad), START])
    until(lambda: all_stored(opensearch, good))
    chunks = until(shipper.rejected)
    assert [one.reason.type for one in refused(chunks)] == [reason for reason, _, _ in bad]
    assert count(opensearch, "audit-events-2003.11") == before + 3
    kept = refused(chunks)[4]
    assert json.loads(kept.document or b"") == bad[4][1]


def test_what_the_mapping_refuses_ends_in_the_rejected_chunks(fluent_bit: Make, opensearch: RealOpenSearch) -> None:
    shipper = fluent_bit(retries=1)
    good, poison = event(START), event(START)
    poison["user"] = "not an object"
    shipper.send([good, poison])
    until(lambda: stored(opensearch, good))
    chunks = until(shipper.rejected)
    events = [one for path in chunks for one in chunkfile.read_events(path.read_bytes(), "audit")]
    assert [one.id for one in events] == [good["event"]["id"], poison["event"]["id"]]
    assert stored(opensearch, poison) is None


def test_rejected_chunks_are_not_sent_again_at_a_restart(fluent_bit: Make, opensearch: RealOpenSearch) -> None:
    shipper = fluent_bit(retries=1)
    shipper.send([{"no": "event"}], [START])
    chunks = until(shipper.rejected)
    shipper.kill()
    shipper.start()
    shipper.send([later := event(START)])
    until(lambda: stored(opensearch, later))
    assert shipper.rejected() == chunks
    assert len(refused(chunks)) == 1


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_what_was_acknowledged_survives_sigkill_and_a_stop_while_opensearch_is_away(
    fluent_bit: Make, opensearch: RealOpenSearch, gate: Gate, end: str
) -> None:
    shipper = fluent_bit(port=gate.port, retries=1000)
    documents = [event(START + i) for i in range(400 if end == "kill" else 40)]
    for start in range(0, len(documents), 10):
        shipper.send(documents[start : start + 10])
        if start % 100 == 10:
            getattr(shipper, end)()
            shipper.start()
    getattr(shipper, end)()
    gate.open()
    shipper.start()
    until(lambda: all_stored(opensearch, documents))
    assert {hit["_version"] for hit in versions(opensearch, documents)} == {1}


def versions(opensearch: RealOpenSearch, documents: list[Document]) -> list[Any]:
    asked = [{"_index": index_of_id(d["event"]["id"]), "_id": d["event"]["id"], "_source": False} for d in documents]
    found: list[Any] = opensearch.request("POST", "/_mget", {"docs": asked})["docs"]
    return found


def test_opensearch_goes_away_and_comes_back(fluent_bit: Make, opensearch: RealOpenSearch, gate: Gate) -> None:
    gate.open()
    shipper = fluent_bit(port=gate.port)
    shipper.send(first := [event(START + i) for i in range(20)])
    until(lambda: all_stored(opensearch, first))
    gate.shut()
    shipper.send(second := [event(START + i) for i in range(20)])
    until(lambda: "retry in" in shipper.log.read_text())
    assert not all_stored(opensearch, second)
    gate.open()
    until(lambda: all_stored(opensearch, second) and not shipper.waiting())
    assert shipper.rejected() == []


def test_an_outage_longer_than_its_retries_loses_nothing(
    fluent_bit: Make, opensearch: RealOpenSearch, gate: Gate
) -> None:
    shipper = fluent_bit(port=gate.port, retries=1)
    shipper.send(documents := [event(START + i) for i in range(20)])
    chunks = until(shipper.rejected)
    kept = [one.id for path in chunks for one in chunkfile.read_events(path.read_bytes(), "audit")]
    assert kept == [document["event"]["id"] for document in documents]


def test_it_speaks_to_no_opensearch_whose_certificate_is_another_names(
    fluent_bit: Make, opensearch: RealOpenSearch, tmp_path: Path
) -> None:
    from auditpipe.pipeline.local import certificates

    certificates.ensure(tmp_path / "stranger", ["elsewhere.example"])
    shipper = fluent_bit(ca_file=tmp_path / "stranger" / "ca.pem")
    shipper.send([document := event(START)])
    until(lambda: "certificate" in shipper.log.read_text().lower())
    assert stored(opensearch, document) is None


def test_the_password_is_neither_in_the_environment_nor_on_the_command_line_nor_in_the_log(
    fluent_bit: Make, opensearch: RealOpenSearch
) -> None:
    shipper = fluent_bit()
    shipper.send([document := event(START)])
    until(lambda: stored(opensearch, document))
    assert shipper.process is not None
    password = str(opensearch.shipper.password).encode()
    for name in ("environ", "cmdline"):
        assert password not in Path(f"/proc/{shipper.process.pid}/{name}").read_bytes()
    assert password not in shipper.log.read_bytes()
    assert (shipper.launch.folder / "shipper-password").stat().st_mode & 0o777 == 0o600
