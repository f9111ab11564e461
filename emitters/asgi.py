"""ASGI middleware: request id, address, user agent, trace and identity for every `emit` in a request.

Starlette, with a session middleware outside of it (the first in the list is the outermost):

    from auditpipe.emitters.asgi import AuditMiddleware

    def identify(scope):
        user = scope["session"].get("user")
        return {"actor": {"id": user["id"], "name": user["name"]}, "organization": user["tenant"]} if user else None

    app = Starlette(routes=..., middleware=[
        Middleware(SessionMiddleware, secret_key=...),
        Middleware(AuditMiddleware, identify=identify, trusted_proxies=["10.0.0.0/8"]),
    ])

FastAPI, where the middleware that is added last is the outermost:

    app.add_middleware(AuditMiddleware, identify=identify)
    app.add_middleware(SessionMiddleware, secret_key=...)

Django under ASGI knows its user only inside of its own middleware: wrap `get_asgi_application()` in this one without
`identify`, and add the actor as `auditpipe.emitters.wsgi` shows for Django.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from auditpipe.emitters.context import context
from auditpipe.emitters.request import Header, OnError, Proxies, check_identity, check_on_error, of_request

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Identify = Callable[[Scope], Mapping[str, Any] | Awaitable[Mapping[str, Any] | None] | None]


class AuditMiddleware:
    """Fills the context of each HTTP request and websocket (ASGI 3.0); tasks that it starts inherit it.

    `identify(scope)`, plain or async: says who acts, as a mapping with any of actor, organization, session (and
    request, trace, ip, user_agent, which go over the headers), or None for nobody. It is asked once, before the
    application, so this middleware stands inside of the one that authenticates.
    `on_error`: what happens when `identify` fails. `raise` (default): the error is the request's own, which the server
    answers with 500 and logs, before the application has done anything: a deed whose doer is unknown must not pass as
    anonymous. `continue`: the error is logged, and the request goes on without an identity.
    `trusted_proxies`: addresses, ranges or `unix` whose `X-Forwarded-For` is believed; without them `source.ip` is the
    peer. UsageError for one that can't be read. Where the server itself resolves proxies (uvicorn's
    `--proxy-headers`), leave it empty.
    """

    def __init__(
        self,
        app: ASGIApp,
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        peer = scope.get("client")
        values = of_request(_header(scope), peer[0] if peer else None, self._proxies)
        with context(**{**values, **await self._identity(scope)}):
            await self.app(scope, receive, send)

    async def _identity(self, scope: Scope) -> Mapping[str, Any]:
        if self._identify is None:
            return {}
        try:
            said = self._identify(scope)
            return check_identity(await said if inspect.isawaitable(said) else said)
        except Exception:
            if self._on_error == "raise":
                raise
            log.exception("identify failed for %s: its events name no actor", scope.get("path"))
            return {}


def _header(scope: Scope) -> Header:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope.get("headers", ()):
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers.get
