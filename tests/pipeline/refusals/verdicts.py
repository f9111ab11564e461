"""What an answer of the node amounts to: one of five verdicts, or a failure of the test; never a guess."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.pipeline.refusals.ground import Ground

#: What refuses one document of a bulk request, or one write over another: no permission, and "it is there already",
#: since write-once makes a create of every write; 400 is for a write that names the version that it would replace.
NOT_WRITTEN = frozenset({400, 403, 409})


class Verdict(StrEnum):
    """A cell of the table."""

    ALLOWED = "allowed"
    OWN = "own"
    HASH = "hash"
    WHEN = "when"
    REFUSED = "refused"


@dataclass(frozen=True)
class Answer:
    """Status and body of one call."""

    status: int
    body: Any

    @property
    def text(self) -> str:
        """The body, to be searched for what it tells."""
        return json.dumps(self.body)


#: From an answer of status 200 to what it amounts to.
Judge = Callable[[Ground, Answer], Verdict]


def done(_ground: Ground, answer: Answer) -> Verdict:
    """It was done, each of its items too."""
    body = answer.body if isinstance(answer.body, dict) else {}
    assert not body.get("failures"), answer
    statuses = {outcome["status"] for item in body.get("items", []) for outcome in item.values()}
    if refused := {status for status in statuses if status >= 400}:
        assert refused == statuses and refused <= NOT_WRITTEN, answer
        return Verdict.REFUSED
    return Verdict.ALLOWED


def shown(ground: Ground, answer: Answer) -> Verdict:
    """Which of the two events it shows: an answer that holds neither, nor says no, is a refusal without a word."""
    mine, theirs = (document["message"] in answer.text for document in (ground.mine, ground.theirs))
    if mine and theirs:
        return Verdict.ALLOWED
    assert not theirs, answer
    if mine:
        return Verdict.OWN
    return Verdict.HASH if ground.mine["audit"]["hash"] in answer.text else Verdict.REFUSED


def counted(_ground: Ground, answer: Answer) -> Verdict:
    """How many of the two events it counts."""
    return {2: Verdict.ALLOWED, 1: Verdict.OWN, 0: Verdict.REFUSED}[answer.body["count"]]


def told(make: Callable[[Ground], str]) -> Judge:
    """Whether the answer holds a word that a whole answer would."""

    def judge(ground: Ground, answer: Answer) -> Verdict:
        return Verdict.ALLOWED if make(ground) in answer.text else Verdict.REFUSED

    return judge


def removal(ground: Ground, answer: Answer) -> Verdict:
    """Whether it shows a record whole, or only of which month it is and when."""
    if ground.removal["organization"]["id"] in answer.text:
        return Verdict.ALLOWED
    return Verdict.WHEN if ground.removal["record"] in answer.text else Verdict.REFUSED
