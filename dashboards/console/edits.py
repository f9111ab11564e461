"""What two texts have in common (Myers, An O(ND) Difference Algorithm, 1986), with a bound on the work."""

from collections.abc import Sequence

#: So many tokens may be gone and come; the time is of their number times the length.
MOST_EDITS = 200


def shared(old: Sequence[str], new: Sequence[str], most: int = MOST_EDITS) -> list[tuple[int, int]] | None:
    """Positions (in old, in new) of a longest common subsequence; None where it takes more than `most` edits."""
    furthest, steps = {1: 0}, list[dict[int, int]]()
    for edits in range(most + 1):
        steps.append(dict(furthest))
        for diagonal in range(-edits, edits + 1, 2):
            x = _start(furthest, diagonal, edits)
            while x < len(old) and x - diagonal < len(new) and old[x] == new[x - diagonal]:
                x += 1
            furthest[diagonal] = x
            if x >= len(old) and x - diagonal >= len(new):
                return _walked_back(steps, len(old), len(new))
    return None


def _start(furthest: dict[int, int], diagonal: int, edits: int) -> int:
    """How far in `old` this diagonal is reached by one more edit: one that has come, or one that has gone."""
    comes = diagonal == -edits or (diagonal != edits and furthest[diagonal - 1] < furthest[diagonal + 1])
    return furthest[diagonal + 1] if comes else furthest[diagonal - 1] + 1


def _walked_back(steps: list[dict[int, int]], x: int, y: int) -> list[tuple[int, int]]:
    pairs = []
    for edits, furthest in reversed(list(enumerate(steps))):
        start = _start(furthest, x - y, edits)
        while x > start:
            x, y = x - 1, y - 1
            pairs.append((x, y))
        comes = edits and start == furthest.get(x - y + 1)
        x, y = (x, y - 1) if comes else (x - 1, y)
    return pairs[::-1]
