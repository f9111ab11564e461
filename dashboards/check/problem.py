"""What a check found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: with which object (`type/id`), and what, in a sentence that says what was expected.

    `empty`: it works, and shows nothing.
    """

    object: str
    sentence: str
    empty: bool = False

    def __str__(self) -> str:
        return f"{self.object}: {self.sentence}"
