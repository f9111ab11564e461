"""The application as JSON over HTTP."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from auditpipe.examples.accounts import web
from auditpipe.examples.accounts.accounts import Accounts
from auditpipe.examples.accounts.model import Refused, User
from auditpipe.examples.accounts.sessions import Sessions

#: (accounts, who asks, path parameters, JSON body) -> what the answer holds.
Call = Callable[[Accounts, User, Mapping[str, str], Mapping[str, Any]], Any]
Answer = Callable[[Request], Awaitable[Response]]

# fmt: off
_CALLS: tuple[tuple[str, str, Call], ...] = (
    ("GET", "/api/users", lambda a, by, path, body: [user.public for user in a.store.users.values()]),
    ("POST", "/api/users", lambda a, by, path, body: a.create_user(by, body).public),
    ("PATCH", "/api/users/{id}", lambda a, by, path, body: a.update_user(by, path["id"], body).public),
    ("PUT", "/api/users/{id}/roles", lambda a, by, path, body: a.set_roles(by, path["id"], body.get("roles")).public),
    ("POST", "/api/users/{id}/activate", lambda a, by, path, body: a.set_active(by, path["id"], active=True).public),
    ("POST", "/api/users/{id}/deactivate", lambda a, by, path, body: a.set_active(by, path["id"], active=False).public),
    ("GET", "/api/teams", lambda a, by, path, body: [team.public for team in a.store.teams.values()]),
    ("POST", "/api/teams", lambda a, by, path, body: a.create_team(by, body).public),
    ("PATCH", "/api/teams/{id}", lambda a, by, path, body: a.rename_team(by, path["id"], body.get("name")).public),
    ("PUT", "/api/teams/{id}/members",
     lambda a, by, path, body: a.set_members(by, path["id"], body.get("members")).public),
    ("DELETE", "/api/teams/{id}", lambda a, by, path, body: a.delete_team(by, path["id"])),
    ("GET", "/api/roles", lambda a, by, path, body: [role.public for role in a.store.roles.values()]),
    ("POST", "/api/roles", lambda a, by, path, body: a.create_role(by, body).public),
    ("PATCH", "/api/roles/{id}", lambda a, by, path, body: a.update_role(by, path["id"], body).public),
    ("DELETE", "/api/roles/{id}", lambda a, by, path, body: a.delete_role(by, path["id"])),
    ("GET", "/api/exports/{kind}", lambda a, by, path, body: a.export(by, path["kind"])),
)
# fmt: on


def routes(accounts: Accounts, sessions: Sessions) -> list[Route]:
    """Every route below /api."""

    async def sign_in(request: Request) -> Response:
        response = JSONResponse({"signed_in": True})
        web.begin_session(request, response, accounts, sessions, await web.json_body(request))
        return response

    async def sign_out(request: Request) -> Response:
        response = JSONResponse({"signed_in": False})
        web.end_session(request, response, accounts, sessions)
        return response

    async def recover(request: Request) -> Response:
        web.recover_password(accounts, await web.json_body(request))
        return JSONResponse({"sent": "if there is such an account"}, 202)

    return [
        Route("/api/sign-in", _answer(sign_in), methods=["POST"]),
        Route("/api/sign-out", _answer(sign_out), methods=["POST"]),
        Route("/api/password-recovery", _answer(recover), methods=["POST"]),
        *(Route(path, _answer(_signed_in_call(accounts, call)), methods=[method]) for method, path, call in _CALLS),
    ]


def _signed_in_call(accounts: Accounts, call: Call) -> Answer:
    async def answer(request: Request) -> Response:
        who = web.signed_in(request.scope)
        if who is None:
            return JSONResponse({"error": "Sign in first"}, 401)
        return JSONResponse(call(accounts, who.user, request.path_params, await web.json_body(request)))

    return answer


def _answer(answer: Answer) -> Answer:
    async def refusing(request: Request) -> Response:
        try:
            return await answer(request)
        except Refused as refusal:
            return JSONResponse({"error": str(refusal), "reason": refusal.reason}, web.STATUS[refusal.reason])

    return refusing
