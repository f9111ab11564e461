"""Sessions, kept here and not in the cookie: signing out ends them."""

import hashlib
import secrets
import time
import uuid
from dataclasses import dataclass

LIFETIME_S = 8 * 3600


@dataclass(frozen=True, slots=True)
class Session:
    """`id` is what the audit log may show; the cookie's secret is another, which nobody else ever sees."""

    id: str
    user_id: str
    ends: float


class Sessions:
    """Sessions by the hash of their secret."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    @staticmethod
    def new_id() -> str:
        return str(uuid.uuid4())

    def begin(self, session_id: str, user_id: str) -> str:
        """The secret for the cookie: a new one at each sign-in, so that none can be planted beforehand."""
        now = time.monotonic()
        self._sessions = {key: session for key, session in self._sessions.items() if session.ends > now}
        secret = secrets.token_urlsafe(32)
        self._sessions[_key(secret)] = Session(session_id, user_id, now + LIFETIME_S)
        return secret

    def find(self, secret: str) -> Session | None:
        session = self._sessions.get(_key(secret))
        return session if session and session.ends > time.monotonic() else None

    def end(self, secret: str) -> None:
        self._sessions.pop(_key(secret), None)


def _key(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
