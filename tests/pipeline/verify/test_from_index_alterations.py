"""A hundred alterations of a real index, with the admin certificate past write-once: each is found, none else is."""

import random
import uuid
from typing import Any

import orjson
import pytest

from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.verify.view import Terms
from auditpipe.schemas.identity import index_of, parse_time
from tests import alterations
from tests.alterations import Alteration, Reach
from tests.builders import Document, stream
from tests.conftest import RealOpenSearch
from tests.pipeline.verify.test_from_index import examine_as
from tests.stored import ids, organization, store

pytestmark = pytest.mark.opensearch

#: How often each; the mapping refuses a few of the changes.
EACH: dict[Alteration, int] = {
    alterations.change: 50,
    alterations.reseal: 20,
    alterations.drop: 12,
    alterations.double: 8,
    alterations.renumber: 10,
    alterations.squeeze_in: 10,
}
ENOUGH = 100
UNTOUCHED = 10


#: With it a document is written again and its `_version` stays 1: only its own proof can tell.
_SILENTLY = {"version": 1, "version_type": "external_gte"}


def test_every_alteration_of_an_index_is_found(opensearch: RealOpenSearch) -> None:
    """Each in streams of its own, so that each must show by itself."""
    altered: dict[str, set[str]] = {}
    stored: list[Document] = []
    requests: list[dict[str, Any]] = []
    names: list[str] = []
    for alter, count in EACH.items():
        for seed in range(count):
            name, documents = f"{alter.__name__} {seed}", stream(5, organization__id=organization())
            altered[name] = {documents[0]["audit"]["stream"], *ids(documents)}
            stored += documents
            made = _requests(documents, alter, name)
            names += [name for line in made if line.keys() <= {"create", "index", "delete"}]
            requests += made
    untouched = [organization() for _ in range(UNTOUCHED)]
    store(opensearch, [*stored, *(event for org in untouched for event in stream(5, organization__id=org))])
    lines = b"".join(orjson.dumps(line) + b"\n" for line in requests)
    answer = opensearch.client().bulk(body=lines, params={"refresh": "true"})
    for name, item in zip(names, answer["items"], strict=True):
        [(_, done)] = item.items()
        if "error" in done:
            assert done["error"]["type"] == "mapper_parsing_exception", done
            altered.pop(name)
    assert len(altered) >= ENOUGH

    flaws, said = examine_as(opensearch, opensearch.super_admin, Filters(), Terms())
    found = {name for flaw in flaws if not flaw.is_note for name in (flaw.stream, flaw.event_id)}
    assert said == "findings"
    assert [name for name, known_by in altered.items() if not known_by & found] == []
    for org in untouched:
        assert examine_as(opensearch, opensearch.super_admin, Filters(organization=org), Terms()) == ([], "sound")


def _requests(originals: list[Document], alter: Alteration, seed: str) -> list[dict[str, Any]]:
    """The lines of a bulk request that makes what is stored of these events what the alteration leaves of them."""
    rng = random.Random(seed)
    documents = alterations.own(originals)
    places = {id(copy): _place(original) for copy, original in zip(documents, originals, strict=True)}
    reach = alter(documents, rng)
    while reach is Reach.END:  # what needs to be known elsewhere: not in the index
        documents = alterations.own(originals)
        places = {id(copy): _place(original) for copy, original in zip(documents, originals, strict=True)}
        reach = alter(documents, rng)
    lines: list[dict[str, Any]] = []
    for document in documents:
        place = places.pop(id(document), None)
        if place is None:  # one more
            lines += [{"create": {"_index": _place(originals[0])["_index"], "_id": str(uuid.uuid4())}}, document]
        elif document != originals[[*ids(originals)].index(place["_id"])]:
            lines += [{"index": {**place, **_SILENTLY}}, document]
    return lines + [{"delete": place} for place in places.values()]


def _place(document: Document) -> dict[str, str]:
    return {"_index": index_of(parse_time(document["@timestamp"])), "_id": document["event"]["id"]}
