"""From what an application says to a complete, unsealed document."""

import ipaddress
import time
from collections import UserString
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import lru_cache, partial
from typing import Any
from uuid import UUID

from auditpipe.emitters.concealment import conceal_typed
from auditpipe.emitters.pseudonyms import Pseudonyms
from auditpipe.emitters.redaction import Redactor
from auditpipe.schemas import identity
from auditpipe.schemas.catalogue import Action, Catalogue
from auditpipe.schemas.changes import changed_fields, compare, ready_made, state
from auditpipe.schemas.errors import InvalidEvent
from auditpipe.schemas.event import ECS_VERSION, SCHEMA_VERSION
from auditpipe.schemas.sentence import sentence
from auditpipe.schemas.values import MAX_ID, cut, identifier, name, plain

Document = dict[str, Any]
#: A state with pseudonyms in place of its personal values: `Pseudonyms.state` for one event.
Hide = Callable[..., Any]
_ACTOR_KEYS = ("id", "name", "full_name", "email", "roles", "type")
_ACTOR_TEXTS: tuple[tuple[str, str, Callable[[Any, str], str]], ...] = (
    ("id", "user.id", identifier),
    ("name", "user.name", name),
    ("full_name", "user.full_name", name),
    ("email", "user.email", name),
)
_ACTOR_TYPES = ("user", "service", "system", "anonymous")
_TARGET_KEYS = ("type", "id", "name")


@dataclass(frozen=True, slots=True)
class Builder:
    """Makes documents for one service.

    `concealment_key` is asked for only when a name must be concealed; `pseudonyms` replace personal values, if given.
    """

    service: Mapping[str, str]
    catalogue: Catalogue
    redactor: Redactor
    concealment_key: Callable[[], bytes]
    organization: Any = None
    host: str | None = None
    pseudonyms: Pseudonyms | None = None
    _service: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Check once what is in every event."""
        if not isinstance(self.service, Mapping) or not self.service.get("name"):
            raise InvalidEvent("service.name", f"expected the service's name, got {self.service!r}")
        checked = {key: name(value, f"service.{key}") for key, value in self.service.items() if value is not None}
        object.__setattr__(self, "_service", checked)
        if self.organization is not None:
            _organization(self.organization)
        if self.host is not None:
            object.__setattr__(self, "host", name(self.host, "host.name"))

    def document(
        self,
        action_name: str,
        *,
        actor: Any = None,
        target: Any = None,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        changes: Iterable[Mapping[str, Any]] | None = None,
        outcome: str | None = None,
        reason: str | None = None,
        details: Mapping[str, Any] | None = None,
        involved: Iterable[Any] = (),
        occurred_at: datetime | str | None = None,
        key: Any = None,
        organization: Any = None,
        session: Any = None,
        request: Any = None,
        trace: Any = None,
        ip: Any = None,
        user_agent: Any = None,
        event_id: str | None = None,
        redacted: Iterable[str] = (),
    ) -> tuple[Document, int]:
        """(the document without its seal, its time in nanoseconds since 1970). InvalidEvent names the field."""
        action = self.catalogue.named(action_name)
        outcome = action.outcome_of(outcome, reason)
        moment = _moment(occurred_at, event_id)
        actor_type, user = _actor(actor)
        audit: Document = {"schema": SCHEMA_VERSION, "actor": {"type": actor_type}}
        withheld = [name(path, "audit.redacted") for path in redacted] if redacted else []
        if session is not None:
            audit["session"] = {"id": identifier(session, "audit.session.id")}
        what = _target(target, action)
        if what:
            audit["target"] = what
            _add_target(user, what)
        if involved:
            audit["involved"] = [_thing(item, f"audit.involved[{index}]") for index, item in enumerate(involved)]
        concealed = reason in action.conceal_name_for
        personal, hide = None, None
        if self.pseudonyms is not None:
            personal = set[str]()
            # A typed name is not for the holders of the other keys: it is concealed first.
            hide = None if concealed else partial(self.pseudonyms.state, texts=personal)
        self._changes(audit, withheld, before, after, changes, hide)
        self._details(audit, withheld, action, details)
        if withheld:
            audit["redacted"] = [cut(path, MAX_ID) for path in dict.fromkeys(withheld)]
        if key is not None:
            audit["key"] = identifier(key, "audit.key")

        document: Document = {
            "@timestamp": identity.format_time(moment),
            "message": "",
            "event": _event(action, event_id or identity.new_event_id(moment), outcome, reason),
            "ecs": {"version": ECS_VERSION},
        }
        tenant = self.organization if organization is None else organization
        if tenant is not None:
            document["organization"] = _organization(tenant)
        if user:
            document["user"] = user
        _add_origin(document, ip, user_agent, request, trace)
        document["service"] = self._service
        if self.host is not None:
            document["host"] = {"name": self.host}
        document["audit"] = audit
        if concealed:
            conceal_typed(document, self.concealment_key)
        if self.pseudonyms is not None and personal is not None:
            self.pseudonyms.apply(document, personal)
            action.check_details(audit.get("details"))  # again: a schema that takes no pseudonym is to be known here
        related = _related(document)
        if related:
            document["related"] = related
        document["message"] = sentence(action, document)
        return document, moment

    def _changes(
        self, audit: Document, names: list[str], before: Any, after: Any, changes: Any, hide: Hide | None
    ) -> None:
        if changes is not None:
            if before is not None or after is not None:
                raise InvalidEvent("changes", "give either changes or before and after, not both")
            made = self._ready_made(changes, names, hide)
        elif before is None and after is None:
            return
        else:
            old, new, withheld = self.redactor.states(state(before, "before"), state(after, "after"))
            names += withheld
            if hide is not None:
                old, new = hide(old), hide(new)
            made = self._without_secrets(compare(old, new), names)  # an id in a path may be a secret's name
        if made:
            audit["changes"] = made
            audit["changed"] = changed_fields(made)

    def _ready_made(self, changes: Any, names: list[str], hide: Hide | None) -> list[Document]:
        def clean(value: Any, field: str) -> Any:
            value, withheld = self.redactor.split(value, field, pairs=True)
            names.extend(withheld)
            return value if hide is None else hide(value, path=field, pairs=True)

        return self._without_secrets(ready_made(changes, clean), names)

    def _without_secrets(self, made: list[Document], names: list[str]) -> list[Document]:
        secret = [change["field"] for change in made if self.redactor.is_secret(change["field"])]
        names += secret
        return [change for change in made if change["field"] not in secret] if secret else made

    def _details(self, audit: Document, names: list[str], action: Action, details: Any) -> None:
        if details is not None:
            if not isinstance(details, Mapping):
                raise InvalidEvent("audit.details", f"expected a mapping, got {type(details).__name__}")
            details, withheld = self.redactor.split(plain(details, "audit.details"), pairs=True)
            names += [f"details.{path}" for path in withheld]
            audit["details"] = details
        action.check_details(details)


def _event(action: Action, event_id: str, outcome: str, reason: str | None) -> Document:
    event: Document = {
        "id": event_id,
        "kind": "event",
        "dataset": "audit",
        "action": action.action,
        "category": [*action.category],
        "type": [*action.type],
        "outcome": outcome,
    }
    if reason is not None:
        event["reason"] = reason
    return event


def _add_target(user: Document, target: Document) -> None:
    """ECS has a place of its own for a user that something is done to."""
    if target["type"] == "user" and len(target) > 1:
        user["target"] = {part: value for part, value in target.items() if part != "type"}


def _add_origin(document: Document, ip: Any, user_agent: Any, request: Any, trace: Any) -> None:
    if ip is not None:
        document["source"] = {"ip": _address(ip)}
    if user_agent is not None:
        document["user_agent"] = {"original": name(user_agent, "user_agent.original")}
    if request is not None:
        document["http"] = {"request": {"id": identifier(request, "http.request.id")}}
    if trace is not None:
        document["trace"] = {"id": identifier(trace, "trace.id")}


def _moment(occurred_at: datetime | str | None, event_id: str | None) -> int:
    now = time.time_ns() // identity.MICROSECOND * identity.MICROSECOND
    if occurred_at is None:
        moment = now if event_id is None else _id_moment(event_id)
    elif isinstance(occurred_at, str):
        try:
            moment = identity.parse_time(occurred_at)
        except ValueError as error:
            raise InvalidEvent("@timestamp", str(error)) from error
    elif isinstance(occurred_at, datetime) and occurred_at.utcoffset() is not None:
        moment = identity.datetime_to_ns(occurred_at)
    else:
        raise InvalidEvent("@timestamp", f"occurred_at: expected a datetime with a time zone, got {occurred_at!r}")
    if not 0 <= moment <= identity.LATEST_NS:
        what = "this machine's clock says" if moment == now else "got"
        raise InvalidEvent("@timestamp", f"expected a time from 1970 to 2106, {what} {moment // identity.SECOND} s")
    if moment > now + identity.DAY:
        raise InvalidEvent("@timestamp", f"is over a day ahead of this machine's clock: {identity.format_time(moment)}")
    if event_id is not None and _id_moment(event_id) // identity.MILLISECOND != moment // identity.MILLISECOND:
        raise InvalidEvent("event.id", "its milliseconds are not those of @timestamp")
    return moment


def _id_moment(event_id: str) -> int:
    try:
        return identity.milliseconds_of(event_id) * identity.MILLISECOND
    except ValueError as error:
        raise InvalidEvent("event.id", str(error)) from error


def _parts(value: Any, field: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    if type(value) is not dict and not isinstance(value, Mapping):
        raise InvalidEvent(field, f"expected a mapping with {', '.join(known)}, got {type(value).__name__}")
    for key in value:
        if key not in known:
            raise InvalidEvent(f"{field}.{key}", f"unknown; known: {', '.join(known)}")
    return value


def _actor(actor: Any) -> tuple[str, Document]:
    if actor is None:
        return "anonymous", {}
    if isinstance(actor, (str, int, UUID, UserString, Enum)):
        actor = {"id": actor}
    actor = _parts(actor, "actor", _ACTOR_KEYS)
    user: Document = {}
    for part, place, check in _ACTOR_TEXTS:
        if actor.get(part) is not None:
            user[part] = check(actor[part], place)
    if actor.get("roles") is not None:
        roles = actor["roles"]
        if isinstance(roles, str) or not isinstance(roles, Iterable):
            raise InvalidEvent("user.roles", "expected a list of names")
        user["roles"] = [name(role, f"user.roles[{index}]") for index, role in enumerate(roles)]
    kind = actor.get("type") or ("user" if "id" in user else "anonymous")
    if kind not in _ACTOR_TYPES:
        raise InvalidEvent("audit.actor.type", f"expected one of {', '.join(_ACTOR_TYPES)}, got {kind!r}")
    return kind, user


def _thing(value: Any, field: str, default_type: str | None = None) -> Document:
    if isinstance(value, str) and ":" in value:
        kind, _, given = value.partition(":")
        value = {"type": kind, "id": given} if given else {"type": kind}
    value = _parts(value, field, _TARGET_KEYS)
    thing: Document = {"type": value.get("type") or default_type}
    if not isinstance(thing["type"], str):
        raise InvalidEvent(f"{field}.type", "expected what it is, such as user or team")
    if value.get("id") is not None:
        thing["id"] = identifier(value["id"], f"{field}.id")
    if value.get("name") is not None:
        thing["name"] = name(value["name"], f"{field}.name")
    return thing


def _target(target: Any, action: Action) -> Document | None:
    if target is None:
        return {"type": action.target_type} if action.target_type else None
    thing = _thing(target, "audit.target", action.target_type)
    if action.target_type and thing["type"] != action.target_type:
        raise InvalidEvent(
            "audit.target.type", f"{action.action} is done to a {action.target_type}, got {thing['type']!r}"
        )
    return thing


def _organization(value: Any) -> Document:
    if not isinstance(value, Mapping):
        return {"id": identifier(value, "organization.id")}
    value = _parts(value, "organization", ("id", "name"))
    organization: Document = {"id": identifier(value.get("id"), "organization.id")}
    if value.get("name") is not None:
        organization["name"] = name(value["name"], "organization.name")
    return organization


def _address(value: Any) -> str:
    try:
        return _address_of_text(value) if isinstance(value, str) else str(ipaddress.ip_address(value))
    except ValueError as error:
        raise InvalidEvent("source.ip", f"expected an IPv4 or IPv6 address, got {value!r}") from error


@lru_cache(maxsize=4096)
def _address_of_text(text: str) -> str:
    # A zone is of this host, and no `ip` field takes one (RFC 4007).
    return str(ipaddress.ip_address(text.strip().partition("%")[0]))


def _related(document: Document) -> Document:
    user = document.get("user", {})
    people = [user.get("id"), user.get("name"), user.get("email"), *user.get("target", {}).values()]
    for item in document["audit"].get("involved", ()):
        if item["type"] == "user":
            people += [item.get("id"), item.get("name")]
    known = [*filter(None, dict.fromkeys(people))]
    related: Document = {"user": known} if known else {}
    if "source" in document:
        related["ip"] = [document["source"]["ip"]]
    return related
