"""Filters as links: what is typed, what it means, and what is wrong with it."""

import dataclasses
from urllib.parse import parse_qsl

import click
import pytest

from auditpipe.cli.main import cli
from auditpipe.dashboards.console.filters import NAMES, complaint, link, meant, typed
from auditpipe.pipeline.query import Filters
from auditpipe.schemas.errors import BadFilter
from auditpipe.schemas.identity import parse_time

ALL = {
    **{"action": "user.user.updated, user.team.*", "actor": "ada", "user": "u7", "target": "team:t4"},
    **{"changed": "last_name", "outcome": "success", "reason": "conflict", "ip": "192.0.2.0/24", "org": "acme"},
    **{"service": "accounts", "session": "s1", "request": "r1", "query": "Dow", "since": "2026-01", "until": "2026-02"},
}


def test_every_filter_of_the_command_line_is_there() -> None:
    search = cli.get_command(click.Context(cli), "search")
    assert search is not None
    flags = {param.name for param in search.params}
    assert set(NAMES) <= flags
    assert set(ALL) == set(NAMES)
    typed_in = {item.name for item in dataclasses.fields(Filters)} - {
        "keys",
        "pseudonyms_only",
    }  # no key of pseudonyms is on the server
    assert all(getattr(meant(typed(ALL.items())), name) for name in typed_in)


def test_they_mean_what_the_flags_mean() -> None:
    filters = meant(typed(ALL.items()))
    assert filters.actions == ("user.user.updated", "user.team.*")
    assert (filters.organization, filters.lucene, filters.target) == ("acme", "Dow", "team:t4")
    assert (filters.since_ns, filters.until_ns) == (
        parse_time("2026-01-01T00:00:00Z"),
        parse_time("2026-02-01T00:00:00Z"),
    )


def test_a_link_brings_back_what_was_typed() -> None:
    given = typed(ALL.items())
    assert typed(parse_qsl(link(given).removeprefix("/?"))) == given
    assert link({}) == "/"
    assert link({"actor": ["a&b=<"]}, since="24h") == "/?actor=a%26b%3D%3C&since=24h"
    assert link({"actor": ["ada"], "until": ["7d"]}, until=None) == "/?actor=ada"


def test_what_is_empty_or_unknown_is_left_out() -> None:
    assert typed([("actor", " "), ("at", "x"), ("token", "y"), ("action", "a.b, ,c.d")]) == {"action": ["a.b", "c.d"]}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("since", "soon", "Since (UTC): expected a time such as"),
        ("ip", "home", "Address: expected an address"),
        ("outcome", "maybe", "Outcome: expected one of success"),
        ("action", "Nope!", "Action: expected lower case"),
        ("query", "x" * 1001, "Words: at most 1000 characters"),
    ],
)
def test_a_bad_filter_is_told_by_the_name_that_the_page_has_for_it(name: str, value: str, said: str) -> None:
    with pytest.raises(BadFilter) as caught:
        meant(typed([(name, value)]))
    field, text = complaint(caught.value)
    assert field == name
    assert text.startswith(said)
    assert "--" not in text


def test_a_range_that_is_none_names_both_ends() -> None:
    with pytest.raises(BadFilter) as caught:
        meant(typed([("since", "2026-02"), ("until", "2026-01")]))
    field, text = complaint(caught.value)
    assert field == "since"
    assert "Until (UTC)" in text
