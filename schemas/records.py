"""The records of retention and legal hold: what was held, and what was removed, when, by whom and why.

They stand in an index of their own, are only ever added, and are signed with the admin certificate's key. A month's
events are removed only after their record is there: batches of `Removed` first, then `RetentionApplied`, and last
`MonthRemoved`, without which the others say nothing.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, StringConstraints

from auditpipe.schemas.event import KEYWORD, Hash, Id, Mapped, Model, Name, Organization, Timestamp
from auditpipe.schemas.values import MAX_INTEGER

VERSION: Literal["1.0"] = "1.0"

_STORED = Mapped("object", enabled=False)
_OPAQUE = Mapped("keyword", index=False, doc_values=False)

Month = Annotated[str, StringConstraints(pattern=r"^(19[7-9]\d|20\d\d|210[0-6])-(0[1-9]|1[0-2])$"), KEYWORD]
Count = Annotated[int, Field(ge=0, le=MAX_INTEGER), Mapped("long")]
#: What a person typed: kept whole, and not searched.
Text = Annotated[str, StringConstraints(min_length=1, max_length=1_000), _OPAQUE]
#: Of a hold; it is a part of an `_id`.
HoldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"), KEYWORD]


class Signature(Model):
    """Over the RFC 8785 bytes of the record without its `signature`.

    `algorithm` is `ecdsa-with-SHA256`, `sha256WithRSAEncryption` (PKCS #1 v1.5) or `Ed25519`; `certificates` the
    signer's and those between it and its authority (DER in base64), `value` the signature in base64.
    """

    algorithm: Annotated[str, _OPAQUE]
    certificates: Annotated[list[str], Field(min_length=1, max_length=10), _OPAQUE]
    value: Annotated[str, _OPAQUE]


class Record(Model):
    """What every record has. `by`: the subject of the certificate that signed it (RFC 4514)."""

    timestamp: Timestamp = Field(alias="@timestamp")
    schema_: Annotated[Literal["1.0"], KEYWORD] = Field(VERSION, alias="schema")
    signature: Signature | None = None

    def document(self) -> dict[str, Any]:
        """As it is stored."""
        return self.model_dump(by_alias=True, exclude_none=True)


class HoldAdded(Record):
    """From now on the events that `query` (OpenSearch's query language) matches are kept.

    `filter` says it to people: flag names and values, times absolute. The query is what counts, so that a hold means
    the same in years, whatever the flags come to mean.
    """

    kind: Annotated[Literal["hold_added"], KEYWORD] = "hold_added"
    hold: HoldName
    number: Count
    filter: Annotated[dict[str, str | list[str]], _STORED]
    query: Annotated[dict[str, JsonValue], _STORED]
    reason: Text
    by: Name


class HoldReleased(Record):
    """The hold of this name ends. Of a name the record with the highest `number` counts."""

    kind: Annotated[Literal["hold_released"], KEYWORD] = "hold_released"
    hold: HoldName
    number: Count
    reason: Text
    by: Name


class Held(Model):
    """How many events of the month a hold keeps."""

    hold: HoldName
    events: Count


class Flawed(Model):
    """How many of the removed events were not as `verify` wants them, by its names."""

    finding: Name
    events: Count


class RetentionApplied(Record):
    """Why and how much was removed of a month. `keep` is what `--keep` said."""

    kind: Annotated[Literal["retention_applied"], KEYWORD] = "retention_applied"
    record: Id
    month: Month
    keep: Count
    removed: Count
    kept: Count
    batches: Count
    held: Annotated[list[Held], _STORED]
    flawed: Annotated[list[Flawed], _STORED]
    reason: Text | None = None
    by: Name


class MonthRemoved(Record):
    """That a month was removed: for all who meet its absence, the shipper and readers of one organization too."""

    kind: Annotated[Literal["month_removed"], KEYWORD] = "month_removed"
    record: Id
    month: Month


class Range(Model):
    """Consecutive numbers of one stream, linked. `previous` is `audit.previous` of the first, `hash` `audit.hash` of
    the last; `count` is more than the numbers where one was there twice.
    """

    stream: Id
    first: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    last: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    count: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    previous: Hash
    hash: Hash


class Removed(Record):
    """A batch of what was removed, of one organization, so that its readers and no others may see it."""

    kind: Annotated[Literal["removed"], KEYWORD] = "removed"
    record: Id
    month: Month
    organization: Organization | None = None
    streams: Annotated[list[Id], Field(max_length=1_000)]
    ranges: Annotated[list[Range], Field(min_length=1, max_length=1_000), _STORED]


KINDS: dict[str, type[Record]] = {
    "hold_added": HoldAdded,
    "hold_released": HoldReleased,
    "retention_applied": RetentionApplied,
    "month_removed": MonthRemoved,
    "removed": Removed,
}
