"""WSGI middleware: request id, address, user agent, trace and identity for every `emit` in a request.

Flask:

    from auditpipe.emitters.wsgi import AuditMiddleware

    app.wsgi_app = AuditMiddleware(app.wsgi_app, trusted_proxies=["10.0.0.0/8"])

Django, in `wsgi.py`:

    application = AuditMiddleware(get_wsgi_application())

Both know who is signed in only inside of the application, which adds it there. `enter` needs no `leave` inside of this
middleware: what it says ends with the request, and holds for a streamed body too.

Django, a middleware after `AuthenticationMiddleware`:

    from auditpipe.emitters.context import enter

    def audit_actor(get_response):
        def middleware(request):
            user = request.user
            enter(actor={"id": user.pk, "name": user.get_username()} if user.is_authenticated else None)
            return get_response(request)
        return middleware

Flask:

    @app.before_request
    def audit_actor():
        user = load_user(session)
        enter(actor={"id": user.id, "name": user.name} if user else None)

Where a WSGI middleware authenticates (REMOTE_USER), `identify` says it at once:

    AuditMiddleware(app, identify=lambda environ: {"actor": environ.get("REMOTE_USER")})
"""

import contextvars
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from auditpipe.emitters.context import enter
from auditpipe.emitters.request import Header, OnError, Proxies, check_identity, check_on_error, of_request

log = logging.getLogger(__name__)

Environ = dict[str, Any]
WSGIApp = Callable[[Environ, Any], Iterable[bytes]]
Identify = Callable[[Environ], Mapping[str, Any] | None]


class AuditMiddleware:
    """Fills the context of each request (PEP 3333), the making of a streamed body included.

    `identify(environ)`: says who acts, as a mapping with any of actor, organization, session (and request, trace, ip,
    user_agent, which go over the headers), or None for nobody. It is asked once, before the application.
    `on_error`: what happens when `identify` fails. `raise` (default): the error is the request's own, which the server
    answers with 500 and logs, before the application has done anything: a deed whose doer is unknown must not pass as
    anonymous. `continue`: the error is logged, and the request goes on without an identity.
    `trusted_proxies`: addresses, ranges or `unix` whose `X-Forwarded-For` is believed; without them `source.ip` is
    REMOTE_ADDR. UsageError for one that can't be read.
    """

    def __init__(
        self,
        app: WSGIApp,
        *,
        identify: Identify | None = None,
        trusted_proxies: Iterable[str] = (),
        on_error: OnError = "raise",
    ) -> None:
        check_on_error(on_error)
        self.app = app
        self._identify = identify
        self._proxies = Proxies.named(trusted_proxies)
        self._on_error = on_error

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        values = of_request(_header(environ), environ.get("REMOTE_ADDR"), self._proxies)
        identity = self._identity(environ)
        # The request runs in a copy of the thread's context, so that nothing of it is left for the next request of
        # this thread, whether or not the server calls close() on the body.
        around = contextvars.copy_context()
        around.run(enter, **{**values, **identity})
        body = around.run(self.app, environ, start_response)
        return body if _needs_no_context(body, environ) else _Body(body, around)

    def _identity(self, environ: Environ) -> Mapping[str, Any]:
        if self._identify is None:
            return {}
        try:
            return check_identity(self._identify(environ))
        except Exception:
            if self._on_error == "raise":
                raise
            log.exception("identify failed for %s: its events name no actor", environ.get("PATH_INFO"))
            return {}


class _Body:
    """A body that may still emit while the server reads it."""

    def __init__(self, body: Iterable[bytes], around: contextvars.Context) -> None:
        self._body = body
        self._around = around
        self._parts: Iterator[bytes] = around.run(iter, body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._around.run(next, self._parts)

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            self._around.run(close)


def _needs_no_context(body: Iterable[bytes], environ: Environ) -> bool:
    """Whether nothing of the application runs any more: a list, whose length servers use, or a file to send."""
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(body, (list, tuple)) or (isinstance(wrapper, type) and isinstance(body, wrapper))


def _header(environ: Environ) -> Header:
    return lambda name: environ.get("HTTP_" + name.upper().replace("-", "_"))
