"""A client for the saved objects of one tenant of OpenSearch Dashboards, over its HTTP API.

TLS is always verified. A foreign exception, and an answer that is no success, leave as one of
`auditpipe.schemas.errors`; no message holds a password, a token or a cookie.
"""

import html
import json
from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from auditpipe.dashboards.imports import answers
from auditpipe.dashboards.objects.saved import SavedObject, ndjson
from auditpipe.pipeline.answers import Peer
from auditpipe.pipeline.client import CONNECT_SECONDS, READ_SECONDS, credentials, host_options, trusting
from auditpipe.schemas.errors import NotAllowed, OutOfReach, SettingsError
from auditpipe.schemas.settings import Settings

_API = "/api/saved_objects"
#: Dashboards refuses a file whose name ends otherwise.
_FILE_NAME = "saved-objects.ndjson"
#: What Dashboards calls the tenant that everyone shares, and a person's own (`tenant_resolver.ts`).
_GLOBAL, _PRIVATE = "", "__user__"
_CALLED = {"global": _GLOBAL, "private": _PRIVATE}


class Dashboards:
    """The saved objects of one tenant. `tenant` "" is a Dashboards without multitenancy, which has no tenants."""

    def __init__(self, settings: Settings, tenant: str) -> None:
        url = settings.get("dashboards_url")
        if not url:
            raise SettingsError(
                "no OpenSearch Dashboards is named: give --dashboards-url, AUDITPIPE_DASHBOARDS_URL or dashboards_url "
                f"where the URL of the cluster is ({settings.source})"
            )
        self._base = url.rstrip("/")
        self._prefix = urlsplit(self._base).path
        caller = credentials(settings)
        if not caller.headers:
            raise SettingsError("Dashboards takes a name and a password, or a token: no certificate signs in there")
        self.peer = Peer(self._base, caller.who)
        self.tenant = tenant
        self._headers = {**caller.headers, "osd-xsrf": "true", **({"securitytenant": tenant} if tenant else {})}
        self._cookies: dict[str, str] = {}
        self._pool = _pool(settings, self._base)

    def ready(self) -> None:
        """Return if it has started and takes us in. OutOfReach if it can't answer yet, NotAllowed."""
        body = self._json("GET", "/api/status")
        overall = body.get("status", {}).get("overall", {}) if isinstance(body, dict) else {}
        if overall.get("state", overall.get("level")) not in ("green", "yellow", "available", "degraded"):
            raise OutOfReach(f"{self.peer.url} has started and says that it can't work: {overall.get('title', 'red')}")

    def check_tenant(self) -> None:
        """Return if our tenant is the one that it works in. NotAllowed otherwise.

        It says nothing where a tenant is not there or not ours: it takes another one, the global one in the end. It is
        asked after `ready`, because which one it took is in the session that an answer begins.
        """
        if not self.tenant:
            return
        status, data = self._request("GET", "/api/v1/multitenancy/tenant")
        if status == 404:
            raise NotAllowed(
                f"{self.peer.url} has no tenants (multitenancy is off): give --dashboards-tenant '' for the one place "
                "that it has"
            )
        if status != 200:
            raise answers.refusal(self.peer, status, data)
        selected = html.unescape(data.decode("utf-8", "replace")).strip().strip('"')
        if selected != _CALLED.get(self.tenant.lower(), self.tenant):
            instead = {_GLOBAL: "the global tenant", _PRIVATE: "a private one"}.get(selected, f"tenant {selected!r}")
            raise NotAllowed(
                f"{self.peer.url}: the tenant {self.tenant!r} is not there for {self.peer.who}, and Dashboards would "
                f"take {instead}: nothing was written. `auditpipe provision` makes it; a Super Admin may write to it"
            )

    def import_file(self, objects: Iterable[SavedObject]) -> Mapping[str, Any]:
        """Send the objects, over what is there. The answer, which may tell of errors although it is a 200."""
        fields = {"file": (_FILE_NAME, ndjson(objects).encode(), "application/ndjson")}
        body, content_type = urllib3.encode_multipart_formdata(fields)
        answer = self._json("POST", f"{_API}/_import?overwrite=true", body, content_type)
        return answer if isinstance(answer, dict) else {}

    def read(self, names: Iterable[tuple[str, str]]) -> dict[str, SavedObject | None]:
        """The objects of these types and ids as they are now, by `type/id`; None for what is not there."""
        asked = [{"type": kind, "id": name} for kind, name in names]
        answer = self._json("POST", f"{_API}/_bulk_get", json.dumps(asked).encode(), "application/json")
        return {f"{row['type']}/{row['id']}": answers.object_of(self.peer, row) for row in answer["saved_objects"]}

    def write(self, objects: Iterable[SavedObject]) -> None:
        """Write objects as they once were, over what is there."""
        body = json.dumps([one.document() for one in objects]).encode()
        answer = self._json("POST", f"{_API}/_bulk_create?overwrite=true", body, "application/json")
        for row in answer["saved_objects"]:
            answers.object_of(self.peer, row)

    def delete(self, one: SavedObject) -> None:
        """Remove an object; one that is not there is no error."""
        status, data = self._request("DELETE", f"{_API}/{quote(one.type, safe='')}/{quote(one.id, safe='')}")
        if status not in (200, 404):
            raise answers.refusal(self.peer, status, data)

    def _json(self, method: str, path: str, body: bytes | None = None, content_type: str | None = None) -> Any:
        status, data = self._request(method, path, body, content_type)
        if status != 200:
            raise answers.refusal(self.peer, status, data)
        try:
            return json.loads(data)
        except ValueError as error:
            raise OutOfReach(f"{self.peer.url} answered with something that is not JSON: is it Dashboards?") from error

    def _request(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None
    ) -> tuple[int, bytes]:
        headers = dict(self._headers)
        if content_type:
            headers["content-type"] = content_type
        if self._cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        try:
            answer = self._pool.request(
                method, self._prefix + path, body=body, headers=headers, redirect=False, retries=False
            )
        except HTTPError as error:
            raise answers.no_answer(self.peer, error) from error
        self._keep(answer.headers.getlist("set-cookie"))
        return answer.status, answer.data

    def _keep(self, cookies: Iterable[str]) -> None:
        for line in cookies:
            try:
                parsed = SimpleCookie(line)
            except CookieError as error:
                raise OutOfReach(f"{self.peer.url} set a cookie that can't be read: is it Dashboards?") from error
            for name, morsel in parsed.items():
                self._cookies[name] = morsel.value


def _pool(settings: Settings, url: str) -> urllib3.HTTPConnectionPool:
    host = host_options(url)
    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
    if not host["use_ssl"]:
        return urllib3.HTTPConnectionPool(host["host"], host["port"], timeout=timeout)
    own = settings.get("dashboards_ca_file")
    context = trusting(own, "dashboards_ca_file") if own else trusting(settings.get("ca_file"))
    return urllib3.HTTPSConnectionPool(host["host"], host["port"], timeout=timeout, ssl_context=context)
