"""The audit event: frozen models, from which the published JSON Schema and the index mapping are made.

Names are those of the Elastic Common Schema where it has a field; `audit.*` holds what it lacks. A `Draft` is what
an application says; an `Event` is sealed: linked into its stream and hashed. Both refuse unknown fields and convert
nothing: the value table (`auditpipe.schemas.values`) has been applied before.
"""

import ipaddress
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from auditpipe.schemas.values import MAX_CHANGE_VALUE, MAX_ID, MAX_INTEGER, MAX_MESSAGE_BYTES, MAX_NAME

SCHEMA_VERSION: Literal["1.0"] = "1.0"
ECS_VERSION: Literal["8.17.0"] = "8.17.0"

#: `ignore_above` of every keyword: characters, so that the UTF-8 of the longest stays under Lucene's 32,766 bytes.
IGNORE_ABOVE = 8_191


class Mapped:
    """How a value is indexed: the OpenSearch field type and its parameters, read by `auditpipe.schemas.mapping`."""

    def __init__(self, type: str, **parameters: Any) -> None:
        self.definition = {"type": type, **parameters}


KEYWORD = Mapped("keyword", ignore_above=IGNORE_ABOVE)


@lru_cache(maxsize=4096)
def _address(text: str) -> str:
    ipaddress.ip_address(text)
    return text


def _message(text: str) -> str:
    if len(text.encode()) > MAX_MESSAGE_BYTES:
        raise ValueError(f"expected at most {MAX_MESSAGE_BYTES} bytes")
    return text


Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID), KEYWORD]
Name = Annotated[str, StringConstraints(max_length=MAX_NAME), KEYWORD]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$"), KEYWORD]
EcsWord = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,63}$"), KEYWORD]
ActionName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,3}$", max_length=MAX_ID), KEYWORD
]
EventId = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"),
    KEYWORD,
]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), KEYWORD]
Address = Annotated[
    str,
    StringConstraints(max_length=64),
    AfterValidator(_address),
    Field(json_schema_extra={"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
    Mapped("ip", ignore_malformed=True),
]
Timestamp = Annotated[
    str,
    StringConstraints(
        pattern=r"^(19[7-9]\d|20\d\d|210[0-6])-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
        r"T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?Z$"
    ),
    Field(json_schema_extra={"format": "date-time"}),
    Mapped("date_nanos", format="strict_date_optional_time_nanos"),
]
Message = Annotated[str, StringConstraints(max_length=MAX_MESSAGE_BYTES), AfterValidator(_message), Mapped("text")]
Scalar = (
    Annotated[str, StringConstraints(max_length=MAX_CHANGE_VALUE)]
    | bool
    | Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]
    | None
)
# No value is of two of these types, so that the first that fits is the only one.
ChangeValue = Annotated[Scalar | list[Scalar], Field(union_mode="left_to_right"), KEYWORD]


class Model(BaseModel):
    """Frozen, strict, and without room for an unknown field."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        populate_by_name=True,
        serialize_by_alias=True,
        regex_engine="rust-regex",
        # An import builds the validator of an event, and not those of its parts, which few use alone.
        defer_build=True,
    )


EcsWords = Annotated[list[EcsWord], Field(min_length=1, max_length=8)]
Outcome = Annotated[Literal["success", "failure", "unknown"], KEYWORD]


class DraftEvent(Model):
    """`event.*` of a draft."""

    id: EventId | None = None
    kind: Annotated[Literal["event"], KEYWORD] = "event"
    dataset: Annotated[Literal["audit"], KEYWORD] = "audit"
    action: ActionName
    category: EcsWords | None = None
    type: EcsWords | None = None
    outcome: Outcome | None = None
    reason: Word | None = None


class EventFields(DraftEvent):
    """`event.*` of ECS."""

    id: EventId
    category: EcsWords
    type: EcsWords
    outcome: Outcome


class Ecs(Model):
    """`ecs.*`."""

    version: Annotated[Literal["8.17.0"], KEYWORD] = ECS_VERSION


class Organization(Model):
    """The tenant."""

    id: Id
    name: Name | None = None


class UserTarget(Model):
    """`user.target.*`: the user that something was done to."""

    id: Id | None = None
    name: Name | None = None


class User(Model):
    """The actor, and the user that it acted on."""

    id: Id | None = None
    name: Name | None = None
    full_name: Name | None = None
    email: Name | None = None
    roles: list[Name] | None = None
    target: UserTarget | None = None


class Source(Model):
    """Where the request came from."""

    ip: Address


class UserAgent(Model):
    """With what."""

    original: Name


class HttpRequest(Model):
    """`http.request.*`."""

    id: Id


class Http(Model):
    """`http.*`."""

    request: HttpRequest


class Trace(Model):
    """`trace.*`: the distributed trace (W3C Trace Context)."""

    id: Id


class Service(Model):
    """The application that emitted."""

    name: Name
    version: Name | None = None
    environment: Name | None = None


class Host(Model):
    """The machine that it ran on."""

    name: Name


class Related(Model):
    """Every user and every address in the event, for a search in one field."""

    user: list[Name] | None = None
    ip: list[Address] | None = None


class Actor(Model):
    """What kind of actor."""

    type: Annotated[Literal["user", "service", "system", "anonymous"], KEYWORD]


class Session(Model):
    """The application's session."""

    id: Id


class Target(Model):
    """What it was done to."""

    type: Word
    id: Id | None = None
    name: Name | None = None


class Involved(Model):
    """Someone or something else that took part: the user who was added to the team."""

    type: Word
    id: Id | None = None
    name: Name | None = None


class Change(Model):
    """One field, before and after. An absent side was nothing; a null side was null."""

    field: Id
    before: ChangeValue = None
    after: ChangeValue = None


class Audit(Model):
    """`audit.*` of a draft."""

    schema_: Annotated[Literal["1.0"], KEYWORD] = Field(SCHEMA_VERSION, alias="schema")
    actor: Actor | None = None
    session: Session | None = None
    target: Target | None = None
    involved: list[Involved] | None = None
    changes: list[Change] | None = None
    changed: list[Id] | None = None
    details: Annotated[dict[str, JsonValue], Mapped("object", enabled=False)] | None = None
    redacted: list[Id] | None = None
    key: Id | None = None


class SealedAudit(Audit):
    """`audit.*` of an event: its place in its stream, and its hash."""

    actor: Actor
    stream: Id
    sequence: Annotated[int, Field(ge=1, le=MAX_INTEGER), Mapped("long")]
    previous: Hash
    hash: Hash


class Draft(Model):
    """What happened, as far as an application says it; what is left out, `emit` makes from the rest."""

    timestamp: Timestamp | None = Field(None, alias="@timestamp")
    message: Message | None = None
    event: DraftEvent
    ecs: Ecs | None = None
    organization: Organization | None = None
    user: User | None = None
    source: Source | None = None
    user_agent: UserAgent | None = None
    http: Http | None = None
    trace: Trace | None = None
    service: Service | None = None
    host: Host | None = None
    related: Related | None = None
    audit: Audit | None = None


class Event(Draft):
    """A sealed event, as it is stored."""

    timestamp: Timestamp = Field(alias="@timestamp")
    message: Message
    event: EventFields
    ecs: Ecs
    service: Service
    audit: SealedAudit

    @property
    def id(self) -> str:
        """`event.id`, which is also the document's `_id`."""
        return self.event.id

    @property
    def hash(self) -> str:
        """`audit.hash`."""
        return self.audit.hash

    def document(self) -> dict[str, Any]:
        """The stored document: nested, with what was given and nothing else."""
        return self.model_dump(by_alias=True, exclude_unset=True)
