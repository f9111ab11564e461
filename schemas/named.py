"""Fields that are known by their names, and what happens to their values.

Names are compared less case and punctuation: `API-Key` is `api_key`. A name may also stand beside its value:
`{"name": "password", "value": ...}`, `["Authorization", ...]`.
"""

import base64
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from auditpipe.schemas.errors import UsageError

#: What names and what holds the value, where a field is two members of an object.
PAIR_NAMES = ("name", "key", "field", "header")
PAIR_VALUES = frozenset(("value", "values", "val", "before", "after", "old", "new", "oldvalue", "newvalue", "data"))
#: A longer text at the head of a list of two is no name.
_LONGEST_NAME = 64

#: What `Take` answers where the field is to go.
GONE: Any = object()
#: (path, value of the field there) -> what stands there instead, or GONE.
Take = Callable[[str, Any], Any]


def folded(name: str) -> str:
    """A name with letters of other widths and styles as the letters that they look like (NFKC, UAX 15)."""
    return unicodedata.normalize("NFKC", name)


@lru_cache(maxsize=4096)
def squashed(name: str) -> str:
    """A name less case and punctuation."""
    return "".join(character for character in folded(name).lower() if character.isalnum())


def _squashed_path(path: str) -> str:
    return ".".join(squashed(part) for part in path.split("."))


@lru_cache(maxsize=4096)
def _as_name(label: str) -> str:
    """A label as text: ASGI's headers are pairs of bytes, which have become base64."""
    try:
        return base64.b64decode(label, validate=True).decode()
    except ValueError:
        return label


class NamedFields:
    """Fields with one of these `names`, which are field names or dotted paths; `option` is what errors call them.

    A field that is an object is named with all that is in it.
    """

    def __init__(self, names: Iterable[str] = (), option: str = "names") -> None:
        self._names = frozenset(_squashed_path(name) for name in _checked(names, option))

    #: Whether a name alone says it, whatever `names` are.
    _by_word: Callable[[str], bool] = staticmethod(lambda _name: False)

    def is_named(self, path: str) -> bool:
        """Whether the field at this dotted path is one of them."""
        parts = path.split(".")
        if any(self._by_word(part) for part in parts):
            return True
        return bool(self._names) and any(
            squashed(part) in self._names or _squashed_path(".".join(parts[: index + 1])) in self._names
            for index, part in enumerate(parts)
        )

    def replaced(self, value: Any, take: Take, path: str = "", *, pairs: bool = False) -> Any:
        """A value of the value table with what `take` says in place of each named field in it.

        `pairs`: whether a list of two may be a name and its value wherever it stands. Where lists are compared as sets
        it may not, unless it is itself in a list.
        """
        return self._walk(value, path, take, pairs, pairs)

    def _walk(self, value: Any, path: str, take: Take, pairs: bool, pair_here: bool) -> Any:
        kind = type(value)
        if kind is dict:
            return self._members(value, path, take, pairs)
        if kind is list:
            if pair_here and len(value) == 2 and (name := self._label(value[0], path)) is not None:
                left = take(name, value[1])
                return value[:1] if left is GONE else [value[0], left]
            return [self._walk(item, path, take, pairs, True) for item in value]
        return value

    def _members(self, value: dict[str, Any], path: str, take: Take, pairs: bool) -> dict[str, Any]:
        kept = {}
        pair = self._pair_name(value, path)
        by_word, names = self._by_word, self._names
        for name, inner in value.items():
            inner_path = f"{path}.{name}" if path else name
            if by_word(name) or (names and self.is_named(inner_path)):
                left = take(inner_path, inner)
            elif pair is not None and squashed(name) in PAIR_VALUES:
                left = take(pair, inner)
            else:
                left = self._walk(inner, inner_path, take, pairs, pairs)
            if left is not GONE:
                kept[name] = left
        return kept

    def _pair_name(self, value: dict[str, Any], path: str) -> str | None:
        """The path of the field that this object is the name and the value of."""
        for name, inner in value.items():
            if type(inner) is str and len(inner) <= _LONGEST_NAME and squashed(name) in PAIR_NAMES:
                found = self._label(inner, path)
                if found is not None:
                    return found
        return None

    def _label(self, label: Any, path: str) -> str | None:
        if type(label) is not str or len(label) > _LONGEST_NAME:
            return None
        for name in (label, _as_name(label)):
            inner_path = f"{path}.{name}" if path else name
            if self.is_named(name) or (self._names and self.is_named(inner_path)):
                return inner_path
        return None


def _checked(names: Iterable[str], option: str) -> list[str]:
    if isinstance(names, str):
        names = [names]
    try:
        found = list(names)
    except TypeError as error:
        raise UsageError(f"{option}: expected field names, got {names!r}") from error
    for name in found:
        if not isinstance(name, str) or not squashed(name):
            raise UsageError(f"{option}: expected a field's name or dotted path, got {name!r}")
    return found
