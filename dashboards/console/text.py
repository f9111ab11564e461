"""Strangers' text on a page: shown as text whatever it holds, markup, controls and direction marks included."""

from itertools import groupby
from typing import Any

from markupsafe import Markup, escape

from auditpipe.pipeline.tabular import value_text
from auditpipe.pipeline.visible import printable

_HIDDEN = Markup('<span class="esc">{}</span>')


def shown(value: Any, most: int | None = None) -> Markup:
    """The value as text that can be set into HTML, at most so many characters of it, `…` where it was cut.

    Characters that a browser would obey or not show are written out as the command line does (`\\x1b`, `\\u202e`), and
    set apart, so that an escape is told from a backslash that was there.
    """
    text = value if isinstance(value, str) else value_text(value)
    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"
    if printable(text) == text:
        return escape(text)
    return Markup().join(
        _HIDDEN.format(printable("".join(run))) if hidden else escape("".join(run))
        for hidden, run in groupby(text, key=lambda char: printable(char) != char)
    )


def breakable(value: Any, most: int | None = None) -> Markup:
    """The same for a dotted name, which may go on in the next line behind a dot or an underscore."""
    return shown(value, most).replace(".", Markup(".<wbr>")).replace("_", Markup("_<wbr>"))
