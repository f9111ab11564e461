"""Secrets never enter an event: their fields' names do, in `audit.redacted`.

What is secret: `auditpipe.schemas.secrets`.
"""

from typing import Any

from auditpipe.schemas.secrets import Secrets


class Redactor(Secrets):
    """Takes secret fields out of states, changes and details."""

    def states(self, before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
        """Two states of the value table without their secrets, and the names of those that differ."""
        before, old = self.split(before)
        after, new = self.split(after)
        if not old and not new:
            return before, after, []
        return before, after, [path for path in dict.fromkeys([*old, *new]) if old.get(path) != new.get(path)]
