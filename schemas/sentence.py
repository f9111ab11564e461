"""`message`: one sentence made from the rest of the event, for whoever reads a list."""

from collections.abc import Callable, Mapping
from typing import Any

from auditpipe.schemas.catalogue import Action
from auditpipe.schemas.values import MAX_MESSAGE_BYTES, cut, cut_bytes, json_text

_SHORT = 120
_MANY = 5


def sentence(action: Action, document: Mapping[str, Any]) -> str:
    """The action's sentence for this document, at most 1 kB of UTF-8. Values stand in it as they are."""
    # Only what this sentence asks for: few ask for more than three.
    words = {placeholder: _WORDS[placeholder](document) for placeholder in action.placeholders}
    text = action.sentence.format_map(words).rstrip(": ")
    event = document["event"]
    if event["outcome"] != next(iter(action.outcomes)):
        reason = event.get("reason")
        text += f" ({event['outcome']}: {reason.replace('_', ' ')})" if reason else f" ({event['outcome']})"
    return cut_bytes(text, MAX_MESSAGE_BYTES)


def actor_label(document: Mapping[str, Any]) -> str:
    """Who did it, as people call them."""
    if "user.name" in document["audit"].get("redacted", ()):
        return "Someone unknown"
    user = document.get("user", {})
    known = user.get("full_name") or user.get("name") or user.get("email") or user.get("id")
    return str(known) if known else _nobody(document)


def _nobody(document: Mapping[str, Any]) -> str:
    kind = document["audit"]["actor"]["type"]
    return {"system": "The system", "service": str(document["service"]["name"])}.get(kind, "Someone")


def label(item: Mapping[str, Any] | None) -> str:
    """Its name, else its id, else its type."""
    if not item:
        return ""
    return str(item.get("name") or item.get("id") or item.get("type") or "")


def _listed(words: Any) -> str:
    words = [word for word in words if word]
    if len(words) <= _MANY:
        return ", ".join(words)
    return f"{', '.join(words[:_MANY])} and {len(words) - _MANY} more"


def _changes(changes: Any, names: Mapping[str, str]) -> str:
    alone = len(changes) == 1 or len({change["field"] for change in changes}) == 1
    parts = [("" if alone else f"{change['field']} ") + change_text(change, names) for change in changes[:_MANY]]
    more = f"; and {len(changes) - _MANY} more" if len(changes) > _MANY else ""
    return "; ".join(parts) + more


def _all_changes(document: Mapping[str, Any]) -> str:
    audit = document["audit"]
    involved = audit.get("involved")
    names = {item["id"]: label(item) for item in involved if "id" in item and "name" in item} if involved else {}
    return _changes(audit.get("changes", ()), names)


def _changed(document: Mapping[str, Any]) -> str:
    audit = document["audit"]
    return _listed(audit.get("changed", ())) or ("fields withheld" if "redacted" in audit else "nothing")


def change_text(change: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """`Doe -> Dow`, `+ Tess Test` for what was nothing before, `- Tess Test` for what is nothing after."""
    if "before" not in change:
        return f"+ {_value(change.get('after'), names)}"
    if "after" not in change:
        return f"- {_value(change['before'], names)}"
    return f"{_value(change['before'], names)} -> {_value(change['after'], names)}"


def _value(value: Any, names: Mapping[str, str]) -> str:
    text = value if isinstance(value, str) else json_text(value)
    return cut(names.get(text, text), _SHORT)


#: What stands in for each placeholder.
_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "actor": actor_label,
    "target": lambda document: label(document["audit"].get("target")) or "something",
    "changed": _changed,
    "changes": _all_changes,
    "involved": lambda document: _listed([label(item) for item in document["audit"].get("involved", ())]),
    "reason": lambda document: (document["event"].get("reason") or "no reason given").replace("_", " "),
    "organization": lambda document: label(document.get("organization")),
}
