"""Text of strangers on a terminal: nothing in it may move the cursor, recolour, reorder or hide."""

import re
import unicodedata
from typing import Any

from auditpipe.pipeline.any_json import dumped

#: Categories that a terminal obeys or does not show: controls, formats (bidi marks, zero-width, tags), surrogates,
#: private use, line and paragraph separators.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: Letters and marks that show nothing all the same: what else is Default_Ignorable_Code_Point in Unicode (fillers,
#: joiners, variation selectors, those of emoji too: with and without one, two texts look alike), and the empty Braille.
_UNSEEN = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff"
)
_IS_UNSEEN = re.compile(f"[{_UNSEEN}]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    """The text with every character that a terminal would obey or hide written as an escape: `\\x1b`, `\\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(char: str) -> str:
    if unicodedata.category(char) not in _UNPRINTABLE and not _IS_UNSEEN.match(char):
        return char
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# What JSON writers leave raw although a terminal obeys or hides it: DEL and C1 controls (one of them begins an escape
# sequence), formats, separators, private use; and surrogates, which UTF-8 can't hold.
_IN_JSON = re.compile(
    "[\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\ue000-\uf8ff\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3"
    f"\U0001d173-\U0001d17a\U000f0000-\U0010ffff{_UNSEEN}]"
)


def json_bytes(value: Any, *, indent: bool = False) -> bytes:
    """JSON in UTF-8 that is safe on a terminal: the same value, with such characters as `\\uXXXX`.

    Whatever a node may have answered can be written, lone surrogates included.
    """
    text = dumped(value, indent=indent)
    if text.isascii() and "\x7f" not in text:
        return text.encode()
    # They stand only inside strings, so that an escape means the same.
    return _IN_JSON.sub(_json_escape, text).encode()


def _json_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def width(text: str) -> int:
    """Columns that the text takes on a terminal (Unicode Standard Annex 11; ambiguous counts as narrow)."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """At most so many columns of the text, with `…` where something was left out."""
    if width(text) <= columns:
        return text
    taken, used = [], 0
    for char in text:
        used += _columns(char)
        if used > columns - 1:
            break
        taken.append(char)
    return "".join(taken) + "…" if columns > 0 else ""


def pad(text: str, columns: int) -> str:
    """The text, cut or filled up to exactly so many columns."""
    fitting = cut(text, columns)
    return fitting + " " * (columns - width(fitting))
