"""What each field of an event says of a person: the one table that the schema and the documents are made from.

`personal`: names or singles out a person, or holds what may. Everything else in the event is about that person through
these fields alone. `secret` fields are known by their names, in states, changes and details, and never become part of
an event: `auditpipe.schemas.secrets` has those.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from auditpipe.schemas.errors import UsageError
from auditpipe.schemas.named import NamedFields

Class = Literal["public", "personal"]

#: The class of each field of a stored event, in the order of its schema. `[]` is each member of a list.
CLASSES: dict[str, Class] = {
    "@timestamp": "public",
    "message": "personal",
    "event.id": "public",
    "event.kind": "public",
    "event.dataset": "public",
    "event.action": "public",
    "event.category": "public",
    "event.type": "public",
    "event.outcome": "public",
    "event.reason": "public",
    "ecs.version": "public",
    "organization.id": "public",
    "organization.name": "public",
    "user.id": "personal",
    "user.name": "personal",
    "user.full_name": "personal",
    "user.email": "personal",
    "user.roles": "public",
    "user.target.id": "personal",
    "user.target.name": "personal",
    "source.ip": "personal",
    "user_agent.original": "personal",
    "http.request.id": "public",
    "trace.id": "public",
    "service.name": "public",
    "service.version": "public",
    "service.environment": "public",
    "host.name": "public",
    "related.user": "personal",
    "related.ip": "personal",
    "audit.schema": "public",
    "audit.actor.type": "public",
    "audit.session.id": "personal",
    "audit.target.type": "public",
    "audit.target.id": "personal",
    "audit.target.name": "personal",
    "audit.involved[].type": "public",
    "audit.involved[].id": "personal",
    "audit.involved[].name": "personal",
    # A field's path may hold the id of a list's member: members.u7.role.
    "audit.changes[].field": "personal",
    "audit.changes[].before": "personal",
    "audit.changes[].after": "personal",
    "audit.changed": "personal",
    "audit.details": "personal",
    "audit.redacted": "personal",
    "audit.key": "personal",
    "audit.stream": "public",
    "audit.sequence": "public",
    "audit.previous": "public",
    "audit.hash": "public",
}

#: What an application can have replaced by pseudonyms. A user's `id` and `name` are replaced wherever that user is:
#: as actor, as target, as one involved. The last four are of targets of every type.
CHOICES = (
    *("user.id", "user.name", "user.full_name", "user.email", "source.ip", "user_agent.original", "audit.session.id"),
    *("audit.target.id", "audit.target.name", "audit.involved.id", "audit.involved.name"),
)
#: Names in states, changes and details that are replaced unless the application chooses itself.
PERSONAL_NAMES = (
    *("username", "first_name", "last_name", "given_name", "family_name", "full_name", "display_name", "birth_date"),
    *("email", "emails", "email_address", "phone", "phones", "phone_number", "mobile"),
    *("ip", "ip_address", "user_agent"),
)
WITHIN = ("changes", "details")
DEFAULT = (
    *("user.name", "user.full_name", "user.email", "source.ip", "user_agent.original"),
    *(f"{part}.{name}" for part in WITHIN for name in PERSONAL_NAMES),
)
KEYWORD = "x-auditpipe-class"


class Chosen:
    """The fields that an application has replaced: those of `CHOICES`, `changes.NAME` and `details.NAME`.

    NAME is a field's name or a dotted path, as `redact` takes it. UsageError for any other, with the nearest.
    """

    def __init__(self, names: Iterable[str] = DEFAULT) -> None:
        listed = [names] if isinstance(names, str) else list(names)
        within: dict[str, list[str]] = {part: [] for part in WITHIN}
        for name in listed:
            part, _, rest = str(name).partition(".")
            if part in WITHIN and rest:
                within[part].append(rest)
            elif name not in CHOICES:
                raise UsageError(f"pseudonymize: no field {name!r} of an event can be replaced{_nearest(str(name))}")
        self.fields = frozenset(listed) & frozenset(CHOICES)
        self.changes = NamedFields(within["changes"], "pseudonymize")
        self.details = NamedFields(within["details"], "pseudonymize")


def _nearest(name: str) -> str:
    import difflib  # an emitter that is set up right has no use for it

    last = name.rpartition(".")[2]
    near = [choice for choice in CHOICES if last and choice.endswith(f".{last}")]
    near += [choice for choice in difflib.get_close_matches(name, CHOICES, n=3) if choice not in near]
    near += [f"changes.{last or 'NAME'}", f"details.{last or 'NAME'}"]
    return f"; nearest: {', '.join(near)}"


def annotated(schema: dict[str, Any]) -> dict[str, Any]:
    """The same JSON Schema of an event, with the class of each field as `x-auditpipe-class`."""
    for path, definition in fields(schema):
        definition[KEYWORD] = CLASSES[path]
    return schema


def fields(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, definition) of each field that has no fields of its own."""
    yield from _fields(schema, schema["$defs"], "")


def _fields(holder: dict[str, Any], definitions: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, definition in holder.get("properties", {}).items():
        path = f"{prefix}{name}"
        is_list, inner = _model(definition, definitions)
        if inner is None:
            yield path, definition
        else:
            yield from _fields(inner, definitions, f"{path}[]." if is_list else f"{path}.")


def _model(definition: dict[str, Any], definitions: dict[str, Any]) -> tuple[bool, dict[str, Any] | None]:
    """(whether it is a list of them, the object that this is), of a reference, an optional one, or a list."""
    for part in definition.get("anyOf", (definition,)):
        is_list = part.get("type") == "array"
        reference = (part["items"] if is_list else part).get("$ref")
        if reference is not None:
            return is_list, definitions[reference.rpartition("/")[2]]
    return False, None
