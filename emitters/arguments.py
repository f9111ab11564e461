"""What `AuditLog.emit` takes beside the action."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict


class EmitArguments(TypedDict, total=False):
    """All of them are optional; which an action needs, the catalogue says (`auditpipe actions ACTION`).

    `actor`: id, or `{"id", "name", "full_name", "email", "roles", "type"}`. `target`, each of `involved`:
    `{"type", "id", "name"}` or `"type:id"`. `before` and `after`: states to compare (one alone: all of it came or
    went), or ready-made `changes`: `[{"field", "before", "after"}]`. `outcome`: success, failure or unknown;
    `reason`: as the catalogue has it. `details`: whatever else is worth keeping. `occurred_at`: an aware datetime
    or RFC 3339 text, for backfill. `key`: an idempotency key. `organization`: an id or `{"id", "name"}`; with
    `session`, `request`, `trace`, `ip`, `user_agent` it goes over the context.
    """

    actor: Any
    target: Any
    involved: Iterable[Any]
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    changes: Iterable[Mapping[str, Any]] | None
    outcome: str | None
    reason: str | None
    details: Mapping[str, Any] | None
    occurred_at: datetime | str | None
    key: Any
    organization: Any
    session: Any
    request: Any
    trace: Any
    ip: Any
    user_agent: Any


ARGUMENTS = frozenset(EmitArguments.__annotations__)
