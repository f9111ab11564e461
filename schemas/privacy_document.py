"""The table of docs/privacy.md: the class of each field, and which can be replaced by pseudonyms."""

from collections.abc import Iterator

from auditpipe.schemas.generated_part import with_part
from auditpipe.schemas.privacy import CHOICES, CLASSES, DEFAULT, PERSONAL_NAMES

#: Replaced under another name, or as copies, or named by the application.
_BY: dict[str, str] = {
    "message": "made from the rest",
    "user.target.id": "`user.id`",
    "user.target.name": "`user.name`",
    "related.user": "made from the rest",
    "related.ip": "made from the rest",
    "audit.target.id": "`audit.target.id`; of a user also `user.id`",
    "audit.target.name": "`audit.target.name`; of a user also `user.name`",
    "audit.involved[].id": "`audit.involved.id`; of a user also `user.id`",
    "audit.involved[].name": "`audit.involved.name`; of a user also `user.name`",
    "audit.changes[].before": "`changes.NAME`; copies",
    "audit.changes[].after": "`changes.NAME`; copies",
    "audit.details": "`details.NAME`; copies",
}
_DEFAULT_OF = {
    **dict.fromkeys(("audit.target.name", "audit.involved[].name"), "of users"),
    **dict.fromkeys(("audit.changes[].before", "audit.changes[].after", "audit.details"), "some names"),
}


def with_table(text: str) -> str:
    """The document with the table between its marks made anew."""
    return with_part(text, _table())


def _table() -> Iterator[str]:
    yield "| field | class | replaced as | by default |"
    yield "|---|---|---|---|"
    for path, kind in CLASSES.items():
        yield f"| `{path}` | {kind} | {_replaced(path) if kind == 'personal' else ''} | {_default(path)} |"
    yield ""
    names = ", ".join(f"`{name}`" for name in PERSONAL_NAMES)
    yield f"Names that are replaced by default in states, changes and details: {names}."


def _replaced(path: str) -> str:
    return _BY.get(path) or (f"`{path}`" if path in CHOICES else "copies")


def _default(path: str) -> str:
    if path in DEFAULT or path == "user.target.name":
        return "yes"
    return _DEFAULT_OF.get(path, "")
