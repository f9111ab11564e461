"""One event: what changed, its proof, what is around it; and strangers' text in every field."""

import dataclasses
import re
import time
from html import unescape
from typing import Any

import httpx
import orjson
import pytest

from auditpipe.dashboards.console.proof import MOST, judge
from auditpipe.pipeline.verify.event import Row, row_of
from auditpipe.pipeline.verify.form import Form
from auditpipe.schemas.identity import DAY, index_of, parse_time
from tests.builders import START_NS, Document, bulk, event, put, stream
from tests.conftest import RealOpenSearch
from tests.dashboards.console.test_listing import words
from tests.stored import ensure_months, organization, overwrite, store

HOSTILE = "<script>alert(1)</script>\x00\x1b[2J\u202e\u2066'\"&--><b>\N{FAMILY}"


def hit(document: Document, version: int = 1) -> dict[str, Any]:
    index = index_of(parse_time(document["@timestamp"]))
    return {"_source": document, "_index": index, "_id": document["event"]["id"], "_version": version}


def own(document: Document) -> Row:
    row = row_of(document, Form())
    assert isinstance(row, Row)
    return row


@pytest.fixture(scope="module")
def linked() -> list[Document]:
    return stream(3)


def test_an_event_between_its_neighbours_is_sound(linked: list[Document]) -> None:
    found = judge(own(linked[1]), [hit(document) for document in linked], time.time_ns())
    assert found.sound is True
    assert found.says == [
        "Its content has the hash that it carries.",
        "It is linked to the event before it.",
        "The event after it is linked to it.",
    ]
    assert (found.before, found.after) == (linked[0]["event"]["id"], linked[2]["event"]["id"])


def test_an_event_of_more_than_a_day_ahead_is_not_sound(linked: list[Document]) -> None:
    found = judge(own(linked[0]), [hit(linked[0])], START_NS - 2 * DAY)
    assert found.sound is False
    assert found.says[0].startswith("@timestamp: expected at most a day ahead")


def test_the_first_and_one_that_no_search_finds_yet(linked: list[Document]) -> None:
    found = judge(own(linked[0]), [], time.time_ns())
    assert found.sound is True
    assert found.says[1:] == ["It is the first of its stream.", "No event after it is to be seen."]
    found = judge(own(linked[1]), [hit(linked[0])], time.time_ns())
    assert found.sound is True
    assert found.before == linked[0]["event"]["id"]


def test_where_the_one_before_is_not_to_be_seen_nothing_is_promised(linked: list[Document]) -> None:
    found = judge(own(linked[1]), [hit(linked[1])], time.time_ns())
    assert found.sound is None
    assert found.says[1] == "Number 1 is not there, or not yours to see: the link to it can't be checked."


def test_an_altered_event_an_overwritten_one_and_a_broken_link_are_findings(linked: list[Document]) -> None:
    first, second, third = linked
    altered = {**second, "message": "other"}
    found = judge(own(altered), [hit(first), hit(altered), hit(third)], time.time_ns())
    assert (found.sound, found.says[0]) == (False, "its content does not have the hash that it carries")
    found = judge(own(second), [hit(first), hit(second, version=2), hit(third)], time.time_ns())
    assert (found.sound, found.says[0]) == (False, "its _version is 2: it was written again")
    foreign = event(audit__stream=first["audit"]["stream"])
    found = judge(own(second), [hit(foreign), hit(second), hit(third)], time.time_ns())
    assert (found.sound, found.says[0]) == (False, "audit.previous is not the hash of number 1")
    replaced = event(audit__stream=first["audit"]["stream"], audit__sequence=3)
    found = judge(own(second), [hit(first), hit(second), hit(replaced)], time.time_ns())
    assert found.sound is False
    assert found.says[0].startswith("The event after it: audit.previous is not")


def test_a_number_that_is_there_twice_is_a_finding(linked: list[Document]) -> None:
    twin = event(audit__stream=linked[1]["audit"]["stream"], audit__sequence=2)
    for one in (linked[1], twin):
        found = judge(own(one), [hit(linked[0]), hit(linked[1]), hit(twin), hit(linked[2])], time.time_ns())
        assert found.sound is False, one


def test_more_doubles_than_are_looked_at_hide_nothing(linked: list[Document]) -> None:
    """A forged double of number 2, behind a crowd of number 1: neither the true one nor the next is among the found."""
    name = linked[1]["audit"]["stream"]
    crowd = [linked[0], *(event(audit__stream=name, audit__sequence=1) for _ in range(MOST - 1))]
    forged = event(audit__stream=name, audit__sequence=2, audit__previous=linked[0]["audit"]["hash"])
    found = judge(own(forged), [hit(document) for document in crowd], time.time_ns())
    assert found.sound is False
    assert "`auditpipe verify`" in found.says[0]


def test_the_event_that_closes_its_stream_says_so(linked: list[Document]) -> None:
    row = dataclasses.replace(own(linked[0]), closes=True)
    assert judge(row, [], time.time_ns()).says[-1] == "It closes its stream."


@pytest.mark.opensearch
def test_it_shows_the_sentence_the_change_and_the_way_on(opensearch: RealOpenSearch, browser: httpx.Client) -> None:
    name = organization()
    _, middle, last = store(opensearch, stream(3, organization__id=name))
    page = browser.get(f"/events/{middle['event']['id']}").text
    text = words(page)
    assert "Ada changed last_name of Tess Test: Doe -> Dow" in text
    assert "Field Before After last_name Doe Dow" in text
    assert '<mark class="gone">Doe</mark>' in page
    assert '<mark class="come">Dow</mark>' in page
    assert "It verifies sound" in text
    assert f'href="/events/{last["event"]["id"]}">Event after it' in page
    for around in ("/?target=user%3Au7", "/?actor=u1", "/?session=s1", "/?request=r1", "/?ip=192.0.2.1"):
        assert f'href="{around}"' in page
    raw = re.search(r'<pre id="raw"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert raw is not None
    assert orjson.loads(unescape(raw[1])) == middle


@pytest.mark.opensearch
def test_what_was_altered_past_write_once_is_told(opensearch: RealOpenSearch, browser: httpx.Client) -> None:
    [document] = store(opensearch, [event(organization__id=organization())])
    altered = {**document, "source": {"ip": "192.0.2.99"}}
    overwrite(opensearch, index_of(parse_time(document["@timestamp"])), document["event"]["id"], altered)
    text = words(browser.get(f"/events/{document['event']['id']}").text)
    assert "It does not verify finding" in text
    assert "its content does not have the hash that it carries" in text


@pytest.mark.opensearch
@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/events/01a00000-0000-7000-8000-000000000000", 404, "No such event"),
        ("/events/%3Cb%3E", 400, "expected an event id"),
        ("/nowhere", 404, "No such page"),
    ],
)
def test_what_is_not_there_says_what_to_do(browser: httpx.Client, path: str, status: int, said: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == status
    assert said in words(answer.text)
    assert "Check the link." in words(answer.text) or status == 400
    assert "<b>" not in answer.text


def hostile_fields() -> dict[str, Any]:
    """Every field that an application can fill with its own text."""
    return {
        "message": HOSTILE,
        "event__reason": HOSTILE,
        "organization__name": HOSTILE,
        "user": dict.fromkeys(("id", "name", "full_name", "email"), HOSTILE) | {"roles": [HOSTILE]},
        "user_agent": {"original": HOSTILE},
        "http__request__id": HOSTILE,
        "trace": {"id": HOSTILE},
        "service": {"name": HOSTILE, "version": HOSTILE},
        "host": {"name": HOSTILE},
        "audit__session__id": HOSTILE,
        "audit__target": {"type": HOSTILE, "id": HOSTILE, "name": HOSTILE},
        "audit__involved": [{"type": "user", "id": HOSTILE, "name": HOSTILE}],
        "audit__changes": [
            {"field": HOSTILE, "before": HOSTILE, "after": [HOSTILE, None, HOSTILE]},
            {"field": "long", "before": "x" * 8_000, "after": "\u0645" * 8_000},
        ],
        "audit__changed": [HOSTILE, "long"],
        "audit__details": {HOSTILE: {HOSTILE: [HOSTILE]}},
        "audit__redacted": [HOSTILE + "2"],
    }


@pytest.mark.opensearch
def test_strangers_text_is_text_in_every_field(opensearch: RealOpenSearch, browser: httpx.Client) -> None:
    name = organization()
    [document] = store(opensearch, [event(organization__id=name, **hostile_fields())])
    for path in ("/", f"/?org={name}", f"/events/{document['event']['id']}"):
        page = browser.get(path).text
        assert "<script>alert" not in page
        assert "<b>" not in page
        assert not set("\x00\x1b\u202e\u2066") & set(page)
    assert "event.reason: expected text that matches" in words(page)  # no emitter makes such a word of it
    assert page.count("\\x00") > 15
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.opensearch
def test_what_is_no_unicode_text_is_written_out(opensearch: RealOpenSearch, browser: httpx.Client) -> None:
    """As a shipper can store it, though no emitter of ours makes it."""
    name, mark = organization(), "no-text-"
    one, other = (event(organization__id=name, **hostile_fields() | {"audit__details": {mark: mark}}) for _ in range(2))
    put(other, "event.id", mark)
    put(one, "audit.stream", mark)
    put(one, "user", dict.fromkeys(("id", "name"), mark))
    put(one, "audit.session.id", mark)
    ensure_months(opensearch, [one])
    lines = [orjson.dumps(line) for line in (*bulk([one]), bulk([event()])[0], other)]
    body = b"\n".join(lines).replace(mark.encode(), mark.encode() + rb"\ud800") + b"\n"
    answer = opensearch.client(opensearch.shipper).bulk(body=body, params={})
    assert not answer["errors"], answer
    opensearch.client().indices.refresh(index="audit-events-*")
    for path in (f"/?org={name}", f"/events/{one['event']['id']}"):
        page = browser.get(path)
        assert page.status_code == 200
        assert 'no-text-<span class="esc">\\ud800</span>' in page.text
    assert "It does not verify" in words(page.text)
