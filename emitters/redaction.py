"""Secrets never enter an event: their fields' names do, in `audit.redacted`.

A field is secret if its name, less case and punctuation, contains one of a few words (`newPassword`, `access_token`,
`API-Key`), or if the application names it. Erring on the safe side is meant: `tokenizer` is withheld too. Values are
looked through after the value table has been applied, so that a key is judged by the text that it becomes.
A name that was typed into a sign-in for an unknown account may be a password; it is kept as a keyed hash only.
"""

import hashlib
import hmac
import os
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from auditpipe.schemas.errors import SpoolError
from auditpipe.schemas.values import MAX_CHANGE_VALUE, cut

#: A field's name that contains one of these is secret.
SECRET_WORDS = (
    *("password", "passwort", "passwd", "passphrase", "passcode", "secret", "token", "credential", "bearer", "jwt"),
    *("apikey", "privatekey", "accesskey", "signingkey", "encryptionkey", "recoverycode"),
)
#: A field of just this name is secret; within other words (`shipping`, `cookie_consent`) they mean something else.
SECRET_NAMES = frozenset(("pass", "pwd", "pin", "otp", "cvv", "cvc", "authorization", "cookie", "setcookie"))
CONCEALED = "hmac-sha256:"
#: Shorter texts are replaced only where they stand alone.
_SHORTEST_INSIDE = 4


@lru_cache(maxsize=4096)
def _squashed(name: str) -> str:
    # NFKC, so that letters of other widths and styles are the letters that they look like (UAX 15).
    return "".join(character for character in unicodedata.normalize("NFKC", name).lower() if character.isalnum())


@lru_cache(maxsize=4096)
def _has_secret_word(name: str) -> bool:
    squashed = _squashed(name)
    return squashed in SECRET_NAMES or any(word in squashed for word in SECRET_WORDS)


class Redactor:
    """Takes secret fields out of states, changes and details. `names`: further field names or dotted paths."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(_squashed_path(name) for name in names)

    def is_secret(self, path: str) -> bool:
        """Whether the value at this dotted path is withheld; a secret object's inside is secret too."""
        parts = path.split(".")
        if any(_has_secret_word(part) for part in parts):
            return True
        return bool(self._names) and any(
            _squashed(part) in self._names or _squashed_path(".".join(parts[: index + 1])) in self._names
            for index, part in enumerate(parts)
        )

    def split(self, value: Any, path: str = "") -> tuple[Any, dict[str, list[Any]]]:
        """(the value without its secrets, path of each secret -> its values in order), of a value of the table."""
        withheld: dict[str, list[Any]] = {}
        return self._clean(value, path, withheld), withheld

    def _clean(self, value: Any, path: str, withheld: dict[str, list[Any]]) -> Any:
        kind = type(value)
        if kind is dict:
            return self._members(value, path, withheld)
        if kind is list:
            return [self._clean(item, path, withheld) for item in value]
        return value

    def _members(self, value: dict[str, Any], path: str, withheld: dict[str, list[Any]]) -> dict[str, Any]:
        kept = {}
        for name, inner in value.items():
            inner_path = f"{path}.{name}" if path else name
            if _has_secret_word(name) or (self._names and self.is_secret(inner_path)):
                withheld.setdefault(inner_path, []).append(inner)
            else:
                kept[name] = self._clean(inner, inner_path, withheld)
        return kept

    def states(self, before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
        """Two states of the value table without their secrets, and the names of those that differ."""
        before, old = self.split(before)
        after, new = self.split(after)
        if not old and not new:
            return before, after, []
        return before, after, [path for path in dict.fromkeys([*old, *new]) if old.get(path) != new.get(path)]


def _squashed_path(path: str) -> str:
    return ".".join(_squashed(part) for part in path.split("."))


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
