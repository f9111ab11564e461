"""What `auditpipe demo` does in the application: a list of steps, each of which makes one event.

First the article's three walkthroughs, then whatever else of the catalogue there is. `item` is the item of the
catalogue that the step performs; docs/events.md has the search that finds it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from auditpipe.examples.accounts.client import Browser

NOBODY = "ada.typo"


@dataclass(slots=True)
class Visit:
    """An administrator's browser, a stranger's, and the ids that were met on the way."""

    admin: Browser
    stranger: Browser
    password: str
    ids: dict[str, str] = field(default_factory=dict)

    def look_around(self) -> None:
        """Find the ids of the test user and the team, as a person finds them on the pages."""
        self.ids["tess"] = next(user["id"] for user in self.admin.call("GET", "/api/users") if user["name"] == "tess")
        team = next(team for team in self.admin.call("GET", "/api/teams") if team["name"] == "Support")
        self.ids["support"] = team["id"]
        self.ids["member"] = team["members"][0]


@dataclass(frozen=True, slots=True)
class Step:
    """One action of a person, which is one event of `action`. `item` is None for what the catalogue does not list."""

    item: str | None
    action: str
    says: str
    perform: Callable[[Visit], None]


def _fail_to_sign_in(visit: Visit) -> None:
    visit.admin.call("POST", "/api/sign-in", {"name": NOBODY, "password": visit.password}, expect=401)


def _sign_in(visit: Visit) -> None:
    visit.admin.call("POST", "/api/sign-in", {"name": "ada", "password": visit.password})
    visit.look_around()


def _change_tess(**fields: str) -> Callable[[Visit], None]:
    return lambda visit: visit.admin.call("PATCH", f"/api/users/{visit.ids['tess']}", fields) and None


def _assign(visit: Visit) -> None:
    members = [visit.ids["member"], visit.ids["tess"]]
    visit.admin.call("PUT", f"/api/teams/{visit.ids['support']}/members", {"members": members})


def _guess_password(visit: Visit) -> None:
    visit.stranger.call("POST", "/api/sign-in", {"name": "tess@example.com", "password": "letmein"}, expect=401)


def _recover(email: str) -> Callable[[Visit], None]:
    return lambda visit: visit.stranger.call("POST", "/api/password-recovery", {"email": email}, expect=202) and None


def _create_user(visit: Visit) -> None:
    person = {"name": "nia", "first_name": "Nia", "last_name": "New", "email": "nia@example.com", "roles": ["agent"]}
    visit.ids["nia"] = visit.admin.call("POST", "/api/users", {**person, "password": visit.password})["id"]


def _set_roles(*roles: str) -> Callable[[Visit], None]:
    return lambda visit: (
        visit.admin.call("PUT", f"/api/users/{visit.ids['tess']}/roles", {"roles": list(roles)}) and None
    )


def _switch_nia(verb: str) -> Callable[[Visit], None]:
    return lambda visit: visit.admin.call("POST", f"/api/users/{visit.ids['nia']}/{verb}") and None


def _create_team(visit: Visit) -> None:
    visit.ids["team"] = visit.admin.call("POST", "/api/teams", {"name": "Billing"})["id"]


def _rename_team(visit: Visit) -> None:
    visit.admin.call("PATCH", f"/api/teams/{visit.ids['team']}", {"name": "Payments"})


def _delete_team(visit: Visit) -> None:
    visit.admin.call("DELETE", f"/api/teams/{visit.ids['team']}")


def _create_role(visit: Visit) -> None:
    visit.admin.call("POST", "/api/roles", {"id": "reviewer", "name": "Reviewers", "permissions": ["exports.make"]})


def _update_role(visit: Visit) -> None:
    visit.admin.call("PATCH", "/api/roles/reviewer", {"permissions": ["exports.make", "teams.manage"]})


def _delete_role(visit: Visit) -> None:
    visit.admin.call("DELETE", "/api/roles/reviewer")


def _export(kind: str) -> Callable[[Visit], None]:
    return lambda visit: visit.admin.call("GET", f"/api/exports/{kind}") and None


def _sign_out(visit: Visit) -> None:
    visit.admin.call("POST", "/api/sign-out")


WALKTHROUGHS: tuple[tuple[str, tuple[Step, ...]], ...] = (
    (
        "Walkthrough 1: a failed sign-in, then a good one",
        (
            Step("Login fail", "user.login_failed", "Sign in with a user name that does not exist", _fail_to_sign_in),
            Step("Login success", "user.login_succeeded", "Sign in as ada", _sign_in),
        ),
    ),
    (
        "Walkthrough 2: a last name is changed, and changed back",
        (
            Step(
                "Update to a user profile",
                "user.user.updated",
                "Change Tess's last name from Doe to Dow",
                _change_tess(last_name="Dow"),
            ),
            Step(
                "Update to a user profile",
                "user.user.updated",
                "Change it back from Dow to Doe",
                _change_tess(last_name="Doe"),
            ),
        ),
    ),
    (
        "Walkthrough 3: a user is added to a team",
        (Step("a user is assigned to a Team", "user.team.updated", "Add Tess to the team Support", _assign),),
    ),
    (
        "Everything else",
        (
            Step(
                "Login failed with a valid email",
                "user.login_failed",
                "Sign in with Tess's email and a wrong password",
                _guess_password,
            ),
            Step(
                "Recovered password with incorrect email address",
                "user.password_recovery_failed",
                "Recover the password of an email that nobody has",
                _recover("tess@example.org"),
            ),
            Step(
                "Recovered password with valid email address",
                "user.password_recovery_requested",
                "Recover the password of Tess's email",
                _recover("tess@example.com"),
            ),
            Step("a new User is created", "user.user.created", "Create the user nia", _create_user),
            Step(
                "a new User is updated",
                "user.user.updated",
                "Change Tess's email",
                _change_tess(email="tess.doe@example.com"),
            ),
            Step(
                "Update to a user role",
                "user.user.role_changed",
                "Grant Tess the role admin",
                _set_roles("agent", "admin"),
            ),
            Step("a Role changes", "user.user.role_changed", "Revoke it", _set_roles("agent")),
            Step("a user is deactivated", "user.user.deactivated", "Deactivate nia", _switch_nia("deactivate")),
            Step("a user is activated", "user.user.activated", "Activate nia again", _switch_nia("activate")),
            Step("a new Team is created", "user.team.created", "Create the team Billing", _create_team),
            Step("a new Team is updated", "user.team.updated", "Rename it to Payments", _rename_team),
            Step("a new Team is deleted", "user.team.deleted", "Delete it", _delete_team),
            Step("a new Role is created", "user.role.created", "Create the role reviewer", _create_role),
            Step("a new Role is updated", "user.role.updated", "Let it manage teams", _update_role),
            Step("a new Role is deleted", "user.role.deleted", "Delete it", _delete_role),
            Step(
                "Export quality overview",
                "user.quality_overview.exported",
                "Export the quality overview",
                _export("quality_overview"),
            ),
            Step("Export calibration", "user.calibration.exported", "Export calibrations", _export("calibration")),
            Step(
                "Export calibration reports",
                "user.calibration_report.exported",
                "Export calibration reports",
                _export("calibration_report"),
            ),
            Step("Export disputes", "user.dispute.exported", "Export disputes", _export("dispute")),
            Step(
                "Export coaching sessions",
                "user.coaching_session.exported",
                "Export coaching sessions",
                _export("coaching_session"),
            ),
            Step("Export users", "user.user.exported", "Export users", _export("user")),
            Step(None, "user.logged_out", "Sign out", _sign_out),
        ),
    ),
)


def steps() -> tuple[Step, ...]:
    """Every step, in order."""
    return tuple(step for _, part in WALKTHROUGHS for step in part)


def perform(address: str, password: str, run: str) -> Iterator[str]:
    """Perform every step on the application at `address`; yields what comes next, as a sentence.

    The request id of a step is the run's name and its number, `demo-1f3a9c-07`: by it its event is found.
    """
    visit = Visit(Browser(address), Browser(address), password)
    number = 0
    for title, part in WALKTHROUGHS:
        yield title
        for step in part:
            number += 1
            visit.admin.request_id = visit.stranger.request_id = request_id(run, number)
            yield f"  {step.says}"
            step.perform(visit)


def request_id(run: str, number: int) -> str:
    """Of the step with that number, from 1."""
    return f"{run}-{number:02d}"
