"""The catalogue: which actions there are, and what an event of each must look like.

The rows are data (`catalogue.json`); applications add their own from Python or from a file of the same form (JSON or
TOML, a list under `actions`). Everything is checked at load, so that a wrong definition fails at start and not at the
first event.
"""

import json
import pkgutil
import re
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from auditpipe.schemas.errors import CatalogueError, InvalidEvent, UnknownAction

STREAM_CLOSED = "service.audit_stream.closed"

# Elastic Common Schema 8.17, fields event.category, event.type, event.outcome.
CATEGORIES = frozenset(
    [
        "api",
        "authentication",
        "configuration",
        "database",
        "driver",
        "email",
        "file",
        "host",
        "iam",
        "intrusion_detection",
        "library",
        "malware",
        "network",
        "package",
        "process",
        "registry",
        "session",
        "threat",
        "vulnerability",
        "web",
    ]
)
TYPES = frozenset(
    [
        "access",
        "admin",
        "allowed",
        "change",
        "connection",
        "creation",
        "deletion",
        "denied",
        "device",
        "end",
        "error",
        "group",
        "indicator",
        "info",
        "installation",
        "protocol",
        "start",
        "user",
    ]
)
OUTCOMES = ("success", "failure", "unknown")
PLACEHOLDERS = frozenset(["actor", "target", "changed", "changes", "involved", "reason", "organization"])

_ACTION = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,3}")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class ArticleItem:
    """A sentence of the article that this action answers, and the one search that finds it.

    `query` is a further Lucene clause, for twins that only a side of the change tells apart.
    """

    item: str
    told_apart_by: str
    reason: str | None = None
    changed: str | None = None
    query: str | None = None


@dataclass(frozen=True)
class Action:
    """What an event of one action looks like.

    `sentence` is a template with the placeholders {actor} {target} {changed} {changes} {involved} {reason}
    {organization}. `outcomes` maps each allowed outcome to its allowed reasons. `conceal_name_for` lists the reasons
    for which the actor's typed name is kept as a keyed hash only. `details_schema` is a JSON Schema (2020-12).
    """

    action: str
    title: str
    sentence: str
    category: tuple[str, ...]
    type: tuple[str, ...]
    outcomes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"success": (), "failure": ()})
    target_type: str | None = None
    changes: bool = False
    conceal_name_for: tuple[str, ...] = ()
    details_schema: Mapping[str, Any] | None = None
    article: tuple[ArticleItem, ...] = ()

    def __post_init__(self) -> None:
        """Bring lists into tuples and check every part. CatalogueError names the action and the part."""
        for name in ("category", "type", "conceal_name_for"):
            object.__setattr__(self, name, self._words(name, getattr(self, name)))
        if not isinstance(self.outcomes, Mapping) or not self.outcomes:
            raise self._wrong("outcomes", f"expected outcome to reasons, got {self.outcomes!r}")
        outcomes = {key: self._words(f"outcomes.{key}", reasons) for key, reasons in self.outcomes.items()}
        object.__setattr__(self, "outcomes", outcomes)
        items = tuple(i if isinstance(i, ArticleItem) else ArticleItem(**i) for i in self.article)
        object.__setattr__(self, "article", items)
        self._check()

    def _words(self, part: str, value: Any) -> tuple[str, ...]:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise self._wrong(part, f"expected a list of words, got {value!r}")
        words = tuple(value)
        if not all(isinstance(word, str) for word in words):
            raise self._wrong(part, f"expected a list of words, got {value!r}")
        return words

    def _check(self) -> None:
        if not isinstance(self.action, str) or not _ACTION.fullmatch(self.action) or len(self.action) > 256:
            raise self._wrong("action", "expected <who>.<what>.<verb> or <who>.<verb>, lower case")
        for name in ("title", "sentence"):
            if not isinstance(value := getattr(self, name), str) or not value.strip():
                raise self._wrong(name, f"expected text, got {value!r}")
        for name, allowed in (("category", CATEGORIES), ("type", TYPES)):
            for word in getattr(self, name):
                if word not in allowed:
                    raise self._wrong(name, f"{word!r} is not of ECS{_nearest(word, allowed)}")
            if not getattr(self, name):
                raise self._wrong(name, "expected at least one value of ECS")
        for outcome in self.outcomes:
            if outcome not in OUTCOMES:
                raise self._wrong("outcomes", f"{outcome!r} is none of {', '.join(OUTCOMES)}")
        for word in [*self.all_reasons, *([self.target_type] if self.target_type is not None else [])]:
            if not isinstance(word, str) or not _WORD.fullmatch(word):
                raise self._wrong("reasons and target_type", f"expected a lower-case word, got {word!r}")
        for reason in self.conceal_name_for:
            if reason not in self.all_reasons:
                known = ", ".join(self.all_reasons) or "none"
                raise self._wrong("conceal_name_for", f"expected reasons of its outcomes ({known}), got {reason!r}")
        self._check_sentence()
        if self.details_schema is not None:
            self.details_validator  # noqa: B018  # built now, so that a wrong schema fails at load

    def _check_sentence(self) -> None:
        try:
            used = [part[1:] for part in string.Formatter().parse(self.sentence) if part[1] is not None]
        except ValueError as error:
            raise self._wrong("sentence", f"{error}") from error
        formatted = next((name for name, form, conversion in used if form or conversion), None)
        if formatted is not None:
            raise self._wrong("sentence", f"expected {{{formatted}}} alone, without a conversion or a format")
        unknown = sorted({str(name) for name, _, _ in used} - PLACEHOLDERS)
        if unknown:
            raise self._wrong("sentence", f"{{{unknown[0]}}} is none of {', '.join(sorted(PLACEHOLDERS))}")

    def _wrong(self, part: str, problem: str) -> CatalogueError:
        return CatalogueError(f"action {self.action!r}, {part}: {problem}")

    @property
    def all_reasons(self) -> list[str]:
        """Every reason, of every outcome."""
        return [reason for reasons in self.outcomes.values() for reason in reasons]

    @cached_property
    def placeholders(self) -> tuple[str, ...]:
        """Those that may stand in the sentence."""
        return tuple(sorted(name for name in PLACEHOLDERS if f"{{{name}" in self.sentence))

    @cached_property
    def details_validator(self) -> Any:
        """A jsonschema validator for `audit.details`, or None."""
        if self.details_schema is None:
            return None
        from jsonschema import Draft202012Validator, SchemaError

        try:
            Draft202012Validator.check_schema(self.details_schema)
        except SchemaError as error:
            raise self._wrong("details_schema", error.message) from error
        return Draft202012Validator(self.details_schema)

    def outcome_of(self, outcome: str | None, reason: str | None) -> str:
        """The outcome: the given one, checked with its reason; the only one or success where none is given."""
        if outcome is None and reason is None:
            return next(iter(self.outcomes))
        for part, given in (("outcome", outcome), ("reason", reason)):
            if given is not None and not isinstance(given, str):
                raise InvalidEvent(f"event.{part}", f"expected a word, got {type(given).__name__}")
        if outcome is None:
            outcome = next((o for o, reasons in self.outcomes.items() if reason in reasons), next(iter(self.outcomes)))
        if outcome not in self.outcomes:
            raise InvalidEvent("event.outcome", f"{self.action} has {' or '.join(self.outcomes)}, got {outcome!r}")
        reasons = self.outcomes[outcome]
        if reason is not None and reason not in reasons:
            known = ", ".join(reasons) or "no reasons"
            raise InvalidEvent("event.reason", f"{self.action} ({outcome}) has {known}, got {reason!r}")
        return outcome

    def check_details(self, details: Any) -> None:
        """Check `audit.details` against the action's schema. InvalidEvent names the path."""
        if self.details_validator is None:
            return
        from jsonschema.exceptions import best_match

        error = best_match(self.details_validator.iter_errors(details if details is not None else {}))
        if error is not None:
            raise InvalidEvent("audit.details" + error.json_path.removeprefix("$"), error.message)


_FIELDS = tuple(f.name for f in fields(Action))


class Catalogue(Mapping[str, Action]):
    """Actions by name. Immutable: `extended` gives a larger one."""

    def __init__(self, actions: Iterable[Action]) -> None:
        self._actions: dict[str, Action] = {}
        for action in actions:
            if action.action in self._actions:
                raise CatalogueError(f"action {action.action!r} is defined twice")
            self._actions[action.action] = action

    def __getitem__(self, name: str) -> Action:
        return self._actions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._actions)

    def __len__(self) -> int:
        return len(self._actions)

    def named(self, name: object) -> Action:
        """The action of that name. UnknownAction gives the nearest names."""
        action = self._actions.get(name) if isinstance(name, str) else None
        if action is None:
            raise UnknownAction("event.action", f"{name!r} is not in the catalogue{_nearest(name, self._actions)}")
        return action

    def extended(self, more: Iterable[Action] | str | Path) -> "Catalogue":
        """This one and more actions: `Action`s, or a file of them. CatalogueError for a wrong or doubled one."""
        if not isinstance(more, (str, Path)) and not isinstance(more, Iterable):
            raise CatalogueError(f"actions: expected Actions, or a file of them, got {more!r}")
        added = read(more) if isinstance(more, (str, Path)) else list(more)
        for index, action in enumerate(added):
            if not isinstance(action, Action):
                raise CatalogueError(f"actions[{index}]: expected an Action, got {action!r}")
        return Catalogue([*self._actions.values(), *added])


@cache
def builtin() -> Catalogue:
    """The catalogue that comes with auditpipe."""
    data = pkgutil.get_data("auditpipe.schemas", "catalogue.json")  # importlib.resources takes longer to load than this
    assert data is not None  # noqa: S101  # a source loader reads files
    return Catalogue(_actions(json.loads(data), "catalogue.json"))


def read(path: str | Path) -> list[Action]:
    """Actions of a JSON or TOML file. CatalogueError names the file, the action and the part."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        content = _toml(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:
        raise CatalogueError(f"{path}: {error}") from error
    return _actions(content, str(path))


def _actions(content: Any, source: str) -> list[Action]:
    rows = content.get("actions") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise CatalogueError(f'{source}: expected {{"actions": [{{"action": ..., ...}}, ...]}}')
    actions = []
    for row in rows:
        unknown = sorted(set(row) - set(_FIELDS))
        if unknown:
            problem = f"unknown key {unknown[0]!r}{_nearest(unknown[0], _FIELDS)}"
            raise CatalogueError(f"{source}: action {row.get('action')!r}: {problem}")
        try:
            actions.append(Action(**row))
        except CatalogueError as error:
            raise CatalogueError(f"{source}: {error}") from error
        except (TypeError, AttributeError) as error:
            raise CatalogueError(f"{source}: action {row.get('action')!r}: {error}") from error
    return actions


def _toml(text: str) -> Any:
    import tomllib  # few have a file of their own

    return tomllib.loads(text)


def _nearest(word: object, known: Iterable[str]) -> str:
    import difflib  # an application that makes no mistake never needs it

    near = difflib.get_close_matches(str(word), list(known), n=3, cutoff=0.5)
    return f"; nearest: {', '.join(near)}" if near else ""
