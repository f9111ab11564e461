"""How much one person may ask for at the same time: all people share the threads that wait for the node."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from auditpipe.schemas.errors import NotFinished

#: Pages of one person: as many as a browser asks one host for at a time (HTTP/1.1).
PAGES = 6
#: Exports of one person, each until it is through.
EXPORTS = 2


class TooMuchAtOnce(NotFinished):
    """The person waits for as much already as one may."""


class AtOnce:
    """What each person waits for, by kind. Safe for threads."""

    def __init__(self) -> None:
        self._held: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def page(self, user: str) -> AbstractContextManager[None]:
        """One page more of this person. TooMuchAtOnce."""
        return self._one_of("pages", user, PAGES)

    def export(self, user: str) -> AbstractContextManager[None]:
        """One export more of this person. TooMuchAtOnce."""
        return self._one_of("exports", user, EXPORTS)

    @contextmanager
    def _one_of(self, kind: str, user: str, most: int) -> Iterator[None]:
        key = kind, user
        with self._lock:
            if self._held[key] >= most:
                raise TooMuchAtOnce(f"you wait for {most} {kind} already, and more at a time are not made")
            self._held[key] += 1
        try:
            yield
        finally:
            with self._lock:
                self._held[key] -= 1
                if not self._held[key]:
                    del self._held[key]
