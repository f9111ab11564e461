"""Filters: what they accept, what they say, and how they describe themselves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.pipeline.query import Filters, moment
from auditpipe.schemas.errors import BadFilter
from auditpipe.schemas.identity import DAY, LATEST_NS, SECOND, format_time, parse_time
from auditpipe.schemas.pseudonyms import read_keys
from tests.keys import OLD, write_keys

NOW = parse_time("2026-11-23T12:00:00Z")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T23:59:59Z", "2026-01-31T23:59:59Z"),
        ("2026-01-31T23:59:59.123456789+02:00", "2026-01-31T21:59:59.123456789Z"),
        ("2026-01-31 23:59", "2026-01-31T23:59:00Z"),
        ("2026-01-31T23:59-0130", "2026-02-01T01:29:00Z"),
        ("2026-01-31T10:00+02", "2026-01-31T08:00:00Z"),
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("2026-01", "2026-01-01T00:00:00Z"),
        ("24h", "2026-11-22T12:00:00Z"),
        ("7d", "2026-11-16T12:00:00Z"),
        ("90s", "2026-11-23T11:58:30Z"),
    ],
)
def test_a_time_is_iso_8601_or_how_long_ago_and_utc_without_a_zone(text: str, expected: str) -> None:
    assert moment(text, now_ns=NOW) == parse_time(expected)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-02-30", "2026-13", "12:00", "24", "-1h", "1y", "2026-01-31T25:00", "1960-01-01"]
)
def test_a_time_that_is_none_is_refused_with_its_flag(text: str) -> None:
    with pytest.raises(BadFilter, match=r"--until: .*"):
        moment(text, "until", NOW)


@given(st.integers(0, LATEST_NS))
def test_every_time_of_an_event_is_read_back_exactly(ns: int) -> None:
    assert moment(format_time(ns)) == ns


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({"actions": ("User.Team",)}, "--action: expected lower case"),
        ({"outcome": "ok"}, "--outcome: expected one of success, failure, unknown, got 'ok'"),
        ({"target": ":t4"}, "--target: expected TYPE or TYPE:ID"),
        ({"target": "team:"}, "--target: expected TYPE or TYPE:ID"),
        ({"ip": "192.0.2"}, "--ip: expected an address or a range"),
        ({"actor": " "}, "--actor: expected a value"),
        ({"lucene": ""}, "--query: expected a value"),
        ({"since_ns": 2 * DAY, "until_ns": DAY}, "nothing could be found"),
        ({"since_ns": DAY, "until_ns": DAY}, "nothing could be found"),
    ],
)
def test_a_filter_that_can_mean_nothing_says_what_was_expected(given_: dict[str, Any], expected: str) -> None:
    with pytest.raises(BadFilter) as caught:
        Filters(**given_)
    assert expected in str(caught.value)


def test_no_filter_asks_for_everything() -> None:
    assert Filters().query() == {"match_all": {}}
    assert Filters().describe() == {}


def test_a_range_is_half_open() -> None:
    clause = Filters(since_ns=0, until_ns=SECOND).clauses()[0]["range"]["@timestamp"]
    assert (clause["gte"], clause["lt"]) == ("1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:01.000000Z")


def test_filters_describe_themselves_by_flag_with_absolute_times() -> None:
    filters = Filters(actions=("user.team.*",), organization="acme", since_ns=NOW, lucene="message:Dow")
    assert filters.describe() == {
        **{"action": ["user.team.*"], "org": "acme", "since": "2026-11-23T12:00:00.000000Z", "query": "message:Dow"}
    }


@pytest.mark.parametrize(
    ("given_", "whole"),
    [
        ({}, True),
        ({"organization": "acme", "service": "accounts", "since_ns": DAY, "until_ns": NOW}, True),
        ({"actions": ("user.user.updated",)}, False),
        ({"ip": "192.0.2.1"}, False),
        ({"lucene": "x"}, False),
    ],
)
def test_only_filters_that_take_whole_streams_leave_numbers_to_be_complete(given_: dict[str, Any], whole: bool) -> None:
    assert Filters(**given_).keeps_streams_whole is whole


def test_an_address_range_is_written_as_a_network() -> None:
    assert Filters(ip="192.0.2.77/24").clauses()[0]["bool"]["should"][0] == {"term": {"source.ip": "192.0.2.0/24"}}


def test_a_query_text_as_long_as_the_node_takes_and_no_longer() -> None:
    assert Filters(lucene="a" * 1000).clauses()
    with pytest.raises(BadFilter, match="-q: at most 1000 characters"):
        Filters(lucene="(" * 500 + "a" + ")" * 500)


def test_with_keys_people_are_asked_for_by_every_pseudonym(tmp_path: Path) -> None:
    keys = read_keys(write_keys(tmp_path / "keys", f"new {'ab' * 32}", f"old {OLD}"))
    filters = Filters(actor="ada", user="ada", target="user:u7", session="s1", ip="192.0.2.7", reason="x", keys=keys)
    actor, user, kind, target, reason, ip, session = filters.clauses()
    assert [clause["terms"] for clause in actor["bool"]["should"]][-1] == {"user.email": list(keys.known_as("ada"))}
    assert [key for key in keys.ids if f"hmac-sha256:{key}:" in str(user)] == ["new", "old"]
    assert target == {"terms": {"audit.target.id": list(keys.known_as("u7"))}}
    assert session == {"terms": {"audit.session.id": list(keys.known_as("s1"))}}
    assert ip["bool"]["should"][0] == {"terms": {"source.ip": list(keys.known_as("192.0.2.7"))}}
    assert (kind, reason) == ({"term": {"audit.target.type": "user"}}, {"term": {"event.reason": "x"}})
    assert "known_as" not in str(filters.describe()) and filters == replace(filters, keys=None)
    assert OLD not in repr(filters)


def test_a_range_of_addresses_has_no_pseudonym(tmp_path: Path) -> None:
    keys = read_keys(write_keys(tmp_path / "keys"))
    assert Filters(ip="192.0.2.0/24", keys=keys).clauses() == Filters(ip="192.0.2.0/24").clauses()


def test_in_pseudonyms_no_value_that_has_one_is_said_or_asked_for(tmp_path: Path) -> None:
    keys = read_keys(write_keys(tmp_path / "keys", f"new {'ab' * 32}", f"old {OLD}"))
    plain = {"actor": "ada", "user": "tess", "target": "user:u7", "session": "s1", "ip": "192.0.2.7"}
    filters = Filters(**plain, reason="x", keys=keys).in_pseudonyms()
    said = filters.describe()
    assert said["target"] == [f"user:{one}" for one in keys.pseudonyms("u7")]
    assert {name: said[name] for name in plain if name != "target"} == {
        name: list(keys.pseudonyms(value)) for name, value in plain.items() if name != "target"
    }
    for words in (str(said), str(filters.query())):
        assert not any(f"'{value.removeprefix('user:')}'" in words for value in plain.values())
    assert filters.plain_values() == plain | {"target": "u7"}
    assert Filters(**plain).in_pseudonyms().describe() == plain


def test_a_pseudonym_a_range_and_a_type_alone_stay_as_they_are(tmp_path: Path) -> None:
    keys = read_keys(write_keys(tmp_path / "keys"))
    given_ = {"user": keys.pseudonym("ada"), "target": "team", "ip": "192.0.2.0/24"}
    filters = Filters(**given_, keys=keys).in_pseudonyms()
    assert filters.describe() == given_ | {"user": [given_["user"]]}
    assert filters.plain_values() == {}
    assert filters.clauses()[0] == {"terms": {"related.user": [given_["user"]]}}
