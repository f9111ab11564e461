"""The application, put together."""

import logging
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from auditpipe.emitters import AuditLog
from auditpipe.emitters.asgi import AuditMiddleware
from auditpipe.examples.accounts import api, web
from auditpipe.examples.accounts.accounts import Accounts
from auditpipe.examples.accounts.pages import Pages
from auditpipe.examples.accounts.sessions import Sessions
from auditpipe.examples.accounts.store import Store
from auditpipe.schemas.errors import AuditpipeError

log = logging.getLogger(__name__)

SERVICE = "accounts"


def audit_log(**options: Any) -> AuditLog:
    """The audit log of this service; `options` as `AuditLog` takes them. Its own actions are in a file beside this."""
    options = {"organization": {"id": "acme", "name": "Acme"}, "environment": "example", **options}
    return AuditLog(SERVICE, version="1", actions=Path(__file__).with_name("actions.json"), **options)


def application(audit: AuditLog, store: Store) -> Starlette:
    """The ASGI application. For loopback only: another Host is refused, so that no name can be pointed here."""
    accounts, sessions = Accounts(audit, store), Sessions()
    return Starlette(
        routes=[*api.routes(accounts, sessions), *Pages(accounts, sessions).routes()],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"]),
            Middleware(web.SameOriginMiddleware),
            Middleware(web.SignedInMiddleware, accounts, sessions),
            Middleware(AuditMiddleware, identify=web.identify),  # inside of what knows who is signed in
        ],
        exception_handlers={AuditpipeError: _not_on_record},
    )


async def _not_on_record(request: Request, error: Exception) -> Response:
    log.error("%s %s was not done, because it can't be put on record: %s", request.method, request.url.path, error)
    return PlainTextResponse("This can't be put on record just now, and so it was not done.\n", 503)
