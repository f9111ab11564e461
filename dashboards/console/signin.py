"""Signing in and out. Every failure gets the same answer, and each is on record."""

import secrets
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.responses import RedirectResponse, Response

from auditpipe.dashboards.console import person
from auditpipe.dashboards.console.proxy import Identity
from auditpipe.dashboards.console.sessions import Session
from auditpipe.dashboards.console.visit import Visit, same_token
from auditpipe.pipeline.client import Caller, basic, bearer
from auditpipe.schemas.errors import NotAllowed, SettingsError

_FAILED = "Wrong name or password, or no role that may look."
_NOT_TAKEN = "This token is not taken, or no role of it may look."
_OUT, _ENDED = "You have signed out.", "Your session has ended. Sign in again to go on."
#: Characters of a password, and of a name, which is the id of an event's user: both in UTF-8 and base64 still fit the
#: 8 kB that OpenSearch takes for headers.
_LONGEST, _LONGEST_NAME = 400, 256
_LONGEST_TOKEN = 7_000
_TOKEN_LENGTH = 43  # characters of 32 bytes in base64


def sign_in_page(visit: Visit) -> Response:
    """The form, or, for whom a trusted proxy vouches, straight to where they wanted to go."""
    next_page = visit.query.get("next")
    if visit.session is not None:
        return RedirectResponse(local(next_page), 303)
    vouched, is_out = visit.vouched, "out" in visit.query
    if vouched is not None and not is_out:
        return _vouched(visit, vouched, next_page)
    told = _OUT if is_out else _ENDED if "ended" in visit.query else None
    return _page(visit, next_page, None, told=told, vouched=vouched is not None)


def sign_in(visit: Visit) -> Response:
    """Begin a session and go where the person wanted to."""
    form, next_page = visit.form, visit.form.get("next")
    if not same_token(visit.request.cookies.get(_form_cookie(visit)) or secrets.token_hex(8), form.get("token")):
        return _page(visit, next_page, "This form was too old. Please try again.", 400)
    by_token = "bearer" in form
    name = None if by_token else form.get("name", "").strip()
    keys = (f"address {visit.address}", *([f"name {name}"] if name is not None else []))
    if wait := visit.console.throttle.enter(keys):
        return _too_many(visit, next_page, wait)
    failed = _NOT_TAKEN if by_token else _FAILED
    try:
        caller = _of_token(form["bearer"]) if name is None else _of_password(name, form.get("password", ""))
    except SettingsError as error:
        _record_failure(visit, None, error)
        return _page(visit, next_page, failed, 401, by_token=by_token)
    try:
        session = _taken(visit, keys, caller)
    except NotAllowed as error:
        _record_failure(visit, name, error)
        return _page(visit, next_page, failed, 401, by_token=by_token)
    return _begun(visit, session, next_page)


def sign_out(visit: Visit) -> Response:
    """End the session, on record."""
    visit.put_on_record("user.logged_out", **_about(visit.who.user), session=visit.who.id)
    visit.console.sessions.end(visit.request.cookies.get(visit.console.cookie))
    response = RedirectResponse("/sign-in?out=1", 303)
    visit.console.drop_cookie(response, visit.console.cookie)
    return response


def local(path: str | None) -> str:
    """A path of this console, never an address elsewhere."""
    if not path or not path.startswith("/") or path.startswith(("//", "/\\", "/sign-in")) or not path.isprintable():
        return "/"
    return path if not urlsplit(path).netloc else "/"


def _vouched(visit: Visit, vouched: Identity, next_page: str | None) -> Response:
    """Whoever a proxy has signed in. What the node does not take is said on a page, which leads nowhere in circles."""
    keys = (f"address {visit.address}" if vouched.is_token else f"vouched {vouched.value}",)
    if wait := visit.console.throttle.enter(keys):
        return _too_many(visit, next_page, wait)
    name = None if vouched.is_token else vouched.value
    try:
        session = _taken(visit, keys, vouched.caller(visit.address), expected=name)
    except (NotAllowed, SettingsError) as error:
        _record_failure(visit, name, error)
        raise NotAllowed(f"whom the proxy names does not get in: {error}") from None
    return _begun(visit, session, next_page)


def _taken(visit: Visit, keys: Collection[str], caller: Caller, expected: str | None = None) -> Session:
    """A session of theirs. Only a refusal stays counted as a failure: not that the node, or anything else, is away."""
    refused = False
    try:
        return person.sign_in(visit.console.settings, caller, expected)
    except NotAllowed:
        refused = True
        raise
    finally:
        if not refused:
            visit.console.throttle.take_back(keys)


def _begun(visit: Visit, session: Session, next_page: str | None) -> Response:
    session.vouched = visit.vouched
    try:
        visit.put_on_record("user.login_succeeded", **_about(session.user), session=session.id)
    except BaseException:
        session.close()
        raise
    visit.console.known.add(session.user)
    visit.console.sessions.end(visit.request.cookies.get(visit.console.cookie))
    response = RedirectResponse(local(next_page), 303)
    visit.console.set_cookie(response, visit.console.cookie, visit.console.sessions.begin(session))
    visit.console.drop_cookie(response, _form_cookie(visit))
    return response


def _of_password(name: str, password: str) -> Caller:
    if not 0 < len(name) <= _LONGEST_NAME or not 0 < len(password) <= _LONGEST:
        raise SettingsError("expected a name and a password")
    return basic(name, password)


def _of_token(text: str) -> Caller:
    token = text.strip().removeprefix("Bearer ").strip()
    if not 0 < len(token) <= _LONGEST_TOKEN:
        raise SettingsError("expected a token")
    return bearer(token)


def _record_failure(visit: Visit, name: str | None, error: Exception) -> None:
    """What was typed for a name that nobody has ever used here may be a password: its name is concealed then."""
    if isinstance(error, person.NoRole):  # they are who they say they are, and no role lets them look
        about, reason = _about(error.user), "account_inactive"
    elif name is None or len(name) > _LONGEST_NAME:
        about, reason = {"target": {"type": "user"}}, "bad_credentials"
    else:
        about, reason = _about(name), "bad_credentials" if name in visit.console.known else "unknown_account"
    visit.put_on_record("user.login_failed", **about, outcome="failure", reason=reason)


def _about(name: str) -> dict[str, dict[str, str]]:
    account = {"id": name, "name": name}
    return {"actor": account, "target": {"type": "user", **account}}


def _form_cookie(visit: Visit) -> str:
    return f"{visit.console.cookie}-form"


def _too_many(visit: Visit, next_page: str | None, wait: float) -> Response:
    response = _page(visit, next_page, f"Too many failed sign-ins. Try again in {int(wait // 60) + 1} minutes.", 429)
    response.headers["Retry-After"] = str(int(wait) + 1)
    return response


def _page(visit: Visit, next_page: str | None, problem: str | None, status: int = 200, **how: object) -> Response:
    # The same for each tab of a browser, or only the last one's form would be taken.
    given = visit.request.cookies.get(_form_cookie(visit), "")
    token = given if len(given) == _TOKEN_LENGTH else secrets.token_urlsafe(32)
    values = {"told": None, "vouched": False, "by_token": False, **how}
    response = visit.page("sign-in.html", status, next=local(next_page), problem=problem, token=token, **values)
    visit.console.set_cookie(response, _form_cookie(visit), token)
    return response
