"""The application as pages: sign in, edit a user, put users into a team. Works without JavaScript."""

from collections.abc import Awaitable, Callable, Iterable
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from auditpipe.examples.accounts import web
from auditpipe.examples.accounts.accounts import Accounts
from auditpipe.examples.accounts.model import Refused, Team, User
from auditpipe.examples.accounts.sessions import Sessions

Answer = Callable[[Request], Awaitable[Response]]
SignedInAnswer = Callable[[Request, User], Awaitable[Response]]

_NAVIGATION = """<nav><a href="/users">User Management</a> · <a href="/teams">Teams</a>
<form method="post" action="/sign-out"><button>Sign out {name}</button></form></nav>"""
_SIGN_IN = """<form method="post" action="/sign-in">
<p><label>User name <input name="name" autocomplete="username" required autofocus></label></p>
<p><label>Password <input name="password" type="password" autocomplete="current-password" required></label></p>
<p><button>Sign in</button></p></form>
<p><a href="/password-recovery">Forgot your password?</a></p>"""
_RECOVERY = """<form method="post" action="/password-recovery">
<p><label>Email <input name="email" type="email" autocomplete="email" required></label></p>
<p><button>Send</button></p></form>"""


class Pages:
    """The pages, each a method."""

    def __init__(self, accounts: Accounts, sessions: Sessions) -> None:
        self._accounts = accounts
        self._sessions = sessions

    def routes(self) -> list[Route]:
        """Every route of a page."""
        return [
            Route("/", self._home),
            Route("/sign-in", self._sign_in, methods=["GET", "POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
            Route("/password-recovery", self._recover, methods=["GET", "POST"]),
            Route("/users", _signed_in(self._users)),
            Route("/users/{id}", _signed_in(self._user), methods=["GET", "POST"]),
            Route("/teams", _signed_in(self._teams)),
            Route("/teams/{id}", _signed_in(self._team), methods=["GET", "POST"]),
        ]

    async def _home(self, request: Request) -> Response:
        return _to("/users" if web.signed_in(request.scope) else "/sign-in")

    async def _sign_in(self, request: Request) -> Response:
        if request.method == "GET":
            return _page("Sign in", _SIGN_IN)
        response = _to("/users")
        try:
            given = {field: values[0] for field, values in (await web.form(request)).items()}
            web.begin_session(request, response, self._accounts, self._sessions, given)
        except Refused as refusal:
            return _page("Sign in", _alert(refusal) + _SIGN_IN, status=web.STATUS[refusal.reason])
        return response

    async def _sign_out(self, request: Request) -> Response:
        response = _to("/sign-in")
        web.end_session(request, response, self._accounts, self._sessions)
        return response

    async def _recover(self, request: Request) -> Response:
        if request.method == "GET":
            return _page("Recover password", _RECOVERY)
        try:
            given = {field: values[0] for field, values in (await web.form(request)).items()}
            web.recover_password(self._accounts, given)
        except Refused as refusal:
            return _page("Recover password", _alert(refusal) + _RECOVERY, status=web.STATUS[refusal.reason])
        return _page("Recover password", "<p>If there is such an account, a mail is on its way.</p>")

    async def _users(self, request: Request, by: User) -> Response:
        rows = (
            (user.full_name, user.email, f"/users/{user.id}", "Edit") for user in self._accounts.store.users.values()
        )
        return _page("User Management", _list(rows), by)

    async def _user(self, request: Request, by: User) -> Response:
        user = self._accounts.store.users.get(request.path_params["id"])
        if user is None:
            return _page("No such user", "", by, status=404)
        if request.method == "GET":
            return _page(user.full_name, _user_form(user), by)
        given = {field: values[0] for field, values in (await web.form(request)).items()}
        try:
            self._accounts.update_user(by, user.id, given)
        except Refused as refusal:
            return _page(user.full_name, _alert(refusal) + _user_form(user), by, status=web.STATUS[refusal.reason])
        return _to(f"/users/{user.id}")

    async def _teams(self, request: Request, by: User) -> Response:
        teams = self._accounts.store.teams.values()
        rows = ((team.name, f"{len(team.members)} members", f"/teams/{team.id}", "Manage") for team in teams)
        return _page("Teams", _list(rows), by)

    async def _team(self, request: Request, by: User) -> Response:
        team = self._accounts.store.teams.get(request.path_params["id"])
        if team is None:
            return _page("No such team", "", by, status=404)
        if request.method == "GET":
            return _page(team.name, self._team_form(team), by)
        members = (await web.form(request)).get("members", [])
        try:
            self._accounts.set_members(by, team.id, members)
        except Refused as refusal:
            return _page(team.name, _alert(refusal) + self._team_form(team), by, status=web.STATUS[refusal.reason])
        return _to(f"/teams/{team.id}")

    def _team_form(self, team: Team) -> str:
        store = self._accounts.store
        assigned = {member for other in store.teams.values() for member in other.members}
        members = (user for user in store.users.values() if user.id in team.members)
        free = (user for user in store.users.values() if user.id not in assigned)
        return f"""<form method="post">
<fieldset><legend>Members</legend>{_boxes(members, checked=True)}</fieldset>
<fieldset><legend>Users Not Assigned to a Team</legend>{_boxes(free, checked=False)}</fieldset>
<p><button>Save</button></p></form>"""


def _signed_in(answer: SignedInAnswer) -> Answer:
    async def guarded(request: Request) -> Response:
        who = web.signed_in(request.scope)
        return await answer(request, who.user) if who else _to("/sign-in")

    return guarded


def _page(title: str, content: str, by: User | None = None, *, status: int = 200) -> HTMLResponse:
    navigation = _NAVIGATION.format(name=escape(by.full_name)) if by else ""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<body>{navigation}<main><h1>{escape(title)}</h1>{content}</main></body></html>",
        status,
        {"content-security-policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'"},
    )


def _to(path: str) -> RedirectResponse:
    return RedirectResponse(path, 303)


def _alert(refusal: Refused) -> str:
    return f'<p role="alert">{escape(str(refusal))}</p>'


def _list(rows: Iterable[tuple[str, str, str, str]]) -> str:
    lines = (
        f'<tr><td>{escape(name)}<td>{escape(about)}<td><a href="{escape(path)}">{verb}<span hidden> {escape(name)}'
        "</span></a></tr>"
        for name, about, path, verb in rows
    )
    return f"<table>{''.join(lines)}</table>"


def _user_form(user: User) -> str:
    fields = (("first_name", "First Name"), ("last_name", "Last Name"), ("email", "Email"))
    inputs = (
        f'<p><label>{label} <input name="{name}" value="{escape(getattr(user, name))}" required></label></p>'
        for name, label in fields
    )
    return f'<form method="post">{"".join(inputs)}<p><button>Save</button></p></form>'


def _boxes(users: Iterable[User], *, checked: bool) -> str:
    return "".join(
        f'<p><label><input type="checkbox" name="members" value="{escape(user.id)}"{" checked" if checked else ""}> '
        f"{escape(user.full_name)}</label></p>"
        for user in users
    )
