"""What a check found, one line each: `doctor` makes them, the command line shows them."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """ok; warn: it works now and may not later, or could not be looked at; finding: not as it should be."""

    OK = "ok"
    WARN = "warn"
    FINDING = "finding"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what it is like, and for anything but ok what to do."""

    level: Level
    name: str
    sentence: str
    remedy: str = ""


def ok(name: str, sentence: str) -> Check:
    """All is well."""
    return Check(Level.OK, name, sentence)


def warn(name: str, sentence: str, remedy: str) -> Check:
    """Works now, or could not be looked at."""
    return Check(Level.WARN, name, sentence, remedy)


def finding(name: str, sentence: str, remedy: str) -> Check:
    """Not as it should be."""
    return Check(Level.FINDING, name, sentence, remedy)
