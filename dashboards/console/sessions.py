"""Who is signed in: kept in memory, forgotten when the console stops.

A browser holds a random secret and nothing else. The person's password or token is in this process alone, because each
request to the node is made as them.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from opensearchpy import OpenSearch

from auditpipe.dashboards.console.paging import Views
from auditpipe.dashboards.console.proxy import Identity
from auditpipe.pipeline.client import Caller
from auditpipe.schemas.settings import Settings

IDLE_S = 30 * 60.0
LONGEST_S = 12 * 3_600.0
#: So that nobody fills the memory by signing in; the one that was idle longest ends first.
MOST = 1_000
#: Of one person, whose own make room then: nobody signs the others out by signing in.
MOST_OF_ONE = 10
#: How long the suggestions of the form are kept.
SUGGESTED_S = 60.0


@dataclass(slots=True)
class Session:
    """One person in one browser. `id` is for the record; `form_token` has to come with each form.

    `vouched` is what a trusted proxy said of them: without it, or with another, the session ends.
    """

    user: str
    super_admin: bool
    settings: Settings = field(repr=False)
    caller: Caller = field(repr=False)
    client: OpenSearch = field(repr=False)
    vouched: Identity | None = field(default=None, repr=False)
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    #: Whether an export had to have a purpose when they signed in: a hint for the form, the export itself asks anew.
    purpose_required: bool = False
    form_token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    views: Views = field(default_factory=Views)
    suggestions: dict[str, list[str]] = field(default_factory=dict)
    suggested: float = float("-inf")
    began: float = 0.0
    seen: float = 0.0

    def renew(self, newer: "Session") -> None:
        """The same person, with a token that is newer."""
        # The client before is not closed: another tab may be waiting for its answer.
        self.client, self.caller, self.vouched = newer.client, newer.caller, newer.vouched
        self.super_admin = newer.super_admin

    def close(self) -> None:
        """Free what it holds on the node."""
        self.views.close(self.client)
        self.client.close()


class Sessions:
    """All sessions, by the hash of their secret. Safe for threads; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: dict[bytes, Session] = {}
        self._lock = threading.Lock()

    def begin(self, session: Session) -> str:
        """Returns the secret for the cookie."""
        secret, now = secrets.token_urlsafe(32), self._clock()
        session.began = session.seen = now
        with self._lock:
            gone = self._take(now, session.user)
            self._sessions[_key(secret)] = session
        for old in gone:
            old.close()
        return secret

    def find(self, secret: str | None) -> Session | None:
        """Whose it is, if it has not ended: idle for 30 minutes, or 12 hours after it began."""
        if not secret:
            return None
        now = self._clock()
        with self._lock:
            session = self._sessions.get(_key(secret))
            if session is not None and not _has_ended(session, now):
                session.seen = now
                return session
            self._sessions.pop(_key(secret), None)
        if session is not None:
            session.close()
        return None

    def end(self, secret: str | None) -> None:
        """It is no session any more."""
        with self._lock:
            session = self._sessions.pop(_key(secret or ""), None)
        if session is not None:
            session.close()

    def sweep(self) -> None:
        """Forget those that have ended, and their passwords, though nobody asks for them."""
        now = self._clock()
        with self._lock:
            gone = self._take(now)
        for session in gone:
            session.close()

    def end_all(self) -> None:
        """The console stops."""
        with self._lock:
            gone, self._sessions = list(self._sessions.values()), {}
        for session in gone:
            session.close()

    def _take(self, now: float, user: str | None = None) -> list[Session]:
        """What has ended, and what has to make room for one more of this person."""
        gone = [key for key, session in self._sessions.items() if _has_ended(session, now)]
        taken = [self._sessions.pop(key) for key in gone]
        if user is None:
            return taken
        idle = sorted(self._sessions, key=lambda key: self._sessions[key].seen)
        own = [key for key in idle if self._sessions[key].user == user]
        crowded = own[: max(0, len(own) + 1 - MOST_OF_ONE)] or idle[: max(0, len(idle) + 1 - MOST)]
        return [*taken, *map(self._sessions.pop, crowded)]


def _key(secret: str) -> bytes:
    """Looked up by a hash, so that how long it takes tells nothing about the secret."""
    return hashlib.sha256(secret.encode()).digest()


def _has_ended(session: Session, now: float) -> bool:
    return now - session.seen > IDLE_S or now - session.began > LONGEST_S
