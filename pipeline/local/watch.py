"""What the stack tells while it works. The library prints nothing: the command line shows this in its own way."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass


@contextmanager
def _no_progress(total: int) -> Iterator[Callable[[int], None]]:
    yield lambda _: None


def _say_nothing(_: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Watch:
    """`say` gets a sentence about each step. `download` gets the number of bytes to come, and yields what is to be
    called with the number of bytes that came."""

    say: Callable[[str], None] = _say_nothing
    download: Callable[[int], AbstractContextManager[Callable[[int], None]]] = _no_progress
