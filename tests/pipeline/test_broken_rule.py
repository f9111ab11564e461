"""A rule that the node can't apply: no access and not a word of the rule for the person, the cause for the operator."""

import json
import secrets
from typing import Any

import pytest

from auditpipe.pipeline import roles
from tests.builders import event
from tests.conftest import RealOpenSearch
from tests.pipeline.test_looked import environment
from tests.stored import organization, run_here, store

pytestmark = pytest.mark.opensearch
API = "/_plugins/_security/api"

RULES: dict[str, Any] = {
    "an attribute that the account does not have": {"term": {"organization.id": "${attr.internal.org}"}},
    "a query that there is not": {"no_such_query": {"organization.id": "acme"}},
    "a query of the wrong form": {"term": ["organization.id"]},
    "a time that is none": {"range": {"@timestamp": {"gte": "no time"}}},
    "a script": {"script": {"script": "true"}},
    "an index that there is not": {
        "terms": {"organization.id": {"index": "no-such-index", "id": "1", "path": "organizations"}}
    },
    "a pattern that is none": {"regexp": {"organization.id": "["}},
}


@pytest.mark.parametrize("words", RULES)
def test_it_is_not_allowed_to_the_person(opensearch: RealOpenSearch, words: str) -> None:
    mine = organization()
    (document,) = store(opensearch, [event(organization__id=mine)])
    name = f"broken-{secrets.token_hex(4)}"
    body = roles.BY_NAME[roles.ADMIN].body() | {"description": "not ours"}
    body.pop("reserved")
    body["index_permissions"][0]["dls"] = json.dumps(RULES[words])
    opensearch.request("PUT", f"{API}/roles/{name}", body)
    person = opensearch.add_user(name)
    try:
        for line in (
            "search",
            f"search --org {mine} -o json",
            f"show {document['event']['id']}",
            "export --to -",
            "verify",
            "tail",
        ):
            done = run_here(*line.split(), env=environment(person))
            assert done.code == 4, (line, done)
            assert "has a rule that the node can't apply" in done.err and "Super Admin" in done.err, (line, done)
            assert not any(mine in text for text in (done.out, done.err.replace(line, ""))), done
            assert "no_such" not in done.err and "organization.id" not in done.err
        checked = run_here("doctor", env=opensearch.environment("operator"))
        assert name in checked.out
    finally:
        opensearch.request("DELETE", f"{API}/internalusers/{person.get('username')}")
        opensearch.request("DELETE", f"{API}/roles/{name}")
