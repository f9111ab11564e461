"""The walkthrough: one event a step; and each documented search finds its own events and no others."""

import json

import pytest

from auditpipe.cli.recorded import GRANTED, REVOKED
from auditpipe.examples.accounts.app import audit_log
from auditpipe.examples.accounts.client import Browser
from auditpipe.examples.accounts.walkthrough import WALKTHROUGHS, perform, request_id, steps
from auditpipe.schemas.catalogue import STREAM_CLOSED, builtin
from auditpipe.schemas.errors import AuditpipeError, OutOfReach
from auditpipe.schemas.events_document import searches
from tests.examples.conftest import PASSWORD, id_of, sign_in
from tests.stored import organization, run
from tests.stored import store as put


def test_each_step_makes_one_event_of_its_action(address, events):
    said = list(perform(address, PASSWORD, "run-1"))
    expected = [(request_id("run-1", number), step.action) for number, step in enumerate(steps(), 1)]
    assert [(event.http.request.id, event.event.action) for event in events.events] == expected
    assert len(said) == len(steps()) + len(WALKTHROUGHS)


def test_the_steps_are_the_whole_catalogue():
    items = {item.item: action.action for action in builtin().values() for item in action.article}
    performed = {step.item: step.action for step in steps() if step.item is not None}
    assert performed == items
    assert set(items.values()) == set(builtin()) - {STREAM_CLOSED, GRANTED, REVOKED}


def test_an_answer_that_was_not_expected_stops_it(address):
    with pytest.raises(AuditpipeError, match="/api/sign-in: expected 200 of the example application, got 401"):
        list(perform(address, "wrong password", "run-1"))


def test_an_application_that_is_not_there_is_out_of_reach():
    with pytest.raises(OutOfReach, match="does not answer"):
        Browser("127.0.0.1:9").call("GET", "/api/users")


@pytest.fixture(scope="module")
def tenant():
    return organization()


@pytest.fixture
def audit(events, tmp_path, tenant):
    """As in conftest, in an organization that no other test has."""
    with audit_log(transport=events, spool_dir=tmp_path / "spool", organization=tenant) as audit:
        yield audit


def decoys(browser, store) -> None:
    """What the searches must not find: attempts that were refused, and the other halves of what they look for."""
    sign_in(browser, "tess")
    browser.patch(f"/api/users/{id_of(store, 'ada')}", json={"last_name": "Owned", "email": "owned@example.com"})
    browser.post("/api/teams", json={"name": "Pirates"})
    browser.get("/api/exports/user")
    sign_in(browser, "ada")
    team = next(iter(store.teams.values()))
    browser.put(f"/api/teams/{team.id}/members", json={"members": []})
    browser.patch(f"/api/users/{id_of(store, 'tess')}", json={"first_name": "Theresa"})


@pytest.mark.opensearch
def test_each_documented_search_finds_its_own_events_and_not_its_twins(
    opensearch, address, browser, store, events, tenant
):
    list(perform(address, PASSWORD, "run-1"))
    own = {}
    for step, event in zip(steps(), events.events, strict=True):
        own.setdefault(step.item, []).append(event.event.id)
    decoys(browser, store)
    put(opensearch, [json.loads(event.model_dump_json(by_alias=True, exclude_none=True)) for event in events.events])

    found = {}
    for search in searches(builtin()):
        # The two sign-ins of the decoys are good ones, as the step is: kept apart by their request.
        narrowed = ["--request", request_id("run-1", 2)] if search.item.item == "Login success" else []
        done = run(*("search", *search.arguments, *narrowed, "--org", tenant, "--sort", "asc", "-o", "ndjson"),
                   env=opensearch.environment())  # fmt: skip
        assert done.code == 0, done
        found[search.item.item] = [document["event"]["id"] for document in done.documents]
    del own[None]
    assert found == own
