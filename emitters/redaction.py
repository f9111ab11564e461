"""Secrets never enter an event: their fields' names do, in `audit.redacted`.

What is secret: `auditpipe.schemas.secrets`.
A name that was typed into a sign-in for an unknown account may be a password; it is kept as a keyed hash only.
"""

import hashlib
import hmac
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from auditpipe.schemas.errors import SpoolError
from auditpipe.schemas.secrets import Secrets
from auditpipe.schemas.values import MAX_CHANGE_VALUE, cut

CONCEALED = "hmac-sha256:"
#: Shorter texts are replaced only where they stand alone.
_SHORTEST_INSIDE = 4


class Redactor(Secrets):
    """Takes secret fields out of states, changes and details."""

    def states(self, before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
        """Two states of the value table without their secrets, and the names of those that differ."""
        before, old = self.split(before)
        after, new = self.split(after)
        if not old and not new:
            return before, after, []
        return before, after, [path for path in dict.fromkeys([*old, *new]) if old.get(path) != new.get(path)]


def conceal(key: bytes, text: str) -> str:
    """`hmac-sha256:` and 64 hex digits (RFC 2104): equal names stay equal, and none can be guessed without the key."""
    return CONCEALED + hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def conceal_within(key: bytes, value: Any, typed: Iterable[str]) -> Any:
    """A value of the table in which no text of `typed` is left, alone or within another text."""
    if isinstance(value, dict):
        return {name: inner if name == "field" else conceal_within(key, inner, typed) for name, inner in value.items()}
    if isinstance(value, list):
        return [conceal_within(key, inner, typed) for inner in value]
    if isinstance(value, str):
        for text in typed:
            if value == text or (len(text) >= _SHORTEST_INSIDE and text in value):
                value = cut(value.replace(text, conceal(key, text)), MAX_CHANGE_VALUE)
    return value


def concealment_key(path: Path) -> bytes:
    """The key in this file, made at first use with mode 0600. SpoolError if it can't be read or made."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        if not path.exists():
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(descriptor, os.urandom(32).hex().encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            try:
                os.link(temporary, path)  # whoever links first wins; a half-written key is never seen
            except FileExistsError:
                temporary.unlink()
                return concealment_key(path)
            temporary.unlink()
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise SpoolError(f"{path}: the key that conceals typed names can't be read or made: {error}") from error
    if len(key) < 32:
        raise SpoolError(f"{path}: expected a key of 64 hex digits, got {len(key)} bytes")
    return key
