"""Which fields are secret, and a value without them.

A field is secret if its name, less case and punctuation, contains one of a few words (`newPassword`, `access_token`,
`API-Key`), if one of its parts is a shorter word that means something else inside others (`user_pwd`, `otpCode`, but
not `spinner`), or if the application names it. Erring on the safe side is meant: `tokenizer` is withheld too. Values
are looked through after the value table has been applied, so that a key is judged by the text that it becomes.

A name may also stand beside its value: `{"name": "password", "value": ...}`, `["Authorization", ...]`.
"""

import base64
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from auditpipe.schemas.errors import UsageError

#: A field's name that contains one of these is secret.
SECRET_WORDS = (
    *("password", "passwort", "passwd", "passphrase", "passcode", "secret", "token", "credential", "bearer", "jwt"),
    *("apikey", "privatekey", "accesskey", "signingkey", "encryptionkey", "recoverycode"),
)
#: So is one with such a part; parts end at `_`, `-`, `.`, blanks, and where a capital begins a word.
SECRET_PARTS = frozenset(("pwd", "pin", "otp", "totp", "cvv", "cvc"))
#: So is one that ends with such a part (`old_pass`, `Set-Cookie`); elsewhere they are of others (`cookie_consent`).
SECRET_ENDINGS = frozenset(("pass", "authorization", "cookie", "cookies", "setcookie"))
#: What names and what holds the value, where a field is two members of an object.
PAIR_NAMES = ("name", "key", "field", "header")
PAIR_VALUES = frozenset(("value", "values", "val", "before", "after", "old", "new", "oldvalue", "newvalue", "data"))
#: A longer text at the head of a list of two is no name.
_LONGEST_NAME = 64

_BETWEEN_PARTS = re.compile(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

Withheld = dict[str, list[Any]]


@lru_cache(maxsize=4096)
def _squashed(name: str) -> str:
    return "".join(character for character in _folded(name).lower() if character.isalnum())


def _folded(name: str) -> str:
    # NFKC, so that letters of other widths and styles are the letters that they look like (UAX 15).
    return unicodedata.normalize("NFKC", name)


def _squashed_path(path: str) -> str:
    return ".".join(_squashed(part) for part in path.split("."))


@lru_cache(maxsize=4096)
def has_secret_word(name: str) -> bool:
    """Whether a field of this name is secret, whoever the application is."""
    squashed = _squashed(name)
    if any(word in squashed for word in SECRET_WORDS) or squashed in SECRET_PARTS or squashed in SECRET_ENDINGS:
        return True
    parts = [part.lower() for part in _BETWEEN_PARTS.split(_folded(name)) if part]
    return bool(parts) and (parts[-1] in SECRET_ENDINGS or not SECRET_PARTS.isdisjoint(parts))


@lru_cache(maxsize=4096)
def _as_name(label: str) -> str:
    """A label as text: ASGI's headers are pairs of bytes, which have become base64."""
    try:
        return base64.b64decode(label, validate=True).decode()
    except ValueError:
        return label


class Secrets:
    """The secret fields of one application: the usual ones, and `names`, further field names or dotted paths."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(_squashed_path(name) for name in _checked(names))

    def is_secret(self, path: str) -> bool:
        """Whether the value at this dotted path is withheld; a secret object's inside is secret too."""
        parts = path.split(".")
        if any(has_secret_word(part) for part in parts):
            return True
        return bool(self._names) and any(
            _squashed(part) in self._names or _squashed_path(".".join(parts[: index + 1])) in self._names
            for index, part in enumerate(parts)
        )

    def split(self, value: Any, path: str = "", *, pairs: bool = False) -> tuple[Any, Withheld]:
        """(the value without its secrets, path of each secret -> its values in order), of a value of the table.

        `pairs`: whether a list of two may be a name and its value wherever it stands. Where lists are compared as sets
        it may not, unless it is itself in a list.
        """
        withheld: Withheld = {}
        return self._clean(value, path, withheld, pairs, pairs), withheld

    def _clean(self, value: Any, path: str, withheld: Withheld, pairs: bool, pair_here: bool) -> Any:
        kind = type(value)
        if kind is dict:
            return self._members(value, path, withheld, pairs)
        if kind is list:
            if pair_here and len(value) == 2 and (name := self._secret_label(value[0], path)) is not None:
                withheld.setdefault(name, []).append(value[1])
                return value[:1]
            return [self._clean(item, path, withheld, pairs, True) for item in value]
        return value

    def _members(self, value: dict[str, Any], path: str, withheld: Withheld, pairs: bool) -> dict[str, Any]:
        kept = {}
        pair = self._pair_name(value, path)
        for name, inner in value.items():
            inner_path = f"{path}.{name}" if path else name
            if has_secret_word(name) or (self._names and self.is_secret(inner_path)):
                withheld.setdefault(inner_path, []).append(inner)
            elif pair is not None and _squashed(name) in PAIR_VALUES:
                withheld.setdefault(pair, []).append(inner)
            else:
                kept[name] = self._clean(inner, inner_path, withheld, pairs, pairs)
        return kept

    def _pair_name(self, value: dict[str, Any], path: str) -> str | None:
        """The path of the secret that this object is the name and the value of."""
        for name, inner in value.items():
            if type(inner) is str and len(inner) <= _LONGEST_NAME and _squashed(name) in PAIR_NAMES:
                found = self._secret_label(inner, path)
                if found is not None:
                    return found
        return None

    def _secret_label(self, label: Any, path: str) -> str | None:
        if type(label) is not str or len(label) > _LONGEST_NAME:
            return None
        for name in (label, _as_name(label)):
            inner_path = f"{path}.{name}" if path else name
            if self.is_secret(name) or (self._names and self.is_secret(inner_path)):
                return inner_path
        return None


def _checked(names: Iterable[str]) -> list[str]:
    if isinstance(names, str):
        names = [names]
    try:
        found = list(names)
    except TypeError as error:
        raise UsageError(f"redact: expected field names, got {names!r}") from error
    for name in found:
        if not isinstance(name, str) or not _squashed(name):
            raise UsageError(f"redact: expected a field's name or dotted path, got {name!r}")
    return found
