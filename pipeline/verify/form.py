"""Whether an event fits the schema and the catalogue, for `verify`: by the models, which are fast.

The form is the project's own: what does not fit it never came from an emitter, or from one of another version. The
catalogue is not: applications add actions, and may bring a catalogue of their own. So what the built-in one does not
have is no finding by itself; it is one where the caller says that these are all the actions there are.
"""

import re
import reprlib
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ValidationError

from auditpipe.schemas.catalogue import Catalogue, builtin
from auditpipe.schemas.errors import InvalidEvent
from auditpipe.schemas.event import SCHEMA_VERSION, Event
from auditpipe.schemas.identity import LATEST_NS
from auditpipe.schemas.rules import details_problems
from auditpipe.schemas.values import MAX_EVENT_BYTES

_validate = Event.__pydantic_validator__.validate_python

#: Parts that hold only texts, and that one event after the other has alike: what was checked is known by being equal.
_ALIKE = frozenset(
    {"ecs", "organization", "user", "source", "user_agent", "http", "trace", "service", "host", "related"}
)
#: The parts that every event has and none has like another: its time, its message, and `audit`.
_OTHERS = 3
#: More actions than an application has; a forger may make up more.
_ACTIONS = 1_000

_EXPECTED = {"missing": "it to be there", "extra_forbidden": "no such field"}
#: How pydantic begins its sentences, and how ours go on after "expected".
_BEGINNINGS = (
    (re.compile(r"^Input should be (less|greater)"), r"a number \1"),
    (re.compile(r"^Input should be "), ""),
    (re.compile(r"^String should match pattern "), "text that matches "),
    (re.compile(r"^String should have "), "text of "),
    (re.compile(r"^List should have "), "a list of "),
    (re.compile(r"^Value error, expected "), ""),
    (re.compile(r"^Value error, "), "a valid one: "),
)


class Misfit(NamedTuple):
    """`off_catalogue` and `other_schema` are said once for all events of one `topic`."""

    kind: Literal["misfit", "off_catalogue", "other_schema"]
    topic: str
    detail: str


class Form:
    """Checks events one by one. `catalogue`: all the actions that there are; None where there may be others."""

    def __init__(self, catalogue: Catalogue | None = None, latest_ns: int = LATEST_NS) -> None:
        #: No event is of a later time (nanoseconds since 1970): see `View`.
        self.latest_ns = latest_ns
        self._complete = catalogue is not None
        self._actions = dict(builtin() if catalogue is None else catalogue)
        self._last: dict[str, tuple[Any, BaseModel]] = {}
        #: `event` of the last event of each action: another is like it but for its id, which `verify.event` checks.
        self._events: dict[str, tuple[dict[str, Any], BaseModel]] = {}

    def misfit(self, document: Mapping[str, Any], size: int) -> Misfit | None:
        """What does not fit: where, what was expected, what came. None where all does.

        `size`: of the bytes that the event's hash is of.
        """
        version = _version(document)
        if version is not None and version != SCHEMA_VERSION:
            detail = f"audit.schema: this auditpipe knows {SCHEMA_VERSION}, got {version!r}: the form is not checked"
            return Misfit("other_schema", version, detail)
        if size > MAX_EVENT_BYTES:  # first: pydantic's errors of a few megabytes are gigabytes
            return Misfit("misfit", "", f"the event: expected at most {MAX_EVENT_BYTES} bytes of JSON, got {size}")
        try:
            self._check(document)
        except ValidationError as error:
            return Misfit("misfit", "", _sentence(error, document))
        problem = next(details_problems(document["audit"].get("details")), None)
        if problem is not None:
            return Misfit("misfit", "", f"{problem.path}: expected {problem.expected}, got {problem.got}")
        return self._off_catalogue(document["event"], document["audit"])

    def _check(self, document: Mapping[str, Any]) -> None:
        last = self._last
        known = {part: last[part][1] for part, value in document.items() if part in last and last[part][0] == value}
        alike = self._alike(document.get("event"))
        if alike is not None:
            known["event"] = alike
        event = _validate({**document, **known})
        if len(known) + _OTHERS < len(document) or alike is None:
            self._remember(document, event)

    def _alike(self, part: object) -> BaseModel | None:
        if not isinstance(part, dict) or not isinstance(action := part.get("action"), str) or "id" not in part:
            return None
        last = self._events.get(action)
        return last[1] if last is not None and {**part, "id": last[0]["id"]} == last[0] else None

    def _remember(self, document: Mapping[str, Any], event: Event) -> None:
        for part in _ALIKE & document.keys():
            self._last[part] = (document[part], getattr(event, part))
        if len(self._events) >= _ACTIONS:
            self._events.clear()
        self._events[event.event.action] = (document["event"], event.event)

    def _off_catalogue(self, event: Mapping[str, Any], audit: Mapping[str, Any]) -> Misfit | None:
        kind: Literal["misfit", "off_catalogue"] = "misfit" if self._complete else "off_catalogue"
        name = event["action"]
        action = self._actions.get(name)
        if action is None:
            detail = f"event.action: expected an action of the catalogue, got {name!r}"
            return Misfit(kind, f"{name} action", detail)
        try:
            action.outcome_of(event["outcome"], event.get("reason"))
            action.check_details(audit.get("details"))
        except InvalidEvent as error:
            return Misfit(kind, f"{name} {error.field}", f"{error.field}: {error.problem}")
        return None


def _version(document: Mapping[str, Any]) -> str | None:
    audit = document.get("audit")
    version = audit.get("schema") if isinstance(audit, Mapping) else None
    return version if isinstance(version, str) else None


def _sentence(error: ValidationError, document: Mapping[str, Any]) -> str:
    first, *more = error.errors(include_url=False, include_context=False)
    expected = _EXPECTED.get(first["type"]) or _words(first["msg"])
    got = "nothing" if first["type"] == "missing" else reprlib.repr(first["input"])
    others = f" (and {len(more)} more)" if more else ""
    return f"{_path(first['loc'], document)}: expected {expected}, got {got}{others}"


def _words(message: str) -> str:
    for beginning, ours in _BEGINNINGS:
        message, changed = beginning.subn(ours, message)
        if changed:
            break
    return message


def _path(place: tuple[int | str, ...], document: Any) -> str:
    """A dotted path; pydantic's place names the branches of a union too, which no document has."""
    path, value = "", document
    for number, part in enumerate(place, start=1):
        if isinstance(part, int):
            path += f"[{part}]"
            value = value[part] if isinstance(value, list) else None
        elif isinstance(value, Mapping) and (part in value or number == len(place)):
            path += f".{part}"
            value = value.get(part)
    return path.lstrip(".") or "the event"
