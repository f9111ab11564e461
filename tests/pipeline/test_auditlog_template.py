"""The node's own audit log: nobody chooses its fields, and so nobody keeps it from recording."""

import http.client
import secrets
import ssl
from typing import Any
from urllib.parse import urlsplit

import pytest

from auditpipe.pipeline import auditlog_template, provision
from auditpipe.pipeline.plan import State, Step
from tests.conftest import RealOpenSearch
from tests.waiting import recorded, until

#: A day on which no test is run.
DAY = "security-auditlog-1999.12.31"


def step(opensearch: RealOpenSearch) -> Step:
    steps = provision.plan(opensearch.client(), provision.Options()).steps
    return next(one for one in steps if one.name == auditlog_template.TEMPLATE)


def dynamic(opensearch: RealOpenSearch, index: str) -> dict[str, Any]:
    mappings: dict[str, Any] = opensearch.request("GET", f"/{index}/_mapping")[index]["mappings"]
    return mappings


@pytest.mark.opensearch
def test_headers_of_whoever_can_not_sign_in_are_on_record_and_are_no_fields(opensearch: RealOpenSearch) -> None:
    """With a field each, 500 of them fill a day's mapping, and what has another is not recorded any more."""
    where, mark = urlsplit(opensearch.url), secrets.token_hex(6)
    context = ssl.create_default_context(cafile=str(opensearch.ca_file))
    for number in range(40):
        connection = http.client.HTTPSConnection(where.hostname or "", where.port, context=context)
        headers = {f"x-{mark}-{number}-{at}": "2026-11-28" for at in range(15)}
        connection.request("GET", f"/audit-events-{mark}/_search", headers=headers | {"Authorization": "Basic eDp5"})
        assert connection.getresponse().status == 401
        connection.close()
    failed = {"match_phrase": {"audit_rest_request_path": f"/audit-events-{mark}/_search"}}

    def number_recorded() -> bool:
        body = {"query": {"bool": {"filter": [failed, {"match": {"audit_category": "FAILED_LOGIN"}}]}}}
        return bool(opensearch.request("POST", "/security-auditlog-*/_count", body)["count"] == 40)

    until(number_recorded, 180)
    assert f"x-{mark}-" in str(recorded(opensearch, failed)[0]["audit_rest_request_headers"])
    assert mark not in str(opensearch.request("GET", "/security-auditlog-*/_mapping"))


@pytest.mark.opensearch
def test_a_day_that_was_made_without_the_template_is_closed(opensearch: RealOpenSearch) -> None:
    opensearch.request("DELETE", f"/_index_template/{auditlog_template.TEMPLATE}")
    try:
        guessed = {"audit_category": "x", "audit_request_body": "2026-11-28", "audit_rest_request_headers": {"a": "b"}}
        guessed |= {"audit_transport_headers": {"x": "y"}}
        opensearch.request("PUT", f"/{DAY}/_doc/1?refresh=true", guessed)
        assert step(opensearch).state is State.CREATE
        provision.provision(opensearch.client(), provision.Options())
        assert step(opensearch).state is State.OK
        before = dynamic(opensearch, DAY)
        assert before["properties"]["audit_request_body"]["type"] == "date"
        assert set(before["properties"]["audit_transport_headers"]["properties"]) == {"x", "X-Opaque-Id"}
        later = {"audit_rest_request_headers": {"c": "d"}, "e": "f", "audit_request_privilege": "g"}
        opensearch.request("PUT", f"/{DAY}/_doc/2?refresh=true", later)
        assert dynamic(opensearch, DAY) == before
        found = opensearch.request("POST", f"/{DAY}/_search", {"query": {"match": {"audit_request_privilege": "g"}}})
        assert [hit["_source"] for hit in found["hits"]["hits"]] == [later]
    finally:
        provision.provision(opensearch.client(), provision.Options())
        opensearch.request("DELETE", f"/{DAY}")


@pytest.mark.parametrize(
    ("patterns", "priority", "expected"),
    [
        (["security-auditlog-*"], 500, "theirs"),
        (["security-*"], 501, "theirs"),
        (["*"], 500, "theirs"),
        (["*"], 499, None),
        (["audit-events-*"], 999, None),
    ],
)
def test_a_template_that_goes_over_ours_is_a_conflict(patterns: list[str], priority: int, expected: str | None) -> None:
    assert auditlog_template.conflict({"theirs": {"index_patterns": patterns, "priority": priority}}) == expected
