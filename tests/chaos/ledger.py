"""What an emitter says that it did, in a file of its own that nothing else of the product writes or reads.

One line before `emit` and one after it returned, each by one write(2) on a descriptor opened with O_APPEND, so that
both survive SIGKILL of the emitter:

    intent TOKEN
    kept TOKEN STREAM SEQUENCE EVENT_ID HASH
    refused TOKEN

An intent without a second line is of an emitter that ended in between: its event may be stored or not.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".ledger"


@dataclass(frozen=True, slots=True)
class Kept:
    """An event that `emit` returned: it is promised to be stored, once, with this hash."""

    token: str
    stream: str
    sequence: int
    id: str
    hash: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """All ledgers of a campaign. `undecided`: tokens of events that may be stored or not."""

    kept: tuple[Kept, ...]
    undecided: frozenset[str]
    refused: frozenset[str]


class Writer:
    """One emitter's ledger."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def intend(self, token: str) -> None:
        """`emit` is about to be called."""
        self._put(f"intent {token}")

    def kept(self, kept: Kept) -> None:
        """`emit` has returned this event."""
        self._put(f"kept {kept.token} {kept.stream} {kept.sequence} {kept.id} {kept.hash}")

    def refused(self, token: str) -> None:
        """`emit` has raised SpoolError: the event must not be stored."""
        self._put(f"refused {token}")

    def _put(self, line: str) -> None:
        data = f"{line}\n".encode()
        if os.write(self._descriptor, data) != len(data):
            raise OSError("the ledger's disk is full: without a ledger nothing can be checked")


def read(folder: Path) -> Ledger:
    """All ledgers in a folder. ValueError for a line that no emitter writes."""
    return parse(line for path in sorted(folder.glob(f"*{SUFFIX}")) for line in lines(path))


def lines(path: Path, offset: int = 0) -> Iterator[str]:
    """Whole lines from an offset in bytes on: a line without its end is of an emitter that is still writing it."""
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if line.endswith(b"\n"):
                yield line.decode().rstrip("\n")


def parse(said: Iterable[str]) -> Ledger:
    """A ledger from its lines. ValueError for one that no emitter writes."""
    kept: list[Kept] = []
    intended: set[str] = set()
    refused: set[str] = set()
    for line in said:
        match line.split(" "):
            case ["intent", token]:
                intended.add(token)
            case ["kept", *_]:
                kept.append(kept_of(line))
            case ["refused", token]:
                refused.add(token)
            case _:
                raise ValueError(f"no line of a ledger: {line!r}")
    undecided = intended - refused - {one.token for one in kept}
    return Ledger(tuple(kept), frozenset(undecided), frozenset(refused))


def kept_of(line: str) -> Kept:
    """The event of a `kept` line."""
    _, token, stream, sequence, event_id, digest = line.split(" ")
    return Kept(token, stream, int(sequence), event_id, digest)
