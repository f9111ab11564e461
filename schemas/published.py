"""The published JSON Schema (2020-12), generated from the models, and checking documents of any origin against it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from auditpipe.schemas import identity
from auditpipe.schemas.canonical import document_hash
from auditpipe.schemas.catalogue import Catalogue
from auditpipe.schemas.errors import InvalidEvent
from auditpipe.schemas.values import json_text

EVENT, DRAFT = "event.schema.json", "draft.schema.json"
SEAL = ("stream", "sequence", "previous", "hash")
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a document: where (a dotted path), what was expected, what came."""

    path: str
    expected: str
    got: str


def generate(name: str) -> dict[str, Any]:
    """The content of a generated schema file: `EVENT` (as stored) or `DRAFT` (before it is sealed)."""
    from auditpipe.schemas.event import SCHEMA_VERSION, Draft, Event

    model, title = (Event, "Audit event") if name == EVENT else (Draft, "Audit event, before it is sealed")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:auditpipe:{name.removesuffix('.schema.json')}:{SCHEMA_VERSION}",
        **model.model_json_schema(by_alias=True, mode="validation"),
        "title": title,
    }


def load(name: str) -> dict[str, Any]:
    """A generated schema file."""
    text = resources.files("auditpipe.schemas").joinpath(name).read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(load(name), format_checker=Draft202012Validator.FORMAT_CHECKER)


def is_sealed(document: Any) -> bool:
    """Whether it claims a place in a stream: then it must be whole, hash included."""
    audit = document.get("audit") if isinstance(document, dict) else None
    return isinstance(audit, dict) and any(part in audit for part in SEAL)


def problems(document: Any, catalogue: Catalogue) -> list[Problem]:
    """What is wrong with a document: form, time and id, what the catalogue says, and the hash of a sealed one."""
    found = list(_form(document, EVENT if is_sealed(document) else DRAFT))
    return found or list(_meaning(document, catalogue))


def _form(document: Any, name: str) -> Iterator[Problem]:
    for error in sorted(_validator(name).iter_errors(document), key=lambda error: error.json_path):
        yield from _leaves(error)


def _leaves(error: ValidationError) -> Iterator[Problem]:
    if error.context:  # anyOf: what is wrong with the branch that came nearest
        nearest = min(error.context, key=lambda e: (-len(e.path), e.validator == "type"))
        yield from _leaves(nearest)
        return
    yield Problem(_path(error), _expected(error), _shown(error.instance))


def _path(error: ValidationError) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    return "".join(parts).lstrip(".") or "the document"


def _expected(error: ValidationError) -> str:
    limit: Any = error.validator_value
    match error.validator:
        case "required":
            return error.message.replace("is a required property", "to be there")
        case "additionalProperties":
            return (
                "no such field" + error.message.partition("(")[2].join((" (", "")) if "(" in error.message else "none"
            )
        case "const":
            return json_text(limit)
        case "enum":
            return "one of " + ", ".join(json_text(value) for value in limit)
        case "type":
            return f"a value of type {limit}"
        case "pattern":
            return f"text that matches {limit}"
        case "maxLength" | "minLength":
            return f"{'at most' if error.validator == 'maxLength' else 'at least'} {limit} characters"
        case "maximum" | "minimum":
            return f"{'at most' if error.validator == 'maximum' else 'at least'} {limit}"
        case "format":
            return f"a valid {limit}"
        case _:
            return error.message


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _meaning(document: dict[str, Any], catalogue: Catalogue) -> Iterator[Problem]:
    event = document["event"]
    try:
        moment = identity.parse_time(document["@timestamp"])
    except ValueError as error:
        yield Problem("@timestamp", str(error), _shown(document["@timestamp"]))
        return
    if moment > identity.LATEST_NS:
        yield Problem("@timestamp", "a time from 1970 to 2106", _shown(document["@timestamp"]))
    if identity.milliseconds_of(event["id"]) != moment // identity.MILLISECOND:
        wanted = f"a UUIDv7 whose milliseconds are those of @timestamp ({moment // identity.MILLISECOND})"
        yield Problem("event.id", wanted, str(identity.milliseconds_of(event["id"])))
    try:
        action = catalogue.named(event["action"])
        action.outcome_of(event["outcome"], event.get("reason"))
        action.check_details(document["audit"].get("details"))
    except InvalidEvent as error:
        yield Problem(error.field, "what the catalogue says", error.problem)
    if is_sealed(document):
        yield from _seal(document)


def _seal(document: dict[str, Any]) -> Iterator[Problem]:
    try:
        wanted = document_hash(document)
    except ValueError as error:
        yield Problem("audit.hash", "a document that has canonical JSON (RFC 8785)", str(error))
        return
    if document["audit"]["hash"] != wanted:
        yield Problem("audit.hash", f"{wanted} (RFC 8785 bytes of this document, SHA-256)", document["audit"]["hash"])
