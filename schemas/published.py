"""The published JSON Schema (2020-12), generated from the models, and checking documents of any origin against it."""

import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from auditpipe.schemas.canonical import document_hash
from auditpipe.schemas.catalogue import Catalogue
from auditpipe.schemas.rules import Problem, content_problems, shown, value_problems
from auditpipe.schemas.secrets import Secrets
from auditpipe.schemas.values import json_text

__all__ = ["DRAFT", "EVENT", "Problem", "generate", "is_sealed", "load", "problems"]

EVENT, DRAFT = "event.schema.json", "draft.schema.json"
SEAL = ("stream", "sequence", "previous", "hash")


def generate(name: str) -> dict[str, Any]:
    """The content of a generated schema file: `EVENT` (as stored) or `DRAFT` (before it is sealed)."""
    from auditpipe.schemas import privacy
    from auditpipe.schemas.event import SCHEMA_VERSION, Draft, Event

    model, title = (Event, "Audit event") if name == EVENT else (Draft, "Audit event, before it is sealed")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:auditpipe:{name.removesuffix('.schema.json')}:{SCHEMA_VERSION}",
        **privacy.annotated(model.model_json_schema(by_alias=True, mode="validation")),
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
    """What is wrong with a document: its values; else its form; else what it says, and the hash of a sealed one."""
    found = list(value_problems(document))
    if found:
        return found
    found = list(_form(document, EVENT if is_sealed(document) else DRAFT))
    return found or list(_content(document, catalogue))


def _content(document: dict[str, Any], catalogue: Catalogue) -> Iterator[Problem]:
    yield from content_problems(document, catalogue, Secrets())
    if is_sealed(document) and document["audit"]["hash"] != (wanted := document_hash(document)):
        yield Problem("audit.hash", f"{wanted} (RFC 8785 bytes of this document, SHA-256)", document["audit"]["hash"])


def _form(document: Any, name: str) -> Iterator[Problem]:
    errors = sorted(_validator(name).iter_errors(document), key=lambda error: error.json_path)
    if errors:
        printable, _ = Secrets().split(document, pairs=True)
        for error in map(_nearest, errors):
            yield Problem(_path(error), _expected(error), _got(error, printable))


def _nearest(error: ValidationError) -> ValidationError:
    """Of anyOf: what is wrong with the branch that came nearest."""
    while error.context:
        error = min(error.context, key=lambda e: (-len(e.path), e.validator == "type"))
    return error


def _got(error: ValidationError, printable: Any) -> str:
    """What stands there, in the document without its secrets."""
    try:
        for part in error.absolute_path:
            printable = printable[part]
    except LookupError:
        return "the value of a secret field"
    return shown(printable)


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
