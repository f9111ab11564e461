"""The catalogue has every row of the reference, and refuses a wrong definition at load."""

import json
from pathlib import Path
from typing import Any

import pytest

from auditpipe.schemas.catalogue import Action, builtin, read
from auditpipe.schemas.errors import CatalogueError, InvalidEvent, UnknownAction

#: The article's items, as (item, action, reason): what the product was asked for after.
ITEMS = [
    ("Login fail", "user.login_failed", "unknown_account"),
    ("Login success", "user.login_succeeded", None),
    ("Login failed with a valid email", "user.login_failed", "bad_credentials"),
    ("Recovered password with incorrect email address", "user.password_recovery_failed", "unknown_account"),
    ("Recovered password with valid email address", "user.password_recovery_requested", None),
    ("Update to a user profile", "user.user.updated", None),
    ("Update to a user role", "user.user.role_changed", None),
    ("a Role changes", "user.user.role_changed", None),
    ("a new User is created", "user.user.created", None),
    ("a new User is updated", "user.user.updated", None),
    ("a user is deactivated", "user.user.deactivated", None),
    ("a user is activated", "user.user.activated", None),
    ("a user is assigned to a Team", "user.team.updated", None),
    ("a new Team is created", "user.team.created", None),
    ("a new Team is updated", "user.team.updated", None),
    ("a new Team is deleted", "user.team.deleted", None),
    ("a new Role is created", "user.role.created", None),
    ("a new Role is updated", "user.role.updated", None),
    ("a new Role is deleted", "user.role.deleted", None),
    ("Export quality overview", "user.quality_overview.exported", None),
    ("Export calibration", "user.calibration.exported", None),
    ("Export calibration reports", "user.calibration_report.exported", None),
    ("Export disputes", "user.dispute.exported", None),
    ("Export coaching sessions", "user.coaching_session.exported", None),
    ("Export users", "user.user.exported", None),
]

GOOD: dict[str, Any] = {
    "action": "user.invoice.paid",
    "title": "Invoice paid",
    "sentence": "{actor} paid {target}",
    "category": ["database"],
    "type": ["change"],
}


@pytest.mark.parametrize(("item", "action", "reason"), ITEMS)
def test_every_item_of_the_article_has_its_action(item: str, action: str, reason: str | None) -> None:
    rows = [row for row in builtin()[action].article if row.item == item]
    assert [row.reason for row in rows] == [reason]


def test_an_unknown_action_names_the_nearest() -> None:
    with pytest.raises(UnknownAction, match=r"'user\.user\.update'.*nearest: user\.user\.updated"):
        builtin().named("user.user.update")
    for odd in (None, 3, ["a"], ""):
        with pytest.raises(UnknownAction):
            builtin().named(odd)


@pytest.mark.parametrize("suffix", ["json", "toml"])
def test_an_application_adds_its_own_from_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"actions.{suffix}"
    toml = "[[actions]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in GOOD.items())
    path.write_text(toml if suffix == "toml" else json.dumps({"actions": [GOOD]}))
    more = builtin().extended(path)
    assert more["user.invoice.paid"].category == ("database",)
    assert "user.invoice.paid" not in builtin()
    with pytest.raises(CatalogueError, match="defined twice"):
        more.extended(read(path))


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("action", "Invoice.Paid", "lower case"),
        ("action", "paid", "<who>"),
        ("category", ["identity"], "'identity' is not of ECS"),
        ("category", [], "at least one"),
        ("category", "database", "list of words"),
        ("type", ["changed"], "nearest: change"),
        ("sentence", "{actor} {who}", r"\{who\} is none of"),
        ("sentence", "{actor", "expected '}'"),
        ("sentence", "{actor!r}", r"sentence: expected \{actor\} alone"),
        ("sentence", "{actor:>1000000}", r"sentence: expected \{actor\} alone"),
        ("sentence", "{actor.__class__}", r"\{actor.__class__\} is none of"),
        ("sentence", "{}", r"\{\} is none of"),
        ("sentence", None, "sentence: expected text"),
        ("title", None, "title: expected text"),
        ("title", " ", "title: expected text"),
        ("conceal_name_for", ["nobody"], r"conceal_name_for: expected reasons of its outcomes \(none\), got 'nobody'"),
        ("outcomes", {}, "outcomes: expected outcome to reasons"),
        ("outcomes", {"failure": "typo"}, r"outcomes\.failure: expected a list of words"),
        ("outcomes", {"failure": 5}, r"outcomes\.failure: expected a list of words"),
        ("type", 5, "type: expected a list of words"),
        ("outcomes", {"ok": []}, "'ok' is none of success"),
        ("outcomes", {"failure": ["Not Allowed"]}, "lower-case word"),
        ("target_type", "Team", "lower-case word"),
        ("details_schema", {"type": "no such type"}, "details_schema"),
        ("colour", "red", "unknown key 'colour'"),
        ("article", [{"what": 1}], "unexpected keyword"),
    ],
)
def test_a_wrong_definition_is_refused_at_load(tmp_path: Path, part: str, value: Any, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"actions": [{**GOOD, part: value}]}))
    with pytest.raises(CatalogueError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_what_is_no_action_is_refused() -> None:
    for wrong, message in (([1], r"actions\[0\]: expected an Action, got 1"), (5, "actions: expected Actions")):
        with pytest.raises(CatalogueError, match=message):
            builtin().extended(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"actions": 3}', '{"actions": [3]}'])
def test_a_file_that_is_no_catalogue_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(CatalogueError):
        read(path)


def test_outcomes_and_reasons_are_checked() -> None:
    failed = builtin()["user.login_failed"]
    assert failed.outcome_of(None, "bad_credentials") == "failure"
    with pytest.raises(InvalidEvent, match=r"event\.outcome.*got 'success'"):
        failed.outcome_of("success", None)
    with pytest.raises(InvalidEvent, match=r"event\.reason.*unknown_account, bad_credentials"):
        failed.outcome_of("failure", "typo")
    updated = builtin()["user.user.updated"]
    assert updated.outcome_of(None, "not_allowed") == "failure"
    for outcome, reason in (("success", "not_allowed"), (None, "typo")):
        with pytest.raises(InvalidEvent, match=r"event\.reason.*\(success\) has no reasons, got"):
            updated.outcome_of(outcome, reason)


def test_every_reason_of_the_catalogue_is_taken() -> None:
    for action in builtin().values():
        for outcome, reasons in action.outcomes.items():
            assert [action.outcome_of(None, reason) for reason in reasons] == [outcome] * len(reasons)


def test_details_are_checked_by_the_action_s_schema() -> None:
    action = Action(**GOOD, details_schema={"required": ["amount"], "properties": {"amount": {"type": "integer"}}})
    action.check_details({"amount": 3})
    with pytest.raises(InvalidEvent, match=r"audit\.details\.amount: '3' is not of type 'integer'"):
        action.check_details({"amount": "3"})
    with pytest.raises(InvalidEvent, match=r"audit\.details: 'amount' is a required property"):
        action.check_details(None)
