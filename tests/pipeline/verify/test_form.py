"""What fits the schema and the catalogue, as `verify` sees it; and that the published schema sees it alike."""

import copy
from typing import Any

import pytest

from auditpipe.pipeline.verify.form import Form, Misfit
from auditpipe.schemas import published
from auditpipe.schemas.catalogue import Action, builtin
from tests.builders import Document, event, put, seal

OWN = Action("accounts.card.blocked", "Card blocked", "{actor} blocked {target}", ("iam",), ("user", "change"))


#: Of whatever is small enough.
SIZE = 1_000


def misfit(document: Document, form: Form | None = None) -> Misfit | None:
    return (form or Form()).misfit(document, SIZE)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("user.id", 7, "user.id: expected a valid string, got 7"),
        ("organization.id", "", "organization.id: expected text of at least 1 character, got ''"),
        ("event.outcome", "maybe", "event.outcome: expected 'success', 'failure' or 'unknown', got 'maybe'"),
        ("event.category", [], "event.category: expected a list of at least 1 item after validation, not 0, got []"),
        ("audit.sequence", 2**53, "audit.sequence: expected a number less than or equal to 9007199254740991"),
        ("audit.previous", "0" * 63, "audit.previous: expected text that matches '^[0-9a-f]{64}$', got '0000"),
        ("audit.actor", None, "audit.actor: expected it to be there, got nothing"),
        ("audit.changes", [{"field": "a", "before": 1.5}], "audit.changes[0].before: expected "),
        ("audit.color", "red", "audit.color: expected no such field, got 'red'"),
        ("source.ip", "1.2.3", "source.ip: expected a valid one: '1.2.3' does not appear"),
        ("message", "é" * 600, "message: expected at most 1024 bytes, got 'éé"),
        ("user", "ada", "user: expected a valid dictionary or instance of User, got 'ada'"),
        ("@timestamp", "yesterday", "@timestamp: expected text that matches"),
    ],
)
def test_what_does_not_fit_is_said_with_its_path(path: str, value: Any, said: str) -> None:
    document = event()
    put(document, path, value)
    found = misfit(document)
    assert found is not None
    assert found.kind == "misfit"
    assert found.detail.startswith(said)
    if path != "message":  # JSON Schema counts characters, not bytes
        assert published.problems(document, builtin())


def test_what_was_checked_for_one_event_is_not_believed_of_another() -> None:
    """Parts that are equal are checked once: an equal event fits, and each part that differs is looked at."""
    form = Form()
    first = event()
    assert form.misfit(first, SIZE) is None
    assert form.misfit(copy.deepcopy(first), SIZE) is None
    for path, value in (
        *(("user.roles", ["admin", 7]), ("service.name", None), ("event.type", ["user", True]), ("host.name", 1)),
        *(
            ("event.id", None),
            ("event.action", ["user.user.updated"]),
            ("ecs.version", "8.17.1"),
            ("related.ip", ["x"]),
        ),
    ):
        document = copy.deepcopy(first)
        put(document, path, value)
        found = form.misfit(document, SIZE)
        assert found is not None, path
        assert found.detail.startswith(path), found


def test_the_checks_memory_is_bounded() -> None:
    form = Form()
    for number in range(1_100):
        assert form.misfit(event(event__action=f"app.a{number}"), SIZE) is not None
    assert len(form._events) <= 1_000


def test_an_action_that_the_catalogue_lacks_is_a_note() -> None:
    """Applications have their own."""
    [found] = {misfit(event(event__action=OWN.action)) for _ in range(2)}
    assert found == Misfit(
        "off_catalogue",
        "accounts.card.blocked action",
        "event.action: expected an action of the catalogue, got 'accounts.card.blocked'",
    )


def test_with_the_applications_actions_named_any_other_is_a_misfit() -> None:
    form = Form(builtin().extended([OWN]))
    assert misfit(event(event__action=OWN.action), form) is None
    found = misfit(event(event__action="accounts.card.lost"), form)
    assert found is not None
    assert (found.kind, found.detail[:12]) == ("misfit", "event.action")


@pytest.mark.parametrize(("named", "kind"), [(False, "off_catalogue"), (True, "misfit")])
def test_outcome_reason_and_details_are_those_of_the_action(named: bool, kind: str) -> None:
    schema = {"type": "object", "required": ["card"]}
    own = Action("a.b", "B", "b", ("iam",), ("user",), {"failure": ("stolen",)}, details_schema=schema)
    form = Form(builtin().extended([own])) if named else Form()
    failed = {"event__action": "user.login_failed", "event__outcome": "failure"}
    documents = [event(**failed, event__reason="moon")]
    if named:
        documents.append(event(event__action="a.b", event__outcome="failure", event__reason="stolen"))
    found = [misfit(document, form) for document in documents]
    assert [item and item.kind for item in found] == [kind] * len(documents)
    said = [item.detail for item in found if item]
    assert said[0].startswith("event.reason: user.login_failed (failure) has ")
    assert "got 'moon'" in said[0]
    assert not named or said[1] == "audit.details: 'card' is a required property"


def test_another_version_of_the_envelope_is_a_note_and_not_judged() -> None:
    document = seal(event() | {"from": "the future"})
    document["audit"]["schema"] = "1.1"
    found = misfit(document)
    assert found == Misfit(
        "other_schema", "1.1", "audit.schema: this auditpipe knows 1.0, got '1.1': the form is not checked"
    )
