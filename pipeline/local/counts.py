"""How much waits in the folders of a local stack."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from auditpipe.pipeline.deadletter import folder as dead
from auditpipe.pipeline.local.home import Home

_CHUNK_SUFFIX = ".flb"


@dataclass(frozen=True, slots=True)
class Waiting:
    """`dead_letters` in events, `chunks` in Fluent Bit's chunk files that it has acknowledged and not yet delivered.

    `parked`: events that the relay put on disk to be sent again, by what they wait for.
    """

    dead_letters: int
    chunks: int
    parked: Counter[str]


def count(home: Home) -> Waiting:
    """What lies in this home now."""
    letters, parked = 0, Counter[str]()
    for file in (file for where in (home.dead_letters, home.rejected) for file in dead.files(where)):
        summary = dead.summarize(file)
        parked += summary.waits
        letters += summary.count - summary.waits.total()
    return Waiting(letters, len(list(chunks(home))), parked)


def chunks(home: Home) -> list[Path]:
    """Fluent Bit's chunk files."""
    storage = home.fluent_bit / "storage"
    return [path for path in storage.glob(f"*/*{_CHUNK_SUFFIX}") if path.parent != home.rejected]
