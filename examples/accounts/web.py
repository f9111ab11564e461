"""What API and pages share: who is signed in, the cookie, bodies, and no requests from other origins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from auditpipe.examples.accounts.accounts import Accounts
from auditpipe.examples.accounts.model import Refused, User
from auditpipe.examples.accounts.sessions import LIFETIME_S, Session, Sessions

COOKIE = "accounts_session"
STATUS = {"not_allowed": 403, "not_found": 404, "conflict": 409, "invalid_input": 422, "bad_credentials": 401}
_SIGNED_IN = "accounts.signed_in"
_MAX_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody, in a session; `secret` is the cookie's."""

    user: User
    session: Session
    secret: str


class SignedInMiddleware:
    """Finds out from the cookie who is signed in."""

    def __init__(self, app: ASGIApp, accounts: Accounts, sessions: Sessions) -> None:
        self.app = app
        self._accounts = accounts
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope[_SIGNED_IN] = self._who(Request(scope).cookies.get(COOKIE))
        await self.app(scope, receive, send)

    def _who(self, secret: str | None) -> SignedIn | None:
        session = self._sessions.find(secret) if secret else None
        user = self._accounts.store.users.get(session.user_id) if session else None
        if secret is None or session is None or user is None or not user.active:
            return None
        return SignedIn(user, session, secret)


class SameOriginMiddleware:
    """Refuses what another site makes a browser send here (cross-site request forgery), sign-in included.

    Browsers say where a request comes from (Fetch Metadata, W3C; Origin, RFC 6454); what says neither is no browser,
    and has nobody's cookie.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS") and _is_foreign(scope):
            await PlainTextResponse("This request comes from another site.\n", 403)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _is_foreign(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    if site := headers.get("sec-fetch-site"):
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


def signed_in(scope: Scope) -> SignedIn | None:
    """Who makes this request."""
    found: SignedIn | None = scope[_SIGNED_IN]
    return found


def identify(scope: Scope) -> Mapping[str, Any] | None:
    """The same for the audit log."""
    who = signed_in(scope)
    return {"actor": who.user.actor, "session": who.session.id} if who else None


def begin_session(request: Request, response: Response, accounts: Accounts, sessions: Sessions, given: Any) -> None:
    """Sign in and set the cookie; the session before ends. Refused: wrong name or password."""
    session_id = sessions.new_id()
    user = accounts.sign_in(_string(given, "name"), _string(given, "password"), session_id)
    if before := signed_in(request.scope):
        sessions.end(before.secret)
    secret = sessions.begin(session_id, user.id)
    # No `Secure`: the example is served on loopback, without TLS.
    response.set_cookie(COOKIE, secret, max_age=LIFETIME_S, httponly=True, samesite="lax")


def end_session(request: Request, response: Response, accounts: Accounts, sessions: Sessions) -> None:
    """Sign out and take the cookie away."""
    if who := signed_in(request.scope):
        accounts.sign_out(who.user)
        sessions.end(who.secret)
    response.delete_cookie(COOKIE, httponly=True, samesite="lax")


def recover_password(accounts: Accounts, given: Any) -> None:
    """Ask for it; nothing tells whether there is such an account."""
    accounts.recover_password(_string(given, "email"))


async def json_body(request: Request) -> dict[str, Any]:
    """The JSON object in the body; an empty body is an empty one. Refused: anything else."""
    body = await _body(request)
    try:
        content = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        raise Refused("invalid_input", f"Expected JSON: {error}") from error
    if not isinstance(content, dict):
        raise Refused("invalid_input", "Expected a JSON object")
    return content


async def form(request: Request) -> dict[str, list[str]]:
    """The fields of a form, each a list."""
    return parse_qs((await _body(request)).decode(errors="replace"), keep_blank_values=True, max_num_fields=500)


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY:
            raise Refused("invalid_input", f"Expected at most {_MAX_BODY} bytes")
    return body


def _string(given: Any, field: str) -> str:
    value = given.get(field)
    if not isinstance(value, str) or not value or len(value) > 1_000:
        raise Refused("invalid_input", f"{field}: expected 1 to 1,000 characters")
    return value
