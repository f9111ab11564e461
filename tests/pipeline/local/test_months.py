"""Events in Fluent Bit's files whose month has no index are found, and the remedy makes that month."""

from pathlib import Path
from unittest.mock import Mock

import msgpack
import pytest

from auditpipe.pipeline.local import months
from auditpipe.pipeline.local.home import Home
from auditpipe.schemas.identity import SECOND, parse_time
from tests.builders import event
from tests.conftest import RealOpenSearch
from tests.pipeline.deadletter.test_chunkfile import REAL, chunk_file
from tests.pipeline.relay.wire import event_time

CHUNK = "30083-1795449666.419694496.flb"
OLD = "2015-05-05T05:05:05Z"


def chunk(*times: str) -> bytes:
    """A live chunk: with metadata, and with zeros to the end of its page."""
    moments = [parse_time(time) // SECOND * SECOND for time in times]
    entries = [msgpack.packb([[event_time(ns), {}], event(ns)]) for ns in moments]
    return chunk_file(b"".join(entries), metadata=b"\xf1\x77audit", padding=4096)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    (home.fluent_bit / "storage" / "forward.0").mkdir(parents=True)
    (home.rejected / "replaying").mkdir(parents=True)
    return home


def having(*indices: str, removed: str | None = None) -> Mock:
    """A client of a cluster with these indices; retention removed this month."""
    whole = {"count": 0, "_shards": {"total": 1, "successful": 1, "failed": 0}}

    def count(index: str, params: dict[str, int]) -> dict[str, object]:
        return whole if index in indices else {"error": {}, "status": 404}

    hits = [] if removed is None else [{"_id": f"removed-{removed}", "_source": {"month": removed}}]
    found = {"_shards": {"total": 1, "successful": 1}, "hits": {"hits": hits}}
    return Mock(count=Mock(side_effect=count), search=Mock(return_value=found))


def test_live_chunks_rejected_ones_and_those_being_replayed_are_looked_at(home: Home) -> None:
    name = "audit_0_opensearch.0_0x7f00.flb"
    (home.fluent_bit / "storage" / "forward.0" / CHUNK).write_bytes(chunk(OLD, OLD, "2015-06-01T00:00:00Z"))
    (home.rejected / name).write_bytes(chunk("2015-04-30T23:59:59Z"))
    (home.rejected / "replaying" / f"1-{name}").write_bytes(chunk(OLD))
    client = having("audit-events-2015.06")
    assert list(months.missing(home, client).items()) == [("2015-04", 1), ("2015-05", 3)]
    assert months.missing(home, having(*(f"audit-events-2015.0{n}" for n in (4, 5, 6)))) == {}
    # Nobody is to make a month again that retention removed: the replayer makes dead letters of its events.
    client = having("audit-events-2015.06", removed="2015-04")
    assert list(months.missing(home, client).items()) == [("2015-05", 3)]


def test_what_fluent_bits_guard_has_wrapped_waits_for_no_month(home: Home) -> None:
    (home.rejected / REAL.name).write_bytes(REAL.read_bytes())
    assert sum(months.missing(home, having()).values()) == 5  # of the seven records in it


def test_a_file_that_is_none_is_passed_over(home: Home) -> None:
    for number, content in enumerate((b"", b"\xc1\x00", chunk_file(b"\xc1"), chunk_file(b"\x93\x01"))):
        (home.rejected / f"{number}.flb").write_bytes(content)
    assert months.missing(home, having()) == {}


def test_of_a_large_backlog_a_part_is_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(months, "LOOKED_AT_BYTES", len(chunk(OLD)))
    for number in range(3):
        (home.rejected / f"audit_0_opensearch.0_{number}.flb").write_bytes(chunk(OLD))
    assert months.missing(home, having()) == {"2015-05": 1}


def test_the_remedy_begins_with_the_oldest_and_knows_what_is_never_made() -> None:
    assert months.remedy({"2015-05": 1, "2099-01": 1}) == "`auditpipe provision --from 2015-05`"
    assert "clock" in months.remedy({"2099-01": 1})


@pytest.mark.opensearch
def test_on_a_real_node_whoever_reads_may_ask(home: Home, opensearch: RealOpenSearch) -> None:
    (home.rejected / "audit_0_opensearch.0_0.flb").write_bytes(chunk("1971-05-05T00:00:00Z"))
    client = opensearch.client(opensearch.add_user("audit_admin"))
    assert months.missing(home, client) == {"1971-05": 1}
    nowhere = {"settings": {"index.routing.allocation.require._name": "nowhere"}}
    opensearch.request("PUT", "/audit-events-1971.05?wait_for_active_shards=0", nowhere)
    try:
        assert months.missing(home, client) == {}, "it is there, without its shard"
        opensearch.request("PUT", "/audit-events-1971.05/_settings", {"index.routing.allocation.require._name": None})
        opensearch.request("GET", "/_cluster/health/audit-events-1971.05?wait_for_status=yellow")
        assert months.missing(home, client) == {}
    finally:
        opensearch.request("DELETE", "/audit-events-1971.05")
