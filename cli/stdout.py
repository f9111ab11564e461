"""stdout for whole answers: where it takes no more, a command has not finished, and a person is told so in a line."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from auditpipe.schemas.errors import NotFinished

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Stdout(io.BufferedWriter):
    """The file descriptor; what it refuses, on a full disk say, is NotFinished. A closed pipe stays what it is.

    Beneath it is CPython's own FileIO. A Python method there could be left by Ctrl-C between its system call and its
    answer, and what is out already would be written again.
    """

    def write(self, data: "ReadableBuffer", /) -> int:
        with self._telling():
            return super().write(data)

    def flush(self) -> None:
        with self._telling():
            super().flush()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise  # whoever read it has seen enough
        except OSError as error:
            # What is buffered can't be written either, and Python would try it once more at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            raise NotFinished(f"stdout: {error.strerror}; what was written there is not all") from error


def guard() -> None:
    """Put this between the commands and the process's own stdout, also where that was closed before it began."""
    own = sys.stdout
    if own is not sys.__stdout__:
        return  # someone else's, who reads it in this process
    if own is None:
        # Reading alone: a write is refused, as by the closed one. Who writes nothing there is not disturbed.
        raw, encoding = io.FileIO(os.open(os.devnull, os.O_RDONLY), "wb", closefd=False), "utf-8"
    else:
        raw, encoding = io.FileIO(own.fileno(), "wb", closefd=False), own.encoding
    # A terminal that can't show a letter gets its escape rather than a failure.
    sys.stdout = io.TextIOWrapper(
        _Stdout(raw), encoding=encoding, errors="backslashreplace", line_buffering=raw.isatty()
    )
