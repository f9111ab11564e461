"""One request to the console, and the pages' way to answer it: sessions, forms, errors as pages."""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any
from urllib.parse import parse_qs, quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from auditpipe.dashboards.console import person
from auditpipe.dashboards.console.at_once import AtOnce, TooMuchAtOnce
from auditpipe.dashboards.console.person import is_unknown
from auditpipe.dashboards.console.proxy import Identity, Proxy
from auditpipe.dashboards.console.rendering import render
from auditpipe.dashboards.console.sessions import Session, Sessions
from auditpipe.dashboards.console.throttle import Throttle
from auditpipe.schemas.errors import AuditpipeError, NoSuchEvent, NotAllowed, NotFinished, SettingsError, UsageError
from auditpipe.schemas.settings import Settings

log = logging.getLogger(__name__)

#: Puts an audit event on record, or raises: `record(action, actor=..., outcome=..., ...)` as `AuditLog.emit` takes it.
Record = Callable[..., Any]

_MAX_FORM = 64 * 1024
#: (status, heading, what to do) of an error that reaches a person.
_STATES: tuple[tuple[type[AuditpipeError], tuple[int, str, str]], ...] = (
    (UsageError, (400, "That can't be answered", "Go back and change what was asked for.")),
    (NotAllowed, (403, "You may not see this", "If you should, ask a Super Admin to grant it to you.")),
    (NoSuchEvent, (404, "No such event", "There is none with this id, or none that you may see. Check the link.")),
    (TooMuchAtOnce, (429, "Too much at a time", "Wait until what you asked for is there, and load this page again.")),
    (NotFinished, (503, "OpenSearch does not answer", "Nothing is lost. Wait a little and load this page again.")),
)
_RETRY_AFTER_S = 5
_BUG = (500, "Something went wrong here", "Please report it, with the time; the console's log has the rest.")


@dataclass(slots=True)
class Console:
    """What all requests share. `secure`: people reach it over TLS, so that its cookies are for TLS alone."""

    settings: Settings
    record: Record
    secure: bool
    sessions: Sessions = field(default_factory=Sessions)
    throttle: Throttle = field(default_factory=Throttle)
    at_once: AtOnce = field(default_factory=AtOnce)
    #: Names that have signed in here: only a name that is known to be one is put on record as typed when it fails.
    known: set[str] = field(default_factory=set)
    proxy: Proxy | None = None

    @property
    def cookie(self) -> str:
        """The name of the session's cookie. With the prefix, a browser takes it from this host over TLS alone."""
        return "__Host-auditpipe" if self.secure else "auditpipe"

    def set_cookie(self, response: Response, name: str, value: str) -> None:
        """Until the browser is closed; not for scripts, not sent along by other sites' forms."""
        response.set_cookie(name, value, httponly=True, samesite="lax", secure=self.secure, path="/")

    def drop_cookie(self, response: Response, name: str) -> None:
        """Take it away."""
        response.delete_cookie(name, httponly=True, samesite="lax", secure=self.secure, path="/")


@dataclass(slots=True)
class Visit:
    """One request: the console, who is signed in (if anyone), and the form that came along."""

    request: Request
    console: Console
    session: Session | None
    form: dict[str, str]

    @property
    def query(self) -> QueryParams:
        """What stands behind `?`."""
        return self.request.query_params

    @property
    def here(self) -> str:
        """Path and query of this page."""
        url = self.request.url
        return f"{url.path}?{url.query}" if url.query else url.path

    @property
    def again(self) -> str:
        """Where to go on after an error: this page, or the list with the filters of a form that was sent."""
        return self.here if self.request.method == "GET" else f"/?{self.request.url.query}".rstrip("?")

    @property
    def address(self) -> str | None:
        """The address of the browser, or of the proxy where its word is not taken."""
        return self.request.client.host if self.request.client else None

    @property
    def vouched(self) -> Identity | None:
        """Who asks, by a trusted proxy's word. NotAllowed: it makes no sense."""
        return self.console.proxy.identity(self.request) if self.console.proxy else None

    @property
    def who(self) -> Session:
        """The session of a page that only people who are signed in get."""
        if self.session is None:
            raise NotAllowed("nobody is signed in")
        return self.session

    def page(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page with these values."""
        return HTMLResponse(render(template, session=self.session, **values), status)

    def put_on_record(self, action: str, **arguments: Any) -> None:
        """An audit event of this request. AuditpipeError: it could not be taken, and so nothing may be done."""
        user_agent = self.request.headers.get("user-agent")
        self.console.record(action, ip=self.address, user_agent=user_agent, **arguments)


Answer = Callable[[Visit], Response]


def public(answer: Answer) -> Callable[[Request], Any]:
    """An endpoint for anyone. Runs in a thread: the node is asked synchronously."""

    @wraps(answer)
    async def endpoint(request: Request) -> Response:
        visit = Visit(request, request.app.state.console, None, {})
        try:
            if request.method == "POST":
                visit.form = await _form(request)
        except UsageError as error:
            return failed(visit, error)
        return await run_in_threadpool(_answered, answer, visit)

    return endpoint


def _answered(answer: Answer, visit: Visit) -> Response:
    try:
        visit.session = _session(visit)
        return answer(visit)
    except AuditpipeError as error:
        return failed(visit, error)


def _session(visit: Visit) -> Session | None:
    """The cookie's; ended where a proxy began it and does not say the same of this request."""
    secret = visit.request.cookies.get(visit.console.cookie)
    session, vouched = visit.console.sessions.find(secret), visit.vouched
    if session is None or session.vouched == vouched:
        return session
    if session.vouched and vouched and vouched.is_token and _is_renewed(visit, session, vouched):
        return session
    visit.console.sessions.end(secret)
    return None


def _is_renewed(visit: Visit, session: Session, token: Identity) -> bool:
    """Whether this token, which is another than before, is the same person's: proxies renew them every few minutes."""
    try:
        newer = person.sign_in(visit.console.settings, token.caller(visit.address))
    except (NotAllowed, SettingsError):
        return False
    if newer.user != session.user:
        newer.close()
        return False
    newer.vouched = token
    session.renew(newer)
    return True


def signed_in(answer: Answer) -> Callable[[Request], Any]:
    """An endpoint for whoever is signed in; the others go to the sign-in page and come back."""

    def checked(visit: Visit) -> Response:
        if visit.session is None:
            return _to_sign_in(visit)
        if visit.request.method == "POST" and not same_token(visit.session.form_token, visit.form.get("token")):
            raise NotAllowed("this form is not of your session: load the page again, then send it")
        return answer(visit)

    return public(wraps(answer)(checked))


def limited(answer: Answer) -> Answer:
    """A page of which one person gets only some at a time: whoever asks for slow ones holds nobody else up."""

    @wraps(answer)
    def one_of_some(visit: Visit) -> Response:
        with visit.console.at_once.page(visit.who.user):
            return answer(visit)

    return one_of_some


def same_token(expected: str, given: str | None) -> bool:
    """Whether a form brought the token that was put into it."""
    return secrets.compare_digest(expected.encode(), (given or "").encode())


def failed(visit: Visit, error: AuditpipeError) -> Response:
    """The page for an error that names what happened and what to do."""
    if visit.session is not None and isinstance(error, NotAllowed) and is_unknown(error):
        # The password was changed, or the account removed: the session is worth nothing any more.
        visit.console.sessions.end(visit.request.cookies.get(visit.console.cookie))
        visit.session = None
        return _to_sign_in(visit)
    status, heading, remedy = next((state for kind, state in _STATES if isinstance(error, kind)), _BUG)
    if status == _BUG[0]:
        log.error("%s: %s", visit.request.url.path, error, exc_info=error)
    page = visit.page("error.html", status, heading=heading, remedy=remedy, what=str(error), again=visit.again)
    if isinstance(error, TooMuchAtOnce):
        page.headers["Retry-After"] = str(_RETRY_AFTER_S)
    return page


def _to_sign_in(visit: Visit) -> Response:
    had_one = visit.console.cookie in visit.request.cookies
    back = visit.here if visit.request.method == "GET" else "/"
    response = RedirectResponse(f"/sign-in?next={quote(back)}{'&ended=1' if had_one else ''}", 303)
    visit.console.drop_cookie(response, visit.console.cookie)
    return response


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, the last of each name. UsageError: it is too long, or no form."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_FORM:
            raise UsageError(f"a form has at most {_MAX_FORM} bytes")
    try:
        given = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=100)
    except ValueError as error:
        raise UsageError("expected the fields of a form in UTF-8") from error
    return {name: values[-1] for name, values in given.items()}
