"""What provisioning would do, as data: a plan of steps, each with its state and one sentence."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """What a step finds, and so what it would do."""

    OK = "ok"
    CREATE = "create"
    UPDATE = "update"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Request:
    """One call of OpenSearch's REST API. `body` may hold a password: it is never printed."""

    method: str
    path: str
    body: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that provisioning looks after."""

    kind: str
    name: str
    state: State
    sentence: str
    requests: tuple[Request, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether applying it would change the cluster."""
        return self.state in (State.CREATE, State.UPDATE)

    def as_dict(self) -> dict[str, str]:
        """For `-o json`: without the requests, which may hold a password."""
        return {"kind": self.kind, "name": self.name, "state": self.state.value, "sentence": self.sentence}


@dataclass(frozen=True, slots=True)
class Plan:
    """Every step, in the order in which it is applied."""

    steps: tuple[Step, ...]

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that would change the cluster."""
        return tuple(step for step in self.steps if step.changes)

    @property
    def conflicts(self) -> tuple[Step, ...]:
        """The steps that something foreign stands in the way of."""
        return tuple(step for step in self.steps if step.state is State.CONFLICT)
