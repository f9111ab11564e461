"""How much waits in the folders of a local stack."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from time import time

from auditpipe.pipeline.deadletter import chunkfile
from auditpipe.pipeline.deadletter import folder as dead
from auditpipe.pipeline.local.home import Home

_CHUNK_SUFFIX = ".flb"
#: A chunk file that was written to more recently may be half written.
SETTLED_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """`dead_letters` in events, `chunks` in Fluent Bit's chunk files that it has acknowledged and not yet delivered.

    `damaged`: those of them that it can't read, and passes over for ever, with what is wrong with them.

    `parked`: events that the relay put on disk to be sent again, by what they wait for.
    """

    dead_letters: int
    chunks: int
    parked: Counter[str]
    damaged: dict[Path, str]
    #: Why the dead letters are dead.
    reasons: Counter[str] = field(default_factory=Counter)


def count(home: Home) -> Waiting:
    """What lies in this home now."""
    letters, parked, reasons = 0, Counter[str](), Counter[str]()
    for file in (file for where in (home.dead_letters, home.rejected) for file in dead.files(where)):
        summary = dead.summarize(file)
        parked += summary.waits
        letters += summary.count - summary.waits.total()
        reasons += Counter() if summary.waits else summary.reasons
    held = chunks(home)
    return Waiting(letters, len(held), parked, {path: told for path in held if (told := _damage(path))}, reasons)


def chunks(home: Home) -> list[Path]:
    """Fluent Bit's chunk files."""
    storage = home.fluent_bit / "storage"
    return [path for path in storage.glob(f"*/*{_CHUNK_SUFFIX}") if path.parent != home.rejected]


def _damage(path: Path) -> str:
    """What is wrong with a chunk file that nobody has written to for a while; empty if nothing is seen."""
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            if time() - state.st_mtime < SETTLED_SECONDS:
                return ""
            return chunkfile.damage(file.read(chunkfile.HEADER), state.st_size)
    except FileNotFoundError:
        return ""  # delivered meanwhile
    except OSError as error:
        return f"it can't be read: {error.strerror}"
