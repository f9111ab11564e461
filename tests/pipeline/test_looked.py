"""Who looked, on the node's own record of a real node."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opensearchpy.exceptions import TransportError

from auditpipe.pipeline import looked, roles
from auditpipe.pipeline.looked import LookFilters, look_of
from auditpipe.schemas.identity import MILLISECOND, format_time, parse_time
from auditpipe.schemas.settings import Settings
from tests.builders import event
from tests.conftest import RealOpenSearch
from tests.stored import Ran, run, store
from tests.waiting import until

real = pytest.mark.opensearch
Row = dict[str, Any]


def environment(settings: Settings) -> dict[str, str]:
    names = ("url", "username", "password_file", "ca_file")
    return {f"AUDITPIPE_{name.upper()}": str(settings.get(name)) for name in names}


def logged(opensearch: RealOpenSearch, *filters: str, has: Callable[[list[Row]], bool]) -> list[Row]:
    """What `access log` tells, as soon as it tells all that is waited for.

    The node writes its record one request after the other, and of a busy one with much to record a minute later.
    """

    def told() -> list[Row]:
        time.sleep(0.2)  # each look makes a record
        opensearch.request("POST", "/security-auditlog-*/_refresh")
        done = run("access", "log", *filters, "-o", "json", env=opensearch.environment())
        assert done.code == 0, done
        rows: list[Row] = json.loads(done.out)
        return rows if has(rows) else []

    return until(told, 180)


def did(*wanted: str) -> Callable[[list[Row]], bool]:
    """Each of these was done."""
    return lambda rows: set(wanted) <= {row["did"] for row in rows}


@real
def test_whatever_a_reader_does_is_on_record_with_query_tool_and_purpose(
    opensearch: RealOpenSearch, tmp_path: Any
) -> None:
    (document,) = store(opensearch, [event()])
    reader = opensearch.add_user(roles.ADMIN)
    name, env = str(reader.get("username")), environment(reader)
    event_id = document["event"]["id"]

    def ran(*arguments: str) -> Ran:
        done = run(*arguments, env=env)
        assert done.code == 0, done
        return done

    ran("search", "--actor", "u1", "--since", "2026-10")
    ran("show", event_id)
    ran("export", "--org", "acme", "--to", str(tmp_path / "e.ndjson"), "--purpose", "SOC 2: Q4 = ünïcode")
    # By hand, and with no word of its own.
    opensearch.client(reader).search(index="audit-events-*", body={"query": {"term": {"user.id": "u9"}}})

    def told(rows: list[Row]) -> bool:
        searched = [row["about"] for row in rows if row["did"] == "searched"]
        exported = sum(row["requests"] for row in rows if row["did"] == "exported")
        return did("looked at")(rows) and exported > 1 and all(any(u in one for one in searched) for u in ("u1", "u9"))

    rows = logged(opensearch, "--user", name, has=told)
    assert {row["user"] for row in rows} == {name}
    assert {row["address"] for row in rows} == {"127.0.0.1"}
    by = {row["did"]: row for row in rows}
    assert by["looked at"]["about"] == event_id and by["looked at"]["tool"] == "show"
    assert by["exported"]["purpose"] == "SOC 2: Q4 = ünïcode"
    assert "acme" in by["exported"]["about"]
    assert sum(row["did"] == "exported" for row in rows) == 1
    on_event = logged(opensearch, "--event", event_id, "--user", name, has=did("looked at"))
    assert [row["about"] for row in on_event] == [event_id]


@real
def test_refusals_failed_sign_ins_and_changes_of_access_are_on_record(
    opensearch: RealOpenSearch, tmp_path: Any
) -> None:
    nobody = opensearch.add_user()
    name = str(nobody.get("username"))
    assert run("search", env=environment(nobody)).code == 4
    wrong = tmp_path / "wrong"
    wrong.write_text("no such password\n")
    wrong.chmod(0o600)
    assert run("search", env={**environment(nobody), "AUDITPIPE_PASSWORD_FILE": str(wrong)}).code == 4
    rows = logged(opensearch, "--user", name, has=did("was refused", "failed to sign in"))
    refused = next(row for row in rows if row["did"] == "was refused")
    assert "indices:data/read/search" in refused["about"]
    assert "no such password" not in json.dumps(rows)

    granted = run("access", "grant", name, "--role", "auditor", "--reason", "case 7", env=opensearch.environment())
    assert granted.code == 0, granted

    def told(rows: list[Row]) -> bool:
        purposes = [row["purpose"] for row in rows if row["did"] == "granted"]
        return any(f"auditor to {name}" in purpose and "case 7" in purpose for purpose in purposes)

    rows = logged(opensearch, "--user", "superadmin", "--since", "10m", has=told)
    # Also where the change that followed is behind the end.
    time_ = next(row["time"] for row in rows if row["did"] == "granted" and name in row["purpose"])
    end = format_time(parse_time(time_) + MILLISECOND)
    done = run(
        "access", "log", "--user", "superadmin", "--until", end, "-n", "1", "-o", "json", env=opensearch.environment()
    )
    assert [(row["time"], row["did"]) for row in json.loads(done.out)] == [(time_, "granted")]
    assert "1 shown; there are more: --until 20" in done.said
    run("access", "revoke", name, env=opensearch.environment())


@real
def test_only_a_super_admin_sees_who_looked(opensearch: RealOpenSearch) -> None:
    for role in (roles.ADMIN, roles.AUDITOR):
        done = run("access", "log", env=environment(opensearch.add_user(role)))
        assert done.code == 4 and "Super Admin" in done.said and not done.out


@real
def test_the_record_can_be_altered_by_nobody_below_the_admin_certificate(opensearch: RealOpenSearch) -> None:
    logged(opensearch, has=did("looked who looked"))
    client = opensearch.client(opensearch.super_admin)
    hit = client.search(index="security-auditlog-*", body={"size": 1})["hits"]["hits"][0]
    for method, path in (
        ("DELETE", f"/{hit['_index']}/_doc/{hit['_id']}"),
        ("DELETE", f"/{hit['_index']}"),
        ("POST", f"/{hit['_index']}/_delete_by_query"),
    ):
        with pytest.raises(TransportError) as error:
            body = {"query": {"match_all": {}}} if method == "POST" else None
            client.transport.perform_request(method, path, body=body)
        assert error.value.status_code == 403


@real
def test_pages_by_hand_are_counted_and_told(opensearch: RealOpenSearch) -> None:
    reader = opensearch.add_user(roles.ADMIN)
    client = opensearch.client(reader)
    body: dict[str, Any] = {"query": {"exists": {"field": "user.id"}}, "sort": [{"event.id": "asc"}], "size": 1}
    for number in range(3):
        client.search(index="audit-events-*", body={**body, "search_after": [str(number)]})
    name = str(reader.get("username"))
    rows = logged(opensearch, "--user", name, has=lambda rows: sum(row["requests"] for row in rows) >= 3)
    assert len(rows) == 1 and "user.id" in rows[0]["about"]


LOOKS = st.sampled_from(["indices:data/read/search", "indices:data/read/get", "cluster:monitor/main", "other"])
JUNK = st.text() | st.integers() | st.none() | st.lists(st.text()) | st.dictionaries(st.text(), st.text())


@given(
    LOOKS,
    st.dictionaries(
        st.sampled_from(
            [
                *("audit_transport_headers", "audit_rest_request_headers", "audit_request_body", "@timestamp"),
                *("audit_trace_doc_id", "audit_trace_resolved_indices", "audit_category", "audit_request_layer"),
            ]
        ),
        JUNK,
    ),
)
def test_any_record_is_told_or_left_out(privilege: str, record: dict[str, Any]) -> None:
    look = look_of({"audit_request_privilege": privilege, **record})
    assert look is None or all(isinstance(value, (str, int)) for value in look.as_dict().values())


def record_of(privilege: str, tool: str, **given: Any) -> dict[str, Any]:
    headers = {"X-Opaque-Id": f"auditpipe/9 {tool}"}
    fields = {"audit_request_privilege": privilege, "audit_transport_headers": headers, **given}
    return {"audit_request_effective_user": "eve", "@timestamp": "2026-11-28T10:00:00.000+00:00", **fields}


def test_no_tools_name_makes_something_smaller_of_a_search() -> None:
    for tool in ("verify", "show", "tail", "search", "access grant"):
        look = look_of(record_of("indices:data/read/search", tool))
        assert look is not None and (look.did, look.tool) == ("searched", tool)
    look = look_of(record_of("indices:data/read/get", "export"))
    assert look is not None and look.did == "looked at"


def test_a_query_deeper_than_python_reads_is_told_as_it_came() -> None:
    body = '{"query":' + "[" * 5_000 + "]" * 5_000 + "}"
    look = look_of(record_of("indices:data/read/search", "search", audit_request_body=body))
    assert look is not None and look.about == body


def test_a_grant_is_one_where_the_node_has_a_change_by_the_same_person_right_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def change(user: str, time_: str) -> dict[str, Any]:
        category = {"audit_category": "COMPLIANCE_INTERNAL_CONFIG_WRITE", "audit_request_effective_user": user}
        return {**category, "@timestamp": f"2026-11-28T{time_}.000+00:00"}

    def asked(user: str, time_: str, tool: str = "access grant") -> dict[str, Any]:
        at = f"2026-11-28T{time_}.000+00:00"
        return record_of("cluster:monitor/main", tool, audit_request_effective_user=user, **{"@timestamp": at})

    newest_first = [
        asked("mallory", "10:09:00"),
        change("super", "10:08:00"),
        asked("super", "10:07:59", "access revoke"),
        asked("mallory", "10:05:00"),
        change("super", "10:01:01"),
        asked("super", "10:01:00"),
        asked("super", "10:00:00"),
        change("super", "no time"),
        asked("super", "09:00:00"),
    ]
    monkeypatch.setattr(looked, "_records", Endless((record, [0]) for record in newest_first))
    found = looked.looks(None, LookFilters(), 100).found  # type: ignore[arg-type]
    told = [(look.user, look.did) for look in found if look.did != "changed Security"]
    assert told == [
        ("mallory", "asked to grant"),
        ("super", "revoked"),
        ("mallory", "asked to grant"),
        ("super", "granted"),
        ("super", "asked to grant"),
        ("super", "asked to grant"),
    ]


def test_a_tool_that_claims_to_be_ours_is_told_as_it_says_and_no_more() -> None:
    record = {"audit_request_privilege": "indices:data/read/search", "audit_request_effective_user": "eve"}
    headers = {"X-Opaque-Id": "auditpipe/9 export purpose=all%20of%20it purpose=x"}
    look = look_of({**record, "audit_transport_headers": headers})
    assert look is not None and look.tool == headers["X-Opaque-Id"] and look.did == "searched"


def crowd(count: int, **given: Any) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """The pages of one search by eve, newest first, with their places."""
    for number in range(count, 0, -1):
        at = f"2026-11-28T10:00:00.{number % 1000:03}+00:00"
        yield record_of("indices:data/read/search", "tail", **{"@timestamp": at, **given}), [number, "day", number]


class Endless:
    """Stands in for the node's record, and counts what was read of it."""

    def __init__(self, records: Iterable[tuple[dict[str, Any], list[Any]]]) -> None:
        self.records, self.read = list(records), 0

    def __call__(self, _client: Any, _filters: Any, after: list[Any] | None) -> Iterator[Any]:
        for record, place in self.records:
            if after is None or place < after:
                self.read += 1
                yield record, place


def test_a_crowd_of_requests_that_are_one_look_ends_and_says_where_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Endless(crowd(1_000))
    monkeypatch.setattr(looked, "_records", node)
    monkeypatch.setattr(looked, "_changes", lambda *_: {})
    told, after = [], None
    for _ in range(3):
        page = looked.looks(None, LookFilters(), 100, most=400, after=after)  # type: ignore[arg-type]
        told += [(look.requests, look.time[20:23]) for look in page.found]
        after = page.rest
    assert told == [(400, "601"), (400, "201"), (200, "001")]
    assert after is None
    assert node.read == 401 + 401 + 200


def test_pages_of_looks_neither_repeat_nor_miss_one(monkeypatch: pytest.MonkeyPatch) -> None:
    each = [({**one, "audit_request_remote_address": str(n // 2)}, place) for n, (one, place) in enumerate(crowd(10))]
    monkeypatch.setattr(looked, "_records", Endless(each))
    monkeypatch.setattr(looked, "_changes", lambda *_: {})
    told, after, pages = [], None, 0
    while pages == 0 or after is not None:
        page = looked.looks(None, LookFilters(), 2, after=after)  # type: ignore[arg-type]
        told += [(look.address, look.requests) for look in page.found]
        after, pages = page.rest, pages + 1
    assert told == [(str(number), 2) for number in range(5)]
    assert pages == 3


def test_where_to_go_on_is_a_time_that_misses_none_of_the_same_millisecond() -> None:
    assert looked.Looks([], [1_764_324_000_123, "day", 7]).until_ns == 1_764_324_000_124_000_000
    assert looked.Looks([], None).until_ns is None
