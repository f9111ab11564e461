"""The histogram as numbers for an SVG: no style attribute, which the page's own policy forbids."""

from collections.abc import Sequence
from dataclasses import dataclass

from auditpipe.dashboards.console.counts import Bar

WIDTH, HEIGHT = 960, 72
_GAP = 2
_LEAST = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A bar with its place: `x` and `width`, and from above a part that went well and one that failed."""

    bar: Bar
    x: float
    width: float
    good_y: float
    good_height: float
    bad_y: float
    bad_height: float


def columns(bars: Sequence[Bar]) -> list[Column]:
    """One for each bar, empty ones too, the highest as high as the picture."""
    highest = max((bar.count for bar in bars), default=0)
    if not highest:
        return []
    step = WIDTH / len(bars)
    return [_column(bar, number * step, min(step - _GAP, 48), highest) for number, bar in enumerate(bars)]


def _column(bar: Bar, x: float, width: float, highest: int) -> Column:
    bad = _height(bar.failures, highest)
    good = _height(bar.count - bar.failures, highest)
    good = min(good, HEIGHT - bad)
    return Column(bar, round(x, 2), round(width, 2), HEIGHT - bad - good, good, HEIGHT - bad, bad)


def _height(count: int, highest: int) -> float:
    """At least so high that one event among a million is seen."""
    return max(_LEAST, round(count / highest * HEIGHT, 2)) if count else 0
