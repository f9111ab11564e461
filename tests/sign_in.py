"""Further ways to sign in on a real node, as an operator configures them: a token, and a proxy's headers."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.conftest import RealOpenSearch

#: What signs the tokens (HS256): 512 random bits.
KEY = secrets.token_bytes(64)
_DOCUMENT = "/.opendistro_security/_doc/config"


def token(user: str, *roles: str, key: bytes = KEY, seconds: int = 86_400) -> str:
    """A JSON Web Token (RFC 7519) that the domain `token` takes."""
    claims = {"sub": user, "roles": ",".join(roles), "exp": int(time.time()) + seconds}
    signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{_base64(hmac.digest(key, signed.encode(), hashlib.sha256))}"


def proxied(user: str, *roles: str) -> dict[str, str]:
    """The headers that a proxy adds for someone whom it has signed in."""
    return {"x-proxy-user": user, "x-proxy-roles": ",".join(roles), "x-forwarded-for": "192.0.2.7"}


@contextmanager
def further_ways(opensearch: RealOpenSearch) -> Iterator[None]:
    """Within it the node takes tokens and a proxy's headers too: what securityadmin.sh does with a new config.yml."""
    before = opensearch.request("GET", _DOCUMENT)["_source"]["config"]
    config = json.loads(base64.b64decode(before))
    dynamic = config["config"]["dynamic"]
    dynamic["authc"] |= {"token": _domain(1, _token()), "proxy": _domain(2, _proxy())}
    dynamic["authc"]["internal_users"]["order"] = 9
    dynamic["http"]["xff"] = {"enabled": True, "internalProxies": r"127\.0\.0\.1"}
    try:
        _put(opensearch, base64.b64encode(json.dumps(config).encode()).decode())
        yield
    finally:
        _put(opensearch, before)


def _put(opensearch: RealOpenSearch, config: str) -> None:
    opensearch.request("PUT", f"{_DOCUMENT}?refresh=true", {"config": config})
    opensearch.request("PUT", "/_plugins/_security/configupdate?config_types=config")


def _domain(order: int, authenticator: dict[str, Any]) -> dict[str, Any]:
    backend = {"type": "noop", "config": {}}
    where = {"http_enabled": True, "transport_enabled": True, "order": order}
    return {**where, "http_authenticator": authenticator, "authentication_backend": backend}


def _token() -> dict[str, Any]:
    keys = {"signing_key": base64.b64encode(KEY).decode(), "jwt_header": "Authorization"}
    return {"type": "jwt", "challenge": False, "config": {**keys, "roles_key": "roles", "subject_key": "sub"}}


def _proxy() -> dict[str, Any]:
    headers = {"user_header": "x-proxy-user", "roles_header": "x-proxy-roles"}
    return {"type": "proxy", "challenge": False, "config": headers}


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
