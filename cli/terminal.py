"""What the streams are: a terminal or not, how wide, in colour or not."""

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import click

from auditpipe.pipeline.visible import printable

#: Where no terminal says otherwise.
DEFAULT_COLUMNS = 120


def columns() -> int:
    """Width of the output: COLUMNS, else the terminal's, else 120."""
    if sys.stdout.isatty():
        return shutil.get_terminal_size((DEFAULT_COLUMNS, 24)).columns
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isascii() and given.isdigit() and int(given) > 0 else DEFAULT_COLUMNS


def in_colour() -> bool:
    """Whether stdout takes colours: a terminal, and NO_COLOR (no-color.org) is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(text: str, colour: str | None = None, *, bold: bool = False, dim: bool = False) -> str:
    """The text, already safe, in a colour where there are colours."""
    if not in_colour() or not (colour or bold or dim):
        return text
    return click.style(text, fg=colour, bold=bold or None, dim=dim or None)


def put(text: str) -> None:
    """Text to stdout."""
    sys.stdout.buffer.write(text.encode(sys.stdout.encoding, "backslashreplace"))


def put_bytes(data: bytes) -> None:
    """Bytes to stdout: JSON is UTF-8 whatever the locale."""
    sys.stdout.buffer.write(data)


def flush() -> None:
    """What was put so far goes out."""
    sys.stdout.buffer.flush()


@contextmanager
def output() -> Iterator[IO[bytes]]:
    """stdout for bytes; all of them are out at the end. NotFinished where it takes no more: `auditpipe.cli.stdout`."""
    sys.stdout.flush()
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


class _Printable(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # its name in the standard library
        return printable(super().formatMessage(record))


def show_log(level: int) -> None:
    """What the project's modules log from this level on goes to stderr, a line each, safe on a terminal."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(levelname)s %(message)s"))
    logger = logging.getLogger("auditpipe")
    logger.addHandler(handler)
    logger.setLevel(level)


def remark(text: str) -> None:
    """A line on stderr."""
    click.echo(text, err=True)
