"""How a figure is taken: ours and its peer in turn, A B A B, and the ratio pair by pair.

A machine's speed drifts; a ratio of neighbours hardly does. Medians are quoted, with the least and the greatest.
"""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """Ours beside a peer. `ratio` is ours / peer, in the unit's own sense; `aim` is what it should reach."""

    name: str
    peer: str
    unit: str
    ours: list[float]
    theirs: list[float]
    aim: str
    reached: bool

    @property
    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    def row(self) -> list[str]:
        ratio, low, high = statistics.median(self.ratios), min(self.ratios), max(self.ratios)
        numbers = [f"{statistics.median(values):,.1f} {self.unit}" for values in (self.ours, self.theirs)]
        verdict = "reached" if self.reached else "not reached"
        return [self.name, *numbers, self.peer, f"{ratio:.2f} ({low:.2f}-{high:.2f})", f"{self.aim}: {verdict}"]

    def as_json(self) -> dict[str, Any]:
        ratio = statistics.median(self.ratios)
        return {**self.__dict__, "ratio": ratio, "ratios": self.ratios}


def paired(rounds: int, ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[list[float], list[float]]:
    """One warm-up each, then `rounds` pairs of what the two return."""
    ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def at_most(limit: float, *, name: str, peer: str, unit: str, ours: list[float], theirs: list[float]) -> Figure:
    """A figure of cost: less is better."""
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return Figure(name, peer, unit, ours, theirs, f"at most {limit:g}", ratio <= limit)


def at_least(limit: float, *, name: str, peer: str, unit: str, ours: list[float], theirs: list[float]) -> Figure:
    """A figure of speed: more is better."""
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return Figure(name, peer, unit, ours, theirs, f"at least {limit:g}", ratio >= limit)


def microseconds_each(count: int, call: Callable[[], object]) -> float:
    """Microseconds that one of `count` calls takes, the collector held off as timeit does."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - start) / count * 1e6
    finally:
        gc.enable()


def table(figures: list[Figure]) -> str:
    """The rows as text, columns aligned."""
    rows = [["what", "ours", "peer", "the peer is", "ratio (least-greatest)", "aim"], *(f.row() for f in figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
