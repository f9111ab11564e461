"""A call that breaks into another one of the same thread, as a signal's handler does.

Python runs the handler of a signal between any two steps of the main thread. Whatever lock that thread holds then stays
held until the handler returns: to wait for one is to wait for ever, and to go on without (a re-entrant lock) gives one
number to two events. So each call of an `AuditLog` that takes locks is a turn, and what is asked for within a turn of
the same thread is done when it ends: at once after the handler, also if the handler raises.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from auditpipe.schemas.errors import AuditpipeError

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class Turn(threading.local):
    """Each thread's own: `is_taken` while it is inside of a call, and what was asked for meanwhile."""

    def __init__(self) -> None:
        self.is_taken = False
        self._later: deque[Callable[[], object]] = deque()

    def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do it as this thread's turn, and then what was asked for within. Not to be called while `is_taken`."""
        # Python runs no handler between these lines and the next call: the turn ends, whatever a handler raises.
        self.is_taken = True
        try:
            return call(*args, **kwargs)
        finally:
            self.is_taken = False
            if self._later:
                self.catch_up()

    def put_off(self, call: Callable[[], object]) -> None:
        """Do it when this thread's turn ends."""
        self._later.append(call)

    def catch_up(self) -> None:
        """Do what was put off. What is refused then is logged: who asked for it is not waiting any more."""
        while self._later:
            call = self._later.popleft()
            self.is_taken = True
            try:
                call()
            except AuditpipeError as error:
                log.error("what a signal's handler asked for in the middle of another call was not done: %s", error)
            finally:
                self.is_taken = False
