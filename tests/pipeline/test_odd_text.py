"""Events that a shipper stored with what is no Unicode text: each command goes on, and `verify` names them.

They can't be removed (write-once), and no emitter of ours makes them: the relay refuses them.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from auditpipe.pipeline.any_json import loaded
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.retention import ledger
from auditpipe.pipeline.tail import Tail
from auditpipe.pipeline.visible import json_bytes
from tests.builders import Document, bulk, event, put, stream
from tests.conftest import RealOpenSearch
from tests.stored import ensure_months, organization, run_here

pytestmark = pytest.mark.opensearch

#: Bytes of a JSON string, and how they are shown: a lone surrogate as an escape and as bytes, a character that is
#: longer than it should be, one beyond the last.
ODD = {
    rb"\ud800": r"\ud800",
    b"\xed\xa0\x80": r"\ud800",
    b"\xc0\x80": r"\udcc0\udc80",
    b"\xf7\xbf\xbf\xbf": r"\udcf7\udcbf\udcbf\udcbf",
}
#: Fields that the node does not index, that it does, and on which a stream, a page and a record of retention depend.
PLACES = ("audit.details.note", "audit.changes", "user.name", "event.id", "audit.stream", "audit.hash", "service.name")


@dataclass(frozen=True)
class Odd:
    """What is stored in one organization."""

    org: str
    sound: list[Document]
    streams: list[str]

    def filters(self) -> tuple[str, str]:
        return "--org", self.org


@pytest.fixture(scope="module")
def odd(opensearch: RealOpenSearch) -> Odd:
    """As the shipper, which may create and no more."""
    org = organization()
    sound = stream(3, organization__id=org)
    ensure_months(opensearch, sound)
    lines = [orjson.dumps(line) for line in bulk(sound)]
    for place in PLACES:
        for number, data in enumerate(ODD):
            document = event(organization__id=org)
            head = orjson.dumps(bulk([document])[0])
            mark = f"{place}-{number}-"
            put(document, place, [{"field": mark, "before": mark}] if place == "audit.changes" else mark)
            lines += [head, orjson.dumps(document).replace(mark.encode(), mark.encode() + data)]
    answer = opensearch.client(opensearch.shipper).bulk(body=b"\n".join(lines) + b"\n")
    assert not answer["errors"], answer
    opensearch.client().indices.refresh(index="audit-events-*")
    return Odd(org, sound, [f"audit.stream-{number}-{text}" for number, text in enumerate(ODD.values())])


def count(odd: Odd) -> int:
    return len(odd.sound) + len(PLACES) * len(ODD)


@pytest.mark.parametrize("output", ["table", "json", "ndjson", "csv"])
def test_a_search_shows_them_and_all_the_others(opensearch: RealOpenSearch, odd: Odd, output: str) -> None:
    env = opensearch.environment() | {"COLUMNS": "400"}
    ran = run_here("search", *odd.filters(), "--limit", "2000", "-o", output, env=env)
    assert (ran.code, ran.said) == (0, f"{count(odd)} of {count(odd)}")
    for text in ODD.values():
        assert text in ran.out


def test_what_is_exported_is_whole_and_its_file_has_the_findings_of_the_index(
    opensearch: RealOpenSearch, odd: Odd, tmp_path: Path
) -> None:
    env, path = opensearch.environment(), tmp_path / "odd.ndjson"
    assert run_here("export", *odd.filters(), "--to", str(path), env=env).code == 0
    documents = [loaded(line) for line in path.read_bytes().splitlines()]
    assert len(documents) == count(odd)
    of_index, of_file = (run_here("verify", *what, "-o", "json", env=env) for what in (odd.filters(), (str(path),)))
    assert (of_index.code, of_file.code) == (1, 1)
    told, again = (loaded(ran.out)["findings"] for ran in (of_index, of_file))
    altered = [flaw["event_id"] for flaw in told if flaw["kind"] == "altered"]
    assert sorted(altered) == sorted(flaw["event_id"] for flaw in again if flaw["kind"] == "altered")
    assert len(altered) == len(PLACES) * len(ODD)
    assert {flaw["kind"] for flaw in again} == {"altered"}  # its manifest fits as well
    assert run_here("verify", str(path), env=env).code == 1
    said = run_here("verify", *odd.filters(), env=env).out
    assert [text for text in odd.streams if f"stream {text}  " not in said] == []


def test_csv_and_its_manifest_are_written(opensearch: RealOpenSearch, odd: Odd, tmp_path: Path) -> None:
    env, path = opensearch.environment(), tmp_path / "odd.csv"
    assert run_here("export", *odd.filters(), "-o", "csv", "--to", str(path), env=env).code == 0
    assert len(path.read_bytes().splitlines()) == count(odd) + 1
    assert run_here("verify", str(path), env=env).code == 0


def test_one_of_them_is_shown(opensearch: RealOpenSearch, odd: Odd) -> None:
    env = opensearch.environment()
    found = run_here("search", *odd.filters(), "--limit", "2000", "-o", "ndjson", env=env).out.splitlines()
    for text in ODD.values():
        line = next(line for line in found if re.search(r'"note":"[^"]*-' + re.escape(text) + '"', line))
        event_id = loaded(line)["event"]["id"]
        assert text in run_here("show", event_id, env=env).out
        assert text in run_here("show", event_id, "-o", "json", env=env).out


def test_a_stream_of_such_a_name_can_be_asked_for(opensearch: RealOpenSearch, odd: Odd) -> None:
    """As `verify` does of a range of time, and where retention has removed something."""
    assert list(ledger.ids_of(opensearch.client(), ["s\ud800"], ["no record"])) == []
    since = ("--since", "2026-10-10T10:00:00Z", "--until", "2026-10-10T10:00:01Z")
    assert run_here("verify", *odd.filters(), *since, env=opensearch.environment()).code == 1


def test_tail_gives_each(opensearch: RealOpenSearch, odd: Odd) -> None:
    followed = Tail(opensearch.client(opensearch.super_admin), Filters(organization=odd.org, since_ns=0)).poll()
    assert len([loaded(json_bytes(document)) for document in followed]) == count(odd)
