"""Documents that a shipper stored and the node can't write out: each command goes on, and names them.

On a node of its own: they can't be removed (write-once), and other tests search for all that there is.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from opensearchpy import OpenSearch

from auditpipe.pipeline.any_json import loaded
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.reader import search
from auditpipe.pipeline.tail import Tail
from tests.builders import START_NS, Document, stream
from tests.conftest import RealOpenSearch, provisioned
from tests.dashboards.console.conftest import console
from tests.stored import ids, run_here, store

pytestmark = pytest.mark.opensearch

#: Of all but the one that has none.
ORG = "acme"
_CBOR, _YAML, _JSON = "application/cbor", "application/yaml", "application/json"


def cbor(value: object) -> bytes:
    """RFC 8949; bytes stand for themselves."""
    match value:
        case bytes():
            return value
        case int():
            return _head(0, value)
        case str():
            return _head(3, len(value.encode())) + value.encode()
        case list():
            return _head(4, len(value)) + b"".join(map(cbor, value))
        case dict():
            return _head(5, len(value)) + b"".join(cbor(part) for item in value.items() for part in item)
    raise TypeError(value)


def _head(major: int, number: int) -> bytes:
    return bytes([major << 5 | 26]) + number.to_bytes(4, "big")


def deep(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def added(document: Document, text: str) -> bytes:
    """The document's JSON with this text at its end, inside of it."""
    return f"{json.dumps(document)[:-1]}, {text}}}".encode()


def body(kind: str, document: Document) -> tuple[bytes, str]:
    match kind:
        case "yaml":  # the node knows it as YAML, and can't write it as JSON
            return b"---\n" + added(document, "x: .nan"), _YAML
        case "passed on":  # it takes this for JSON, and writes it into its answer as it is
            return added(document, "x: .nan"), _YAML
        case "reaches out":  # in a comment of JSON, that of YAML hides all but the end
            return added(document, '"x": /* #*/1}}],"hidden":[{"_source":{"y":2\n'), _YAML
        case "says another":
            return added(document, '"x": /* #*/1, "user": {"id": "eve"}\n'), _YAML
        case "opens a comment":
            return added(document, '"x": 1 /*'), _YAML
        case "ends a comment":
            return added(document, '"x": "*/}},{\'"'), _YAML
        case "no UTF-8":
            return cbor({**document, "x": _head(3, 2) + b"\xff\xfe"}), _CBOR
        case "deep":
            return cbor({**document, "x": deep(97)}), _CBOR
    return added(document, '"x": 1 /* } */'), _JSON


#: Those that can't be read at all; and those that can, by themselves, with what `x` is then.
LOST = ("yaml", "passed on", "reaches out", "says another", "opens a comment", "no UTF-8")
READ = {"ends a comment": "*/}},{'", "deep": deep(97), "commented": 1}


@dataclass(frozen=True)
class Stored:
    node: RealOpenSearch
    documents: list[Document]
    kinds: dict[str, Document]

    @property
    def lost(self) -> set[str]:
        return set(ids([self.kinds[kind] for kind in LOST]))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    """One stream; every other event is stored so, by the shipper's account."""
    with provisioned(tmp_path_factory.mktemp("unreadable") / "home") as node:
        documents = stream(2 * (len(LOST) + len(READ)) + 1, organization__id=ORG)
        store(node, documents[::2])
        kinds = dict(zip((*LOST, *READ), documents[1::2], strict=True))
        for kind, document in kinds.items():
            put(node.client(node.shipper), document["event"]["id"], *body(kind, document))
        node.client().indices.refresh(index="audit-events-*")
        yield Stored(node, documents, kinds)


def put(client: OpenSearch, doc_id: str, data: bytes, kind: str) -> None:
    client.transport.perform_request(
        "PUT", f"/audit-events-2026.10/_create/{doc_id}", body=data, headers={"content-type": kind, "accept": _JSON}
    )


@pytest.mark.parametrize("limit", ["19", "2000", "6"])
def test_a_search_shows_all_and_says_which_it_can_not_read(stored: Stored, limit: str) -> None:
    ran = run_here(
        "search", "--org", ORG, "--limit", limit, "--sort", "asc", "-o", "ndjson", env=stored.node.environment()
    )
    wanted = ids(stored.documents)[: int(limit)]
    assert (ran.code, ran.said) == (0, f"{len(wanted)} of {len(stored.documents)}")
    assert ids(ran.documents) == wanted
    assert {one["event"]["id"] for one in ran.documents if "unreadable" in one["audit"]} == stored.lost & set(wanted)
    assert [one for one in ran.documents if one in stored.documents] == stored.documents[: int(limit) : 2]


def test_a_table_says_so_in_its_row(stored: Stored) -> None:
    env = stored.node.environment() | {"COLUMNS": "400"}
    out = run_here("search", "--org", ORG, env=env).out
    for event_id in stored.lost:
        assert f"audit-events-2026.10/_doc/{event_id} can't be read: " in out


def test_one_is_shown_with_what_is_known_of_it(stored: Stored) -> None:
    for kind, document in stored.kinds.items():
        event_id = document["event"]["id"]
        ran = run_here("show", event_id, "-o", "json", env=stored.node.environment())
        shown = loaded(ran.out)
        assert shown["audit"]["hash"] == document["audit"]["hash"], kind
        if kind in READ:
            assert ran.code == 0
            assert shown == {**document, "x": READ[kind]}
        else:
            assert ran.code == 1
            assert f"audit-events-2026.10/_doc/{event_id} can't be read: " in ran.said


def test_an_export_has_a_line_for_each_and_its_file_has_the_findings_of_the_index(
    stored: Stored, tmp_path: Path
) -> None:
    env, path = stored.node.environment(), tmp_path / "all.ndjson"
    assert run_here("export", "--org", ORG, "--to", str(path), env=env).code == 0
    assert ids([loaded(line) for line in path.read_bytes().splitlines()]) == ids(stored.documents)
    for what in (("--org", ORG), (str(path),)):
        ran = run_here("verify", *what, "-o", "json", env=env)
        told = loaded(ran.out)
        assert (ran.code, told["verdict"], told["events"]) == (1, "findings", len(stored.documents))
        assert told["kinds"] == {"unreadable": len(LOST), "altered": len(READ)}  # of which `x` is what was added
        unreadable = [flaw for flaw in told["findings"] if flaw["kind"] == "unreadable"]
        assert {flaw["event_id"] for flaw in unreadable} == stored.lost
        assert all(f"audit-events-2026.10/_doc/{flaw['event_id']}" in flaw["detail"] for flaw in unreadable)


def test_csv_and_its_manifest_are_whole(stored: Stored, tmp_path: Path) -> None:
    env, path = stored.node.environment(), tmp_path / "all.csv"
    assert run_here("export", "--org", ORG, "-o", "csv", "--to", str(path), env=env).code == 0
    assert path.read_text().count("can't be read: ") == 2 * len(LOST)  # as its message, and as what was changed
    assert run_here("verify", str(path), env=env).code == 0


def test_tail_gives_each(stored: Stored) -> None:
    client = stored.node.client(stored.node.super_admin)
    assert sorted(ids(list(Tail(client, Filters(organization=ORG, since_ns=0)).poll()))) == sorted(
        ids(stored.documents)
    )


def test_the_console_lists_and_shows_them(stored: Stored, tmp_path: Path) -> None:
    with (
        console(stored.node.url, stored.node.ca_file, tmp_path) as served,
        served.signed_in(stored.node.super_admin) as browser,
    ):
        page = browser.get(f"/?org={ORG}")
        assert (page.status_code, page.text.count('data-href="/events/')) == (200, len(stored.documents))
        for kind in LOST:
            shown = browser.get(f"/events/{stored.kinds[kind]['event']['id']}")
            assert shown.status_code == 200
            assert "This event can&#39;t be read: " in shown.text
            assert "It does not verify" in shown.text


def test_who_reads_some_fields_masked_reads_the_neighbours(stored: Stored) -> None:
    role = {"index_patterns": ["audit-events-*"], "masked_fields": ["user.email"], "allowed_actions": ["read"]}
    wanted = {"index_permissions": [role], "cluster_permissions": ["cluster_composite_ops_ro"]}
    stored.node.request("PUT", "/_plugins/_security/api/roles/masked", wanted)
    with search(stored.node.client(stored.node.add_user("masked")), Filters(organization=ORG), order="asc") as results:
        found = list(results.documents)
    assert ids(found) == ids(stored.documents)
    assert [one["message"] for one in found[::2]] == [one["message"] for one in stored.documents[::2]]


def test_what_has_no_place_in_a_stream_is_found_too(stored: Stored) -> None:
    put(stored.node.client(stored.node.shipper), "elsewhere", b"---\nx: .nan\n", _YAML)
    stored.node.client().indices.refresh(index="audit-events-*")
    told = loaded(run_here("verify", "-o", "json", env=stored.node.environment()).out)
    [flaw] = [flaw for flaw in told["findings"] if flaw["kind"] == "unlinked"]
    assert "audit-events-2026.10/_doc/elsewhere can't be read: " in flaw["detail"]


def test_nothing_more_is_asked_where_all_can_be_read(stored: Stored) -> None:
    client = stored.node.client(stored.node.super_admin)
    asked: list[str] = []
    perform = client.transport.perform_request

    def counted(method: str, url: str, **rest: object) -> object:
        asked.append(url)
        return perform(method, url, **rest)

    client.transport.perform_request = counted
    with search(client, Filters(organization=ORG, until_ns=START_NS + 1)) as results:
        assert len(list(results.documents)) == 1
    assert len(asked) == 1
