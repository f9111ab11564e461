"""The six exports. Users are real; the others are a few rows each, for there is more to audit than accounts."""

from typing import Any

from auditpipe.examples.accounts.store import Store

_ROWS: dict[str, list[dict[str, Any]]] = {
    "quality_overview": [{"team": "Support", "evaluations": 42, "average": 91}],
    "calibration": [{"session": "2026-W01", "evaluators": 3, "interaction": "call-1001"}],
    "calibration_report": [{"session": "2026-W01", "agreement": 87}],
    "dispute": [{"evaluation": "e-17", "agent": "tess", "state": "open"}],
    "coaching_session": [{"coach": "ada", "agent": "tess", "topic": "closing a call"}],
}
KINDS = (*_ROWS, "user")


def rows(kind: str, store: Store) -> list[dict[str, Any]]:
    """The rows of one of KINDS."""
    return [user.public for user in store.users.values()] if kind == "user" else _ROWS[kind]
