"""Changes of who may look, as audit events of our own: what is about to be done, and what came of it.

The record has to be there if the grant is. So the first event (outcome `unknown`, reason `begun`) is on disk before
anything is changed, and what can't be recorded is not begun; the last says how it ended. Where there is no last one,
the command was killed in between, and the node's own record tells the rest. `http.request.id` is the same in both.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from auditpipe.cli import emitting
from auditpipe.schemas.errors import AuditpipeError, Conflict, NotAllowed, NotFinished, SpoolError, UsageError
from auditpipe.schemas.settings import Settings

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from auditpipe.emitters import AuditLog

SERVICE = "auditpipe-access"
GRANTED, REVOKED = "user.audit_access.granted", "user.audit_access.revoked"

#: How long the end of the stream may take to be acknowledged.
_LAST_SECONDS = 0.5

#: The reason of an error that leaves everything as it was.
_REASONS: tuple[tuple[type[AuditpipeError], str], ...] = (
    (NotAllowed, "not_allowed"),
    (Conflict, "conflict"),
    (UsageError, "invalid_input"),
)

#: Puts one thing that was done on record: what was asked, unless it says `before=..., after=..., organization=...`.
Done = Callable[..., None]


@dataclass
class _Attempt:
    """One change: what all of its events share."""

    audit: AuditLog
    action: str
    target: Mapping[str, str]
    why: Mapping[str, str] | None
    actor: Mapping[str, str] = field(default_factory=lambda: {"type": "anonymous"})
    request: str = field(default_factory=lambda: secrets.token_hex(8))
    emitted: int = 0

    def emit(self, outcome: str, reason: str | None = None, **what: Any) -> None:
        what |= {"actor": self.actor, "target": self.target, "request": self.request, "details": self.why}
        self.audit.emit(self.action, outcome=outcome, reason=reason, **what)
        self.emitted += 1


@contextmanager
def on_record(
    settings: Settings,
    client: OpenSearch,
    action: str,
    target: Mapping[str, str],
    *,
    reason: str | None = None,
    **asked: Any,
) -> Iterator[Done]:
    """Within it a change of access is made; `asked` is what is to change, as `emit` takes it.

    SpoolError before anything is done, if the spool does not take the first event. NotFinished: it was done, and that
    it was could not be recorded.
    """
    from auditpipe.emitters.options import SpoolOptions

    emitting.silence()
    with emitting.audit_log(SERVICE, settings, spool=SpoolOptions(fsync="always")) as audit:
        attempt = _Attempt(audit, action, target, {"reason": reason} if reason else None)
        try:
            with _ending(attempt, asked):
                _begin(attempt, client, asked)
                yield lambda **what: _done(attempt, what or asked)
        finally:
            _tell(attempt, settings)


def _begin(attempt: _Attempt, client: OpenSearch, asked: Mapping[str, Any]) -> None:
    """Who asks is who the node says it is, not a name in the settings."""
    from auditpipe.pipeline.export import name_in, whoami

    try:
        who = name_in(whoami(client))
    except NotAllowed:
        attempt.emit("failure", "bad_credentials", **asked)
        raise
    attempt.actor = {"id": who, "name": who}
    attempt.emit("unknown", "begun", **asked)


@contextmanager
def _ending(attempt: _Attempt, asked: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if attempt.emitted == 1 and "id" in attempt.actor:  # begun, and nothing is known of its end
            with suppress(SpoolError):  # that it began is there, and the error tells the person more
                attempt.emit(*_outcome(error), **asked)
        raise


def _outcome(error: BaseException) -> tuple[str, str]:
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return "failure", reason
    return "unknown", "interrupted"


def _done(attempt: _Attempt, what: Mapping[str, Any]) -> None:
    reason = what.get("reason")
    try:
        attempt.emit("failure" if reason else "success", **what)
    except SpoolError as error:
        raise NotFinished(f"this was done, and only its beginning is on record: {error}") from error


def _tell(attempt: _Attempt, settings: Settings) -> None:
    """Where the events are, unless they have all arrived: then it is as it should be, and not worth a line."""
    settled = not attempt.emitted or emitting.settle(attempt.audit, patient=False)
    if not settled:
        emitting.say_state(attempt.emitted, False, attempt.audit.stats().problem, settings)
    attempt.audit.close(_LAST_SECONDS if settled else 0)
