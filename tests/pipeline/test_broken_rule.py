"""A rule that the node can't apply: no access and not a word of the rule for the person, the cause for the operator."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from auditpipe.pipeline import roles
from auditpipe.pipeline.doctor import cluster
from auditpipe.pipeline.doctor.check import Level
from tests.builders import Document, event
from tests.conftest import RealOpenSearch
from tests.pipeline.test_looked import environment
from tests.stored import organization, run_here, store

pytestmark = pytest.mark.opensearch
API = "/_plugins/_security/api"

#: The rule, and what the operator is told.
RULES: dict[str, tuple[Any, str]] = {
    "an attribute that the account does not have": (
        {"term": {"organization.id": "${attr.internal.org}"}},
        "has no attribute org",
    ),
    "a time that is none": ({"range": {"@timestamp": {"gte": "no time"}}}, "failed to parse date field [no time]"),
    "a script": ({"script": {"script": "true"}}, "cannot execute [inline] scripts"),
    "an index that there is not": (
        {"terms": {"organization.id": {"index": "no-such-index", "id": "1", "path": "organizations"}}},
        "no-such-index",
    ),
    "a pattern that is none": ({"regexp": {"organization.id": "["}}, "unexpected end-of-string"),
}


#: Of these the node makes a rule that lets nothing through, and says nothing.
UNREADABLE: dict[str, tuple[Any, str]] = {
    "a query that there is not": ({"no_such_query": {"organization.id": "acme"}}, "unknown query [no_such_query]"),
    "a query of the wrong form": ({"term": ["organization.id"]}, "[term] query malformed"),
}


@contextmanager
def holder(opensearch: RealOpenSearch, rule: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Somebody whose only role has this rule: the role's name, and their environment."""
    name = f"broken-{secrets.token_hex(4)}"
    body = roles.BY_NAME[roles.ADMIN].body() | {"description": "not ours"}
    body.pop("reserved")
    body["index_permissions"][0]["dls"] = json.dumps(rule)
    opensearch.request("PUT", f"{API}/roles/{name}", body)
    person = opensearch.add_user(name)
    try:
        yield name, environment(person)
    finally:
        opensearch.request("DELETE", f"{API}/internalusers/{person.get('username')}")
        opensearch.request("DELETE", f"{API}/roles/{name}")


@pytest.fixture(scope="module")
def stored(opensearch: RealOpenSearch) -> Document:
    (document,) = store(opensearch, [event(organization__id=organization())])
    return document


def cause(opensearch: RealOpenSearch, role: str) -> str:
    """What `doctor` says of the role's rule."""
    said = f"the rule of the role {role} can't be applied"
    (check,) = (one for one in cluster.examine(opensearch.admin) if said in one.sentence)
    assert check.level is Level.FINDING and check.remedy
    return check.sentence


@pytest.mark.parametrize("words", RULES)
def test_it_is_not_allowed_to_the_person_and_told_to_the_operator(
    opensearch: RealOpenSearch, stored: Document, words: str
) -> None:
    rule, said = RULES[words]
    lines = ("search", "search -q message:x -o json", "show EVENT", "export --to -", "verify", "tail -o ndjson")
    with holder(opensearch, rule) as (role, env):
        for line in lines:
            done = run_here(*line.replace("EVENT", stored["event"]["id"]).split(), env=env)
            assert done.code == 4, (line, done)
            assert "has a rule that the node can't apply" in done.said and "Super Admin" in done.said, (line, done)
            assert not any(word in done.said for word in ("organization", "no-such", "no time", "script")), (line, done)
        assert said in cause(opensearch, role)


@pytest.mark.parametrize("words", UNREADABLE)
def test_a_rule_that_the_node_can_not_read_shows_nothing_and_is_told_to_the_operator(
    opensearch: RealOpenSearch, stored: Document, words: str
) -> None:
    rule, said = UNREADABLE[words]
    with holder(opensearch, rule) as (role, env):
        found = run_here("search", "-o", "ndjson", env=env)
        assert (found.code, found.out) == (0, "")
        assert run_here("show", stored["event"]["id"], env=env).code == 5
        assert said in cause(opensearch, role)


def test_a_filter_that_the_node_can_not_read_is_still_the_askers(opensearch: RealOpenSearch) -> None:
    person = opensearch.add_user(roles.ADMIN)
    done = run_here("search", "-q", "message:(", env=environment(person))
    assert done.code == 2 and "can't read this query" in done.said
