"""Personal values replaced by keyed hashes before an event is sealed, in every copy of them.

Which: `auditpipe.schemas.privacy`. The value of a chosen field is replaced there, and wherever else in the event it
stands: in any case and with blanks around it; from four characters on as a word of a longer text too. Ids, keys of
details and parts of a field's path are replaced only where they are that value, because a part of an id is no copy.
What service, host and organization are called stays, and so does an actor that is no person (a service, the system).
"""

import re
from collections.abc import Iterable
from typing import Any

from auditpipe.emitters.replacing import Replacer
from auditpipe.schemas.changes import changed_fields, leaf
from auditpipe.schemas.privacy import Chosen
from auditpipe.schemas.pseudonyms import PseudonymKeys, is_pseudonym
from auditpipe.schemas.values import MAX_ID, MAX_NAME, cut

Document = dict[str, Any]
_USER_PARTS = ("id", "name", "full_name", "email")
_THING_PARTS = ("id", "name")
_EDGE = (r"(?<!\w)", r"(?!\w)")
_IDS = (("audit", "session", "id"), ("audit", "key"), ("http", "request", "id"), ("trace", "id"))


class Pseudonyms:
    """The chosen fields of one application, and the keys."""

    def __init__(self, keys: PseudonymKeys, chosen: Chosen) -> None:
        self._keys, self._chosen = keys, chosen

    def state(self, value: Any, texts: set[str], path: str = "", *, pairs: bool = False) -> Any:
        """A state, or a side of the change at `path`, with pseudonyms for its chosen fields.

        `texts` gets what they were. To be done before states are compared: objects may become text by that.
        """
        return self._chosen.changes.replaced(value, lambda _, inner: self._hidden(inner, texts), path, pairs=pairs)

    def apply(self, document: Document, texts: set[str]) -> None:
        """Replace, in an event that is not sealed, what was chosen, and every copy of it and of `texts`."""
        texts.update(self._of_fields(document))
        audit = document["audit"]
        if "details" in audit:
            audit["details"] = self._chosen.details.replaced(
                audit["details"], lambda _, inner: self._hidden(inner, texts), pairs=True
            )
        for change in audit.get("changes", ()):
            if self._chosen.changes.is_named(change["field"]):
                for side in change.keys() - {"field"}:
                    change[side] = leaf(self._hidden(change[side], texts))
        if texts:
            self._replace(document, _Copies(self._keys, texts))

    def _hidden(self, value: Any, texts: set[str]) -> Any:
        """A value with a pseudonym for each text and number in it; what they were goes into `texts`."""
        if isinstance(value, dict):
            return {name: self._hidden(inner, texts) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._hidden(inner, texts) for inner in value]
        if value is None or isinstance(value, bool):
            return value
        text = str(value).strip()
        if not text or is_pseudonym(text):
            return value
        texts.add(text)
        return self._keys.pseudonym(text)

    def _of_fields(self, document: Document) -> Iterable[str]:
        """The values of the chosen fields of the event itself."""
        chosen, audit, user = self._chosen.fields, document["audit"], document.get("user", {})
        things = [("target", audit.get("target", {})), *(("involved", item) for item in audit.get("involved", ()))]
        found = [user[part] for part in _USER_PARTS if f"user.{part}" in chosen and part in user and _is_person(audit)]
        for what, thing in things:
            user_too = thing.get("type") == "user"
            found += [
                thing[part]
                for part in _THING_PARTS
                if part in thing and (f"audit.{what}.{part}" in chosen or (user_too and f"user.{part}" in chosen))
            ]
        for path in ("source.ip", "user_agent.original", "audit.session.id"):
            value: Any = document
            for part in path.split("."):
                value = value.get(part, {})
            if value and path in chosen:
                found.append(value)
        return [text for text in map(str.strip, found) if text and not is_pseudonym(text)]

    def _replace(self, document: Document, copies: "_Copies") -> None:
        audit, user = document["audit"], document.get("user", {})
        people = [user] if _is_person(audit) else []
        for item in (*people, user.get("target", {}), audit.get("target", {}), *audit.get("involved", ())):
            for part in _USER_PARTS:
                if part in item:
                    item[part] = copies.alone(item[part]) or item[part]
        for *parents, last in _IDS:
            holder: Any = document
            for part in parents:
                holder = holder.get(part, {})
            if last in holder:
                holder[last] = copies.alone(holder[last]) or holder[last]
        if "source" in document:
            document["source"] = {"ip": copies.alone(document["source"]["ip"]) or document["source"]["ip"]}
        if "user_agent" in document:
            document["user_agent"] = {"original": cut(copies.within(document["user_agent"]["original"]), MAX_NAME)}
        if "details" in audit:
            audit["details"] = copies.value(audit["details"])
        if "changes" in audit:
            audit["changes"] = [_change(copies, change) for change in audit["changes"]]
            audit["changed"] = changed_fields(audit["changes"])
        if "redacted" in audit:
            audit["redacted"] = [copies.path(path) for path in audit["redacted"]]


def _is_person(audit: Document) -> bool:
    return audit["actor"]["type"] in ("user", "anonymous")


def _change(copies: "_Copies", change: Document) -> Document:
    sides: Document = {side: leaf(copies.value(change[side])) for side in ("before", "after") if side in change}
    return {"field": copies.path(change["field"]), **sides}


class _Copies(Replacer):
    """The personal texts of one event, and what has their copies replaced."""

    def __init__(self, keys: PseudonymKeys, texts: set[str]) -> None:
        super().__init__(keys.pseudonym, texts, _EDGE)
        parts = "|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True))
        self._in_path = re.compile(rf"(?:(?<=\.)|^)(?:{parts})(?=\.|$)", re.IGNORECASE)

    def key(self, text: str) -> str:
        """A pseudonym of the key itself: keys that differ in case must go on to differ."""
        return text if self.alone(text) is None else self.substitute(text)

    def path(self, text: str) -> str:
        """A dotted path, part by part."""
        replaced = self._in_path.sub(lambda match: self.key(match[0]), text)
        return replaced if len(replaced) <= MAX_ID else self.substitute(text)
