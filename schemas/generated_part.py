"""The generated part of a document that is otherwise written by hand."""

from collections.abc import Iterable

BEGIN, END = "<!-- generated: make generate -->", "<!-- end of what is generated -->"


def with_part(text: str, lines: Iterable[str]) -> str:
    """The document with what stands between its marks replaced by these lines."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([f"{before}{BEGIN}", *lines, f"{END}{after}"])
