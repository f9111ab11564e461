"""What a node takes, a thousand levels and comments: each reader shows it and what is beside; `verify` names the deep.

They can't be removed (write-once), and no emitter of ours makes them.
"""

from pathlib import Path
from typing import Any

import orjson
import pytest

from auditpipe.cli import detail
from auditpipe.dashboards.console.difference import differences
from auditpipe.pipeline.any_json import loaded
from auditpipe.pipeline.manifest import Heads
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.tabular import actor_text, changes_text, csv_row, flat, outcome_text, target_text, text_at
from auditpipe.pipeline.tail import Tail
from auditpipe.pipeline.verify.event import row_of
from auditpipe.pipeline.verify.form import Form
from auditpipe.pipeline.visible import json_bytes
from tests.builders import Document, bulk, event, put, stream
from tests.conftest import RealOpenSearch
from tests.stored import ensure_months, organization, run_here

#: Below `audit.details` so many levels fit the thousand of a document, which is what a node takes by default.
LEVELS = 990
#: And so many the hundred that ours take (`opensearch.xcontent.depth.max`).
_STORED = 95
#: What orjson reads, and what it does not.
INNERMOST = (b"1", rb'"\ud800"', b"1e999")
#: What Jackson passes over, before a document and at its end.
_COMMENTS = ((b"\xef\xbb\xbf", b"}"), (b"", b"/* } */}"), (b"", b"/*\xed\xa0\x80*/}"))
PLACES = (
    *("message", "event.id", "event.action", "event.outcome", "event.reason", "user.name", "user.id", "audit.target"),
    *("audit.target.name", "audit.details", "audit.redacted", "audit.involved", "audit.changes", "audit.hash"),
    *("audit.stream", "audit.schema", "organization.id", "service.name", "source.ip", "http.request.id"),
)


def raw(document: Document, place: str, inner: bytes) -> bytes:
    """The document with so many objects at a place."""
    put(document, place, "here")
    return orjson.dumps(document).replace(b'"here"', b'{"a":' * _STORED + inner + b"}" * _STORED)


def deep(value: Any, *, objects: bool) -> Any:
    for _ in range(LEVELS):
        value = {"a": value} if objects else [value]
    return value


@pytest.mark.parametrize("objects", [False, True])
@pytest.mark.parametrize("place", [*PLACES, "audit.changes.field", "audit.changes.before"])
def test_whatever_is_deep_is_shown(place: str, objects: bool) -> None:
    value, document = deep(1e999, objects=objects), event()
    if place.startswith("audit.changes."):
        place, name = place.rsplit(".", 1)
        value = [{"field": "f", "before": 1, "after": 2, name: value}]
    elif place in ("audit.redacted", "audit.changes") and not objects:
        value = [value]
    elif place == "audit.involved":
        value = [{"id": value, "name": value}]
    put(document, place, value)
    assert csv_row(document).count("\n") == 1
    assert list(detail.lines(document))
    assert [text(document) for text in (actor_text, target_text, outcome_text, changes_text)]
    assert text_at(document, place)
    assert list(flat(document))
    assert differences(document) is not None
    assert row_of(document, Form()).event_id
    assert b"null" in json_bytes(document, indent=True)
    Heads().add(document)


@pytest.mark.opensearch
def test_no_reader_fails_over_what_a_shipper_stored(opensearch: RealOpenSearch, tmp_path: Path) -> None:
    org, env = organization(), opensearch.environment()
    sound = stream(3, organization__id=org)
    ensure_months(opensearch, sound)
    places = ("audit.details", "unknown")
    odd = [(place, inner, event(organization__id=org)) for place in places for inner in INNERMOST]
    lines = [orjson.dumps(line) for line in bulk(sound)]
    for place, inner, document in odd:
        lines += [orjson.dumps(bulk([document])[0]), raw(document, place, inner)]
    commented = stream(len(_COMMENTS), organization__id=org)
    for document, (before, after) in zip(commented, _COMMENTS, strict=True):
        lines += [orjson.dumps(bulk([document])[0]), before + orjson.dumps(document)[:-1] + after]
    answer = opensearch.client(opensearch.shipper).bulk(body=b"\n".join(lines) + b"\n")
    assert [one["create"]["error"] for one in answer["items"] if one["create"]["status"] != 201] == []
    opensearch.client().indices.refresh(index="audit-events-*")
    count = len(sound) + len(odd) + len(commented)

    for output in ("table", "json", "ndjson", "csv"):
        ran = run_here("search", "--org", org, "-o", output, env=env)
        assert (ran.code, ran.said) == (0, f"{count} of {count}")
    for document in [*commented, *(document for _, _, document in odd)]:
        for output in ("text", "json"):
            assert run_here("show", document["event"]["id"], "-o", output, env=env).code == 0
    path = tmp_path / "deep.ndjson"
    assert run_here("export", "--org", org, "--to", str(path), env=env).code == 0
    assert len([loaded(line) for line in path.read_bytes().splitlines()]) == count
    for what in (("--org", org), (str(path),)):
        ran = run_here("verify", *what, "-o", "json", env=env)
        assert ran.code == 1
        named = {flaw["event_id"] for flaw in loaded(ran.out)["findings"]}
        assert named == {document["event"]["id"] for _, _, document in odd}
    followed = Tail(opensearch.client(opensearch.super_admin), Filters(organization=org, since_ns=0)).poll()
    assert len(list(followed)) == count
