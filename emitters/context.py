"""Who acts, for whom and from where: said once a request, used by every `emit` in it.

Held in a `contextvars.ContextVar`, so that threads and asyncio tasks each see their own. The integrations fill it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Any

from auditpipe.schemas.errors import InvalidEvent

#: What a context may hold; each is an argument of `emit` too, which goes over it.
KEYS = ("actor", "organization", "session", "request", "trace", "ip", "user_agent")

_EMPTY: Mapping[str, Any] = MappingProxyType({})
_current: ContextVar[Mapping[str, Any]] = ContextVar("auditpipe.context", default=_EMPTY)


def current() -> Mapping[str, Any]:
    """What holds here and now."""
    return _current.get()


@contextmanager
def context(**values: Any) -> Iterator[None]:
    """Add to the context for a block. A value of None takes one away. InvalidEvent for an unknown key."""
    token = enter(**values)
    try:
        yield
    finally:
        leave(token)


def enter(**values: Any) -> Token[Mapping[str, Any]]:
    """Add to the context until `leave(token)`, for integrations that have no block."""
    for key in values:
        if key not in KEYS:
            raise InvalidEvent(key, f"is no part of the context; known: {', '.join(KEYS)}")
    merged = {**_current.get(), **values}
    return _current.set({key: value for key, value in merged.items() if value is not None})


def leave(token: Token[Mapping[str, Any]]) -> None:
    """End what `enter` began."""
    _current.reset(token)
