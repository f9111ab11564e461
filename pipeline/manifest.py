"""What an export says about itself: what was asked, when, by whom, and what the file must hold.

Written beside the file as FILE.manifest.json. It tells a later reader whether the file is still the one that was
written; whether the events in it are those that were emitted is for their hashes and links.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from auditpipe.pipeline.any_json import loaded
from auditpipe.pipeline.duplicate_keys import key_given_twice
from auditpipe.pipeline.manifest_check import MANIFEST_VERSION, problems
from auditpipe.pipeline.tabular import field as value_of
from auditpipe.pipeline.tabular import plain
from auditpipe.pipeline.visible import json_bytes
from auditpipe.schemas.errors import Finding, UsageError

SUFFIX = ".manifest.json"


@dataclass(slots=True)
class Head:
    """One stream's part in a file: its lowest and highest number, how many, and the hash of the highest."""

    stream: str
    first: int
    last: int
    count: int
    last_hash: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Times are RFC 3339 in UTC; the range is half-open [since, until), `since` null meaning from the beginning."""

    file: str
    format: str
    sha256: str
    size: int
    count: int
    filter: dict[str, str | list[str]]
    since: str | None
    until: str | None
    whole_streams: bool
    exported_at: str
    exported_by: str
    purpose: str | None
    tool: str
    cluster: dict[str, str | None]
    schemas: list[str]
    streams: list[Head]
    #: The signed records of what retention removed of these streams; None where the reader may not see them.
    removed: list[dict[str, Any]] | None = field(default_factory=list)
    manifest: str = MANIFEST_VERSION

    def to_json(self) -> bytes:
        """Indented JSON with a final newline; `manifest`, its own version, first."""
        content = asdict(self)
        return json_bytes({"manifest": content.pop("manifest"), **content}, indent=True) + b"\n"

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """The manifest in a file. UsageError: it is none. Finding: it says what no export says of itself."""
        try:
            data = path.read_bytes()
            content = loaded(data)
            twice = key_given_twice(data)
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: expected a manifest written by `auditpipe export`: {error}") from error
        if not isinstance(content, dict) or "manifest" not in content:
            raise UsageError(f"{path}: expected a manifest written by `auditpipe export`: it has no member `manifest`")
        wrong = [f"{twice!r} is there twice"] if twice is not None else list(problems(content))
        if wrong:
            raise Finding("; ".join(wrong))
        return cls(**{**content, "streams": [Head(**head) for head in content["streams"]]})


class Heads:
    """Collects the heads of the streams that pass by; one small record for each, however many events."""

    def __init__(self) -> None:
        self._heads: dict[str, Head] = {}
        self._schemas: set[str] = set()

    def add(self, document: Mapping[str, Any]) -> None:
        """Take note of one event."""
        schema = value_of(document, "audit.schema")
        if isinstance(schema, str):
            self._schemas.add(schema)
        stream, sequence = value_of(document, "audit.stream"), value_of(document, "audit.sequence")
        if isinstance(stream, str) and isinstance(sequence, int) and not isinstance(sequence, bool) and sequence > 0:
            self.add_link(stream, sequence, plain(value_of(document, "audit.hash")))

    def add_link(self, stream: str, sequence: int, own_hash: str) -> None:
        """Take note of a number in a stream."""
        head = self._heads.get(stream)
        if head is None:
            self._heads[stream] = Head(stream, sequence, sequence, 1, own_hash)
            return
        head.count += 1
        head.first = min(head.first, sequence)
        if sequence >= head.last:
            head.last, head.last_hash = sequence, own_hash

    def streams(self) -> list[Head]:
        """By name of the stream."""
        return [self._heads[name] for name in sorted(self._heads)]

    def schemas(self) -> list[str]:
        """Versions of the envelope that were met."""
        return sorted(self._schemas)


def path_beside(file: Path) -> Path:
    """Where the manifest of a file is."""
    return file.with_name(file.name + SUFFIX)


def name_of(file: Path) -> str:
    """A file's name as its manifest has it: JSON holds no bytes that are no UTF-8, a file system does."""
    return os.fsencode(file.name).decode("utf-8", "replace")
