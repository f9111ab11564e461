"""The index of records: added to by the admin certificate, read by those who may see it, never altered."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConflictError, NotFoundError
from pydantic import ValidationError

from auditpipe.pipeline.client import edge
from auditpipe.pipeline.reader import ask_all_shards
from auditpipe.schemas.errors import NotFinished
from auditpipe.schemas.identity import RECORDS_INDEX
from auditpipe.schemas.records import KINDS, Record

#: A batch may be of 100 kB.
_PAGE = 100
_IDS = 5_000

Document = dict[str, Any]


def parse(document: Mapping[str, Any]) -> Record | str:
    """A record, or what is wrong with its form."""
    model = KINDS.get(str(document.get("kind")))
    if model is None:
        return f"its kind is {document.get('kind')!r}, expected one of {', '.join(KINDS)}"
    try:
        return model.model_validate(dict(document))
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def hold_id(name: str, number: int) -> str:
    """The id of the record by which a hold was added or released."""
    return f"hold-{name}-{number}"


def month_id(month: str, number: int = 1) -> str:
    """The id of the record that a month was removed. The shipper asks for the first one, and reads no other."""
    return f"removed-{month}" if number == 1 else f"removed-{month}-{number}"


def add(client: OpenSearch, doc_id: str, document: Mapping[str, Any]) -> None:
    """Add a record under an id that none has. NotFinished if one has it, or the index is not there."""
    with edge():
        try:
            path = f"/{RECORDS_INDEX}/_create/{quote(doc_id, safe='')}"
            client.transport.perform_request("PUT", path, body=document)
        except ConflictError as error:
            raise NotFinished(f"somebody else has just added the record {doc_id}: run it again") from error


def require(client: OpenSearch) -> None:
    """NotFinished if the index is not there: it would be made with a guessed mapping."""
    with edge():
        if not client.indices.exists(index=RECORDS_INDEX):
            raise NotFinished(f"there is no index {RECORDS_INDEX}: run `auditpipe provision` first")


def refresh(client: OpenSearch) -> None:
    """What was added is found by a search from now on."""
    with edge():
        client.indices.refresh(index=RECORDS_INDEX)


def get(client: OpenSearch, doc_id: str) -> Document | None:
    """The record of that id, also before a refresh."""
    with edge():
        try:
            answer = client.get(index=RECORDS_INDEX, id=doc_id, params={"ignore": 404})
        except NotFoundError:
            return None
    return dict(answer["_source"]) if answer.get("found") else None


def find(client: OpenSearch, *clauses: Mapping[str, Any]) -> Iterator[tuple[str, Document]]:
    """(id, record) of all that match, in the order in which they were added; none where there is no index."""
    yield from ((hit["_id"], hit["_source"]) for hit in _hits(client, clauses, _PAGE))


def ids_of(client: OpenSearch, streams: Sequence[str], records: Sequence[str]) -> Iterator[str]:
    """The ids of the batches of these records that name one of these streams."""
    clauses = [of_kinds("removed"), {"terms": {"streams": list(streams)}}, {"terms": {"record": list(records)}}]
    yield from (hit["_id"] for hit in _hits(client, clauses, _IDS, _source=False))


def of_kinds(*kinds: str) -> Mapping[str, Any]:
    """The clause for records of these kinds."""
    return {"terms": {"kind": list(kinds)}}


def _hits(client: OpenSearch, clauses: Sequence[Mapping[str, Any]], size: int, **more: Any) -> Iterator[dict[str, Any]]:
    body = {"query": {"bool": {"filter": list(clauses)}}, "sort": [{"_seq_no": "asc"}], "size": size, **more}
    while True:
        hits = ask_all_shards(client, body, index=RECORDS_INDEX, ignore_unavailable="true")["hits"]["hits"]
        yield from hits
        if len(hits) < size:
            return
        body["search_after"] = hits[-1]["sort"]
