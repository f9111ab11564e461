"""A browser of a few lines: one person's cookie, JSON, and a request id that says which step it is."""

import json
from http.client import HTTPConnection, HTTPException
from http.cookies import SimpleCookie
from typing import Any

from auditpipe.schemas.errors import AuditpipeError, OutOfReach

_TIMEOUT_S = 30.0


class Browser:
    """Talks to the application at `address` (host:port)."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._cookies: SimpleCookie = SimpleCookie()
        self.request_id = "none"

    def call(self, method: str, path: str, body: Any = None, *, expect: int = 200) -> Any:
        """The JSON of the answer. AuditpipeError if its status is not `expect`, OutOfReach if there is none."""
        headers = {"User-Agent": "auditpipe-demo/1", "X-Request-ID": self.request_id}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={morsel.value}" for name, morsel in self._cookies.items())
        data = None if body is None else json.dumps(body).encode()
        status, content = self._exchange(method, path, data, headers)
        if status != expect:
            raise AuditpipeError(f"{method} {path}: expected {expect} of the example application, got {status}")
        return json.loads(content)

    def _exchange(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        connection = HTTPConnection(self._address, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            for value in answer.headers.get_all("set-cookie") or ():
                self._cookies.load(value)
            return answer.status, answer.read()
        except (OSError, HTTPException) as error:
            raise OutOfReach(f"the example application at {self._address} does not answer: {error}") from error
        finally:
            connection.close()
