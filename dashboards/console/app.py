"""The console, put together."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from auditpipe.dashboards.console.detail import detail
from auditpipe.dashboards.console.exporting import export
from auditpipe.dashboards.console.guard import Guard
from auditpipe.dashboards.console.listing import listing
from auditpipe.dashboards.console.looked import looked
from auditpipe.dashboards.console.proxy import Forwarded
from auditpipe.dashboards.console.rendering import STATIC, render
from auditpipe.dashboards.console.sessions import Sessions
from auditpipe.dashboards.console.signin import sign_in, sign_in_page, sign_out
from auditpipe.dashboards.console.visit import Console, Visit, limited, public, signed_in

_SWEEP_S = 60.0


def application(console: Console, hosts: frozenset[str], forwarders: Iterable[str] = ()) -> Starlette:
    """The ASGI application.

    `hosts`: the names, without a port, under which people reach it. `forwarders`: addresses and networks of proxies,
    whose `X-Forwarded-For` says where a browser is.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_sweep(console.sessions))
        yield
        sweeping.cancel()
        await run_in_threadpool(console.sessions.end_all)

    app = Starlette(
        routes=[
            Route("/", signed_in(limited(listing)), methods=["GET"]),
            Route("/events/{id}", signed_in(limited(detail)), methods=["GET"]),
            Route("/export", signed_in(limited(export)), methods=["POST"]),
            Route("/who-looked", signed_in(limited(looked)), methods=["GET"]),
            Route("/sign-in", public(sign_in_page), methods=["GET"]),
            Route("/sign-in", public(sign_in), methods=["POST"]),
            Route("/sign-out", signed_in(sign_out), methods=["POST"]),
            Route("/healthz", _health, methods=["GET"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(Forwarded, trusted=forwarders),
            Middleware(Guard, hosts=hosts, secure=console.secure),
        ],
        exception_handlers={404: _nothing_here, Exception: _bug},
        lifespan=lifespan,
    )
    app.state.console = console
    return app


async def _sweep(sessions: Sessions) -> None:
    while True:
        await asyncio.sleep(_SWEEP_S)
        await run_in_threadpool(sessions.sweep)


async def _health(_request: Request) -> Response:
    """For a supervisor: the console itself runs. It asks the node nothing, having no credentials."""
    return PlainTextResponse("ok\n")


async def _nothing_here(request: Request, _error: Exception) -> Response:
    visit = Visit(request, request.app.state.console, None, {})
    what = "The console has no page of this name."
    return visit.page("error.html", 404, heading="No such page", remedy="Check the link.", what=what, again="/")


async def _bug(_request: Request, _error: Exception) -> Response:
    """Outside of all middleware; the traceback is in the log."""
    values = {"heading": "Something went wrong here", "what": "It was nothing that you did.", "again": "/"}
    remedy = "Please report it, with the time; the console's log has the rest."
    return HTMLResponse(render("error.html", session=None, remedy=remedy, **values), 500)
