"""A proxy that has signed people in, and whose word is taken for who they are: only from the addresses that are listed.

Security decides all the same. A token that the proxy passes on is checked by the node itself; a name is told to the
node as its own proxy authentication takes it, and the node has to trust the console's address for that.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from auditpipe.pipeline.client import Caller, bearer
from auditpipe.schemas.errors import NotAllowed, SettingsError

#: What the node's `proxy` domain and its `http.xff` read, by the names that Security's documents use.
USER_HEADER, ADDRESS_HEADER = "x-proxy-user", "x-forwarded-for"
_LONGEST_NAME = 256
_PEER = "auditpipe.peer"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a proxy says of who asks: a name, or a token that the node checks."""

    value: str = field(repr=False)
    is_token: bool

    def caller(self, address: str | None) -> Caller:
        """The same, to the node. `address` is the browser's."""
        if self.is_token:
            return bearer(self.value)
        return Caller(self.value, {USER_HEADER: self.value, ADDRESS_HEADER: address or ""})


@dataclass(frozen=True, slots=True)
class Proxy:
    """The proxies that are trusted. `user_header` holds the name; without one they pass `Authorization: Bearer` on."""

    networks: tuple[IPv4Network | IPv6Network, ...]
    user_header: str | None = None

    def identity(self, request: Request) -> Identity | None:
        """Who asks, by the proxy's word; None for a request that none of them sent. NotAllowed: it makes no sense."""
        if not self._sent(request.scope.get(_PEER)):
            return None
        given = request.headers.getlist(self.user_header or "authorization")
        if self.user_header is None:
            given = [text[7:].strip() for text in given if text[:7].lower() == "bearer "]
        if not given:
            return None
        # Two of them, or a list: one is the browser's own, which the proxy should have taken away.
        if len(given) > 1 or (self.user_header and not _is_name(given[0])):
            what = self.user_header or "Authorization"
            raise NotAllowed(f"the proxy sent no single name or token in {what}: whoever runs it has to look at it")
        return Identity(given[0], self.user_header is None)

    def _sent(self, peer: str | None) -> bool:
        try:
            address = ip_address(peer or "")
        except ValueError:
            return False
        return any(address in network for network in self.networks)


def trusting(addresses: Iterable[str], user_header: str | None) -> Proxy | None:
    """From the command line's flags; None where no proxy is trusted. SettingsError."""
    networks = tuple(map(_network, addresses))
    if user_header is not None and not networks:
        raise SettingsError("--proxy-user-header: name the proxy's address too, with --trusted-proxy")
    if user_header is not None and not user_header.replace("-", "").isalnum():
        raise SettingsError(
            f"--proxy-user-header: expected a header's name such as X-Forwarded-User, got {user_header!r}"
        )
    return Proxy(networks, user_header) if networks else None


class Forwarded:
    """ASGI middleware: keeps who has connected, then takes a proxy's word for where the browser is."""

    def __init__(self, app: ASGIApp, trusted: Iterable[str]) -> None:
        self._app = ProxyHeadersMiddleware(app, trusted_hosts=list(trusted))  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        client = scope.get("client")
        scope[_PEER] = client[0] if client else None
        await self._app(scope, receive, send)  # type: ignore[arg-type]


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise SettingsError(
            f"--trusted-proxy: expected an address or a network such as 10.0.0.5, got {text!r}"
        ) from error
    if network.prefixlen == 0:
        raise SettingsError(f"--trusted-proxy {text}: that is everyone, and anyone could say to be anyone")
    return network


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_NAME and text.isascii() and text.isprintable() and "," not in text
