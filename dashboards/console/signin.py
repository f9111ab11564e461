"""Signing in and out. Every failure gets the same answer, and each is on record."""

import secrets
from urllib.parse import urlsplit

from starlette.responses import RedirectResponse, Response

from auditpipe.dashboards.console import person
from auditpipe.dashboards.console.visit import Visit, same_token
from auditpipe.schemas.errors import NotAllowed

_FAILED = "Wrong name or password, or no role that may look."
#: Characters of a name or a password: both in UTF-8 and base64 still fit the 8 kB that OpenSearch takes for headers.
_LONGEST = 400
_TOKEN_LENGTH = 43  # characters of 32 bytes in base64


def sign_in_page(visit: Visit) -> Response:
    """The form."""
    if visit.session is not None:
        return RedirectResponse(local(visit.query.get("next")), 303)
    problem = "Your session has ended. Sign in again to go on." if "ended" in visit.query else None
    return _page(visit, visit.query.get("next"), problem)


def sign_in(visit: Visit) -> Response:
    """Begin a session and go where the person wanted to."""
    form, next_page = visit.form, visit.form.get("next")
    if not same_token(visit.request.cookies.get(_form_cookie(visit)) or secrets.token_hex(8), form.get("token")):
        return _page(visit, next_page, "This form was too old. Please try again.", 400)
    name, password = form.get("name", "").strip(), form.get("password", "")
    keys = (f"address {visit.address}", f"name {name}")
    if wait := visit.console.throttle.wait(keys):
        problem = f"Too many failed sign-ins. Try again in {int(wait // 60) + 1} minutes."
        response = _page(visit, next_page, problem, 429)
        response.headers["Retry-After"] = str(int(wait) + 1)
        return response
    if not name or not password or max(len(name), len(password)) > _LONGEST:
        return _page(visit, next_page, _FAILED, 401)
    try:
        session = person.sign_in(visit.console.settings, name, password)
    except NotAllowed as error:
        visit.console.throttle.failed(keys)
        _record_failure(visit, name, known=not person.is_unknown(error))
        return _page(visit, next_page, _FAILED, 401)
    try:
        visit.put_on_record("user.login_succeeded", **_about(name), session=session.id)
    except BaseException:
        session.close()
        raise
    visit.console.known.add(name)
    visit.console.sessions.end(visit.request.cookies.get(visit.console.cookie))
    response = RedirectResponse(local(next_page), 303)
    visit.console.set_cookie(response, visit.console.cookie, visit.console.sessions.begin(session))
    visit.console.drop_cookie(response, _form_cookie(visit))
    return response


def sign_out(visit: Visit) -> Response:
    """End the session, on record."""
    visit.put_on_record("user.logged_out", **_about(visit.who.user), session=visit.who.id)
    visit.console.sessions.end(visit.request.cookies.get(visit.console.cookie))
    response = RedirectResponse("/sign-in", 303)
    visit.console.drop_cookie(response, visit.console.cookie)
    return response


def local(path: str | None) -> str:
    """A path of this console, never an address elsewhere."""
    if not path or not path.startswith("/") or path.startswith(("//", "/\\", "/sign-in")) or not path.isprintable():
        return "/"
    return path if not urlsplit(path).netloc else "/"


def _record_failure(visit: Visit, name: str, *, known: bool) -> None:
    """What was typed for a name that nobody has ever used here may be a password: its name is concealed then."""
    reason = "bad_credentials" if name in visit.console.known else "unknown_account"
    if known:
        reason = "account_inactive"  # name and password are right, and no role lets them look
    visit.put_on_record("user.login_failed", **_about(name), outcome="failure", reason=reason)


def _about(name: str) -> dict[str, dict[str, str]]:
    account = {"id": name, "name": name}
    return {"actor": account, "target": {"type": "user", **account}}


def _form_cookie(visit: Visit) -> str:
    return f"{visit.console.cookie}-form"


def _page(visit: Visit, next_page: str | None, problem: str | None, status: int = 200) -> Response:
    # The same for each tab of a browser, or only the last one's form would be taken.
    given = visit.request.cookies.get(_form_cookie(visit), "")
    token = given if len(given) == _TOKEN_LENGTH else secrets.token_urlsafe(32)
    response = visit.page("sign-in.html", status, next=local(next_page), problem=problem, token=token)
    visit.console.set_cookie(response, _form_cookie(visit), token)
    return response
