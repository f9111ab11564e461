"""Bytes that all connections together may hold for one purpose."""

import asyncio
import heapq
import itertools


class Budget:
    """The smallest wish first, so that who asks for much holds up nobody who asks for little. A connection takes all
    that its message can need before it reads on, so that each holder can finish and none waits for another that waits
    for it.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []

    @property
    def used(self) -> int:
        """Bytes that are taken now."""
        return self._used

    @property
    def contended(self) -> bool:
        """Whether someone waits."""
        return any(not turn.done() for _, _, turn in self._waiting)

    def take_now(self, amount: int) -> bool:
        """Take so many bytes if they are free; whether they were."""
        if self._used + amount > self._size:
            return False
        self._used += amount
        return True

    async def take(self, amount: int) -> int:
        """Wait until so many bytes are free, and take them. More than there are counts as all of them."""
        amount = min(amount, self._size)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (amount, next(self._order), turn))
        self._grant()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(amount)
            raise
        return amount

    def give(self, amount: int) -> None:
        """Return what was taken."""
        self._used -= amount
        self._grant()

    def _grant(self) -> None:
        while self._waiting:
            wanted, _, turn = self._waiting[0]
            if not turn.done():
                if not self.take_now(wanted):
                    return
                turn.set_result(None)
            heapq.heappop(self._waiting)
