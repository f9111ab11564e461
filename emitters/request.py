"""From the headers of an HTTP request to what the context takes: pure, and safe with any header a stranger sends.

Whatever a header holds, `emit` takes what comes from here: a value that can't be used is replaced or left out, because
a client that sends nonsense must not be able to keep its own deeds off the record.
"""

import ipaddress
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from auditpipe.emitters.context import KEYS
from auditpipe.schemas.errors import InvalidEvent, UsageError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
OnError = Literal["raise", "continue"]
#: A header's value by its lower-case name; several lines of one header joined by commas (RFC 9110, section 5.2).
Header = Callable[[str], str | None]

UNIX_SOCKET = "unix"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_PORT = re.compile(r"\[(?P<six>[^\]]*)\](?::\d+)?|(?P<four>\d+\.\d+\.\d+\.\d+):\d+")
_MAX_HOPS = 32


@dataclass(frozen=True, slots=True)
class Proxies:
    """Peers whose `X-Forwarded-For` is believed. None unless the application names them."""

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    unix_socket: bool = False

    @classmethod
    def named(cls, names: Iterable[str]) -> "Proxies":
        """Of addresses, ranges (`10.0.0.0/8`) and `unix`, a peer that has no address. UsageError for another."""
        if isinstance(names, str):
            raise UsageError(f"trusted_proxies: expected a list of addresses or ranges, got the text {names!r}")
        listed = list(names)
        try:
            networks = tuple(ipaddress.ip_network(name) for name in listed if name != UNIX_SOCKET)
        except ValueError as error:
            raise UsageError(f"trusted_proxies: expected addresses, ranges or {UNIX_SOCKET!r}: {error}") from error
        return cls(networks, UNIX_SOCKET in listed)

    def trust(self, peer: Address | None) -> bool:
        """Whether what this peer says of others is believed."""
        if peer is None:
            return self.unix_socket
        return any(peer.version == network.version and peer in network for network in self.networks)

    def client(self, peer: str | None, forwarded_for: str | None) -> str | None:
        """The address that the request came from: the last one in `X-Forwarded-For` that no trusted proxy has.

        Read from the right, because each proxy appends the peer it saw; what stands left of an untrusted hop was
        written by that hop and proves nothing.
        """
        here = parse_address(peer)
        hops = (forwarded_for or "").split(",")[-_MAX_HOPS:]
        while hops and self.trust(here):
            before = parse_address(hops.pop())
            if before is None:
                break
            here = before
        return None if here is None else str(here)


def parse_address(text: str | None) -> Address | None:
    """An address, less port, brackets and zone; an IPv4 one that came as IPv6 (RFC 4291, 2.5.5.2) as IPv4."""
    text = (text or "").strip()
    if match := _PORT.fullmatch(text):
        text = match["six"] or match["four"] or ""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def trace_id(traceparent: str | None) -> str | None:
    """The trace id of a `traceparent` header (W3C Trace Context, level 1), None if it is absent or invalid."""
    match = _TRACEPARENT.fullmatch((traceparent or "").strip())
    if match is None:
        return None
    version, trace, parent, more = match.groups()
    if version == "ff" or (version == "00" and more) or not trace.strip("0") or not parent.strip("0"):
        return None
    return trace


def request_id(given: str | None) -> str:
    """The caller's request id if it is one short word, else a new one: a label to search by, proof of nothing."""
    given = (given or "").strip()
    return given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())


def of_request(header: Header, peer: str | None, proxies: Proxies) -> dict[str, Any]:
    """`request`, `ip`, `user_agent` and `trace` of a request, for the context. None takes away what stood there."""
    return {
        "request": request_id(header("x-request-id")),
        "ip": proxies.client(peer, header("x-forwarded-for")),
        "user_agent": header("user-agent") or None,
        "trace": trace_id(header("traceparent")),
    }


def check_identity(identity: Any) -> Mapping[str, Any]:
    """What the application's callable said. InvalidEvent if it is no mapping, or has a key that no context has."""
    if identity is None:
        return {}
    if not isinstance(identity, Mapping):
        raise InvalidEvent("identify", f"expected a mapping with {', '.join(KEYS)}, got {type(identity).__name__}")
    for key in identity:
        if key not in KEYS:
            raise InvalidEvent(f"identify: {key}", f"is no part of the context; known: {', '.join(KEYS)}")
    return identity


def check_on_error(on_error: str) -> None:
    """UsageError unless it is `raise` or `continue`."""
    if on_error not in ("raise", "continue"):
        raise UsageError(f"on_error: expected raise or continue, got {on_error!r}")
