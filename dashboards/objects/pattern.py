"""The index pattern: which indices, their fields, and how some values are shown."""

from auditpipe.dashboards.objects.fields import all_fields
from auditpipe.dashboards.objects.saved import INDEX_REFERENCE, Reference, SavedObject, make, text
from auditpipe.schemas.identity import INDEX_PATTERN

PATTERN_ID = "audit-events"
TIME_FIELD = "@timestamp"

#: One event, in Discover's page for a single document. It looks the id up in whatever stands for the index, so that
#: the pattern does: a link that is made from one value can't tell the month. `../app/` finds the way under any
#: base path (`UrlFormat` of Dashboards).
DOCUMENT_LINK = f"../app/discover#/doc/{PATTERN_ID}/{INDEX_PATTERN}?id={{{{value}}}}"

#: outcome: (text, background), each readable (WCAG AA) on its own, in the dark theme too.
COLOURS = {
    "success": ("#0b5324", "#d4edda"),
    "failure": ("#721c24", "#f8d7da"),
    "unknown": ("#383d41", "#e2e3e5"),
}


def index_pattern() -> SavedObject:
    """The one index pattern that all other objects read."""
    attributes = {
        "title": INDEX_PATTERN,
        "timeFieldName": TIME_FIELD,
        "fields": text([field.entry() for field in all_fields()]),
        "fieldFormatMap": text({"event.outcome": _outcome(), "event.id": _link()}),
    }
    return make("index-pattern", PATTERN_ID, attributes)


def index_reference(name: str = INDEX_REFERENCE) -> Reference:
    """What another object says to read this pattern."""
    return Reference(name, "index-pattern", PATTERN_ID)


def _outcome() -> dict[str, object]:
    colours = [
        {"range": "-Infinity:Infinity", "regex": f"^{outcome}$", "text": ink, "background": paper}
        for outcome, (ink, paper) in COLOURS.items()
    ]
    return {"id": "color", "params": {"fieldType": "string", "colors": colours}}


def _link() -> dict[str, object]:
    params = {
        "type": "a",
        "urlTemplate": DOCUMENT_LINK,
        "labelTemplate": "{{value}}",
        "openLinkInCurrentTab": False,
    }
    return {"id": "url", "params": params}
