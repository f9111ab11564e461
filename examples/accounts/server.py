"""The application on a free port of loopback, in a thread."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

log = logging.getLogger(__name__)

_START_S = 10.0


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """The address, such as 127.0.0.1:43210, while it is served. OSError if it does not start."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listener],), name="accounts", daemon=True)
        thread.start()
        try:
            _wait(server, thread)
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(_START_S)


def _wait(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _START_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise OSError("the example application did not start")
        time.sleep(0.01)
