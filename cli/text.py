"""Text on the command line: it goes into JSON and headers, which hold no bytes that are no UTF-8. Names of files do."""

import re
from typing import Any

import click
from click.types import StringParamType

_FILE = re.compile(r"\b(FILE|DIR|FOLDER)\b")


class _Text(StringParamType):
    """What the shell gave, if it is text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refused with what to do; not repeated, because it may hold a password."""
        text = super().convert(value, param, ctx)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            if not _is_file(param, text):
                self.fail(f"expected text in UTF-8, and character {error.start + 1} is none", param, ctx)
        return text


_TEXT = _Text()


def refuse_bytes(command: click.Command) -> None:
    """Let a command, and those below it, take only text in UTF-8 where it takes any text: a usage error otherwise."""
    for param in command.params:
        if type(param.type) is StringParamType:
            param.type = _TEXT
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            refuse_bytes(inner)


def _is_file(param: click.Parameter | None, text: str) -> bool:
    metavar = (param.metavar if param else None) or ""
    return bool(_FILE.search(metavar)) and (text.startswith("@") or "@FILE" not in metavar)
