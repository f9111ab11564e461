"""Known texts replaced wherever they stand in values, in any case and with blanks around them."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from auditpipe.schemas.values import json_text

#: Shorter texts are replaced only where they stand alone: they would be found in everything.
SHORTEST_INSIDE = 4


class Replacer(ABC):
    """Replaces `texts` by what `substitute` makes of them.

    `edge`: a pattern (lookarounds) that a text found within another must match on each side.
    """

    def __init__(
        self, substitute: Callable[[str], str], texts: Iterable[str], edge: tuple[str, str] = ("", "")
    ) -> None:
        self.substitute = substitute
        self._folded = {text.casefold(): text for text in texts}
        longest_first = sorted((t for t in self._folded.values() if len(t) >= SHORTEST_INSIDE), key=len, reverse=True)
        # As it is, and as it stands in a JSON text.
        inside = {form: text for text in longest_first for form in (text, json_text(text)[1:-1])}
        self._inside = {form.casefold(): text for form, text in inside.items()}
        self._pattern = _pattern(inside, edge)
        self._pattern_folded = _pattern(self._inside, edge)

    def is_within(self, text: str) -> bool:
        """Whether one of them may be found in this text: edges are not asked for."""
        folded = text.casefold()
        return any(form in folded for form in self._inside)

    def alone(self, text: str) -> str | None:
        """What stands for this text if it is one of them."""
        known = self._folded.get(text.strip().casefold())
        return None if known is None else self.substitute(known)

    def within(self, text: str) -> str:
        """This text with a substitute for each of them."""
        if (found := self.alone(text)) is not None:
            return found
        if not self.is_within(text):
            return text
        replaced = self._pattern.sub(lambda match: self.substitute(self._original(match[0])), text)
        # What differs in length by its case, such as SS for \u00df, is found in neither of them alone.
        return self.substitute(text) if self._pattern_folded.search(replaced.casefold()) else replaced

    def _original(self, form: str) -> str:
        return self._inside.get(form.casefold(), form)  # re takes a dotless i for an i, and casefold does not

    @abstractmethod
    def key(self, text: str) -> str:
        """A key of an object."""

    def value(self, value: Any) -> Any:
        """A value of the table without them."""
        if isinstance(value, dict):
            return {self.key(name): self.value(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner) for inner in value]
        if type(value) is int and abs(value) >= 10 ** (SHORTEST_INSIDE - 1) and (found := self.alone(str(value))):
            return found
        return self.within(value) if isinstance(value, str) else value


def _pattern(forms: Iterable[str], edge: tuple[str, str]) -> re.Pattern[str]:
    return re.compile(f"{edge[0]}(?:{'|'.join(map(re.escape, forms))}){edge[1]}", re.IGNORECASE)
