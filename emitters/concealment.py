"""The name that was typed into a sign-in for an unknown account may be a password: it is kept as a keyed hash only.

It is concealed wherever it stands in the event, in any case and with blanks around it: alone if it is short, and from
four characters on within other texts, in keys of details and in names of fields too. What holds an id, a name or a key
is hashed whole; in longer texts the typed part alone is replaced. `organization.id` stays: it decides who may read the
event, and whoever types a tenant's name must not hide their attempts from it.
"""

import contextlib
import hashlib
import hmac
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from auditpipe.emitters.replacing import Replacer
from auditpipe.schemas.changes import changed_fields, leaf
from auditpipe.schemas.errors import SpoolError
from auditpipe.schemas.values import MAX_CHANGE_VALUE, MAX_NAME, cut

Document = dict[str, Any]
CONCEALED = "hmac-sha256:"
_NAMES = ("id", "name", "full_name", "email")
#: Where texts of the application stand that are hashed whole.
_IDS = (
    ("audit", "session", "id"),
    ("audit", "key"),
    ("http", "request", "id"),
    ("trace", "id"),
    ("organization", "name"),
)


def conceal(key: bytes, text: str) -> str:
    """`hmac-sha256:` and 64 hex digits (RFC 2104): equal names stay equal, and none can be guessed without the key."""
    return CONCEALED + hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def conceal_typed(document: Document, concealment_key: Callable[[], bytes]) -> None:
    """Replace, in an event that is not sealed, what was typed for an unknown account, wherever it was put."""
    user, audit = document.get("user", {}), document["audit"]
    involved = audit.get("involved", ())
    named = [user, user.get("target", {}), audit.get("target", {})]
    texts = _texts(named) or _texts(item for item in involved if item["type"] == "user")
    if not texts:
        return
    typed = _Typed(concealment_key(), texts)
    for item in (*named, *involved):
        for part in _NAMES:
            if part in item:
                item[part] = typed.whole(item[part])
    for place in _IDS:
        _at(document, place, typed.whole)
    _at(document, ("user_agent", "original"), lambda text: cut(typed.within(text), MAX_NAME))
    for holder, part in ((user, "roles"), (audit, "redacted")):
        if part in holder:
            holder[part] = [typed.whole(text) for text in holder[part]]
    if "details" in audit:
        audit["details"] = typed.value(audit["details"])
    if "changes" in audit:
        audit["changes"] = [_change(typed, change) for change in audit["changes"]]
        audit["changed"] = changed_fields(audit["changes"])
    audit["redacted"] = list(dict.fromkeys([*audit.get("redacted", ()), "user.name"]))


def _texts(items: Iterable[Document]) -> set[str]:
    return {item[part].strip() for item in items for part in _NAMES if part in item} - {""}


def _at(document: Document, place: tuple[str, ...], change: Callable[[str], str]) -> None:
    for part in place[:-1]:
        document = document.get(part, {})
    if place[-1] in document:
        document[place[-1]] = change(document[place[-1]])


def _change(typed: "_Typed", change: Document) -> Document:
    sides: Document = {side: leaf(typed.value(change[side])) for side in ("before", "after") if side in change}
    return {"field": typed.key(change["field"]), **sides}


class _Typed(Replacer):
    """The typed texts, and what has them replaced."""

    def __init__(self, key: bytes, texts: set[str]) -> None:
        super().__init__(lambda text: conceal(key, text), texts)

    def whole(self, text: str) -> str:
        """This text, hashed whole if a typed one is it, or is in it."""
        found = self.alone(text)
        return found or (self.substitute(text.strip()) if self.is_within(text) else text)

    def key(self, text: str) -> str:
        """A key: as it is, since two that differ must go on to differ; a short word is the application's own."""
        return self.substitute(text) if self.is_within(text) else text

    def within(self, text: str) -> str:
        """This text with a hash for each typed one."""
        replaced = super().within(text)
        return replaced if replaced == text else cut(replaced, MAX_CHANGE_VALUE)


def concealment_key(path: Path) -> bytes:
    """The key in this file, made at first use with mode 0600. SpoolError if it can't be read or made."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make_key(path)
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise SpoolError(f"{path}: the key that conceals typed names can't be read or made: {error}") from error
    if len(key) < 32:
        raise SpoolError(f"{path}: expected a key of 64 hex digits, got {len(key)} bytes")
    return key


def _make_key(path: Path) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(32).hex().encode())
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):  # whoever links first wins; a half-written key is never seen
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # each try that a full disk refuses would leave another
